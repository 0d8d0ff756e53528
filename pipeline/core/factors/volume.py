"""
The only place for factor V, volume and trigger (domain 4.4, weight 15).

x = ln(q + 1) with q the quote volume of the bar in USDT; z its exponentially weighted score, n = 288, floor 0.15.
body = (c − o) / max(h − l, tick); rv = q / mean of the 20 bars before. With |body| ≥ 0.6 and rv ≥ 1.5 the trigger is
ts = min(1, |body|/0.8 · min(1.5, rv/2)/1.5 · (1.3 if the close stands 0.25a beyond a level of S)), else 0.
**V = 60·tanh(max(0, z)/2)·body + 40·ts·sgn(body)**, −100 … 100. Thin volume gives 0, not a negative; q = 0 gives 0.
Source: the origin's factors V and 12.
"""

from __future__ import annotations

import msgspec

from pipeline.core.factors.factor import Age, Factor, give, missing, steady_until
from pipeline.core.factors.price import Prices
from pipeline.core.factors.structure import Structure, beyond
from pipeline.core.numerics import ln, sign, tanh
from pipeline.core.statistics import Moments, RollingSum, moments, rolling_sum


class VolumeParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.4."""

    weight: float = 15.0
    score_bars: int = 288
    score_floor: float = 0.15
    mean_bars: int = 20
    volume_part: float = 60.0
    volume_scale: float = 2.0
    trigger_part: float = 40.0
    trigger_body: float = 0.6
    trigger_volume: float = 1.5
    body_full: float = 0.8
    volume_halved: float = 2.0
    volume_limit: float = 1.5
    breakout_factor: float = 1.3
    breakout_range: float = 0.25


class Volume(msgspec.Struct):
    """What V remembers; ``relative`` is rv."""

    moments: Moments
    past: RollingSum
    z: float = 0.0
    body: float = 0.0
    relative: float = 0.0
    trigger: float = 0.0
    quote: float = 0.0

    def add(self, prices: Prices, structure: Structure, quote: float, parameters: VolumeParameters) -> None:
        """Fold the newest closed bar of *prices*; *quote* is its volume in USDT, *structure* has it already."""
        x = ln(quote + 1.0)
        self.quote = quote
        self.z = self.moments.score(x)
        self.moments.add(x)
        self.body = (prices.close - prices.open) / max(prices.high - prices.low, 1.0)
        mean = self.past.total / parameters.mean_bars if self.past.full else 0.0
        self.relative = quote / mean if mean > 0.0 else 0.0
        self.past.push(quote)
        self.trigger = trigger(
            body=self.body,
            relative=self.relative,
            breakout=prices.a > 0.0 and beyond(structure, prices, parameters.breakout_range * prices.a),
            parameters=parameters,
        )


def new(parameters: VolumeParameters) -> Volume:
    """Before the first bar."""
    return Volume(
        moments=moments(parameters.score_bars, floor=parameters.score_floor), past=rolling_sum(parameters.mean_bars)
    )


def trigger(*, body: float, relative: float, breakout: bool, parameters: VolumeParameters) -> float:
    """Ts of the formula, in [0, 1]."""
    size = abs(body)
    if size < parameters.trigger_body or relative < parameters.trigger_volume:
        return 0.0
    volume = min(parameters.volume_limit, relative / parameters.volume_halved) / parameters.volume_limit
    return min(1.0, size / parameters.body_full * volume * (parameters.breakout_factor if breakout else 1.0))


def score(*, z: float, body: float, ts: float, parameters: VolumeParameters) -> float:
    """V from z, body and trigger."""
    return parameters.volume_part * tanh(
        max(0.0, z) / parameters.volume_scale
    ) * body + parameters.trigger_part * ts * sign(body)


def factor(
    volume: Volume, prices: Prices, parameters: VolumeParameters, age: Age, *, version: int, asof_ms: int, now_ms: int
) -> Factor:
    """V as of the last closed bar."""
    quality = volume.moments.quality
    if quality <= 0.0 or not volume.past.full or prices.a <= 0.0:
        return missing(f"{prices.bars} bars are too few", asof_ms=asof_ms, version=(version,))
    value = 0.0
    if volume.quote > 0.0:
        value = score(z=volume.z, body=volume.body, ts=volume.trigger, parameters=parameters)
    return give(
        value,
        quality * age.quality(now_ms - asof_ms),
        asof_ms,
        (version,),
        {"z": volume.z, "body": volume.body, "rv": volume.relative, "ts": volume.trigger},
        steady_until(asof_ms, age, now_ms),
    )
