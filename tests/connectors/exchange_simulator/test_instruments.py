"""Symbols lie on grids whose money is whole, and exchangeInfo states exactly those grids."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.fixed_point import E8, parse_e8
from connectors.exchange_simulator.instruments import (
    default_instrument,
    default_symbols,
    exchange_info_row,
    instrument,
)


def test_two_hundred_symbols_have_whole_money_and_their_own_names() -> None:
    """One lot moving one tick is a whole number of 1e-8 USDT for every default symbol."""
    names = default_symbols(200)

    assert 200 == len(dict.fromkeys(names))
    for name in names:
        row = default_instrument(name)
        assert row.unit_e8 * E8 == row.tick_e8 * row.step_e8
        assert row.min_price < row.price_e8 // row.tick_e8 < row.max_price


def test_bitcoin_states_the_live_filters() -> None:
    """Tick, step, minimum notional and percent price of BTCUSDT are those of the sheet (4.2)."""
    row = exchange_info_row(default_instrument("BTCUSDT"))
    filters = {one["filterType"]: one for one in row["filters"]}

    assert "0.10" == filters["PRICE_FILTER"]["tickSize"]
    assert "0.001" == filters["LOT_SIZE"]["stepSize"]
    assert "50" == filters["MIN_NOTIONAL"]["notional"]
    assert ("1.0500", "0.9500") == (
        filters["PERCENT_PRICE"]["multiplierUp"],
        filters["PERCENT_PRICE"]["multiplierDown"],
    )
    assert (2, 3, "0.0500", "0.05") == (
        row["pricePrecision"],
        row["quantityPrecision"],
        row["triggerProtect"],
        row["marketTakeBound"],
    )


@pytest.mark.parametrize("name", default_symbols(40))
def test_printed_filters_are_multiples_of_the_printed_grid(name: str) -> None:
    """(minPrice − k·tickSize) = 0 and minQty is a multiple of stepSize, as PRICE_FILTER and LOT_SIZE ask."""
    filters = {one["filterType"]: one for one in exchange_info_row(default_instrument(name))["filters"]}
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]

    assert 0 == (parse_e8(price["minPrice"]) or 0) % (parse_e8(price["tickSize"]) or 1)
    assert 0 == (parse_e8(lot["minQty"]) or 0) % (parse_e8(lot["stepSize"]) or 1)


@pytest.mark.parametrize(("tick", "step"), [("0", "1"), ("x", "1"), ("0.00001", "0.00001")])
def test_a_grid_without_whole_money_is_refused(tick: str, step: str) -> None:
    """A grid that is no number, zero, or finer than 1e-8 USDT names the symbol and the reason."""
    with pytest.raises(ValueError, match="ODDUSDT"):
        instrument("ODDUSDT", "1", tick, step)
