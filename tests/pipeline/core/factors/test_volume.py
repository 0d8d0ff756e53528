"""The only place for tests of factor V: its test vector, its plain version over whole histories, its edges."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.factor_values import values
from pipeline.core.factors.price import Prices
from pipeline.core.factors.structure import StructureParameters, beyond
from pipeline.core.factors.structure import new as new_structure
from pipeline.core.factors.volume import VolumeParameters, score, trigger
from pipeline.core.factors.volume import new as new_volume
from pipeline.core.statistics import Window
from pipeline.core.units import E8, ONE_E8
from tests.factor_market import fold, fold_all, new, walk

PARAMETERS = VolumeParameters()


def test_vector() -> None:
    """Domain 8.4: z 2, body .7, rv 2.4 with a breakout give ts .91 and V 68.387."""
    ts = trigger(body=0.7, relative=2.4, breakout=True, parameters=PARAMETERS)

    assert 0.91 == pytest.approx(ts)
    assert 68.387 == pytest.approx(score(z=2.0, body=0.7, ts=ts, parameters=PARAMETERS), abs=5e-4)


@given(st.floats(-10, 10), st.floats(-1, 1), st.floats(0, 1))
def test_bounds_and_mirror(z: float, body: float, ts: float) -> None:
    """V stays within ±100 and turns its sign with the body, to the bit."""
    value = score(z=z, body=body, ts=ts, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(z=z, body=-body, ts=ts, parameters=PARAMETERS)


@pytest.mark.parametrize(
    ("body", "relative", "expected"), [(0.59, 9.0, 0.0), (-0.6, 1.49, 0.0), (-0.6, 1.5, 0.375), (0.9, 3.0, 1.0)]
)
def test_the_trigger_needs_body_and_volume(body: float, relative: float, expected: float) -> None:
    """Both thresholds count as reached at the threshold itself."""
    assert pytest.approx(expected) == trigger(body=body, relative=relative, breakout=False, parameters=PARAMETERS)


def test_thin_volume_gives_nothing() -> None:
    """A volume below its mean is no signal against the body."""
    assert 0.0 == score(z=-3.0, body=0.9, ts=0.0, parameters=PARAMETERS)


def test_it_agrees_with_the_plain_version() -> None:
    """z by the recursion written out, relative volume by the mean of the 20 bars before, at every bar that is ready."""
    bars = walk(220, seed=31)
    quotes = np.array([bar.quote_volume / ONE_E8 for bar in bars])
    logs = np.log(quotes + 1.0)
    state = new()
    mean, variance, weight = logs[0], 0.0, 2 / 289
    for count, bar in enumerate(fold(state, bars), 1):
        if count > 1:
            off = logs[count - 1] - mean
            z = float(np.clip(off / max(np.sqrt(variance), 0.15), -10, 10))
            mean += weight * off
            variance = (1 - weight) * (variance + weight * off * off)
        if count < 96:
            continue
        body = (bar.close - bar.open) / max(bar.high - bar.low, 1)
        breakout = beyond(state.bars.structure, state.bars.prices, 0.25 * state.bars.prices.a)
        relative = quotes[count - 1] / quotes[count - 21 : count - 1].mean()
        ts = trigger(body=body, relative=relative, breakout=breakout, parameters=PARAMETERS)
        factor = values(state, now_ms=state.bar_close_ms).factors["V"]
        assert score(z=z, body=body, ts=ts, parameters=PARAMETERS) == pytest.approx(factor.value, abs=1e-9)
        assert pytest.approx(count / 288) == factor.quality


def test_no_volume_is_zero_and_no_range_divides_nothing() -> None:
    """A bar without a trade scores 0; a bar without a range has a body of its ticks over one tick."""
    bars = walk(120, seed=32)
    last = bars[-1]
    bars[-1] = msgspec.structs.replace(
        last, quote_volume=E8(0), taker_quote=E8(0), open=last.close, high=last.close, low=last.close
    )
    factor = values(fold_all(bars), now_ms=last.open_ms + 300_000).factors["V"]

    assert (0.0, True, 0.0) == (factor.value, factor.ready, factor.detail["body"])


@pytest.mark.parametrize(("ranges", "expected"), [(0.2499, False), (0.2501, True)])
def test_a_breakout_stands_a_quarter_of_a_range_beyond_the_swing(ranges: float, expected: bool) -> None:
    """Then the trigger is 1.3 times as strong."""
    structure, state = new_structure(StructureParameters()), new_volume(PARAMETERS)
    structure.highs = [100.0]
    close = 100.0 + 1_000.0 * ranges
    prices = Prices(closes=Window(size=13), close=close, high=close / 0.7, a=1_000.0)
    for _ in range(20):
        state.past.push(1.0)
    state.add(prices, structure, 1.6, PARAMETERS)

    assert pytest.approx(0.7 / 0.8 * 0.8 / 1.5 * (1.3 if expected else 1.0)) == state.trigger
