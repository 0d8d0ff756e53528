"""The only place for what a symbol remembers between two closed bars about its signals; part of ``SymbolState``."""

from __future__ import annotations

import msgspec


class StrongBar(msgspec.Struct, frozen=True):
    """A bar (by its close) that was strong, and for which side (+1 long, −1 short)."""

    bar_ms: int
    sign: int


class SignalState(msgspec.Struct):
    """
    ``bar_ms`` is the close of the last bar told, ``strong`` the strong ones of the last three, ``active`` the side of
    the signal that is maintained (0: none). ``last_funding_ms`` and ``next_funding_ms`` are the symbol's settlements.
    """

    bar_ms: int = 0
    strong: list[StrongBar] = msgspec.field(default_factory=list)
    active: int = 0
    last_funding_ms: int = 0
    next_funding_ms: int = 0
