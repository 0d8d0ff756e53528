"""The only place where the author of a plug-in gets views for tests (docs/plugins.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.plugins.api import Bar, Direction, FactorSeen, Plugin, Position, Said, View, answer_of

BAR_MS = 300_000


def make_position(side: Direction = "long", *, entry: float = 100.0, risk: float = 2.0, **changes: Any) -> Position:
    """An open position of one coin whose stop is one R away; *changes* are fields of ``Position``."""
    sign = 1 if side == "long" else -1
    fields: dict[str, Any] = {
        "side": side,
        "size": 1.0,
        "entry": entry,
        "stop": entry - sign * risk,
        "risk": risk,
        "best": entry,
        "worst": entry,
        "opened_ms": 0,
        "bars": 5,
        "first_target_done": False,
    }
    return Position(**(fields | changes))


def make_view(
    closes: Sequence[float] = (100.0,) * 48,
    *,
    position: Position | None = None,
    factors: Mapping[str, float] | None = None,
    **changes: Any,
) -> View:
    """
    A view whose bars close at *closes* (high and low 0.1 % away, 10 coins each), the price at the last of them.

    *factors* are values by letter, all of quality 1; *changes* are fields of ``View``.
    """
    bars = tuple(
        Bar(n * BAR_MS, close, close * 1.001, close * 0.999, close, 10.0, 5.0) for n, close in enumerate(closes)
    )
    price = closes[-1] if closes else 100.0
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "at_ms": len(bars) * BAR_MS,
        "price": price,
        "bid": price - 0.01,
        "ask": price + 0.01,
        "tick": 0.01,
        "funding_rate": 0.0001,
        "bar_close_ms": len(bars) * BAR_MS,
        "score": 0.0,
        "coverage": 1.0,
        "trend": "flat",
        "regime": "flat",
        "market_trend": "flat",
        "factors": {letter: FactorSeen(value, 1.0, True) for letter, value in (factors or {}).items()},
        "bars": bars,
        "position": position,
    }
    return View(**(fields | changes))


def call(plugin: Plugin, view: View, **parameters: float) -> Said:
    """
    Ask the plug-in as the host would: its own parameters but for those given, and what it returns is checked.

    Raises Misuse for what the core would refuse.
    """
    said = plugin.evaluate(view, plugin.parameters | parameters)
    answer_of(plugin.kind, said)
    return said
