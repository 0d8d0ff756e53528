"""The only place for tests of factor T: its test vector, its plain version over whole histories, its edges."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.factor_values import values
from pipeline.core.factors.trend import TrendParameters, label, new, score
from pipeline.core.units import Ticks
from tests.factor_market import fold, fold_all, walk
from tests.factor_market import new as new_state

PARAMETERS = TrendParameters()


def test_vector() -> None:
    """Domain 8.4: u .15, g 1.5, ER .20 give 34.6588."""
    assert 34.6588 == pytest.approx(score(slope=0.15, gap=1.5, efficiency=0.20, parameters=PARAMETERS), abs=5e-5)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 1))
def test_bounds_and_mirror(slope: float, gap: float, efficiency: float) -> None:
    """T stays within ±100 and turns its sign with u and g, to the bit."""
    value = score(slope=slope, gap=gap, efficiency=efficiency, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(slope=-slope, gap=-gap, efficiency=efficiency, parameters=PARAMETERS)


def test_it_agrees_with_the_plain_version() -> None:
    """u, g and ER from the whole history by numpy, at every bar from the 120th on."""
    bars = walk(200, seed=11)
    closes = np.array([bar.close for bar in bars], dtype=float)
    state = new_state()
    for count, _ in enumerate(fold(state, bars), 1):
        if count < PARAMETERS.warm_up:
            continue
        a = state.bars.prices.a
        window = closes[count - 24 : count]
        averages = []
        for period in (20, 60):
            value = closes[:period].mean()
            for close in closes[period:count]:
                value += 2 / (period + 1) * (close - value)
            averages.append(value)
        walked = np.abs(np.diff(closes[count - 25 : count])).sum()
        expected = score(
            slope=np.polyfit(np.arange(24), window - window[0], 1)[0] / a,
            gap=(averages[0] - averages[1]) / a,
            efficiency=abs(closes[count - 1] - closes[count - 25]) / walked,
            parameters=PARAMETERS,
        )
        assert expected == pytest.approx(values(state, now_ms=state.bar_close_ms).factors["T"].value, abs=1e-9)


def test_it_is_missing_before_120_bars() -> None:
    """Bar 119 says how many are there; bar 120 gives a value."""
    bars = walk(120, seed=12)
    before, after = fold_all(bars[:119]), fold_all(bars)
    short = values(before, now_ms=before.bar_close_ms).factors["T"]

    assert [(0.0, "119 of 120 bars"), (1.0, None)] == [
        (short.quality, short.detail["missing"]),
        (values(after, now_ms=after.bar_close_ms).factors["T"].quality, None),
    ]


def test_a_market_that_does_not_move_has_no_trend() -> None:
    """The true range stands at its floor: T is 0 at half quality, and nothing divides by zero."""
    price = Ticks(5)
    flat = [msgspec.structs.replace(bar, open=price, high=price, low=price, close=price) for bar in walk(150, seed=13)]
    factor = values(fold_all(flat), now_ms=flat[-1].open_ms + 300_000).factors["T"]

    assert (0.0, 0.5) == (factor.value, factor.quality)
    assert 0.0 == factor.detail["er"]


@pytest.mark.parametrize(
    ("slope", "gap", "expected"), [(0.2, 0.1, "up"), (-0.2, -0.1, "down"), (0.2, -0.1, "flat"), (0.15, 1.0, "flat")]
)
def test_label(slope: float, gap: float, expected: str) -> None:
    """Up needs u > 0.15 and g > 0, down the mirror; everything else is flat."""
    trend = new(PARAMETERS)
    trend.slope, trend.gap = slope, gap

    assert expected == label(trend, PARAMETERS)
