"""Every endpoint answers with the sheet's fields, weights and codes (section 4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.endpoints import NOT_SIMULATED, ROUTES, depth_weight, klines_weight
from tests.connectors.exchange_simulator.shapes import differences, documented
from tests.connectors.exchange_simulator.venues import BTC, ETH, Bench
from tests.data import require

SHAPES: list[tuple[str, dict[str, Any], str]] = [
    ("/fapi/v1/time", {}, '{"serverTime":1}'),
    ("/fapi/v1/ping", {}, "{}"),
    (
        "/fapi/v1/depth",
        {"symbol": "BTCUSDT", "limit": 5},
        '{"lastUpdateId":9,"E":1,"T":1,"bids":[["8","4"]],"asks":[["8","1"]]}',
    ),
    (
        "/fapi/v1/premiumIndex",
        {"symbol": "BTCUSDT"},
        """{"symbol":"B","markPrice":"8","indexPrice":"8","estimatedSettlePrice":"8","lastFundingRate":"0",
        "interestRate":"0","nextFundingTime":1,"time":1}""",
    ),
    ("/fapi/v1/openInterest", {"symbol": "BTCUSDT"}, '{"openInterest":"1","symbol":"B","time":1}'),
    (
        "/futures/data/openInterestHist",
        {"symbol": "BTCUSDT", "period": "5m"},
        """[{"symbol":"B","sumOpenInterest":"1","sumOpenInterestValue":"8","CMCCirculatingSupply":"1",
        "timestamp":1}]""",
    ),
    (
        "/fapi/v1/fundingRate",
        {"symbol": "BTCUSDT"},
        '[{"symbol":"B","fundingTime":1,"fundingRate":"0","markPrice":"8","rateType":"Regular"}]',
    ),
    ("/fapi/v1/fundingInfo", {}, "[]"),
    (
        "/fapi/v1/ticker/bookTicker",
        {"symbol": "BTCUSDT"},
        """{"symbol":"B","bidPrice":"8","bidQty":"4","askPrice":"8","askQty":"1","time":1,"lastUpdateId":9}""",
    ),
    ("/fapi/v2/ticker/price", {"symbol": "BTCUSDT"}, '{"symbol":"B","price":"8","time":1}'),
    (
        "/fapi/v1/ticker/24hr",
        {"symbol": "BTCUSDT"},
        """{"symbol":"B","priceChange":"5","priceChangePercent":"0","weightedAvgPrice":"8","lastPrice":"8",
        "lastQty":"0","openPrice":"8","highPrice":"8","lowPrice":"8","volume":"1","quoteVolume":"1","openTime":1,
        "closeTime":1,"firstId":8,"lastId":8,"count":2}""",
    ),
    (
        "/fapi/v3/balance",
        {},
        """[{"accountAlias":"S","asset":"USDT","balance":"9","crossWalletBalance":"9","crossUnPnl":"0",
        "availableBalance":"9","maxWithdrawAmount":"9","marginAvailable":true,"updateTime":1}]""",
    ),
    (
        "/fapi/v3/positionRisk",
        {},
        """[{"symbol":"B","positionSide":"BOTH","positionAmt":"0","entryPrice":"8","breakEvenPrice":"8",
        "markPrice":"8","unRealizedProfit":"0","liquidationPrice":"0","isolatedMargin":"0","notional":"3",
        "marginAsset":"USDT","isolatedWallet":"0","initialMargin":"4","maintMargin":"1","positionInitialMargin":"1",
        "openOrderInitialMargin":"2","adl":1,"bidNotional":"5","askNotional":"0","updateTime":1}]""",
    ),
    (
        "/fapi/v3/account",
        {},
        """{"totalInitialMargin":"1","totalMaintMargin":"1","totalWalletBalance":"1","totalUnrealizedProfit":"1",
        "totalMarginBalance":"1","totalPositionInitialMargin":"1","totalOpenOrderInitialMargin":"1",
        "totalCrossWalletBalance":"1","totalCrossUnPnl":"1","availableBalance":"1","maxWithdrawAmount":"1",
        "assets":[{"asset":"USDT","walletBalance":"1","unrealizedProfit":"1","marginBalance":"1","maintMargin":"1",
        "initialMargin":"1","positionInitialMargin":"1","openOrderInitialMargin":"1","crossWalletBalance":"1",
        "crossUnPnl":"1","availableBalance":"1","maxWithdrawAmount":"1","updateTime":1}],
        "positions":[{"symbol":"B","positionSide":"BOTH","positionAmt":"0","unrealizedProfit":"0",
        "isolatedMargin":"0","notional":"3","isolatedWallet":"0","initialMargin":"4","maintMargin":"1",
        "updateTime":1}]}""",
    ),
    ("/fapi/v1/positionSide/dual", {}, '{"dualSidePosition":false}'),
    (
        "/fapi/v1/accountConfig",
        {},
        """{"feeTier":0,"canTrade":true,"canDeposit":true,"canWithdraw":true,"dualSidePosition":false,"updateTime":0,
        "multiAssetsMargin":false,"tradeGroupId":-1}""",
    ),
    (
        "/fapi/v1/symbolConfig",
        {"symbol": "BTCUSDT"},
        """[{"symbol":"B","marginType":"CROSSED","isAutoAddMargin":false,"leverage":20,
        "maxNotionalValue":"1000000"}]""",
    ),
    (
        "/fapi/v1/commissionRate",
        {"symbol": "BTCUSDT"},
        """{"symbol":"B","makerCommissionRate":"0.0002","takerCommissionRate":"0.0005","rpiCommissionRate":"0"}""",
    ),
    (
        "/fapi/v1/income",
        {},
        """[{"symbol":"B","incomeType":"COMMISSION","income":"-0","asset":"USDT","info":"8","time":1,"tranId":9,
        "tradeId":"8"}]""",
    ),
]


def holding() -> Bench:
    """A venue with a position, a resting order and a trade."""
    bench = Bench(rows=(BTC, ETH))
    bench.market("BUY", "0.010")
    bench.limit("BUY", "0.010", "83000.00")
    return bench


@pytest.mark.parametrize(("path", "params", "sample"), SHAPES, ids=[row[0] for row in SHAPES])
def test_answers_have_the_sheets_names_and_types(path: str, params: dict[str, Any], sample: str) -> None:
    """Names, JSON types and nesting equal the sheet's response shapes."""
    reply = holding().call("GET", path, **params)

    assert 200 == reply.status
    assert [] == differences(json.loads(sample), reply.body)


# File → path, parameters, and the differences that the sheet's section 4 explains.
DOCUMENTED: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "ExchangeData/GetBookPrice": ("/fapi/v1/ticker/bookTicker", {"symbol": "BTCUSDT"}, []),
    "ExchangeData/GetFundingRates": (
        "/fapi/v1/fundingRate",
        {"symbol": "BTCUSDT"},
        ["[].rateType is extra"],  # since 2026-07-23
    ),
    "ExchangeData/GetKlines": ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "5m"}, []),
    "ExchangeData/GetMarkPrice": ("/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}, []),
    "ExchangeData/GetOpenInterest": ("/fapi/v1/openInterest", {"symbol": "BTCUSDT"}, []),
    "ExchangeData/GetOpenInterestHistory": (
        "/futures/data/openInterestHist",
        {"symbol": "BTCUSDT", "period": "5m"},
        # 4.1: the supply since 2025-07, the time a number since mid-2026
        ["[].CMCCirculatingSupply is extra", "[].timestamp is int, expected str"],
    ),
    "ExchangeData/GetOrderBook": ("/fapi/v1/depth", {"symbol": "BTCUSDT"}, []),
    "ExchangeData/GetPrice": ("/fapi/v2/ticker/price", {"symbol": "BTCUSDT"}, []),
    "ExchangeData/GetTicker": ("/fapi/v1/ticker/24hr", {"symbol": "BTCUSDT"}, []),
    "ExchangeData/GetExchangeInfo": (
        "/fapi/v1/exchangeInfo",
        {},
        [
            ".assets[].autoAssetExchange is str, expected int",  # 4.2 shows text
            ".futuresType is extra",  # 4.2
            ".symbols[].maxMoveOrderLimit is extra",  # 4.2
            ".symbols[].permissionSets is extra",  # 4.2
            ".symbols[].settlePlan is missing",  # 4.2 no longer lists it
        ],
    ),
    "Trading/GetPositions": ("/fapi/v2/positionRisk", {"symbol": "BTCUSDT"}, []),
    "Trading/GetOpenOrders": (
        "/fapi/v1/openOrders",
        {"symbol": "BTCUSDT"},
        ["[].activatePrice is missing", "[].priceRate is missing"],  # 4.3: trailing orders only
    ),
    "Trading/GetOrders": (
        "/fapi/v1/allOrders",
        {"symbol": "BTCUSDT"},
        # 4.3: trailing orders only; cumBase and pair since 2026-08
        ["[].activatePrice is missing", "[].cumBase is extra", "[].pair is extra", "[].priceRate is missing"],
    ),
}


@pytest.mark.parametrize("name", list(DOCUMENTED))
def test_answers_differ_from_the_documented_samples_only_by_the_sheet(name: str) -> None:
    """Names and types equal the documentation-style samples, but for the differences the sheet explains."""
    path, params, explained = DOCUMENTED[name]
    sample = documented(require(f"binance-net-docstyle/Endpoints/{name}.txt"))

    assert explained == sorted(differences(sample, holding().call("GET", path, **params).body))


@pytest.mark.parametrize("path", ["/fapi/v1/premiumIndex", "/fapi/v1/ticker/24hr", "/fapi/v1/ticker/bookTicker"])
def test_without_a_symbol_all_are_listed(path: str) -> None:
    """One element per symbol, in the exchange's order."""
    assert ["BTCUSDT", "ETHUSDT"] == [row["symbol"] for row in holding().call("GET", path).body]


def test_exchange_info_states_the_limits() -> None:
    """rateLimits hold weight and both order windows; symbols all grids."""
    body = Bench().call("GET", "/fapi/v1/exchangeInfo").body

    assert [("REQUEST_WEIGHT", 2_400), ("ORDERS", 1_200), ("ORDERS", 300)] == [
        (row["rateLimitType"], row["limit"]) for row in body["rateLimits"]
    ]
    assert ["BTCUSDT"] == [row["symbol"] for row in body["symbols"]]


def test_what_is_not_simulated_says_so() -> None:
    """−1020 with "not simulated", for paths and parameters; never silence or a made-up value."""
    bench = Bench()
    replies = [bench.call(*row.split(" ")) for row in NOT_SIMULATED]
    replies.append(bench.limit("BUY", "0.010", "83000.00", priceMatch="QUEUE"))

    assert {(400, -1020)} == {(reply.status, reply.body["code"]) for reply in replies}
    assert all("not simulated" in reply.body["msg"] for reply in replies)


def test_weights_follow_the_limit() -> None:
    """Depth 2/5/10/20, candles 1/2/5/10 (4.1)."""
    assert [2, 2, 5, 10, 20, 10] == [
        depth_weight({} if limit is None else {"limit": limit}) for limit in ("5", "50", "100", "500", "1000", None)
    ]
    assert [1, 2, 5, 10, 5] == [
        klines_weight({} if limit is None else {"limit": limit}) for limit in ("99", "499", "1000", "1001", None)
    ]


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


names = st.sampled_from(
    ["symbol", "side", "type", "quantity", "price", "timeInForce", "limit", "interval", "orderId", "algoId", "leverage",
     "startTime", "endTime", "triggerPrice", "algoType", "reduceOnly", "closePosition", "marginType", "fromId",
     "period",
     "origClientOrderId", "clientAlgoId", "newClientOrderId", "workingType", "incomeType"]
)  # fmt: skip
words = [
    "BTCUSDT",
    "BUY",
    "SELL",
    "LIMIT",
    "MARKET",
    "STOP_MARKET",
    "CONDITIONAL",
    "GTC",
    "5m",
    "true",
    "-1",
    "0",
    "1000",
    "0.010",
    "83000.00",
    "²",
    "1e5",
    "NaN",
]
values = st.one_of(st.sampled_from([*words, "9" * 30, ""]), st.text(max_size=20))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(ROUTES)), st.dictionaries(names, values, max_size=10))
def test_any_parameters_get_a_venue_answer(route: tuple[str, str], params: dict[str, str]) -> None:
    """Whatever the parameters are, the answer is 200 or a refusal with a code; never an exception."""
    bench = holding()
    reply = bench.call(route[0], route[1], **params)

    assert reply.status in (200, 400, 401, 429)
    if reply.status != 200:
        assert reply.body["code"] < 0
