"""Every endpoint answers with the sheet's fields, weights and codes (section 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.endpoints import NOT_SIMULATED, ROUTES
from connectors.exchange_simulator.venue import Reply
from tests.connectors.exchange_simulator import test_liquidation, test_market
from tests.connectors.exchange_simulator.shapes import CITED, differences, documented
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


def test_what_is_not_simulated_says_so() -> None:
    """−1020 with "not simulated", for paths and parameters; never silence or a made-up value."""
    bench = Bench()
    replies = [bench.call(*row.split(" ")) for row in NOT_SIMULATED]
    replies.append(bench.limit("BUY", "0.010", "83000.00", timeInForce="RPI"))
    replies.append(bench.call("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true"))

    assert {(400, -1020)} == {(reply.status, reply.body["code"]) for reply in replies}
    assert all("not simulated" in reply.body["msg"] for reply in replies)


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


BTCUSDT = {"symbol": "BTCUSDT"}
BARS = {"interval": "5m", "limit": 3}
CHANGE = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.020", "price": "83000.00"}
NEW = CHANGE | {"type": "LIMIT", "timeInForce": "GTC"}
TRAILING_ONLY = ["activatePrice is missing", "priceRate is missing"]  # 4.3: trailing orders only


def traded() -> Bench:
    """Like `holding`, with public trades and a waiting stop."""
    bench = holding()
    bench.trade(838_600, 5, buyer_is_maker=True)
    bench.trade(838_601, 5, buyer_is_maker=False)
    bench.wait(1_000)
    bench.stop("SELL", "80000.00", quantity="0.010", reduceOnly="true", clientAlgoId="rail")
    return bench


def resting(bench: Bench) -> dict[str, Any]:
    """Parameters that name the resting order."""
    return {"symbol": "BTCUSDT", "orderId": bench.venue.trading.opened("BTCUSDT")[0].order_id}


def amended(bench: Bench) -> Reply:
    """The history of an order changed once."""
    one = resting(bench)
    bench.call("PUT", "/fapi/v1/order", **(CHANGE | one))
    return bench.call("GET", "/fapi/v1/orderAmendment", **one)


def forced(bench: Bench) -> Reply:
    """Own forced orders after an auto-deleveraging."""
    bench.venue.liquidation.deleverage(bench.venue.account.position(BTC), lots=5, now_ms=bench.now)
    return bench.call("GET", "/fapi/v1/forceOrders")


def get(path: str, **params: Any) -> Callable[[Bench], Reply]:
    """A query without own orders."""
    return lambda bench: bench.call("GET", path, **params)


# File → the call and the differences that the sheet explains, by its line.
CALLED: dict[str, tuple[Callable[[Bench], Reply], list[str]]] = {
    "ExchangeData/GetAggregatedTradeHistory": (get("/fapi/v1/aggTrades", **BTCUSDT), ["nq is extra"]),  # 2.5
    "ExchangeData/GetRecentTrades": (get("/fapi/v1/trades", **BTCUSDT), ["isRPITrade is extra"]),  # 8: 2025-11-18
    "ExchangeData/GetTradeHistory": (get("/fapi/v1/historicalTrades", **BTCUSDT), ["isRPITrade is extra"]),
    "ExchangeData/GetContinuousContractKlines": (
        get("/fapi/v1/continuousKlines", pair="BTCUSDT", contractType="PERPETUAL", **BARS),
        [],
    ),
    "ExchangeData/GetIndexPriceKlines": (get("/fapi/v1/indexPriceKlines", pair="BTCUSDT", **BARS), []),
    "ExchangeData/GetMarkPriceKlines": (get("/fapi/v1/markPriceKlines", **BTCUSDT, **BARS), []),
    "ExchangeData/GetPremiumIndexKlines": (get("/fapi/v1/premiumIndexKlines", **BTCUSDT, **BARS), []),
    "ExchangeData/GetInsuranceFundBalances": (get("/fapi/v1/insuranceBalance"), []),
    "ExchangeData/GetServerTime": (get("/fapi/v1/time"), []),
    "Trading/CancelAllOrders": (lambda bench: bench.call("DELETE", "/fapi/v1/allOpenOrders", **BTCUSDT), []),
    "Trading/CancelAllConditionalOrders": (
        lambda bench: bench.call("DELETE", "/fapi/v1/algoOpenOrders", **BTCUSDT),
        [],
    ),
    "Trading/CancelAllOrdersAfterTimeout": (
        lambda bench: bench.call("POST", "/fapi/v1/countdownCancelAll", countdownTime=1_000, **BTCUSDT),
        [],
    ),
    # 4.3: avgPrice and cumQuote are gone from acknowledgements since 2026-06-30
    "Trading/CancelOrder": (
        lambda bench: bench.call("DELETE", "/fapi/v1/order", **resting(bench)),
        ["cumQuote is missing", *TRAILING_ONLY],
    ),
    "Trading/CancelMultipleOrders": (
        lambda bench: bench.call(
            "DELETE", "/fapi/v1/batchOrders", orderIdList=json.dumps([resting(bench)["orderId"]]), **BTCUSDT
        ),
        ["cumQuote is missing", *TRAILING_ONLY],
    ),
    "Trading/EditOrder": (
        lambda bench: bench.call("PUT", "/fapi/v1/order", **(CHANGE | resting(bench))),
        ["avgPrice is missing", "cumBase is missing"],
    ),
    "Trading/EditMultipleOrders": (
        lambda bench: bench.call("PUT", "/fapi/v1/batchOrders", batchOrders=json.dumps([CHANGE | resting(bench)])),
        ["avgPrice is missing", "cumBase is missing"],
    ),
    "Trading/PlaceMultipleOrders": (
        lambda bench: bench.call("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps([NEW])),
        ["avgPrice is missing", "closePosition is extra", "cumQuote is missing", *TRAILING_ONLY],
    ),
    "Trading/GetOrderEditHistory": (amended, []),
    "Trading/GetOpenOrder": (lambda bench: bench.call("GET", "/fapi/v1/openOrder", **resting(bench)), TRAILING_ONLY),
    "Trading/GetForcedOrders": (forced, []),
    "Trading/GetOpenConditionalOrders": (get("/fapi/v1/openAlgoOrders", **BTCUSDT), []),
    # 4.4: only after a trigger
    "Trading/GetConditionalOrders": (
        get("/fapi/v1/allAlgoOrders", **BTCUSDT),
        ["actualQty is missing", "actualType is missing"],
    ),
}


@pytest.mark.parametrize("name", list(CALLED))
def test_calls_differ_from_the_documented_samples_only_by_the_sheet(name: str) -> None:
    """Like the comparison above, for calls that change something or need something to have happened."""
    call, explained = CALLED[name]
    found = differences(documented(require(f"binance-net-docstyle/Endpoints/{name}.txt")), call(traded()).body)

    assert sorted(explained) == sorted(one.removeprefix("[]").removeprefix(".") for one in found)


# Path → fields that came after the answers were recorded, by their lines of the sheet.
LATER: dict[str, list[str]] = {
    "/fapi/v1/aggTrades": ["[].nq is extra"],  # 2025-12-31
    "/fapi/v1/fundingRate": ["[].markPrice is extra", "[].rateType is extra"],  # 2026-07-23
    "/fapi/v1/ticker/bookTicker": [".lastUpdateId is extra"],  # 4.1
    "/fapi/v1/trades": ["[].isRPITrade is extra"],  # 2025-11-18
    "/futures/data/openInterestHist": ["[].CMCCirculatingSupply is extra"],  # 2025-07-02
}


def test_recorded_answers_of_the_venue_have_our_names_and_types() -> None:
    """Every public answer that gocryptotrader recorded for one symbol of this venue, field by field."""
    compared = 0
    for line in require("gocryptotrader/fapi_responses.jsonl").read_text().splitlines():
        recorded = json.loads(line)
        params = dict(pair.split("=") for pair in recorded["query"].split("&") if pair)
        refused = isinstance(recorded["response"], dict) and "code" in recorded["response"]
        if recorded["response"] is None or refused or "pair" in params or recorded["path"] == "/fapi/v1/indexInfo":
            continue  # delivery contracts and the composite index are not simulated
        params = {name: value for name, value in params.items() if name not in ("startTime", "endTime")}
        if "symbol" in params:
            params["symbol"] = "BTCUSDT"
        reply = traded().call(recorded["method"], recorded["path"], **params)
        found = sorted(differences(recorded["response"], reply.body))
        assert LATER.get(recorded["path"], []) == found, recorded["path"]
        compared += 1

    assert compared >= 25


# All differences from recorded messages that test_endpoints.py (51), test_market.py (26) and test_liquidation.py (2)
# allow; shapes.py cites the sheet for each.
ALLOWED = 79
# Operation → what differs from our answer, by the lines of the sheet.
PRIVATE: dict[str, list[str]] = {
    # 4.4 shows numbers where ccxt's sample has text, and the fields of trailing orders as "".
    "place conditional order": [
        ".activatePrice is extra", ".algoId is int, expected str", ".callbackRate is extra",
        ".createTime is int, expected str", ".goodTillDate is int, expected str", ".triggerTime is int, expected str",
        ".updateTime is int, expected str",
    ],
    "place batch of orders": ["[].avgPrice is missing", "[].cumQuote is missing"],  # 4.3: gone since 2026-06-30
}  # fmt: skip


def test_recorded_private_answers_of_ccxt_have_our_names_and_types() -> None:
    """A conditional order and a batch, field by field."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.010"}
    batch = [order | {"type": "LIMIT", "price": "83000.00", "timeInForce": "GTC"}]
    stop = order | {"type": "STOP", "algoType": "CONDITIONAL", "triggerPrice": "84500.00", "price": "84600.00"}
    for line in require("ccxt/private_responses.jsonl").read_text().splitlines():
        recorded = json.loads(line)
        bench = Bench()
        ours = {
            "place conditional order": lambda bench=bench: bench.call("POST", "/fapi/v1/algoOrder", **stop),
            "place batch of orders": lambda bench=bench: bench.call(
                "POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(batch)
            ),
        }[recorded["operation"]]()
        assert PRIVATE[recorded["operation"]] == sorted(differences(recorded["response"], ours.body))


def allowed() -> list[str]:
    """Every difference from a recorded message that any of the simulator's tests allows, repeats included."""
    found = [one for _, _, explained in DOCUMENTED.values() for one in explained]
    found += [one for _, explained in CALLED.values() for one in explained]
    found += [one for table in (LATER, PRIVATE) for explained in table.values() for one in explained]
    found += [one for _, later in test_market.DOCUMENTED.values() for one in later]
    found += [*sorted(test_market.CAME_LATER), *test_market.ORDER_LATER, *test_market.CONFIG_FORM]
    return found + test_liquidation.FORCE_ORDER_LATER


def test_each_allowed_difference_cites_words_of_the_venue_sheet() -> None:
    """One total over the files; a difference without a cited line, or a citation without a use, is a failure."""
    kinds = {" ".join([name.rpartition(".")[2], rest]) for name, _, rest in (one.partition(" ") for one in allowed())}

    assert ALLOWED == len(allowed())
    assert kinds == set(CITED)


def test_what_is_cited_stands_in_the_sheet() -> None:
    """Word by word, where the sheet lies beside the recorded data."""
    sheet = require("binance-net-docstyle").parents[1] / "docs" / "binance-usdm.md"
    if not sheet.exists():
        pytest.skip("the venue sheet is not here")
    text = sheet.read_text()

    assert [] == [words for words in CITED.values() if words not in text]
