"""Brackets are continuous, bound leverage and give the sheet's liquidation prices (7.4)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from connectors.exchange_simulator.brackets import (
    Leg,
    bracket_at,
    bracket_rows,
    brackets_of,
    largest_notional,
    liquidation_price,
    maintenance,
)
from connectors.exchange_simulator.fixed_point import E8
from tests.connectors.exchange_simulator.venues import BTC, ETH


@pytest.mark.parametrize(("lots", "expected"), [(1_000, 45_180_72), (-1_000, 54_776_12)])
def test_the_sheets_two_checks(lots: int, expected: int) -> None:
    """Wallet 5000, entry 50000, size 1: 45180.72 for a long, 54776.12 for a short (second bracket, cum 50)."""
    cost = lots * 50 * E8
    price = liquidation_price(BTC, [Leg(lots, cost)], base=5_000 * E8)

    assert expected == (price + 500_000) // 10**6


def test_cum_makes_the_maintenance_continuous() -> None:
    """At every boundary both brackets give the same amount; the cums are the sheet's."""
    assert [0, 50, 950, 11_450, 131_450, 481_450] == [bracket.cum // E8 for bracket in brackets_of(BTC)[:6]]
    for lower, upper in pairwise(brackets_of(BTC)):
        assert lower.cap == upper.floor
        assert lower.cap * lower.rate // 10_000 - lower.cum == upper.floor * upper.rate // 10_000 - upper.cum
    assert 0 == maintenance(BTC, 0)
    assert bracket_at(ETH, 10**30).number == len(brackets_of(ETH))


def test_leverage_bounds_the_notional() -> None:
    """The cap of the last bracket that allows the leverage."""
    assert [50_000, 100_000_000, 1_800_000_000] == [largest_notional(BTC, one) // E8 for one in (125, 20, 1)]


def test_the_two_sides_of_hedge_mode_share_one_price() -> None:
    """Equal long and short at the same entry cancel: no price is reached; unequal ones act like the difference."""
    even = [Leg(1_000, 50_000 * E8), Leg(-1_000, -50_000 * E8)]
    assert 0 == liquidation_price(BTC, even, base=5_000 * E8) or 10**13 < liquidation_price(BTC, even, base=5_000 * E8)
    uneven = [Leg(2_000, 100_000 * E8), Leg(-1_000, -50_000 * E8)]
    assert 44_000 * E8 < liquidation_price(BTC, uneven, base=5_000 * E8) < 46_500 * E8


def test_rows_are_numbers() -> None:
    """GET leverageBracket has JSON numbers (4.5)."""
    assert {
        "bracket": 2, "initialLeverage": 100, "notionalCap": 600_000, "notionalFloor": 50_000,
        "maintMarginRatio": 0.005, "cum": 50.0,
    } == bracket_rows(BTC)[1]  # fmt: skip


def test_each_leg_of_hedge_mode_has_its_own_bracket() -> None:
    """At the price that is told, wallet plus profit is the sum of both legs' maintenance, as liquidation judges it."""
    price = 50_000 * E8
    legs = [Leg(9_000, 450_000 * E8), Leg(-4_000, -200_000 * E8)]
    found = liquidation_price(BTC, legs, base=15_000 * E8)
    balance = 15_000 * E8 + sum(BTC.value_at_e8(found, leg.lots) - leg.cost for leg in legs)
    needed = sum(maintenance(BTC, BTC.value_at_e8(found, leg.lots)) for leg in legs)

    assert 0 < found < price
    assert abs(balance - needed) < E8 // 100
