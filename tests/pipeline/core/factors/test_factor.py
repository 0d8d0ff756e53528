"""The only place for tests of what every factor gives: ages, bounds, and what is missing instead of wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.factors.factor import NEVER_MS, Age, Ages, give, missing, steady_until

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, 1.0), (310_000, 1.0), (465_000, 0.5), (619_999, pytest.approx(1 / 310_000)), (620_000, 0.0), (-5, 1.0)],
)
def test_quality_falls_linearly_between_soft_and_hard_age(age: int, expected: float) -> None:
    """Closed bars: whole until 310 s, gone at 620 s, half of it in the middle."""
    assert expected == Ages().bar.quality(age)


def test_the_ages_are_those_of_the_table() -> None:
    """Domain 3.3, row by row."""
    ages = Ages()

    assert [(310_000, 620_000), (1_000, 5_000), (3_000, 15_000), (2, 5), (60_000, 300_000)] == [
        (age.soft_ms, age.hard_ms)
        for age in (ages.bar, ages.quote, ages.mark, ages.open_interest_polls, ages.liquidations)
    ]


@given(ANY_FLOAT, ANY_FLOAT)
def test_nothing_that_is_no_number_leaves(value: float, quality: float) -> None:
    """Whatever is put in, value and quality are finite and within bounds, and quality 0 says why."""
    factor = give(value, quality, 5, (1,), {}, NEVER_MS)

    assert -100.0 <= factor.value <= 100.0
    assert 0.0 <= factor.quality <= 1.0
    assert factor.ready == (factor.quality > 0.0)
    assert factor.ready or "missing" in factor.detail


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 101.0, -101.0])
def test_a_value_out_of_bounds_is_missing(value: float) -> None:
    """A broken formula shows as a missing factor with its reason, never as a number."""
    assert missing("value out of bounds", asof_ms=5, version=(1,)) == give(value, 1.0, 5, (1,), {}, NEVER_MS)


def test_rounding_beyond_the_bound_is_held_and_zero_has_no_sign() -> None:
    """The last place of a sum may pass 100; a negative zero would make two equal states differ in their bytes."""
    assert [100.0, -100.0, 0.0] == [
        give(value, 1.0, 5, (1,), {}, NEVER_MS).value for value in (100.0 + 1e-12, -100.0 - 1e-12, -0.0)
    ]
    assert 1.0 == math.copysign(1.0, give(-0.0, 1.0, 5, (1,), {}, NEVER_MS).value)


@pytest.mark.parametrize(("now_ms", "expected"), [(50, 110), (110, 110), (111, 111), (199, 199), (200, NEVER_MS)])
def test_a_quality_stands_still_until_the_soft_age(now_ms: int, expected: int) -> None:
    """Until then a cached value serves; in between it is computed at every new moment; after the hard age no more."""
    assert expected == steady_until(10, Age(100, 190), now_ms)
