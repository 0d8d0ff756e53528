"""The only place for tests of regulator F: test vector, multiplier and veto, what it needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.factors.factor import Factor, missing
from pipeline.core.factors.fund_leading import FundLeadingParameters, factor, multiplier, score

PARAMETERS = FundLeadingParameters()
ANY = st.floats(-30, 30)


def test_vector() -> None:
    """Domain 8.4: z_C 1.5, x_o .8, x_p 1.2 give −0.473 and a multiplier of .9982."""
    value = score(z=1.5, interest=0.8, price=1.2, parameters=PARAMETERS)

    assert -0.473 == pytest.approx(value, abs=5e-4)
    assert 0.9982 == pytest.approx(multiplier(value, PARAMETERS), abs=5e-5)


@given(ANY, ANY, ANY)
def test_bounds_and_mirror(z: float, interest: float, price: float) -> None:
    """F stays within ±100 and turns its sign with flow and price, to the bit."""
    value = score(z=z, interest=interest, price=price, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(z=-z, interest=interest, price=-price, parameters=PARAMETERS)


@given(st.floats(0, 10))
def test_it_does_not_jump_at_zero(interest: float) -> None:
    """A flow just above and just below zero give nearly the same (a plain sign jumped by 37–69 points)."""
    low, high = (score(z=z, interest=interest, price=0.0, parameters=PARAMETERS) for z in (-1e-6, 1e-6))

    assert abs(high - low) < 1e-3


@given(st.floats(-100, 100))
def test_the_multiplier_is_bounded(aligned: float) -> None:
    """Between 0.85 and 1.15; below −70 it is 0.60."""
    mult = multiplier(aligned, PARAMETERS)

    assert mult == 0.60 if aligned < -70.0 else 0.85 <= mult <= 1.15


def _factor(quality: float, **detail: float) -> Factor:
    return Factor(0.0, quality, quality > 0.0, 7, (1,), dict(detail))


def test_it_is_as_good_as_the_worse_of_flow_and_interest() -> None:
    """And missing when one of them is, by name."""
    delta, interest = _factor(0.5, z=1.5), _factor(0.8, x_o=0.8, x_p=1.2)
    gone = missing("why", asof_ms=7, version=(1,))

    assert 0.5 == factor(delta, interest, PARAMETERS, version=(1,), now_ms=9).quality
    assert ["C missing", "O missing", "C and O missing"] == [
        factor(c, o, PARAMETERS, version=(1,), now_ms=9).detail["missing"]
        for c, o in ((gone, interest), (delta, gone), (gone, gone))
    ]
