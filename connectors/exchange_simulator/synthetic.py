"""The seeded synthetic market: books, trades and price paths for any number of symbols, without any data file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from math import isqrt
from typing import Final, Protocol

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.happenings import Due, schedule, told
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.market_events import BookChange, MarketEvent, MarketTrade, TickChange
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.scenarios import Scenario, Segment

PPM: Final = 1_000_000
NEAR: Final = 3
GRID_LEVELS: Final = 120
# Noise forgets half of itself in about 3.5 s.
REVERSION_US: Final = 5_000_000
WANDER_SECONDS: Final = 60.0
WANDER_DRIFT_BPS: Final = 12
# The near levels tick by tick, and the coarse ones behind them.
Ladders = tuple[range, range]


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
        self._index = 0
        self._start_us = now_us
        self.base_e8 = price_e8
        self.at_end = at_end
        self.finished = not segments
        # The noise when the path is over.
        self._rest_ppm = int((self._segments[-1].volatility_bps if segments else idle_bps) * 100)

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
        return self.base_e8, self._rest_ppm


def _beyond(these: range, those: range) -> Iterable[int]:
    """What is in *these* and not in *those*, in order; both are ladders of the same step on the same grid."""
    if these == those:
        return ()
    shift = (those.start - these.start) // these.step
    if shift <= 0:
        return these[max(0, len(those) + shift) :]
    return chain(these[:shift], these[shift + len(those) :])


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
        # Walls by price, with their side and lots; a share (ppm) below the whole while the book is thin.
        self._walls: dict[int, tuple[bool, int]] = {}
        self._shown_ppm = PPM
        self._bid_ladders: Ladders = (range(0), range(0))
        self._ask_ladders: Ladders = (range(0), range(0))
        price_ticks = row.price_e8 // row.tick_e8
        # Levels lie on multiples of the tickSize.
        self._unit = row.tick_multiple
        self._grid = self._aligned(price_ticks // 10_000)
        self._spread = self._aligned(price_ticks // 800_000)
        # About 60,000 USDT at each level, so that 120 levels hold a few millions per side.
        self._typical_lots = max(2, 60_000 * E8 // max(1, row.notional(price_ticks, 1)))
        reversion = min(500_000, step_us * PPM // REVERSION_US)
        self._keep_ppm = PPM - reversion
        self._kick_ppm = isqrt(2 * reversion * PPM)

    def _aligned(self, ticks: int) -> int:
        """A distance as a whole number of tickSizes, at least one."""
        return max(1, ticks // self._unit) * self._unit

    def retick(self, row: Instrument, now_us: int) -> list[MarketEvent]:
        """Another tickSize: every level of the ladder goes, walls stay, and the next step builds it anew."""
        self.row, self._unit = row, row.tick_multiple
        price_ticks = max(self._bid, row.min_price)
        self._grid, self._spread = self._aligned(price_ticks // 10_000), self._aligned(price_ticks // 800_000)
        bids = {ticks: 0 for ticks in self._bids if ticks not in self._walls}
        asks = {ticks: 0 for ticks in self._asks if ticks not in self._walls}
        for side, gone in ((self._bids, bids), (self._asks, asks)):
            for ticks in gone:
                del side[ticks]
        self._bid_ladders = self._ask_ladders = (range(0), range(0))
        self._bid = self._ask = 0
        return [BookChange(row.symbol, list(bids.items()), list(asks.items())), *self.step(now_us)]

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
        bid -= bid % self._unit
        events: list[MarketEvent] = []
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        if self._bid and random.bits() % 100 < 35:
            events.append(self._trade(bids, asks, rising=bid > self._bid))
        ask = bid + self._spread
        if bid != self._bid:
            unit = self._unit
            self._bid_ladders = self._move(
                self._bids, bids, self._bid_ladders, (range(bid, bid - NEAR * unit, -unit), self._grid_ticks(bid, -1))
            )
            self._ask_ladders = self._move(
                self._asks, asks, self._ask_ladders, (range(ask, ask + NEAR * unit, unit), self._grid_ticks(ask, 1))
            )
            self._bid, self._ask = bid, ask
        self._breathe(bids, asks)
        if self._walls:
            events += self._eat_walls(bids, asks)
        if self._shown_ppm != PPM:
            bids, asks = self._thinned(bids), self._thinned(asks)
        events.append(BookChange(self.row.symbol, list(bids.items()), list(asks.items())))
        return events

    @property
    def touch(self) -> tuple[int, int]:
        """Best bid and ask, ticks."""
        return self._bid, self._ask

    def build_wall(self, *, bid: bool, distance_bps: float, notional: int) -> tuple[int, BookChange]:
        """Put a large quantity far from the touch; returns its price and the change."""
        best = self._bid if bid else self._ask
        reach = max(NEAR * self._unit, int(best * distance_bps) // 10_000)
        reach -= reach % self._unit
        ticks = best - reach if bid else best + reach
        lots = max(1, notional * E8 // max(1, self.row.notional(ticks, 1)))
        (self._bids if bid else self._asks)[ticks] = lots
        self._walls[ticks] = (bid, lots)
        return ticks, self._one(ticks, lots, bid=bid)

    def pull_wall(self, ticks: int) -> list[MarketEvent]:
        """Take a wall away, if it was not eaten before."""
        wall = self._walls.pop(ticks, None)
        if wall is None:
            return []
        bid = wall[0]
        lots = (self._bids if bid else self._asks)[ticks] = self._lots()
        return [self._one(ticks, lots, bid=bid)]

    def _one(self, ticks: int, lots: int, *, bid: bool) -> BookChange:
        return BookChange(self.row.symbol, [(ticks, lots)] if bid else [], [] if bid else [(ticks, lots)])

    def _eat_walls(self, bids: dict[int, int], asks: dict[int, int]) -> list[MarketEvent]:
        """Trade through the walls that the price has reached; the others stay whatever the ladder does."""
        eaten: list[MarketEvent] = []
        for ticks, (bid, whole) in list(self._walls.items()):
            side, changes = (self._bids, bids) if bid else (self._asks, asks)
            if ticks > self._bid if bid else ticks < self._ask:
                side.pop(ticks, None)
                changes[ticks] = 0
                del self._walls[ticks]
                eaten.append(MarketTrade(self.row.symbol, ticks, whole, bid))
            elif ticks in changes:
                # The ladder went over it: it is not the ladder's to change.
                side[ticks] = changes[ticks] = whole
        return eaten

    def thin(self, share: float) -> BookChange:
        """Show only a share of every quantity from now on (1: all of it)."""
        self._shown_ppm = int(share * PPM)
        bids, asks = self._thinned(self._bids), self._thinned(self._asks)
        return BookChange(self.row.symbol, list(bids.items()), list(asks.items()))

    def _thinned(self, side: dict[int, int]) -> dict[int, int]:
        return {ticks: lots and max(1, lots * self._shown_ppm // PPM) for ticks, lots in side.items()}

    def _grid_ticks(self, best: int, direction: int) -> range:
        """Prices of the coarse ladder behind the near levels."""
        grid = self._grid
        first = (best + direction * NEAR * self._unit) // grid * grid
        if direction < 0:
            lowest = max(grid, first - GRID_LEVELS * grid)
            return range(first, lowest, -grid)
        return range(first + grid, first + (GRID_LEVELS + 1) * grid, grid)

    def _lots(self) -> int:
        return 1 + self._typical_lots * (20 + self._random.bits() % 281) // 100

    def _move(self, side: dict[int, int], changes: dict[int, int], old: Ladders, new: Ladders) -> Ladders:
        """Drop the levels that left the ladders and fill the new ones; a ladder that stands still costs nothing."""
        near, grid = new
        for before, now in zip(old, new, strict=True):
            for ticks in _beyond(before, now):
                if ticks not in near and ticks not in grid and ticks in side:
                    del side[ticks]
                    changes[ticks] = 0
        for before, now in zip(old, new, strict=True):
            for ticks in _beyond(now, before):
                if ticks not in side:
                    side[ticks] = changes[ticks] = self._lots()
        return new

    def _breathe(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Change a quantity or two near the touch."""
        # Draws written out: this is done at every step of every symbol.
        bits, typical, unit = self._random.bits, self._typical_lots, self._unit
        for _ in range(1 + bits() % 2):
            if bits() % 2:
                ticks = self._bid - bits() % NEAR * unit
                self._bids[ticks] = bids[ticks] = 1 + typical * (20 + bits() % 281) // 100
            else:
                ticks = self._ask + bits() % NEAR * unit
                self._asks[ticks] = asks[ticks] = 1 + typical * (20 + bits() % 281) // 100

    def _trade(self, bids: dict[int, int], asks: dict[int, int], *, rising: bool) -> MarketTrade:
        bits = self._random.bits
        buyer_is_maker = bits() % 100 < (30 if rising else 70)
        side, changes, ticks = (self._bids, bids, self._bid) if buyer_is_maker else (self._asks, asks, self._ask)
        lots = min(1 + self._typical_lots * (1 + bits() % 40) // 400, max(1, side[ticks] - 1))
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
        known = [one for one in scenario.happenings if one.symbol in self._by_name]
        self._agenda = deque(schedule(known, self._start_us))
        self._built: dict[int, int] = {}

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """One first step of every symbol."""
        return [event for symbol in self._symbols for event in symbol.step(self._start_us)]

    def next_due(self) -> int | None:
        """Exchange ms of the next step."""
        return (self._start_us + self._count * self._step_us) // 1_000

    def take(self, now_ms: int) -> list[MarketEvent]:
        """One symbol's step, and before it what the scenario has for this time."""
        now_us = self._start_us + self._count * self._step_us
        if self._agenda and self._agenda[0].at_us <= now_us:
            return self._happen(self._agenda.popleft(), now_ms)
        symbol = self._symbols[self._count % len(self._symbols)]
        self._count += 1
        if symbol.path.finished and symbol.path.at_end == "wander":
            self._wander(symbol, now_us)
        return symbol.step(now_us)

    def _happen(self, due: Due, now_ms: int) -> list[MarketEvent]:
        """Carry out one step of a happening."""
        one = due.happening
        symbol = self._by_name[one.symbol]
        if one.kind == "wall":
            if due.last:
                return symbol.pull_wall(self._built.pop(id(one), 0))
            ticks, change = symbol.build_wall(
                bid=one.side == "bid", distance_bps=one.distance_bps, notional=int(one.notional)
            )
            self._built[id(one)] = ticks
            return [change]
        if one.kind == "thin":
            return [symbol.thin(1.0 if due.last else one.share)]
        if one.kind == "tick":
            return self.retick(one.symbol, one.tick_e8, now_ms=now_ms)
        bid, ask = symbol.touch
        return told(one, symbol.row, bid=bid, ask=ask, now_ms=now_ms)

    def skip_to(self, now_ms: int) -> int:
        """Give up steps that were due long ago (a stalled process); returns how many."""
        behind = (now_ms * 1_000 - self._start_us) // self._step_us - self._count
        if behind > 0:
            self._count += behind
        return max(0, behind)

    def retick(self, symbol: str, tick_e8: int, *, now_ms: int) -> list[MarketEvent]:
        """A new tickSize now; ValueError when it is no multiple of the unit, KeyError for an unknown symbol."""
        found = self._by_name[symbol]
        row = found.row.with_tick(tick_e8)
        return [TickChange(symbol, tick_e8), *found.retick(row, now_ms * 1_000)]

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
