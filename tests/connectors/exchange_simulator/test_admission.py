"""Whether an order may be placed is decided without changing anything."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.admission import judge, matched_price, own_opposite
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.order_specs import OrderSpec
from tests.connectors.exchange_simulator.venues import MIDDLE, Bench


def spec(**changes: object) -> OrderSpec:
    """A buy of 0.010 at 83,860.30, above the best ask."""
    base = {"client_id": "a", "side": "BUY", "order_type": "LIMIT", "time_in_force": "GTC", "lots": 10}
    return OrderSpec(**(base | {"price": MIDDLE + 3} | changes))  # type: ignore[arg-type]


def test_judging_names_the_executions_and_leaves_no_trace() -> None:
    """What would fill, at which price; no order, no event, the same lots still on the book."""
    bench = Bench()
    market = bench.venue.markets["BTCUSDT"]
    first, price = judge(bench.venue.trading, market, spec())

    assert ([(MIDDLE + 1, 10)], MIDDLE + 3) == ([tuple(part) for part in first], price)
    assert ([], {}, first) == (
        bench.venue.user_events,
        bench.venue.trading.orders,
        judge(bench.venue.trading, market, spec())[0],
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"time_in_force": "GTX"}, -5022),
        ({"time_in_force": "FOK", "lots": 20_000}, -5021),
        ({"lots": 5_000}, -2019),
        ({"reduce_only": True}, -2022),
        ({"price": MIDDLE * 2}, -4016),
    ],
)
def test_refusals(change: dict[str, object], code: int) -> None:
    """Each rule has the venue's code."""
    bench = Bench()
    with pytest.raises(VenueError) as refusal:
        judge(bench.venue.trading, bench.venue.markets["BTCUSDT"], spec(**change))
    assert code == refusal.value.code


def test_matched_prices_and_own_orders_in_the_way() -> None:
    """The fifth level of the own side; own makers best price first, only those a taker would reach."""
    bench = Bench()
    assert MIDDLE - 5 == matched_price(bench.venue.markets["BTCUSDT"], "QUEUE_5", buy=True)
    for price in ("83860.20", "83860.10", "83861.00"):
        bench.limit("SELL", "0.010", price)
    opened = bench.venue.trading.opened("BTCUSDT")
    found = own_opposite(opened, buy=True, bound=MIDDLE + 2)

    assert [MIDDLE + 1, MIDDLE + 2] == [order.price for order in found]
    assert [] == own_opposite(opened, buy=False, bound=MIDDLE)
