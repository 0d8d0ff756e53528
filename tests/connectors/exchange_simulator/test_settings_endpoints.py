"""Settings that cannot or need not change say so with the venue's codes."""

from __future__ import annotations

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.venue import VenueSettings
from tests.connectors.exchange_simulator.venues import BTC, MIDDLE, Bench


def test_settings_that_do_not_change_say_so() -> None:
    """−4046 and −4059 for the same value, −4048 with a position, −4028 for a leverage out of range."""
    bench = Bench()
    post = {"symbol": "BTCUSDT"}
    assert {"leverage": 7, "maxNotionalValue": "230000000", "symbol": "BTCUSDT"} == bench.call(
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
    assert -4068 == bench.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true").body["code"]
    assert -4171 == bench.call("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="false").body["code"]


def test_leverage_is_bound_by_what_is_held() -> None:
    """−2027 above the bracket of the position, −2028 without the margin for less leverage, −4161 isolated."""
    bench = Bench(VenueSettings(wallet_e8=10_000 * E8, leverage=100, mark_noise_ppm=0))
    bench.book(MIDDLE, lots=50_000)
    leverage = {"symbol": "BTCUSDT"}
    bench.market("BUY", "2.000")
    assert -2027 == bench.call("POST", "/fapi/v1/leverage", **leverage, leverage=125).body["code"]
    assert -2028 == bench.call("POST", "/fapi/v1/leverage", **leverage, leverage=10).body["code"]
    assert 60 == bench.call("POST", "/fapi/v1/leverage", **leverage, leverage=60).body["leverage"]
    assert -2027 == Bench(VenueSettings(leverage=125, mark_noise_ppm=0)).market("BUY", "0.600").body["code"]


def test_isolated_margin_moves_between_the_wallets() -> None:
    """positionMargin adds and takes away; without an isolated position it is −4054, too much −4050 or −4051."""
    bench = Bench()
    call = {"symbol": "BTCUSDT", "amount": "10", "type": "1"}
    assert -4054 == bench.call("POST", "/fapi/v1/positionMargin", **call).body["code"]
    bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    bench.market("BUY", "0.010")
    before = bench.venue.account.position(BTC).isolated_wallet
    assert 200 == bench.call("POST", "/fapi/v1/positionMargin", **call).body["code"]
    assert 10 * E8 == bench.venue.account.position(BTC).isolated_wallet - before
    assert "MARGIN_TRANSFER" == bench.venue.user_events[-1]["a"]["m"]
    for change, code in (
        ({"amount": "99999"}, -4050),
        ({"amount": "30", "type": "2"}, -4051),
        ({"amount": "0"}, -4055),
        ({"amount": "x"}, -1102),
        ({"type": "3"}, -1130),
        ({"positionSide": "LONG"}, -4061),
    ):
        assert code == bench.call("POST", "/fapi/v1/positionMargin", **(call | change)).body["code"], change
    assert -4161 == bench.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=5).body["code"]


def test_hedge_mode_is_switched_when_nothing_is_open() -> None:
    """−4067 with an open order; afterwards GET tells it, and positionRisk has LONG and SHORT rows only."""
    bench = Bench()
    bench.limit("BUY", "0.010", "83000.00", newClientOrderId="rests")
    dual = ("POST", "/fapi/v1/positionSide/dual")
    assert -4067 == bench.call(*dual, dualSidePosition="true").body["code"]
    bench.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="rests")
    assert {"code": 200, "msg": "success"} == bench.call(*dual, dualSidePosition="true").body
    assert {"dualSidePosition": True} == bench.call("GET", "/fapi/v1/positionSide/dual").body
    rows = bench.call("GET", "/fapi/v2/positionRisk", symbol="BTCUSDT").body
    assert ["LONG", "SHORT"] == [row["positionSide"] for row in rows]
