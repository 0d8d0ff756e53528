"""
Stories of positions that were opened elsewhere: by hand, by another bot, by a log that was lost (domain 6.7).

The executor has put the far stop (``execution.adoption``); from then on the exit rules watch the position, and the stop
on the venue has one owner throughout: decide never states, moves or sweeps it. Told for a long, and upside down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from pipeline.core.commands import (
    CancelLeg,
    ClosePosition,
    MoveStop,
    PlaceTarget,
    ReducePosition,
    ReportTrade,
)
from pipeline.core.events import CloseRequested, Leg, PositionOverridden, Side, TradingMode, TradingStateSet
from pipeline.core.positions import Stage
from tests.sessions.story import Story, assert_mirrored, assert_restarts_change_nothing
from tests.sessions.venue import Resting

Tale = Callable[[Story], None]
STORIES: Final[dict[str, Tale]] = {}
FAR = "adopted.1Z.1.zzzz0-a0"  # as the executor names a stop under a position of others


def story(tale: Tale) -> Tale:
    """Put it into the list."""
    STORIES[tale.__name__] = tale
    return tale


def opened_elsewhere(s: Story, *, lots: int = 100, stop: int | None = -180) -> None:
    """Somebody opens at the middle; the executor puts a far stop at that offset (None: not yet)."""
    s.venue.lots, s.venue.entry = s.sign * lots, 50_000
    s.say(s.venue.account())
    if stop is not None:
        rest(s, stop)


def rest(s: Story, stop: int) -> None:
    """The far stop of the executor."""
    s.venue.resting[FAR] = Resting(FAR, Leg.FAR, s.side.opposite, s.price(stop), 0, "adopted", 77)


def live(s: Story, seconds: int, offset: int | None = None) -> None:
    """Seconds with a mark and the ticks that ask for reads."""
    for _ in range(seconds):
        s.seconds(1, offset)
        s.venue.run(s.session.wait(250))


def untouched(s: Story) -> bool:
    """True while decide has stated and cancelled no order but closes."""
    asked = (MoveStop, PlaceTarget, CancelLeg, ReducePosition)
    return not any(isinstance(output, asked) for output in s.session.outputs)


def taken(s: Story) -> None:
    """The usual beginning: opened elsewhere, stopped by the executor, taken in."""
    opened_elsewhere(s)
    live(s, 8)
    assert s.position.adopted


@story
def it_is_taken_in_once_it_has_stood_and_a_stop_covers_it(s: Story) -> None:
    opened_elsewhere(s, stop=None)
    live(s, 8)
    assert s.session.state.position is None  # no stop yet
    rest(s, -180)
    live(s, 40)
    position = s.position
    assert (True, Stage.OPEN, 100, -180) == (position.adopted, position.stage, position.lots, s.stop)
    assert (180, s.session.state.foreign) == (position.risk_e8 // 10**8, None)
    assert "position_taken_in" in s.session.codes()
    assert untouched(s)


@story
def it_is_not_taken_in_while_late_words_may_explain_it(s: Story) -> None:
    opened_elsewhere(s)
    live(s, 3)
    assert s.session.state.position is None


@story
def a_close_by_hand_from_before_closes_it_once_it_is_taken_in(s: Story) -> None:
    opened_elsewhere(s)
    live(s, 2)
    assert s.session.state.position is None
    s.say(CloseRequested("hand-1", "enough"))
    live(s, 10)
    assert ["HAND"] == s.closes
    assert 0 == s.venue.lots


@story
def a_composite_reversal_closes_it_at_market(s: Story) -> None:
    taken(s)
    s.bars(2, 20)
    s.factors(E=-50)
    s.bars(1, 20)
    assert ["X8"] == s.closes
    assert untouched(s)
    assert 0 == s.venue.lots


@story
def a_level_that_only_tightens_closes_it_when_the_mark_passes_it(s: Story) -> None:
    taken(s)
    live(s, 6, 280)
    tightened = s.stop
    assert tightened > 0  # breakeven or the chandelier, 280 being more than 1.5 R
    live(s, 2, tightened + 1)
    assert [] == s.closes
    live(s, 1, tightened)
    assert ["LEVEL"] == s.closes
    assert s.session.last(ReportTrade).outcome in ("trailing_stop", "breakeven_stop")
    assert untouched(s)


@story
def its_far_stop_ends_it_on_the_venue(s: Story) -> None:
    taken(s)
    live(s, 1, -180)
    assert ([], "hard_stop") == (s.closes, s.session.last(ReportTrade).outcome)
    assert s.session.state.position is None


@story
def its_owner_closes_it(s: Story) -> None:
    taken(s)
    s.venue.lots = 0
    s.say(s.venue.account())
    live(s, 2)
    assert ([], "external") == (s.closes, s.session.last(ReportTrade).outcome)


@story
def its_owner_adds_and_takes_and_the_quantity_follows(s: Story) -> None:
    taken(s)
    s.venue.lots = s.sign * 150
    s.say(s.venue.account())
    live(s, 2)
    assert 150 == s.position.lots
    s.venue.lots = s.sign * 50
    s.say(s.venue.account())
    live(s, 2)
    assert (50, [], True) == (s.position.lots, s.closes, untouched(s))


@story
def its_owner_turns_it_round_and_the_other_side_is_taken_in(s: Story) -> None:
    taken(s)
    s.venue.lots = -s.sign * 60
    s.venue.resting.clear()
    s.say(s.venue.account())
    live(s, 2)
    assert "external" == s.session.last(ReportTrade).outcome
    s.venue.resting[FAR] = Resting(FAR, Leg.FAR, s.side, s.price(180), 0, "adopted", 78)
    live(s, 60)
    assert (s.side.opposite, 60, []) == (s.position.side, s.position.lots, s.closes)


@story
def a_stop_that_its_owner_takes_away_is_told_and_closes_nothing(s: Story) -> None:
    taken(s)
    del s.venue.resting[FAR]
    live(s, 150)
    assert [] == s.closes
    assert "unprotected" in s.session.codes()
    rest(s, -150)  # the executor has put it back
    live(s, 60)
    assert s.position.unprotected_ms < 0
    assert untouched(s)


@story
def the_kill_switch_closes_it_too(s: Story) -> None:
    taken(s)
    s.say(TradingStateSet(mode=TradingMode.HALTED, reason="drill"))
    assert (["X3"], "killed") == (s.closes, s.session.last(ReportTrade).outcome)


@story
def one_that_is_to_be_left_alone_is_watched_over_only(s: Story) -> None:
    taken(s)
    s.say(PositionOverridden("o1", leave_alone=True))
    live(s, 6, 280)
    live(s, 2, -20)
    s.factors(E=-90)
    s.bars(2, -20)
    assert [] == s.closes


@story
def a_deep_loss_takes_its_risk_from_the_mark(s: Story) -> None:
    opened_elsewhere(s, stop=-380)
    s.venue.entry = s.price(400)
    live(s, 8)
    assert 780 == s.position.risk_e8 // 10**8
    s.venue.lots = 0
    s.say(s.venue.account())
    live(s, 2)
    opened_elsewhere(s, stop=-100)
    s.venue.entry = s.price(-300)  # far in profit: the stop lies beyond the entry
    live(s, 30)
    assert 100 == s.position.risk_e8 // 10**8


# ------------------------------------------------------------------------------------------------------ the tests


def play(name: str, side: Side, *, restart_every: int = 0) -> Story:
    """Tell the story of that name for *side*."""
    told = Story(side, restart_every=restart_every, open_now=False)
    STORIES[name](told)
    return told


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", STORIES)
def test_story(name: str, side: Side) -> None:
    """Each story ends as it says."""
    play(name, side)


@pytest.mark.parametrize("name", STORIES)
def test_upside_down(name: str) -> None:
    """The mirrored market leads to exactly the mirrored decisions."""
    assert_mirrored(play, name)


@pytest.mark.parametrize("name", STORIES)
def test_restart(name: str) -> None:
    """A restart at any line changes nothing."""
    assert_restarts_change_nothing(play, name)


def test_a_close_names_the_position_and_its_quantity() -> None:
    """The executor needs side and quantity of a position that it did not open."""
    told = play("a_composite_reversal_closes_it_at_market", Side.SELL)

    close = told.session.last(ClosePosition)
    assert (Side.SELL, -100) == (close.side, close.lots)
