"""
The only place for which route serves a stream and which symbols a frame concerns (venue sheet 1.2, 2, 3.2).

A stream asked for on the wrong route is accepted and stays silent for ever (venue sheet 1.3): the route follows from
the table below, and a name that is not in it is an error before anything is sent. Frames are looked at only as far as
their symbols; the bytes stay untouched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec


class Route(StrEnum):
    """Path under which the venue serves a group of streams."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"


class UnknownStream(ValueError):
    """The name is no stream of the venue's table; the text names it."""


_S = r"[^@!/\s]+"  # symbols may hold other letters than ASCII ones
_INTERVAL = r"(?:1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M)"

# Venue sheet 1.2, one row per form of name.
ROUTES: Final[tuple[tuple[str, Route], ...]] = (
    (rf"{_S}@bookTicker", Route.PUBLIC),
    (r"!bookTicker", Route.PUBLIC),
    (rf"{_S}@depth(?:5|10|20)(?:@100ms|@500ms)?", Route.PUBLIC),
    (rf"{_S}@depth(?:@100ms|@500ms)?", Route.PUBLIC),
    (rf"{_S}@rpiDepth@500ms", Route.PUBLIC),
    (rf"{_S}@aggTrade", Route.MARKET),
    (rf"{_S}@markPrice(?:@1s)?", Route.MARKET),
    (r"!markPrice@arr(?:@1s)?", Route.MARKET),
    (rf"{_S}@kline_{_INTERVAL}", Route.MARKET),
    (rf"{_S}_[a-z_]+@continuousKline_{_INTERVAL}", Route.MARKET),
    (rf"{_S}@miniTicker", Route.MARKET),
    (r"!miniTicker@arr", Route.MARKET),
    (rf"{_S}@ticker", Route.MARKET),
    (r"!ticker@arr", Route.MARKET),
    (rf"{_S}@forceOrder", Route.MARKET),
    (r"!forceOrder@arr", Route.MARKET),
    (rf"{_S}@compositeIndex", Route.MARKET),
    (r"!contractInfo", Route.MARKET),
    (r"!assetIndex@arr", Route.MARKET),
    (rf"{_S}@assetIndex", Route.MARKET),
    (r"tradingSession", Route.MARKET),
)
_COMPILED: Final = tuple((re.compile(pattern), route) for pattern, route in ROUTES)


def route_of(stream: str) -> Route:
    """The route that serves *stream*; raises UnknownStream, naming it, for a name outside the venue's table."""
    for pattern, route in _COMPILED:
        if pattern.fullmatch(stream):
            symbol, at, _ = stream.partition("@")
            if (
                at and symbol[:1] != "!" and symbol != symbol.lower()
            ):  # venue sheet 1.2: the symbol part must be lower case, else silence
                raise UnknownStream(f"{stream!r}: the symbol must be written in lower case")
            return route
    raise UnknownStream(f"{stream!r} is no stream of the venue (openInterest, for one, has none: venue sheet 2.11)")


# ------------------------------------------------------------------------------------------------ market frames


TEXT_BYTES: Final = 200  # of the venue's words in a text for people: a hostile one has as many as a frame


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_PREFIX: Final = b'{"stream":"'
_decode_combined = msgspec.json.Decoder(_Combined).decode
# What decoding raises for bytes that are not what they should be: bad JSON, bad UTF-8, nesting without end.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def stream_of(frame: bytes) -> bytes | None:
    """The stream name of a combined frame, None when it is no such frame. The venue's own form costs one search."""
    if frame.startswith(_PREFIX):
        end = frame.find(b'"', len(_PREFIX))
        name = frame[len(_PREFIX) : end]
        if b"\\" not in name:
            return name
    try:
        return _decode_combined(frame).stream.encode()
    except UNREADABLE:
        return None


class Reply(msgspec.Struct):
    """The venue's word on a control message (venue sheet 1.4): ``result`` or ``error`` with the request's id."""

    id: int | str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")

    @property
    def refusal(self) -> str:
        """What the venue found wrong; empty when it accepted."""
        return bytes(self.error)[:TEXT_BYTES].decode(errors="replace")


_decode_reply = msgspec.json.Decoder(Reply).decode


def reply_of(frame: bytes) -> Reply | None:
    """The control reply in *frame*, None when it is something else."""
    try:
        reply = _decode_reply(frame)
    except UNREADABLE:
        return None
    return reply if bytes(reply.error) or bytes(reply.result) else None


class _Told(msgspec.Struct):
    e: str = ""


class _Notice(msgspec.Struct):
    e: str = ""
    event: _Told | None = None
    data: _Told | None = None


_NOTICE: Final = "serverShutdown"
_decode_notice = msgspec.json.Decoder(_Notice).decode


def is_shutdown_notice(frame: bytes) -> bool:
    """True when the venue says that it will close this connection soon: bare, wrapped or combined (venue sheet 1.5)."""
    if _NOTICE.encode() not in frame:
        return False
    try:
        notice = _decode_notice(frame)
    except UNREADABLE:
        return False
    return _NOTICE in (notice.e, notice.event and notice.event.e, notice.data and notice.data.e)


class _Named(msgspec.Struct):
    s: str


class _ForceOrder(msgspec.Struct):
    o: _Named


class _ForceOrders(msgspec.Struct):
    data: _ForceOrder | list[_ForceOrder]  # single objects despite the stream's name (venue sheet 2.9)


class _ContractInfo(msgspec.Struct):
    data: _Named


def _reader(kind: Any, symbols: Callable[[Any], list[str]]) -> Callable[[bytes], tuple[str, ...]]:
    # Any: the decoder and the function of one row belong together, which the row itself shows.
    decode = msgspec.json.Decoder(kind).decode

    def read(frame: bytes) -> tuple[str, ...]:
        return tuple(dict.fromkeys(symbols(decode(frame))))

    return read


_ALL_MARKET: Final[dict[str, Callable[[bytes], tuple[str, ...]]]] = {
    "!forceOrder@arr": _reader(
        _ForceOrders, lambda f: [order.o.s for order in (f.data if isinstance(f.data, list) else [f.data])]
    ),
    "!contractInfo": _reader(_ContractInfo, lambda f: [f.data.s]),
}
ALL_MARKET_STREAMS: Final = tuple(_ALL_MARKET)


class Refused(msgspec.Struct, frozen=True):
    """
    The frame is not understood; it goes to quarantine with this reason. ``hole``: it may have been an event that
    somebody needs, and not only a new one that nobody knows.
    """

    reason: str
    hole: bool = False


def all_market_symbols(stream: str, frame: bytes) -> tuple[str, ...] | Refused:
    """The symbols that a frame of an all-market stream concerns, each once, in the frame's order."""
    try:
        return _ALL_MARKET[stream](frame)
    except UNREADABLE as error:
        return Refused(f"{stream}: no symbol found: {error}")


# -------------------------------------------------------------------------------------------------- user events


class UserEvent(msgspec.Struct, frozen=True):
    """Name of a user event (venue sheet 3.2) and the symbols it concerns; none for account-wide ones."""

    name: str
    symbols: tuple[str, ...]


class _Head(msgspec.Struct):
    e: str


class _Account(msgspec.Struct):
    P: list[_Named] = []
    S: str = ""  # only for FUNDING_FEE


class _AccountUpdate(msgspec.Struct):
    a: _Account


class _OrderUpdate(msgspec.Struct):
    o: _Named


class _MarginCall(msgspec.Struct):
    p: list[_Named] = []


class _ConfigUpdate(msgspec.Struct):
    ac: _Named | None = None


_by_order = _reader(_OrderUpdate, lambda f: [f.o.s])
_nobody = _reader(_Head, lambda f: [])

# Venue sheet 3.2: event → how its symbols are found.
USER_EVENTS: Final[dict[str, Callable[[bytes], tuple[str, ...]]]] = {
    "ORDER_TRADE_UPDATE": _by_order,
    "TRADE_LITE": _reader(_Named, lambda f: [f.s]),
    "ACCOUNT_UPDATE": _reader(_AccountUpdate, lambda f: [row.s for row in f.a.P] + ([f.a.S] if f.a.S else [])),
    "ALGO_UPDATE": _by_order,
    "ACCOUNT_CONFIG_UPDATE": _reader(_ConfigUpdate, lambda f: [f.ac.s] if f.ac else []),
    "MARGIN_CALL": _reader(_MarginCall, lambda f: [row.s for row in f.p]),
    "listenKeyExpired": _nobody,
    "STRATEGY_UPDATE": _nobody,
    "GRID_UPDATE": _nobody,
    "CONDITIONAL_ORDER_TRIGGER_REJECT": _nobody,  # deprecated 2025-12-15
}
LISTEN_KEY_EXPIRED: Final = "listenKeyExpired"
_decode_head = msgspec.json.Decoder(_Head).decode


def user_event(frame: bytes) -> UserEvent | Refused:
    """What a bare frame of the private route is and whom it concerns."""
    try:
        name = _decode_head(frame).e
    except UNREADABLE as error:
        return Refused(f"no user event: {error}", hole=True)
    symbols = USER_EVENTS.get(name)
    if symbols is None:
        return Refused(f"unknown user event {name[:TEXT_BYTES]!r}")
    try:
        return UserEvent(name, symbols(frame))
    except UNREADABLE as error:
        return Refused(f"{name}: no symbol found: {error}", hole=True)
