"""Conditional orders live, trigger and end by the venue's rules (sheet 6.5, pains V3–V5)."""

from __future__ import annotations

import pytest

from tests.connectors.exchange_simulator.test_trading import code
from tests.connectors.exchange_simulator.venues import MIDDLE, Bench


def test_a_stop_runs_through_its_life() -> None:
    """NEW → TRIGGERING → TRIGGERED → FINISHED; the child is a regular order with the same client id (6.5)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop("SELL", "83800.00", closePosition="true", clientAlgoId="rail-a")
    bench.events()
    bench.book(MIDDLE - 600)
    bench.wait(1_000)

    assert [
        ("ALGO_UPDATE", "TRIGGERING"),
        ("ORDER_TRADE_UPDATE", "NEW"),
        ("ALGO_UPDATE", "TRIGGERED"),
        ("TRADE_LITE", ""),
        ("ACCOUNT_UPDATE", ""),
        ("ORDER_TRADE_UPDATE", "FILLED"),
        ("ALGO_UPDATE", "FINISHED"),
    ] == bench.events()
    child = bench.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="rail-a").body
    assert ("MARKET", "STOP_MARKET", "FILLED", True) == (
        child["type"], child["origType"], child["status"], child["closePosition"],
    )  # fmt: skip
    algo = bench.call("GET", "/fapi/v1/algoOrder", clientAlgoId="rail-a").body
    assert ("FINISHED", str(child["orderId"]), "0.010") == (
        algo["algoStatus"], algo["actualOrderId"], algo["actualQty"],
    )  # fmt: skip
    assert 0 == bench.lots


def test_one_close_position_order_per_side_and_type_but_quantity_stops_coexist() -> None:
    """−4130 for the second closePosition stop; a take-profit, and any number of reduce-only stops, coexist (V4)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    assert code(bench.stop("SELL", "83000.00", closePosition="true")) is None
    assert -4130 == code(bench.stop("SELL", "83100.00", closePosition="true"))
    assert code(bench.stop("SELL", "84900.00", closePosition="true", type="TAKE_PROFIT_MARKET")) is None
    for trigger in ("83200.00", "83300.00"):
        assert code(bench.stop("SELL", trigger, quantity="0.010", reduceOnly="true")) is None
    assert 4 == len(bench.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT").body)


def test_two_hundred_conditional_orders_are_the_limit() -> None:
    """The 201st is −4045, over all symbols."""
    bench = Bench()
    for _ in range(200):
        assert code(bench.stop("SELL", "80000.00", quantity="0.010", reduceOnly="true")) is None
    assert -4045 == code(bench.stop("SELL", "80000.00", quantity="0.010", reduceOnly="true"))


def test_a_stop_through_the_price_would_trigger_at_once() -> None:
    """−2021 on the wrong side of the working price, at the price itself too."""
    bench = Bench()
    assert -2021 == code(bench.stop("SELL", "83860.00", quantity="0.010", reduceOnly="true"))
    assert -2021 == code(bench.stop("BUY", "83860.00", quantity="0.010"))
    assert -2021 == code(bench.stop("SELL", "83800.00", quantity="0.010", type="TAKE_PROFIT_MARKET"))


def test_a_triggered_stop_without_a_position_is_refused_with_its_reason() -> None:
    """reduceOnly without a position ends REJECTED with `rm`; closePosition EXPIRED; no order reaches the book."""
    bench = Bench()
    bench.stop("SELL", "83800.00", quantity="0.010", reduceOnly="true", clientAlgoId="b")
    bench.stop("SELL", "83700.00", closePosition="true", clientAlgoId="a")
    bench.book(MIDDLE - 3_000)
    bench.wait(1_000)

    ends = {
        event["o"]["caid"]: (event["o"]["X"], event["o"].get("rm"))
        for event in bench.venue.user_events
        if event["e"] == "ALGO_UPDATE"
    }
    assert {"b": ("REJECTED", "ReduceOnly Order is rejected."), "a": ("EXPIRED", None)} == ends
    assert 0 == bench.lots


def test_a_position_bound_order_expires_with_the_position() -> None:
    """GTE_GTC ends EXPIRED when the position closes, GTC stays."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop("SELL", "83000.00", closePosition="true", timeInForce="GTE_GTC", clientAlgoId="bound")
    bench.stop("SELL", "83000.00", quantity="0.010", reduceOnly="true", clientAlgoId="stays")
    bench.market("SELL", "0.010")

    states = {algo.client_id: algo.state for algo in bench.venue.conditional.algos.values()}
    assert {"bound": "EXPIRED", "stays": "NEW"} == states


def test_a_stop_stuck_in_triggering_cannot_be_cancelled() -> None:
    """−4117 while the venue hangs between TRIGGERING and TRIGGERED (a fault of the plan)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop("SELL", "83800.00", closePosition="true", clientAlgoId="stuck")
    bench.venue.conditional.stuck_triggers["BTCUSDT"] = 1
    bench.book(MIDDLE - 600)
    bench.wait(1_000)

    assert -4117 == code(bench.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="stuck"))
    assert 10 == bench.lots


def test_a_vanished_order_is_unknown_to_every_query() -> None:
    """Accepted, then gone without any event: the reply was NEW, queries say −2013, the ledger knows."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop("SELL", "83000.00", closePosition="true", clientAlgoId="ghost")
    bench.events()

    assert bench.venue.vanish(["ghost"], now_ms=bench.now)
    assert [] == bench.events()
    assert -2013 == code(bench.call("GET", "/fapi/v1/algoOrder", clientAlgoId="ghost"))
    assert "vanished" in [line["kind"] for line in bench.venue.ledger.lines]


@pytest.mark.parametrize(("side", "sign"), [("SELL", 1), ("BUY", -1)])
def test_a_trailing_stop_follows_the_best_price(side: str, sign: int) -> None:
    """Inactive until activatePrice, then it follows the extreme and triggers at the callback from it; NEW twice."""
    bench = Bench()
    bench.market("BUY" if sign == 1 else "SELL", "0.010")
    activate = f"{(MIDDLE + sign * 500) / 10:.2f}"
    reply = bench.stop(
        side, "", type="TRAILING_STOP_MARKET", callbackRate="0.5", activatePrice=activate, quantity="0.010",
        reduceOnly="true", clientAlgoId="trail",
    ).body  # fmt: skip
    assert ("0.5", activate) == (reply["callbackRate"], reply["activatePrice"])
    bench.venue.user_events.clear()
    states = []
    # Against the position first (inactive: nothing), then with it, back by 0.4 % (nothing), by 0.6 % (triggers).
    for distance in (-4_200, 600, 9_000, 5_200, 3_000):
        bench.book(MIDDLE + sign * distance, lots=50_000)
        bench.wait(1_000)
        states.append((bench.venue.conditional.by_client["trail"].state, bench.lots))
    events = [event["o"] for event in bench.venue.user_events if event["e"] == "ALGO_UPDATE"]

    assert [("NEW", 10 * sign)] * 4 + [("FINISHED", 0)] == states
    assert [("NEW", True), ("TRIGGERING", True)] == [(event["X"], event["ia"]) for event in events[:2]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"callbackRate": "0"}, -2007),
        ({"callbackRate": "20.1"}, -2007),
        ({"callbackRate": "0.15"}, -2007),
        ({"callbackRate": None}, -1102),
        ({"activatePrice": "83000.00"}, -2021),
        ({"callbackRate": "20"}, None),
        ({"activatePrice": None}, None),
        ({"closePosition": "true", "quantity": None}, -1106),
    ],
)
def test_trailing_parameters_have_their_own_codes(change: dict[str, str | None], expected: int | None) -> None:
    """callbackRate 0.1 … 20 in tenths (−2007); a passed activation price is −2021; without one it is active at once."""
    base = {"type": "TRAILING_STOP_MARKET", "callbackRate": "1", "activatePrice": "84500.00", "quantity": "0.010"}
    params = {name: value for name, value in (base | change).items() if value is not None}

    assert expected == code(
        Bench().call("POST", "/fapi/v1/algoOrder", symbol="BTCUSDT", side="SELL", algoType="CONDITIONAL", **params)
    )


def test_a_conditional_order_may_match_the_price_when_it_triggers() -> None:
    """STOP with priceMatch takes the opponent's fifth price of that moment; a market child may not (−5038)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    bench.stop(
        "SELL", "83800.00", type="STOP", priceMatch="OPPONENT_5", quantity="0.010", reduceOnly="true", clientAlgoId="m"
    )
    assert -5038 == code(bench.stop("SELL", "83800.00", priceMatch="QUEUE", quantity="0.010"))
    bench.book(MIDDLE - 600)
    bench.wait(1_000)

    child = bench.venue.conditional.by_client["m"].child
    assert child is not None
    assert (MIDDLE - 605, "FILLED", "OPPONENT_5") == (child.price, child.status, child.price_match)


def test_good_till_date_ends_a_waiting_order() -> None:
    """GTD expires at its date without a trigger."""
    bench = Bench()
    date = bench.now + 700_000
    bench.stop("SELL", "80000.00", type="STOP", price="79900.00", quantity="0.010", reduceOnly="true",
               timeInForce="GTD", goodTillDate=date, clientAlgoId="dated")  # fmt: skip
    bench.wait(699_000)
    assert "NEW" == bench.venue.conditional.by_client["dated"].state
    bench.wait(2_000)
    assert "EXPIRED" == bench.venue.conditional.by_client["dated"].state


@pytest.mark.parametrize(
    ("time_in_force", "quantity", "price", "reason"),
    [
        ("GTX", "0.010", "84600.00", "Post Only"),
        ("FOK", "90.000", "84100.10", "FOK"),
        ("GTC", "90.000", "84600.00", ""),
    ],
)
def test_a_triggered_order_that_matching_refuses_is_rejected(
    time_in_force: str, quantity: str, price: str, reason: str
) -> None:
    """GTX that would take, FOK that would not fill, and what no margin covers: REJECTED with `rm` (3.6, 6.2, V3)."""
    bench = Bench()
    order = {"type": "STOP", "price": price, "quantity": quantity, "timeInForce": time_in_force}
    assert code(bench.stop("BUY", "84000.00", clientAlgoId="entry", **order)) is None
    bench.events()
    bench.book(MIDDLE + 2_000)
    bench.wait(1_000)

    ended = [event["o"] for event in bench.venue.user_events if event["e"] == "ALGO_UPDATE"]
    assert ["TRIGGERING", "REJECTED"] == [one["X"] for one in ended]
    assert (reason or "Margin is insufficient.") in ended[-1]["rm"]
    assert 0 == bench.lots
    assert [] == bench.venue.trading.opened("BTCUSDT")


def test_a_position_bound_order_expires_when_the_position_flips() -> None:
    """A flip closes the old position: what was bound to it is gone (6.2 GTE_GTC)."""
    bench = Bench()
    bench.market("BUY", "0.010")
    assert code(bench.stop("SELL", "83000.00", closePosition="true", timeInForce="GTE_GTC")) is None
    bench.market("SELL", "0.020")

    assert -10 == bench.lots
    assert [] == bench.venue.conditional.opened()
