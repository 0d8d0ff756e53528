"""The only place that knows a simulated symbol's grid, filters and how exchangeInfo states them (sheet 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any, Final

import msgspec

from connectors.exchange_simulator.fixed_point import E8, decimals_of, format_e8, format_trimmed, parse_e8

PERPETUAL_DELIVERY: Final = 4_133_404_800_000
CONTRACT_STATUSES: Final = (
    "PENDING_TRADING", "TRADING", "PRE_DELIVERING", "DELIVERING", "DELIVERED", "PRE_SETTLE", "SETTLING", "CLOSE",
    "TRADING_HALT",
)  # fmt: skip
ORDER_TYPES: Final = [
    "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET",
]  # fmt: skip
TIMES_IN_FORCE: Final = ["GTC", "IOC", "FOK", "GTX", "GTD", "RPI"]


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """
    One USDⓈ-M perpetual: grid in e8 units, filters in ticks and lots, ratios in 1e-4.

    Prices count in units of `tick_e8`; the venue's tickSize is `tick_multiple` of them, so that it may change while
    orders and levels of the old grid stay. `price_e8`, `atr_bps` and `open_interest_lots` describe the synthetic
    market's start, not a venue rule.
    """

    symbol: str
    base: str
    tick_e8: int
    step_e8: int
    price_decimals: int
    quantity_decimals: int
    min_price: int
    max_price: int
    min_lots: int
    max_lots: int
    max_market_lots: int
    min_notional_e8: int
    percent_up: int = 10_500
    percent_down: int = 9_500
    market_take_bound: int = 500
    trigger_protect: int = 500
    max_orders: int = 200
    tick_multiple: int = 1
    max_leverage: int = 125
    funding_hours: int = 8
    status: str = "TRADING"
    onboard_ms: int = 1_569_398_400_000
    delivery_ms: int = PERPETUAL_DELIVERY
    price_e8: int = 100 * E8
    atr_bps: int = 40
    open_interest_lots: int = 1_000_000

    @property
    def unit_e8(self) -> int:
        """Money value of one lot moving one tick, in e8 USDT; always whole by construction."""
        return self.tick_e8 * self.step_e8 // E8

    @property
    def grid_e8(self) -> int:
        """The venue's tickSize, e8."""
        return self.tick_e8 * self.tick_multiple

    @property
    def lowest(self) -> int:
        """The lowest legal price that lies on the grid, in units of `tick_e8`."""
        return -(-self.min_price // self.tick_multiple) * self.tick_multiple

    def notional(self, ticks: int, lots: int) -> int:
        """Value of *lots* at *ticks*, e8 USDT."""
        return ticks * lots * self.unit_e8

    def value_at_e8(self, price_e8: int, lots: int) -> int:
        """Value of *lots* at an off-grid price such as the mark, e8 USDT."""
        return price_e8 * lots * self.step_e8 // E8

    def price_text(self, ticks: int) -> str:
        """A price as the venue prints it: fixed decimals."""
        return format_e8(ticks * self.tick_e8, self.price_decimals)

    def quantity_text(self, lots: int) -> str:
        """A quantity as the venue prints it: fixed decimals."""
        return format_e8(lots * self.step_e8, self.quantity_decimals)

    def nearest_tick(self, price_e8: int) -> int:
        """The grid price nearest to an e8 price."""
        return (price_e8 + self.grid_e8 // 2) // self.grid_e8 * self.tick_multiple

    def with_units(self, ticks_e8: Sequence[int]) -> Instrument:
        """The same symbol in units so fine that each of *ticks_e8* can be its tickSize; ValueError if too fine."""
        unit = gcd(self.tick_e8, *ticks_e8)
        factor = self.tick_e8 // unit
        if factor == 1:
            return self
        if unit * self.step_e8 % E8:
            raise ValueError(f"{self.symbol}: a tick of {format_trimmed(unit)} × its step is finer than 1e-8 USDT")
        return msgspec.structs.replace(
            self,
            tick_e8=unit,
            tick_multiple=self.tick_multiple * factor,
            min_price=self.min_price * factor,
            max_price=self.max_price * factor,
            price_decimals=max(self.price_decimals, decimals_of(format_e8(unit))),
        )

    def with_tick(self, tick_e8: int) -> Instrument:
        """The symbol with another tickSize; ValueError when that is no multiple of the unit it is counted in."""
        if tick_e8 <= 0 or tick_e8 % self.tick_e8:
            raise ValueError(
                f"{self.symbol}: a tick of {format_trimmed(tick_e8)} is no multiple of {format_trimmed(self.tick_e8)}"
            )
        return msgspec.structs.replace(self, tick_multiple=tick_e8 // self.tick_e8)


def instrument(
    symbol: str,
    price: str,
    tick: str,
    step: str,
    *,
    min_notional: int = 5,
    atr_bps: int = 40,
    price_decimals: int | None = None,
    quantity_decimals: int | None = None,
    funding_hours: int = 8,
) -> Instrument:
    """Build an instrument with customary limits from the four numbers a person knows about it."""
    tick_e8, step_e8, price_e8 = parse_e8(tick), parse_e8(step), parse_e8(price)
    if tick_e8 is None or step_e8 is None or price_e8 is None or min(tick_e8, step_e8, price_e8) <= 0:
        raise ValueError(f"{symbol}: price {price!r}, tick {tick!r} and step {step!r} must be positive decimals")
    if tick_e8 * step_e8 % E8:
        raise ValueError(f"{symbol}: tick {tick} × step {step} is finer than 1e-8 USDT")
    unit = tick_e8 * step_e8 // E8
    price_ticks = price_e8 // tick_e8
    # About 20 million USDT as the largest limit order, an eighth of it at market: the shape of the live filters.
    max_lots = max(1_000, 20_000_000 * E8 // (price_ticks * unit))
    return Instrument(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        tick_e8=tick_e8,
        step_e8=step_e8,
        price_decimals=decimals_of(tick) if price_decimals is None else price_decimals,
        quantity_decimals=decimals_of(step) if quantity_decimals is None else quantity_decimals,
        min_price=max(1, price_ticks // 150),
        max_price=price_ticks * 50,
        min_lots=1,
        max_lots=max_lots,
        max_market_lots=max(100, max_lots // 8),
        min_notional_e8=min_notional * E8,
        funding_hours=funding_hours,
        price_e8=price_ticks * tick_e8,
        atr_bps=atr_bps,
        open_interest_lots=max(1_000, 400_000_000 * E8 // (price_ticks * unit)),
    )


_KNOWN: Final = (
    instrument("BTCUSDT", "83860.1", "0.10", "0.001", min_notional=50, price_decimals=2),
    instrument("ETHUSDT", "2463.25", "0.01", "0.001", min_notional=20),
    instrument("SOLUSDT", "142.37", "0.0100", "0.01", price_decimals=4, quantity_decimals=2, funding_hours=4),
    instrument("XRPUSDT", "2.1874", "0.0001", "0.1"),
    instrument("DOGEUSDT", "0.13855", "0.00001", "1"),
    instrument("BNBUSDT", "612.34", "0.010", "0.01", price_decimals=3),
    instrument("ADAUSDT", "0.5123", "0.0001", "1", price_decimals=5),
    instrument("LINKUSDT", "13.921", "0.001", "0.01"),
    instrument("AVAXUSDT", "21.054", "0.0010", "1", price_decimals=4),
    instrument("LTCUSDT", "88.47", "0.01", "0.001"),
)
KNOWN_INSTRUMENTS: Final = {row.symbol: row for row in _KNOWN}
_INVENTED_GRIDS: Final = (("0.001", "0.1", 7), ("0.0001", "1", 4), ("0.00001", "1", 3), ("0.01", "0.01", 6))


def default_instrument(symbol: str) -> Instrument:
    """The known row of *symbol*, or an invented one whose price and grid follow from the name alone."""
    if symbol in KNOWN_INSTRUMENTS:
        return KNOWN_INSTRUMENTS[symbol]
    seed = sum((index + 1) * ord(letter) for index, letter in enumerate(symbol))
    tick, step, digits = _INVENTED_GRIDS[seed % len(_INVENTED_GRIDS)]
    tick_e8 = parse_e8(tick)
    assert tick_e8 is not None
    ticks = 10 ** (digits - 1) + seed * 7919 % (9 * 10 ** (digits - 1))
    return instrument(
        symbol, format_e8(ticks * tick_e8), tick, step, atr_bps=30 + seed % 40, funding_hours=(8, 4, 4, 1)[seed % 4]
    )


def default_symbols(count: int) -> list[str]:
    """The first *count* default names: the known ones, then SYN010USDT, SYN011USDT, …"""
    known = list(KNOWN_INSTRUMENTS)
    return (known + [f"SYN{index:03d}USDT" for index in range(len(known), max(count, len(known)))])[:count]


def exchange_info_row(row: Instrument) -> dict[str, Any]:  # Any: the venue's free-form JSON
    """One element of exchangeInfo.symbols, names and types of sheet 4.2."""
    tick, step = format_e8(row.grid_e8, row.price_decimals), format_e8(row.step_e8, row.quantity_decimals)
    lots = row.quantity_text
    return {
        "symbol": row.symbol,
        "pair": row.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": row.delivery_ms,
        "onboardDate": row.onboard_ms,
        "status": row.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": row.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": row.price_decimals,
        "quantityPrecision": row.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": format_e8(row.trigger_protect * 10_000, 4),
        "liquidationFee": "0.012500",
        "marketTakeBound": format_e8(row.market_take_bound * 10_000, 2),
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": row.price_text(row.lowest),
                "maxPrice": format_trimmed(row.max_price * row.tick_e8),
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lots(row.min_lots), "maxQty": lots(row.max_lots), "stepSize": step},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": lots(row.min_lots),
                "maxQty": lots(row.max_market_lots),
                "stepSize": step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": row.max_orders},
            {"filterType": "MIN_NOTIONAL", "notional": format_trimmed(row.min_notional_e8)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": format_e8(row.percent_up * 10_000, 4),
                "multiplierDown": format_e8(row.percent_down * 10_000, 4),
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE", "notionalLimit": "100000000"},
        ],
        "orderTypes": ORDER_TYPES,
        "timeInForce": TIMES_IN_FORCE,
        "permissionSets": ["GRID", "COPY"],
    }
