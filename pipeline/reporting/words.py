"""The only place for how numbers and times are said to people: money, prices, durations, moments."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.core.units import ONE_E8, format_e8

OUTCOMES = {
    "target": "by target",
    "trailing_stop": "by trailing stop",
    "hard_stop": "by hard stop",
    "breakeven_stop": "by break-even stop",
    "killed": "by the kill switch",
    "closed_by_hand": "by hand",
    "time": "by the time limit",
    "external": "by somebody else",
    "emergency": "by the watchdog",
    "day_loss": "by the day's loss limit",
    "margin": "by the margin ratio",
    "drawdown": "by the drawdown limit",
    "cascade": "by a liquidation cascade",
    "cascade_ended": "by the end of a liquidation cascade",
    "reversal": "by a reversal of the factors",
    "flow": "by a reversal of the flow",
    "regime": "by a broken regime",
    "liquidity": "by a collapse of liquidity",
    "wall": "by an opposing wall",
    "funding": "before funding",
    "no_progress": "without progress",
    "instrument": "before delivery",
    "tightened_stop": "by tightened stop",
    "plugin": "by a plug-in",
}


def money(value_e8: int) -> str:
    """USDT with sign and cents, rounded half away from zero: ``+12.35``."""
    cents = (abs(value_e8) + ONE_E8 // 200) // (ONE_E8 // 100)
    sign = "-" if value_e8 < 0 and cents else "+"
    return f"{sign}{cents // 100}.{cents % 100:02d}"


def price(value_e8: int) -> str:
    """A price as short as it is exact."""
    return format_e8(value_e8)


def moment(at_ms: int) -> str:
    """UTC time of day with milliseconds; the date too when it is needed belongs to the caller."""
    return datetime.fromtimestamp(at_ms / 1_000, tz=UTC).strftime("%H:%M:%S.%f")[:-3]


def day(at_ms: int) -> str:
    """UTC date."""
    return datetime.fromtimestamp(at_ms / 1_000, tz=UTC).strftime("%Y-%m-%d")


def duration(length_ms: int) -> str:
    """How long: ``850 ms``, ``12.3 s``, ``4 min 05 s``, ``3 h 10 min``."""
    if length_ms < 1_000:
        return f"{length_ms} ms"
    if length_ms < 60_000:
        return f"{length_ms / 1_000:.1f} s"
    seconds = length_ms // 1_000
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3_600} h {seconds % 3_600 // 60:02d} min"


def outcome(word: str) -> str:
    """How a position ended, in words."""
    return OUTCOMES.get(word, word.replace("_", " "))
