"""Conditional orders trigger as the sheet's table says, and look as its samples do (3.6, 4.4, 6.5)."""

from __future__ import annotations

import json

import pytest

from connectors.exchange_simulator.conditional import AlgoOrder
from connectors.exchange_simulator.instruments import default_instrument
from tests.connectors.exchange_simulator.shapes import differences
from tests.connectors.exchange_simulator.venues import Bench
from tests.data import require

BTC = default_instrument("BTCUSDT")
ACK = json.loads("""{"algoId":1000000033225453,"clientAlgoId":"exec-sl-000001","algoType":"CONDITIONAL",
 "orderType":"STOP_MARKET","symbol":"BTCUSDT","side":"SELL","positionSide":"BOTH","timeInForce":"GTC",
 "quantity":"0.010","algoStatus":"NEW","triggerPrice":"82900.00","price":"0.00","icebergQuantity":null,
 "selfTradePreventionMode":"EXPIRE_MAKER","workingType":"MARK_PRICE","priceMatch":"NONE","closePosition":false,
 "priceProtect":false,"reduceOnly":true,"activatePrice":"","callbackRate":"","createTime":1790771373000,
 "updateTime":1790771373000,"triggerTime":0,"goodTillDate":0}""")
UPDATE = json.loads("""{"e":"ALGO_UPDATE","T":1765431097030,"E":1765431097037,"o":{"caid":"O-x","aid":1000000033225453,
 "at":"CONDITIONAL","o":"STOP_MARKET","s":"DOGEUSDT","S":"BUY","ps":"BOTH","f":"GTC","q":"38","X":"TRIGGERED",
 "ai":"88937381063","ap":"0","aq":"0","act":"MARKET","tp":"0.13855","p":"0","V":"EXPIRE_MAKER",
 "wt":"CONTRACT_PRICE","pm":"NONE","cp":false,"pP":false,"R":false,"tt":1765431097019,"gtd":0}}""")


def waiting(order_type: str, side: str, *, working: str = "CONTRACT_PRICE") -> AlgoOrder:
    """An order with its trigger at 83,860.0."""
    return AlgoOrder(
        BTC, algo_id=1, client_id="a", side=side, order_type=order_type, time_in_force="GTC", lots=1, price=838_600,
        trigger=838_600, working_type=working, close_position=False, reduce_only=True, price_protect=False,
        self_trade_prevention="EXPIRE_MAKER", now_ms=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("order_type", "side", "triggers_when_rising"),
    [
        ("STOP", "BUY", True),
        ("STOP_MARKET", "BUY", True),
        ("STOP", "SELL", False),
        ("STOP_MARKET", "SELL", False),
        ("TAKE_PROFIT", "BUY", False),
        ("TAKE_PROFIT_MARKET", "BUY", False),
        ("TAKE_PROFIT", "SELL", True),
        ("TAKE_PROFIT_MARKET", "SELL", True),
    ],
)
@pytest.mark.parametrize("working", ["CONTRACT_PRICE", "MARK_PRICE"])
def test_the_trigger_table(order_type: str, side: str, triggers_when_rising: bool, working: str) -> None:
    """Each type and side triggers at its price and beyond, on its side only, by the working price only."""
    algo = waiting(order_type, side, working=working)
    for ticks in (838_599, 838_600, 838_601):
        far = 1_000_000 if not triggers_when_rising else 1
        mark, last = (ticks * BTC.tick_e8, far) if working == "MARK_PRICE" else (far * BTC.tick_e8, ticks)
        expected = ticks >= 838_600 if triggers_when_rising else ticks <= 838_600
        assert expected == algo.triggers_at(mark_e8=mark, last_ticks=last)


def test_the_ack_and_the_event_have_the_sheets_fields() -> None:
    """POST algoOrder and ALGO_UPDATE have exactly the sheet's names and types."""
    bench = Bench()
    reply = bench.stop("SELL", "82900.00", quantity="0.010", reduceOnly="true", clientAlgoId="exec-sl-000001")

    assert [] == differences(ACK, reply.body)
    assert [] == differences(UPDATE, bench.venue.user_events[-1])
    kept = ("quantity", "triggerPrice", "price", "reduceOnly", "workingType", "algoStatus")
    assert {name: ACK[name] for name in kept} == {name: reply.body[name] for name in kept}


def test_queries_have_the_fields_of_the_documented_answers() -> None:
    """GET openAlgoOrders compares with the documentation-style answer field by field."""
    text = require("binance-net-docstyle/Endpoints/Trading/GetOpenConditionalOrders.txt").read_text()
    documented = json.loads(text[text.index("[") :])
    bench = Bench()
    bench.stop("SELL", "82900.00", quantity="0.010", reduceOnly="true")
    found = bench.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT").body

    assert [] == differences(documented, found)
