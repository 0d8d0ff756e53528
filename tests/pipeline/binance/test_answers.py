"""REST answers become events, or DataFailed with the reason: a read with a missing half proves nothing."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from pipeline.binance.answers import CLOCK_MARGIN_MS, UNREADABLE, decode_answer, instrument_of
from pipeline.binance.numbers import BAD_INPUT
from pipeline.core import events
from pipeline.core.events import DataFailed, Event, Quote, Side
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from tests.data import require
from tests.pipeline.binance.frames import BTCUSDT, EXCHANGE_INFO

AT_MS = 1_790_771_373_000
DEPTH = {"lastUpdateId": 9912345678901, "E": 1790771372203, "T": 1, "bids": [["83860.10", "4.217"]], "asks": []}
KLINES = [
    [1790771100000, "83902.10", "83951.00", "83844.70", "83860.20", "512.733", 1790771371999, "43009114.60210", 6613,
     "241.118", "20224870.11020", "0"],
    [1790771400000, "83860.20", "83860.20", "83860.20", "83860.20", "0", 1790771699999, "0", 0, "0", "0", "0"],
]  # fmt: skip
PREMIUM = {
    "symbol": "BTCUSDT", "markPrice": "83858.41000000", "indexPrice": "83869.55021739",
    "estimatedSettlePrice": "83871.10335412", "lastFundingRate": "0.00004127", "interestRate": "0.00010000",
    "nextFundingTime": 1790784000000, "time": 1790771372000,
}  # fmt: skip
BEST_PRICES = {
    "symbol": "BTCUSDT", "bidPrice": "83860.10", "bidQty": "4.217", "askPrice": "83860.20", "askQty": "1.903",
    "time": 1790771372108, "lastUpdateId": 9912345678901,
}  # fmt: skip
PERIOD = {"symbol": "BTCUSDT", "sumOpenInterest": "104298.11200000", "timestamp": 1790770800000}
OPEN_INTEREST = {"openInterest": "104312.774", "symbol": "BTCUSDT", "time": 1790771371000}
POSITION = {
    "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.004", "entryPrice": "83800.00",
    "breakEvenPrice": "83816.76", "markPrice": "83858.41000000", "unRealizedProfit": "0.23364000",
    "liquidationPrice": "91000.5", "updateTime": 1790771372031,
}  # fmt: skip
ORDER = {
    "orderId": 812345678901, "symbol": "BTCUSDT", "status": "NEW", "clientOrderId": "exec-1", "price": "83800.00",
    "origQty": "0.010", "executedQty": "0.002", "type": "LIMIT", "reduceOnly": True, "side": "BUY",
    "positionSide": "BOTH",
}  # fmt: skip
ALGO = {
    "algoId": 1000000033225453, "clientAlgoId": "exec-2", "orderType": "STOP_MARKET", "symbol": "BTCUSDT",
    "side": "BUY", "algoStatus": "NEW", "quantity": "0.010", "triggerPrice": "82900.00", "closePosition": False,
    "reduceOnly": True, "positionSide": "BOTH",
}  # fmt: skip
AUDIT = {
    "positionRisk": [POSITION, POSITION | {"symbol": "ETHUSDT", "positionSide": "LONG"}],
    "openOrders": [ORDER, ORDER | {"symbol": "ETHUSDT", "price": "x"}],
    "openAlgoOrders": [ALGO],
}


def answer(kind: str, body: Any, *, instrument: Instrument | None = BTCUSDT, error: str = "") -> Event:
    return decode_answer(
        kind=kind,
        raw=msgspec.json.encode(body),
        request="r",
        error=error,
        symbol="BTCUSDT",
        instrument=instrument,
        at_ms=AT_MS,
    )


def test_a_depth_answer_is_a_snapshot() -> None:
    """Best first, in ticks and lots; without ``E`` the receive time stands in."""
    expected = events.DepthSnapshot(
        last_update_id=9912345678901, bids=[(838_601, 4_217)], asks=[], event_ms=Milliseconds(1790771372203)
    )
    assert expected == answer("depth", DEPTH)
    old = {name: value for name, value in DEPTH.items() if name not in {"E", "T"}}
    assert msgspec.structs.replace(expected, event_ms=Milliseconds(AT_MS)) == answer("depth", old)


def test_candles_count_as_closed_only_well_after_their_close() -> None:
    """The open candle is the last row of every answer; a clock a second fast must not close it early."""
    event = answer("klines", KLINES)

    assert isinstance(event, events.Bars)
    assert [True, False] == [bar.closed for bar in event.bars]
    assert AT_MS - 1790771371999 > CLOCK_MARGIN_MS
    assert (839_021, 839_510, 838_447, 838_602, 512_733) == msgspec.structs.astuple(event.bars[0])[1:6]


def test_a_polled_quote_says_that_it_was_polled() -> None:
    """It stands for the price while the stream is down, and proves nothing about the stream."""
    quote = answer("book_ticker", BEST_PRICES)

    assert isinstance(quote, Quote)
    assert (True, 9_912_345_678_901) == (quote.polled, quote.update_id)
    assert (838_601, 838_602) == (quote.bid, quote.ask)
    refused = answer("book_ticker", BEST_PRICES | {"askPrice": "83860.10"})
    assert isinstance(refused, DataFailed)
    assert "crossed" in refused.reason


def test_premium_index_and_open_interest() -> None:
    """Mark, index and funding as from the stream; open interest in lots."""
    mark = events.MarkPrice(
        mark=E8(8_385_841_000_000),
        index=E8(8_386_955_021_739),
        funding_rate_e8=4_127,
        next_funding_ms=Milliseconds(1790784000000),
        event_ms=Milliseconds(1790771372000),
    )
    interest = events.OpenInterest(lots=Lots(104_312_774), event_ms=Milliseconds(1790771371000))

    assert mark == answer("premium_index", PREMIUM)
    assert interest == answer("open_interest", OPEN_INTEREST)


def test_a_history_of_open_interest_is_in_lots_and_in_order() -> None:
    """Times as number or text (venue sheet 4.1); a sum off the grid is rounded down to it."""
    rows = [
        {"symbol": "BTCUSDT", "sumOpenInterest": "104298.11200000", "timestamp": 1790770800000},
        {"symbol": "BTCUSDT", "sumOpenInterest": "104299.00070000", "timestamp": "1790771100000"},
    ]
    expected = events.OpenInterestHistory(rows=[(1790770800000, 104_298_112), (1790771100000, 104_299_000)])

    assert expected == answer("open_interest_history", rows)
    many = answer("open_interest_history", [PERIOD | {"sumOpenInterest": "135436241610.00000000"}])
    assert many == events.OpenInterestHistory(rows=[(1790770800000, 135_436_241_610_000)])  # more than 2**62 in E8
    backwards = answer("open_interest_history", rows[::-1])
    assert isinstance(backwards, events.DataFailed) and "order of time" in backwards.reason


def test_the_past_of_basis_and_funding() -> None:
    """Closes of premium-index candles that are over, in E8 of the index; settled rates with their times."""
    candle = [1790770800000, "0", "0", "0", "-0.00031250", "0", 1790771099999, "0", 12, "0", "0", "0"]
    forming = [1790771400000, "0", "0", "0", "0.5", "0", 1790771699999, "0", 12, "0", "0", "0"]
    prints = [
        {"symbol": "BTCUSDT", "fundingTime": 1790755200003, "fundingRate": "0.00005210", "markPrice": "1"},
        {"symbol": "BTCUSDT", "fundingTime": 1790784000001, "fundingRate": "-0.00001000", "markPrice": ""},
    ]

    assert events.BasisHistory(rows=[(1790771100000, -31_250)]) == answer("basis_history", [candle, forming])
    assert events.FundingHistory(rows=[(1790755200003, 5_210), (1790784000001, -1_000)]) == answer(
        "funding_history", prints
    )
    for kind, rows in (("basis_history", [candle, candle]), ("funding_history", prints[::-1])):
        backwards = answer(kind, rows)
        assert isinstance(backwards, events.DataFailed) and "order of time" in backwards.reason


def test_a_symbol_that_fundinginfo_does_not_list_settles_every_eight_hours() -> None:
    """The executor answers with the symbol alone then."""
    assert events.FundingInfo(interval_hours=8) == answer("funding_info", {"symbol": "BTCUSDT"})
    assert events.FundingInfo(interval_hours=4) == answer(
        "funding_info", {"symbol": "BTCUSDT", "fundingIntervalHours": 4, "disclaimer": False}
    )


def test_leverage_brackets_are_whole_numbers() -> None:
    """JSON floats: a rate rounds up to a millionth, and 0.0065 is 6,500 of them."""
    row = {"bracket": 1, "initialLeverage": 75, "notionalCap": 10000, "notionalFloor": 0, "maintMarginRatio": 0.0065}
    next_row = row | {"initialLeverage": 50, "notionalCap": 50000.5, "maintMarginRatio": 0.0100001}
    body = {"symbol": "BTCUSDT", "notionalCoef": 1.5, "brackets": [row, next_row]}

    assert events.LeverageBrackets(rows=[(75, 10_000 * 10**8, 6_500), (50, 50_000 * 10**8, 10_001)]) == answer(
        "leverage_brackets", body
    )
    for bad in ([], [next_row, row], [row | {"maintMarginRatio": 0}], [row | {"notionalCap": 1e300}]):
        assert isinstance(answer("leverage_brackets", body | {"brackets": bad}), events.DataFailed)


def test_an_audit_takes_the_symbols_own_rows() -> None:
    """A bulk read is given whole; rows of other symbols, readable or not, do not matter."""
    expected = events.Reconciled(
        lots=Lots(-4),
        entry_price=E8(8_380_000_000_000),
        liquidation=E8(9_100_050_000_000),
        orders=[
            events.OpenOrder(
                client_id="exec-1",
                order_id=812345678901,
                order_type="LIMIT",
                side=Side.BUY,
                lots=Lots(10),
                filled_lots=Lots(2),
                price=Ticks(838_000),
                reduce_only=True,
            )
        ],
        algo_orders=[
            events.OpenAlgoOrder(
                client_id="exec-2",
                algo_id=1000000033225453,
                order_type="STOP_MARKET",
                side=Side.BUY,
                status="NEW",
                lots=Lots(10),
                trigger=Ticks(829_000),
                close_position=False,
                reduce_only=True,
            )
        ],
        event_ms=Milliseconds(AT_MS),
    )
    assert expected == answer("audit", AUDIT)


def test_an_audit_without_a_row_means_flat() -> None:
    """positionRisk v3 lists only symbols with a position or an open order (venue sheet 4.5)."""
    flat = answer("audit", {"positionRisk": [], "openOrders": [], "openAlgoOrders": []})

    assert isinstance(flat, events.Reconciled)
    assert (0, 0, 0, [], []) == (flat.lots, flat.entry_price, flat.liquidation, flat.orders, flat.algo_orders)


REFUSED = [
    ("audit", {"positionRisk": [], "openOrders": []}, "Object missing required field `openAlgoOrders`"),
    ("audit", AUDIT | {"positionRisk": [POSITION | {"positionSide": "SHORT"}]}, "positionSide: 'SHORT'"),
    ("audit", AUDIT | {"openOrders": {"code": -1021, "msg": "x"}}, "Expected `array`, got `object`"),
    ("depth", {"code": -1121, "msg": "Invalid symbol."}, "Object missing required field `lastUpdateId`"),
    ("depth", DEPTH | {"asks": [["83860.10", "1"]]}, "bids: crossed"),
    ("depth", DEPTH | {"bids": [["83860.15", "1"]]}, "83860.15 is no multiple of 0.1"),
    ("klines", [KLINES[0][:11]], "Expected `array` of length 12"),
    ("klines", [[*KLINES[0][:2], "1.0", *KLINES[0][3:]]], "candle of 1790771100000"),
    ("premium_index", PREMIUM | {"symbol": "ETHUSDT"}, "symbol: 'ETHUSDT' in a line of BTCUSDT"),
    ("open_interest", OPEN_INTEREST | {"openInterest": "-1"}, "-1 is too small"),
    ("open_interest_history", [PERIOD | {"timestamp": "x"}], "Expected `int`, got `str`"),
    ("open_interest_history", [PERIOD | {"symbol": "A"}], "symbol: 'A'"),
    ("open_interest_history", [PERIOD | {"sumOpenInterest": "0"}], "sumOpenInterest: 0 is no quantity"),
    ("open_interest_history", [PERIOD | {"sumOpenInterest": "9" * 20}], f"sumOpenInterest: {'9' * 20} is no quantity"),
    ("exchange_info", EXCHANGE_INFO | {"symbol": "ETHUSDT"}, "symbol: 'ETHUSDT' in a line of BTCUSDT"),
    ("exchange_info", EXCHANGE_INFO | {"filters": []}, "filters: PRICE_FILTER or LOT_SIZE is missing"),
    ("weather", {}, "unknown kind of answer 'weather'"),
]


@pytest.mark.parametrize(("kind", "body", "reason"), REFUSED)
def test_an_answer_that_cannot_be_read_failed(kind: str, body: Any, reason: str) -> None:
    """Incomplete, contradictory or of another symbol: asked again, never half believed."""
    event = answer(kind, body)

    assert isinstance(event, DataFailed)
    assert ("r", kind) == (event.request, event.kind)
    assert event.reason.startswith(UNREADABLE + reason)


def test_an_error_of_the_executor_is_passed_on() -> None:
    """Shed, expired or refused by the venue: the words are the executor's, the bytes are none."""
    assert DataFailed(request="r", kind="depth", reason="shed") == answer("depth", None, error="shed")


def test_without_an_instrument_only_exchange_info_can_be_read() -> None:
    """Nothing is counted in ticks before the tick is known."""
    unread = answer("depth", DEPTH, instrument=None)

    assert DataFailed(request="r", kind="depth", reason=f"{UNREADABLE}the instrument is not known yet") == unread
    expected = msgspec.structs.replace(BTCUSDT, delivery_ms=4133404800000)
    assert events.InstrumentChanged(instrument=expected) == answer("exchange_info", EXCHANGE_INFO, instrument=None)


@pytest.mark.parametrize("tick", ["0", "-0.1", "x", ""])
def test_a_contract_without_a_tick_is_refused(tick: str) -> None:
    """A zero disables the filter at the venue; here prices must be countable."""
    filters = [EXCHANGE_INFO["filters"][0] | {"tickSize": tick}, *EXCHANGE_INFO["filters"][1:]]

    with pytest.raises(BAD_INPUT):
        instrument_of(msgspec.json.encode(EXCHANGE_INFO | {"filters": filters}))


def test_every_recorded_contract_becomes_an_instrument() -> None:
    """All contracts of two recorded exchangeInfo answers, 2021 and 2025; their limits lie on their own grids."""
    symbols = []
    for row in require("gocryptotrader/fapi_responses.jsonl").read_text().splitlines():
        recorded = json.loads(row)
        if recorded["path"] == "/fapi/v1/exchangeInfo":
            symbols += recorded["response"]["symbols"]
    path = require("cryptofeed/binance_futures_20210722/exchangeInfo.txt.gz")
    with gzip.open(path, "rt") as text:
        symbols += json.loads(text.readline().split(": ", 1)[1])["symbols"]

    for symbol in symbols:
        instrument = instrument_of(msgspec.json.encode(symbol))
        filters = {row["filterType"]: row for row in symbol["filters"]}
        assert instrument.min_lots == instrument.lots(filters["LOT_SIZE"]["minQty"])
        assert instrument.max_price_ticks >= instrument.min_price_ticks > 0
        assert 1 == instrument.ticks(filters["PRICE_FILTER"]["tickSize"])
        assert instrument.trading == (symbol["status"] == "TRADING")
    assert 147 == len(symbols)
