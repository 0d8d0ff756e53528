"""The only place for tests of the running statistics: each against the plain computation from its whole history."""

from __future__ import annotations

from math import sqrt

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.statistics import (
    REBUILD_EVERY,
    Average,
    Comoments,
    Decayed,
    Moments,
    RollingExtremes,
    RollingLine,
    RollingSum,
    Smoothed,
    Window,
    determination,
    ema,
    moments,
    rolling_line,
    rolling_sum,
    wilder,
)

VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=80)
INTEGERS = st.lists(st.integers(-(10**7), 10**7).map(float), min_size=1, max_size=80)
SEED = 20_261_125


def walk(count: int, *, seed: int = SEED) -> list[float]:
    """A random walk of whole numbers far from zero."""
    return [float(x) for x in 600_000 + np.cumsum(np.random.default_rng(seed).integers(-50, 51, count))]


# ------------------------------------------------------------------------------------- plain versions (the oracle)


def naive_average(values: list[float], period: int, weight: float) -> float | None:
    """Seeded with the mean of the first *period* values."""
    if len(values) < period:
        return None
    value = sum(values[:period]) / period
    for x in values[period:]:
        value = value + weight * (x - value)
    return value


def naive_moments(values: list[float], weight: float) -> tuple[float, float]:
    """Mean and variance as weighted sums over the whole history, from the recursion written out."""
    shares = [(1 - weight) ** (len(values) - 1)] + [
        weight * (1 - weight) ** (len(values) - 1 - i) for i in range(1, len(values))
    ]
    mean = sum(s * x for s, x in zip(shares, values, strict=True))
    return mean, sum(s * (x - mean) ** 2 for s, x in zip(shares, values, strict=True))


def naive_line(values: list[float]) -> tuple[float, float]:
    """Slope and R² by centred sums."""
    x = np.arange(len(values), dtype=float)
    y = np.array(values)
    xc, yc = x - x.mean(), y - y.mean()
    slope = float((xc @ yc) / (xc @ xc))
    total = float(yc @ yc)
    return slope, 0.0 if total == 0 else float((xc @ yc) ** 2 / (xc @ xc) / total)


# ---------------------------------------------------------------------------------------------------------- averages


@given(VALUES, st.integers(1, 30))
def test_an_average_is_seeded_with_the_mean_of_its_first_values(values: list[float], period: int) -> None:
    """EMA and Wilder agree with the plain recursion, and say nothing before their period."""
    for average in (ema(period), wilder(period)):
        for x in values:
            average.add(x)
        expected = naive_average(values, period, average.weight)

        assert (expected is not None) == average.ready
        if expected is not None:
            assert expected == pytest.approx(average.value, rel=1e-9, abs=1e-6)


def test_the_weights_are_those_of_the_specification() -> None:
    """EMA(n) weighs 2/(n + 1), Wilder(n) 1/n, a score of n values like EMA(n)."""
    assert [2 / 21, 1 / 14, 2 / 289] == [ema(20).weight, wilder(14).weight, moments(288, floor=0.1).weight]


# ----------------------------------------------------------------------------------------------------------- moments


@given(VALUES, st.integers(2, 40))
def test_moments_are_weighted_sums_over_the_whole_history(values: list[float], period: int) -> None:
    """The recursion equals mean and variance with the same weights taken at once."""
    running = moments(period, floor=1e-9)
    for x in values:
        running.add(x)
    mean, variance = naive_moments(values, running.weight)

    assert mean == pytest.approx(running.mean, rel=1e-9, abs=1e-6)
    assert variance == pytest.approx(running.variance, rel=1e-7, abs=1e-4)


@given(VALUES)
def test_a_score_uses_only_what_was_before(values: list[float]) -> None:
    """Asking does not change the answer, and the value itself has no part in its own mean and deviation."""
    running = moments(10, floor=0.5)
    for index, x in enumerate(values):
        expected = 0.0
        if index:
            mean, variance = naive_moments(values[:index], running.weight)
            expected = max(-10.0, min(10.0, (x - mean) / max(sqrt(variance), 0.5)))
        assert expected == pytest.approx(running.score(x), rel=1e-6, abs=1e-5)
        running.add(x)


def test_zero_variance_divides_by_the_floor() -> None:
    """A series that never moved scores by the floor, and never beyond 10."""
    running = moments(288, floor=0.15)
    for _ in range(300):
        running.add(5.0)

    assert [0.0, 2.0, 10.0, -10.0] == [pytest.approx(running.score(x)) for x in (5.0, 5.0 + 0.3, 5.0 + 1e9, 5.0 - 1e9)]


@pytest.mark.parametrize(("period", "first"), [(288, 96), (864, 288), (60, 30)])
def test_a_score_is_ready_after_a_third_and_whole_after_all(period: int, first: int) -> None:
    """Ready after max(30, n/3) values; until n values the quality is their share of n."""
    running = moments(period, floor=0.1)
    seen = []
    for _ in range(period + 1):
        running.add(1.0)
        seen.append(running.quality)

    assert [0.0, first / period, 1.0, 1.0] == [seen[first - 2], seen[first - 1], seen[period - 1], seen[period]]


# -------------------------------------------------------------------------------------------------- irregular time


@given(st.lists(st.tuples(st.floats(-100, 100), st.integers(-500, 60_000)), min_size=1, max_size=30))
def test_smoothing_over_irregular_time(points: list[tuple[float, int]]) -> None:
    """a = 1 − exp(−dt/tau); time that runs back counts as standing still; two steps equal one of both times."""
    running = Smoothed(tau_ms=5_000)
    now, expected = 1_000_000, 0.0
    for index, (x, step) in enumerate(points):
        latest = now
        now = latest + step
        weight = 1.0 - np.exp(-max(step, 0) / 5_000)
        expected = x if index == 0 else expected + weight * (x - expected)
        running.add(x, now)
        now = max(now, latest) if index else now
        assert expected == pytest.approx(running.value, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 600_000)), min_size=1, max_size=30))
def test_a_decayed_sum_is_the_sum_of_faded_parts(points: list[tuple[float, int]]) -> None:
    """Every part counts exp(−age/tau) of itself."""
    running = Decayed(tau_ms=300_000)
    now = 1_000_000
    parts = []
    for x, step in points:
        now += step
        parts.append((x, now))
        running.add(x, now)
    later = now + 77_000
    expected = sum(x * np.exp(-(later - at) / 300_000) for x, at in parts)

    assert expected == pytest.approx(running.at(later), rel=1e-9, abs=1e-9)


# ------------------------------------------------------------------------------------------------------------ windows


@given(VALUES, st.integers(1, 20))
def test_a_window_remembers_its_last_values(values: list[float], size: int) -> None:
    """Order, steps back and what falls out are those of a plain list."""
    window = Window(size=size)
    for index, x in enumerate(values):
        dropped = window.push(x)
        kept = values[: index + 1][-size:]
        assert kept == window.in_order()
        assert kept[::-1] == [window.back(step) for step in range(len(kept))]
        assert (values[index - size] if index >= size else None) == dropped


@given(VALUES, st.integers(1, 20))
def test_a_rolling_sum_is_the_sum_of_its_window(values: list[float], size: int) -> None:
    """The sum equals that of a plain list; of zeros it is exactly zero."""
    running = rolling_sum(size)
    for index, x in enumerate(values):
        running.push(x)
        assert sum(values[: index + 1][-size:]) == pytest.approx(running.total, abs=1e-6)
    for _ in range(size):
        running.push(0.0)
    assert 0.0 == running.total


def test_a_rolling_sum_sheds_its_rounding_once_a_day() -> None:
    """After a value that swallowed all digits has gone, the next rebuild gives the exact sum again."""
    running = rolling_sum(12)
    for x in [0.1] * 20 + [1e17] + [0.1] * (REBUILD_EVERY - 21):
        running.push(x)

    assert sum([0.1] * 12) == running.total


@given(INTEGERS, st.integers(2, 24))
def test_a_rolling_line_agrees_with_least_squares(values: list[float], size: int) -> None:
    """Slope and R² equal those of a line through the window by centred sums."""
    running = rolling_line(size)
    for index, y in enumerate(values):
        running.push(y)
        assert (index + 1 >= size) == running.full
        if running.full:
            slope, determination = naive_line(values[: index + 1][-size:])
            assert slope == pytest.approx(running.slope, rel=1e-9, abs=1e-6)
            assert determination == pytest.approx(running.determination, abs=1e-9)


def test_a_line_through_whole_numbers_never_drifts() -> None:
    """After thousands of values far from zero the rolled sums are those of a fresh window to the bit."""
    values = walk(5_000)
    running = rolling_line(24)
    for y in values:
        running.push(y)
    fresh = rolling_line(24)
    for y in values[-24:]:
        fresh.push(y)

    assert [fresh.slope, fresh.determination] == [running.slope, running.determination]


@given(INTEGERS.filter(lambda values: len(values) > 1))
def test_the_determination_of_a_few_values_is_that_of_least_squares(values: list[float]) -> None:
    """R² by centred sums; what left a window cannot spoil it."""
    assert naive_line(values)[1] == pytest.approx(determination(values), abs=1e-9)
    assert 0.0 == determination([3.7] * 12)


def test_a_flat_line_explains_nothing() -> None:
    """Without variance R² is 0, not a division by zero."""
    running = rolling_line(12)
    for _ in range(40):
        running.push(7.0)

    assert [0.0, 0.0] == [running.slope, running.determination]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)), min_size=1, max_size=80), st.integers(1, 20))
def test_rolling_extremes_are_those_of_the_window(bars: list[tuple[int, int]], size: int) -> None:
    """Highest high and lowest low of the last *size* bars."""
    running = RollingExtremes(size=size)
    for index, (low, span) in enumerate(bars):
        running.push(low + span, low)
        window = bars[: index + 1][-size:]
        assert max(low + span for low, span in window) == running.high
        assert min(low for low, _ in window) == running.low
        assert len(running.highs) <= size
        assert len(running.lows) <= size


@given(st.lists(st.tuples(*[st.floats(-10, 10)] * 3), min_size=1, max_size=40))
def test_comoments_are_weighted_covariances(rows: list[tuple[float, float, float]]) -> None:
    """Every pair agrees with the covariance of the whole history with the same weights."""
    weight = 0.05
    running = Comoments(weight=weight)
    for row in rows:
        running.add(row)
    shares = np.array(
        [(1 - weight) ** (len(rows) - 1)] + [weight * (1 - weight) ** (len(rows) - 1 - i) for i in range(1, len(rows))]
    )
    table = np.array(rows)
    off = table - shares @ table
    expected = (off * shares[:, None]).T @ off

    for i in range(3):
        for j in range(3):
            assert expected[i, j] == pytest.approx(running.between(i, j), abs=1e-9)


# ------------------------------------------------------------------------------------------------------ stored states


@settings(max_examples=40)
@given(VALUES, st.integers(0, 80))
def test_a_stored_statistic_goes_on_as_if_it_had_not_been_stored(values: list[float], cut: int) -> None:
    """Encoding and decoding at any value changes no later bit."""
    kept = [ema(5), moments(9, floor=0.1), rolling_sum(4), rolling_line(6), RollingExtremes(size=3)]
    stored = [ema(5), moments(9, floor=0.1), rolling_sum(4), rolling_line(6), RollingExtremes(size=3)]
    for index, x in enumerate(values):
        if index == cut:
            stored = [msgspec.msgpack.decode(msgspec.msgpack.encode(s), type=type(s)) for s in stored]
        for group in (kept, stored):
            for statistic in group:
                if isinstance(statistic, RollingExtremes):
                    statistic.push(int(x) + 1, int(x))
                elif isinstance(statistic, RollingSum | RollingLine):
                    statistic.push(x)
                elif isinstance(statistic, Average | Moments):
                    statistic.add(x)

    assert msgspec.msgpack.encode(kept) == msgspec.msgpack.encode(stored)


def test_moments_keep_a_large_mean_and_a_small_variance_apart() -> None:
    """A variance nine digits below the mean is still right: the recursion works with distances from the mean."""
    running: Moments = moments(50, floor=1e-12)
    values = [1e9 + (index % 7) for index in range(500)]
    for x in values:
        running.add(x)
    small = moments(50, floor=1e-12)
    for x in values:
        small.add(x - 1e9)

    assert small.variance == pytest.approx(running.variance, rel=1e-6)
