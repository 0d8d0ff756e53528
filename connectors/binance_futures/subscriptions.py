"""
The only place for what is subscribed: kinds of streams with their rates, what configured names mean, shards of sockets.

Kinds are data: how soon the first frame must come and how long silence is believable. A thin symbol may rightly be
silent on trades and candles, and all-market streams on anything (venue sheet 1.3), so these have no first deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from connectors.binance_futures.routing import ALL_MARKET_STREAMS, Route, UnknownStream, route_of

MAX_STREAMS_PER_SOCKET: Final = 200  # the venue takes 1,024 (venue sheet 1.5); fewer break less at once
FIRST_FRAME_MS: Final = 10_000
USER_STREAM: Final = "user"  # our name for what comes by listen key; the venue has none


class Kind(msgspec.Struct, frozen=True):
    """
    What is expected of the streams of one kind. Milliseconds.

    ``first_ms`` 0: no first frame is demanded. Silence is suspicious after ``silence_factor`` × the mean gap seen so
    far, but not before ``silence_ms`` and at the latest after ``longest_ms``; ``silence_ms`` 0: silence means nothing.
    ``hole_matters``: a hole is told to the symbol by a ``lost`` line (the others heal by themselves or by their ids).
    """

    name: str
    first_ms: int = 0
    silence_ms: int = 0
    silence_factor: int = 20
    longest_ms: int = 60_000
    hole_matters: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("bookTicker", first_ms=FIRST_FRAME_MS, silence_ms=3_000),
        Kind("depth@100ms", first_ms=FIRST_FRAME_MS, silence_ms=3_000, hole_matters=True),
        Kind("markPrice@1s", first_ms=FIRST_FRAME_MS, silence_ms=3_000, silence_factor=3, longest_ms=5_000),
        Kind("aggTrade", silence_ms=10_000, silence_factor=50, longest_ms=600_000),
        Kind("kline_5m", silence_ms=10_000, silence_factor=50, longest_ms=600_000),
        *(Kind(name) for name in ALL_MARKET_STREAMS),
        Kind(USER_STREAM, hole_matters=True),  # missed events are not replayed (venue sheet 3.1)
    )
}

# What the rules of decide cannot do without; configured names can only repeat it.
PER_SYMBOL: Final = ("bookTicker", "depth@100ms", "aggTrade", "markPrice@1s", "kline_5m")

# Names of `data_source.ws_streams` → (the stream that serves it, what the operator must know).
CONFIGURED: Final[Mapping[str, tuple[str, str]]] = {
    "ticker": ("bookTicker", ""),
    "depth20@100ms": ("depth@100ms", ""),
    "kline_5m": ("kline_5m", ""),
    "forceOrder": ("!forceOrder@arr", ""),
    "openInterest": ("", "openInterest has no stream on this venue: it is polled through the executor"),
    "bookTicker": ("bookTicker", ""),
    "depth@100ms": ("depth@100ms", ""),
    "aggTrade": ("aggTrade", ""),
    "markPrice@1s": ("markPrice@1s", ""),
}


class Group(msgspec.Struct, frozen=True):
    """The streams of one socket; ``name`` (``public-0``) is part of the lines' source."""

    name: str
    route: Route
    streams: tuple[str, ...]


USER_GROUP: Final = Group("user-0", Route.PRIVATE, (USER_STREAM,))


def check_configured(names: Iterable[str]) -> tuple[str, ...]:
    """
    Hold the configured stream names against the table and return the warnings.

    Raises UnknownStream naming the first entry that is not in the table.
    """
    warnings = []
    for name in names:
        if name not in CONFIGURED:
            raise UnknownStream(f"ws_streams: {name!r} is unknown; allowed: {', '.join(CONFIGURED)}")
        if CONFIGURED[name][1]:
            warnings.append(CONFIGURED[name][1])
    return tuple(warnings)


def streams_of(symbol: str) -> tuple[str, ...]:
    """The stream names of one symbol."""
    return tuple(f"{symbol.lower()}@{kind}" for kind in PER_SYMBOL)


def kind_of(stream: str) -> Kind:
    """What is expected of *stream*."""
    return KINDS[stream.partition("@")[2] if "@" in stream and stream[0] != "!" else stream]


def symbol_of(stream: str) -> str:
    """The symbol of *stream*, empty for all-market streams and the user stream."""
    return stream.partition("@")[0].upper() if "@" in stream and stream[0] != "!" else ""


def plan(symbols: Iterable[str], *, per_socket: int = MAX_STREAMS_PER_SOCKET) -> tuple[Group, ...]:
    """
    Spread the streams of *symbols* over sockets by route and count, in the order given, each stream once.

    The same symbols in the same order give the same groups, so a group's name means the same streams after a restart.
    """
    wanted: dict[Route, list[str]] = {Route.PUBLIC: [], Route.MARKET: list(ALL_MARKET_STREAMS)}
    for symbol in dict.fromkeys(symbols):
        for stream in streams_of(symbol):
            wanted[route_of(stream)].append(stream)
    return tuple(
        Group(f"{route}-{start // per_socket}", route, tuple(streams[start : start + per_socket]))
        for route, streams in wanted.items()
        for start in range(0, len(streams), per_socket)
    )
