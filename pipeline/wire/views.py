"""The only place for the rows of the market view tables: what people and the dashboard read, never what decides."""

from __future__ import annotations

import msgspec

from pipeline.core.events import Level
from pipeline.core.scores import Scores
from pipeline.core.units import E8, Milliseconds
from pipeline.wire.records import FactorRow


class PriceView(msgspec.Struct, frozen=True):
    """Table ``prices``, key = symbol: best bid and ask, mark and index; E8, 0 while unknown."""

    symbol: str
    bid: E8
    ask: E8
    mark: E8
    index: E8
    quote_ms: Milliseconds
    mark_ms: Milliseconds
    log_ms: Milliseconds


class BookView(msgspec.Struct, frozen=True):
    """Table ``books``, key = symbol: the best levels of each side in (ticks, lots), best first."""

    symbol: str
    status: str
    last_update_id: int
    tick_e8: int
    step_e8: int
    bids: list[Level]
    asks: list[Level]
    log_ms: Milliseconds


class FactorView(msgspec.Struct, frozen=True):
    """
    Table ``factors``, key = symbol: what is estimated, and why entries are closed (empty: open).

    ``factors`` as of ``log_ms``; ``scores`` are those that decisions read, of the symbol's last turn.
    """

    symbol: str
    atr_5m: E8
    atr_1h: E8
    spread: E8
    bars: int
    bars_ready: bool
    entry_blocks: list[str]
    log_ms: Milliseconds
    factors: dict[str, FactorRow] = {}
    scores: Scores | None = None
