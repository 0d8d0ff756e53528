"""
The only place for factor L, liquidity (domain 4.7, weight 20, a quality of 0 … 100 and no direction), and for OBI.

spread = 1e4·(ask − bid)/mid; Ss = 100·clip((10 − spread)/8, 0, 1). depth = the smaller side's notional within ±10 bps
of mid; Sd = 100·min(1, depth/1e6). impact(N): VWAP = N / sum(n_i/p_i) over the levels taken, bps = 1e4·|VWAP/mid − 1|
on the worse side, N = 100,000 USDT; Si = 100·max(0, 1 − bps/100), 0 when the book shown cannot fill N (bps is then only
a lower bound). So = 100/70/40 for |OBI| < 0.3 / < 0.5 / more. **L = 0.3Ss + 0.3Sd + 0.3Si + 0.1So**, smoothed over 5 s.

OBI = sum w_k(b_k − a_k) / sum w_k(b_k + a_k), w_k = exp(−0.3k), k = 0 … 19, of quantities, smoothed over 3 s; So reads
the smoothed one. The full local book is the base; with depth20 only, coverage = span of the nearer farthest level /
10 bps and the quality is min(1, coverage). Crossed or empty: missing. Quality 1 → 0 from 1 s to 5 s of age.
Source: Gould, Bonart (arXiv 1512.03492) for the imbalance.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter, mul
from typing import Final

import msgspec

from pipeline.core.book import Book
from pipeline.core.events import Level
from pipeline.core.factors.factor import Age, Detail, Factor, give, missing, steady_until
from pipeline.core.numerics import clip, exp
from pipeline.core.statistics import Smoothed

IMBALANCE_LEVELS: Final = 20
DEPTH_PERMYRIAD: Final = 10  # ±10 bps
MOST_LEVELS: Final = 1_000
_PRICE: Final = itemgetter(0)
_LOTS: Final = itemgetter(1)


class LiquidityParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.7. ``impact_notional`` and ``depth_full`` are USDT."""

    weight: float = 20.0
    smoothing_ms: int = 5_000
    imbalance_smoothing_ms: int = 3_000
    interval_ms: int = 500  # published at most twice a second
    spread_zero_bps: float = 10.0
    spread_span_bps: float = 8.0
    depth_full: float = 1_000_000.0
    impact_notional: float = 100_000.0
    impact_zero_bps: float = 100.0
    spread_part: float = 0.3
    depth_part: float = 0.3
    impact_part: float = 0.3
    imbalance_part: float = 0.1
    imbalance_decay: float = 0.3
    imbalance_low: float = 0.3
    imbalance_high: float = 0.5
    imbalance_middle_score: float = 70.0
    imbalance_worst_score: float = 40.0


class Liquidity(msgspec.Struct):
    """What L remembers: smoothed score and imbalance, and the last raw measures."""

    score: Smoothed
    imbalance: Smoothed
    fault: str = "no book yet"
    coverage: float = 0.0
    spread_bps: float = 0.0
    depth: float = 0.0
    impact_bps: float = 0.0
    impact_is_bound: bool = False
    at_ms: int = 0

    def wants(self, now_ms: int, parameters: LiquidityParameters) -> bool:
        """True when the next measure is due: walking the levels costs, and twice a second is enough."""
        return bool(self.fault) or now_ms - self.at_ms >= parameters.interval_ms

    def add(
        self,
        bids: Sequence[Level],
        asks: Sequence[Level],
        *,
        whole: bool,
        tick: float,
        lot: float,
        now_ms: int,
        parameters: LiquidityParameters,
    ) -> None:
        """
        Measure a book: levels in ticks and lots, best first; *tick* and *lot* are their sizes in USDT and contracts.

        *whole* is True for the local book, False for a depth20 frame that shows no more than it shows.
        """
        self.fault = _fault(bids, asks)
        self.at_ms = now_ms
        if self.fault:
            return
        doubled = bids[0][0] + asks[0][0]
        self.spread_bps = 1e4 * (asks[0][0] - bids[0][0]) / (doubled / 2)
        self.coverage = 1.0 if whole else coverage(bids, asks)
        low, high = band(doubled)
        near_bids = bisect_right(bids, -low, key=_falling)
        near_asks = bisect_right(asks, high, key=_PRICE)
        self.depth = min(_within(bids, near_bids), _within(asks, near_asks)) * tick * lot
        mid = doubled / 2 * tick
        worst, bound = 0.0, False
        for side in (bids, asks):
            bps, filled = impact(side, parameters.impact_notional, mid=mid, tick=tick, lot=lot)
            worst = max(worst, bps)
            bound = bound or not filled
        self.impact_bps, self.impact_is_bound = worst, bound
        lean = self.imbalance.add(imbalance(bids, asks, parameters), now_ms)
        self.score.add(
            score(
                spread_bps=self.spread_bps,
                depth=self.depth,
                impact_bps=worst,
                fills=not bound,
                lean=lean,
                parameters=parameters,
            ),
            now_ms,
        )


def new(parameters: LiquidityParameters) -> Liquidity:
    """Before the first book."""
    return Liquidity(
        score=Smoothed(tau_ms=parameters.smoothing_ms), imbalance=Smoothed(tau_ms=parameters.imbalance_smoothing_ms)
    )


def band(doubled: int) -> tuple[int, int]:
    """Lowest and highest tick within ±10 bps of a mid, given as bid + ask; both ends count."""
    lowest = -(-doubled * (10_000 - DEPTH_PERMYRIAD) // 20_000)
    return lowest, doubled * (10_000 + DEPTH_PERMYRIAD) // 20_000


def _falling(level: Level) -> int:
    return -level[0]


def levels_of(book: Book, *, tick: float, lot: float, notional: float) -> tuple[list[Level], list[Level]]:
    """The levels of a local book that L reads: ±10 bps, at least 20, and as many as *notional* USDT takes to fill."""
    lowest, highest = band(book.best_bid + book.best_ask)
    wanted = notional / (tick * lot)
    near_bids = len(book.bid_prices) - bisect_left(book.bid_prices, lowest)
    near_asks = bisect_right(book.ask_prices, highest)
    bids = _levels(reversed(book.bid_prices), book.bids, near=near_bids, wanted=wanted)
    asks = _levels(iter(book.ask_prices), book.asks, near=near_asks, wanted=wanted)
    return bids, asks


def _levels(prices: Iterator[int], levels: dict[int, int], *, near: int, wanted: float) -> list[Level]:
    """The first *near* levels, at least 20, then on until *wanted* (ticks × lots) is there."""
    kept: list[Level] = [(price, levels[price]) for price in islice(prices, max(near, IMBALANCE_LEVELS))]
    wanted -= sum(price * lots for price, lots in kept)
    for price in prices:
        if wanted <= 0.0 or len(kept) >= MOST_LEVELS:
            break
        kept.append((price, levels[price]))
        wanted -= price * levels[price]
    return kept


def _fault(bids: Sequence[Level], asks: Sequence[Level]) -> str:
    if not bids or not asks:
        return "a side of the book is empty"
    if bids[0][0] >= asks[0][0]:
        return "the book is crossed"
    if min(bids[0][0], bids[-1][0]) <= 0 or min(map(_LOTS, bids)) <= 0 or min(map(_LOTS, asks)) <= 0:
        return "the book holds a level that cannot be"
    return ""


def _within(levels: Sequence[Level], count: int) -> int:
    """Notional (ticks × lots) of the first *count* levels; whole numbers, so in any order the same."""
    return sum(map(mul, map(_PRICE, levels[:count]), map(_LOTS, levels[:count])))


def coverage(bids: Sequence[Level], asks: Sequence[Level]) -> float:
    """How much of ±10 bps the levels of a depth20 frame span, on the side that shows less; may exceed 1."""
    mid = (bids[0][0] + asks[0][0]) / 2
    span = min(mid - bids[-1][0], asks[-1][0] - mid)
    return 1e4 * span / mid / DEPTH_PERMYRIAD


def impact(levels: Sequence[Level], notional: float, *, mid: float, tick: float, lot: float) -> tuple[float, bool]:
    """Distance of the average price of a market order of *notional* USDT from *mid* in bps, and whether it fills."""
    left, base = notional, 0.0
    for ticks, lots in levels:
        price, quantity = ticks * tick, lots * lot
        if price * quantity >= left:
            base += left / price
            left = 0.0
            break
        base += quantity
        left -= price * quantity
    taken = notional - left
    return 1e4 * abs(taken / base / mid - 1.0), left <= 0.0


def imbalance(bids: Sequence[Level], asks: Sequence[Level], parameters: LiquidityParameters) -> float:
    """OBI of the best 20 levels, in [−1, 1]; a level that is missing on one side counts 0."""
    step = exp(-parameters.imbalance_decay)
    weight, lean, total = 1.0, 0.0, 0.0
    for k in range(min(IMBALANCE_LEVELS, max(len(bids), len(asks)))):
        bid = bids[k][1] if k < len(bids) else 0
        ask = asks[k][1] if k < len(asks) else 0
        lean += weight * (bid - ask)
        total += weight * (bid + ask)
        weight *= step
    return lean / total


def score(
    *, spread_bps: float, depth: float, impact_bps: float, fills: bool, lean: float, parameters: LiquidityParameters
) -> float:
    """L from its four measures, not smoothed."""
    tight = 100.0 * clip((parameters.spread_zero_bps - spread_bps) / parameters.spread_span_bps, 0.0, 1.0)
    deep = 100.0 * min(1.0, depth / parameters.depth_full)
    cheap = 100.0 * max(0.0, 1.0 - impact_bps / parameters.impact_zero_bps) if fills else 0.0
    if abs(lean) < parameters.imbalance_low:
        even = 100.0
    else:
        middle = abs(lean) < parameters.imbalance_high
        even = parameters.imbalance_middle_score if middle else parameters.imbalance_worst_score
    return (
        parameters.spread_part * tight
        + parameters.depth_part * deep
        + parameters.impact_part * cheap
        + parameters.imbalance_part * even
    )


def factor(liquidity: Liquidity, age: Age, *, version: tuple[int, ...], now_ms: int) -> Factor:
    """L as of the last book."""
    if liquidity.fault:
        return missing(liquidity.fault, asof_ms=liquidity.at_ms, version=version)
    detail: Detail = {
        "spread_bps": liquidity.spread_bps,
        "depth": liquidity.depth,
        "impact_bps": liquidity.impact_bps,
        "impact_is_bound": liquidity.impact_is_bound,
        "obi": liquidity.imbalance.value,
        "coverage": liquidity.coverage,
    }
    return give(
        liquidity.score.value,
        min(1.0, liquidity.coverage) * age.quality(now_ms - liquidity.at_ms),
        liquidity.at_ms,
        version,
        detail,
        steady_until(liquidity.at_ms, age, now_ms),
        lowest=0.0,
    )
