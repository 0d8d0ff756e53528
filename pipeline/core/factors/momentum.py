"""
The only place for factor M, momentum (domain 4.2, weight 15).

G = EMA12 of the close; v1 = (G − G₋₆) / (6a), v0 = (G₋₆ − G₋₁₂) / (6a), both with the *current* a.
**M = 60·tanh(v1/0.34) + 40·tanh((v1 − v0)/0.33)**, −100 … 100. Ready after 40 bars; a true range at its floor gives 0
at quality 0.5, as in T. Units: prices in ticks. Source: proposed (domain 4.2), scales from simulation (8.1).
"""

from __future__ import annotations

import msgspec

from pipeline.core.factors.factor import Age, Factor, give, missing, steady_until
from pipeline.core.factors.price import Prices
from pipeline.core.numerics import tanh
from pipeline.core.statistics import Average, Window, ema


class MomentumParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.2."""

    weight: float = 15.0
    average: int = 12
    stride: int = 6
    warm_up: int = 40
    speed_part: float = 60.0
    speed_scale: float = 0.34
    acceleration_part: float = 40.0
    acceleration_scale: float = 0.33
    floor_quality: float = 0.5


class Momentum(msgspec.Struct):
    """What M remembers; ``speed`` is v1, ``earlier`` is v0."""

    average: Average
    past: Window
    speed: float = 0.0
    earlier: float = 0.0

    def add(self, prices: Prices, parameters: MomentumParameters) -> None:
        """Fold the newest closed bar of *prices*."""
        self.average.add(prices.close)
        if not self.average.ready:
            return
        past = self.past
        past.push(self.average.value)
        if not past.full or prices.a <= 0.0:
            return
        stride = parameters.stride
        span = stride * prices.a
        middle = past.back(stride)
        self.speed = (self.average.value - middle) / span
        self.earlier = (middle - past.back(2 * stride)) / span


def new(parameters: MomentumParameters) -> Momentum:
    """Before the first bar."""
    return Momentum(average=ema(parameters.average), past=Window(size=2 * parameters.stride + 1))


def score(*, speed: float, earlier: float, parameters: MomentumParameters) -> float:
    """M from v1 and v0."""
    return parameters.speed_part * tanh(speed / parameters.speed_scale) + parameters.acceleration_part * tanh(
        (speed - earlier) / parameters.acceleration_scale
    )


def factor(
    momentum: Momentum,
    prices: Prices,
    parameters: MomentumParameters,
    age: Age,
    *,
    version: int,
    asof_ms: int,
    now_ms: int,
) -> Factor:
    """M as of the last closed bar."""
    if prices.bars < parameters.warm_up or prices.a <= 0.0:
        return missing(f"{prices.bars} of {parameters.warm_up} bars", asof_ms=asof_ms, version=(version,))
    quality = age.quality(now_ms - asof_ms)
    value = 0.0
    if prices.at_floor:
        quality *= parameters.floor_quality
    else:
        value = score(speed=momentum.speed, earlier=momentum.earlier, parameters=parameters)
    return give(
        value,
        quality,
        asof_ms,
        (version,),
        {"v1": momentum.speed, "v0": momentum.earlier},
        steady_until(asof_ms, age, now_ms),
    )
