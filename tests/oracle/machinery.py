"""The only place for the oracle's numerical machinery: averages, ranges, scores against the past, lines and ratios.

Domain section 3, computed from whole arrays, obvious rather than fast. A value that does not exist yet is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]

BAR_MS = 300_000
HOUR_MS = 3_600_000
BARS_PER_HOUR = 12
FLOOR_TICKS = 2
Z_LIMIT = 10.0


@dataclass(frozen=True)
class Bars:
    """Closed 5m bars without gaps, oldest first: prices in quote units, volumes in base and quote units; ms."""

    open_ms: Integers
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    quote: Array
    taker_volume: Array
    taker_quote: Array
    trades: Integers
    tick: float

    def __len__(self) -> int:
        return len(self.open_ms)


def empty(size: int) -> Array:
    """*size* values that do not exist yet."""
    return np.full(size, np.nan)


def shifted(values: Array, bars: int) -> Array:
    """The value *bars* bars ago; NaN before the series began."""
    out = empty(len(values))
    if bars < len(values):
        out[bars:] = values[: len(values) - bars]
    return out


def windows(values: Array, size: int) -> Array:
    """One row per full window of *size* values; row 0 ends at index ``size − 1``."""
    return np.lib.stride_tricks.sliding_window_view(values, size)


def padded(values: Array, size: int) -> Array:
    """Put results of :func:`windows` back on the bars: the first ``size − 1`` bars have none."""
    return np.concatenate([empty(size - 1), values])


def rolling_sum(values: Array, size: int) -> Array:
    """Sum of the last *size* values, the current one among them."""
    if len(values) < size:
        return empty(len(values))
    return padded(windows(values, size).sum(axis=1), size)


def rolling_max(values: Array, size: int) -> Array:
    """Largest of the last *size* values; of all there are, while there are fewer (domain 4.3, 288-bar extremes)."""
    grown = np.concatenate([np.full(size - 1, -np.inf), values])
    return np.asarray(windows(grown, size).max(axis=1))


def rolling_min(values: Array, size: int) -> Array:
    """Smallest of the last *size* values; of all there are, while there are fewer."""
    return -rolling_max(-values, size)


def _smoothed(values: Array, n: int, alpha: float) -> Array:
    out = empty(len(values))
    if len(values) < n:
        return out
    out[n - 1] = values[:n].mean()
    for i in range(n, len(values)):
        out[i] = out[i - 1] + alpha * (values[i] - out[i - 1])
    return out


def ema(values: Array, n: int) -> Array:
    """EMA(n), a = 2/(n+1), seeded with the mean of the first n values: first value at index n − 1 (domain 3.2)."""
    return _smoothed(values, n, 2.0 / (n + 1))


def wilder(values: Array, n: int) -> Array:
    """Wilder(n), a = 1/n, seeded with the mean of the first n values: first value at index n − 1 (domain 3.2)."""
    return _smoothed(values, n, 1.0 / n)


def true_range(high: Array, low: Array, close: Array) -> Array:
    """max(h−l, abs(h−c₋₁), abs(l−c₋₁)); the first bar, which has no close before it, has h−l (domain 3.2)."""
    before = shifted(close, 1)
    ranges = np.stack([high - low, np.abs(high - before), np.abs(low - before)])
    return np.asarray(np.nanmax(ranges, axis=0))


class Range(NamedTuple):
    """An average true range: *value* has the floor of two ticks, *floored* tells where it binds."""

    value: Array
    raw: Array
    floored: Mask


def _range_of(raw: Array, tick: float) -> Range:
    floor = FLOOR_TICKS * tick
    # A range that equals two ticks in decimals may miss it by rounding: the comparison allows a millionth of a tick.
    return Range(np.maximum(raw, floor), raw, raw <= floor + 1e-6 * tick)


def atr(bars: Bars, n: int = 14) -> Range:
    """ATR of the 5m bars, `a` of the domain: Wilder(14) of true ranges, floor 2 ticks, from index 13 (domain 3.2)."""
    return _range_of(wilder(true_range(bars.high, bars.low, bars.close), n), bars.tick)


class Hours(NamedTuple):
    """Whole hours built of 12 aligned 5m bars; *last* is the index of the 5m bar that closed each."""

    last: Integers
    open: Array
    high: Array
    low: Array
    close: Array


def hours(bars: Bars) -> Hours:
    """Build 1h bars from 12 aligned 5m bars (domain 3.1); an hour that began before the first bar is left out."""
    starts = np.flatnonzero(bars.open_ms % HOUR_MS == 0)
    starts = starts[starts + BARS_PER_HOUR <= len(bars)]
    last = starts + BARS_PER_HOUR - 1
    return Hours(
        last=last.astype(np.int64),
        open=bars.open[starts],
        high=np.array([bars.high[s : s + BARS_PER_HOUR].max() for s in starts], dtype=np.float64),
        low=np.array([bars.low[s : s + BARS_PER_HOUR].min() for s in starts], dtype=np.float64),
        close=bars.close[last],
    )


def atr_hour(bars: Bars, n: int = 14) -> Range:
    """ATR of the last closed hours, `A` of the domain, told at each 5m bar; changes on the bar that closes an hour."""
    hour = hours(bars)
    by_hour = wilder(true_range(hour.high, hour.low, hour.close), n)
    raw = empty(len(bars))
    for last, value in zip(hour.last, by_hour, strict=True):
        raw[last : last + BARS_PER_HOUR] = value  # until the next hour has closed
    return _range_of(raw, bars.tick)


class Ew(NamedTuple):
    """Exponentially weighted mean and variance of a series: before and after the value of each bar entered."""

    mean_before: Array
    variance_before: Array
    mean: Array
    variance: Array
    samples: Integers


def ew(values: Array, n: int) -> Ew:
    """
    EW mean and variance, a = 2/(n+1): d = x−m; m += a·d; S = (1−a)(S + a·d²) (domain 3.2).

    The first value is the first mean, with variance 0. NaN does not enter and changes nothing. *samples* counts the
    values that have entered, this bar's among them; the *before* values are NaN until one has.
    """
    alpha = 2.0 / (n + 1)
    size = len(values)
    out = Ew(empty(size), empty(size), empty(size), empty(size), np.zeros(size, dtype=np.int64))
    mean, variance, samples = np.nan, np.nan, 0
    for i, value in enumerate(values.tolist()):
        out.mean_before[i], out.variance_before[i] = mean, variance
        if value == value:  # noqa: PLR0124 -- not NaN
            samples += 1
            if samples == 1:
                mean, variance = value, 0.0
            else:
                d = value - mean
                mean += alpha * d
                variance = (1 - alpha) * (variance + alpha * d * d)
        out.mean[i], out.variance[i], out.samples[i] = mean, variance, samples
    return out


class Scored(NamedTuple):
    """A value measured against its past: *quality* is samples/n, 0 where the score is not ready."""

    z: Array
    ready: Mask
    quality: Array
    past: Ew


def ready_after(n: int) -> int:
    """Samples after which a z of length n is ready: max(30, n/3) (domain 3.2)."""
    return max(30, n // 3)


def ew_z(values: Array, n: int, floor: float) -> Scored:
    """z = (x − m)/max(sqrt(S), floor) with m and S from before this value, clipped to ±10 (domain 3.2)."""
    past = ew(values, n)
    with np.errstate(invalid="ignore"):
        z = np.clip((values - past.mean_before) / np.maximum(np.sqrt(past.variance_before), floor), -Z_LIMIT, Z_LIMIT)
    ready = (past.samples >= ready_after(n)) & ~np.isnan(z)
    return Scored(z, ready, np.where(ready, np.minimum(1.0, past.samples / n), 0.0), past)


def ew_irregular(times_ms: Integers, values: Array, tau_s: float) -> Array:
    """Mean with a = 1 − exp(−dt/tau) over irregular times; begins at the first value (domain 3.2)."""
    out = empty(len(values))
    if not len(values):
        return out
    out[0] = values[0]
    for i in range(1, len(values)):
        alpha = 1.0 - np.exp(-(times_ms[i] - times_ms[i - 1]) / 1000.0 / tau_s)
        out[i] = out[i - 1] + alpha * (values[i] - out[i - 1])
    return out


def sampled(times_ms: Integers, values: Array, at_ms: Integers) -> Array:
    """The last value at or before each time; NaN before the first."""
    place = np.searchsorted(times_ms, at_ms, side="right") - 1
    return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)


class Line(NamedTuple):
    """A least-squares line through equally spaced points: slope per step, and R²."""

    slope: Array
    r_squared: Array


def line_through(rows: Array) -> Line:
    """Least squares of each row on 0..N−1; R² is 0 when the row hardly varies: denominator ≤ 1e−12·Syy (domain 3.2)."""
    size = rows.shape[1]
    y = rows - rows[:, :1]
    k = np.arange(size) - (size - 1) / 2
    slope = (y * k).sum(axis=1) / (size * (size**2 - 1) / 12)
    syy = (y * y).sum(axis=1)
    spread = syy - y.sum(axis=1) ** 2 / size
    flat = spread <= 1e-12 * syy
    return Line(slope, np.where(flat, 0.0, slope**2 * size * (size**2 - 1) / 12 / np.where(flat, 1.0, spread)))


def rolling_ols(values: Array, size: int) -> Line:
    """Least-squares line through the last *size* values, from index ``size − 1`` (domain 3.2)."""
    if len(values) < size:
        return Line(empty(len(values)), empty(len(values)))
    slope, r_squared = line_through(windows(values, size))
    return Line(padded(slope, size), padded(r_squared, size))


def efficiency_ratio(close: Array, n: int = 24) -> Array:
    """Kaufman: abs(c − c₋ₙ)/sum of abs(dc) over n bars, 0 if nothing moved; from index n (domain 4.1)."""
    path = rolling_sum(np.abs(np.diff(close, prepend=np.nan)), n)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(close - shifted(close, n)) / path
    return np.where(path == 0, 0.0, ratio)


def age_quality(age_s: Array, soft_s: float, hard_s: float) -> Array:
    """Quality by age: 1 up to soft, falling in a straight line to 0 at hard (domain 3.3)."""
    return np.clip((hard_s - age_s) / (hard_s - soft_s), 0.0, 1.0)


def winsor(z: Array) -> Array:
    """Soft winsor: abs z ≤ 2.5 unchanged, above it 2.5 + 3.5(1 − exp(−(abs z − 2.5)/3.5)) (domain 3.2)."""
    size = np.abs(z)
    return np.where(size <= 2.5, z, np.sign(z) * (2.5 + 3.5 * (1 - np.exp(-(size - 2.5) / 3.5))))
