"""
The only place for a market so thin that thousands of runs are cheap: a few levels a side around a path per symbol.

The same shape as ``exchange_simulator.synthetic`` (a ``Source``), with a tenth of its work: the middle follows straight
legs, the book is rebuilt at each step, a jump is a leg of no length. Levels may be thinner than an order, so that
entries fill in pieces, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.market_events import BookChange, MarketEvent

LEVELS: Final = 4
BPS: Final = 10_000


class Leg(msgspec.Struct, frozen=True):
    """One stretch: the middle moves by *drift_bps* of its start, evenly over *milliseconds*."""

    milliseconds: int
    drift_bps: int


class _Symbol:
    def __init__(self, row: Instrument, *, level_usdt: int) -> None:
        self.row = row
        self.middle_ticks = row.price_e8 // row.tick_e8
        self.begun_ms = 0
        self.legs: list[Leg] = []
        self.spread = max(1, self.middle_ticks // 40_000)
        self.lots = max(1, level_usdt * 10**8 // max(1, row.notional(self.middle_ticks, 1)))
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def middle(self, now_ms: int) -> int:
        while self.legs:
            leg = self.legs[0]
            passed = now_ms - self.begun_ms
            if passed < leg.milliseconds:
                return self.middle_ticks + self.middle_ticks * leg.drift_bps * passed // (BPS * leg.milliseconds)
            self.middle_ticks += self.middle_ticks * leg.drift_bps // BPS
            self.begun_ms += leg.milliseconds
            self.legs.pop(0)
        return self.middle_ticks


class SparseMarket:
    """
    All symbols, each stepping every *step_ms*; *level_usdt* is about what each level holds.

    ``ride`` starts a path, after whose end the market holds.
    """

    def __init__(
        self, rows: Sequence[Instrument], *, random: Random, start_ms: int, step_ms: int = 400, level_usdt: int = 400
    ) -> None:
        self._random = random
        self._step_ms = step_ms
        self._next_ms = start_ms + step_ms
        self._turn = 0
        self._symbols = [_Symbol(row, level_usdt=level_usdt) for row in rows]
        self._by_name = {one.row.symbol: one for one in self._symbols}

    def ride(self, symbol: str, legs: Sequence[Leg], *, now_ms: int) -> None:
        """Take a path from where the market stands."""
        one = self._by_name[symbol]
        one.middle_ticks = one.middle(now_ms)
        one.begun_ms = now_ms
        one.legs = list(legs)

    def middle(self, symbol: str, now_ms: int) -> int:
        """The middle in ticks."""
        return self._by_name[symbol].middle(now_ms)

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """One step of every symbol."""
        return [self._step(one, now_ms) for one in self._symbols]

    def next_due(self) -> int | None:
        """Exchange ms of the next step."""
        return self._next_ms

    def take(self, now_ms: int) -> list[MarketEvent]:
        """One symbol's step."""
        one = self._symbols[self._turn]
        self._turn = (self._turn + 1) % len(self._symbols)
        due = self._next_ms
        self._next_ms += max(1, self._step_ms // len(self._symbols))
        return [self._step(one, due)]

    def status(self) -> dict[str, object]:
        """What admin would show."""
        return {"source": "sparse"}

    def _step(self, one: _Symbol, now_ms: int) -> BookChange:
        random = self._random
        bid = one.middle(now_ms) - one.spread // 2 + random.randint(-1, 1)
        gap = one.spread
        bids = {bid - i * gap: one.lots * random.randint(5, 15) // 10 + 1 for i in range(LEVELS)}
        asks = {bid + gap + i * gap: one.lots * random.randint(5, 15) // 10 + 1 for i in range(LEVELS)}
        far = max(2, one.middle_ticks // 400)  # deep levels behind: a market close always finds a price
        bids[bid - far] = one.lots * 200
        asks[bid + gap + far] = one.lots * 200
        gone_bids = [(ticks, 0) for ticks in one.bids if ticks not in bids]
        gone_asks = [(ticks, 0) for ticks in one.asks if ticks not in asks]
        one.bids, one.asks = bids, asks
        return BookChange(one.row.symbol, gone_bids + list(bids.items()), gone_asks + list(asks.items()))
