"""Modes, dates and price matching are read by the sheet's rules (6.2, 6.4, 6.5)."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.order_requests import order_spec
from tests.connectors.exchange_simulator.venues import START, Bench

LIMIT = {
    "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.010", "price": "83000.00",
    "timeInForce": "GTC", "newClientOrderId": "one",
}  # fmt: skip
GTD = LIMIT | {"timeInForce": "GTD", "goodTillDate": str(START + 601_234)}


def test_a_spec_holds_integers_and_the_defaults() -> None:
    """Ticks and lots; EXPIRE_MAKER, no matching, one-way; GTD with seconds' precision."""
    market, spec = order_spec(Bench().venue, GTD, START)

    assert ("BTCUSDT", 830_000, 10) == (market.row.symbol, spec.price, spec.lots)
    assert ("EXPIRE_MAKER", "NONE", "BOTH") == (spec.self_trade_prevention, spec.price_match, spec.position_side)
    assert (START + 601_234) // 1_000 * 1_000 == spec.good_till_ms


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (GTD | {"goodTillDate": None}, -1102),
        (GTD | {"goodTillDate": str(START + 600_000)}, -5040),
        (GTD | {"goodTillDate": "253402300799000"}, -5040),
        ({"goodTillDate": str(START + 700_000)}, -1106),
        ({"priceMatch": "OPPONENT"}, -1106),
        ({"priceMatch": "OPPONENT_10", "price": None}, -5037),
        ({"priceMatch": "QUEUE", "price": None, "type": "MARKET", "timeInForce": None}, -5038),
        ({"priceMatch": "QUEUE_20", "price": None}, -5041),
        ({"priceMatch": "QUEUE_5", "price": None}, None),
        ({"selfTradePreventionMode": "NEVER"}, -5039),
        ({"icebergQty": "1"}, -1020),
        ({"timeInForce": "RPI"}, -1020),
    ],
)
def test_modes_of_a_regular_order(change: dict[str, str | None], code: int | None) -> None:
    """Each wrong combination has its own code."""
    params = {name: value for name, value in (LIMIT | change).items() if value is not None}

    assert code == Bench().call("POST", "/fapi/v1/order", **params).body.get("code")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, -4061),
        ({"positionSide": "BOTH"}, -4061),
        ({"positionSide": "LONG"}, None),
        ({"positionSide": "LONG", "reduceOnly": "false"}, -1106),
        ({"positionSide": "SHORT"}, -2022),
        ({"positionSide": "LONG", "side": "SELL"}, -2022),
    ],
)
def test_hedge_mode_wants_a_side_and_no_reduce_only(params: dict[str, str], code: int | None) -> None:
    """−4061 without LONG or SHORT, −1106 for reduceOnly, −2022 for closing what is not held."""
    bench = Bench()
    bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")

    assert code == bench.call("POST", "/fapi/v1/order", **(LIMIT | params)).body.get("code")
