"""Settings that cannot or need not change say so with the venue's codes."""

from __future__ import annotations

from tests.connectors.exchange_simulator.venues import Bench


def test_settings_that_do_not_change_say_so() -> None:
    """−4046 and −4059 for the same value, −4048 with a position, −4028 for a leverage out of range."""
    bench = Bench()
    post = {"symbol": "BTCUSDT"}
    assert {"leverage": 7, "maxNotionalValue": "1000000", "symbol": "BTCUSDT"} == bench.call(
        "POST", "/fapi/v1/leverage", **post, leverage=7
    ).body
    assert "ACCOUNT_CONFIG_UPDATE" == bench.venue.user_events[-1]["e"]
    assert -4028 == bench.call("POST", "/fapi/v1/leverage", **post, leverage=126).body["code"]
    assert -4046 == bench.call("POST", "/fapi/v1/marginType", **post, marginType="CROSSED").body["code"]
    assert {"code": 200, "msg": "success"} == bench.call(
        "POST", "/fapi/v1/marginType", **post, marginType="ISOLATED"
    ).body
    bench.market("BUY", "0.010")
    assert -4048 == bench.call("POST", "/fapi/v1/marginType", **post, marginType="CROSSED").body["code"]
    assert -4059 == bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="false").body["code"]
    reply = bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true").body
    assert "not simulated" in reply["msg"]
