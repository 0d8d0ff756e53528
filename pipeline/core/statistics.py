"""
The only place for the running statistics that factors are made of (domain 3.2), each O(1) for a new value.

All are ``msgspec`` Structs of plain numbers, so that they live in a symbol's state and come back from its bytes as they
were. A score of a value (``Moments.score``) uses mean and variance from *before* the value is added: asking and adding
are two calls, and the factor asks first.

Sums that lose digits by adding and dropping floats are built again from their window every 288 values.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import msgspec

from pipeline.core.numerics import clip, decay, total

REBUILD_EVERY: Final = 288  # one day of 5m bars (domain 3.2)
SCORE_LIMIT: Final = 10.0
FLAT: Final = 1e-12  # a variance below this share of the sum of squares is rounding, not variance
SCORE_READY: Final = 30  # a score is ready after max(30, n / 3) values


class Average(msgspec.Struct):
    """
    An exponential average seeded with the mean of its first *period* values.

    ``EMA(n)``: weight 2 / (n + 1). ``Wilder(n)``: weight 1 / n. ``value`` says nothing before ``ready``.
    """

    period: int
    weight: float
    count: int = 0
    value: float = 0.0

    @property
    def ready(self) -> bool:
        """True from the value number *period* on."""
        return self.count >= self.period

    def add(self, x: float) -> float:
        """Fold *x* and return the average; while it is being seeded, the sum so far is kept in ``value``."""
        self.count += 1
        if self.count < self.period:
            self.value += x
        elif self.count == self.period:
            self.value = (self.value + x) / self.period
        else:
            self.value += self.weight * (x - self.value)
        return self.value


def ema(period: int) -> Average:
    """An exponential moving average (domain 3.2: a = 2 / (n + 1))."""
    return Average(period=period, weight=2.0 / (period + 1))


def wilder(period: int) -> Average:
    """Wilder's average (domain 3.2: a = 1 / n)."""
    return Average(period=period, weight=1.0 / period)


class Moments(msgspec.Struct):
    """
    Exponentially weighted mean and variance (West, Finch; domain 3.2): d = x − m; m += a·d; S = (1 − a)(S + a·d²).

    The first value is the mean, its variance 0. ``floor`` is the smallest deviation a score divides by.
    """

    period: int
    weight: float
    floor: float
    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    @property
    def deviation(self) -> float:
        """Square root of the variance, never below the floor."""
        return max(sqrt(self.variance), self.floor)

    @property
    def ready(self) -> bool:
        """True after max(30, n / 3) values."""
        return self.count >= max(SCORE_READY, self.period // 3)

    @property
    def quality(self) -> float:
        """Share of the period that has been seen, 0 before it is ready."""
        return min(1.0, self.count / self.period) if self.ready else 0.0

    def score(self, x: float) -> float:
        """How many deviations *x* is off the mean of all values before it, within ±10; 0 when there is none."""
        if not self.count:
            return 0.0
        return clip((x - self.mean) / self.deviation, -SCORE_LIMIT, SCORE_LIMIT)

    def add(self, x: float) -> None:
        """Fold *x*."""
        self.count += 1
        if self.count == 1:
            self.mean = x
            return
        off = x - self.mean
        self.mean += self.weight * off
        self.variance = (1.0 - self.weight) * (self.variance + self.weight * off * off)


def moments(period: int, *, floor: float) -> Moments:
    """Moments with the weight of an EMA of *period* values."""
    return Moments(period=period, weight=2.0 / (period + 1), floor=floor)


class Smoothed(msgspec.Struct):
    """An average over irregular time: a = 1 − exp(−dt / tau). ``at_ms`` 0: nothing seen yet."""

    tau_ms: int
    value: float = 0.0
    at_ms: int = 0

    def add(self, x: float, now_ms: int) -> float:
        """Fold *x* as seen at *now_ms*; a time before the last one counts as the last one."""
        if not self.at_ms:
            self.value = x
            self.at_ms = now_ms
        else:
            self.value += (1.0 - decay(now_ms - self.at_ms, self.tau_ms)) * (x - self.value)
            self.at_ms = max(self.at_ms, now_ms)
        return self.value


class Decayed(msgspec.Struct):
    """A sum whose parts fade with exp(−age / tau)."""

    tau_ms: int
    value: float = 0.0
    at_ms: int = 0

    def at(self, now_ms: int) -> float:
        """The sum as it stands at *now_ms*."""
        return self.value * decay(now_ms - self.at_ms, self.tau_ms) if self.value else 0.0

    def add(self, x: float, now_ms: int) -> float:
        """Fold *x*; a time before the last one counts as the last one."""
        self.value = self.at(now_ms) + x
        self.at_ms = max(self.at_ms, now_ms)
        return self.value


class Window(msgspec.Struct):
    """The last *size* values, as a ring."""

    size: int
    values: list[float] = msgspec.field(default_factory=list)
    start: int = 0  # index of the oldest value once the ring is full

    @property
    def full(self) -> bool:
        """True when *size* values are there."""
        return len(self.values) == self.size

    def back(self, steps: int) -> float:
        """The value *steps* before the newest one; asking for more than there is breaks a promise."""
        assert 0 <= steps < len(self.values), "the window is not as long as that"
        return self.values[(self.start - 1 - steps) % len(self.values)]

    def push(self, x: float) -> float | None:
        """Add *x* and return the value that falls out, None while the ring fills."""
        if len(self.values) < self.size:
            self.values.append(x)
            return None
        oldest = self.values[self.start]
        self.values[self.start] = x
        self.start = (self.start + 1) % self.size
        return oldest

    def in_order(self) -> list[float]:
        """Oldest first."""
        return self.values[self.start :] + self.values[: self.start]


class RollingSum(msgspec.Struct):
    """
    Sum of the last *n* values, built again from them every 288 values.

    ``others`` counts the values that are not zero: a window of zeros has the sum 0 and not the rounding left behind.
    """

    window: Window
    total: float = 0.0
    others: int = 0
    pushes: int = 0

    @property
    def full(self) -> bool:
        """True when the window is full."""
        return self.window.full

    def push(self, x: float) -> float:
        """Add *x*, drop the oldest value of a full window, and return the sum."""
        oldest = self.window.push(x)
        self.others += x != 0.0
        self.total += x
        if oldest is not None:
            self.others -= oldest != 0.0
            self.total -= oldest
        self.pushes += 1
        if self.pushes % REBUILD_EVERY == 0:
            self.total = total(self.window.in_order())
        if not self.others:
            self.total = 0.0
        return self.total


def rolling_sum(size: int) -> RollingSum:
    """A sum over the last *size* values."""
    return RollingSum(window=Window(size=size))


class RollingExtremes(msgspec.Struct):
    """
    Highest high and lowest low of the last *size* bars by monotone deques, amortised O(1) (domain 3.2).

    A deque holds (number of the bar, price); its front is the extreme.
    """

    size: int
    count: int = 0
    highs: list[tuple[int, int]] = msgspec.field(default_factory=list)
    lows: list[tuple[int, int]] = msgspec.field(default_factory=list)

    @property
    def high(self) -> int:
        """The highest high, 0 before the first bar."""
        return self.highs[0][1] if self.highs else 0

    @property
    def low(self) -> int:
        """The lowest low, 0 before the first bar."""
        return self.lows[0][1] if self.lows else 0

    def push(self, high: int, low: int) -> None:
        """Add one bar."""
        while self.highs and self.highs[-1][1] <= high:
            self.highs.pop()
        while self.lows and self.lows[-1][1] >= low:
            self.lows.pop()
        self.highs.append((self.count, high))
        self.lows.append((self.count, low))
        gone = self.count - self.size
        if self.highs[0][0] <= gone:
            del self.highs[0]
        if self.lows[0][0] <= gone:
            del self.lows[0]
        self.count += 1


class RollingLine(msgspec.Struct):
    """
    Least squares of the last *n* values over 0 … n − 1 (domain 3.2), O(1) a value.

    The sums are taken of the values minus the oldest one in the window (the domain's first price, moved along), so that
    a high price or an old total costs no digits; of whole numbers they stay exact.
    """

    window: Window
    sum_y: float = 0.0
    sum_xy: float = 0.0
    sum_yy: float = 0.0
    pushes: int = 0

    @property
    def full(self) -> bool:
        """True when the window is full: before that there is no line."""
        return self.window.full

    def push(self, y: float) -> None:
        """Add *y*, dropping the oldest value of a full window."""
        window = self.window
        self.pushes += 1
        if not window.full:
            window.push(y)
            if window.full:
                self._build()
            return
        size = window.size
        before = window.values[window.start]
        window.push(y)
        if self.pushes % REBUILD_EVERY == 0:
            self._build()
            return
        # drop the oldest (0 in its own offset), add the new one, then move the offset to the value that is oldest now
        y -= before
        self.sum_xy += (size - 1) * y - self.sum_y
        self.sum_y += y
        self.sum_yy += y * y
        shift = window.values[window.start] - before
        self.sum_xy -= shift * (size * (size - 1) / 2)
        self.sum_yy += shift * (size * shift - 2.0 * self.sum_y)
        self.sum_y -= size * shift

    def _build(self) -> None:
        self.sum_y = self.sum_xy = self.sum_yy = 0.0
        values = self.window.in_order()
        for x, value in enumerate(values):
            y = value - values[0]
            self.sum_y += y
            self.sum_xy += x * y
            self.sum_yy += y * y

    @property
    def slope(self) -> float:
        """Rise of the line from one value to the next."""
        size = self.window.size
        return 12.0 * (self.sum_xy - (size - 1) * self.sum_y / 2.0) / (size * (size * size - 1))

    @property
    def determination(self) -> float:
        """R²: share of the variance that the line explains, 0 when there is no variance."""
        size = self.window.size
        around = self.sum_yy - self.sum_y * self.sum_y / size
        if around <= FLAT * self.sum_yy:
            return 0.0
        slope = self.slope
        return clip(slope * slope * (size * (size * size - 1)) / 12.0 / around, 0.0, 1.0)


def determination(values: list[float]) -> float:
    """
    R² of the line through a few *values* over 0 … n − 1, by centred sums; 0 when they do not vary.

    For short windows whose values jump by many digits: rolled sums would keep the rounding of what has left them.
    """
    size = len(values)
    middle, mean = (size - 1) / 2, total(values) / size
    xx, xy, yy = 0.0, 0.0, 0.0
    for index, value in enumerate(values):
        x, y = index - middle, value - mean
        xx += x * x
        xy += x * y
        yy += y * y
    if yy <= FLAT * (yy + size * mean * mean):
        return 0.0
    return clip(xy * xy / xx / yy, 0.0, 1.0)


def rolling_line(size: int) -> RollingLine:
    """A line through the last *size* values."""
    return RollingLine(window=Window(size=size))


class Comoments(msgspec.Struct):
    """
    Exponentially weighted means and covariances of several series at once (domain 4.10), same recursion as Moments.

    ``covariances`` holds the lower triangle by rows: (0,0), (1,0), (1,1), (2,0), …
    """

    weight: float
    count: int = 0
    means: list[float] = msgspec.field(default_factory=list)
    covariances: list[float] = msgspec.field(default_factory=list)

    def add(self, values: tuple[float, ...]) -> None:
        """Fold one value of each series."""
        self.count += 1
        if self.count == 1:
            self.means = list(values)
            self.covariances = [0.0] * (len(values) * (len(values) + 1) // 2)
            return
        offs = [x - mean for x, mean in zip(values, self.means, strict=True)]
        weight, rest = self.weight, 1.0 - self.weight
        place = 0
        for row, off in enumerate(offs):
            self.means[row] += weight * off
            for column in range(row + 1):
                self.covariances[place] = rest * (self.covariances[place] + weight * off * offs[column])
                place += 1

    def between(self, row: int, column: int) -> float:
        """Covariance of two of the series."""
        if row < column:
            row, column = column, row
        return self.covariances[row * (row + 1) // 2 + column]
