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


@pytest.mark.parametrize("finer", ["0.05", "0.01", "0.02"])
def test_units_for_a_finer_tick_change_nothing_that_is_printed(finer: str) -> None:
    """Counted more finely the symbol has the same filters; then it can have the finer tick."""
    row, tick = default_instrument("BTCUSDT"), parse_e8(finer)
    assert tick is not None
    units = row.with_units([tick])
    assert exchange_info_row(row) == exchange_info_row(units)
    assert row.notional(838_600, 7) == units.notional(838_600 * units.tick_multiple, 7)
    price = next(one for one in exchange_info_row(units.with_tick(tick))["filters"] if "tickSize" in one)
    assert tick == parse_e8(price["tickSize"])
    assert units is units.with_units([tick * 2])


def test_a_coarser_tick_moves_the_lowest_price_onto_it() -> None:
    """(price − minPrice) % tickSize stays 0; what is no multiple of the unit is refused with the symbol's name."""
    row = default_instrument("BTCUSDT").with_tick(7 * 10**8)
    filters = {one["filterType"]: one for one in exchange_info_row(row)["filters"]}
    assert 0 == (parse_e8(filters["PRICE_FILTER"]["minPrice"]) or 1) % (7 * 10**8)
    assert 0 == row.nearest_tick(83_861 * 10**8) % 70
    for tick in (0, -1, 10**6):
        with pytest.raises(ValueError, match="BTCUSDT"):
            row.with_tick(tick)
    with pytest.raises(ValueError, match="finer than 1e-8"):
        default_instrument("BTCUSDT").with_units([1])
