"""The only place for the units in which the pipeline counts, and for the exact conversions between them.

Money and quantities are integers everywhere a decision is taken:

* ``Ticks``: a price in multiples of the symbol's tick size (PRICE_FILTER.tickSize of the venue).
* ``Lots``: a quantity in multiples of the symbol's step size (LOT_SIZE.stepSize).
* ``E8``: a decimal times 10**8. The venue never sends more than eight decimals, so prices off the tick grid
  (mark price, average entry price), notionals in USDT and fees are exact in it.
* ``Milliseconds``: Unix time in ms, as the venue counts. ``Nanoseconds``: Unix time in ns, as receive stamps count.
"""

from __future__ import annotations

from typing import NewType

Ticks = NewType("Ticks", int)
Lots = NewType("Lots", int)
E8 = NewType("E8", int)
Milliseconds = NewType("Milliseconds", int)
Nanoseconds = NewType("Nanoseconds", int)

ONE_E8 = 100_000_000
DECIMALS_E8 = 8


class NotADecimal(ValueError):
    """The text is not a plain decimal number of at most eight decimals (venue sheet section 0: ``str-dec``)."""


class OffGrid(ValueError):
    """The decimal is valid but no multiple of the symbol's tick or step (venue filters PRICE_FILTER, LOT_SIZE)."""


def parse_e8(text: str) -> E8:
    """
    Read a ``str-dec`` exactly into units of 10**-8.

    Raises NotADecimal for anything but ``[-]digits[.digits]`` in ASCII, for more than eight significant decimals
    (trailing zeros beyond the eighth are no information and pass) and for more than 30 characters.
    """
    body = text[1:] if text[:1] == "-" else text
    whole, _, fraction = body.partition(".")
    if (
        len(text) > 30
        or not (whole + fraction).isascii()
        or not whole.isdigit()
        or (fraction and not fraction.isdigit())
    ):
        raise NotADecimal(f"not a decimal: {text!r}")
    if len(fraction) > DECIMALS_E8:
        if fraction[DECIMALS_E8:].strip("0"):
            raise NotADecimal(f"more than {DECIMALS_E8} decimals: {text!r}")
        fraction = fraction[:DECIMALS_E8]
    value = int(whole) * ONE_E8 + int(fraction.ljust(DECIMALS_E8, "0"))
    return E8(-value if body is not text else value)


def format_e8(value: int) -> str:
    """Write units of 10**-8 as the shortest decimal that reads back to the same value; whole numbers carry no dot."""
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), ONE_E8)
    if fraction == 0:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:08d}".rstrip("0")


def on_grid(value: int, *, step: int) -> int:
    """Return *value* / *step* (both E8); raises OffGrid when the division leaves a rest."""
    count, rest = divmod(value, step)
    if rest:
        raise OffGrid(f"{format_e8(value)} is no multiple of {format_e8(step)}")
    return count
