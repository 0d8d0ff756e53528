"""
The only place for factor Q, liquidations (domain 4.9, weight 10); long liquidations are negative.

An event of ``!forceOrder@arr``: side SELL liquidates a long. LL, LS = sums of notional (USDT) of liquidated longs and
shorts fading over 300 s; K = max(50,000 USDT, 0.25 · exponentially weighted mean of 5-minute totals, n = 288).
LTI = (LS − LL)/(LS + LL + K). zI = score of ln(LL + LS) against its values at the close of those bars that had
any liquidation (n = 288, floor 0.5): a bar without one does not enter, and 300 s without one make zI 0.
**Q = 100·LTI·tanh(max(0, zI)/2)**, −100 … 100. Ready after 12 bars with a living stream, quality: their share of a day.
Silence is normal: quality falls from 60 s to 300 s after the last frame of *any* kind on that socket.

Flags: cascade_down when LTI < −0.6 and zI > 3, cascade_up mirrored; ``exhausted`` when the faded total is below 30 % of
its peak of the last 10 minutes and the price stands 0.5·a off the extreme it made since. The feed is a sample (at most
one order a second and symbol): a lower bound, never to be quoted as a total.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.events import Side
from pipeline.core.factors.factor import Age, Detail, Factor, give, missing, steady_until
from pipeline.core.numerics import ln, tanh
from pipeline.core.statistics import Decayed, Moments, moments

KEPT_KEYS: Final = 64
SMALLEST_USDT: Final = 1.0
REVIEW_MS: Final = 1_000  # how often a total that only fades is looked at again


class LiquidationsParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.9; money in USDT."""

    weight: float = 10.0
    tau_ms: int = 300_000
    least_scale: float = 50_000.0
    mean_share: float = 0.25
    mean_bars: int = 288
    score_bars: int = 288
    score_floor: float = 0.5
    score_scale: float = 2.0
    ready_bars: int = 12
    whole_bars: int = 288
    cascade_tilt: float = 0.6
    cascade_score: float = 3.0
    exhausted_share: float = 0.30
    exhausted_range: float = 0.5
    peak_ms: int = 600_000


class Liquidations(msgspec.Struct):
    """
    What Q remembers. ``total`` is of the bar that is forming.

    ``peaks`` are (time, faded total) just after an event, falling: the first one within 10 minutes is their peak.
    ``highest`` and ``lowest`` are of the prices since the last event that was a peak.
    """

    longs: Decayed
    shorts: Decayed
    totals: Moments
    sizes: Moments
    total: float = 0.0
    bars: int = 0
    alive_ms: int = 0
    event_ms: int = 0  # of the newest event
    keys: list[tuple[int, str, int]] = msgspec.field(default_factory=list)
    peaks: list[tuple[int, float]] = msgspec.field(default_factory=list)
    price: float = 0.0
    highest: float = 0.0
    lowest: float = 0.0

    def alive(self, now_ms: int) -> None:
        """A frame of any kind came on the socket that carries liquidations."""
        self.alive_ms = max(self.alive_ms, now_ms)

    def knows(self, trade_ms: int, side: Side, lots: int) -> bool:
        """True when that order was seen already (domain 4.9: by T, side and quantity)."""
        return (trade_ms, side.value, lots) in self.keys

    def event(
        self,
        *,
        side: Side,
        notional: float,
        trade_ms: int,
        lots: int,
        now_ms: int,
        parameters: LiquidationsParameters,
    ) -> bool:
        """Take one liquidation order; returns False for one that was seen already (domain: by T, side and quantity)."""
        self.alive(now_ms)
        if self.knows(trade_ms, side, lots):
            return False
        self.keys.append((trade_ms, side.value, lots))
        del self.keys[:-KEPT_KEYS]
        (self.longs if side is Side.SELL else self.shorts).add(notional, now_ms)
        self.total += notional
        self.event_ms = max(self.event_ms, now_ms)
        both = self.longs.at(now_ms) + self.shorts.at(now_ms)
        while self.peaks and self.peaks[0][0] <= now_ms - parameters.peak_ms:
            del self.peaks[0]
        while self.peaks and self.peaks[-1][1] <= both:
            self.peaks.pop()
        if not self.peaks:
            self.highest = self.lowest = self.price
        self.peaks.append((now_ms, both))
        return True

    def peak(self, now_ms: int, span_ms: int) -> float:
        """The highest faded total of the last *span_ms*, 0 when there was no event."""
        return next((both for at_ms, both in self.peaks if at_ms > now_ms - span_ms), 0.0)

    def see_price(self, price: float) -> None:
        """Follow the price (ticks), for the extreme that it makes after the peak."""
        if not self.price:
            self.highest = self.lowest = price
        self.price = price
        self.highest = max(self.highest, price)
        self.lowest = min(self.lowest, price)

    def add(self, *, now_ms: int, age: Age) -> None:
        """Close a bar: its total enters the mean, and the scores if there was any; a bar on a dead socket does not."""
        total, self.total = self.total, 0.0
        if not self.alive_ms or now_ms - self.alive_ms >= age.hard_ms:
            return
        self.bars += 1
        self.totals.add(total)
        if total > 0.0:
            self.sizes.add(ln(max(self.longs.at(now_ms) + self.shorts.at(now_ms), SMALLEST_USDT)))


def new(parameters: LiquidationsParameters) -> Liquidations:
    """Before the first event."""
    return Liquidations(
        longs=Decayed(tau_ms=parameters.tau_ms),
        shorts=Decayed(tau_ms=parameters.tau_ms),
        totals=moments(parameters.mean_bars, floor=1.0),
        sizes=moments(parameters.score_bars, floor=parameters.score_floor),
    )


def tilt(*, longs: float, shorts: float, scale: float) -> float:
    """LTI, in (−1, 1)."""
    return (shorts - longs) / (shorts + longs + scale)


def score(*, lti: float, intensity: float, parameters: LiquidationsParameters) -> float:
    """Q from LTI and zI."""
    return 100.0 * lti * tanh(max(0.0, intensity) / parameters.score_scale)


def exhausted(
    state: Liquidations, *, both: float, lti: float, a: float, now_ms: int, parameters: LiquidationsParameters
) -> bool:
    """True when the wave has faded to a share of its peak and the price has come back from its extreme since."""
    if a <= 0.0 or both >= parameters.exhausted_share * state.peak(now_ms, parameters.peak_ms):
        return False
    back = state.price - state.lowest if lti < 0.0 else state.highest - state.price
    return back >= parameters.exhausted_range * a


def factor(
    state: Liquidations,
    parameters: LiquidationsParameters,
    age: Age,
    *,
    a: float,
    version: tuple[int, ...],
    now_ms: int,
) -> Factor:
    """Q at *now_ms*; *a* is the 5m true range in ticks (0: not known)."""
    if state.bars < parameters.ready_bars:
        return missing(f"{state.bars} bars of a living stream", asof_ms=state.alive_ms, version=version)
    longs, shorts = state.longs.at(now_ms), state.shorts.at(now_ms)
    both = longs + shorts
    active = both >= SMALLEST_USDT and now_ms - state.event_ms <= BAR_MS
    intensity = state.sizes.score(ln(both)) if active else 0.0
    scale = max(parameters.least_scale, parameters.mean_share * state.totals.mean)
    lti = tilt(longs=longs, shorts=shorts, scale=scale)
    cascade = intensity > parameters.cascade_score and abs(lti) > parameters.cascade_tilt
    detail: Detail = {
        "lti": lti,
        "z_i": intensity,
        "longs": longs,
        "shorts": shorts,
        "cascade_down": cascade and lti < 0.0,
        "cascade_up": cascade and lti > 0.0,
        "exhausted": exhausted(state, both=both, lti=lti, a=a, now_ms=now_ms, parameters=parameters),
    }
    until = steady_until(state.alive_ms, age, now_ms)
    return give(
        score(lti=lti, intensity=intensity, parameters=parameters),
        min(1.0, state.bars / parameters.whole_bars) * age.quality(now_ms - state.alive_ms),
        now_ms if active else state.alive_ms,
        version,
        detail,
        min(until, now_ms + REVIEW_MS) if both >= SMALLEST_USDT else until,
    )
