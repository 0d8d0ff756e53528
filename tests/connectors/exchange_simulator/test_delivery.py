"""At its delivery time a contract ends: orders expire with er 7, positions are settled, the symbol is closed."""

from __future__ import annotations

import pytest

from tests.connectors.exchange_simulator.venues import MIDDLE, Bench


@pytest.mark.parametrize("dual", [False, True])
def test_a_delisted_symbol_settles_what_is_open(dual: bool) -> None:
    """Regular order and stop EXPIRED, positions closed by settlement_autoclose- orders, money conserved, then -4141."""
    bench = Bench()
    sides: list[dict[str, str]] = [{}]
    if dual:
        bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
        sides = [{"positionSide": "LONG"}, {"positionSide": "SHORT"}]
    for side in sides:
        assert 200 == bench.market("SELL" if side.get("positionSide") == "SHORT" else "BUY", "0.100", **side).status
    bench.limit("BUY", "0.010", "82000.00", newClientOrderId="rest", **sides[0])
    bench.stop("SELL", "70000.00", closePosition="true", clientAlgoId="rail", **sides[0])
    bench.venue.change_contract("BTCUSDT", status="PRE_DELIVERING", delivery_ms=bench.now + 5_000, now_ms=bench.now)
    bench.book(MIDDLE + 500)
    bench.wait(3_000)
    assert -4140 == bench.limit("BUY", "0.010", "82000.00", **sides[0]).body["code"]
    assert any(position.lots for position in bench.venue.account.positions)
    bench.venue.user_events.clear()
    bench.wait(3_000)

    told = [event["o"] for event in bench.venue.user_events if event["e"] == "ORDER_TRADE_UPDATE"]
    assert ("EXPIRED", "7") in {(order["X"], order["er"]) for order in told if order["c"] == "rest"}
    settled = [order for order in told if order["c"].startswith("settlement_autoclose-")]
    assert len(sides) == sum(order["X"] == "FILLED" for order in settled)
    assert ([], []) == (bench.venue.trading.opened("BTCUSDT"), bench.venue.conditional.opened())
    account = bench.venue.account
    assert [0] * len(sides) == [position.lots for position in account.positions]
    assert account.wallet == account.deposited + sum(row.amount for row in account.incomes)
    status = bench.call("GET", "/fapi/v1/exchangeInfo").body["symbols"][0]["status"]
    assert "CLOSE" == status
    assert -4141 == bench.market("BUY", "0.100", **sides[0]).body["code"]
    frames = [payload["cs"] for stream, payload in bench.venue.frames if stream == "!contractInfo"]
    bench.wait(10_000)
    assert ["PRE_DELIVERING", "CLOSE"] == frames
    assert 1 == sum(payload["cs"] == "CLOSE" for stream, payload in bench.venue.frames if stream == "!contractInfo")
