"""Orders are refused with the venue's own codes, and each service cancels only its own."""

from __future__ import annotations

import pytest

from tests.connectors.exchange_simulator.venues import BTC, ETH, Bench

LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "quantity": "0.010",
    "price": "83000.00",
    "timeInForce": "GTC",
}


MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}


STOP = {
    "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "algoType": "CONDITIONAL", "quantity": "0.010",
    "triggerPrice": "83000.00", "reduceOnly": "true",
}  # fmt: skip


@pytest.mark.parametrize(
    ("base", "change", "code"),
    [
        (LIMIT, {"symbol": "NONE"}, -1121),
        (LIMIT, {"symbol": None}, -1102),
        (LIMIT, {"side": "HOLD"}, -1117),
        (LIMIT, {"type": "ICEBERG"}, -1116),
        (LIMIT, {"timeInForce": None}, -1102),
        (LIMIT, {"timeInForce": "NOW"}, -1115),
        (LIMIT, {"price": None}, -1102),
        (LIMIT, {"quantity": None}, -1102),
        (LIMIT, {"quantity": "abc"}, -1102),
        (LIMIT, {"price": "83000.05"}, -4014),
        (LIMIT, {"price": "90000.00"}, -4016),
        (LIMIT, {"quantity": "0.00055"}, -1111),
        (LIMIT, {"quantity": "0"}, -4003),
        (LIMIT, {"positionSide": "LONG"}, -4061),
        (LIMIT, {"positionSide": "UP"}, -4060),
        (LIMIT, {"reduceOnly": "maybe"}, -1102),
        (LIMIT, {"newClientOrderId": "x" * 37}, -4015),
        (LIMIT, {"newOrderRespType": "FULL"}, -1136),
        (MARKET, {"quantity": "0.0005"}, -1111),
        (MARKET, {"price": "83000.00"}, -1106),
        (MARKET, {"timeInForce": "GTC"}, -1106),
        (LIMIT, {"price": "80000.00", "quantity": "0.000"}, -4003),
        (MARKET | {"symbol": "ETHUSDT"}, {"quantity": "0.001"}, -4164),
        (STOP, {"algoType": None}, -1102),
        (STOP, {"algoType": "VP"}, -1130),
        (STOP, {"type": "LIMIT"}, -1116),
        (STOP, {"type": "TRAILING_STOP_MARKET"}, -1116),
        (STOP, {"triggerPrice": None}, -1102),
        (STOP, {"triggerPrice": "83000.05"}, -4014),
        (STOP, {"workingType": "INDEX"}, -4031),
        (STOP, {"closePosition": "true"}, -4137),
        (STOP, {"closePosition": "true", "quantity": None}, -1106),
        (STOP, {"quantity": None}, -1102),
        (STOP, {"type": "STOP"}, -1102),
        (STOP, {"clientAlgoId": "bad id"}, -4015),
    ],
)
def test_refusals_have_the_venues_codes(base: dict[str, str], change: dict[str, str | None], code: int) -> None:
    """Each wrong, missing or superfluous parameter gets its own code with status 400."""
    params = {name: value for name, value in (base | change).items() if value is not None}
    path = "/fapi/v1/algoOrder" if base is STOP else "/fapi/v1/order"
    reply = Bench(rows=(BTC, ETH)).call("POST", path, **params)

    assert (400, code) == (reply.status, reply.body["code"])


@pytest.mark.parametrize("kind", ["STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"])
def test_conditional_types_are_sent_to_the_algo_service(kind: str) -> None:
    """/order answers −4120 for every conditional type (pain V2)."""
    assert -4120 == Bench().order(side="SELL", type=kind, quantity="0.010", stopPrice="83000.00").body["code"]


def test_cancels_and_queries_of_what_is_gone() -> None:
    """−2011 for cancels, −2013 for queries; algo ids are unknown on /order."""
    bench = Bench()
    algo = bench.stop("SELL", "83000.00", closePosition="true").body["algoId"]
    filled = bench.market("BUY", "0.010").body["orderId"]

    for method, path, params, code in (
        ("DELETE", "/fapi/v1/order", {"orderId": filled}, -2011),
        ("DELETE", "/fapi/v1/order", {"orderId": algo}, -2011),
        ("GET", "/fapi/v1/order", {"orderId": algo}, -2013),
        ("GET", "/fapi/v1/openOrder", {"orderId": filled}, -2013),
        ("GET", "/fapi/v1/order", {}, -1102),
        ("GET", "/fapi/v1/algoOrder", {"algoId": 1}, -2013),
        ("DELETE", "/fapi/v1/algoOrder", {"clientAlgoId": "none"}, -2011),
    ):
        assert code == bench.call(method, path, symbol="BTCUSDT", **params).body["code"], (method, path)


def test_symbols_that_end_or_halt() -> None:
    """Before delivery only reducing is allowed (−4140), halted nothing (−4141); exchangeInfo and the stream tell."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.venue.frames.clear()
    bench.venue.change_contract("BTCUSDT", status="PRE_DELIVERING", delivery_ms=bench.now + 1, now_ms=bench.now)
    assert -4140 == bench.market("BUY", "0.010").body["code"]
    assert "orderId" in bench.market("SELL", "0.005", reduceOnly="true").body
    bench.venue.change_contract("BTCUSDT", status="TRADING_HALT", delivery_ms=None, now_ms=bench.now)
    assert -4141 == bench.market("SELL", "0.005", reduceOnly="true").body["code"]

    row = bench.call("GET", "/fapi/v1/exchangeInfo").body["symbols"][0]
    assert ("TRADING_HALT", bench.now + 1) == (row["status"], row["deliveryDate"])
    told = [payload["cs"] for stream, payload in bench.venue.frames if stream == "!contractInfo"]
    assert ["PRE_DELIVERING", "TRADING_HALT"] == told


def test_cancel_all_leaves_the_other_service_alone() -> None:
    """allOpenOrders cancels regular orders only, algoOpenOrders conditional ones only (4.3)."""
    bench = Bench()
    bench.limit("BUY", "0.010", "83000.00")
    bench.stop("SELL", "83000.00", closePosition="true")
    counts = []
    for path in ("/fapi/v1/allOpenOrders", "/fapi/v1/algoOpenOrders"):
        assert 200 == bench.call("DELETE", path, symbol="BTCUSDT").body["code"]
        counts.append(
            (
                len(bench.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT").body),
                len(bench.call("GET", "/fapi/v1/openAlgoOrders").body),
            )
        )

    assert [(0, 1), (0, 0)] == counts
