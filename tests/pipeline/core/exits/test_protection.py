"""Lost sight and its return, and what a halt of the account is told as; the stories are in tests/sessions."""

from __future__ import annotations

import pytest

from pipeline.core.events import FeedLost, Side, TradingMode, TradingStateSet
from pipeline.core.exits.protection import blind_reason, watch_sight
from pipeline.core.turn import Turn
from tests.sessions.story import Story


def turn_of(story: Story) -> Turn:
    state = story.session.state
    assert state.mark_stamp is not None
    return Turn(state, state.mark_stamp)


@pytest.mark.parametrize(("age_ms", "blind"), [(30_000, False), (30_001, True)])
def test_marks_may_be_silent_for_thirty_seconds(age_ms: int, blind: bool) -> None:
    """Streamed or read, a mark counts."""
    story = Story(Side.BUY)
    assert story.session.state.mark_stamp is not None
    story.session.state.log_ms = story.session.state.mark_stamp.at_ms + age_ms

    assert blind == bool(blind_reason(turn_of(story)))


def test_a_user_stream_that_a_read_has_replaced_is_no_blindness() -> None:
    """Reconciled by REST within the minute: nothing is told, the clock stands at nothing."""
    story = Story(Side.BUY)
    story.say(FeedLost(stream="private-0", reason="cut"))
    story.seconds(90)

    assert "degraded" not in story.session.codes()
    assert 0 == story.position.user_lost_ms


def test_what_was_being_confirmed_is_broken_off_by_blindness() -> None:
    """Nobody saw the condition hold: it begins anew."""
    story = Story(Side.BUY)
    story.bars(2, 185)
    story.factors(C=-60, flow=-2.5)
    story.seconds(10)
    assert "X9" in story.position.holdings

    story.position.blind_ms = story.session.now
    assert not watch_sight(turn_of(story), story.position)

    assert {} == story.position.holdings


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("kill", "killed"),
        ("X3 day loss 3.1 %", "day_loss"),
        ("X3 margin ratio 82 %", "margin"),
        ("drawdown 12 %", "drawdown"),
    ],
)
def test_a_halt_is_told_as_what_it_was(reason: str, outcome: str) -> None:
    """The account's reason names its rule."""
    story = Story(Side.BUY)
    story.say(TradingStateSet(mode=TradingMode.HALTED, reason=reason))

    assert ("X3", outcome) == story.ended
