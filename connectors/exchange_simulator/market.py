"""The only place that turns one symbol's market events into the public frames of sheet section 2."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from connectors.exchange_simulator.book import Level, MarketBook
from connectors.exchange_simulator.candles import (
    INTERVALS,
    Candle,
    CandleBook,
    PriceCandles,
    continuous_payload,
    open_time,
    stream_payload,
)
from connectors.exchange_simulator.depth_windows import DepthWindow, depth_names
from connectors.exchange_simulator.fixed_point import E8, format_e8
from connectors.exchange_simulator.funding import DEEP_CAP_E8, OTHER_CAP_E8, Funding, mark_price
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.market_events import BookChange, MarketTrade, MarkGiven, RecordedDiff
from connectors.exchange_simulator.public_trades import AggregateTrade, PublicTrade

Payload = dict[str, Any]  # Any: the venue's JSON
Emit = Callable[[str, Payload], None]
KlinePayload = Callable[..., Payload]
BASIS_SAMPLES: Final = 30
IMPACT_LEVELS: Final = 50
TRADES_KEPT: Final = 1_000
TEXTS_KEPT: Final = 512


class Market:
    """
    One symbol: book, last trade, mark and index, candles, day statistics, open interest.

    `wanted(stream)` says whether anyone would read a stream, so that unread frames are never built.
    """

    def __init__(
        self, row: Instrument, *, seed: int, stream: int, start_ms: int, wanted: Callable[[str], bool], emit: Emit
    ) -> None:
        self.use(row)
        self.name = row.symbol.lower()
        self.wanted = wanted
        self.emit = emit
        self.book = MarketBook()
        self.update_id = self.transaction_ms = 0
        self.last_ticks = row.nearest_tick(row.price_e8)
        self.last_lots, self.last_trade_ms = 0, start_ms
        self.mark_e8 = self.index_e8 = self.mark_average_e8 = row.price_e8
        # The venue's ids are global and never consecutive per symbol; the start time makes them grow over restarts.
        self.trade_id = self.first_trade_id = start_ms // 10
        self.aggregate_id = start_ms // 20
        self.candles = CandleBook(row, seed=seed, stream=stream, start_ms=start_ms, start_ticks=self.last_ticks)
        cap_e8 = DEEP_CAP_E8 if row.symbol == "BTCUSDT" else OTHER_CAP_E8
        self.funding = Funding(hours=row.funding_hours, cap_e8=cap_e8, start_ms=start_ms)
        self._basis: deque[int] = deque(maxlen=BASIS_SAMPLES)
        self.trades: deque[PublicTrade] = deque(maxlen=TRADES_KEPT)
        self.aggregates: deque[AggregateTrade] = deque(maxlen=TRADES_KEPT)
        self.index_candles = PriceCandles(start_ms, row.price_e8)
        self.mark_candles = PriceCandles(start_ms, row.price_e8)
        self.open_interest_lots = row.open_interest_lots
        self.windows: dict[int, DepthWindow] = {}
        self._aggregate: list[int] | None = None  # ticks, lots, first id, last id, trade ms, maker flag
        self._closing: deque[tuple[int, str, Candle, str, KlinePayload]] = deque()
        self._kline_dirty = self._day_dirty = True
        self._depth_dirty = dict.fromkeys((100, 250, 500), True)
        # Whether a flush has anything to do: a change, or an update id that was consumed without one.
        self._depth_due = dict.fromkeys((100, 250, 500), True)
        # Whether any of them has been flushed since all were marked.
        self._flushed = True
        self._depth_names = {speed: depth_names(self.name, speed) for speed in self._depth_dirty}
        self._kline_names = {
            interval: (
                (f"{self.name}@kline_{interval}", stream_payload),
                (f"{self.name}_perpetual@continuousKline_{interval}", continuous_payload),
            )
            for interval in INTERVALS
        }
        self._ticker_name = f"{self.name}@bookTicker"
        # Changes since the last flush of any diff speed; the windows share them then.
        self._gathered = DepthWindow(0)
        self.recorded = False
        self.first_snapshot: Payload | None = None
        self.day_open = self.day_high = self.day_low = 0
        self.day_lots = self.day_quote = self.day_count = 0
        self._start_day(start_ms)

    def use(self, row: Instrument) -> None:
        """Take the symbol's (changed) description; texts of prices and quantities that return are kept."""
        self.row = row
        self._price_text = lru_cache(maxsize=TEXTS_KEPT)(row.price_text)
        self._quantity_text = lru_cache(maxsize=TEXTS_KEPT)(row.quantity_text)

    def take_past(self, bars: Sequence[Candle], start_ms: int) -> None:
        """Take real candles before the start (see `CandleBook.preload`) and the day's statistics from them."""
        self.candles.preload(bars)
        self.candles.open_with_trades()
        self._start_day(start_ms)

    # ---- events -------------------------------------------------------------------------------------------------

    def change_book(self, event: BookChange, *, update_id: int, now_ms: int) -> None:
        """Apply a synthetic change: the book now, the diff streams at their own cadence."""
        book, bids, asks = self.book, event.bids, event.asks
        before = book.touch()
        book.set_levels(bids, asks)
        self.update_id, self.transaction_ms = update_id, now_ms
        gathered = self._gathered
        if gathered.first_id is None:
            gathered.first_id = update_id
        gathered.bids.update(bids)
        gathered.asks.update(asks)
        self._mark_depth_dirty()
        if not self.wanted(self._ticker_name):
            return
        touch = best_bid, best_ask = book.touch()
        if touch == before:
            for ticks, _ in bids:
                if ticks == best_bid:
                    break
            else:
                for ticks, _ in asks:
                    if ticks == best_ask:
                        break
                else:
                    return
        self.emit(self._ticker_name, self.book_ticker(now_ms))

    def _hand_out(self) -> None:
        """Give what has been gathered since the last flush to the window of every diff speed."""
        gathered = self._gathered
        if gathered.first_id is None:
            return
        for window in self.windows.values():
            window.open(gathered.first_id)
            window.bids.update(gathered.bids)
            window.asks.update(gathered.asks)
        self._gathered = DepthWindow(self.update_id)

    def apply_recorded(self, event: RecordedDiff) -> None:
        """Apply a recorded diff by the venue's own rules and serve it unchanged on the legal diff names."""
        if event.final_id >= self.update_id:
            self.book.set_levels(event.bids, event.asks)
            self.update_id, self.transaction_ms = event.final_id, event.transaction_ms
            self._mark_depth_dirty()
        for stream in (f"{self.name}@depth@100ms", f"{self.name}@depth", f"{self.name}@depth@500ms"):
            if self.wanted(stream):
                self.emit(stream, event.payload)

    def trade(self, event: MarketTrade, *, now_ms: int) -> None:
        """Book a public trade: last price, candles, day statistics, aggregate trade."""
        self.trade_id = self.trade_id + 1 if event.trade_id is None else event.trade_id
        at_ms = now_ms if event.at_ms is None else event.at_ms
        quote = self.row.notional(event.ticks, event.lots)
        self.last_ticks, self.last_lots, self.last_trade_ms = event.ticks, event.lots, at_ms
        self.candles.current.trade(event.ticks, event.lots, quote, event.buyer_is_maker, self.trade_id)
        self.trades.append(PublicTrade(self.trade_id, event.ticks, event.lots, at_ms, event.buyer_is_maker))
        self.day_high, self.day_low = max(self.day_high, event.ticks), min(self.day_low, event.ticks)
        self.day_lots += event.lots
        self.day_quote += quote
        self.day_count += 1
        self._kline_dirty = self._day_dirty = True
        pending = self._aggregate
        maker = int(event.buyer_is_maker)
        if pending is not None:
            if pending[0] == event.ticks and pending[5] == maker and at_ms - pending[4] <= 100:
                pending[1] += event.lots
                pending[3] = self.trade_id
                return
            self.flush_aggregate(now_ms)
        self._aggregate = [event.ticks, event.lots, self.trade_id, self.trade_id, at_ms, maker]

    def set_mark(self, mark_e8: int, index_e8: int) -> None:
        """Set mark and index; the moving average follows with a weight of 1/30 per second-sample (sheet 7.3)."""
        self.mark_e8, self.index_e8 = mark_e8, index_e8
        self.mark_average_e8 += (mark_e8 - self.mark_average_e8) // 30

    def take_mark(self, event: MarkGiven) -> None:
        """Take mark, index and funding as another venue states them; a settlement that is past is not due again."""
        self.mark_e8, self.index_e8, self.mark_average_e8 = event.mark_e8, event.index_e8, event.average_e8
        funding = self.funding
        funding.forced_e8 = event.rate_e8
        settled = funding.settlements[-1].at_ms if funding.settlements else 0
        if event.next_ms > settled:
            funding.next_ms = event.next_ms

    def move_mark(self, middle_e8: int, *, index_e8: int, now_ms: int, formula: bool) -> None:
        """Take a second's sample: index, average basis, and the mark by the venue's formula or as the middle (7.3)."""
        self._basis.append(middle_e8 - index_e8)
        mark = middle_e8
        if formula:
            mark = mark_price(
                index_e8=index_e8,
                basis_e8=sum(self._basis) // len(self._basis),
                last_e8=self.last_ticks * self.row.tick_e8,
                rate_e8=self.funding.rate_e8,
                funding=self.funding,
                now_ms=now_ms,
            )
        self.set_mark(mark, index_e8)
        self.mark_candles.sample(mark, now_ms)
        self.index_candles.sample(index_e8, now_ms)

    def sample_premium(self) -> None:
        """Give the funding rate one premium sample from the impact prices (7.2)."""
        bid = self._impact_e8(self.book.top_bids(IMPACT_LEVELS))
        ask = self._impact_e8(self.book.top_asks(IMPACT_LEVELS))
        if bid and ask:
            self.funding.sample(impact_bid_e8=bid, impact_ask_e8=ask, index_e8=self.index_e8)

    def _impact_e8(self, levels: list[Level]) -> int:
        """Average price of 200 USDT / (1 / highest leverage) through the book, e8; 0 for an empty side."""
        left = 200 * E8 * self.row.max_leverage
        value = lots = 0
        for ticks, shown in levels:
            take = min(shown, left // max(1, self.row.notional(ticks, 1)) + 1)
            value += self.row.notional(ticks, take)
            lots += take
            left -= self.row.notional(ticks, take)
            if left <= 0:
                break
        return value * E8 // (lots * self.row.step_e8) if lots else 0

    @property
    def middle_e8(self) -> int | None:
        """Mid price in e8; None while a side is empty."""
        bid, ask = self.book.best_bid, self.book.best_ask
        return None if bid is None or ask is None else (bid + ask) * self.row.tick_e8 // 2

    def _mark_depth_dirty(self) -> None:
        if not self._flushed:
            return
        self._flushed = False
        dirty, due = self._depth_dirty, self._depth_due
        dirty[100] = dirty[250] = dirty[500] = True
        due[100] = due[250] = due[500] = True

    def _start_day(self, start_ms: int) -> None:
        """Take the rolling day from history. Approximation: the window then only grows, it never drops its tail."""
        bars = self.candles.rows("5m", start=None, end=None, limit=288, now_ms=start_ms)
        self.day_open_ms = bars[0].open_ms
        self.day_open = bars[0].open
        self.day_high, self.day_low = max(bar.high for bar in bars), min(bar.low for bar in bars)
        self.day_lots, self.day_quote = sum(bar.lots for bar in bars), sum(bar.quote for bar in bars)
        self.day_count = sum(bar.count for bar in bars)

    # ---- frames at their cadence --------------------------------------------------------------------------------

    def flush_depth(self, speed: int, now_ms: int) -> None:
        """Send the diff and the partial books of one speed (100, 250 or 500 ms), when something changed."""
        if not self._depth_due[speed]:
            return
        self._depth_due[speed] = False
        self._flushed = True
        self._hand_out()
        name, partials = self._depth_names[speed]
        window = self.windows.get(speed)
        if window is None:
            if not self.recorded:
                self.windows[speed] = DepthWindow(self.update_id)
        elif window.first_id is not None:
            if self.wanted(name):
                self.emit(name, self._diff(window, now_ms))
            self.windows[speed] = DepthWindow(self.update_id)
        if self._depth_dirty[speed]:
            self._depth_dirty[speed] = False
            for count, partial in partials:
                if self.wanted(partial):
                    self.emit(partial, self._partial(count, now_ms))

    def flush_aggregate(self, now_ms: int) -> None:
        """Send the aggregate trade that has been gathered."""
        pending, self._aggregate = self._aggregate, None
        if pending is None:
            return
        self.aggregate_id += 1
        self.aggregates.append(AggregateTrade(self.aggregate_id, *pending))
        stream = f"{self.name}@aggTrade"
        if self.wanted(stream):
            quantity = self.row.quantity_text(pending[1])
            self.emit(
                stream,
                {
                    "e": "aggTrade",
                    "E": now_ms,
                    "a": self.aggregate_id,
                    "s": self.row.symbol,
                    "p": self.row.price_text(pending[0]),
                    "q": quantity,
                    "nq": quantity,
                    "f": pending[2],
                    "l": pending[3],
                    "T": pending[4],
                    "m": bool(pending[5]),
                    "st": 1,
                },
            )

    def _kline_streams(self, interval: str) -> list[tuple[str, KlinePayload]]:
        """The wanted streams that carry candles of an interval, each with its payload."""
        return [(name, payload) for name, payload in self._kline_names[interval] if self.wanted(name)]

    def close_candles(self, now_ms: int, *, delay_ms: int = 0, event_ms: int | None = None) -> None:
        """
        End minutes; *delay_ms* later send the last frame (`x: true`) of every wanted candle that ended with them.

        *event_ms* is the time that the frames state, where the candles' clock runs before the exchange's.
        """
        if now_ms < self.candles.current.open_ms + INTERVALS["1m"] and not self._closing:
            return
        for minute in self.candles.advance(now_ms):
            end = minute.open_ms + INTERVALS["1m"]
            for interval in INTERVALS:
                if open_time(end, interval) != end:
                    continue
                for stream, payload in self._kline_streams(interval):
                    bar = self.candles.closed(interval, open_time(minute.open_ms, interval))
                    self._closing.append((end + delay_ms, stream, bar, interval, payload))
        while self._closing and self._closing[0][0] <= now_ms:
            _, stream, bar, interval, payload = self._closing.popleft()
            said_ms = now_ms if event_ms is None else event_ms
            self.emit(stream, payload(self.row, bar, interval, event_ms=said_ms, final=True))

    def flush_klines(self, now_ms: int, *, event_ms: int) -> None:
        """Send running candles, only after trades (sheet 2.6)."""
        if not self._kline_dirty:
            return
        self._kline_dirty = False
        for interval in INTERVALS:
            for stream, payload in self._kline_streams(interval):
                bar = self.candles.candle(interval, now_ms)
                self.emit(stream, payload(self.row, bar, interval, event_ms=event_ms, final=False))

    def take_day_changed(self) -> bool:
        """Whether anything traded since the last all-market ticker; clears the flag."""
        changed, self._day_dirty = self._day_dirty, False
        return changed

    # ---- payloads -----------------------------------------------------------------------------------------------

    def _levels(self, levels: list[Level]) -> list[list[str]]:
        price, quantity = self._price_text, self._quantity_text
        return [[price(ticks), quantity(lots)] for ticks, lots in levels]

    def _depth_head(self, now_ms: int) -> Payload:
        return {
            "e": "depthUpdate",
            "E": now_ms,
            "T": self.transaction_ms,
            "s": self.row.symbol,
            "ps": self.row.symbol,
            "st": 1,
        }

    def _diff(self, window: DepthWindow, now_ms: int) -> Payload:
        return self._depth_head(now_ms) | {
            "U": window.first_id,
            "u": self.update_id,
            "pu": window.previous_id,
            "b": self._levels(sorted(window.bids.items(), reverse=True)),
            "a": self._levels(sorted(window.asks.items())),
        }

    def _partial(self, count: int, now_ms: int) -> Payload:
        return self._depth_head(now_ms) | {
            "U": self.update_id,
            "u": self.update_id,
            "pu": self.update_id - 1,
            "b": self._levels(self.book.top_bids(count)),
            "a": self._levels(self.book.top_asks(count)),
        }

    def take_first_snapshot(self, limit: int) -> Payload | None:
        """
        The recorded snapshot, once.

        The first client that has listened from the beginning bridges it as the recorder did and knows every level the
        recorder knew; the present book's 1000 best levels would hide deeper ones. A late client finds it too old and
        asks again (sheet 2.8 step 6).
        """
        if limit != 1_000:
            return None
        first, self.first_snapshot = self.first_snapshot, None
        return first

    def depth_snapshot(self, limit: int, *, now_ms: int) -> Payload:
        """REST depth."""
        return {
            "lastUpdateId": self.update_id,
            "E": now_ms,
            "T": self.transaction_ms or now_ms,
            "bids": self._levels(self.book.top_bids(limit)),
            "asks": self._levels(self.book.top_asks(limit)),
        }

    def touch(self, update_id: int) -> None:
        """
        Consume an update id without a visible change, so that a snapshot taken now is bridged by the next diff.

        The venue's ids also move without visible changes (hidden RPI orders); on a sparse market this spares the
        client of sheet 2.8 a second snapshot.
        """
        self.update_id = update_id
        self._gathered.open(update_id)
        self._depth_due = dict.fromkeys(self._depth_due, True)

    def best(self) -> tuple[int, int, int, int]:
        """Best bid ticks and lots, best ask ticks and lots; zeros for an empty side."""
        bid, ask = self.book.touch()
        return (
            bid or 0,
            0 if bid is None else self.book.bids[bid],
            ask or 0,
            0 if ask is None else self.book.asks[ask],
        )

    def book_ticker(self, now_ms: int) -> Payload:
        """The bookTicker event."""
        bid, bid_lots, ask, ask_lots = self.best()
        symbol, price, quantity = self.row.symbol, self._price_text, self._quantity_text
        return {
            "e": "bookTicker",
            "u": self.update_id,
            "E": now_ms,
            "T": self.transaction_ms,
            "s": symbol,
            "ps": symbol,
            "st": 1,
            "b": price(bid),
            "B": quantity(bid_lots),
            "a": price(ask),
            "A": quantity(ask_lots),
        }

    def mark_price(self, now_ms: int) -> Payload:
        """The markPriceUpdate event."""
        return {
            "e": "markPriceUpdate",
            "E": now_ms,
            "s": self.row.symbol,
            "st": 1,
            "p": format_e8(self.mark_e8),
            "ap": format_e8(self.mark_average_e8),
            "i": format_e8(self.index_e8),
            "P": format_e8(self.index_e8),
            "r": format_e8(self.funding.rate_e8),
            "T": self.funding.next_ms,
        }

    def _change(self) -> tuple[str, str, str]:
        """Price change, percent and weighted average as text."""
        row = self.row
        change = (self.last_ticks - self.day_open) * row.tick_e8
        percent = change * 100 * E8 // (self.day_open * row.tick_e8)
        average = self.day_quote * E8 // max(1, self.day_lots * row.step_e8)
        return format_e8(change, row.price_decimals), format_e8(percent, 3), format_e8(average, row.price_decimals)

    def mini_ticker(self, now_ms: int) -> Payload:
        """The 24hrMiniTicker event."""
        row = self.row
        return {
            "e": "24hrMiniTicker",
            "E": now_ms,
            "s": row.symbol,
            "ps": row.symbol,
            "st": 1,
            "c": row.price_text(self.last_ticks),
            "o": row.price_text(self.day_open),
            "h": row.price_text(self.day_high),
            "l": row.price_text(self.day_low),
            "v": row.quantity_text(self.day_lots),
            "q": format_e8(self.day_quote, 2),
        }

    def ticker(self, now_ms: int) -> Payload:
        """The 24hrTicker event."""
        change, percent, average = self._change()
        row = self.row
        return {
            "e": "24hrTicker",
            "E": now_ms,
            "s": row.symbol,
            "ps": row.symbol,
            "st": 1,
            "p": change,
            "P": percent,
            "w": average,
            "c": row.price_text(self.last_ticks),
            "Q": row.quantity_text(self.last_lots),
            "o": row.price_text(self.day_open),
            "h": row.price_text(self.day_high),
            "l": row.price_text(self.day_low),
            "v": row.quantity_text(self.day_lots),
            "q": format_e8(self.day_quote, 2),
            "O": self.day_open_ms,
            "C": self.last_trade_ms,
            "F": self.first_trade_id,
            "L": self.trade_id,
            "n": self.day_count,
        }

    def rest_ticker(self) -> Payload:
        """GET ticker/24hr."""
        change, percent, average = self._change()
        row = self.row
        return {
            "symbol": row.symbol,
            "priceChange": change,
            "priceChangePercent": percent,
            "weightedAvgPrice": average,
            "lastPrice": row.price_text(self.last_ticks),
            "lastQty": row.quantity_text(self.last_lots),
            "openPrice": row.price_text(self.day_open),
            "highPrice": row.price_text(self.day_high),
            "lowPrice": row.price_text(self.day_low),
            "volume": row.quantity_text(self.day_lots),
            "quoteVolume": format_e8(self.day_quote, 2),
            "openTime": self.day_open_ms,
            "closeTime": self.last_trade_ms,
            "firstId": self.first_trade_id,
            "lastId": self.trade_id,
            "count": self.day_count,
        }
