"""Cascade, liquidity, the end of a contract: the small pure parts; the stories are in tests/sessions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.exits.acts import depth_slice
from pipeline.core.exits.market import MARKS_KEPT, impact_permyriad, remember_mark
from pipeline.core.turn import Turn
from tests.sessions.story import Story

LEVELS = st.lists(st.integers(1, 80), min_size=1, max_size=12)


def with_book(side: Side, lots: list[int]) -> Turn:
    story = Story(side)
    story.book([(1 + number, quantity) for number, quantity in enumerate(lots)])
    state = story.session.state
    assert state.mark_stamp is not None
    return Turn(state, state.mark_stamp)


@given(LEVELS, st.sampled_from(Side))
def test_impact_is_that_of_walking_the_book(lots: list[int], side: Side) -> None:
    """Average price of what is taken against the middle; a book too short costs what its last level costs."""
    turn = with_book(side, lots)
    left, paid = turn.position.lots, 0
    for number, quantity in enumerate(lots):
        taken = min(left, quantity)
        paid += taken * (50_000 - side.sign * (1 + number))
        left -= taken
    paid += left * (50_000 - side.sign * len(lots))
    middle = Fraction(50_000)

    cost = impact_permyriad(turn)

    assert cost is not None
    assert abs(Fraction(paid, turn.position.lots) / middle - 1) == Fraction(cost[0], cost[1])


def test_without_a_whole_book_the_impact_is_not_known() -> None:
    """Never a made-up number."""
    story = Story(Side.BUY)
    assert story.session.state.mark_stamp is not None

    assert None is impact_permyriad(Turn(story.session.state, story.session.state.mark_stamp))


@given(LEVELS, st.sampled_from(Side))
def test_a_slice_is_a_quarter_of_the_best_five_levels(lots: list[int], side: Side) -> None:
    """On the side that a close would hit."""
    assert sum(lots[:5]) // 4 == depth_slice(with_book(side, lots))


def test_without_a_book_the_quote_tells_the_slice_and_without_both_nothing_does() -> None:
    """A stale quote is no quote."""
    story = Story(Side.BUY)
    state = story.session.state
    assert state.mark_stamp is not None
    assert 5_000 // 4 == depth_slice(Turn(state, state.mark_stamp))

    state.log_ms += 60_000

    assert 0 == depth_slice(Turn(state, state.mark_stamp))


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 100)), min_size=1, max_size=400))
def test_the_marks_of_the_last_minute_and_no_others_are_kept(steps: list[tuple[int, int]]) -> None:
    """However fast they come, what is kept is bounded."""
    position = Story(Side.BUY).position
    position.marks_ms, position.marks_e8 = [], []
    now, all_marks = 0, []
    for after, mark in steps:
        now += after
        all_marks.append((now, mark))
        remember_mark(position, mark_e8=mark, now=now, window_ms=60_000)

    expected = [row for row in all_marks if now - row[0] <= 60_000][-MARKS_KEPT:]
    assert expected == list(zip(position.marks_ms, position.marks_e8, strict=True))
