"""The only place with the venue's cadences: what is sent or settled because time passed, and in which order.

Every 100, 250 and 500 ms books, aggregate trades and candles; at the mark's interval marks, triggers and liquidations;
each second funding, tickers and the largest liquidation of each symbol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from connectors.exchange_simulator.candles import FIVE
from connectors.exchange_simulator.delivery import CLOSED, close_contract
from connectors.exchange_simulator.instruments import Instrument

if TYPE_CHECKING:
    from connectors.exchange_simulator.venue import Venue

Payload = dict[str, Any]  # Any: the venue's JSON


SPREAD_STEP: Final = 10  # ms between two groups of spread mark prices
GOLDEN_PERMILLE: Final = 618  # neighbours in the list of symbols come far from each other in the second


def following_step(now_ms: int, *, spread: bool = False) -> int:
    """The next instant at which some cadence is due: a multiple of 100 or of 250 ms, of 10 ms with *spread* marks."""
    due = min(now_ms // 100 * 100 + 100, now_ms // 250 * 250 + 250)
    return min(due, now_ms // SPREAD_STEP * SPREAD_STEP + SPREAD_STEP) if spread else due


def mark_phase(number: int) -> int:
    """At which millisecond of the second the symbol with this *number* gets its mark price, when they are spread."""
    return number * GOLDEN_PERMILLE % 1_000


def coin_margined(row: Instrument, payload: Payload) -> Payload:
    """The same event of the COIN-M perpetual of a symbol's base: other names, st 2, the same figures."""
    twin = payload | {"s": f"{row.base}USD_PERP", "st": 2}
    return twin | {"ps": f"{row.base}USD"} if "ps" in payload else twin


class Cadences:
    """The clockwork of one venue; times are exchange milliseconds."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        start_ms, interval = venue.start_ms, venue.settings.mark_interval_ms
        self.spread_marks = venue.settings.spread_marks
        self.mark_phases: dict[str, int] = {}  # symbol → ms of the second, in place of ``mark_phase``
        # How far the candles' clock runs before the exchange's: more at every bar that was ended on request.
        self.candles_ahead_ms = 0
        self._bars_due: int | None = None
        self._last_step, self._next_step = start_ms, following_step(start_ms, spread=self.spread_marks)
        self._next_mark = start_ms // interval * interval + interval
        # symbol → the largest liquidation of the running second (sheet 2.9).
        self._liquidations: dict[str, tuple[int, Payload]] = {}

    def next_due(self) -> int:
        """When `tick` has something to do, exchange ms."""
        return self._next_step

    def end_bars(self, at_ms: int) -> None:
        """End the running 5m candle of every symbol at *at_ms*, in the step that comes then: benches cannot wait."""
        self._bars_due = at_ms

    def candle_ms(self, now_ms: int) -> int:
        """The candles' time."""
        if self._bars_due is not None and now_ms >= self._bars_due:
            self._bars_due = None
            self.candles_ahead_ms += FIVE - (now_ms + self.candles_ahead_ms) % FIVE
        return now_ms + self.candles_ahead_ms

    def tick(self, now_ms: int) -> None:
        """Send everything that is due by cadence up to *now_ms*; a long pause is not replayed step by step."""
        if now_ms < self._next_step:
            return
        self._venue.now_ms = now_ms
        previous = self._last_step
        self._last_step, self._next_step = now_ms, following_step(now_ms, spread=self.spread_marks)

        def crossed(span: int) -> bool:
            """Whether a multiple of *span* lies since the step before."""
            return now_ms // span > previous // span

        markets = self._venue.markets.values()
        candle_ms = self.candle_ms(now_ms)
        for market in markets:
            market.close_candles(candle_ms, delay_ms=self._venue.settings.kline_close_delay_ms, event_ms=now_ms)
        for span in (100, 250, 500):
            if crossed(span):
                for market in markets:
                    market.flush_depth(span, now_ms)
                    if span == 100:
                        market.flush_aggregate(now_ms)
                    elif span == 250:
                        market.flush_klines(candle_ms, event_ms=now_ms)
        self._venue.trading.end_what_is_due(now_ms)
        self._venue.conditional.end_what_is_due(now_ms)
        if now_ms >= self._next_mark:
            interval = self._venue.settings.mark_interval_ms
            self._next_mark = now_ms // interval * interval + interval
            if not self._venue.settings.marks_given:
                self._move_marks(now_ms)
        if self.spread_marks:
            self._send_spread_marks(previous, now_ms)
        if crossed(1_000):
            self._each_second(now_ms, crossed)
        self._venue.judge(now_ms)

    def _move_marks(self, now_ms: int) -> None:
        noise = self._venue.settings.mark_noise_ppm
        for market in self._venue.markets.values():
            middle = market.middle_e8
            if middle is None:
                continue
            wobble = middle * (self._venue.random.below(2 * noise + 1) - noise) // 1_000_000 if noise else 0
            market.move_mark(middle, index_e8=middle + wobble, now_ms=now_ms, formula=noise > 0)
            # Open interest walks by up to 0.02 % a second.
            market.open_interest_lots += market.open_interest_lots * (self._venue.random.below(401) - 200) // 1_000_000
            self._venue.conditional.check_triggers(market, now_ms=now_ms)
        self._venue.liquidation.check(now_ms)

    def _send_spread_marks(self, previous: int, now_ms: int) -> None:
        """Send the mark prices whose phase lies since the step before, each symbol's once."""
        for number, market in enumerate(self._venue.markets.values()):
            phase = self.mark_phases.get(market.row.symbol, mark_phase(number))
            if (now_ms - phase) // 1_000 > (previous - phase) // 1_000:
                name = f"{market.name}@markPrice@1s"
                if self._venue.wanted(name):
                    self._venue.emit(name, market.mark_price(now_ms))

    def _each_second(self, now_ms: int, crossed: Callable[[int], bool]) -> None:
        markets = list(self._venue.markets.values())
        for market in markets:
            if not self._venue.settings.marks_given:
                market.sample_premium()
            if now_ms >= market.row.delivery_ms and market.row.status != CLOSED:
                close_contract(self._venue, market, now_ms=now_ms)
            while now_ms >= market.funding.next_ms:
                self._venue.settle_funding(market, now_ms)
        self._send_liquidations()
        for market in markets:
            for stream, builder, span in (
                ("markPrice@1s", market.mark_price, 1_000),
                ("ticker", market.ticker, 2_000),
                ("miniTicker", market.mini_ticker, 2_000),
                ("markPrice", market.mark_price, 3_000),
            ):
                name = f"{market.name}@{stream}"
                if self.spread_marks and stream == "markPrice@1s":
                    continue
                if crossed(span) and self._venue.wanted(name):
                    self._venue.emit(name, builder(now_ms))
        self._all_market("!markPrice@arr@1s", [market.mark_price for market in markets], now_ms)
        if crossed(3_000):
            self._all_market("!markPrice@arr", [market.mark_price for market in markets], now_ms)
        changed = [market for market in markets if market.take_day_changed()]
        self._all_market("!ticker@arr", [market.ticker for market in changed], now_ms)
        self._all_market("!miniTicker@arr", [market.mini_ticker for market in changed], now_ms)
        if crossed(5_000) and self._venue.wanted("!bookTicker"):
            for market in markets:
                self._venue.emit("!bookTicker", market.book_ticker(now_ms))
            for market in markets[: self._venue.settings.coin_margined]:
                self._venue.emit("!bookTicker", coin_margined(market.row, market.book_ticker(now_ms)))
        if self._venue.listen_key is not None and now_ms >= self._venue.listen_key_until:
            self._venue.expire_listen_key(now_ms)

    def _all_market(self, stream: str, builders: list[Callable[[int], Payload]], now_ms: int) -> None:
        if builders and self._venue.wanted(stream):
            # An array frame is one payload; the hub encodes lists as it does objects.
            rows = [builder(now_ms) for builder in builders]
            if self._venue.settings.coin_margined:
                rows += self._twins(rows)
            self._venue.frames.append((stream, rows))  # type: ignore[arg-type]

    def _twins(self, rows: list[Payload]) -> list[Payload]:
        """The COIN-M entries beside those of our first symbols: one message carries both venues (sheet 2)."""
        chosen = list(self._venue.markets.values())[: self._venue.settings.coin_margined]
        by_symbol = {market.row.symbol: market.row for market in chosen}
        return [coin_margined(by_symbol[row["s"]], row) for row in rows if row["s"] in by_symbol]

    def note_liquidation(self, symbol: str, lots: int, payload: Payload) -> None:
        """Keep the largest liquidation of the running second (sheet 2.9)."""
        if lots > self._liquidations.get(symbol, (0, {}))[0]:
            self._liquidations[symbol] = (lots, payload)

    def _send_liquidations(self) -> None:
        """At most one forceOrder per symbol and second: the largest."""
        found, self._liquidations = self._liquidations, {}
        for symbol, (_, payload) in found.items():
            for stream in (f"{symbol.lower()}@forceOrder", "!forceOrder@arr"):
                if self._venue.wanted(stream):
                    self._venue.emit(stream, payload)
                    if stream[0] == "!" and symbol in list(self._venue.markets)[: self._venue.settings.coin_margined]:
                        row = self._venue.markets[symbol].row
                        twin = payload | {"st": 2, "ps": f"{row.base}USD"}
                        self._venue.emit(stream, twin | {"o": payload["o"] | {"s": f"{row.base}USD_PERP"}})
