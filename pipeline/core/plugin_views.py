"""
The only place for what a plug-in is shown of a symbol, and for what a symbol remembers of a plug-in.

A plug-in runs in a process of its own and never inside the fold (docs/adr/0012-plug-ins-answer-through-the-log.md). The
core asks (``commands.AskPlugins``), the answer comes back as a line of ``inputs``, and ``core.plugins`` admits or
refuses it by rule. So everything in here is integers: prices on the grid in ticks, off it in E8, quantities in lots.
"""

from __future__ import annotations

import msgspec

from pipeline.core.events import Side
from pipeline.core.policies import PluginRow
from pipeline.core.units import E8, Lots, Milliseconds, Ticks


class PluginBar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One closed 5m bar; prices in ticks, quantities in lots."""

    open_ms: Milliseconds
    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    lots: Lots
    taker_lots: Lots


class PluginFactor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a built-in factor says: 1/1000 of a point, quality in per mille (0: missing, the value means nothing)."""

    value: int
    quality: int
    ready: bool


class PluginPosition(msgspec.Struct, frozen=True, gc=False):
    """The open position; ``lots`` unsigned, ``risk`` is R as a distance, ``best`` and ``worst`` mark prices so far."""

    id: str
    side: Side
    lots: Lots
    entry: E8
    stop: Ticks
    risk: E8
    best: E8
    worst: E8
    opened_ms: Milliseconds
    bars: int
    first_target_done: bool


class PluginView(msgspec.Struct, frozen=True):
    """
    What a plug-in is asked about: one symbol as of log time ``at_ms``. Prices that are not known are 0.

    ``tick`` and ``step`` are the grid. ``score`` is E in 1/1000 of a point, ``coverage`` in per mille. ``bars`` are
    closed and without a gap, oldest first, as many as the configuration asks for and the symbol has.
    """

    symbol: str
    at_ms: Milliseconds
    tick: E8
    step: E8
    mark: E8
    bid: Ticks
    ask: Ticks
    funding_rate_e8: int
    bar_close_ms: Milliseconds
    score: int
    coverage: int
    trend: str
    regime: str
    market_trend: str
    factors: dict[str, PluginFactor]
    bars: list[PluginBar]
    position: PluginPosition | None


# ------------------------------------------------------------------------------------------------------------- memory


class PluginState(msgspec.Struct):
    """
    What a symbol remembers of one plug-in; part of ``SymbolState``. Times in log ms.

    ``ask`` is the id of the open question (empty: none), ``due_ms`` its deadline, ``cause`` the place of the line that
    asked. ``off`` says why it is switched off here (empty: it is not). ``missed`` counts questions in a row without an
    answer in time, ``refused`` answers that were refused. A factor keeps its value, quality and the close of the bar it
    speaks of; a signal the side it maintains (+1, −1, 0).
    """

    row: PluginRow | None = None
    code: str = ""
    ask: str = ""
    cause: str = ""
    due_ms: int = 0
    next_ms: int = 0
    bar_ms: int = 0  # close of the bar that the open question is about
    off: str = ""
    missed: int = 0
    refused: int = 0
    value: int = 0
    quality: int = 0
    value_ms: int = 0
    active: int = 0
    tightened_ms: int = -60_000  # before all time: the first move is free
