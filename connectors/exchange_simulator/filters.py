"""The only place that judges the numbers of an order against a symbol's filters (sheet 4.2), with the venue's codes."""

from __future__ import annotations

import re
from typing import Final

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import decimals_of, format_trimmed, parse_e8
from connectors.exchange_simulator.instruments import Instrument

CLIENT_ID: Final = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")


def price_ticks(row: Instrument, text: str, name: str = "price") -> int:
    """A limit or trigger price in ticks; refuses what PRICE_FILTER refuses."""
    value = parse_e8(text)
    if value is None:
        raise VenueError(-1111 if decimals_of(text) > 8 else -1102, name=name)
    if decimals_of(text) > row.price_decimals:
        raise VenueError(-1111)
    if value < row.lowest * row.tick_e8:
        raise VenueError(-4013)
    if value > row.max_price * row.tick_e8:
        raise VenueError(-4002)
    if value % row.grid_e8:
        raise VenueError(-4014)
    return value // row.tick_e8


def quantity_lots(row: Instrument, text: str, *, market: bool) -> int:
    """A quantity in lots; refuses what LOT_SIZE or MARKET_LOT_SIZE refuses."""
    value = parse_e8(text)
    if value is None:
        raise VenueError(-1111 if decimals_of(text) > 8 else -1102, name="quantity")
    if value <= 0:
        raise VenueError(-4003)
    if decimals_of(text) > row.quantity_decimals:
        raise VenueError(-1111)
    if value % row.step_e8:
        raise VenueError(-4023)
    lots = value // row.step_e8
    if lots < row.min_lots:
        raise VenueError(-4004)
    if lots > (row.max_market_lots if market else row.max_lots):
        raise VenueError(-4005)
    return lots


def check_notional(row: Instrument, *, value_e8: int) -> None:
    """MIN_NOTIONAL; the caller exempts reduce-only orders."""
    if value_e8 < row.min_notional_e8:
        raise VenueError(-4164, notional=format_trimmed(row.min_notional_e8))


def check_percent_price(row: Instrument, *, buy: bool, ticks: int, mark_e8: int) -> None:
    """PERCENT_PRICE of a limit order against the mark."""
    price = ticks * row.tick_e8
    highest, lowest = mark_e8 * row.percent_up // 10_000, mark_e8 * row.percent_down // 10_000
    if buy and price > highest:
        raise VenueError(-4016, price=format_trimmed(highest))
    if not buy and price < lowest:
        raise VenueError(-4024, price=format_trimmed(lowest))


def market_bound(row: Instrument, *, buy: bool, mark_e8: int) -> int:
    """The worst price in ticks a MARKET order may trade at: mark ± marketTakeBound."""
    if buy:
        return mark_e8 * (10_000 + row.market_take_bound) // 10_000 // row.tick_e8
    return -(-mark_e8 * (10_000 - row.market_take_bound) // 10_000 // row.tick_e8)


def check_client_id(text: str) -> None:
    """Charset and length of client ids (sheet 6.2)."""
    if CLIENT_ID.fullmatch(text) is None:
        raise VenueError(-4015)
