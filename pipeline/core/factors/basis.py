"""
The only place for factor B, basis and funding (domain 4.8, weight 15); contrarian: crowded longs are negative.

basis = 1e4·(mid/index − 1) bps, mid from the quotes (the mark price when they are stale), index from the mark price
stream; smoothed over 60 s and sampled at each bar's close; z_b exponentially weighted, n = 864 (3 days), floor 2 bps.
f8 = r·8/interval in hours; d_f = (f8 − 0.0001) / max(deviation of the last 30 prints, 0.0001).
x = 0.6·z_b + 0.4·d_f; x' = sgn(x)·max(0, |x| − 0.5). **B = −100·tanh(x'/2)**, −100 … 100; ``sign`` turns it.

|basis| > 100 bps or |f8| > 0.2 % is ``carry_extreme``: the side that pays gets P × 0.85 and no entry. No index:
missing. Interval unknown: 8 h at quality 0.7. A print is the last rate seen before the next funding time moved on; two
such times also tell the interval. z_b is scored at each mark price against the samples of the bars closed before.
Source: the origin; perpetual no-arbitrage deviations (He, Manela, Ross, von Wachter, arXiv 2212.06888).
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import msgspec

from pipeline.core.factors.factor import Age, Factor, give, missing, steady_until
from pipeline.core.numerics import sign, tanh, total
from pipeline.core.statistics import Moments, Smoothed, moments

HOUR_MS: Final = 3_600_000
FARTHEST_MS: Final = 48 * HOUR_MS  # no contract settles less often than every 8 h
INTERVALS_HOURS: Final = (1, 2, 4, 8)


class BasisParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.8. ``sign`` −1 is contrarian."""

    weight: float = 15.0
    sign: float = -1.0
    smoothing_ms: int = 60_000
    score_bars: int = 864
    score_floor_bps: float = 2.0
    neutral_rate: float = 0.0001
    rate_floor: float = 0.0001
    prints: int = 30
    basis_part: float = 0.6
    rate_part: float = 0.4
    dead_zone: float = 0.5
    scale: float = 2.0
    default_interval_hours: float = 8.0
    unknown_interval_quality: float = 0.7
    extreme_basis_bps: float = 100.0
    extreme_rate: float = 0.002


class Basis(msgspec.Struct):
    """What B remembers; ``rate`` is f8 of the newest mark price, ``interval_hours`` 0 while not known."""

    smoothed: Smoothed
    moments: Moments
    z: float = 0.0
    rate: float = 0.0
    interval_hours: int = 0
    next_funding_ms: int = 0
    prints: list[float] = msgspec.field(default_factory=list)
    prints_deviation: float = 0.0
    at_ms: int = 0
    index_known: bool = False
    from_quotes: bool = False

    def mark(
        self,
        *,
        mid: float,
        index: float,
        rate: float,
        next_funding_ms: int,
        from_quotes: bool,
        now_ms: int,
        parameters: BasisParameters,
    ) -> None:
        """Take one mark price; *mid* and *index* in the same unit, *index* 0 when the venue gave none."""
        self._funding(next_funding_ms, now_ms, parameters)
        self.rate = eight_hour_rate(rate, self.interval_hours or parameters.default_interval_hours)
        self.at_ms = now_ms
        self.index_known = index > 0.0 and mid > 0.0
        self.from_quotes = from_quotes
        if self.index_known:
            basis = self.smoothed.add(1e4 * (mid / index - 1.0), now_ms)
            self.z = self.moments.score(basis)

    def _funding(self, next_funding_ms: int, now_ms: int, parameters: BasisParameters) -> None:
        if not self.next_funding_ms < next_funding_ms <= now_ms + FARTHEST_MS:
            return  # the same one, or none that can be: it would hide every later one
        if self.next_funding_ms:
            hours = (next_funding_ms - self.next_funding_ms) // HOUR_MS
            if hours in INTERVALS_HOURS and now_ms - self.at_ms < HOUR_MS:  # else a settlement may have been missed
                self.interval_hours = hours
            self.settled(self.rate, parameters)
        self.next_funding_ms = next_funding_ms

    def settled(self, rate: float, parameters: BasisParameters) -> None:
        """Add one print: the eight-hour rate of a funding that has been settled."""
        self.prints.append(rate)
        del self.prints[: -parameters.prints]
        mean = total(self.prints) / len(self.prints)
        self.prints_deviation = sqrt(total((x - mean) * (x - mean) for x in self.prints) / len(self.prints))

    def backfill(self, samples: list[float], parameters: BasisParameters) -> None:
        """Begin anew from the basis (bps) at the closes of past bars, unless more than that was seen live."""
        if len(samples) <= self.moments.count:
            return
        self.moments = moments(parameters.score_bars, floor=parameters.score_floor_bps)
        for sample in samples:
            self.moments.add(sample)
        if self.index_known:
            self.z = self.moments.score(self.smoothed.value)

    def backfill_prints(self, rows: list[tuple[int, float]], parameters: BasisParameters) -> None:
        """
        Take settled fundings of the past (settlement in ms, rate of its interval), unless more were seen live. The last
        two tell the interval; times lie a few ms behind the full hour (venue sheet 4.1).
        """
        if len(rows) <= len(self.prints):
            return
        if len(rows) > 1:
            apart = (rows[-1][0] - rows[-2][0] + HOUR_MS // 2) // HOUR_MS
            if apart in INTERVALS_HOURS:
                self.interval_hours = apart
        self.prints = []
        interval = self.interval_hours or parameters.default_interval_hours
        for _, rate in rows[-parameters.prints :]:
            self.settled(eight_hour_rate(rate, interval), parameters)

    def add(self, *, now_ms: int, age: Age) -> None:
        """Sample the basis at a bar's close; one that has not been seen of late is no sample."""
        if self.index_known and now_ms - self.at_ms < age.hard_ms:
            self.moments.add(self.smoothed.value)


def new(parameters: BasisParameters) -> Basis:
    """Before the first mark price."""
    return Basis(
        smoothed=Smoothed(tau_ms=parameters.smoothing_ms),
        moments=moments(parameters.score_bars, floor=parameters.score_floor_bps),
    )


def eight_hour_rate(rate: float, interval_hours: float) -> float:
    """f8: a funding rate per interval as one per 8 hours."""
    return rate * 8.0 / interval_hours


def rate_distance(rate: float, deviation: float, parameters: BasisParameters) -> float:
    """d_f: how far f8 stands off the neutral rate, in deviations of the prints."""
    return (rate - parameters.neutral_rate) / max(deviation, parameters.rate_floor)


def combined(*, z: float, distance: float, parameters: BasisParameters) -> float:
    """The x of the formula, before the dead zone."""
    return parameters.basis_part * z + parameters.rate_part * distance


def score(x: float, parameters: BasisParameters) -> float:
    """B from x."""
    beyond = sign(x) * max(0.0, abs(x) - parameters.dead_zone)
    return parameters.sign * 100.0 * tanh(beyond / parameters.scale)


def paying_side(*, basis_bps: float, rate: float, parameters: BasisParameters) -> int:
    """
    +1 when longs pay an extreme carry, −1 when shorts do, 0 when it is not extreme (domain 4.8 ``carry_extreme``).

    The funding rate says who pays; the basis decides when only it is extreme.
    """
    if abs(rate) > parameters.extreme_rate:
        return sign(rate)
    if abs(basis_bps) > parameters.extreme_basis_bps:
        return sign(basis_bps)
    return 0


def factor(basis: Basis, parameters: BasisParameters, age: Age, *, version: tuple[int, ...], now_ms: int) -> Factor:
    """B as of the last mark price."""
    quality = basis.moments.quality
    if not basis.index_known or quality <= 0.0:
        reason = f"{basis.moments.count} samples are too few" if basis.index_known else "no index price"
        return missing(reason, asof_ms=basis.at_ms, version=version)
    if not basis.interval_hours:
        quality *= parameters.unknown_interval_quality
    distance = rate_distance(basis.rate, basis.prints_deviation, parameters)
    x = combined(z=basis.z, distance=distance, parameters=parameters)
    return give(
        score(x, parameters),
        quality * age.quality(now_ms - basis.at_ms),
        basis.at_ms,
        version,
        {
            "basis_bps": basis.smoothed.value,
            "z": basis.z,
            "f8": basis.rate,
            "d_f": distance,
            "x": x,
            "carry_extreme": paying_side(basis_bps=basis.smoothed.value, rate=basis.rate, parameters=parameters),
            "mid_from_quotes": basis.from_quotes,
        },
        steady_until(basis.at_ms, age, now_ms),
    )
