"""
The only place where REST answers become events: snapshots, klines, premium index, open interest, exchangeInfo, audits.

An answer that is an error, incomplete or unreadable becomes ``DataFailed``: it proves nothing (pains 3, 11), who asked
asks again. Nothing here raises for bad input but ``instrument_of``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import msgspec

from pipeline.binance import payloads
from pipeline.binance.numbers import (
    BAD_INPUT,
    Refused,
    SymbolNumbers,
    amount_e8,
    floored_lots,
    positive_e8,
    require_one_way,
    require_symbol,
    side_of,
    signed_lots,
)
from pipeline.core.bars import BAR_MS
from pipeline.core.events import (
    Bar,
    Bars,
    BasisHistory,
    DataFailed,
    DepthSnapshot,
    Event,
    FundingHistory,
    FundingInfo,
    InstrumentChanged,
    LeverageBrackets,
    MarkPrice,
    OpenAlgoOrder,
    OpenInterest,
    OpenInterestHistory,
    OpenOrder,
    Quote,
    Reconciled,
)
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds

CLOCK_MARGIN_MS: Final = 1_000  # a REST candle counts as closed only this long after its close time
LARGEST_CAP_USDT: Final = 1e11
ALMOST_ONE: Final = 0.999_999  # rounds a rate up that is no whole millionth, but for the noise of its own decimals
UNREADABLE: Final = (
    "unreadable: "  # begins the reason of an answer whose bytes were refused (they go to quarantine too)
)


def checked_bar(bar: Bar) -> Bar:
    """The bar, or Refused when its prices contradict each other."""
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        raise Refused(f"candle of {bar.open_ms}: open or close outside of low and high")
    return bar


def instrument_of(raw: bytes | msgspec.Raw) -> Instrument:
    """
    Read one symbol object of exchangeInfo. Raises Refused, NotADecimal, OffGrid or msgspec.DecodeError (``BAD_INPUT``).

    A minimum off the grid counts up, a maximum down. A contract without tick or step cannot be counted and is refused.
    """
    info = _symbol_info(raw)
    filters = {row.filter_type: row for row in info.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    if price is None or lot is None:
        raise Refused("filters: PRICE_FILTER or LOT_SIZE is missing")
    market = filters.get("MARKET_LOT_SIZE", lot)
    notional = filters.get("MIN_NOTIONAL")
    tick = positive_e8(price.tick_size, "PRICE_FILTER.tickSize")
    step = positive_e8(lot.step_size, "LOT_SIZE.stepSize")
    return Instrument(
        symbol=info.symbol,
        status=info.status,
        tick_e8=tick,
        step_e8=step,
        min_price_ticks=-(-amount_e8(price.min_price, "PRICE_FILTER.minPrice") // tick),
        max_price_ticks=amount_e8(price.max_price, "PRICE_FILTER.maxPrice") // tick,
        min_lots=-(-amount_e8(lot.min_qty, "LOT_SIZE.minQty") // step),
        max_lots=amount_e8(lot.max_qty, "LOT_SIZE.maxQty") // step,
        max_market_lots=amount_e8(market.max_qty, "MARKET_LOT_SIZE.maxQty") // step,
        min_notional_e8=amount_e8(notional.notional, "MIN_NOTIONAL.notional") if notional is not None else 0,
        delivery_ms=info.delivery_date,
        onboard_ms=info.onboard_date,
    )


def _levels(numbers: SymbolNumbers, side: list[payloads.LevelText]) -> list[tuple[int, int]]:
    ticks, lots = numbers.ticks, numbers.lots
    return [(ticks[price], lots[quantity]) for price, quantity in side]


def _depth_answer(numbers: SymbolNumbers, raw: bytes, at_ms: int) -> Event:
    depth = _depth(raw)
    bids, asks = _levels(numbers, depth.bids), _levels(numbers, depth.asks)
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise Refused(f"bids: crossed, {depth.bids[0][0]} is not below {depth.asks[0][0]}")
    return DepthSnapshot(
        last_update_id=depth.last_update_id,
        bids=bids,
        asks=asks,
        event_ms=Milliseconds(depth.event_ms or at_ms),
    )


def _klines_answer(numbers: SymbolNumbers, raw: bytes, at_ms: int) -> Event:
    ticks, lots = numbers.ticks, numbers.lots
    return Bars(
        bars=[
            checked_bar(
                Bar(
                    open_ms=row[0],
                    open=ticks[row[1]],
                    high=ticks[row[2]],
                    low=ticks[row[3]],
                    close=ticks[row[4]],
                    lots=lots[row[5]],
                    quote_volume=amount_e8(row[7], "quoteVolume"),
                    taker_lots=lots[row[9]],
                    taker_quote=amount_e8(row[10], "takerBuyQuote"),
                    trades=row[8],
                    closed=row[6] + CLOCK_MARGIN_MS < at_ms,
                )
            )
            for row in _klines(raw)
        ]
    )


def _premium_index_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    answer = _premium_index(raw)
    require_symbol(answer.symbol, numbers.symbol, "symbol")
    return MarkPrice(
        mark=positive_e8(answer.mark_price, "markPrice"),
        index=positive_e8(answer.index_price, "indexPrice") if answer.index_price else E8(0),
        funding_rate_e8=amount_e8(answer.last_funding_rate, "lastFundingRate") if answer.last_funding_rate else 0,
        next_funding_ms=answer.next_funding_time,
        event_ms=answer.time,
    )


def _book_ticker_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    answer = _best_prices(raw)
    require_symbol(answer.symbol, numbers.symbol, "symbol")
    bid, ask = numbers.ticks[answer.bid_price], numbers.ticks[answer.ask_price]
    if bid and ask and bid >= ask:
        raise Refused(f"bidPrice: crossed, {answer.bid_price} is not below {answer.ask_price}")
    return Quote(
        update_id=answer.last_update_id,
        bid=bid,
        bid_lots=numbers.lots[answer.bid_qty],
        ask=ask,
        ask_lots=numbers.lots[answer.ask_qty],
        event_ms=answer.time,
        polled=True,
    )


def _open_interest_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    answer = _open_interest(raw)
    require_symbol(answer.symbol, numbers.symbol, "symbol")
    return OpenInterest(lots=numbers.lots[answer.open_interest], event_ms=answer.time)


def _open_interest_history_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    """Sums of many accounts' quantities: they need not lie on the lot's grid and are rounded down to it."""
    rows: list[tuple[int, int]] = []
    for row in _open_interest_periods(raw):
        require_symbol(row.symbol, numbers.symbol, "symbol")
        rows.append((row.timestamp, floored_lots(numbers.instrument, row.sum_open_interest, "sumOpenInterest")))
    if any(earlier >= later for (earlier, _), (later, _) in pairwise(rows)):
        raise Refused("timestamp: the rows are not in the order of time")
    return OpenInterestHistory(rows=rows)


def _basis_history_answer(_: SymbolNumbers, raw: bytes, at_ms: int) -> Event:
    """Closes of premium-index candles that are over; the last row may still be forming."""
    rows: list[tuple[int, int]] = [
        (row[0] + BAR_MS, amount_e8(row[4], "close")) for row in _klines(raw) if row[6] + CLOCK_MARGIN_MS < at_ms
    ]
    if any(earlier >= later for (earlier, _), (later, _) in pairwise(rows)):
        raise Refused("openTime: the rows are not in the order of time")
    return BasisHistory(rows=rows)


def _funding_history_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    rows: list[tuple[int, int]] = []
    for row in _funding_prints(raw):
        require_symbol(row.symbol, numbers.symbol, "symbol")
        rows.append((row.funding_time, amount_e8(row.funding_rate, "fundingRate")))
    if any(earlier >= later for (earlier, _), (later, _) in pairwise(rows)):
        raise Refused("fundingTime: the rows are not in the order of time")
    return FundingHistory(rows=rows)


def _funding_info_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    terms = _funding_terms(raw)
    require_symbol(terms.symbol, numbers.symbol, "symbol")
    return FundingInfo(interval_hours=terms.interval_hours)


def _leverage_brackets_answer(numbers: SymbolNumbers, raw: bytes, _: int) -> Event:
    """Numbers come as JSON floats; a rate is rounded up to the next millionth, a cap down to whole USDT."""
    answer = _leverage_brackets(raw)
    require_symbol(answer.symbol, numbers.symbol, "symbol")
    rows: list[tuple[int, int, int]] = []
    for row in answer.brackets:
        if not (0 < row.maintenance_rate < 1 and 0 < row.notional_cap < LARGEST_CAP_USDT and row.initial_leverage > 0):
            raise Refused(f"brackets: {row} cannot be")
        rate_ppm = -int(-row.maintenance_rate * 1_000_000 - ALMOST_ONE)
        rows.append((row.initial_leverage, int(row.notional_cap) * ONE_E8, rate_ppm))
    if not rows or any(one[1] >= next_one[1] for one, next_one in pairwise(rows)):
        raise Refused("brackets: none, or not in the order of their caps")
    return LeverageBrackets(rows=rows)


def _audit_answer(numbers: SymbolNumbers, raw: bytes, at_ms: int) -> Event:
    """A read of several symbols may be given whole: only the symbol's own rows count, and no row means flat."""
    audit = _audit(raw)
    symbol, instrument = numbers.symbol, numbers.instrument
    lots, entry_price, liquidation = Lots(0), E8(0), E8(0)
    for row in audit.position_risk:
        if row.symbol == symbol:
            require_one_way(row.position_side, "positionSide")
            lots = signed_lots(instrument, row.position_amt, "positionAmt")
            entry_price = amount_e8(row.entry_price, "entryPrice")
            liquidation = amount_e8(row.liquidation_price or "0", "liquidationPrice")
    return Reconciled(
        lots=lots,
        entry_price=entry_price,
        liquidation=liquidation,
        orders=[
            OpenOrder(
                client_id=row.client_order_id,
                order_id=row.order_id,
                order_type=row.order_type,
                side=side_of(row.side, "side"),
                lots=numbers.lots[row.orig_qty],
                filled_lots=numbers.lots[row.executed_qty],
                price=instrument.ticks(row.price),
                reduce_only=row.reduce_only,
            )
            for row in audit.open_orders
            if row.symbol == symbol
        ],
        algo_orders=[
            OpenAlgoOrder(
                client_id=row.client_algo_id,
                algo_id=row.algo_id,
                order_type=row.order_type,
                side=side_of(row.side, "side"),
                status=row.algo_status,
                lots=numbers.lots[row.quantity],
                trigger=instrument.ticks(row.trigger_price),
                close_position=row.close_position,
                reduce_only=row.reduce_only,
            )
            for row in audit.open_algo_orders
            if row.symbol == symbol
        ],
        event_ms=Milliseconds(at_ms),
    )


_depth = msgspec.json.Decoder(payloads.Depth).decode
_klines = msgspec.json.Decoder(list[payloads.KlineRow]).decode
_premium_index = msgspec.json.Decoder(payloads.PremiumIndex).decode
_best_prices = msgspec.json.Decoder(payloads.BestPrices).decode
_open_interest = msgspec.json.Decoder(payloads.OpenInterest).decode
_open_interest_periods = msgspec.json.Decoder(list[payloads.OpenInterestPeriod], strict=False).decode
_funding_prints = msgspec.json.Decoder(list[payloads.FundingPrint]).decode
_funding_terms = msgspec.json.Decoder(payloads.FundingTerms).decode
_leverage_brackets = msgspec.json.Decoder(payloads.LeverageBrackets).decode
_audit = msgspec.json.Decoder(payloads.Audit).decode
_symbol_info = msgspec.json.Decoder(payloads.SymbolInfo).decode

# Kind of ``commands.RequestData`` → reader. ``exchange_info`` stands apart: it needs no instrument, it brings one.
_ANSWERS: Final[dict[str, Callable[[SymbolNumbers, bytes, int], Event]]] = {
    "depth": _depth_answer,
    "klines": _klines_answer,
    "premium_index": _premium_index_answer,
    "book_ticker": _book_ticker_answer,
    "open_interest": _open_interest_answer,
    "basis_history": _basis_history_answer,
    "funding_history": _funding_history_answer,
    "funding_info": _funding_info_answer,
    "leverage_brackets": _leverage_brackets_answer,
    "open_interest_history": _open_interest_history_answer,
    "audit": _audit_answer,
}


def decode_answer(
    *, kind: str, raw: bytes, request: str, error: str, symbol: str, instrument: Instrument | None, at_ms: int
) -> Event:
    """
    The event of one REST answer; *at_ms* is when it was received.

    An answer that is an error, of an unknown kind, incomplete or unreadable is DataFailed: it proves nothing (pains 3,
    11). Without an instrument only ``exchange_info`` can be read.
    """
    if error:
        return DataFailed(request=request, kind=kind, reason=error)
    try:
        if kind == "exchange_info":
            known = instrument_of(raw)
            require_symbol(known.symbol, symbol, "symbol")
            return InstrumentChanged(instrument=known)
        reader = _ANSWERS.get(kind)
        if reader is None:
            raise Refused(f"unknown kind of answer {kind!r}")
        if instrument is None:
            raise Refused("the instrument is not known yet")
        return reader(SymbolNumbers(symbol, instrument), raw, at_ms)
    except BAD_INPUT as error_read:
        return DataFailed(request=request, kind=kind, reason=f"{UNREADABLE}{error_read}")
