"""Sessions in which the venue says something our orders do not explain: flat, less, more, foreign (X0a, X0b)."""

from __future__ import annotations

import msgspec

from pipeline.core.commands import CancelLeg, ClosePosition, MoveStop, OpenBracket, ReportTrade, Sweep
from pipeline.core.events import Leg, OrderUpdated, PositionUpdated, Side
from pipeline.core.positions import Stage
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds
from tests.sessions.script import Session
from tests.sessions.test_targets import opened
from tests.sessions.venue import Venue


def foreign_fill(session: Session, *, client: str, side: Side, lots: int, price: int, trade: int = 900) -> OrderUpdated:
    """A fill of an order that is not ours."""
    return OrderUpdated(
        client_id=client,
        order_id=77,
        side=side,
        execution="TRADE",
        status="FILLED",
        original_type="MARKET",
        lots=Lots(lots),
        filled_lots=Lots(lots),
        fill_lots=Lots(lots),
        fill_price=E8(price * ONE_E8),
        trade_id=trade,
        fee=E8(0),
        realised=E8(0),
        reduce_only=False,
        event_ms=Milliseconds(session.now),
    )


def stated(session: Session, lots: int) -> PositionUpdated:
    """What ACCOUNT_UPDATE says."""
    return PositionUpdated(lots=Lots(lots), entry_price=E8(0), reason="ORDER", event_ms=Milliseconds(session.now))


def test_x0a_flat_by_account_update_without_an_order_of_ours_is_external() -> None:
    """Nothing explains the flat within a moment: CLOSED, swept, told as external and valued at mark."""
    session, venue = opened()
    session.wait(1_000)
    venue.lots = 0

    venue.tell(stated(session, 0))
    assert [] == session.all(ReportTrade)
    venue.run(session.wait(500))

    trade = session.last(ReportTrade)
    assert ("X0a", "external") == (trade.reason, trade.outcome)
    assert 1 == len(session.all(Sweep))
    assert {} == venue.resting


def test_x0a_a_flat_that_our_own_fill_explains_a_moment_later_is_not_external() -> None:
    """ACCOUNT_UPDATE may come before the fill that made it: the trade keeps its real reason."""
    session, venue = opened()
    session.wait(1_000)
    rail = next(order for order in venue.resting.values() if order.leg is Leg.WORKING)

    venue.tell(stated(session, 0))
    session.wait(250)
    venue.fill(rail, 100, 49_800, whole=100)

    assert "hard_stop" == session.last(ReportTrade).outcome


def test_x0a_one_read_that_says_flat_closes_nothing_two_do() -> None:
    """An incomplete position list has cancelled stops of live positions elsewhere (pain 11): it takes two reads."""
    session, venue = opened()
    venue.answers_audits = False
    session.wait(1_000)
    read = msgspec.structs.replace(venue.read(), lots=Lots(0), entry_price=E8(0))

    session.say(read)
    session.wait(2_000)
    assert (100, Stage.OPEN) == (session.position.lots, session.position.stage)
    session.say(msgspec.structs.replace(read, event_ms=Milliseconds(session.now)))

    assert "external" == session.last(ReportTrade).outcome


def test_x0b_a_reduction_by_hand_is_adopted_and_the_working_rail_resized() -> None:
    """Half is sold by hand: the rail follows new before old, the target shrinks, no stop is cancelled by decide."""
    session, venue = opened()
    session.wait(1_000)
    venue.lots = 50

    venue.tell(
        foreign_fill(session, client="web_abc", side=Side.SELL, lots=50, price=50_010),
        stated(session, 50),
    )

    assert 50 == session.position.lots
    assert (Leg.WORKING, 50) == (session.last(MoveStop).leg, session.last(MoveStop).lots)
    assert [Leg.TARGET] == [cancel.leg for cancel in session.all(CancelLeg)]
    assert [25] == [order.lots for order in venue.resting.values() if order.leg is Leg.TARGET]
    assert "foreign_fill" in session.codes()


def test_x0b_a_statement_alone_is_adopted_after_a_moment() -> None:
    """The fill was lost (user stream cut): ACCOUNT_UPDATE alone changes the quantity, after the time fills may take."""
    session, venue = opened()
    session.wait(1_000)

    venue.tell(stated(session, 40))
    assert 100 == session.position.lots
    session.wait(500)

    assert 40 == session.position.lots
    assert "quantity_adopted" in session.codes()


def test_x0b_the_late_fill_behind_an_adopted_statement_counts_once() -> None:
    """The fill that explains what was adopted comes at last: the quantity does not change a second time."""
    session, venue = opened()
    session.wait(1_000)
    stood = session.now
    target = next(order for order in venue.resting.values() if order.leg is Leg.TARGET)
    venue.tell(stated(session, 80))
    session.wait(1_000)
    assert 80 == session.position.lots

    session.now, now = stood, session.now
    event = foreign_fill(session, client=target.client_id, side=Side.SELL, lots=20, price=target.trigger, trade=50)
    session.now = now
    session.say(msgspec.structs.replace(event, status="PARTIALLY_FILLED", lots=Lots(50)))

    assert 80 == session.position.lots


def test_a_foreign_order_that_takes_everything_ends_as_external() -> None:
    """Liquidation, ADL or a person's market order: no confirmation is awaited (X0b), flat is flat."""
    session, _ = opened()
    session.wait(1_000)

    session.say(foreign_fill(session, client="autoclose-123", side=Side.SELL, lots=100, price=49_000))

    assert ("X0a", "external") == (session.last(ReportTrade).reason, session.last(ReportTrade).outcome)


def test_a_quantity_nobody_opened_closes_entries_and_is_told_but_not_touched() -> None:
    """The venue holds a position that no intent of ours explains: alarm, no entry, no order of ours."""
    session = Session()
    session.ready()

    session.say(stated(session, 7))
    session.wait(1_500)
    session.active()
    session.quote(49_999, 50_001)
    session.admit()

    assert "foreign_position" in session.codes()
    assert [] == session.all(OpenBracket) + session.all(ClosePosition) + session.all(MoveStop)


def test_a_stale_statement_after_the_close_raises_no_alarm() -> None:
    """An ACCOUNT_UPDATE older than the last fill of a closed position says nothing about now."""
    session, venue = opened()
    session.wait(1_000)
    old = stated(session, 50)
    session.wait(1_000)
    venue.mark(session.position.stop - 1)
    assert session.state.position is None

    session.say(old)

    assert session.state.foreign is None


def test_a_foreign_close_position_stop_is_adopted_as_cover() -> None:
    """−4130 proves that one exists: the read shows it, it counts as rail (a), nobody touches it."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.places_rails = False
    venue.answers_audits = False
    venue.run(session.admit())
    stop = venue.order("x", Leg.FAR, Side.SELL, 49_500, 0, "")
    venue.resting["web_stop"] = msgspec.structs.replace(stop, client_id="web_stop")

    session.say(venue.read())
    session.wait(5_000)

    assert [] == session.all(ClosePosition)
    assert session.position.unprotected_ms < 0


def test_orphans_of_a_closed_position_are_swept_again() -> None:
    """A leftover seen by a later read is swept by its position's name; foreign orders are never touched (pain 6)."""
    session, venue = opened()
    session.wait(1_000)
    name = session.position.id
    left = next(order for order in venue.resting.values() if order.leg is Leg.TARGET)
    venue.mark(session.position.stop - 1)
    assert session.state.position is None
    venue.resting[left.client_id] = left
    venue.resting["web_1"] = msgspec.structs.replace(left, client_id="web_1")

    session.say(venue.read())

    assert [name, name] == [sweep.position for sweep in session.all(Sweep)]
