"""
The only place for what becomes of a received frame: lines of its symbols, word to account, or quarantine.

One intake belongs to one connection: it has the connection's incarnation, and its running numbers begin at 1. The bytes
are never changed. Whatever is not exactly one JSON value of a stream that was asked for goes to quarantine whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, Protocol

import msgspec

from connectors.binance_futures.routing import (
    LISTEN_KEY_EXPIRED,
    Refused,
    Reply,
    all_market_symbols,
    is_shutdown_notice,
    reply_of,
    stream_of,
    user_event,
)
from connectors.binance_futures.session import Watch
from connectors.binance_futures.subscriptions import USER_STREAM
from pipeline.core.events import FeedLost
from pipeline.core.units import Milliseconds
from pipeline.wire import lines, records
from pipeline.wire.batching import Origin
from pipeline.wire.topics import partition_of

# A line must stay well below the broker's limit of 1 MB; the largest honest frames (depth) have some 60 kB.
MAX_FRAME_BYTES: Final = lines.MAX_RECORD_BYTES - 1_024
MAX_NAME_BYTES: Final = 200  # a stream's name and the JSON before it
QUARANTINE_PIECE_BYTES: Final = 512 * 1024  # base64 makes 683 kB of it
# Honest frames nest four deep. A decoder's own limit depends on the stack it is called from: what one reader of the log
# takes another would refuse.
MAX_DEPTH: Final = 64
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
SHUTDOWN: Final = "the venue says it will close this connection"

MISSED_SPACING_NS: Final = 1_000_000_000


class Sink(Protocol):
    """Where an intake puts what it makes; never blocks, never fails."""

    def line(self, partition: int, line: bytes, origin: Origin | None) -> None:
        """A line for ``inputs``."""

    def account(self, record: bytes) -> None:
        """A record for ``account``."""

    def quarantine(self, record: records.QuarantineRecord) -> None:
        """Refused bytes."""


class Numbered(msgspec.Struct):
    """The lines of one symbol from one connection: constant parts of a frame line and the last running number."""

    symbol: str
    partition: int
    prefix: tuple[bytes, bytes]
    last: int = 0


class _Target(msgspec.Struct):
    watch: Watch
    numbered: Numbered
    origin: Origin


class Intake:
    """
    Shared by both kinds: numbering of lines, lost lines, quarantine.

    ``symbols`` are those that somebody wants now; the owner may change them.
    """

    def __init__(self, *, source: str, incarnation: str, symbols: Collection[str], sink: Sink) -> None:
        self.source = source
        self.incarnation = incarnation
        self.frames = 0
        self.refused = 0
        self.foreign = 0  # rightly received, of symbols nobody asked for (all-market and user streams)
        self.spoilt = 0  # refused for what the bytes are, not for what they say: the connection is judged by it
        self.holes = 0  # lost lines written
        self.notice = ""  # why this connection will not stand for long; the owner reads it
        self._sink = sink
        self._symbols = symbols
        self._numbered: dict[str, Numbered] = {}

    def numbered(self, symbol: str) -> Numbered:
        """The numbering of *symbol* on this connection, begun with its first line."""
        known = self._numbered.get(symbol)
        if known is None:
            prefix = lines.frame_prefix(source=self.source, incarnation=self.incarnation, symbol=symbol)
            known = self._numbered[symbol] = Numbered(symbol, partition_of(symbol), prefix)
        return known

    def lost(self, at_ns: int, symbol: str, stream: str, reason: str) -> None:
        """
        Write a ``lost`` line: *stream* of *symbol* may have a hole up to here. One of a market stream may give way to
        the memory bound, into the words of the one that names the frames around it; one of the user stream never.
        """
        self.holes += 1
        numbered = self.numbered(symbol)
        numbered.last += 1
        line = lines.Line(
            at=at_ns,
            src=self.source,
            inc=self.incarnation,
            n=numbered.last,
            sym=symbol,
            lost=FeedLost(stream=stream, reason=reason),
        )
        origin = Origin(symbol, stream) if stream != USER_STREAM else None
        self._sink.line(numbered.partition, lines.encode(line), origin)

    def _write(self, at_ns: int, numbered: Numbered, frame: bytes, origin: Origin | None) -> None:
        numbered.last += 1
        self._sink.line(numbered.partition, lines.frame_line(at_ns, numbered.last, frame, numbered.prefix), origin)

    def _quarantine(self, at_ns: int, frame: bytes, reason: str) -> None:
        self.refused += 1
        pieces = max(1, -(-len(frame) // QUARANTINE_PIECE_BYTES))
        for number in range(pieces):
            piece = frame[number * QUARANTINE_PIECE_BYTES : (number + 1) * QUARANTINE_PIECE_BYTES]
            self._sink.quarantine(
                records.QuarantineRecord(
                    source=self.source,
                    reason=reason if pieces == 1 else f"{reason} (piece {number + 1} of {pieces})",
                    at_ms=Milliseconds(at_ns // 1_000_000),
                    payload=piece,
                    cause=self.incarnation,
                )
            )


def fault_of(frame: bytes) -> str:
    """Why *frame* cannot stand in a line; empty when it can."""
    if len(frame) > MAX_FRAME_BYTES:
        return f"frame of {len(frame)} bytes, more than {MAX_FRAME_BYTES}"
    if not frame.isascii():  # rare and cheap to tell; symbols in other scripts do exist
        try:
            frame.decode()
        except UnicodeDecodeError:
            return "no UTF-8"
    if frame.count(b"[") + frame.count(b"{") > MAX_DEPTH and _too_deep(frame):
        return f"nested more than {MAX_DEPTH} deep"
    if not lines.embeddable(frame):
        return "not one JSON value on one line"
    return ""


def _too_deep(frame: bytes) -> bool:
    """Books have as many brackets as levels, but side by side: these are told apart before anything is looked at."""
    beside = frame.count(b"],[") + frame.count(b"},{")
    if frame.count(b"[") + frame.count(b"{") - beside <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", frame).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


class MarketIntake(Intake):
    """Frames of the routes /public and /market in combined form."""

    def __init__(
        self,
        *,
        source: str,
        incarnation: str,
        symbols: Collection[str],
        sink: Sink,
        watches: Iterable[Watch],
        answered: Callable[[Reply], None],
    ) -> None:
        super().__init__(source=source, incarnation=incarnation, symbols=symbols, sink=sink)
        self.latest = b""  # the last frame of a stream of ours, for whoever samples event times
        self._answered = answered
        self._targets: dict[bytes, _Target] = {}
        self._all_market: dict[bytes, Watch] = {}
        self.follow(watches)

    def follow(self, watches: Iterable[Watch]) -> None:
        """
        Take frames of these streams. A stream that is given up later stays known: what the venue still sends of it
        until it has heard of that is written, not quarantined.
        """
        for watch in watches:
            name = watch.stream.encode()
            if watch.symbol:
                origin = Origin(watch.symbol, watch.stream)
                self._targets[name] = _Target(watch, self.numbered(watch.symbol), origin)
            else:
                self._all_market[name] = watch

    def settle(self, at_ns: int, watches: Iterable[Watch], *, live: bool) -> None:
        """Mark the holes that no first frame will mark in time; call it ten times a second."""
        for watch in watches:
            if watch.hole and (watch.count or (live and not watch.kind.first_ms)):
                self._mark(at_ns, watch)

    def _mark(self, at_ns: int, watch: Watch) -> None:
        for symbol in (watch.symbol,) if watch.symbol else tuple(self._symbols):
            self.lost(at_ns, symbol, watch.stream, watch.hole)
        watch.hole = ""

    def frame(self, at_ns: int, frame: bytes) -> None:
        """Take one frame as received at *at_ns*."""
        self.frames += 1
        fault = fault_of(frame)
        if fault:
            self._spoilt(at_ns, frame, fault)
            return
        name = stream_of(frame)
        target = self._targets.get(name) if name is not None else None
        if target is None:
            self._other(at_ns, frame, name)
            return
        watch = target.watch
        if watch.hole:
            self._mark(at_ns, watch)
        watch.saw(at_ns, frame)
        self.latest = frame
        self._write(at_ns, target.numbered, frame, target.origin)

    def _spoilt(self, at_ns: int, frame: bytes, fault: str) -> None:
        """Quarantine it; if its beginning still names a stream of ours, that stream has a hole now."""
        self.spoilt += 1
        self._quarantine(at_ns, frame, fault)
        name = stream_of(frame[:MAX_NAME_BYTES])
        if name is not None:
            target = self._targets.get(name)
            _has_hole(target.watch if target is not None else self._all_market.get(name), fault)

    def _other(self, at_ns: int, frame: bytes, name: bytes | None) -> None:
        if name is None:
            reply = reply_of(frame)
            if reply is None and is_shutdown_notice(frame):
                self.notice = SHUTDOWN
            elif reply is None:
                self._quarantine(at_ns, frame, "neither a frame of a stream nor a control reply")
            else:
                self._answered(reply)
            return
        watch = self._all_market.get(name)
        if watch is None and is_shutdown_notice(frame):
            self.notice = SHUTDOWN
            return
        if watch is None:
            self._quarantine(at_ns, frame, f"stream {name.decode(errors='replace')[:100]!r} was not asked for")
            return
        if watch.hole:
            self._mark(at_ns, watch)
        watch.saw(at_ns, frame)
        symbols = all_market_symbols(watch.stream, frame)
        if isinstance(symbols, Refused):
            self._quarantine(at_ns, frame, symbols.reason)
            _has_hole(watch, symbols.reason)
            return
        concerned = list(self._concerned(symbols))
        for numbered in concerned:
            self._write(at_ns, numbered, frame, Origin(numbered.symbol, watch.stream))

    def _concerned(self, symbols: Iterable[str]) -> Iterator[Numbered]:
        """Of all-market frames only our symbols; these streams carry the whole venue, and coin-margined contracts."""
        for symbol in symbols:
            if symbol in self._symbols:
                yield self.numbered(symbol)
            else:
                self.foreign += 1


def _has_hole(watch: Watch | None, fault: str) -> None:
    """A frame of this stream was refused; an earlier hole that is not told yet stays as it is."""
    if watch is not None and not watch.hole:
        watch.hole = f"a frame was quarantined: {fault}"


class UserIntake(Intake):
    """Bare frames of the private route: raw to each symbol concerned, and every one to ``account``."""

    def __init__(
        self,
        *,
        source: str,
        incarnation: str,
        symbols: Collection[str],
        sink: Sink,
        watch: Watch,
        key_expired: Callable[[], None],
        concerns: Callable[[str], None],
        happened: Callable[[bytes], None] = lambda frame: None,
    ) -> None:
        super().__init__(source=source, incarnation=incarnation, symbols=symbols, sink=sink)
        self._watch = watch
        self._missed_ns = -MISSED_SPACING_NS
        self._stands = False
        self._owed = ""  # a reason that is not told yet
        self._key_expired = key_expired
        self._concerns = concerns
        self._happened = happened

    def opened(self, at_ns: int) -> None:
        """The connection stands: tell every symbol if events may have been missed before it."""
        self._stands = True
        self._watch.saw(at_ns)  # an idle account sends nothing for hours: standing is the sign of life here
        if self._watch.hole:
            self._missed(at_ns, self._watch.hole)
            self._watch.hole = ""

    def settle(self, at_ns: int) -> None:
        """Tell what was held back; call it ten times a second."""
        if self._watch.hole and self._stands:
            self._owed, self._watch.hole = self._watch.hole, ""
        if self._owed:
            self._missed(at_ns, self._owed)

    def _missed(self, at_ns: int, reason: str) -> None:
        """Tell every symbol that an event may be missing; of a flood of bad frames once a second, the last included."""
        if at_ns - self._missed_ns < MISSED_SPACING_NS:
            self._owed = reason
            return
        self._missed_ns, self._owed = at_ns, ""
        for symbol in tuple(self._symbols):
            self.lost(at_ns, symbol, USER_STREAM, reason)

    def frame(self, at_ns: int, frame: bytes) -> None:
        """Take one frame as received at *at_ns*. Lines of user events never give way."""
        self.frames += 1
        fault = fault_of(frame)
        if fault:
            self.spoilt += 1
            self._quarantine(at_ns, frame, fault)
            self._missed(at_ns, f"a frame was quarantined: {fault}")
            return
        event = user_event(frame)
        if isinstance(event, Refused) and is_shutdown_notice(frame):
            self.notice = SHUTDOWN
            return
        if isinstance(event, Refused):
            self._quarantine(at_ns, frame, event.reason)
            if event.hole:
                self._missed(at_ns, f"a frame was quarantined: {event.reason}")
            return
        self._watch.saw(at_ns)
        self._happened(frame)
        self._sink.account(records.encode(records.UserFrame(at=at_ns, src=self.source, frame=msgspec.Raw(frame))))
        for symbol in event.symbols:
            self._concerns(symbol)
            if symbol in self._symbols:
                self._write(at_ns, self.numbered(symbol), frame, None)
            else:
                self.foreign += 1
        if event.name == LISTEN_KEY_EXPIRED:
            self._key_expired()
