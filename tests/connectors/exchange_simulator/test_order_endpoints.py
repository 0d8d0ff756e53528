"""Orders are refused with the venue's own codes, and each service cancels only its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.connectors.exchange_simulator.venues import BTC, ETH, MIDDLE, Bench

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
        (STOP, {"type": "TRAILING_STOP_MARKET"}, -1106),
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


def test_order_test_checks_everything_and_changes_nothing() -> None:
    """The same refusals as a real order, an ack otherwise, and no order, event or position."""
    bench = Bench()
    call = ("POST", "/fapi/v1/order/test")
    assert "NEW" == bench.call(*call, **LIMIT).body["status"]
    assert -4014 == bench.call(*call, **(LIMIT | {"price": "83000.05"})).body["code"]
    assert -2019 == bench.call(*call, **(MARKET | {"quantity": "5.000"})).body["code"]
    assert ([], []) == (bench.events(), bench.call("GET", "/fapi/v1/allOrders", symbol="BTCUSDT").body)


def batch(*orders: dict[str, str]) -> str:
    """The batchOrders parameter."""
    return json.dumps(list(orders))


def test_a_batch_answers_each_order_in_turn() -> None:
    """Up to five, each an order or its own refusal; more or none is −4082, no JSON −1102; it counts 5 and 1."""
    bench = Bench()
    reply = bench.call("POST", "/fapi/v1/batchOrders", batchOrders=batch(LIMIT, LIMIT | {"price": "0"}, MARKET))
    assert ["NEW", -4013, "NEW"] == [row.get("status", row.get("code")) for row in reply.body]
    assert ("5", "1") == (reply.headers["X-MBX-ORDER-COUNT-10S"], reply.headers["X-MBX-ORDER-COUNT-1M"])
    for text, code in ((batch(), -4082), (batch(*[LIMIT] * 6), -4082), ("{", -1102), ("7", -4082)):
        assert code == bench.call("POST", "/fapi/v1/batchOrders", batchOrders=text).body["code"]
    assert -1102 == bench.call("POST", "/fapi/v1/batchOrders", batchOrders="[3]").body[0]["code"]


def test_batches_modify_and_cancel() -> None:
    """PUT changes each LIMIT order, DELETE takes up to ten ids; unknown ones are refusals in their place."""
    bench = Bench()
    ids = [bench.limit("BUY", "0.010", f"83{index}00.00").body["orderId"] for index in range(3)]
    changed = bench.call(
        "PUT",
        "/fapi/v1/batchOrders",
        batchOrders=batch(
            *[{"symbol": "BTCUSDT", "orderId": str(one), "side": "BUY", "quantity": "0.020", "price": "83000.00"}
              for one in (*ids[:2], 7)]
        ),
    ).body  # fmt: skip
    assert ["0.020", "0.020", -2013] == [row.get("origQty", row.get("code")) for row in changed]
    gone = bench.call("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", orderIdList=json.dumps([*ids, 7])).body
    assert ["CANCELED"] * 3 + [-2011] == [row.get("status", row.get("code")) for row in gone]
    many = json.dumps(["x"] * 11)
    for params, code in (({"origClientOrderIdList": many}, -4032), ({}, -1102), ({"orderIdList": "[]"}, -1102)):
        assert code == bench.call("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", **params).body["code"]


def modify(bench: Bench, order_id: int, **params: str) -> Any:
    """PUT order with a buy's usual parameters."""
    base = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.010", "price": "83000.00"}
    return bench.call("PUT", "/fapi/v1/order", **(base | {"orderId": str(order_id)} | params)).body


def test_a_modified_order_keeps_its_id_and_tells_the_amendment() -> None:
    """AMENDMENT with X unchanged and M echoed; history newest first; the queue place is lost (6.3)."""
    bench = Bench()
    order_id = bench.limit("BUY", "0.010", "83859.90").body["orderId"]
    bench.events()
    reply = modify(bench, order_id, price="83859.80", modifyId="m-1")
    event = bench.venue.user_events[-1]["o"]

    assert ("NEW", "83859.80", "m-1", "BTCUSDT") == (
        reply["status"], reply["price"], reply["modifyId"], reply["pair"],
    )  # fmt: skip
    assert ("AMENDMENT", "NEW", "m-1") == (event["x"], event["X"], event["M"])
    modify(bench, order_id, price="83859.80", quantity="0.020")
    history = bench.call("GET", "/fapi/v1/orderAmendment", symbol="BTCUSDT", orderId=order_id).body
    assert [2, 1] == [row["amendment"]["count"] for row in history]
    assert {"before": "0.010", "after": "0.020"} == history[0]["amendment"]["origQty"]
    assert 5_000 == bench.venue.trading.orders["BTCUSDT", order_id].queue_ahead


def test_what_cannot_be_modified_says_why() -> None:
    """−2013 unknown, −5027 unchanged, −5029 too small, −1102 without price or quantity, −4016 too far, −5024 halted."""
    bench = Bench()
    order_id = bench.limit("BUY", "0.010", "83000.00").body["orderId"]
    for params, code in (
        ({}, -5027),
        ({"orderId": "1"}, -2013),
        ({"quantity": ""}, -1102),
        ({"price": ""}, -1102),
        ({"price": "90000.00"}, -4016),
        ({"side": "SELL"}, -1130),
        ({"price": "50000.00"}, None),
        ({"price": "83000.00", "quantity": "9.000"}, -2019),
        ({"priceMatch": "QUEUE"}, -1106),
    ):
        assert code == modify(bench, order_id, **params).get("code"), params
    eth = Bench(rows=(BTC, ETH))
    eth.book(246_325, symbol="ETHUSDT")
    other = eth.call("POST", "/fapi/v1/order", **(LIMIT | {"symbol": "ETHUSDT", "price": "2400.00"})).body["orderId"]
    assert -5029 == modify(eth, other, symbol="ETHUSDT", price="2400.00", quantity="0.001")["code"]
    bench.venue.change_contract("BTCUSDT", status="TRADING_HALT", delivery_ms=None, now_ms=bench.now)
    assert -5024 == modify(bench, order_id)["code"]


def test_a_modification_may_end_the_order_or_execute_it() -> None:
    """Quantity at or below what is filled cancels; GTX that would take cancels; a crossing price executes (6.3)."""
    bench = Bench()
    bench.book(MIDDLE, lots=4)
    part = bench.limit("BUY", "0.010", "83860.10").body["orderId"]
    assert "CANCELED" == modify(bench, part, price="83860.10", quantity="0.004")["status"]
    post = bench.limit("BUY", "0.010", "83859.00", timeInForce="GTX").body["orderId"]
    assert "CANCELED" == modify(bench, post, price="83860.30")["status"]
    plain = bench.limit("BUY", "0.010", "83859.00").body["orderId"]
    assert "FILLED" == modify(bench, plain, price="83861.00")["status"]
    assert -2013 == modify(bench, plain, price="83862.00")["code"]


def test_the_countdown_cancels_what_nobody_renews() -> None:
    """countdownCancelAll cancels the symbol's regular orders at its time, leaves stops alone; 0 stops it."""
    bench = Bench()
    bench.limit("BUY", "0.010", "83000.00")
    bench.stop("SELL", "83000.00", closePosition="true")
    call = ("POST", "/fapi/v1/countdownCancelAll")
    assert {"symbol": "BTCUSDT", "countdownTime": "1000"} == bench.call(
        *call, symbol="BTCUSDT", countdownTime=1_000
    ).body
    bench.wait(900)
    bench.call(*call, symbol="BTCUSDT", countdownTime=1_000)
    bench.wait(900)
    assert 1 == len(bench.venue.trading.opened("BTCUSDT"))
    bench.wait(100)
    assert ([], 1) == (bench.venue.trading.opened("BTCUSDT"), len(bench.venue.conditional.opened()))
    bench.limit("BUY", "0.010", "83000.00")
    bench.call(*call, symbol="BTCUSDT", countdownTime=1_000)
    bench.call(*call, symbol="BTCUSDT", countdownTime=0)
    bench.wait(2_000)
    assert 1 == len(bench.venue.trading.opened("BTCUSDT"))


def test_histories_have_windows_and_are_forgotten() -> None:
    """−1127 beyond seven days; an empty cancelled order is unknown after three days, a filled one after ninety."""
    bench = Bench()
    day = 86_400_000
    empty = bench.limit("BUY", "0.010", "83000.00").body["orderId"]
    bench.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=empty)
    filled = bench.market("BUY", "0.010").body["orderId"]
    for path in ("allOrders", "userTrades"):
        window = {"startTime": bench.now - 8 * day, "endTime": bench.now}
        assert -1127 == bench.call("GET", f"/fapi/v1/{path}", symbol="BTCUSDT", **window).body["code"]
    assert -1128 == bench.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", fromId=1, startTime=1).body["code"]
    known = []
    for days in (0, 4, 91):
        bench.now += days * day
        known.append(
            [
                "status" in bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=one).body
                for one in (empty, filled)
            ]
        )

    assert [[True, True], [False, True], [False, False]] == known
    assert [] == bench.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").body


@pytest.mark.parametrize(
    ("filled", "days", "known"), [(False, 2, True), (False, 4, False), (True, 4, True), (True, 91, False)]
)
def test_old_orders_are_forgotten(filled: bool, days: int, known: bool) -> None:
    """Cancelled without a fill: -2013 after three days; everything after ninety (4.3, behaviour 10)."""
    bench = Bench()
    if filled:
        number = bench.market("BUY", "0.010").body["orderId"]
    else:
        number = bench.limit("BUY", "0.010", "83000.00").body["orderId"]
        bench.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=number)
    # Only the request's own time matters; the market need not live through the days.
    bench.now += days * 86_400_000 + 1_000
    reply = bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=number)
    assert (200 if known else 400) == reply.status
    assert known or reply.body["code"] == -2013


def test_a_post_only_order_moved_onto_an_own_order_is_cancelled() -> None:
    """It would take, and a post-only order never does (sheet 6.3 b): not even from its own account."""
    bench = Bench()
    bench.limit("SELL", "0.010", "83860.00", newClientOrderId="maker")
    placed = bench.limit("BUY", "0.010", "83800.00", timeInForce="GTX").body
    bench.call(
        "PUT", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", orderId=placed["orderId"], quantity="0.010",
        price="83860.00",
    )  # fmt: skip
    shown = bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=placed["orderId"]).body

    assert "CANCELED" == shown["status"]
    assert ["maker"] == [order.client_id for order in bench.venue.trading.opened("BTCUSDT")]
