"""The only place for tests of factor M: its test vector, its plain version over whole histories, its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.factor_values import values
from pipeline.core.factors.momentum import MomentumParameters, score
from tests.factor_market import fold, new, walk

PARAMETERS = MomentumParameters()


def test_vector() -> None:
    """Domain 8.4: v1 .2, v0 .1 give 43.4809."""
    # the table rounds 43.48085 up
    assert 43.4809 == pytest.approx(score(speed=0.2, earlier=0.1, parameters=PARAMETERS), abs=6e-5)


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_bounds_and_mirror(speed: float, earlier: float) -> None:
    """M stays within ±100 and turns its sign with the speeds, to the bit."""
    value = score(speed=speed, earlier=earlier, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(speed=-speed, earlier=-earlier, parameters=PARAMETERS)


def test_it_agrees_with_the_plain_version_and_is_missing_before_40_bars() -> None:
    """EMA12 of the whole history and its values 6 and 12 bars ago, over 6 times the current range."""
    bars = walk(120, seed=21)
    closes = np.array([bar.close for bar in bars], dtype=float)
    averages = [closes[:12].mean()]
    for close in closes[12:]:
        averages.append(averages[-1] + 2 / 13 * (close - averages[-1]))
    state = new()
    for count, _ in enumerate(fold(state, bars), 1):
        factor = values(state, now_ms=state.bar_close_ms).factors["M"]
        if count < PARAMETERS.warm_up:
            assert (0.0, False) == (factor.quality, factor.ready)
            continue
        span = 6 * state.bars.prices.a
        g = averages[count - 12], averages[count - 18], averages[count - 24]
        expected = score(speed=(g[0] - g[1]) / span, earlier=(g[1] - g[2]) / span, parameters=PARAMETERS)
        assert expected == pytest.approx(factor.value, abs=1e-9)
