"""
The only place where the emergency tools look at filters, and only if they must: closing at market needs none.

exchangeInfo is megabytes long at the real venue, so it is read once, when the first price or slice has to be made.
"""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from pipeline.core.units import ONE_E8, NotADecimal, format_e8, parse_e8
from pipeline.emergency.venue import Call, PlainVenue

SLICE_PERMILLE: Final = 900  # domain 6.7: pieces of at most 0.9 × the market lot maximum
INFO_SECONDS: Final = 10.0


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: str = "0"
    step_size: str = "0"
    max_qty: str = "0"
    min_qty: str = "0"
    notional: str = "0"


class _Symbol(msgspec.Struct):
    symbol: str
    filters: list[_Filter] = []


class _Info(msgspec.Struct):
    symbols: list[_Symbol]


class _Grid(msgspec.Struct, frozen=True):
    tick_e8: int
    step_e8: int
    max_market_e8: int
    min_quantity_e8: int = 0
    min_notional_e8: int = 0


class Grids:
    """Tick, step and market maximum by symbol, read from the venue at the first question."""

    def __init__(self, venue: PlainVenue) -> None:
        self._venue = venue
        self._lock = threading.Lock()
        self._found: dict[str, _Grid] | None = None

    def price_text(self, symbol: str, price_e8: int, *, away: int) -> str:
        """*price* on the grid, moved by *away* ticks; "" when the filters cannot be read."""
        grid = self._of(symbol)
        if grid is None or grid.tick_e8 <= 0:
            return ""
        return format_e8(max(grid.tick_e8, (price_e8 // grid.tick_e8 + away) * grid.tick_e8))

    def largest_market_e8(self, symbol: str) -> int:
        """The largest piece of one market order in 10^-8; 0 when the filters cannot be read."""
        grid = self._of(symbol)
        return 0 if grid is None else self.lots_down_e8(symbol, grid.max_market_e8 * SLICE_PERMILLE // 1_000)

    def least_e8(self, symbol: str, price_e8: int) -> int:
        """The least quantity that an entry may have at this price, in 10^-8 (probes); 0 when it is not known."""
        grid = self._of(symbol)
        if grid is None or price_e8 <= 0:
            return 0
        return max(grid.min_quantity_e8, grid.min_notional_e8 * ONE_E8 // price_e8 + grid.step_e8)

    def lots_down_e8(self, symbol: str, quantity_e8: int) -> int:
        """*quantity* cut to whole steps; 0 when nothing is left or the filters cannot be read."""
        grid = self._of(symbol)
        return 0 if grid is None or grid.step_e8 <= 0 else quantity_e8 // grid.step_e8 * grid.step_e8

    def _of(self, symbol: str) -> _Grid | None:
        with self._lock:
            if self._found is None:
                self._found = self._read()
            return None if self._found is None else self._found.get(symbol)

    def _read(self) -> dict[str, _Grid] | None:
        reply = self._venue.call(Call("GET", "/fapi/v1/exchangeInfo", signed=False), seconds=INFO_SECONDS)
        if not reply.accepted:
            return None
        try:
            info = msgspec.json.decode(reply.body, type=_Info)
            return {row.symbol: _grid(row.filters) for row in info.symbols}
        except (msgspec.DecodeError, NotADecimal):
            return None


def _grid(filters: list[_Filter]) -> _Grid:
    by_type = {row.filter_type: row for row in filters}
    price, lot = by_type.get("PRICE_FILTER"), by_type.get("LOT_SIZE")
    market = by_type.get("MARKET_LOT_SIZE") or lot
    return _Grid(
        tick_e8=parse_e8(price.tick_size) if price else 0,
        step_e8=parse_e8(lot.step_size) if lot else 0,
        max_market_e8=parse_e8(market.max_qty) if market else 0,
        min_quantity_e8=parse_e8(lot.min_qty) if lot else 0,
        min_notional_e8=parse_e8(by_type["MIN_NOTIONAL"].notional) if "MIN_NOTIONAL" in by_type else 0,
    )
