"""
The only place where texts of the venue become integers: exact, bounded, remembered, or refused with a reason.

Whatever a hostile or damaged payload can raise while it is read is in ``BAD_INPUT``; anything else is our own fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, cast

import msgspec

from pipeline.core.events import Side
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Lots, NotADecimal, OffGrid, Ticks, on_grid, parse_e8

GRID_TEXTS: Final = 32_768  # texts remembered per grid: about 5 MB; all symbols of one tick share it
GRID_MAX: Final = 2**53  # ticks and lots
AMOUNT_MAX: Final = 2**62  # money and prices in E8 must fit the stored form


class Refused(ValueError):
    """A payload that has the right shape but cannot be true; the text names the field."""


BAD_INPUT: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refused, NotADecimal, OffGrid)


class Grid(dict[str, int]):
    """
    Texts → multiples of ``step_e8``, exact, remembered. Asking for a text that is no decimal, off the grid, below
    ``least`` or beyond 2**53 raises NotADecimal, OffGrid or Refused and remembers nothing.
    """

    __slots__ = ("least", "step_e8")

    def __init__(self, *, step_e8: int, least: int) -> None:
        super().__init__()
        self.step_e8 = step_e8
        self.least = least

    def __missing__(self, text: str) -> int:
        value = on_grid(parse_e8(text), step=self.step_e8)
        if not self.least <= value <= GRID_MAX:
            raise Refused(f"{text} is too small" if value < self.least else f"{text} is out of range")
        if len(self) >= GRID_TEXTS:
            self.clear()
        self[text] = value
        return value


@lru_cache(maxsize=64)
def _grid(step_e8: int, least: int) -> Grid:
    return Grid(step_e8=step_e8, least=least)


class SymbolNumbers:
    """
    The grids of one symbol: ``ticks`` for prices (never zero), ``lots`` for quantities (zero allowed).

    Symbols with one tick share its grid, so what is remembered is bounded by the number of ticks, not of symbols.
    """

    __slots__ = ("instrument", "lots", "symbol", "ticks")

    ticks: Mapping[
        str, Ticks
    ]  # typed by what they give: a call of NewType for each number would cost more than the look-up
    lots: Mapping[str, Lots]

    def __init__(self, symbol: str, instrument: Instrument) -> None:
        self.symbol = symbol
        self.instrument = instrument
        self.ticks = cast("Mapping[str, Ticks]", _grid(instrument.tick_e8, 1))
        self.lots = cast("Mapping[str, Lots]", _grid(instrument.step_e8, 0))


def positive_e8(text: str, name: str) -> E8:
    """A price off the tick grid (mark, index, average); raises Refused for zero and below."""
    value = parse_e8(text)
    if not 0 < value <= AMOUNT_MAX:
        raise Refused(f"{name}: {text} is not a positive price")
    return value


def amount_e8(text: str, name: str) -> E8:
    """A decimal of either sign that fits the stored form."""
    value = parse_e8(text)
    if abs(value) > AMOUNT_MAX:
        raise Refused(f"{name}: {text} is out of range")
    return value


def signed_lots(instrument: Instrument, text: str, name: str) -> Lots:
    """A position's amount."""
    lots = instrument.lots(text)
    if abs(lots) > GRID_MAX:
        raise Refused(f"{name}: {text} is out of range")
    return lots


def floored_lots(instrument: Instrument, text: str, name: str) -> Lots:
    """
    A sum of many quantities, above zero and rounded down to lots.

    Only the lots must fit the stored form: coins that cost a millionth are counted by the hundred thousand million.
    """
    value = parse_e8(text)
    lots = value // instrument.step_e8
    if value <= 0 or lots > GRID_MAX:
        raise Refused(f"{name}: {text} is no quantity that can be open")
    return Lots(lots)


_SIDES: Final = {side.value: side for side in Side}


def side_of(text: str, name: str) -> Side:
    """BUY or SELL; raises Refused for anything else."""
    side = _SIDES.get(text)
    if side is None:
        raise Refused(f"{name}: unknown side {text!r}")
    return side


def require_one_way(position_side: str, name: str) -> None:
    """Hedge-mode rows (LONG, SHORT) cannot be folded: one symbol has one position here (venue sheet 6.4)."""
    if position_side != "BOTH":
        raise Refused(f"{name}: {position_side!r}, but the account must be in one-way mode (BOTH)")


def order_id_of(text: str, name: str) -> int:
    """An order id sent as text, 0 for none (ALGO_UPDATE ``ai`` before the trigger)."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(f"{name}: {text[:30]!r} is no order id")
    return int(text)


def require_symbol(symbol: str, wanted: str, name: str) -> None:
    """A frame or an answer of another symbol than its line's."""
    if symbol != wanted:
        raise Refused(f"{name}: {symbol[:40]!r} in a line of {wanted}")
