"""
The only place for reading the terms of an entry as a person typed them: amounts and prices on the venue's grid.

Nothing is rounded for anybody: a number off the grid is refused with its two neighbours, one out of range with the
range, two levels in the wrong order with both.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from pipeline.core.events import Side
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Lots, NotADecimal, OffGrid, Ticks, format_e8, parse_e8


class Refused(Exception):
    """A command that is answered with a reason; the account turns it into the answer."""


def _decimal(text: str, what: str) -> int:
    try:
        value = parse_e8(text)
    except NotADecimal:
        raise Refused(f"{what} {text!r} is no plain decimal such as 0.25") from None
    if value <= 0:
        raise Refused(f"{what} {text} is not above zero")
    return value


def _on_grid(text: str, what: str, read: Callable[[str], int], step: int) -> int:
    value = _decimal(text, what)
    try:
        return read(text)
    except OffGrid:
        below = value - value % step
        near = [format_e8(grid) for grid in (below, below + step) if grid > 0]
        hint = f"{' or '.join(near)} would be allowed"
        raise Refused(f"{what} {text} is off the grid of {format_e8(step)}: {hint}") from None


def size(*, quantity: str, notional: str, instrument: Instrument, largest: E8) -> tuple[Lots, E8]:
    """Quantity in lots (0: by notional) and notional in E8 USDT (0: by quantity), one of them; *largest* bounds it."""
    if bool(quantity) == bool(notional):
        found = "both were given" if quantity else "none was given"
        raise Refused(f"say how much: a quantity or a notional in USDT, one of them; {found}")
    if quantity:
        lots = _on_grid(quantity, "quantity", instrument.lots, instrument.step_e8)
        if not instrument.min_lots <= lots <= instrument.max_lots:
            low, high = instrument.quantity_text(instrument.min_lots), instrument.quantity_text(instrument.max_lots)
            raise Refused(f"quantity {quantity} is outside what the venue allows: {low} to {high}")
        return Lots(lots), E8(0)
    value = _decimal(notional, "notional")
    if not instrument.min_notional_e8 <= value <= largest:
        low, high = format_e8(instrument.min_notional_e8), format_e8(largest)
        raise Refused(
            f"notional {notional} is outside what is allowed: {low} (the venue's least) to {high} USDT "
            "(limits.max_notional_usdt)"
        )
    return Lots(0), E8(value)


def levels(
    *, side: Side, stop: str, target: str, last_target: str, instrument: Instrument
) -> tuple[Ticks, Ticks, Ticks]:
    """Stop, target and last target on the grid (0: by the tables), each on its side of the others."""
    named = (("stop", stop), ("target", target), ("last target", last_target))
    ticks: list[int] = []
    for what, text in named:
        if not text:
            ticks.append(0)
            continue
        price = _on_grid(text, what, instrument.ticks, instrument.tick_e8)
        if not instrument.min_price_ticks <= price <= instrument.max_price_ticks:
            low, high = (
                instrument.price_text(instrument.min_price_ticks),
                instrument.price_text(instrument.max_price_ticks),
            )
            raise Refused(f"{what} {text} is outside what the venue allows: {low} to {high}")
        ticks.append(price)
    given = [(what, text, price) for (what, text), price in zip(named, ticks, strict=True) if price]
    word, relation = ("long", "below") if side is Side.BUY else ("short", "above")
    for (what, text, price), (other, other_text, other_price) in pairwise(given):
        if (other_price - price) * side.sign <= 0:
            raise Refused(
                f"the {what} of a {word} lies {relation} its {other}: found {what} {text} and {other} {other_text}"
            )
    return Ticks(ticks[0]), Ticks(ticks[1]), Ticks(ticks[2])
