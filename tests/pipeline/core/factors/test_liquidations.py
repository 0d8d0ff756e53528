"""The only place for tests of factor Q: test vector, duplicates, silence, a dead stream, cascades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.factors.factor import Age
from pipeline.core.factors.liquidations import Liquidations, LiquidationsParameters, factor, new, score, tilt

PARAMETERS = LiquidationsParameters()
AGE = Age(60_000, 300_000)
START_MS = 1_000_000_000_000
BAR_MS = 300_000
MONEY = st.floats(0, 1e9)


def test_vector() -> None:
    """Domain 8.4: LL 300k, LS 100k, K 50k, zI 2 give LTI −.4444 and Q −33.849."""
    lti = tilt(longs=300_000.0, shorts=100_000.0, scale=50_000.0)

    assert -0.4444 == pytest.approx(lti, abs=5e-5)
    assert -33.849 == pytest.approx(score(lti=lti, intensity=2.0, parameters=PARAMETERS), abs=5e-4)


@given(MONEY, MONEY, st.floats(-10, 10))
def test_bounds_and_mirror(longs: float, shorts: float, intensity: float) -> None:
    """Q stays within ±100 and turns its sign when longs and shorts change places, to the bit."""
    here = score(lti=tilt(longs=longs, shorts=shorts, scale=5e4), intensity=intensity, parameters=PARAMETERS)
    there = score(lti=tilt(longs=shorts, shorts=longs, scale=5e4), intensity=intensity, parameters=PARAMETERS)

    assert abs(here) <= 100.0
    assert here == -there


def _event(state: Liquidations, side: Side, notional: float, at_ms: int, lots: int = 1) -> bool:
    return state.event(side=side, notional=notional, trade_ms=at_ms, lots=lots, now_ms=at_ms, parameters=PARAMETERS)


def _usual(bars: int = 60) -> Liquidations:
    """Bars with small liquidations on both sides; the last one closes at the time returned by ``_now``."""
    state = new(PARAMETERS)
    for index in range(bars):
        at_ms = START_MS + index * BAR_MS + 150_000
        _event(state, Side.SELL if index % 2 else Side.BUY, 2_000.0 + 300.0 * (index % 7), at_ms, lots=index + 1)
        state.add(now_ms=START_MS + (index + 1) * BAR_MS, age=AGE)
    return state


def _now(bars: int = 60) -> int:
    return START_MS + bars * BAR_MS


def test_an_order_told_twice_counts_once() -> None:
    """By time, side and quantity; the other side at the same time is another order."""
    state = new(PARAMETERS)
    told = [
        _event(state, side, 10.0, START_MS, lots)
        for side, lots in ((Side.SELL, 5), (Side.SELL, 5), (Side.BUY, 5), (Side.SELL, 6))
    ]

    assert [True, False, True, True] == told
    assert (20.0, 10.0) == (state.longs.value, state.shorts.value)


def test_silence_is_zero_and_a_dead_socket_is_missing() -> None:
    """No event for hours on a living socket scores 0 at full quality; without frames it ages from 60 s to 300 s."""
    state = _usual()
    later = _now() + 10 * BAR_MS
    state.alive(later)
    found = [
        factor(state, PARAMETERS, AGE, a=10.0, version=(1,), now_ms=later + ms) for ms in (60_000, 180_000, 300_000)
    ]

    assert [0.0, 0.0] == [f.value for f in found[:2]]
    assert [pytest.approx(60 / 288), pytest.approx(30 / 288), 0.0] == [f.quality for f in found]


def test_it_is_ready_after_an_hour_of_a_living_socket() -> None:
    """Twelve bars; bars on a dead socket do not count."""
    state = new(PARAMETERS)
    for index in range(30):
        if index % 2 == 0:
            state.alive(START_MS + (index + 1) * BAR_MS - 1)
        state.add(now_ms=START_MS + (index + 1) * BAR_MS, age=Age(60_000, 200_000))
        found = factor(state, PARAMETERS, AGE, a=1.0, version=(1,), now_ms=state.alive_ms)
        assert found.ready == (index >= 22)


def test_a_bar_without_liquidations_does_not_enter_the_score() -> None:
    """It enters the mean of totals, which scales K, and nothing else."""
    state = _usual(20)
    state.alive(_now(20))
    sizes = state.sizes.count
    state.add(now_ms=_now(20) + 1, age=AGE)

    assert (sizes, 21) == (state.sizes.count, state.totals.count)


@pytest.mark.parametrize(("side", "flag", "turn"), [(Side.SELL, "cascade_down", -1), (Side.BUY, "cascade_up", 1)])
def test_a_cascade_is_seen_at_once(side: Side, flag: str, turn: int) -> None:
    """Ten million USDT of one side stand out by far: the flag, and a score near the end of the scale."""
    state = _usual()
    _event(state, side, 1e7, _now() + 1_000)
    found = factor(state, PARAMETERS, AGE, a=10.0, version=(1,), now_ms=_now() + 1_000)

    assert found.detail[flag]
    assert turn * found.value > 95.0


@pytest.mark.parametrize(("lean", "expected"), [(0.603, True), (0.597, False)])
def test_a_cascade_needs_one_side_to_outweigh_the_other(lean: float, expected: bool) -> None:
    """LTI beyond 0.6 is a cascade, however large the sums on both sides are."""
    state = _usual()
    longs = 1e8
    shorts = (longs * (1 - lean) - lean * PARAMETERS.least_scale) / (1 + lean)
    at_ms = _now() + 3_600_000
    _event(state, Side.SELL, longs, at_ms)
    _event(state, Side.BUY, shorts, at_ms)
    found = factor(state, PARAMETERS, AGE, a=10.0, version=(1,), now_ms=at_ms)

    assert pytest.approx(-lean, rel=1e-4) == found.detail["lti"]
    assert expected == found.detail["cascade_down"]


def test_a_wave_that_has_faded_with_the_price_off_its_extreme_is_exhausted() -> None:
    """Below 30 % of the peak and 0.5·a back from the low made since, within ten minutes; else not."""
    state = _usual()
    state.see_price(1_000.0)
    _event(state, Side.SELL, 1e7, _now())
    state.see_price(960.0)
    flags = []
    for seconds, price in ((10, 990.0), (365, 964.9), (365, 965.1), (601, 990.0)):
        state.see_price(price)
        state.alive(_now() + seconds * 1_000)
        found = factor(state, PARAMETERS, AGE, a=10.0, version=(1,), now_ms=_now() + seconds * 1_000)
        flags.append(found.detail["exhausted"])

    assert [False, False, True, False] == flags


def test_what_only_fades_is_looked_at_again_each_second() -> None:
    """While a wave lives its value moves by itself: a cached one serves for a second; in silence for much longer."""
    state = _usual()
    now_ms = _now()
    _event(state, Side.SELL, 1e6, now_ms)
    moving = factor(state, PARAMETERS, AGE, a=10.0, version=(1,), now_ms=now_ms)
    later = now_ms + 3 * 3_600_000
    state.alive(later)
    still = factor(state, PARAMETERS, AGE, a=10.0, version=(1,), now_ms=later)

    assert [now_ms + 1_000, later + 60_000] == [moving.steady_until_ms, still.steady_until_ms]
