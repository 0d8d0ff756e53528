"""The only place where the simulator turns decimal text into integers and back.

Everything that decides is an integer: prices in ticks, quantities in lots, money in 1e-8 USDT ("e8").
"""

from __future__ import annotations

import re
from typing import Final

E8: Final = 100_000_000
_DECIMAL: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?")


def parse_e8(text: str) -> int | None:
    """Read a plain non-negative decimal as an integer of 1e-8; None when it is no such number."""
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    whole, fraction = found.group(1), (found.group(2) or "").rstrip("0")
    if len(fraction) > 8:
        return None
    return int(whole) * E8 + int(fraction.ljust(8, "0"))


_CUT: Final = tuple(10 ** (8 - decimals) for decimals in range(9))


def is_whole(text: str, *, longest: int) -> bool:
    """Whether a text is a plain non-negative integer of at most *longest* ASCII digits."""
    return len(text) <= longest and text.isascii() and text.isdigit()


def decimals_of(text: str) -> int:
    """Count the significant decimals of a number's text ("0.0100" has 2)."""
    return len(text.partition(".")[2].rstrip("0"))


def format_e8(value: int, decimals: int = 8) -> str:
    """Write an e8 integer with exactly *decimals* (0…8) digits after the point (cut toward zero)."""
    if value < 0:
        return "-" + format_e8(-value, decimals)
    if decimals == 0:
        return str(value // E8)
    digits = str(value // _CUT[decimals])
    if len(digits) <= decimals:
        digits = digits.zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def format_trimmed(value: int, at_least: int = 0) -> str:
    """Write an e8 integer without trailing zeros, keeping at least *at_least* decimals ("0" for zero)."""
    if value == 0:
        return "0"
    text = format_e8(value)
    while text[-1] == "0" and len(text.partition(".")[2]) > at_least:
        text = text[:-1]
    return text.rstrip(".")


def divide_rounded(numerator: int, denominator: int) -> int:
    """Divide integers, halves away from zero (the same for either sign)."""
    assert denominator > 0
    magnitude = (abs(numerator) * 2 + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude
