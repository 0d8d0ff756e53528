"""The oracle's machinery agrees with second definitions: weights written out, lines fitted by numpy, hours by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle import machinery
from tests.oracle.machinery import BARS_PER_HOUR, HOUR_MS
from tests.oracle.markets import market


def test_ema_is_its_weights() -> None:
    """After the seed, EMA(n) is the seed and every later value by its power of 1 − a; before it there is nothing."""
    values = np.random.default_rng(1).normal(size=40)
    alpha, n = 2 / 11, 10
    late = values[n:]
    weights = alpha * (1 - alpha) ** np.arange(len(late))[::-1]
    expected = (1 - alpha) ** len(late) * values[:n].mean() + (weights * late).sum()

    found = machinery.ema(values, n)

    assert expected == pytest.approx(found[-1], rel=1e-12)
    assert np.isnan(found[: n - 1]).all()
    assert values[:n].mean() == found[n - 1]


def test_ew_variance_is_that_of_its_weights() -> None:
    """EW mean and variance are the weighted ones, the first value with all the weight nobody else has."""
    values = np.random.default_rng(2).normal(size=30)
    alpha = 2 / 13
    weights = alpha * (1 - alpha) ** np.arange(30)[::-1]
    weights[0] = (1 - alpha) ** 29
    mean = (weights * values).sum()

    found = machinery.ew(values, 12)

    assert mean == pytest.approx(found.mean[-1], rel=1e-12)
    assert (weights * (values - mean) ** 2).sum() == pytest.approx(found.variance[-1], rel=1e-12)
    assert found.mean[-2] == found.mean_before[-1]
    assert found.variance[-2] == found.variance_before[-1]


def test_missing_values_leave_the_statistics_alone() -> None:
    """A NaN neither enters nor counts, and has no z."""
    values = np.random.default_rng(3).normal(size=60)
    holes = np.insert(values, [5, 20, 20], np.nan)
    whole, with_holes = machinery.ew_z(values, 30, 0.1), machinery.ew_z(holes, 30, 0.1)
    there = ~np.isnan(holes)

    assert list(whole.z[1:]) == list(with_holes.z[there][1:])
    assert list(whole.ready) == list(with_holes.ready[there])
    assert not with_holes.ready[~there].any()


def test_z_waits_and_never_divides_by_zero() -> None:
    """A constant series has z 0 by the floor, ready from the 96th sample of n = 288, quality samples/n, clip at 10."""
    values = np.append(np.full(300, 7.0), 1e6)
    scored = machinery.ew_z(values, 288, 0.15)

    assert 95 == np.argmax(scored.ready)
    assert 96 / 288 == scored.quality[95]
    assert 1.0 == scored.quality[-1]
    assert not scored.z[1:-1].any()
    assert machinery.Z_LIMIT == scored.z[-1]


def test_lines_are_those_numpy_fits() -> None:
    """Slope and R² equal those of a polynomial fit; a flat window has slope 0 and R² 0."""
    values = 50_000 + np.random.default_rng(4).normal(size=80).cumsum()
    line = machinery.rolling_ols(values, 24)

    for end in range(23, 80, 7):
        window = values[end - 23 : end + 1]
        slope, _ = np.polyfit(np.arange(24), window - window.mean(), 1)
        correlation = np.corrcoef(np.arange(24), window)[0, 1]
        assert slope == pytest.approx(line.slope[end], rel=1e-8)
        assert correlation**2 == pytest.approx(line.r_squared[end], rel=1e-8)

    flat = machinery.rolling_ols(np.full(30, 50_000.1), 24)
    assert (0.0, 0.0) == (flat.slope[-1], flat.r_squared[-1])


def test_efficiency_is_one_on_a_straight_way_and_zero_without_movement() -> None:
    """Kaufman's ratio: 1 for a straight line, 0 for a round trip and for no movement at all."""
    assert 1.0 == pytest.approx(machinery.efficiency_ratio(np.arange(30.0))[-1])
    assert 0.0 == machinery.efficiency_ratio(np.full(30, 5.0))[-1]
    assert 0.0 == machinery.efficiency_ratio(np.tile([1.0, 2.0], 20))[-2]


def test_hours_are_aligned_and_whole() -> None:
    """1h bars begin on the hour; ATR 1h is there from the 14th whole hour and changes only where an hour closes."""
    bars = market(seed=1, days=2).bars
    late = machinery.Bars(**{name: value[5:] if name != "tick" else value for name, value in vars(bars).items()})
    hour = machinery.hours(late)
    value = machinery.atr_hour(late).value

    assert 0 == ((late.open_ms[hour.last] + machinery.BAR_MS) % HOUR_MS).any()
    assert 7 + 14 * BARS_PER_HOUR - 1 == np.flatnonzero(~np.isnan(value))[0]
    changes = np.flatnonzero(np.diff(value[~np.isnan(value)])) + 1
    assert 0 == (changes % BARS_PER_HOUR).any()
    assert bars.high[12:24].max() == hour.high[0]


def test_ranges_have_a_floor() -> None:
    """Where nothing moves the ATR is two ticks and says so."""
    bars = market(seed=3, days=4).bars
    found = machinery.atr(bars)

    assert found.floored.any()
    assert 2 * bars.tick == found.value[found.floored].max()
    assert (found.value[13:] >= 2 * bars.tick).all()


def test_irregular_time_is_real_time() -> None:
    """One step of dt equals two steps of dt/2 towards the same value."""
    twice = machinery.ew_irregular(np.array([0, 500, 1000]), np.array([0.0, 1.0, 1.0]), 5.0)
    once = machinery.ew_irregular(np.array([0, 1000]), np.array([0.0, 1.0]), 5.0)

    assert once[-1] == pytest.approx(twice[-1], rel=1e-12)


def test_soft_winsor_bends_without_a_step() -> None:
    """Up to 2.5 nothing changes; beyond, the value grows ever slower and stays below 6."""
    z = np.linspace(-10, 10, 401)
    found = machinery.winsor(z)

    assert list(z[np.abs(z) <= 2.5]) == list(found[np.abs(z) <= 2.5])
    assert (np.diff(found) > 0).all()
    assert (np.abs(found) < 6).all()


def test_quality_falls_in_a_straight_line() -> None:
    """1 up to the soft age, one half halfway, 0 from the hard age on."""
    assert [1.0, 1.0, 0.5, 0.0, 0.0] == list(machinery.age_quality(np.array([0.0, 1.0, 3.0, 5.0, 9.0]), 1.0, 5.0))
