"""Sessions that end by a stop: hard, breakeven, trailing; and what can go wrong on the way there."""

from __future__ import annotations

from itertools import pairwise

from pipeline.core.commands import Alert, ClosePosition, MoveStop, ReportTrade
from pipeline.core.events import Leg, Side, Verdict
from pipeline.core.positions import Basis, Stage
from tests.sessions.script import Session
from tests.sessions.test_targets import opened
from tests.sessions.venue import Venue


def working(session: Session) -> list[MoveStop]:
    """Every statement about rail (b)."""
    return [move for move in session.all(MoveStop) if move.leg is Leg.WORKING]


def test_a_fall_through_the_initial_stop_ends_as_hard_stop() -> None:
    """The working rail fires at the mark; the trade is told with what its level followed from."""
    session, venue = opened()

    session.wait(2_000)
    venue.mark(session.position.stop - 1)

    trade = session.last(ReportTrade)
    assert ("S0", "hard_stop", 0) == (trade.reason, trade.outcome, trade.stop_moves)
    assert trade.realised < 0 < trade.fees


def test_a_rise_trails_the_stop_and_the_fall_back_ends_as_trailing_stop() -> None:
    """From 1.5 R on the chandelier leads the stop; it only tightens, at most once in five seconds."""
    session, venue = opened(target=51_900, last_target=52_000)
    risk = 180

    for price in range(50_001, 50_001 + 5 * risk, 20):
        session.wait(1_000)
        venue.mark(price)
    levels = [move.trigger for move in working(session)]
    assert levels == sorted(levels)
    assert Basis.CHANDELIER is session.position.basis
    at = session.position.stop_changes
    assert all(later - earlier >= 5_000 for earlier, later in pairwise(at))
    venue.mark(session.position.stop - 1)

    trade = session.last(ReportTrade)
    assert ("S_ch", "trailing_stop") == (trade.reason, trade.outcome)
    assert trade.realised > 0


def test_a_short_is_the_mirror_image() -> None:
    """A short's stop lies above, tightens downwards, and rounds away from the price."""
    session, venue = opened_short()

    assert session.position.stop > 50_000 > session.position.target > session.position.last_target
    session.wait(5_000)
    venue.mark(49_750)
    assert session.position.stop < 50_000
    venue.mark(session.position.stop + 1)

    assert "breakeven_stop" == session.last(ReportTrade).outcome


def opened_short() -> tuple[Session, Venue]:
    """A short of 100 lots at 49,999."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.run(session.admit(side=Side.SELL, target=49_600, last_target=49_000))
    return session, venue


def test_a_stop_filled_at_breakeven_is_told_so() -> None:
    """After TP1 the rest goes out at the breakeven level."""
    session, venue = opened()

    session.wait(6_000)
    venue.mark(session.position.target)
    session.wait(1_000)
    venue.mark(session.position.stop - 1)

    trade = session.last(ReportTrade)
    assert ("S_be", "breakeven_stop") == (trade.reason, trade.outcome)


def test_tp1_moves_the_far_rail_once_to_the_old_stop_level() -> None:
    """Rail (a) stays put until TP1, then stands where the stop stood before breakeven, never on rail (b)."""
    session, venue = opened()
    initial = session.position.stop

    session.wait(6_000)
    venue.mark(session.position.target)

    far = [move.trigger for move in session.all(MoveStop) if move.leg is Leg.FAR]
    assert [initial] == far
    assert session.position.stop > initial


def test_a_move_refused_with_2021_keeps_the_old_stop_and_holds_on_when_the_price_returns() -> None:
    """−2021 on a mere ratchet move is no exit: the old stop rests, and the level is clamped again later."""
    session, venue = opened()
    old = session.position.stop
    session.wait(6_000)
    refuse_next_move(session, venue, price=50_200, code=-2021)

    assert old == session.position.stop
    session.wait(500)
    session.mark(50_190)
    session.wait(3_000)

    assert [] == session.all(ClosePosition)
    assert Stage.OPEN is session.position.stage


def test_a_move_refused_with_2021_closes_when_the_price_stays_through_it() -> None:
    """Still through the wanted level after one second: then it is an exit (X2)."""
    session, venue = opened()
    session.wait(6_000)
    refused = refuse_next_move(session, venue, price=50_200, code=-2021)

    session.mark(refused - 1)
    session.wait(1_250)

    assert "X2" == session.last(ClosePosition).reason


def refuse_next_move(session: Session, venue: Venue, *, price: int, code: int) -> int:
    """Move the market so that the stop moves, and let the venue refuse that move; returns the level refused."""
    session.quote(price - 1, price + 1)
    outputs = session.mark(price)
    move = next(output for output in outputs if isinstance(output, MoveStop))
    intent = session.ids[session.outputs.index(move)]
    order = venue.order(intent, move.leg, move.side.opposite, move.trigger, move.lots, move.position)
    venue.tell(venue.ended(order, Verdict.REJECTED, code=code))
    return move.trigger


def test_the_first_rail_refused_with_2021_closes_at_once() -> None:
    """Price through the stop of a new position before it rested: close now, that is what the stop was for (pain 21)."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.run(session.admit())
    name = session.position.id
    rail = venue.order(name, Leg.WORKING, Side.SELL, session.position.stop, 100, name)

    venue.tell(venue.ended(rail, Verdict.REJECTED, code=-2021))

    assert "X2" == session.last(ReportTrade).reason
    assert "emergency" == session.last(ReportTrade).outcome


def test_a_transient_refusal_of_a_rail_is_stated_again_under_the_other_rail() -> None:
    """Any other refusal is no emergency while one rail covers: it is stated again under a new intent (pain 21)."""
    session, venue = opened()
    session.wait(6_000)
    refuse_next_move(session, venue, price=50_200, code=-1008)
    before = len(working(session))

    venue.run(session.wait(1_250))

    assert before + 1 == len(working(session))
    assert [] == session.all(ClosePosition)
    assert [] == [alert for alert in session.all(Alert) if alert.severity == "critical"]


def test_x1_closes_a_position_without_any_proven_stop_only_by_a_fresh_read() -> None:
    """No rail is proven: rails are stated again at once, a complete read is asked for, and only that read closes."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.answers_audits = False
    venue.run(session.admit())

    session.wait(2_500)
    assert {Leg.FAR, Leg.WORKING} <= {move.leg for move in session.all(MoveStop)}
    assert "unprotected" in session.codes()
    assert [] == session.all(ClosePosition)  # blind is no reason to close
    session.say(venue.read())

    assert "X1" == session.last(ClosePosition).reason
    assert Stage.CLOSING is session.position.stage


def test_x1_does_not_close_when_the_read_shows_cover() -> None:
    """The outcomes are lost but the stops rest: the read proves them, and nothing is closed."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.answers_audits = False
    venue.run(session.admit())
    for order in session.position.orders.values():  # as if no outcome and no event had ever come
        if order.leg in (Leg.FAR, Leg.WORKING):
            order.status = order.status.__class__.ASKED
    session.wait(2_500)

    session.say(venue.read())
    session.wait(2_500)

    assert [] == session.all(ClosePosition)
    assert session.position.unprotected_ms < 0


def test_x2_closes_when_the_engine_rejects_a_triggered_rail() -> None:
    """ALGO_UPDATE REJECTED with the quantity still open: market close and a watchdog alert."""
    session, venue = opened()
    rail = next(order for order in venue.resting.values() if order.leg is Leg.WORKING)

    venue.tell(venue.algo(rail, "TRIGGERING"), venue.algo(rail, "REJECTED", reason="margin"))

    assert "X2" == session.all(ClosePosition)[0].reason
    assert "watchdog_close" in session.codes()
    assert "emergency" == session.last(ReportTrade).outcome


def test_x2_closes_a_rail_stuck_in_triggering_after_three_seconds() -> None:
    """A rail in TRIGGERING for more than 3 s with the position open is a failed rail."""
    session, venue = opened()
    rail = next(order for order in venue.resting.values() if order.leg is Leg.WORKING)

    venue.tell(venue.algo(rail, "TRIGGERING"))
    session.wait(3_000)
    assert [] == session.all(ClosePosition)
    session.wait(250)

    assert "X2" == session.last(ClosePosition).reason


def test_x2_closes_when_the_mark_is_through_a_rail_that_still_rests() -> None:
    """The working price is through the stop for one second and the rail is still NEW."""
    session, _ = opened()

    session.mark(session.position.stop - 5)
    session.wait(750)
    assert [] == session.all(ClosePosition)
    session.wait(250)

    assert "X2" == session.last(ClosePosition).reason


def test_two_rails_passed_at_once_are_no_failure() -> None:
    """The far rail fills, the working one is refused because nothing is left: no watchdog, an ordinary stop."""
    session, venue = opened()
    far = next(order for order in venue.resting.values() if order.leg is Leg.FAR)
    rail = next(order for order in venue.resting.values() if order.leg is Leg.WORKING)

    venue.tell(venue.algo(far, "TRIGGERING"), venue.algo(rail, "TRIGGERING"))
    venue.tell(venue.algo(rail, "REJECTED", reason="reduce only"))
    del venue.resting[far.client_id]
    venue.fill(far, 100, 49_700, whole=100)

    assert [] == session.all(ClosePosition)
    assert "hard_stop" == session.last(ReportTrade).outcome


def test_the_fill_of_a_stop_may_come_before_it_is_told_triggered() -> None:
    """ORDER_TRADE_UPDATE first, ALGO_UPDATE TRIGGERED and FINISHED after: nothing is repeated or contradicted."""
    session, venue = opened()
    rail = next(order for order in venue.resting.values() if order.leg is Leg.WORKING)
    del venue.resting[rail.client_id]

    venue.fill(rail, 100, 49_820, whole=100)
    venue.tell(venue.algo(rail, "TRIGGERED"), venue.algo(rail, "FINISHED"))

    assert 1 == len(session.all(ReportTrade))
    assert "order_contradiction" not in session.codes()
