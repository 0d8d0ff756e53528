"""The algo service lists what waits and what has been."""

from __future__ import annotations

from tests.connectors.exchange_simulator.venues import Bench


def test_open_and_all_algo_orders() -> None:
    """openAlgoOrders has what waits, allAlgoOrders everything, both ascending by id."""
    bench = Bench()
    ids = [
        bench.stop("SELL", "83000.00", quantity="0.010", reduceOnly="true", clientAlgoId=f"s{index}").body["algoId"]
        for index in range(3)
    ]
    bench.call("DELETE", "/fapi/v1/algoOrder", algoId=ids[1])

    opened = bench.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT").body
    every = bench.call("GET", "/fapi/v1/allAlgoOrders", symbol="BTCUSDT").body
    assert [ids[0], ids[2]] == [row["algoId"] for row in opened]
    assert [(ids[0], "NEW"), (ids[1], "CANCELED"), (ids[2], "NEW")] == [
        (row["algoId"], row["algoStatus"]) for row in every
    ]


def test_a_closing_stop_in_hedge_mode_has_one_direction() -> None:
    """closePosition: SELL + LONG and BUY + SHORT only; both sides may have one of the same type."""
    bench = Bench()
    bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    codes = [
        bench.stop(side, price, closePosition="true", positionSide=position).body.get("code")
        for side, price, position in (
            ("SELL", "83000.00", "LONG"),
            ("BUY", "84500.00", "SHORT"),
            ("BUY", "84500.00", "LONG"),
            ("SELL", "83000.00", "SHORT"),
        )
    ]

    assert [None, None, -4061, -4061] == codes
