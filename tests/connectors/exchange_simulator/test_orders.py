"""Order replies and events have the names and types of the sheet's own samples (3.3, 3.4, 4.3)."""

from __future__ import annotations

import json

import pytest

from tests.connectors.exchange_simulator.shapes import differences, documented
from tests.connectors.exchange_simulator.venues import Bench
from tests.data import require

ACK = json.loads("""{"orderId":812345678901,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"exec-000001",
 "price":"83800.00","origQty":"0.010","executedQty":"0.000","cumQty":"0.000","timeInForce":"GTC","type":"LIMIT",
 "reduceOnly":false,"closePosition":false,"side":"BUY","positionSide":"BOTH","stopPrice":"0.00",
 "workingType":"CONTRACT_PRICE","priceProtect":false,"origType":"LIMIT","priceMatch":"NONE",
 "selfTradePreventionMode":"EXPIRE_MAKER","goodTillDate":0,"updateTime":1790771372031}""")
UPDATE = json.loads("""{"e":"ORDER_TRADE_UPDATE","E":1790771372036,"T":1790771372031,"o":{"s":"BTCUSDT",
 "c":"exec-000001","S":"BUY","o":"LIMIT","f":"GTC","q":"0.010","p":"83800.00","ap":"83800.00","sp":"0","x":"TRADE",
 "X":"PARTIALLY_FILLED","i":812345678901,"l":"0.004","z":"0.004","L":"83800.00","N":"USDT","n":"0.06704000",
 "T":1790771372031,"t":8132505701,"b":"502.80000","a":"0","m":true,"R":false,"wt":"CONTRACT_PRICE","ot":"LIMIT",
 "ps":"BOTH","cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"EXPIRE_MAKER","pm":"NONE","gtd":0,"er":"0"}}""")
LITE = json.loads("""{"e":"TRADE_LITE","E":1788231624647,"T":1788231624647,"s":"ETHUSDC","q":"0.473","p":"2463.26",
 "m":true,"c":"x","S":"SELL","L":"2463.26","l":"0.473","t":871685788,"i":81873278124}""")
TRADE = json.loads("""{"symbol":"BTCUSDT","id":8132505701,"orderId":812345678901,"side":"BUY","price":"83800.00",
 "qty":"0.004","realizedPnl":"0","quoteQty":"335.20000","commission":"0.06704000","commissionAsset":"USDT",
 "time":1790771372031,"positionSide":"BOTH","buyer":true,"maker":true,"marginAsset":"USDT","baseQty":"x",
 "pair":"BTCUSDT"}""")


def test_the_ack_has_the_sheets_fields_and_no_average_price() -> None:
    """POST order answers exactly the fields of 4.3; avgPrice and cumQuote are gone since 2026-06-30."""
    reply = Bench().limit("BUY", "0.010", "83800.00", newClientOrderId="exec-000001")

    assert [] == differences(ACK, reply.body)
    kept = ("price", "origQty", "executedQty", "stopPrice", "status", "clientOrderId")
    assert {name: ACK[name] for name in kept} == {name: reply.body[name] for name in kept}


def test_a_query_adds_average_quote_and_placement_time() -> None:
    """GET order is the ack without cumQty, with avgPrice, cumQuote and time (4.3)."""
    bench = Bench()
    order_id = bench.limit("BUY", "0.010", "83800.00").body["orderId"]
    query = bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", orderId=order_id).body

    expected = {name: value for name, value in ACK.items() if name != "cumQty"}
    assert [] == differences(expected | {"avgPrice": "0.00000", "cumQuote": "0", "time": 1}, query)


def test_a_maker_fill_sends_the_sheets_events() -> None:
    """ORDER_TRADE_UPDATE, TRADE_LITE and a userTrades row have the sheet's names, types and money."""
    bench = Bench()
    bench.limit("BUY", "0.010", "83800.00", newClientOrderId="exec-000001")
    bench.venue.user_events.clear()
    bench.trade(837_999, 4, buyer_is_maker=True)
    by_name = {event["e"]: event for event in bench.venue.user_events}
    update = by_name["ORDER_TRADE_UPDATE"]

    assert [] == differences(UPDATE, update)
    assert [] == differences(LITE, by_name["TRADE_LITE"])
    money = ("ap", "l", "z", "L", "n", "b", "rp", "X", "x", "m")
    assert {name: UPDATE["o"][name] for name in money} == {name: update["o"][name] for name in money}
    trades = bench.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").body
    assert [] == differences(TRADE, trades[0])
    assert ("335.20000", "0.06704000") == (trades[0]["quoteQty"], trades[0]["commission"])


# Path of the documentation-style sample → differences that are right, each with its line of the venue sheet.
DOCUMENTED: dict[str, tuple[tuple[str, str], ...]] = {
    "Subscriptions/OrderUpdate.txt": (
        (".o.AP is missing", "3.3: AP and cr only for trailing orders"),
        (".o.cr is missing", "3.3: AP and cr only for trailing orders"),
        (".o.er is extra", "3.3: expiry reason since 2025-10-23"),
    ),
    "Subscriptions/TradeUpdate.txt": (),
    "Subscriptions/AlgoOrderUpdate.txt": (),
    "Subscriptions/AccountUpdate.txt": ((".a.P[].ma is extra", "3.5: seen live, undocumented"),),
    "Endpoints/Trading/PlaceOrder.txt": (
        (".cumQuote is missing", "4.3: gone since 2026-06-30"),
        (".avgPrice is missing", "4.3: gone since 2026-06-30"),
        (".activatePrice is missing", "4.3: trailing orders only"),
        (".priceRate is missing", "4.3: trailing orders only"),
    ),
    "Endpoints/Trading/GetOrder.txt": (
        (".activatePrice is missing", "4.3: trailing orders only"),
        (".priceRate is missing", "4.3: trailing orders only"),
    ),
    "Endpoints/Trading/GetUserTrades.txt": (
        ("[].baseQty is extra", "4.3: listed in the sheet's row"),
        ("[].pair is extra", "4.3: listed in the sheet's row"),
        ("[].marginAsset is extra", "4.3: listed in the sheet's row"),
    ),
    "Endpoints/Trading/PlaceConditionalOrder.txt": (),
}


@pytest.mark.parametrize("name", list(DOCUMENTED))
def test_differences_from_the_documented_samples_have_a_line_of_the_sheet(name: str) -> None:
    """Field by field: names and JSON types equal the documentation-style samples, but for the listed reasons."""
    sample = documented(require(f"binance-net-docstyle/{name}"))
    bench = Bench()
    bench.limit("BUY", "0.010", "83800.00", newClientOrderId="one")
    bench.trade(837_999, 10, buyer_is_maker=True)
    bench.stop("SELL", "83000.00", quantity="0.010", reduceOnly="true")
    events = {event["e"]: event for event in bench.venue.user_events}
    ours = {
        "OrderUpdate": events["ORDER_TRADE_UPDATE"],
        "TradeUpdate": events["TRADE_LITE"],
        "AlgoOrderUpdate": events["ALGO_UPDATE"],
        "AccountUpdate": events["ACCOUNT_UPDATE"],
        "PlaceOrder": bench.limit("BUY", "0.010", "83800.00").body,
        "GetOrder": bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="one").body,
        "GetUserTrades": bench.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT").body,
        "PlaceConditionalOrder": bench.stop("SELL", "83000.00", quantity="0.010", reduceOnly="true").body,
    }[name.rpartition("/")[2].removesuffix(".txt")]

    assert sorted(allowed for allowed, _ in DOCUMENTED[name]) == sorted(differences(sample, ours))
