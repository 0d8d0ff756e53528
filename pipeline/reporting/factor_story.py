"""The only place that tells published factors in words: each value, what it stands on, and why one is not ready."""

from __future__ import annotations

from typing import Final

from pipeline.core.scores import Scores
from pipeline.core.units import format_e8
from pipeline.reporting import words
from pipeline.wire.records import FactorRow, FactorsRecord

NAMES: Final = {
    "T": "trend",
    "M": "momentum",
    "S": "structure",
    "V": "volume",
    "C": "volume delta",
    "O": "open interest",
    "B": "basis, funding",
    "Q": "liquidations",
    "L": "liquidity",
    "I": "independence",
    "F": "fund leading",
}
REGIMES: Final = {
    "up_up": "long build-up",
    "up_dn": "short covering",
    "dn_up": "short build-up",
    "dn_dn": "long unwinding",
    "flat": "flat",
}


def told(record: FactorsRecord) -> str:
    """The factors of one symbol, a line each, under what they say together."""
    rows = [
        f"{record.symbol} factors at {words.moment(record.at_ms)} (line {record.cause}), price "
        f"{format_e8(record.price)}",
        together(record.scores),
        *(f"  {letter} {NAMES[letter]:<15}{row_told(row)}" for letter, row in record.factors.items()),
    ]
    if record.provisional:
        values = ", ".join(f"{letter} {row.value:+.1f}" for letter, row in record.provisional.items() if row.ready)
        rows.append(f"  if the forming bar closed now: {values} (provisional: nothing decides on it)")
    levels = _levels(record.scores)
    return "\n".join([*rows, levels] if levels else rows)


def briefly(record: FactorsRecord) -> str:
    """The factors of one symbol in one line: together, then each that is ready with its quality, and who is missing."""
    ready = [f"{letter} {row.value:+.0f} ({row.quality:.2f})" for letter, row in record.factors.items() if row.ready]
    missing = [letter for letter, row in record.factors.items() if not row.ready]
    return (
        f"factors of {words.moment(record.at_ms)} (line {record.cause}):{together(record.scores)}; "
        + ", ".join(ready)
        + (f"; not ready: {' '.join(missing)}" if missing else "")
    )


def together(scores: Scores) -> str:
    """E, odds, coverage, labels and flags of the scores."""
    said = [
        f"  E {scores.score / 1_000:+.1f}",
        f"P up {scores.odds_up / 1e6:.2f} (long {scores.odds_long / 1e6:.2f}, short {scores.odds_short / 1e6:.2f})",
        f"coverage {scores.coverage / 1_000:.2f}{'' if scores.tradable else ', too little to trade'}",
    ]
    if scores.trend:
        said.append(f"trend {scores.trend}")
    if scores.regime:
        said.append(REGIMES[scores.regime])
    flags = ("crowded", "cascade_up", "cascade_down", "exhausted", "absorption")
    said += [name.replace("_", " ") for name in flags if getattr(scores, name)]
    if scores.carry_extreme:
        said.append(f"extreme carry, {'longs' if scores.carry_extreme > 0 else 'shorts'} pay")
    vetoes = [f"no {side}: {reason}" for side, whys in _vetoes(scores) for reason in whys]
    return ", ".join([*said, *vetoes])


def _vetoes(scores: Scores) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("long", scores.vetoes_long), ("short", scores.vetoes_short)


def row_told(row: FactorRow) -> str:
    """Value, quality, age and detail of one factor, or why it has nothing to say."""
    versions = "/".join(map(str, row.input_version))
    if not row.ready:
        return f"not ready: {row.detail.get('missing', 'no reason given')} (inputs {versions})"
    detail = " ".join(f"{name} {_short(value)}" for name, value in row.detail.items())
    asof = words.moment(row.asof_ms)
    return f"{row.value:+7.1f}  quality {row.quality:.2f}  as of {asof}  inputs {versions}  {detail}"


def _short(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.4g}"


def _levels(scores: Scores) -> str:
    """Swings and ranges in ticks."""
    if not scores.swing_high and not scores.swing_low:
        return ""
    return (
        f"  levels in ticks: swing high {scores.swing_high}, swing low {scores.swing_low}, ATR 5m "
        f"{scores.atr_5m_milliticks / 1_000:.1f}, ATR 1h {scores.atr_1h_milliticks / 1_000:.1f}"
    )
