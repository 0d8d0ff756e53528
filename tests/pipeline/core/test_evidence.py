"""The only place for tests of what is told about our orders: every road, whoever it names, in whatever order."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.commands import ClosePosition, MoveStop, Note, RequestData
from pipeline.core.events import CloseRequested, InstrumentChanged, Leg, Side, Verdict
from pipeline.core.feeds import entry_blocks
from pipeline.core.orders import OrderStatus
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds
from tests.sessions.script import INSTRUMENT, Session
from tests.sessions.test_targets import opened
from tests.sessions.test_venue_wins import foreign_fill
from tests.sessions.venue import Resting, Venue


def working(venue: Venue) -> Resting:
    """The working rail that rests."""
    return next(order for order in venue.resting.values() if order.leg is Leg.WORKING)


def test_a_triggered_stop_under_another_client_id_is_known_by_its_order_id() -> None:
    """``aid`` → ``ai`` (pain 4): the fill belongs to the rail although its client id says nothing."""
    session, venue = opened()
    rail = working(venue)
    venue.tell(venue.algo(rail, "TRIGGERED"))

    fill = foreign_fill(session, client="x-made-by-venue", side=Side.SELL, lots=100, price=49_800)
    session.say(msgspec.structs.replace(fill, order_id=rail.order_id))

    assert session.state.position is None
    assert "foreign_fill" not in session.codes()


def test_an_outcome_without_a_client_id_is_about_the_first_attempt() -> None:
    """A refusal before anything was sent names the intent alone."""
    session = Session()
    session.ready()
    venue = Venue(session)
    session.admit()
    name = session.position.id
    entry = venue.order(name, Leg.ENTRY, Side.BUY, 50_051, 100, name)

    session.say(msgspec.structs.replace(venue.ended(entry, Verdict.REFUSED), client_id="", message="limits"))

    assert session.state.position is None


def test_what_the_executor_does_on_its_own_is_understood_by_the_position_it_names() -> None:
    """It closes while decide is away, under ids of the bracket: decide adopts and never repeats."""
    session, venue = opened()
    name = session.position.id
    close = venue.order(name, Leg.CLOSE, Side.SELL, 0, 100, name)

    venue.fill(close, 100, 49_900, whole=100)

    assert session.state.position is None
    assert [] == session.all(ClosePosition)


def test_an_outcome_of_a_rail_tells_its_level_and_size() -> None:
    """The bracket's rails are known by their outcomes alone when the user stream is dead."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.run(session.admit())
    name = session.position.id
    rail = venue.order(name, Leg.WORKING, Side.SELL, session.position.stop, 100, name)

    session.say(venue.ended(rail, Verdict.ACCEPTED))

    known = session.position.orders[rail.client_id]
    assert (OrderStatus.LIVE, session.position.stop, 100) == (known.status, known.trigger, known.lots)
    assert session.position.unprotected_ms < 0


def test_minus_4130_asks_for_a_complete_read() -> None:
    """One closePosition stop exists: which, the read tells."""
    session, venue = opened()
    far = next(order for order in venue.resting.values() if order.leg is Leg.FAR)
    session.position.orders[far.client_id].status = OrderStatus.ASKED

    session.say(venue.ended(far, Verdict.REJECTED, code=-4130))
    outputs = session.wait(250)

    assert ["audit"] == [
        output.kind for output in outputs if isinstance(output, RequestData) and output.kind == "audit"
    ]


def test_a_rail_in_doubt_goes_out_again_under_a_new_intent() -> None:
    """Domain 6.7: a rail never waits for doubt; 300 ms without evidence and another is stated."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.run(session.admit())
    name = session.position.id
    rail = venue.order(name, Leg.WORKING, Side.SELL, session.position.stop, 100, name)
    session.say(venue.ended(rail, Verdict.IN_DOUBT))

    session.wait(500)

    assert [Leg.WORKING] == [move.leg for move in session.all(MoveStop)]


def test_a_rail_that_vanished_is_believed_gone_after_two_reads() -> None:
    """Accepted, then dropped without a word (pain 2): two complete reads, then the rail is stated again."""
    session, venue = opened()
    del venue.resting[working(venue).client_id]
    venue.answers_audits = False

    session.say(venue.read())
    session.wait(1_000)
    assert [] == session.all(MoveStop)
    session.say(venue.read())

    assert Leg.WORKING is session.last(MoveStop).leg


def test_a_rail_of_ours_that_only_a_read_shows_is_known_from_then_on() -> None:
    """Outcome and user event were both lost."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.answers_audits = False
    venue.run(session.admit())
    name = session.position.id
    rail = venue.order(name, Leg.WORKING, Side.SELL, session.position.stop, 100, name)
    venue.resting[rail.client_id] = rail

    session.say(venue.read())

    assert OrderStatus.LIVE is session.position.orders[rail.client_id].status
    assert 100 == session.position.orders[rail.client_id].lots


def test_contradicting_sources_are_told_to_people() -> None:
    """The venue shows the rail, the executor says it never sent it: the rail stays live, people are told."""
    session, venue = opened()
    rail = working(venue)
    session.say(venue.ended(rail, Verdict.REFUSED))

    assert ["order_contradiction"] == session.codes()
    assert OrderStatus.LIVE is session.position.orders[rail.client_id].status


def test_an_unknown_word_of_the_venue_moves_nothing() -> None:
    """A new status is noted, never guessed at."""
    session, venue = opened()
    rail = working(venue)
    session.say(venue.algo(rail, "SLEEPING"))

    assert "order_status_unknown" in [note.code for note in session.all(Note)]
    assert OrderStatus.LIVE is session.position.orders[rail.client_id].status


def test_foreign_orders_without_a_position_are_nobodys_business() -> None:
    """Fills and conditional orders of a person on a symbol we do not hold."""
    session = Session()
    session.ready()
    venue = Venue(session)
    rail = msgspec.structs.replace(venue.order("x", Leg.FAR, Side.SELL, 1, 0, ""), client_id="web_1")

    assert [] == session.say(foreign_fill(session, client="web_2", side=Side.BUY, lots=5, price=50_000))
    assert [] == session.say(venue.algo(rail, "NEW"))
    assert [] == session.say(venue.ended(rail, Verdict.ACCEPTED))


def test_a_close_without_a_position_is_silent() -> None:
    """Account asks every symbol of the partition."""
    session = Session()
    session.ready()

    assert [] == session.say(CloseRequested(command="c", reason="all"))


def test_a_late_fill_of_a_closed_position_changes_the_one_that_is_open() -> None:
    """An orphan of the last position fills under the next one: the quantity follows, people are told."""
    session, venue = opened()
    orphan = next(order for order in venue.resting.values() if order.leg is Leg.TARGET)
    session.wait(1_000)
    venue.mark(session.position.stop - 1)
    session.active()
    venue.mark(50_000)
    venue.run(session.admit(admission="adm-2"))
    before = session.position.lots

    venue.fill(orphan, 10, 50_250, whole=50)

    assert before - 10 == session.position.lots
    assert "late_fill" in session.codes()


def test_an_old_entry_price_of_the_venue_is_not_taken() -> None:
    """Statements older than our newest fill are history in price as in quantity."""
    session, venue = opened()
    venue.tell(
        msgspec.structs.replace(
            venue.account(), entry_price=E8(7 * ONE_E8), lots=Lots(100), event_ms=Milliseconds(session.now - 5_000)
        )
    )

    assert 50_001 * ONE_E8 == session.position.venue_entry_e8


@pytest.mark.parametrize("code", [-4140, -4141, -1122, -1016])
def test_a_refusal_that_says_the_symbol_is_closed_closes_entries_until_the_venue_says_otherwise(code: int) -> None:
    """X17: entries close at once, exchangeInfo is asked for, a close waits, and an answer opens the symbol again."""
    session = Session()
    venue = Venue(session)
    session.ready()
    venue.run(session.admit())
    rail = working(venue)

    session.say(venue.ended(rail, Verdict.REJECTED, code=code))
    asked = [ask.kind for ask in session.all(RequestData)]
    assert any("the venue refuses orders" in reason for reason in entry_blocks(session.state))
    session.wait(300)
    assert "exchange_info" in {ask.kind for ask in session.all(RequestData)} - set(asked)
    assert ["not_tradable"] == [word for word in session.codes() if word == "not_tradable"]
    assert any("X17" in decision.rules for decision in session.decisions)
    session.say(CloseRequested(command="c1", reason="now"))
    assert [] == session.all(ClosePosition)

    session.say(InstrumentChanged(instrument=INSTRUMENT))
    session.wait(300)
    assert not any("refuses orders" in reason for reason in entry_blocks(session.state))
    assert [ClosePosition] == [type(close) for close in session.all(ClosePosition)]
