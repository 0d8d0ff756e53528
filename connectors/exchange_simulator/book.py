"""The only place that holds one symbol's market depth: levels from the source, minus what our own takers ate."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

Level = tuple[int, int]  # (ticks, lots)


class Execution(NamedTuple):
    """A piece of a taker order matched at one price."""

    ticks: int
    lots: int


class MarketBook:
    """
    Aggregated depth in ticks and lots.

    Own orders never change the displayed depth (a recording must end in its own final book), but lots taken from
    a level stay taken until the source touches that level again: the same liquidity is not sold twice.
    """

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._bid_ticks: list[int] = []
        self._ask_ticks: list[int] = []
        self._taken: dict[int, int] = {}

    @property
    def best_bid(self) -> int | None:
        """Highest bid in ticks."""
        return self._bid_ticks[-1] if self._bid_ticks else None

    @property
    def best_ask(self) -> int | None:
        """Lowest ask in ticks."""
        return self._ask_ticks[0] if self._ask_ticks else None

    def touch(self) -> tuple[int | None, int | None]:
        """Best bid and best ask in ticks; None for an empty side."""
        bids, asks = self._bid_ticks, self._ask_ticks
        return bids[-1] if bids else None, asks[0] if asks else None

    def set_levels(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Apply absolute quantities; 0 deletes, deleting an unknown level is normal (sheet 2.8)."""
        taken = self._taken
        for levels, side, order in ((bids, self.bids, self._bid_ticks), (asks, self.asks, self._ask_ticks)):
            for ticks, lots in levels:
                if lots and ticks in side and not taken:
                    # The common case: a shown level changes, and nobody took from the book.
                    side[ticks] = lots
                else:
                    self._set(side, order, ticks, lots)

    def clear(self) -> None:
        """Forget every level."""
        for held in (self.bids, self.asks, self._bid_ticks, self._ask_ticks, self._taken):
            held.clear()

    def _set(self, side: dict[int, int], order: list[int], ticks: int, lots: int) -> None:
        if self._taken:
            self._taken.pop(ticks, None)
        if lots == 0:
            if side.pop(ticks, None) is not None:
                del order[bisect_left(order, ticks)]
            return
        if ticks not in side:
            insort(order, ticks)
        side[ticks] = lots

    def top_bids(self, count: int) -> list[Level]:
        """The best *count* bids, best first."""
        return [(ticks, self.bids[ticks]) for ticks in self._bid_ticks[: -count - 1 : -1]]

    def top_asks(self, count: int) -> list[Level]:
        """The best *count* asks, best first."""
        return [(ticks, self.asks[ticks]) for ticks in self._ask_ticks[:count]]

    def sweep(self, *, buy: bool, lots: int, limit: int | None) -> list[Execution]:
        """What a taker of *lots* would get, best price first, no worse than *limit* ticks; takes nothing yet."""
        found: list[Execution] = []
        side = self.asks if buy else self.bids
        for ticks in self._ask_ticks if buy else reversed(self._bid_ticks):
            if lots <= 0 or (limit is not None and (ticks > limit if buy else ticks < limit)):
                break
            take = min(lots, side[ticks] - self._taken.get(ticks, 0))
            if take > 0:
                found.append(Execution(ticks, take))
                lots -= take
        return found

    def take(self, executions: Iterable[Execution]) -> None:
        """Remember that these lots are gone until the source refreshes the level."""
        for ticks, lots in executions:
            self._taken[ticks] = self._taken.get(ticks, 0) + lots

    def displayed(self, *, buy: bool, ticks: int) -> int:
        """Lots shown at one price on one side; the queue ahead of an order that joins there."""
        return (self.bids if buy else self.asks).get(ticks, 0)
