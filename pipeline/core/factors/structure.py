"""
The only place for factor S, structure (domain 4.3, weight 10), and for the levels that follow from it.

A streaming zigzag: a swing high is confirmed when the low of a bar lies 3·a or more below the running high; mirrored
for lows. A pivot exists from the bar that confirms it, so nothing is repainted. With H2 and L2 the last high and low,
H1 and L1 those before: seq = 0.5·sgn(H2 − H1) + 0.5·sgn(L2 − L1);
brk = clip((c − H2)/(0.5a), 0, 1) − clip((L2 − c)/(0.5a), 0, 1).
**S = 50·seq + 50·brk**, −100 … 100. Not ready until 2 highs and 2 lows are confirmed.

The zigzag begins with the first true range. A bar that makes a new extreme and retraces 3·a from it counts as both, in
that order. Before the first pivot both directions run; a bar that confirms both ways at once takes the older extreme;
are both its own, its body decides (a falling bar had its high first), and without a body none is taken: so a reflected
market has exactly the reflected pivots.
Levels: swing_low = L2, swing_high = H2, extremes of 288 bars; room = distance to the nearer of H2 and the highest price
above the close (of L2 and the lowest price below it) / A.
Units: ticks relative to the anchor of ``Prices``. Source: Dow's swing structure, Donchian's extremes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.factors.factor import Age, Detail, Factor, give, missing, steady_until
from pipeline.core.factors.price import ROUNDING_TICKS, Prices
from pipeline.core.numerics import clip, sign
from pipeline.core.statistics import RollingExtremes

KEPT_PIVOTS: Final = 6


class StructureParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.3."""

    weight: float = 10.0
    retrace: float = 3.0
    break_span: float = 0.5
    sequence_part: float = 50.0
    break_part: float = 50.0
    extreme_bars: int = 288


class Pivot(msgspec.Struct, frozen=True):
    """A confirmed swing: its price, the number of its bar, and the bar that confirmed it."""

    high: bool
    price: float
    bar: int
    confirmed: int


class Structure(msgspec.Struct):
    """
    What S remembers. ``direction`` +1: looking for a high, −1: for a low, 0: for either (before the first pivot).

    ``top_bar`` and ``bottom_bar`` are 0 before the zigzag begins; ``extremes`` covers the bars including the newest.
    """

    extremes: RollingExtremes
    direction: int = 0
    top: float = 0.0
    top_bar: int = 0
    bottom: float = 0.0
    bottom_bar: int = 0
    pivots: list[Pivot] = msgspec.field(default_factory=list)
    highs: list[float] = msgspec.field(default_factory=list)  # the last two, newer last
    lows: list[float] = msgspec.field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Two highs and two lows are confirmed."""
        return len(self.highs) == 2 and len(self.lows) == 2

    def add(self, prices: Prices, parameters: StructureParameters) -> None:
        """Fold the newest closed bar of *prices*."""
        number = prices.bars
        self.extremes.push(int(prices.high), int(prices.low))
        if prices.a <= 0.0:
            return
        if not self.top_bar or (self.direction >= 0 and prices.high > self.top):
            self.top, self.top_bar = prices.high, number
        if not self.bottom_bar or (self.direction <= 0 and prices.low < self.bottom):
            self.bottom, self.bottom_bar = prices.low, number
        reach = parameters.retrace * prices.a - ROUNDING_TICKS
        falls = self.direction >= 0 and self.top - prices.low >= reach
        rises = self.direction <= 0 and prices.high - self.bottom >= reach
        if falls and rises:
            older = sign(self.bottom_bar - self.top_bar) or sign(prices.open - prices.close)
            falls, rises = older > 0, older < 0
        if falls:
            self._confirm(Pivot(high=True, price=self.top, bar=self.top_bar, confirmed=number))
            self.direction = -1
            self.bottom, self.bottom_bar = prices.low, number
        elif rises:
            self._confirm(Pivot(high=False, price=self.bottom, bar=self.bottom_bar, confirmed=number))
            self.direction = 1
            self.top, self.top_bar = prices.high, number

    def _confirm(self, pivot: Pivot) -> None:
        self.pivots.append(pivot)
        del self.pivots[:-KEPT_PIVOTS]
        prices = self.highs if pivot.high else self.lows
        prices.append(pivot.price)
        del prices[:-2]


def new(parameters: StructureParameters) -> Structure:
    """Before the first bar."""
    return Structure(extremes=RollingExtremes(size=parameters.extreme_bars))


def sequence(structure: Structure) -> float:
    """Seq of the formula: higher highs and higher lows are +1."""
    return 0.5 * sign(structure.highs[1] - structure.highs[0]) + 0.5 * sign(structure.lows[1] - structure.lows[0])


def breakout(structure: Structure, close: float, a: float, parameters: StructureParameters) -> float:
    """Brk of the formula: how far the close stands beyond the last swing, in [−1, 1]."""
    span = parameters.break_span * a
    above = clip((close - structure.highs[1]) / span, 0.0, 1.0)
    below = clip((structure.lows[1] - close) / span, 0.0, 1.0)
    return above - below


def score(*, seq: float, brk: float, parameters: StructureParameters) -> float:
    """S from seq and brk."""
    return parameters.sequence_part * seq + parameters.break_part * brk


def beyond(structure: Structure, prices: Prices, distance: float) -> bool:
    """
    True when the close stands *distance* or more beyond the last swing on the side of the bar's body (domain 4.4).

    The day's extremes say nothing more: they lie beyond the swing, and a close never beyond that of its own bar.
    """
    if prices.close > prices.open:
        return any(prices.close - level >= distance for level in structure.highs[-1:])
    return any(level - prices.close >= distance for level in structure.lows[-1:])


def room(structure: Structure, prices: Prices, direction: int) -> float | None:
    """
    Distance from the close to the nearest level in *direction* (+1 up, −1 down) in units of A.

    None when A is not known, or when no level lies ahead: there is nothing known to stop the price.
    """
    if prices.hour_range <= 0.0:
        return None
    if direction > 0:
        levels = [*structure.highs[-1:], float(structure.extremes.high)]
    else:
        levels = [*structure.lows[-1:], float(structure.extremes.low)]
    ahead = [d for d in (direction * (level - prices.close) for level in levels) if d > 0.0]
    return min(ahead) / prices.hour_range if ahead else None


def factor(
    structure: Structure,
    prices: Prices,
    parameters: StructureParameters,
    age: Age,
    *,
    version: int,
    asof_ms: int,
    now_ms: int,
) -> Factor:
    """S as of the last closed bar; levels in its detail are ticks of the symbol."""
    if not structure.ready or prices.a <= 0.0:
        reason = f"{len(structure.highs)} highs and {len(structure.lows)} lows of 2 confirmed"
        return missing(reason, asof_ms=asof_ms, version=(version,))
    seq = sequence(structure)
    brk = breakout(structure, prices.close, prices.a, parameters)
    detail: Detail = {
        "seq": seq,
        "brk": brk,
        "swing_high": prices.anchor + structure.highs[1],
        "swing_low": prices.anchor + structure.lows[1],
        "high_288": prices.anchor + float(structure.extremes.high),
        "low_288": prices.anchor + float(structure.extremes.low),
    }
    for name, direction in (("room_up", 1), ("room_down", -1)):
        distance = room(structure, prices, direction)
        if distance is not None:
            detail[name] = distance
    return give(
        score(seq=seq, brk=brk, parameters=parameters),
        age.quality(now_ms - asof_ms),
        asof_ms,
        (version,),
        detail,
        steady_until(asof_ms, age, now_ms),
    )
