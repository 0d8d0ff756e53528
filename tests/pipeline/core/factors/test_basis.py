"""The only place for tests of factor B: test vectors, funding prints and intervals, extremes, what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import factor_set
from pipeline.core.factor_set import FactorState
from pipeline.core.factor_values import values
from pipeline.core.factors.basis import (
    Basis,
    BasisParameters,
    combined,
    eight_hour_rate,
    new,
    paying_side,
    rate_distance,
    score,
)
from pipeline.core.factors.factor import Age
from tests.factor_market import START_MS, mark, quote
from tests.factor_market import new as new_state

PARAMETERS = BasisParameters()
AGE = Age(3_000, 15_000)
HOUR = 3_600_000


def test_vector() -> None:
    """Domain 8.4: z_b 1.8, f8 .0004 at the floor give x 2.28 and B −71.139."""
    distance = rate_distance(0.0004, 0.0, PARAMETERS)
    x = combined(z=1.8, distance=distance, parameters=PARAMETERS)

    assert 2.28 == pytest.approx(x)
    assert -71.139 == pytest.approx(score(x, PARAMETERS), abs=5e-4)


def test_vector_of_the_eight_hour_rate() -> None:
    """Domain 8.4: r .0002 over 4 h is .0004 over 8."""
    assert 0.0004 == pytest.approx(eight_hour_rate(0.0002, 4))


@given(st.floats(-1e6, 1e6))
def test_bounds_mirror_and_dead_zone(x: float) -> None:
    """B stays within ±100, turns its sign with x to the bit, and is 0 within ±0.5."""
    value = score(x, PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(-x, PARAMETERS)
    assert (value == 0.0) == (abs(x) <= 0.5)
    assert -value == score(x, BasisParameters(sign=1.0))


@pytest.mark.parametrize(
    ("basis", "rate", "expected"), [(99.5, 0.002, 0), (100.5, 0.0, 1), (-101.0, 0.0, -1), (101.0, -0.00201, -1)]
)
def test_extreme_carry_names_the_side_that_pays(basis: float, rate: float, expected: int) -> None:
    """The funding rate says who pays; the basis decides when only it is extreme."""
    assert expected == paying_side(basis_bps=basis, rate=rate, parameters=PARAMETERS)


def _mark(state: Basis, at_ms: int, *, basis: float = 0.0, rate: float = 0.0001, next_ms: int = 0) -> None:
    state.mark(
        mid=1.0 + basis / 1e4,
        index=1.0,
        rate=rate,
        next_funding_ms=next_ms,
        from_quotes=True,
        now_ms=at_ms,
        parameters=PARAMETERS,
    )


def test_a_print_is_the_last_rate_before_the_funding_time_moves_on() -> None:
    """And two funding times a living stream apart tell the interval."""
    state = new(PARAMETERS)
    _mark(state, START_MS - 2_000, rate=0.0002, next_ms=START_MS)
    _mark(state, START_MS - 1_000, rate=0.0003, next_ms=START_MS)
    _mark(state, START_MS + 1_000, rate=0.0001, next_ms=START_MS + 4 * HOUR)
    _mark(state, START_MS + 2_000, rate=0.0001, next_ms=START_MS + 4 * HOUR)

    assert ([0.0003], 4) == (state.prints, state.interval_hours)
    assert 0.0002 == pytest.approx(state.rate)


def test_an_interval_is_not_learned_over_a_hole() -> None:
    """After hours of silence a settlement may have been missed: the interval stays unknown."""
    state = new(PARAMETERS)
    _mark(state, START_MS - 1_000, next_ms=START_MS)
    _mark(state, START_MS + 5 * HOUR, next_ms=START_MS + 8 * HOUR)

    assert 0 == state.interval_hours


def test_thirty_prints_are_kept_and_their_deviation_is_of_the_population() -> None:
    """The oldest print falls out; one print alone deviates from nothing."""
    state = new(PARAMETERS)
    state.settled(0.5, PARAMETERS)
    alone = state.prints_deviation
    for index in range(30):
        state.settled(0.0001 * (index % 2), PARAMETERS)

    assert [0.0, 30, pytest.approx(0.00005)] == [alone, len(state.prints), state.prints_deviation]


def test_a_stale_basis_is_no_sample() -> None:
    """A bar that closes 15 s after the last mark price adds nothing; without an index there is nothing at all."""
    state = new(PARAMETERS)
    _mark(state, START_MS, basis=3.0)
    state.add(now_ms=START_MS + 14_999, age=AGE)
    state.add(now_ms=START_MS + 15_000, age=AGE)

    assert 1 == state.moments.count


def _ready() -> FactorState:
    state = new_state()
    for index in range(900):
        at_ms = START_MS + index * 300_000
        event = mark(price=100.0 + 0.01 * (index % 5), index=100.0, next_funding_ms=START_MS + 9**9, at_ms=at_ms)
        factor_set.on_mark(state, event, now_ms=at_ms)
        state.basis.add(now_ms=at_ms, age=AGE)
    return state


def test_the_mid_comes_from_quotes_while_they_are_fresh() -> None:
    """With quotes younger than 5 s their middle is used, else the mark price."""
    state = new_state()
    used = []
    for age_ms in (4_999, 5_000):
        at_ms = START_MS + 1_000_000 * age_ms
        factor_set.on_quote(state, quote(1_000, 1_002, at_ms=at_ms), now_ms=at_ms)
        event = mark(price=99.0, index=100.0, next_funding_ms=1, at_ms=at_ms)
        factor_set.on_mark(state, event, now_ms=at_ms + age_ms)
        used.append((state.basis.from_quotes, round(state.basis.smoothed.value, 3)))

    assert [(True, 10.0), (False, -100.0)] == used


@pytest.mark.parametrize(("interval", "expected"), [(0, 0.7), (8, 1.0)])
def test_an_unknown_interval_costs_quality(interval: int, expected: float) -> None:
    """8 h is assumed, at quality 0.7."""
    state = _ready()
    state.basis.interval_hours = interval

    assert pytest.approx(expected) == values(state, now_ms=state.basis.at_ms).factors["B"].quality


def test_without_an_index_it_is_missing() -> None:
    """The basis of an index that the venue does not state is not known."""
    state = _ready()
    event = mark(price=100.0, index=0.0, next_funding_ms=1, at_ms=state.basis.at_ms)
    factor_set.on_mark(state, event, now_ms=state.basis.at_ms + 1)
    factor = values(state, now_ms=state.basis.at_ms).factors["B"]

    assert (0.0, "no index price") == (factor.quality, factor.detail["missing"])
