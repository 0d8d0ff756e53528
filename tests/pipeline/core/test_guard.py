"""The only place for tests of keeping orders in line with what a position wants."""

from __future__ import annotations

import pytest

from pipeline.core.commands import MoveStop, PlaceTarget
from pipeline.core.events import Leg, Side, Stamp, Verdict
from pipeline.core.guard import ORDERS_KEPT, ORDERS_KEPT_MS, TARGET_TRIES, keep_rails, move_stop
from pipeline.core.orders import OrderStatus
from pipeline.core.positions import Basis, Order
from pipeline.core.turn import Turn
from pipeline.core.units import Milliseconds
from tests.sessions.script import Session
from tests.sessions.test_targets import opened
from tests.sessions.test_venue_wins import foreign_fill
from tests.sessions.venue import Venue


def silent() -> tuple[Session, Venue]:
    """A filled position whose rails nobody places and whose reads nobody answers."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.answers_audits = False
    venue.run(session.admit())
    return session, venue


def test_the_brackets_rails_get_their_time_before_they_are_stated_again() -> None:
    """The executor places them within 500 ms of the first fill; decide waits a little longer."""
    session, _ = silent()

    session.wait(500)
    assert [] == session.all(MoveStop)
    session.wait(500)

    assert {Leg.FAR, Leg.WORKING} == {move.leg for move in session.all(MoveStop)}


def test_a_rail_without_proof_is_stated_again_with_growing_waits() -> None:
    """1 s, 2 s, 4 s … under a new intent each time, never a flood."""
    session, _ = silent()
    session.wait(700 + 1_000 + 2_000 + 4_000 + 1_000)

    working = [move for move in session.all(MoveStop) if move.leg is Leg.WORKING]
    assert 4 == len(working)
    assert {(session.position.stop, 100)} == {(move.trigger, move.lots) for move in working}


def test_nothing_is_stated_while_a_rail_is_being_executed() -> None:
    """A stop beside one that has just fired would only be refused (−2021)."""
    session, venue = opened()
    rail = next(order for order in venue.resting.values() if order.leg is Leg.WORKING)
    session.wait(5_000)

    session.say(venue.algo(rail, "TRIGGERING"))
    session.wait(2_000)

    assert [] == session.all(MoveStop)


def test_a_stop_is_never_moved_the_wrong_way() -> None:
    """A broken promise of the core, not a wish to be granted."""
    session, _ = opened()
    turn = Turn(session.state, Stamp(3, 1, 0, Milliseconds(0), Milliseconds(0)))

    with pytest.raises(AssertionError):
        move_stop(turn, trigger=session.position.stop - 1, basis=Basis.BREAKEVEN)


def test_a_target_that_fails_is_placed_again_a_few_times_and_then_told() -> None:
    """A missing target is no danger: the stops stay, people are told once."""
    session, venue = opened()
    for _ in range(TARGET_TRIES + 2):
        for order in [o for o in venue.resting.values() if o.leg is Leg.TARGET]:
            del venue.resting[order.client_id]
            session.position.orders[order.client_id].status = OrderStatus.REJECTED
        venue.run(session.wait(10_000))

    placed = [target for target in session.all(PlaceTarget) if target.leg is Leg.TARGET]
    assert TARGET_TRIES == len(placed)
    assert 1 == session.codes().count("target_missing")


def test_a_last_target_refused_because_the_price_is_beyond_it_closes() -> None:
    """−2021 on TP2: the target is reached, the position is closed as such."""
    session, venue = opened()
    last = next(order for order in venue.resting.values() if order.leg is Leg.LAST_TARGET)
    del venue.resting[last.client_id]
    session.position.orders[last.client_id].status = OrderStatus.ASKED

    venue.tell(venue.ended(last, Verdict.REJECTED, code=-2021))

    from pipeline.core.commands import ReportTrade  # noqa: PLC0415

    assert ("X7", "target") == (session.last(ReportTrade).reason, session.last(ReportTrade).outcome)


def test_rails_that_ended_long_ago_are_forgotten_but_fills_never() -> None:
    """Memory is bounded over a day of trailing."""
    session, venue = opened()
    position = session.position
    for number in range(ORDERS_KEPT + 20):
        name = f"old-{number}"
        position.intents[name] = Leg.WORKING
        position.orders[name] = Order(
            client_id=name, intent=name, leg=Leg.WORKING, status=OrderStatus.CANCELLED, filled=number == 3
        )
    session.now += ORDERS_KEPT_MS + 1_000
    venue.mark(50_200)
    venue.run(session.wait(250))

    assert "old-3" in position.orders
    assert "old-4" not in position.orders
    assert "old-4" not in position.intents
    assert len(position.orders) < ORDERS_KEPT


def test_a_position_stored_before_ladders_goes_on_with_its_two_targets() -> None:
    """An old state has no steps: its targets become them, nothing is placed again, and X6 still knows its order."""
    session, venue = opened()
    position = session.position
    position.ladder, position.step_intents = [], []
    stated = len(session.all(PlaceTarget))
    session.wait(1_000)

    assert stated == len(session.all(PlaceTarget))
    assert [position.target, position.last_target] == [step.price for step in position.ladder]
    venue.mark(position.target)
    assert 50 == session.position.lots
    assert session.position.first_target_done


def test_a_mere_move_of_a_stop_that_covers_is_marked_and_nothing_else_is() -> None:
    """The account's limit of moves holds for a ratchet move alone: not for the first rail, a resize or an X-rule."""
    session, venue = opened()
    session.wait(1_000)
    venue.mark(50_200)
    session.wait(1_000)
    moves = [move for move in session.all(MoveStop) if move.leg is Leg.WORKING]
    assert [True] == [move.ratchet for move in moves]

    venue.lots = 50
    venue.tell(foreign_fill(session, client="web_abc", side=Side.SELL, lots=50, price=50_200), venue.account())
    resized = [move for move in session.all(MoveStop) if move.leg is Leg.WORKING][-1]
    assert (50, False) == (resized.lots, resized.ratchet)

    turn = Turn(session.state, Stamp(0, 10**6, 0, Milliseconds(session.now), Milliseconds(session.now)))
    move_stop(turn, trigger=session.position.stop + 20, basis=Basis.FACTORS, forced=True)
    keep_rails(turn)
    assert [False] == [o.ratchet for o in turn.outputs if isinstance(o, MoveStop)]
