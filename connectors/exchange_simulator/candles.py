"""The only keeper of candles: seeded history before the start, live minutes after it, any interval by merging."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from connectors.exchange_simulator.fixed_point import format_e8
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.prng import Prng

MINUTE: Final = 60_000
FIVE: Final = 5 * MINUTE
DAY: Final = 1_440 * MINUTE
INTERVALS: Final = {
    "1m": MINUTE, "3m": 3 * MINUTE, "5m": FIVE, "15m": 15 * MINUTE, "30m": 30 * MINUTE, "1h": 60 * MINUTE,
    "2h": 120 * MINUTE, "4h": 240 * MINUTE, "6h": 360 * MINUTE, "8h": 480 * MINUTE, "12h": 720 * MINUTE,
    "1d": DAY, "3d": 3 * DAY, "1w": 7 * DAY,
}  # fmt: skip
# Seeded history reaches 70 days back (20,160 five-minute bars); before that the symbol "was not listed".
HISTORY_BARS: Final = 20_160
# 1970-01-01 was a Thursday; weekly candles open on Mondays.
_WEEK_OFFSET: Final = 4 * DAY


def open_time(at_ms: int, interval: str) -> int:
    """Start of the candle of *interval* that contains *at_ms*."""
    span = INTERVALS[interval]
    offset = _WEEK_OFFSET if interval == "1w" else 0
    return (at_ms - offset) // span * span + offset


class Candle:
    """One bar in ticks and lots; quote volumes in e8 USDT. Without trades open is the previous close."""

    __slots__ = (
        "buy_lots", "buy_quote", "close", "count", "first_id", "high", "last_id", "lots", "low", "open", "open_ms",
        "quote",
    )  # fmt: skip

    def __init__(self, open_ms: int, price: int) -> None:
        self.open_ms = open_ms
        self.open = self.high = self.low = self.close = price
        self.lots = self.quote = self.count = self.buy_lots = self.buy_quote = 0
        self.first_id = self.last_id = -1

    def trade(self, ticks: int, lots: int, quote: int, buyer_is_maker: bool, trade_id: int) -> None:
        """Add one trade."""
        if self.count == 0:
            self.first_id = trade_id
        if ticks > self.high:
            self.high = ticks
        elif ticks < self.low:
            self.low = ticks
        self.close = ticks
        self.lots += lots
        self.quote += quote
        self.count += 1
        self.last_id = trade_id
        if not buyer_is_maker:
            self.buy_lots += lots
            self.buy_quote += quote


class TradedCandle(Candle):
    """A bar that opens with its first trade, as the venue's do; the seeded market's open at the previous close."""

    __slots__ = ()

    def trade(self, ticks: int, lots: int, quote: int, buyer_is_maker: bool, trade_id: int) -> None:
        """Add one trade."""
        if self.count == 0:
            self.open = self.high = self.low = ticks
        super().trade(ticks, lots, quote, buyer_is_maker, trade_id)


def merge(open_ms: int, bars: Iterable[Candle]) -> Candle | None:
    """One candle from consecutive smaller ones; None when there are none."""
    merged: Candle | None = None
    for bar in bars:
        if merged is None:
            merged = Candle(open_ms, bar.open)
        merged.high = max(merged.high, bar.high)
        merged.low = min(merged.low, bar.low)
        merged.close = bar.close
        merged.lots += bar.lots
        merged.quote += bar.quote
        merged.count += bar.count
        merged.buy_lots += bar.buy_lots
        merged.buy_quote += bar.buy_quote
        if bar.count:
            merged.first_id = bar.first_id if merged.first_id < 0 else merged.first_id
            merged.last_id = bar.last_id
    return merged


class CandleBook:
    """All candles of one symbol. History is made lazily, backwards from the starting price, from its own seed."""

    def __init__(self, row: Instrument, *, seed: int, stream: int, start_ms: int, start_ticks: int) -> None:
        self._row = row
        self._random = Prng(seed, stream * 2 + 1)
        self._start_minute = start_ms // MINUTE * MINUTE
        self._start_ticks = start_ticks
        # Newest first, so that history grows by appending.
        self._backward: list[Candle] = []
        self._minutes: list[Candle] = []
        self._kind: type[Candle] = Candle
        self.current = Candle(self._start_minute, start_ticks)

    def preload(self, bars: Sequence[Candle]) -> None:
        """
        Take a real past instead of the seeded one, which goes on behind it.

        *bars* in time order: five-minute bars up to the last full five minutes before the start, then single minutes up
        to the start.
        """
        self._backward = list(reversed(bars))

    def open_with_trades(self) -> None:
        """Let every minute from the next one on open with its first trade."""
        self._kind = TradedCandle

    def advance(self, now_ms: int) -> list[Candle]:
        """Close every minute that ended by *now_ms*; return the closed minutes (the new current one is empty)."""
        closed: list[Candle] = []
        while self.current.open_ms + MINUTE <= now_ms:
            closed.append(self.current)
            self._minutes.append(self.current)
            self.current = self._kind(self.current.open_ms + MINUTE, self.current.close)
        return closed

    def _past(self, count: int) -> list[Candle]:
        """
        The newest *count* (or a few more) bars before the start, in time order, made on demand.

        They are seeded five-minute bars up to the last full five minutes before the start, then single minutes.
        """
        five_start = self._start_minute // FIVE * FIVE
        if not self._backward:
            close = self._start_ticks
            for minute in range(self._start_minute - MINUTE, five_start - 1, -MINUTE):
                self._backward.append(self._backwards(minute, close, width=45))
                close = self._backward[-1].open
            self._backward.append(self._backwards(five_start - FIVE, close, width=100))
        while len(self._backward) < min(count + 5, HISTORY_BARS):
            newer = self._backward[-1]
            self._backward.append(self._backwards(newer.open_ms - FIVE, newer.open, width=100))
        return self._backward[count + 4 :: -1]

    def _backwards(self, open_ms: int, close: int, *, width: int) -> Candle:
        """One bar before a known close. Its range is about the symbol's ATR × *width* %."""
        random = self._random
        span = max(2, close * self._row.atr_bps * width // 1_000_000)
        body = span * max(-800, min(800, random.bell() * 55 // 100)) // 1000
        # A price that wandered below half its start drifts home, so 70 days never reach zero.
        if close < self._start_ticks // 2:
            body -= span // 8
        elif close > self._start_ticks * 2:
            body += span // 8
        opening = max(10, close - body)
        wick = max(0, span - abs(close - opening))
        above = random.below(wick + 1)
        bar = Candle(open_ms, opening)
        bar.high = max(opening, close) + above
        bar.low = max(1, min(opening, close) - (wick - above))
        bar.close = close
        bar.lots = self._row.open_interest_lots // 400 * (50 + random.below(100)) // 100
        bar.count = 200 + random.below(800)
        bar.quote = self._row.notional((bar.high + bar.low) // 2, bar.lots)
        bar.buy_lots = bar.lots * (40 + random.below(21)) // 100
        bar.buy_quote = bar.quote * bar.buy_lots // max(1, bar.lots)
        return bar

    def candle(self, interval: str, now_ms: int) -> Candle:
        """The running candle of *interval*, including the current minute."""
        start = open_time(now_ms, interval)
        merged = merge(start, [*self._since(start), self.current])
        assert merged is not None
        return merged

    def _since(self, start: int) -> list[Candle]:
        found: list[Candle] = []
        for bar in reversed(self._minutes):
            if bar.open_ms < start:
                return found[::-1]
            found.append(bar)
        for bar in reversed(self._past((self._start_minute - start) // FIVE + 1)):
            if bar.open_ms < start:
                break
            found.append(bar)
        return found[::-1]

    def closed(self, interval: str, open_ms: int) -> Candle:
        """A candle that has just ended."""
        bars = [bar for bar in self._since(open_ms) if bar.open_ms < open_ms + INTERVALS[interval]]
        return merge(open_ms, bars) or Candle(open_ms, self.current.open)

    def rows(self, interval: str, *, start: int | None, end: int | None, limit: int, now_ms: int) -> list[Candle]:
        """Candles in time order for REST: from *start* on, or the last *limit* up to *end* (both inclusive opens)."""
        span = INTERVALS[interval]
        oldest = start if start is not None else (end if end is not None else now_ms) - limit * span
        count = max(1, (self._start_minute - oldest + span) // FIVE + 1)
        bars = [*(self._past(count) if span >= FIVE else self._fine(count)), *self._minutes, self.current]
        grouped: list[Candle] = []
        group: list[Candle] = []
        for bar in bars:
            if group and open_time(bar.open_ms, interval) != open_time(group[0].open_ms, interval):
                _append_merged(grouped, group, interval)
                group = []
            group.append(bar)
        _append_merged(grouped, group, interval)
        wanted = [
            bar for bar in grouped if (start is None or bar.open_ms >= start) and (end is None or bar.open_ms <= end)
        ]
        return wanted[:limit] if start is not None else wanted[-limit:]

    def _fine(self, count: int) -> list[Candle]:
        """One-minute bars before the start: five-minute bars of history cut along open → extremes → close."""
        five_start = self._start_minute // FIVE * FIVE
        bars: list[Candle] = []
        for bar in self._past(count):
            bars.extend(_split(bar) if bar.open_ms < five_start else [bar])
        return bars


def _append_merged(rows: list[Candle], group: list[Candle], interval: str) -> None:
    if group:
        merged = merge(open_time(group[0].open_ms, interval), group)
        assert merged is not None
        rows.append(merged)


def _split(bar: Candle) -> list[Candle]:
    first, second = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    path = [bar.open, first, (first + second) // 2, second, (second + bar.close) // 2, bar.close]
    minutes: list[Candle] = []
    for index in range(5):
        part = Candle(bar.open_ms + index * MINUTE, path[index])
        part.close = path[index + 1]
        part.high, part.low = max(part.open, part.close), min(part.open, part.close)
        part.lots, part.quote, part.count = bar.lots // 5, bar.quote // 5, bar.count // 5
        part.buy_lots, part.buy_quote = bar.buy_lots // 5, bar.buy_quote // 5
        minutes.append(part)
    return minutes


class PriceCandles:
    """Minute bars of a sampled price (mark or index), e8, since the start; volumes stay 0."""

    def __init__(self, start_ms: int, price_e8: int) -> None:
        self.start_minute = start_ms // MINUTE * MINUTE
        self._minutes = [Candle(self.start_minute, price_e8)]

    def sample(self, price_e8: int, now_ms: int) -> None:
        """Take the price of a second."""
        bar = self._minutes[-1]
        if now_ms >= bar.open_ms + MINUTE:
            bar = Candle(now_ms // MINUTE * MINUTE, price_e8)
            self._minutes.append(bar)
        bar.high, bar.low, bar.close = max(bar.high, price_e8), min(bar.low, price_e8), price_e8

    def bar(self, traded: Candle, span: int, tick_e8: int) -> Candle:
        """The bar beside a traded one: before the start, where no mark was sampled, the traded one in e8."""
        found = [part for part in self._minutes if traded.open_ms <= part.open_ms < traded.open_ms + span]
        merged = merge(traded.open_ms, found) if traded.open_ms >= self.start_minute else None
        if merged is not None:
            return merged
        bar = Candle(traded.open_ms, traded.open * tick_e8)
        bar.high, bar.low, bar.close = traded.high * tick_e8, traded.low * tick_e8, traded.close * tick_e8
        return bar


def price_row(prices: tuple[str, str, str, str], open_ms: int, interval: str) -> list[Any]:  # Any: mixed JSON row
    """A 12-element row of a price without trades: unused cells are "0" (sheet 4.1)."""
    return [open_ms, *prices, "0", open_ms + INTERVALS[interval] - 1, "0", 0, "0", "0", "0"]


def rest_row(row: Instrument, bar: Candle, interval: str) -> list[Any]:  # Any: mixed JSON row of sheet 4.1
    """The 12-element kline row."""
    price, quantity = row.price_text, row.quantity_text
    close_ms = bar.open_ms + INTERVALS[interval] - 1
    return [
        bar.open_ms, price(bar.open), price(bar.high), price(bar.low), price(bar.close), quantity(bar.lots), close_ms,
        format_e8(bar.quote, 5), bar.count, quantity(bar.buy_lots), format_e8(bar.buy_quote, 5), "0",
    ]  # fmt: skip


def continuous_payload(
    row: Instrument, bar: Candle, interval: str, *, event_ms: int, final: bool
) -> dict[str, Any]:  # Any: JSON
    """The continuous_kline event: the same candle by pair and contract type."""
    payload = stream_payload(row, bar, interval, event_ms=event_ms, final=final)
    candle = payload["k"]
    del candle["s"]
    return {"e": "continuous_kline", "E": event_ms, "ps": row.symbol, "ct": "PERPETUAL", "k": candle}


def stream_payload(
    row: Instrument, bar: Candle, interval: str, *, event_ms: int, final: bool
) -> dict[str, Any]:  # Any: JSON
    """The kline event of sheet 2.6."""
    price, quantity = row.price_text, row.quantity_text
    return {
        "e": "kline",
        "E": event_ms,
        "s": row.symbol,
        "k": {
            "t": bar.open_ms,
            "T": bar.open_ms + INTERVALS[interval] - 1,
            "s": row.symbol,
            "i": interval,
            "f": bar.first_id,
            "L": bar.last_id,
            "o": price(bar.open),
            "c": price(bar.close),
            "h": price(bar.high),
            "l": price(bar.low),
            "v": quantity(bar.lots),
            "n": bar.count,
            "x": final,
            "q": format_e8(bar.quote, 5),
            "V": quantity(bar.buy_lots),
            "Q": format_e8(bar.buy_quote, 5),
            "B": "0",
        },
    }
