"""
The only place for what is subscribed: kinds of streams with their rates, tiers of symbols, shards of sockets.

Kinds are data: how soon the first frame must come and how long silence is believable. A thin symbol may rightly be
silent on trades and candles, and all-market streams on anything (venue sheet 1.3), so these have no first deadline.

What a symbol needs follows from its tier. Whoever wants a symbol says so under a name of his own, and the highest tier
that anybody wants counts: the end of one position never unsubscribes what another owner still needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from connectors.binance_futures.routing import ALL_MARKET_STREAMS, Route, UnknownStream, route_of

MAX_STREAMS_PER_SOCKET: Final = 200  # the venue takes 1,024 (venue sheet 1.5); fewer break less at once
FIRST_FRAME_MS: Final = 9_800  # a wrong route is to be noticed within 10 s, the tick that looks at it included
SILENCE_MS: Final = 2_800  # a muted stream within 3 s, likewise
BOOKS_BY_DEFAULT: Final = (
    200  # configured symbols beyond have no depth until they are shortlisted: a snapshot weighs 20
)
USER_STREAM: Final = "user"  # our name for what comes by listen key; the venue has none


class Kind(msgspec.Struct, frozen=True):
    """
    What is expected of the streams of one kind. Milliseconds.

    ``first_ms`` 0: no first frame is demanded. Silence is suspicious after ``silence_factor`` × the mean gap of late,
    but not before ``silence_ms`` and at the latest after ``longest_ms``; ``silence_ms`` 0: silence means nothing. With
    frames that come by chance, 20 mean gaps of silence are one in 500 million.
    """

    name: str
    first_ms: int = 0
    silence_ms: int = 0
    silence_factor: int = 20
    longest_ms: int = 60_000


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("bookTicker", first_ms=FIRST_FRAME_MS, silence_ms=SILENCE_MS),
        Kind("depth@100ms", first_ms=FIRST_FRAME_MS, silence_ms=SILENCE_MS),
        Kind("markPrice@1s", first_ms=FIRST_FRAME_MS, silence_ms=SILENCE_MS, silence_factor=2, longest_ms=5_000),
        Kind("aggTrade", silence_ms=10_000, silence_factor=50, longest_ms=600_000),
        Kind("kline_5m", silence_ms=10_000, silence_factor=50, longest_ms=600_000),
        *(Kind(name) for name in ALL_MARKET_STREAMS),
        Kind(USER_STREAM),
    )
}


class Tier(StrEnum):
    """How much of a symbol is wanted, least first."""

    UNIVERSE = "universe"
    SHORTLISTED = "shortlisted"
    HELD = "held"


_RANK: Final = {tier: rank for rank, tier in enumerate(Tier)}
_LEAN: Final = ("bookTicker", "aggTrade", "markPrice@1s", "kline_5m")
# What the rules of decide cannot do without; configured names can only repeat it.
PER_SYMBOL: Final = ("bookTicker", "depth@100ms", "aggTrade", "markPrice@1s", "kline_5m")
STREAMS_OF: Final[Mapping[Tier, tuple[str, ...]]] = {
    Tier.UNIVERSE: _LEAN,
    Tier.SHORTLISTED: PER_SYMBOL,
    Tier.HELD: PER_SYMBOL,
}

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


class Group(msgspec.Struct, eq=False):
    """The streams of one socket, which may change; ``name`` (``public-0``) is part of the lines' source."""

    name: str
    route: Route
    streams: tuple[str, ...]


def user_groups() -> tuple[Group, Group]:
    """Two connections for the same events: the venue repeats none that was missed (venue sheet 3.1, pain 13)."""
    return Group("user-0", Route.PRIVATE, (USER_STREAM,)), Group("user-1", Route.PRIVATE, (USER_STREAM,))


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


def streams_of(symbol: str, tier: Tier = Tier.SHORTLISTED) -> tuple[str, ...]:
    """The stream names of one symbol at *tier*."""
    return tuple(f"{symbol.lower()}@{kind}" for kind in STREAMS_OF[tier])


def kind_of(stream: str) -> Kind:
    """What is expected of *stream*."""
    return KINDS[stream.partition("@")[2] if "@" in stream and stream[0] != "!" else stream]


def symbol_of(stream: str) -> str:
    """The symbol of *stream*, empty for all-market streams and the user stream."""
    return stream.partition("@")[0].upper() if "@" in stream and stream[0] != "!" else ""


class Change(msgspec.Struct, frozen=True):
    """What a group gains and loses. A group whose ``streams`` are empty afterwards is not needed any more."""

    group: Group
    add: tuple[str, ...]
    remove: tuple[str, ...]


class Subscriptions:
    """
    Who wants which symbol, and which socket carries its streams.

    The same wishes in the same order give the same groups, so a group's name means the same streams after a restart.
    A stream stays in its group for as long as it is wanted; what is new goes where there is room.
    """

    def __init__(self, symbols: Iterable[str] = (), *, per_socket: int = MAX_STREAMS_PER_SOCKET) -> None:
        """*symbols* are wanted by the configuration: the first ones with their books."""
        self.groups: list[Group] = []
        self._per_socket = per_socket
        self._wanted: dict[str, dict[str, Tier]] = {}  # symbol → owner → tier
        self._carried: dict[str, Group] = {}  # stream → its group
        for number, symbol in enumerate(dict.fromkeys(symbols)):
            self.want("configuration", symbol, Tier.SHORTLISTED if number < BOOKS_BY_DEFAULT else Tier.UNIVERSE)
        self.settle()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol somebody wants, in the order of the first wish."""
        return tuple(self._wanted)

    @property
    def held(self) -> tuple[str, ...]:
        """The symbols with something at stake."""
        return tuple(symbol for symbol in self._wanted if self.tier(symbol) is Tier.HELD)

    def tier(self, symbol: str) -> Tier | None:
        """The highest tier at which anybody wants *symbol*."""
        wishes = self._wanted.get(symbol)
        return max(wishes.values(), key=_RANK.__getitem__) if wishes else None

    def want(self, owner: str, symbol: str, tier: Tier | None) -> bool:
        """
        *owner* wants *symbol* at *tier*, or None: no more. Returns True when that changes what ``settle`` gives.

        Raises UnknownStream for a symbol that cannot stand in a stream's name.
        """
        before = self.tier(symbol)
        if tier is None:
            wishes = self._wanted.get(symbol, {})
            wishes.pop(owner, None)
            if not wishes:
                self._wanted.pop(symbol, None)
        else:
            for stream in streams_of(symbol, tier):
                route_of(stream)
            self._wanted.setdefault(symbol, {})[owner] = tier
        return self.tier(symbol) is not before

    def settle(self) -> list[Change]:
        """Bring the groups in line with the wishes; each change is to be carried out on its group's sockets."""
        wanted = dict.fromkeys(ALL_MARKET_STREAMS)
        for symbol in self._wanted:
            tier = self.tier(symbol)
            assert tier is not None
            wanted.update(dict.fromkeys(streams_of(symbol, tier)))
        added: dict[str, list[str]] = {}
        removed: dict[str, list[str]] = {}
        for stream in [stream for stream in self._carried if stream not in wanted]:
            removed.setdefault(self._carried.pop(stream).name, []).append(stream)
        counts = {group.name: 0 for group in self.groups}
        for group in self._carried.values():
            counts[group.name] += 1
        for stream in wanted:
            if stream not in self._carried:
                group = self._room(route_of(stream), counts)
                counts[group.name] += 1
                self._carried[stream] = group
                added.setdefault(group.name, []).append(stream)
        changes = []
        for group in self.groups:
            gone = frozenset(removed.get(group.name, ()))
            new = tuple(added.get(group.name, ()))
            if gone or new:
                group.streams = (*(stream for stream in group.streams if stream not in gone), *new)
                changes.append(Change(group, new, tuple(removed.get(group.name, ()))))
        self.groups = [group for group in self.groups if group.streams]
        self.groups.sort(key=lambda group: group.route is not Route.PUBLIC)  # books first: theirs is the longest way
        return changes

    def _room(self, route: Route, counts: dict[str, int]) -> Group:
        """The first group of *route* with room for one more stream, else a new one under the lowest free name."""
        for group in self.groups:
            if group.route is route and counts[group.name] < self._per_socket:
                return group
        number = next(n for n in range(len(counts) + 1) if f"{route}-{n}" not in counts)
        group = Group(f"{route}-{number}", route, ())
        self.groups.append(group)
        counts[group.name] = 0
        return group


def plan(symbols: Iterable[str], *, per_socket: int = MAX_STREAMS_PER_SOCKET) -> tuple[Group, ...]:
    """The groups for *symbols* of the configuration alone."""
    return tuple(Subscriptions(symbols, per_socket=per_socket).groups)
