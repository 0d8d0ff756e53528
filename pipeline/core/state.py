"""
The only place for everything that ``engine.step`` reads about one symbol, and for its bytes and digest.

A ``SymbolState`` and the position it has applied are one thing (architecture section 3, point 3): whatever decides
lives in here and advances with the symbol's own lines, so that the same history gives the same bytes.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from pipeline.core.bars import BarHistory
from pipeline.core.book import Book, BookImage
from pipeline.core.events import Bar, MarkPrice, Quote, Stamp, TradingMode
from pipeline.core.factor_set import FactorState
from pipeline.core.identity import symbol_tag
from pipeline.core.instruments import Instrument
from pipeline.core.liquidation_map import Bracket, LiquidationMap
from pipeline.core.plugin_views import PluginState
from pipeline.core.policies import Policy
from pipeline.core.positions import Position
from pipeline.core.scores import Scores, Shown
from pipeline.core.signal_state import SignalState
from pipeline.core.wall_state import WallState

SCHEMA = 2  # changes with the meaning of any field below; part of the fold digest through this file's bytes


class DataAsk(msgspec.Struct):
    """When a kind of data may be asked for again (log ms), and how often in a row it was asked in vain."""

    next_ms: int = 0
    tries: int = 0


class ForeignPosition(msgspec.Struct):
    """A quantity on the venue that no intent of ours explains (domain 6.7: alarmed, never closed silently)."""

    lots: int = 0
    since_ms: int = 0
    told: bool = False
    hand_close: str = ""  # a person asked to close it before it was taken in
    hand_cause: str = ""


class SymbolState(msgspec.Struct):
    """
    One symbol's fold. Mutable; only ``engine`` and what it calls change it.

    ``applied`` is (offset, line) of the last line folded, ``lines`` counts them, ``log_ms`` is log time, ``append_ms``
    the running maximum of append times (freshness is judged by the later of the two). ``feeds`` maps the name of a feed
    that is not whole to the reason.
    """

    symbol: str
    tag: str
    log_identity: str = ""
    applied: tuple[int, int] = (-1, -1)
    lines: int = 0
    log_ms: int = 0
    append_ms: int = 0
    late_lines: int = 0
    sources: dict[str, tuple[str, int]] = msgspec.field(default_factory=dict)
    chain: str = ""
    halted: str = ""
    policy: Policy = msgspec.field(default_factory=Policy)
    mode: TradingMode = TradingMode.REDUCE_ONLY
    mode_reason: str = "no trading state read yet"
    mode_ms: int = -1
    shortlisted: bool = False
    listed_ms: int = 0  # since when
    signal: SignalState = msgspec.field(default_factory=SignalState)
    instrument: Instrument | None = None
    feeds: dict[str, str] = msgspec.field(default_factory=dict)
    quote: Quote | None = None
    quote_stamp: Stamp | None = None
    mark: MarkPrice | None = None
    mark_stamp: Stamp | None = None
    book: Book = msgspec.field(default_factory=Book)
    bars: BarHistory = msgspec.field(default_factory=BarHistory)
    forming: Bar | None = None  # the open bar: shown to people as provisional values, never decided on
    open_interest_lots: int = 0
    open_interest_ms: int = 0
    asks: dict[str, DataAsk] = msgspec.field(default_factory=dict)
    wake_ms: int = 0  # a tick before this log time has nothing to do while no position is held
    position: Position | None = None
    ended: list[Position] = msgspec.field(default_factory=list)
    foreign: ForeignPosition | None = None
    unknown_fills: list[str] = msgspec.field(default_factory=list)
    heard: list[str] = msgspec.field(default_factory=list)  # digests of the latest user events: each is told twice
    stated_ms: int = 0  # venue time of the newest statement of a quantity while no position is ours
    factors: FactorState | None = None  # every accumulator of the factors; None until the instrument is known
    scores: Scores | None = None  # what decisions read of them, as of the symbol's last turn
    shown: Shown | None = None  # as of which they were last published
    scored_close_ms: int = 0  # close of the newest bar that any scores have spoken of
    walls: WallState | None = None  # of the order book, while a position is held or the symbol is shortlisted
    brackets: list[Bracket] = msgspec.field(default_factory=list)  # leverage brackets, smallest first; empty: unknown
    liquidations: LiquidationMap | None = None  # where liquidations were, and by a model may be
    plugins: dict[str, PluginState] = msgspec.field(default_factory=dict)  # by name, of those in the policy


def new_state(symbol: str, *, log_identity: str = "") -> SymbolState:
    """The state of a symbol before its first line."""
    return SymbolState(symbol=symbol, tag=symbol_tag(symbol), log_identity=log_identity)


def _to_plain(value: Any) -> Any:  # msgspec's hook is untyped
    if isinstance(value, Book):
        return value.image()
    raise TypeError(f"a state cannot hold {type(value).__name__}")


def _from_plain(kind: type, value: Any) -> Any:  # msgspec's hook is untyped
    if kind is Book:
        return Book.from_image(msgspec.convert(value, BookImage))
    raise TypeError(f"a state cannot hold {kind.__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_plain)
_decoder = msgspec.msgpack.Decoder(SymbolState, dec_hook=_from_plain)


def encode(state: SymbolState) -> bytes:
    """Write the whole state; the same history gives the same bytes (dicts keep insertion order)."""
    return _encoder.encode(state)


def decode(data: bytes) -> SymbolState:
    """Read what ``encode`` wrote; raises msgspec.DecodeError for bytes of another schema."""
    return _decoder.decode(data)


def digest(state: SymbolState) -> str:
    """Hash of the whole state, hex."""
    return blake2b(_encoder.encode(state), digest_size=16).hexdigest()
