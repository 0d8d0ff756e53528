"""The only place for tests of the oracle's walls: the domain's numbers, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle.walls import (
    MapBar,
    baseline,
    bucket_width,
    buckets,
    candidates,
    heavy_buckets,
    liquidation_map,
    liquidation_price,
    score,
    strength,
)

MAINTENANCE = np.array([0.05, 0.025, 0.01, 0.01, 0.005])


def test_vectors() -> None:
    """Domain 8.4: estimated liquidation of 10× and 100×."""
    leverage, rate = np.array([10, 100]), np.array([0.025, 0.005])

    assert [0.92308, 0.99497] == np.round(liquidation_price(1.0, leverage, rate, 1), 5).tolist()
    assert [1.07317, 1.00498] == np.round(liquidation_price(1.0, leverage, rate, -1), 5).tolist()


def test_width_and_buckets() -> None:
    """3 bps of 1,000 are 0.3; a side runs from its touch to 2 %."""
    assert pytest.approx(0.3) == bucket_width(1_000.0, 0.1, 5.0)
    assert pytest.approx(0.5) == bucket_width(1_000.0, 0.1, 10.0)
    assert pytest.approx(1.0) == bucket_width(1_000.0, 0.1, 30.0)
    side = np.array([[999.9, 1.0], [999.8, 2.0], [990.0, 3.0], [900.0, 4.0]])
    told = buckets(side, sign=1, width=0.3, tick=0.1, mid=1_000.0)

    assert [999.9, 2 * 999.8] == pytest.approx(told.notional[:2].tolist())
    assert pytest.approx(990 * 3) == told.notional.max()
    assert 980.0 // 0.3 == told.index[-1]


def test_score_of_a_wall() -> None:
    """Equal buckets have a baseline without spread: z is ln of the ratio over the floor of 0.1."""
    equal = np.full(10, 99.0)
    base = baseline([equal, equal], [0, 1_000])
    wall = np.array([99.0 * np.e])

    assert (np.log(100), 0) == (base.median, base.deviation)
    assert pytest.approx((np.log1p(99 * np.e) - np.log(100)) / 0.1) == score(wall, base)[0]
    assert not candidates(np.array([490.0]), base, own=0, day=0)[0]
    assert candidates(np.array([500.0]), base, own=0, day=0)[0]
    assert not candidates(np.array([500.0]), base, own=101, day=0)[0]


def test_strength() -> None:
    """Full at z 6 after a minute; two pulls halve it."""
    assert 1.0 == strength(9, 90, 0)
    assert 0.25 == strength(3, 60, 2)
    assert pytest.approx(0.7) == strength(3, 60, 0, iceberg=True)


def test_map_keeps_mass() -> None:
    """What a bar adds is dOI·VWAP on each side."""
    bars = [MapBar(100, 100, 100, 10, 1_000, 400, oi) for oi in (1_000, 1_100)]
    masses = liquidation_map(bars, MAINTENANCE)

    assert pytest.approx(100 * 100) == sum(masses[1].values())
    assert pytest.approx(100 * 100) == sum(masses[-1].values())
    assert [] == heavy_buckets(masses[1], side=1, close=100, open_interest=1_100)
