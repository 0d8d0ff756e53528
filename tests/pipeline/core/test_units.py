"""The only place for tests of the units: exact both ways, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.units import NotADecimal, OffGrid, format_e8, on_grid, parse_e8


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_every_value_reads_back_from_its_text(value: int) -> None:
    """``format_e8`` and ``parse_e8`` are inverse."""
    assert value == parse_e8(format_e8(value))


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=8))
def test_reading_agrees_with_decimal_arithmetic(number: Decimal) -> None:
    """The naive reading by ``Decimal`` gives the same integer."""
    assert int(number * 10**8) == parse_e8(f"{number:f}")


@pytest.mark.parametrize("text", ["", ".", "-", "1.2.3", "1e5", "+1", " 1", "١", "1_0", "0.123456789", "--1", "1" * 31])
def test_anything_else_is_refused(text: str) -> None:
    """No exponent, no sign but minus, no other digits, no ninth decimal: the venue sends none of it."""
    with pytest.raises(NotADecimal):
        parse_e8(text)


def test_trailing_zeros_beyond_the_eighth_decimal_carry_no_information() -> None:
    """``83858.4100000000`` is read exactly."""
    assert 8_385_841_000_000 == parse_e8("83858.4100000000")


def test_whole_numbers_carry_no_dot() -> None:
    """The shortest text that reads back."""
    assert ["0", "1", "-0.5", "0.00000001"] == [format_e8(v) for v in (0, 100_000_000, -50_000_000, 1)]


def test_a_rest_of_the_division_is_off_the_grid() -> None:
    """0.15 is no multiple of 0.1."""
    assert 3 == on_grid(30_000_000, step=10_000_000)
    with pytest.raises(OffGrid):
        on_grid(15_000_000, step=10_000_000)
