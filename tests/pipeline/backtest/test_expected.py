"""The only place for tests that hold what situations are expected to lead to against the golden sessions."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.situations import SITUATIONS
from pipeline.backtest.expected import EXPECTED
from pipeline.core.events import Side
from pipeline.core.exits import RULES
from pipeline.core.gates import GATES
from pipeline.core.positions import Basis
from pipeline.reporting import story
from pipeline.reporting.words import outcome
from tests.sessions.script import INSTRUMENT
from tests.sessions.test_exit_rules import STORIES, play

TOLD = [(name, rule, session) for name, row in EXPECTED.items() for rule, session in row.sessions]


def _words(session: str) -> tuple[list[str], str]:
    """The rules that acted in a golden session as ``explain`` names them, and everything it says."""
    played = play(session, Side.BUY).session
    steps = story.story_of(
        played.decisions, attempts=(), instruments={INSTRUMENT.symbol: INSTRUMENT}, line_at=lambda place: ""
    )
    return [rule for step in steps for rule in step.rules], story.told(steps)


def test_every_situation_has_its_row() -> None:
    """What the simulator can play and what is expected are the same names; each row has rules or a gate of ours."""
    rules = {rule.id for rule in RULES} | {basis.value for basis in Basis}

    assert set(SITUATIONS) == set(EXPECTED)
    for row in EXPECTED.values():
        assert bool(row.rules) != bool(row.refused_by)
        assert set(row.rules) <= rules
        assert set(row.refused_by) <= {gate.id for gate in GATES}
        assert not row.rules or row.sessions


@pytest.mark.parametrize(("name", "rule", "session"), TOLD)
def test_golden_session_tells_the_same(name: str, rule: str, session: str) -> None:
    """The golden session fires the situation's rule, and `explain` says it there with the same words."""
    row = EXPECTED[name]
    rules, told = _words(session)

    assert rule == STORIES[session][0]
    assert rule in row.rules
    assert f"{rule}: {story.WORDS[rule]}" in rules
    if rule != "STOP":
        assert [] == [text for text in row.words if text not in told]


@pytest.mark.parametrize("name", [name for name, row in EXPECTED.items() if row.sessions and row.reason != "S_w"])
def test_golden_session_ends_alike(name: str) -> None:
    """One of the sessions closes for the same reason, or its trade ends with the same words."""
    row = EXPECTED[name]
    told = "\n".join(_words(session)[1] for _, session in row.sessions)

    closed = f"close the whole position at market: {row.reason}"
    assert f"{outcome(row.outcome)} ({row.reason})" in told or closed in told
