"""
The only place for what several factors read of the closed bars: closes, true ranges, the price change x_p.

Prices are float ticks relative to the first close that was seen (the *anchor*). Differences of whole numbers are exact,
so a market reflected at any price gives exactly reflected inputs, and a symbol whose price and tick are both scaled
gives the same ones.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import msgspec

from pipeline.core.bars import FLOOR_TICKS
from pipeline.core.events import Bar
from pipeline.core.statistics import Window

HOUR_BARS: Final = 12  # H of domain section 4
ROUNDING_TICKS: Final = 1e-6  # so much of a tick is rounding and decides nothing


class PriceParameters(msgspec.Struct, frozen=True):
    """x_p = (c − c₋₁₂) / (scale · a · sqrt(12)): the standard deviation under noise is 1 (domain 4.6, 8.1)."""

    change_scale: float = 0.68


class Prices(msgspec.Struct):
    """
    Closes and ranges of the newest closed bars; everything in float ticks.

    ``a`` and ``hour_range`` (A) are the average true ranges over 5m and 1h bars, 0 while not known, never below 2
    ticks; ``at_floor`` says that ``a`` stands on that floor, which is no measure of movement any more.
    """

    closes: Window
    anchor: int = 0
    bars: int = 0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    a: float = 0.0
    hour_range: float = 0.0
    at_floor: bool = False
    change: float = 0.0  # c − c₋₁₂
    change_score: float = 0.0  # x_p
    change_known: bool = False

    def add(self, bar: Bar, *, a: float, hour_range: float, parameters: PriceParameters) -> None:
        """Fold one closed bar with the true ranges as they stand after it."""
        if not self.bars:
            self.anchor = bar.close
        anchor = self.anchor
        self.bars += 1
        self.open = float(bar.open - anchor)
        self.high = float(bar.high - anchor)
        self.low = float(bar.low - anchor)
        self.close = float(bar.close - anchor)
        self.at_floor = 0.0 < a <= FLOOR_TICKS + ROUNDING_TICKS
        self.a = max(a, float(FLOOR_TICKS)) if a > 0.0 else 0.0
        self.hour_range = max(hour_range, float(FLOOR_TICKS)) if hour_range > 0.0 else 0.0
        self.closes.push(self.close)
        self.change_known = self.bars > HOUR_BARS and self.a > 0.0
        if self.change_known:
            self.change = self.close - self.closes.back(HOUR_BARS)
            self.change_score = change_score(self.change, self.a, parameters)


def new(longest: int) -> Prices:
    """Before the first bar; *longest* is how many bars back anybody looks, at least the 12 of x_p."""
    return Prices(closes=Window(size=max(longest, HOUR_BARS) + 1))


def change_score(change: float, a: float, parameters: PriceParameters) -> float:
    """x_p of domain 4.6: a 12-bar price change in standard deviations of a random walk of the same true range."""
    return change / (parameters.change_scale * a * sqrt(float(HOUR_BARS)))
