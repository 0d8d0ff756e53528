"""The only place for tests of when a position opened elsewhere is taken in; what follows is told in stories."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.adoption import ADOPT_AFTER_MS, covering_stop
from pipeline.core.events import Leg, OpenAlgoOrder, PositionUpdated, Reconciled, Side
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.sessions.script import Session

STOP = OpenAlgoOrder(
    client_id="web_1",
    algo_id=9,
    order_type="STOP_MARKET",
    side=Side.SELL,
    status="NEW",
    lots=Lots(0),
    trigger=Ticks(49_700),
    close_position=True,
    reduce_only=False,
)


def seen(session: Session, *stops: OpenAlgoOrder, lots: int = 100, entry: int = 50_000) -> Reconciled:
    """A complete read of a position that nobody here opened."""
    return Reconciled(
        lots=Lots(lots),
        entry_price=E8(entry * ONE_E8),
        liquidation=E8(0),
        orders=[],
        algo_orders=list(stops),
        event_ms=Milliseconds(session.now),
    )


def foreign(*, stood_ms: int = ADOPT_AFTER_MS) -> Session:
    """A session whose venue has said so long ago that it holds 100 lots."""
    session = Session()
    session.ready()
    session.say(PositionUpdated(Lots(100), E8(50_000 * ONE_E8), "ORDER", Milliseconds(session.now)))
    session.wait(stood_ms)
    session.mark(50_000)
    return session


@pytest.mark.parametrize(
    ("changes", "covers"),
    [
        ({}, True),
        ({"close_position": False, "reduce_only": True}, True),
        ({"close_position": False}, False),
        ({"side": Side.BUY}, False),
        ({"status": "TRIGGERING"}, False),
        ({"order_type": "TAKE_PROFIT_MARKET"}, False),
    ],
)
def test_what_covers_a_long(changes: dict[str, object], covers: bool) -> None:
    """A live stop on the closing side that can only close."""
    assert covers is covering_stop(msgspec.structs.replace(STOP, **changes), Side.BUY)


def test_it_is_taken_in_with_what_the_read_says() -> None:
    """Entry, quantity and the tightest closePosition stop; R is the distance between entry and stop."""
    session = foreign()
    wider = msgspec.structs.replace(STOP, client_id="web_2", trigger=Ticks(49_500))
    session.say(seen(session, wider, STOP))
    position = session.position

    assert (True, Side.BUY, 100, 49_700, 300) == (
        position.adopted,
        position.side,
        position.lots,
        position.stop,
        position.risk_e8 // ONE_E8,
    )
    assert {"web_1", "web_2"} == set(position.orders)
    assert [Leg.FAR, Leg.FAR] == [order.leg for order in position.orders.values()]


def test_stops_by_quantity_count_when_they_cover_everything() -> None:
    """Two halves are a cover, one half is none."""
    half = msgspec.structs.replace(STOP, close_position=False, reduce_only=True, lots=Lots(50))
    one, two = foreign(), foreign()
    one.say(seen(one, half))
    two.say(seen(two, half, msgspec.structs.replace(half, client_id="web_2", trigger=Ticks(49_800))))

    assert one.state.position is None
    assert 49_800 == two.position.stop


@pytest.mark.parametrize("case", ["young", "bare", "another quantity", "no entry price", "passed", "old mark"])
def test_what_keeps_it_out(case: str) -> None:
    """Late words of ours may explain it, nothing covers it, the read disagrees, or nobody sees the market."""
    session = foreign(stood_ms=ADOPT_AFTER_MS - 1 if case == "young" else ADOPT_AFTER_MS)
    if case == "old mark":
        session.wait(20_000)
    match case:
        case "bare":
            read = seen(session)
        case "another quantity":
            session.say(PositionUpdated(Lots(90), E8(50_000 * ONE_E8), "ORDER", Milliseconds(session.now)))
            read = msgspec.structs.replace(seen(session, STOP), event_ms=Milliseconds(session.now - 1))
        case "no entry price":
            read = seen(session, STOP, entry=0)
        case "passed":
            read = seen(session, msgspec.structs.replace(STOP, trigger=Ticks(50_001)), entry=49_000)
        case _:
            read = seen(session, STOP)
    session.say(read)

    assert session.state.position is None
    assert session.state.foreign is not None
