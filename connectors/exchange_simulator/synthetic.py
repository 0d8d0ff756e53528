"""The seeded synthetic market: books, trades and price paths for any number of symbols, without any data file."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Final, Protocol

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.market_events import BookChange, MarketEvent, MarketTrade
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.scenarios import Scenario, Segment

PPM: Final = 1_000_000
NEAR: Final = 3
GRID_LEVELS: Final = 120
# Noise forgets half of itself in about 3.5 s.
REVERSION_US: Final = 5_000_000
WANDER_SECONDS: Final = 60.0
WANDER_DRIFT_BPS: Final = 12


class Source(Protocol):
    """What feeds the venue with market events."""

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """What is known before the market begins, so that books are never empty."""

    def next_due(self) -> int | None:
        """Exchange ms of the next events; None when there are no more."""

    def take(self, now_ms: int) -> list[MarketEvent]:
        """The events that are due, oldest first; at most one step's worth."""

    def status(self) -> dict[str, object]:
        """What admin shows."""


class Path:
    """Where one symbol's middle goes: integer e8 price as a function of time since the path began."""

    def __init__(
        self, segments: Sequence[Segment], *, price_e8: int, now_us: int, at_end: str, idle_bps: float = 1.0
    ) -> None:
        """Without segments the path is over at once and only noise of *idle_bps* remains."""
        self._segments = list(segments)
        self._idle_bps = idle_bps
        self._index = 0
        self._start_us = now_us
        self.base_e8 = price_e8
        self.at_end = at_end
        self.finished = not segments

    def middle(self, now_us: int) -> tuple[int, int]:
        """The line's price (e8) and the noise's standard deviation (ppm of price) now."""
        while not self.finished:
            segment = self._segments[self._index]
            length = int(segment.seconds * PPM)
            passed = now_us - self._start_us
            drift = int(segment.drift_bps * 100)
            if passed < length:
                return self.base_e8 + self.base_e8 * drift // PPM * passed // length, int(segment.volatility_bps * 100)
            self.base_e8 += self.base_e8 * drift // PPM
            self._start_us += length
            self._index += 1
            if self._index == len(self._segments):
                if self.at_end == "repeat":
                    self._index = 0
                else:
                    self.finished = True
        last = self._segments[-1].volatility_bps if self._segments else self._idle_bps
        return self.base_e8, int(last * 100)


class SyntheticSymbol:
    """One symbol's generator: a ladder of levels that follows the path, and trades at its touch."""

    def __init__(self, row: Instrument, *, seed: int, stream: int, path: Path, step_us: int) -> None:
        self.row = row
        self.path = path
        self._random = Prng(seed, stream * 2)
        self._noise_ppm = 0
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._bid = self._ask = 0
        price_ticks = row.price_e8 // row.tick_e8
        self._grid = max(1, price_ticks // 10_000)
        self._spread = max(1, price_ticks // 800_000)
        # About 60,000 USDT at each level, so that 120 levels hold a few millions per side.
        self._typical_lots = max(2, 60_000 * E8 // max(1, row.notional(price_ticks, 1)))
        reversion = min(500_000, step_us * PPM // REVERSION_US)
        self._keep_ppm = PPM - reversion
        self._kick_ppm = isqrt(2 * reversion * PPM)

    def step(self, now_us: int) -> list[MarketEvent]:
        """Move once: perhaps a trade at the old touch, then the new book."""
        random = self._random
        line, deviation = self.path.middle(now_us)
        # A kick in ppm of price: deviation × share × bell(1000 = one deviation).
        kick = deviation * self._kick_ppm // PPM * random.bell() // 1_000
        noise = self._noise_ppm * self._keep_ppm
        self._noise_ppm = (noise // PPM if noise >= 0 else -(-noise // PPM)) + kick
        middle = line + line * self._noise_ppm // PPM
        bid = max(self.row.min_price + 400, middle // self.row.tick_e8 - self._spread // 2)
        events: list[MarketEvent] = []
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        if self._bid and random.below(100) < 35:
            events.append(self._trade(bids, asks, rising=bid > self._bid))
        ask = bid + self._spread
        if bid != self._bid:
            self._move(self._bids, bids, range(bid, bid - NEAR, -1), self._grid_ticks(bid, -1))
            self._move(self._asks, asks, range(ask, ask + NEAR), self._grid_ticks(ask, 1))
            self._bid, self._ask = bid, ask
        self._breathe(bids, asks)
        events.append(BookChange(self.row.symbol, list(bids.items()), list(asks.items())))
        return events

    def _grid_ticks(self, best: int, direction: int) -> range:
        """Prices of the coarse ladder behind the near levels."""
        grid = self._grid
        first = (best + direction * NEAR) // grid * grid
        if direction < 0:
            lowest = max(grid, first - GRID_LEVELS * grid)
            return range(first, lowest, -grid)
        return range(first + grid, first + (GRID_LEVELS + 1) * grid, grid)

    def _lots(self) -> int:
        return 1 + self._typical_lots * self._random.between(20, 300) // 100

    def _move(self, side: dict[int, int], changes: dict[int, int], near: range, grid: range) -> None:
        """Drop the levels that left the ladder and fill the new ones."""
        gone = [ticks for ticks in side if ticks not in near and ticks not in grid]
        for ticks in gone:
            del side[ticks]
            changes[ticks] = 0
        for ladder in (near, grid):
            for ticks in ladder:
                if ticks not in side:
                    side[ticks] = changes[ticks] = self._lots()

    def _breathe(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Change a quantity or two near the touch."""
        random = self._random
        for _ in range(1 + random.below(2)):
            if random.below(2):
                ticks = self._bid - random.below(NEAR)
                self._bids[ticks] = bids[ticks] = self._lots()
            else:
                ticks = self._ask + random.below(NEAR)
                self._asks[ticks] = asks[ticks] = self._lots()

    def _trade(self, bids: dict[int, int], asks: dict[int, int], *, rising: bool) -> MarketTrade:
        buyer_is_maker = self._random.below(100) < (30 if rising else 70)
        side, changes, ticks = (self._bids, bids, self._bid) if buyer_is_maker else (self._asks, asks, self._ask)
        lots = min(1 + self._typical_lots * self._random.between(1, 40) // 400, max(1, side[ticks] - 1))
        left = max(1, side[ticks] - lots)
        side[ticks] = changes[ticks] = left
        return MarketTrade(self.row.symbol, ticks, lots, buyer_is_maker)


class SyntheticMarket:
    """
    All symbols, stepping in turn: each *rate* times a second, evenly staggered.

    A step is one BookChange (a bookTicker frame when the touch changed) and, one time in three, a trade.
    """

    def __init__(
        self, rows: Sequence[Instrument], *, seed: int, scenario: Scenario, rate: float, start_ms: int
    ) -> None:
        if not rows or not 0 < rate <= 100_000:
            raise ValueError(f"rate {rate} steps per second is not in (0, 100000], or no symbols")
        self.scenario = scenario
        self._step_us = max(1, int(PPM / rate / len(rows)))
        self._start_us = start_ms * 1_000
        self._count = 0
        self._random = Prng(seed, 424_243)
        self._symbols: list[SyntheticSymbol] = []
        for index, row in enumerate(rows):
            own = scenario.symbols.get(row.symbol)
            run_now = own is not None and own.immediately
            path = Path(
                scenario.path_of(row.symbol) if run_now else [],
                price_e8=row.price_e8,
                now_us=self._start_us,
                at_end=own.at_end if own is not None and run_now else scenario.idle,
                idle_bps=scenario.volatility_bps,
            )
            self._symbols.append(
                SyntheticSymbol(row, seed=seed, stream=index, path=path, step_us=self._step_us * len(rows))
            )
        self._by_name = {symbol.row.symbol: symbol for symbol in self._symbols}

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """One first step of every symbol."""
        return [event for symbol in self._symbols for event in symbol.step(self._start_us)]

    def next_due(self) -> int | None:
        """Exchange ms of the next step."""
        return (self._start_us + self._count * self._step_us) // 1_000

    def take(self, now_ms: int) -> list[MarketEvent]:
        """One symbol's step."""
        now_us = self._start_us + self._count * self._step_us
        symbol = self._symbols[self._count % len(self._symbols)]
        self._count += 1
        if symbol.path.finished and symbol.path.at_end == "wander":
            self._wander(symbol, now_us)
        return symbol.step(now_us)

    def skip_to(self, now_ms: int) -> int:
        """Give up steps that were due long ago (a stalled process); returns how many."""
        behind = (now_ms * 1_000 - self._start_us) // self._step_us - self._count
        if behind > 0:
            self._count += behind
        return max(0, behind)

    def set_path(self, symbol: str, segments: Sequence[Segment], *, at_end: str, now_ms: int) -> None:
        """Start a path now, from where the symbol's line stands; KeyError for an unknown symbol."""
        found = self._by_name[symbol]
        line, _ = found.path.middle(now_ms * 1_000)
        found.path = Path(segments, price_e8=line, now_us=now_ms * 1_000, at_end=at_end)

    def _wander(self, symbol: SyntheticSymbol, now_us: int) -> None:
        drift = self._random.bell() * WANDER_DRIFT_BPS / 1_000
        segment = Segment(WANDER_SECONDS, drift, self.scenario.volatility_bps)
        symbol.path = Path([segment], price_e8=symbol.path.base_e8, now_us=now_us, at_end="wander")

    def status(self) -> dict[str, object]:
        """Scenario and which paths are over."""
        return {
            "source": "synthetic",
            "scenario": self.scenario.name,
            "steps": self._count,
            "finished": False,
            "paths": {symbol.row.symbol: "finished" if symbol.path.finished else "running" for symbol in self._symbols},
        }
