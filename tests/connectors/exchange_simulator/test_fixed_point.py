"""Decimal text and integers of 1e-8 are the same number in both directions."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.fixed_point import (
    E8,
    decimals_of,
    divide_rounded,
    format_e8,
    format_trimmed,
    parse_e8,
)


@given(st.integers(min_value=0, max_value=10**20))
def test_what_was_written_is_read_back(value: int) -> None:
    """Every e8 integer survives its own text, with and without trailing zeros."""
    assert value == parse_e8(format_e8(value))
    assert value == parse_e8(format_trimmed(value))


@pytest.mark.parametrize("text", ["", "-1", "1e3", ".5", "1.", "abc", "1.000000001", "١", " 1", "1 ", "NaN"])
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    """Signs, exponents, blanks, foreign digits and a ninth decimal are no number of the venue."""
    assert parse_e8(text) is None


def test_formats_follow_the_venue() -> None:
    """Fixed decimals keep their zeros, trimmed ones keep what they are told to keep."""
    assert "83860.10" == format_e8(8_386_010 * 10**6, 2)
    assert "5" == format_e8(5 * E8, 0)
    assert "-0.05" == format_e8(-5 * 10**6, 2)
    assert "0" == format_trimmed(0)
    assert "83800.00" == format_trimmed(83_800 * E8, 2)
    assert 1 == decimals_of("0.10")


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_rounding_is_the_same_for_either_sign(numerator: int, denominator: int) -> None:
    """Halves go away from zero, so a long and its mirrored short round alike."""
    assert divide_rounded(-numerator, denominator) == -divide_rounded(numerator, denominator)
    assert abs(Decimal(numerator) / denominator - divide_rounded(numerator, denominator)) <= Decimal("0.5")
