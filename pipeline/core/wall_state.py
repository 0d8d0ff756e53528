"""
The only place for what is remembered of a symbol's walls: its buckets, its bands, how they ended (domain 6.5).

``core.walls`` says how it comes about; this is part of the symbol's stored state.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from pipeline.core.events import Side

SECOND_MS: Final = 1_000
TRADE_SLOTS: Final = 4  # this sample, the two before that bound a loss, and one for the slower socket
FRESH_MS: Final = 3_000


class WallVerdict(StrEnum):
    """How a wall ended, or that it came back (ICEBERG)."""

    EATEN = "eaten"
    PULLED = "pulled"
    FLICKER = "flicker"
    ICEBERG = "iceberg"


class Track(msgspec.Struct):
    """
    One bucket that is, or lately was, a candidate. Sizes are ticks × lots; −1 in ``last`` and ``before``: no sample.

    ``since_ms`` 0 stands for "not there": only the memory of its pulls lives on. ``seen`` has a bit for each of the
    last 15 samples, the newest lowest.
    """

    id: int
    since_ms: int
    peak: int = 0
    seen: int = 0
    score: int = 0  # z in thousandths
    last: int = -1
    before: int = -1
    traded: list[int] = msgspec.field(default_factory=lambda: [0] * TRADE_SLOTS)
    confirmed_ms: int = 0
    loss: int = 0  # a loss that waits for its trades
    eaten_ms: int = 0
    eaten_of: int = 0
    iceberg: bool = False
    pulls: int = 0
    pulled_ms: int = 0
    ignored_until_ms: int = 0
    keep_until_ms: int = 0  # after a resync: the id lives on if it is a candidate again by then


class WallSide(msgspec.Struct):
    """One side of the book: its buckets that matter, its baseline (of ln(1 + USDT)), and how much of ±2 % is known."""

    tracks: dict[int, Track] = msgspec.field(default_factory=dict)
    median: float = 0.0
    deviation: float = 0.0
    baseline_ms: int = 0  # log time of the newest baseline, 0 before the first
    coverage_permille: int = 0


class Band(msgspec.Struct, frozen=True):
    """
    A confirmed wall: neighbouring buckets as one, prices in ticks, both ends included.

    ``id`` is that of the bucket farthest from the touch (a stop leans on that end). ``size`` is ticks × lots.
    """

    id: int
    side: Side
    low: int
    high: int
    size: int
    strength_permille: int
    since_ms: int
    confirmed_ms: int
    iceberg: bool


class Ending(msgspec.Struct):
    """What became of a wall. ``beyond_ms``: since when (log) the price stands beyond it, 0 while it does not."""

    id: int
    side: Side
    low: int
    high: int
    verdict: WallVerdict
    at_ms: int
    confirmed: bool
    beyond_ms: int = 0


class WallState(msgspec.Struct):
    """
    Everything remembered about one symbol's walls; belongs to one grid (tick and step).

    ``endings`` are of confirmed walls, the newest last, for two minutes.
    """

    tick_e8: int
    step_e8: int
    width: int = 0  # ticks, 0 before the first sample
    sampled_ms: int = 0
    next_id: int = 1
    resyncs: int = -1
    bids: WallSide = msgspec.field(default_factory=WallSide)
    asks: WallSide = msgspec.field(default_factory=WallSide)
    day_close_ms: int = 0  # the bar up to which ``day_quote_e8`` (USDT of 24 h) was added up
    day_quote_e8: int = 0
    bands: list[Band] = msgspec.field(default_factory=list)
    endings: list[Ending] = msgspec.field(default_factory=list)

    def side(self, side: Side) -> WallSide:
        """Bids for BUY, asks for SELL."""
        return self.bids if side is Side.BUY else self.asks

    def due(self, now_ms: int) -> bool:
        """True once another second of log time has begun."""
        return now_ms // SECOND_MS != self.sampled_ms // SECOND_MS

    def fresh(self, now_ms: int) -> bool:
        """True while the bands rest on a book seen within 3 s."""
        return self.sampled_ms > 0 and now_ms - self.sampled_ms <= FRESH_MS
