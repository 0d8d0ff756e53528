"""What rules do: closing while the venue halts, parts too small, what the ratchet is shown."""

from __future__ import annotations

import msgspec

from pipeline.core.commands import ClosePosition
from pipeline.core.events import CloseRequested, InstrumentChanged, Side
from pipeline.core.exits.acts import price_e8, reduce, stop_view, tradable
from pipeline.core.exits.rule import Fired
from pipeline.core.turn import Turn
from pipeline.core.units import ONE_E8
from tests.sessions.story import INSTRUMENT, Story
from tests.sessions.test_targets import opened


def turn_of(story: Story) -> Turn:
    state = story.session.state
    assert state.mark_stamp is not None
    return Turn(state, state.mark_stamp)


def test_the_ratchet_sees_the_quote_only_while_it_is_fresh() -> None:
    """A stale quote is left out of the clamp; the mark alone is enough."""
    session, venue = opened()
    venue.mark(50_100)
    turn = Turn(session.state, session.state.mark_stamp)  # type: ignore[arg-type]
    assert 50_100 * ONE_E8 == stop_view(turn).mid_e8
    session.wait(5_250)

    assert (0, 0) == (stop_view(turn).mid_e8, stop_view(turn).spread_e8)
    assert 50_100 * ONE_E8 == price_e8(turn)


def test_the_ratchet_does_without_bars() -> None:
    """Ranges that are not known are 0, and what needs them is left out."""
    session, _ = opened()
    session.state.bars.gapped = True
    turn = Turn(session.state, session.state.mark_stamp)  # type: ignore[arg-type]

    assert (0, 0) == (stop_view(turn).atr_5m_e8, stop_view(turn).atr_1h_e8)


def test_a_part_leaves_at_least_the_least_quantity_on_both_sides() -> None:
    """Nothing is asked for when a part, or the rest, would be below the venue's minimum."""
    story = Story(Side.BUY)
    turn = turn_of(story)

    assert [False, False] == [reduce(turn, "X9", Fired("why"), lots=lots) for lots in (0, 100)]
    assert [True, True] == [reduce(turn, "X9", Fired("why"), lots=lots) for lots in (1, 99)]


def test_a_close_waits_for_the_venue_and_goes_out_once_it_trades() -> None:
    """X17: asked for while the contract is halted, sent with the first line after it trades again; no alert for it."""
    story = Story(Side.BUY)
    story.say(CloseRequested(command="c", reason=""))
    assert 1 == len(story.session.all(ClosePosition))

    halted = Story(Side.BUY)
    halted.say(InstrumentChanged(instrument=msgspec.structs.replace(INSTRUMENT, status="BREAK")))
    assert not tradable(turn_of(halted))
    halted.say(CloseRequested(command="c", reason=""))
    halted.seconds(120)
    assert [] == halted.closes
    halted.say(InstrumentChanged(instrument=INSTRUMENT))
    halted.seconds(1)

    assert ["HAND"] == halted.closes
    assert "close_again" not in halted.session.codes()
