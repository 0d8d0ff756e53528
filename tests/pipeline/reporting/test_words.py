"""Tests of how numbers and times are said to people."""

from __future__ import annotations

import pytest

from pipeline.reporting import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234_567_890, "+12.35"), (-1_234_567_890, "-12.35"), (0, "+0.00"), (499_999, "+0.00"), (-499_999, "+0.00")],
)
def test_money_is_rounded_to_cents_with_its_sign(value: int, text: str) -> None:
    """USDT with sign and two decimals; what rounds to nothing is not negative."""
    assert text == words.money(value)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (59_900, "59.9 s"),
        (65_000, "1 min 05 s"),
        (3_660_000, "1 h 01 min"),
    ],
)
def test_durations_take_the_unit_that_fits(length: int, text: str) -> None:
    """Milliseconds, seconds, minutes, hours."""
    assert text == words.duration(length)


def test_moments_are_utc() -> None:
    """Times of day and dates are UTC."""
    assert ("22:13:20.123", "2023-11-14") == (words.moment(1_700_000_000_123), words.day(1_700_000_000_123))


def test_outcomes_have_words() -> None:
    """Known outcomes are said in words, unknown ones without underscores."""
    assert ("by trailing stop", "something new") == (words.outcome("trailing_stop"), words.outcome("something_new"))


def test_prices_are_as_short_as_exact() -> None:
    """No rounding, no trailing zeros."""
    assert "60000.1" == words.price(6_000_010_000_000)
