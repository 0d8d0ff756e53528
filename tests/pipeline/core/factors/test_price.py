"""The only place for tests of what factors read of closed bars: closes, floors, the price change x_p."""

from __future__ import annotations

from math import sqrt

import pytest

from pipeline.core.factors.price import PriceParameters, Prices, change_score
from pipeline.core.factors.price import new as new_prices
from tests.factor_market import mirrored, walk

BARS = walk(40, seed=7)


def _fold(bars: list, *, a: float = 100.0, hour_range: float = 300.0) -> Prices:  # type: ignore[type-arg]
    prices = new_prices(24)
    for bar in bars:
        prices.add(bar, a=a, hour_range=hour_range, parameters=PriceParameters())
    return prices


def test_the_change_is_that_of_twelve_bars() -> None:
    """c − c₋₁₂ in ticks, scaled by 0.68·a·sqrt(12)."""
    prices = _fold(BARS)
    change = BARS[-1].close - BARS[-13].close

    assert [change, pytest.approx(change / (0.68 * 100.0 * sqrt(12)))] == [prices.change, prices.change_score]


def test_the_change_is_not_known_before_thirteen_bars() -> None:
    """Twelve bars have no c₋₁₂, and without a true range there is no scale."""
    assert [False, True, False] == [
        _fold(BARS[:12]).change_known,
        _fold(BARS[:13]).change_known,
        _fold(BARS, a=0.0).change_known,
    ]


@pytest.mark.parametrize(
    ("a", "expected"), [(0.0, (0.0, False)), (1.3, (2.0, True)), (2.0, (2.0, True)), (2.5, (2.5, False))]
)
def test_a_true_range_has_a_floor_of_two_ticks(a: float, expected: tuple[float, bool]) -> None:
    """Below 2 ticks it is the floor, and says so; 0 stays unknown."""
    prices = _fold(BARS, a=a)

    assert expected == (prices.a, prices.at_floor)


def test_a_mirrored_market_has_exactly_mirrored_prices() -> None:
    """Relative to the first close, reflection is a change of sign to the bit."""
    here, there = _fold(BARS), _fold(mirrored(BARS))

    assert [-here.close, -here.low, -here.high, -here.change_score] == [
        there.close,
        there.high,
        there.low,
        there.change_score,
    ]


def test_the_scale_is_one_deviation_of_noise() -> None:
    """Domain 8.1: a change of 0.68·a·sqrt(12) scores 1."""
    assert 1.0 == pytest.approx(change_score(0.68 * 50 * sqrt(12), 50.0, PriceParameters()))
