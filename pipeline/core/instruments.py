"""The only place for what the venue says about one contract: its grid, its limits, its status."""

from __future__ import annotations

import msgspec

from pipeline.core.units import E8, ONE_E8, Lots, Ticks, format_e8, on_grid, parse_e8


class Instrument(msgspec.Struct, frozen=True, gc=False):
    """
    Filters of one USDⓈ-M contract (venue sheet section 4.2, exchangeInfo).

    ``tick_e8`` and ``step_e8`` are the grid in units of 10**-8; every ``Ticks`` and ``Lots`` of the symbol counts
    in them. ``max_market_lots`` is MARKET_LOT_SIZE.maxQty, ``min_notional_e8`` MIN_NOTIONAL in USDT.
    """

    symbol: str
    status: str
    tick_e8: int
    step_e8: int
    min_price_ticks: int
    max_price_ticks: int
    min_lots: int
    max_lots: int
    max_market_lots: int
    min_notional_e8: int
    delivery_ms: int = 0
    onboard_ms: int = 0  # when the venue listed it, 0: not told

    @property
    def trading(self) -> bool:
        """True while the venue accepts orders for the contract."""
        return self.status == "TRADING"

    def ticks(self, text: str) -> Ticks:
        """Read a price string exactly onto the grid; raises NotADecimal or OffGrid."""
        return Ticks(on_grid(parse_e8(text), step=self.tick_e8))

    def lots(self, text: str) -> Lots:
        """Read a quantity string exactly onto the grid; raises NotADecimal or OffGrid."""
        return Lots(on_grid(parse_e8(text), step=self.step_e8))

    def near_ticks(self, text: str) -> Ticks:
        """A price that may stand on a former grid (an order placed before a change), rounded down; or NotADecimal."""
        return Ticks(parse_e8(text) // self.tick_e8)

    def whole_lots(self, text: str) -> Lots:
        """The whole lots of a quantity that may stand on a former grid, towards zero; raises NotADecimal."""
        value = parse_e8(text)
        return Lots(value // self.step_e8 if value >= 0 else -(-value // self.step_e8))

    def price_text(self, ticks: int) -> str:
        """Write a price for the venue."""
        return format_e8(ticks * self.tick_e8)

    def quantity_text(self, lots: int) -> str:
        """Write a quantity for the venue."""
        return format_e8(lots * self.step_e8)

    def price_e8(self, ticks: int) -> E8:
        """The price of a grid point in units of 10**-8."""
        return E8(ticks * self.tick_e8)

    def notional_e8(self, *, lots: int, price_e8: int) -> E8:
        """|quantity| × price in USDT, units of 10**-8, rounded down."""
        return E8(abs(lots) * self.step_e8 * price_e8 // ONE_E8)
