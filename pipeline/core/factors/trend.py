"""
The only place for factor T, trend (domain 4.1, weight 25).

u = slope of the least-squares line of 24 closes / a; g = (EMA20 − EMA60) / a; ER = |c − c₋₂₄| / sum of 24 |dc|
(Kaufman's efficiency ratio). **T = (60·tanh(u/0.30) + 40·tanh(g/3.0)) · (0.5 + 0.5·min(1, ER/0.40))**, −100 … 100.
Units: prices in ticks, everything else a pure number. Ready after 120 bars. A true range at its floor of 2 ticks is no
measure: T = 0 at quality 0.5. Source: the origin's structure, Kaufman's ER, Wilder's ATR; noise level in domain 8.1.
"""

from __future__ import annotations

import msgspec

from pipeline.core.factors.factor import Age, Factor, give, missing, steady_until
from pipeline.core.factors.price import Prices
from pipeline.core.numerics import tanh
from pipeline.core.statistics import Average, RollingLine, RollingSum, ema, rolling_line, rolling_sum


class TrendParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.1."""

    weight: float = 25.0
    line_bars: int = 24
    fast: int = 20
    slow: int = 60
    warm_up: int = 120
    slope_part: float = 60.0
    slope_scale: float = 0.30
    gap_part: float = 40.0
    gap_scale: float = 3.0
    efficiency_base: float = 0.5
    efficiency_part: float = 0.5
    efficiency_full: float = 0.40
    floor_quality: float = 0.5
    label_slope: float = 0.15


class Trend(msgspec.Struct):
    """What T remembers; ``slope`` is u, ``gap`` is g."""

    line: RollingLine
    fast: Average
    slow: Average
    steps: RollingSum
    slope: float = 0.0
    gap: float = 0.0
    efficiency: float = 0.0

    def add(self, prices: Prices, parameters: TrendParameters) -> None:
        """Fold the newest closed bar of *prices*."""
        close = prices.close
        self.line.push(close)
        self.fast.add(close)
        self.slow.add(close)
        if prices.bars > 1:
            self.steps.push(abs(close - prices.closes.back(1)))
        if prices.bars <= parameters.line_bars or prices.a <= 0.0 or not self.slow.ready:
            return
        self.slope = self.line.slope / prices.a
        self.gap = (self.fast.value - self.slow.value) / prices.a
        walked = self.steps.total
        self.efficiency = abs(close - prices.closes.back(parameters.line_bars)) / walked if walked > 0.0 else 0.0


def new(parameters: TrendParameters) -> Trend:
    """Before the first bar."""
    return Trend(
        line=rolling_line(parameters.line_bars),
        fast=ema(parameters.fast),
        slow=ema(parameters.slow),
        steps=rolling_sum(parameters.line_bars),
    )


def score(*, slope: float, gap: float, efficiency: float, parameters: TrendParameters) -> float:
    """T from u, g and ER."""
    direction = parameters.slope_part * tanh(slope / parameters.slope_scale)
    direction += parameters.gap_part * tanh(gap / parameters.gap_scale)
    straight = min(1.0, efficiency / parameters.efficiency_full)
    return direction * (parameters.efficiency_base + parameters.efficiency_part * straight)


def label(trend: Trend, parameters: TrendParameters) -> str:
    """Up, down or flat."""
    if trend.slope > parameters.label_slope and trend.gap > 0.0:
        return "up"
    if trend.slope < -parameters.label_slope and trend.gap < 0.0:
        return "down"
    return "flat"


def factor(
    trend: Trend, prices: Prices, parameters: TrendParameters, age: Age, *, version: int, asof_ms: int, now_ms: int
) -> Factor:
    """T as of the last closed bar."""
    if prices.bars < parameters.warm_up or prices.a <= 0.0:
        return missing(f"{prices.bars} of {parameters.warm_up} bars", asof_ms=asof_ms, version=(version,))
    quality = age.quality(now_ms - asof_ms)
    value = 0.0
    if prices.at_floor:
        quality *= parameters.floor_quality
    else:
        value = score(slope=trend.slope, gap=trend.gap, efficiency=trend.efficiency, parameters=parameters)
    return give(
        value,
        quality,
        asof_ms,
        (version,),
        {"u": trend.slope, "g": trend.gap, "er": trend.efficiency, "label": label(trend, parameters)},
        steady_until(asof_ms, age, now_ms),
    )
