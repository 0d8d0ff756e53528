"""Confirmations: how long or how often a condition must hold, held against a naive count; and the marks of a row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Milliseconds
from pipeline.core.exits.rule import (
    Confirmation,
    ExitRule,
    Fired,
    Phase,
    Unit,
    amount_of,
    closable,
    confirm,
    judged,
    phase_of,
)
from pipeline.core.policies import Policy
from pipeline.core.positions import Stage
from pipeline.core.turn import Turn
from tests.sessions.test_targets import opened

HOLDS = st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=40)


def turn_of(session: object) -> Turn:
    state = session.state  # type: ignore[attr-defined]
    return Turn(state, state.mark_stamp)


def rule(holds: list[bool], confirmation: Confirmation) -> ExitRule:
    """A rule whose condition is the newest entry of *holds*."""
    return ExitRule(
        "T",
        "a test",
        closes=True,
        fires=lambda _: Fired("it holds") if holds[-1] else None,
        act=lambda *_: None,
        confirmation=confirmation,
    )


def asked(story: Sequence[tuple[bool, int]], unit: Unit, amount: int, *, once: bool = False) -> list[bool]:
    """Whether the rule fires at each event of *story* (condition, time since the event before)."""
    session, _ = opened()
    session.state.policy = msgspec.structs.replace(session.state.policy, x9_hold_ms=Milliseconds(amount))
    now, holds, found = session.now, [False], []
    table = rule(holds, Confirmation(unit, "x9_hold_ms", once=once))
    for condition, after in story:
        now += after
        holds[0] = condition
        turn = turn_of(session)
        turn.now = now
        if unit is Unit.MARKS:
            assert session.state.mark is not None
            session.state.mark = msgspec.structs.replace(session.state.mark, event_ms=now)
        found.append(confirm(turn, table, bar_ms=now) is not None)
    return found


@given(HOLDS, st.integers(0, 12))
def test_time_counts_from_the_first_event_of_an_unbroken_stretch(story: list[tuple[bool, int]], amount: int) -> None:
    """Fires at each event that lies at least that long behind the first one since which it has held."""
    at, since, expected = 0, None, []
    for condition, after in story:
        at += after
        since = None if not condition else at if since is None else since
        expected.append(since is not None and at - since >= amount)

    assert expected == asked(story, Unit.TIME, amount)


@given(HOLDS, st.integers(1, 4), st.sampled_from([Unit.BARS, Unit.MARKS]))
def test_bars_and_marks_count_in_a_row(story: list[tuple[bool, int]], amount: int, unit: Unit) -> None:
    """Fires from the n-th in a row on."""
    row, expected = 0, []
    for condition, _ in story:
        row = row + 1 if condition else 0
        expected.append(row >= amount)

    assert expected == asked(story, unit, amount)


@given(HOLDS, st.integers(0, 5))
def test_once_fires_once_for_each_stretch(story: list[tuple[bool, int]], amount: int) -> None:
    """The first firing of every stretch, no other."""
    every = asked(story, Unit.TIME, amount)
    expected, told = [], False
    for (condition, _), fired in zip(story, every, strict=True):
        expected.append(fired and not told)
        told = condition and (told or fired)

    assert expected == asked(story, Unit.TIME, amount, once=True)


def test_a_bar_that_was_judged_and_a_mark_that_was_seen_are_not_counted_again() -> None:
    """The same bar or mark asked twice counts once."""
    session, _ = opened()
    turn = turn_of(session)
    bars = rule([True], Confirmation(Unit.BARS, "x8_bars"))
    marks = msgspec.structs.replace(bars, key="marks", confirmation=Confirmation(Unit.MARKS, "x5_marks"))

    assert [None, None, None] == [confirm(turn, bars, bar_ms=bar) for bar in (300_000, 0, 0)]
    assert [None, None, None] == [confirm(turn, marks, bar_ms=0) for _ in range(3)]


def test_no_amount_means_at_once() -> None:
    """An empty name asks for nothing of its unit."""
    assert 0 == amount_of(Policy(), Confirmation(Unit.TIME))
    assert 2 == amount_of(Policy(), Confirmation(Unit.BARS, "x8_bars"))


def test_phases_and_who_may_be_judged() -> None:
    """Open and frozen; not while closing; not when nothing is open."""
    session, _ = opened()
    turn, position = turn_of(session), session.position
    assert (Phase.OPEN, True, True) == (phase_of(position), closable(turn), judged(position))

    position.stage = Stage.CLOSING
    assert (Phase.CLOSING, False, False) == (phase_of(position), closable(turn), judged(position))

    position.left = position.entered
    assert Phase.EMPTY is phase_of(position)
