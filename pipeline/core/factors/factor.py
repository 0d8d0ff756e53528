"""
The only place for what every factor gives and how its quality falls with the age of its input (domain 3.3).

A value that is no number, or one out of its bounds, never leaves here: the factor is missing instead, with the reason
in its detail. A missing factor has quality 0 and drops out of numerator and denominator of the composite.
"""

from __future__ import annotations

from typing import Final

import msgspec

Detail = dict[str, float | str | bool]

NEVER_MS: Final = 1 << 62
MINUTE_MS: Final = 60_000
_TOLERANCE: Final = 1e-9


class Age(msgspec.Struct, frozen=True):
    """Ages in ms between which quality falls linearly from 1 to 0."""

    soft_ms: int
    hard_ms: int

    def quality(self, age_ms: int) -> float:
        """Quality of an input as old as that; an input from the future is new."""
        if age_ms <= self.soft_ms:
            return 1.0
        if age_ms >= self.hard_ms:
            return 0.0
        return (self.hard_ms - age_ms) / (self.hard_ms - self.soft_ms)


class Ages(msgspec.Struct, frozen=True):
    """The table of domain 3.3; open interest counts in polls, whose interval comes with the input."""

    bar: Age = Age(310_000, 620_000)  # after the last close
    quote: Age = Age(1_000, 5_000)  # bookTicker and depth
    mark: Age = Age(3_000, 15_000)
    open_interest_polls: Age = Age(2, 5)
    liquidations: Age = Age(60_000, 300_000)  # since the last frame of any kind on that socket: silence is normal


class Factor(msgspec.Struct, frozen=True):
    """
    One factor at one moment.

    ``value`` is the score (−100 … 100, or 0 … 100 for L and I) and means nothing at ``quality`` 0. ``asof_ms`` is the
    time of the input it speaks of, ``input_version`` numbers its inputs: the same numbers, the same value.
    ``steady_until_ms``: up to this log time nothing but a new input changes value or quality.
    """

    value: float
    quality: float
    ready: bool
    asof_ms: int
    input_version: tuple[int, ...]
    detail: Detail
    steady_until_ms: int = NEVER_MS


def missing(reason: str, *, asof_ms: int, version: tuple[int, ...], steady_until_ms: int = NEVER_MS) -> Factor:
    """A factor that has nothing to say, and why."""
    return Factor(0.0, 0.0, False, asof_ms, version, {"missing": reason}, steady_until_ms)


def give(  # noqa: PLR0917  one call per factor, in the order of the struct
    value: float,
    quality: float,
    asof_ms: int,
    version: tuple[int, ...],
    detail: Detail,
    steady_until_ms: int,
    lowest: float = -100.0,
) -> Factor:
    """
    The factor of *value*; it is missing when the value is no number or leaves its bounds, or when the quality is 0.

    Rounding may carry a score a few units of the last place beyond 100: that is held at the bound.
    """
    if not lowest - _TOLERANCE <= value <= 100.0 + _TOLERANCE:  # false for NaN too
        return missing("value out of bounds", asof_ms=asof_ms, version=version, steady_until_ms=steady_until_ms)
    if not 0.0 < quality <= 1.0:
        detail["missing"] = "stale or not seen often enough"
        return Factor(0.0, 0.0, False, asof_ms, version, detail, steady_until_ms)
    held = lowest if value < lowest else 100.0 if value > 100.0 else value + 0.0  # + 0.0: no negative zero
    return Factor(held, quality, True, asof_ms, version, detail, steady_until_ms)


def steady_until(asof_ms: int, age: Age, now_ms: int) -> int:
    """Until when a quality stands still: to the soft age, not at all between soft and hard, then for ever."""
    if now_ms <= asof_ms + age.soft_ms:
        return asof_ms + age.soft_ms
    if now_ms < asof_ms + age.hard_ms:
        return now_ms
    return NEVER_MS
