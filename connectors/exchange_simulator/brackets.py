"""The only place with notional brackets: leverage limits, maintenance margin and the liquidation price (sheet 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Final

import msgspec

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.instruments import Instrument

# BTCUSDT as of 2024-10 (sheet 7.4, "illustrative"): highest leverage, notional up to in USDT, maintenance in 1e-4.
_TABLE: Final = (
    (125, 50_000, 40), (100, 600_000, 50), (75, 3_000_000, 65), (50, 12_000_000, 100), (25, 70_000_000, 200),
    (20, 100_000_000, 250), (10, 230_000_000, 500), (5, 480_000_000, 1_000), (4, 600_000_000, 1_250),
    (3, 800_000_000, 1_500), (2, 1_200_000_000, 2_500), (1, 1_800_000_000, 5_000),
)  # fmt: skip
# The two deep markets have the table itself, every other symbol a twentieth of its sizes.
_DEEP: Final = ("BTCUSDT", "ETHUSDT")
_SHALLOW: Final = 20


class Bracket(msgspec.Struct, frozen=True):
    """One row: money in e8 USDT, *rate* in 1e-4, *cum* the maintenance amount that makes the sum continuous."""

    number: int
    leverage: int
    floor: int
    cap: int
    rate: int
    cum: int


class Leg(msgspec.Struct, frozen=True):
    """One open position for the liquidation price: signed lots and the signed cost of them, e8 USDT."""

    lots: int
    cost: int


@lru_cache(maxsize=4)
def _rows(divisor: int) -> tuple[Bracket, ...]:
    rows: list[Bracket] = []
    floor = cum = before = 0
    for number, (leverage, cap_usdt, rate) in enumerate(_TABLE, 1):
        cap = cap_usdt * E8 // divisor
        cum += floor * (rate - before) // 10_000
        rows.append(Bracket(number, leverage, floor, cap, rate, cum))
        floor, before = cap, rate
    return tuple(rows)


def brackets_of(row: Instrument) -> tuple[Bracket, ...]:
    """The brackets of a symbol, smallest notional first."""
    return _rows(1 if row.symbol in _DEEP else _SHALLOW)


def bracket_at(row: Instrument, notional: int) -> Bracket:
    """The bracket of a notional (its size), e8 USDT; beyond the last one, the last."""
    rows = brackets_of(row)
    return next((bracket for bracket in rows if abs(notional) <= bracket.cap), rows[-1])


def maintenance(row: Instrument, notional: int) -> int:
    """Maintenance margin of a notional, e8 USDT: notional × rate − cum."""
    bracket = bracket_at(row, notional)
    return abs(notional) * bracket.rate // 10_000 - bracket.cum if notional else 0


def largest_notional(row: Instrument, leverage: int) -> int:
    """The most a position may be worth at a leverage, e8 USDT."""
    return max(bracket.cap for bracket in brackets_of(row) if bracket.leverage >= leverage)


def liquidation_price(row: Instrument, legs: Sequence[Leg], *, base: int) -> int:
    """
    The mark at which *legs* of one symbol are liquidated, e8; 0 when out of reach.

    LP = (base + cum − side·size·EP) / (size·MMR − side·size), summed over the legs of hedge mode. *base* is the wallet
    that stands behind them, less what other positions need. Each leg's bracket is the one its own value falls into at
    that price, as in `maintenance`.
    """
    size = sum(abs(leg.lots) for leg in legs)
    signed = sum(leg.lots for leg in legs)
    cost = sum(leg.cost for leg in legs)
    if size == 0:
        return 0
    for chosen in product(brackets_of(row), repeat=len(legs)):
        numerator = (base + sum(bracket.cum for bracket in chosen) - cost) * E8 * 10_000
        weighted = sum(abs(leg.lots) * bracket.rate for leg, bracket in zip(legs, chosen, strict=True))
        denominator = row.step_e8 * (weighted - signed * 10_000)
        if denominator == 0:
            continue
        price = numerator // denominator
        if price > 0 and all(
            bracket.floor <= row.value_at_e8(price, abs(leg.lots)) <= bracket.cap
            for leg, bracket in zip(legs, chosen, strict=True)
        ):
            return price
    return 0


def bracket_rows(row: Instrument) -> list[dict[str, Any]]:  # Any: the venue's JSON, here numbers
    """The `brackets` of GET leverageBracket: JSON numbers, not text (sheet 4.5)."""
    return [
        {
            "bracket": bracket.number,
            "initialLeverage": bracket.leverage,
            "notionalCap": bracket.cap // E8,
            "notionalFloor": bracket.floor // E8,
            "maintMarginRatio": bracket.rate / 10_000,
            "cum": bracket.cum / E8,
        }
        for bracket in brackets_of(row)
    ]
