"""
The only place for the life of one connection: a table of states and signals, and its deadlines.

Sans-I/O: time comes in as an argument (milliseconds of any monotonic clock), what is to be done goes out as actions.

Rules:

1. A connection lives ``connecting → probing → live → draining → dead``. Frames are taken in every state that has a
   socket: what the venue sent is wanted, proven or not.
2. *Probing*: every watched stream owes its first frame within 10 s, and every subscription its answer. All came: live.
   Trades and candles owe one, too, when an earlier connection had them so often that none within 10 s is no chance.
   Some came: live, and a replacement is asked for (half a socket is better than none), unless the connection it was to
   replace still stands and has more: then it is given up. None came: the route is wrong or dead, so is this one.
3. *Live*: a stream is silent when it misses more time than its kind and its mean gap of late allow; a replacement is
   asked for, the old socket goes on reading until that one is live (pains 14). The same at the age of rotation (pains
   15). A stream that is subscribed later owes its first frame from then on.
4. *Draining*: the closing handshake is under way and whatever the venue still sent before its own close is read. A
   socket that does not come to that end is torn off: what it still had is lost unless another socket had it too.
5. While the reader is behind, silence is not judged: the frames may wait unread, and a second connection would only
   double the load.
6. Streams that stayed silent on a replacement too are excused for a while: a thin symbol must not churn sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from connectors.binance_futures.subscriptions import FIRST_FRAME_MS, Kind, kind_of, symbol_of

HANDSHAKE_MS: Final = 10_000
DRAIN_MS: Final = 60_000  # a stalled socket may still bring what the venue had sent
MIN_ROTATION_MS: Final = 22 * 3_600_000  # the venue cuts at 24 h (venue sheet 1.5)
MAX_ROTATION_MS: Final = 23 * 3_600_000 + 1_800_000
FIRST_GAPS: Final = 20  # a stream that comes by chance: that many of its mean gaps without a frame are none
GAP_SAMPLES: Final = 10  # frames before a stream's own mean gap is trusted
GAP_WINDOW_NS: Final = 30_000_000_000  # the mean gap is that of the last half to whole minute: markets sleep and wake
MEASURE_MS: Final = 1_000
THIN_WINDOW_NS: Final = 300_000_000_000  # of a stream that has not even GAP_SAMPLES frames meanwhile


class State(StrEnum):
    """Where a connection stands."""

    CONNECTING = "connecting"
    PROBING = "probing"
    LIVE = "live"
    DRAINING = "draining"
    DEAD = "dead"


class Signal(StrEnum):
    """
    What can happen to a connection.

    OPENED: handshake done. PROVEN: all watched streams have come. WANTING: some watched streams are silent beyond
    their time. MUTE: nothing came at all within the first deadline. INFERIOR: some came, but the connection that serves
    has more. AGED: the age of rotation is reached, or it is known not to stand for long. REFUSED: the
    venue refused a control message. OVERDUE: handshake or drain took too long. RETIRE: it is not needed any more.
    CLOSED: the socket is gone.
    """

    OPENED = "opened"
    PROVEN = "proven"
    WANTING = "wanting"
    MUTE = "mute"
    INFERIOR = "inferior"
    AGED = "aged"
    REFUSED = "refused"
    OVERDUE = "overdue"
    RETIRE = "retire"
    CLOSED = "closed"


class Action(StrEnum):
    """
    What is to be done.

    SUBSCRIBE: send the control messages. ANNOUNCE: it is live, predecessors may go. REPLACE: open another beside it.
    CLOSE: begin the closing handshake, read on. ABORT: drop the socket. LOST: this connection serves no more, its
    streams have a hole from now on unless another one serves them.
    """

    SUBSCRIBE = "subscribe"
    ANNOUNCE = "announce"
    REPLACE = "replace"
    CLOSE = "close"
    ABORT = "abort"
    LOST = "lost"


Row = tuple[State, tuple[Action, ...]]
_A = Action
_C, _P, _L, _D, _X = State.CONNECTING, State.PROBING, State.LIVE, State.DRAINING, State.DEAD

# A missing cell is a broken promise of ours (asserted); "crossed" rows are real: the signal was on its way already.
TABLE: Final[Mapping[tuple[State, Signal], Row]] = {
    (_C, Signal.OPENED): (_P, (_A.SUBSCRIBE,)),
    (_C, Signal.OVERDUE): (_X, (_A.ABORT, _A.LOST)),
    (_C, Signal.RETIRE): (_X, (_A.ABORT,)),
    (_C, Signal.CLOSED): (_X, (_A.LOST,)),
    (_P, Signal.PROVEN): (_L, (_A.ANNOUNCE,)),
    (_P, Signal.WANTING): (_L, (_A.ANNOUNCE, _A.REPLACE)),
    (_P, Signal.MUTE): (_D, (_A.CLOSE, _A.LOST)),
    (_P, Signal.INFERIOR): (_D, (_A.CLOSE, _A.LOST)),
    (_P, Signal.REFUSED): (_D, (_A.CLOSE, _A.LOST)),
    (_P, Signal.RETIRE): (_D, (_A.CLOSE,)),
    (_P, Signal.CLOSED): (_X, (_A.LOST,)),
    (_L, Signal.WANTING): (_L, (_A.REPLACE,)),
    (_L, Signal.AGED): (_L, (_A.REPLACE,)),
    (_L, Signal.REFUSED): (_L, ()),  # a late reply: the streams themselves have proven what counts
    (_L, Signal.RETIRE): (_D, (_A.CLOSE,)),
    (_L, Signal.CLOSED): (_X, (_A.LOST,)),
    (_D, Signal.REFUSED): (_D, ()),  # crossed
    (_D, Signal.RETIRE): (_D, ()),  # crossed
    (_D, Signal.OVERDUE): (_X, (_A.ABORT,)),
    (_D, Signal.CLOSED): (_X, ()),
    (_X, Signal.OPENED): (_X, (_A.ABORT,)),  # crossed: the handshake ended just after we gave up
    (_X, Signal.REFUSED): (_X, ()),  # crossed
    (_X, Signal.RETIRE): (_X, ()),  # crossed
    (_X, Signal.CLOSED): (_X, ()),  # crossed: our own abort
}


class Watch(msgspec.Struct):
    """
    What one connection has seen of one stream. Times in nanoseconds, as the receive stamps.

    ``hole``: why frames of this stream may be missing before its next one here; the reader writes a ``lost`` line and
    clears it. ``first`` and ``last`` are the frames themselves: they tell whether two connections overlapped.
    ``gap_ms`` is the mean gap of late, 0 while it is not known; a successor inherits it.
    """

    stream: str
    kind: Kind
    symbol: str
    asked_ms: int = 0
    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    first: bytes = b""
    last: bytes = b""
    hole: str = ""
    gap_ms: int = 0
    _mark_ns: int = 0
    _mark_count: int = 0

    def saw(self, at_ns: int, frame: bytes = b"") -> None:
        """Count a frame."""
        if not self.count:
            self.first_ns = self._mark_ns = at_ns
            self.first = frame
            self._mark_count = 1
        self.count += 1
        self.last_ns = at_ns
        self.last = frame

    def measure(self) -> None:
        """Follow the rate; call it about once a second."""
        frames, span_ns = self.count - self._mark_count, self.last_ns - self._mark_ns
        if frames >= GAP_SAMPLES:
            if not self.gap_ms or span_ns >= GAP_WINDOW_NS:
                self.gap_ms = max(1, span_ns // frames // 1_000_000)
        elif not frames or span_ns < THIN_WINDOW_NS:
            return
        else:
            self.gap_ms = span_ns // frames // 1_000_000
        if span_ns >= GAP_WINDOW_NS:
            self._mark_ns, self._mark_count = self.last_ns, self.count

    def silence_limit_ms(self) -> int:
        """How long silence is believable; 0: for ever."""
        kind = self.kind
        if not kind.silence_ms:
            return 0
        if not self.gap_ms:
            return kind.longest_ms
        return min(max(kind.silence_ms, kind.silence_factor * self.gap_ms), kind.longest_ms)

    def first_limit_ms(self) -> int:
        """How soon its first frame is owed; 0: never. Without a deadline of its kind it owes by its known rate."""
        kind = self.kind
        if kind.first_ms or not self.gap_ms or not kind.silence_ms:
            return kind.first_ms
        return FIRST_FRAME_MS if FIRST_GAPS * self.gap_ms <= FIRST_FRAME_MS else self.silence_limit_ms()


class Session:
    """
    One connection's life. ``excuses`` (stream → time until which its silence is excused) belongs to the owner.

    Every method returns the actions in their order; the owner carries them out and never acts by itself.
    """

    def __init__(
        self, streams: Sequence[str], *, now_ms: int, rotation_ms: int, excuses: Mapping[str, int] | None = None
    ) -> None:
        self.state = State.CONNECTING
        self.watches: dict[str, Watch] = {}
        self.add(streams, now_ms)
        self.reason = ""
        self.behind = False  # set by the owner: the reader does not keep up, so no silence is judged
        self.asking = False  # set by the owner: control messages are not all sent and answered
        self.rival: Callable[[str, int], bool] | None = None  # what flows on the connection this one is to replace
        self.slot = ""  # the owner's name for it, part of its lines' source
        self.fresh: list[str] = []  # what the last WANTING told for the first time
        self.distrusted = False  # the next one is to be no sooner than after another failure
        self._since_ms = now_ms
        self._opened_ms = 0
        self._live_ms = 0
        self._rotation_ms = rotation_ms
        self._excuses: Mapping[str, int] = excuses if excuses is not None else {}
        self._reported: set[str] = set()
        self._aged = False
        self._leaving = ""
        self._measured_ms = now_ms

    def add(self, streams: Iterable[str], now_ms: int) -> None:
        """Watch further streams; they owe their first frames from now on."""
        for stream in streams:
            self.watches[stream] = Watch(stream=stream, kind=kind_of(stream), symbol=symbol_of(stream), asked_ms=now_ms)

    def drop(self, streams: Iterable[str]) -> None:
        """Expect nothing more of these streams."""
        for stream in streams:
            self.watches.pop(stream, None)

    def leave(self, reason: str, *, distrusted: bool = False) -> None:
        """It will not stand for long, or is not to be trusted: once it is live, a replacement is asked for."""
        self._leaving = reason
        self.distrusted = distrusted

    def signal(self, signal: Signal, now_ms: int, reason: str = "") -> tuple[Action, ...]:
        """Move by the table; *reason* is kept for people."""
        row = TABLE.get((self.state, signal))
        assert row is not None, f"{signal} cannot happen to a connection that is {self.state}"
        state, actions = row
        if state is not self.state:
            self.state, self._since_ms = state, now_ms
            if state is State.PROBING:
                self._opened_ms = now_ms
            elif state is State.LIVE:
                self._live_ms = now_ms
        if reason:
            self.reason = reason
        return actions

    def tick(self, now_ms: int) -> tuple[Action, ...]:
        """Look at the deadlines of the present state."""
        match self.state:
            case State.CONNECTING if now_ms - self._since_ms >= HANDSHAKE_MS:
                return self.signal(Signal.OVERDUE, now_ms, f"no handshake within {HANDSHAKE_MS // 1000} s")
            case State.PROBING:
                return self._probe(now_ms)
            case State.LIVE:
                return self._watch(now_ms)
            case State.DRAINING if now_ms - self._since_ms >= DRAIN_MS:
                return self.signal(Signal.OVERDUE, now_ms)
            case _:
                return ()

    def live_for_ms(self, now_ms: int) -> int:
        """How long it has been live; 0 when it is not."""
        return now_ms - self._live_ms if self.state is State.LIVE else 0

    def silent(self, now_ms: int) -> list[str]:
        """The watched streams that owe a frame now, in the order of subscription."""
        return [w.stream for w in self.watches.values() if self._owes(w, now_ms)]

    def flows(self, stream: str, now_ms: int) -> bool:
        """True when the stream has frames here and none is overdue."""
        watch = self.watches.get(stream)
        if watch is None:
            return False
        limit = watch.silence_limit_ms()
        return watch.count > 0 and (limit == 0 or now_ms - watch.last_ns // 1_000_000 <= limit)

    def _excused(self, stream: str, now_ms: int) -> bool:
        return now_ms < self._excuses.get(stream, 0)

    def _owes(self, watch: Watch, now_ms: int) -> bool:
        if self._excused(watch.stream, now_ms):
            return False
        if watch.count == 0:
            return 0 < watch.first_limit_ms() <= now_ms - max(self._opened_ms, watch.asked_ms)
        return not self.flows(watch.stream, now_ms)

    def _probe(self, now_ms: int) -> tuple[Action, ...]:
        watches = self.watches.values()
        overdue = now_ms - self._opened_ms >= FIRST_FRAME_MS
        awaited = any(
            w.count == 0 and 0 < w.first_limit_ms() <= FIRST_FRAME_MS and not self._excused(w.stream, now_ms)
            for w in watches
        )
        if not awaited and (not self.asking or overdue):
            return self.signal(Signal.PROVEN, now_ms)
        silent = self.silent(now_ms)
        if self.behind or not silent or not overdue:
            return ()
        if not any(w.count for w in watches):
            return self.signal(Signal.MUTE, now_ms, f"no frame of any stream within {FIRST_FRAME_MS / 1000} s")
        if self.rival is not None:
            given_up = [stream for stream in silent if self.rival(stream, now_ms)]
            won = [w.stream for w in watches if w.stream not in silent and not self.rival(w.stream, now_ms)]
            if len(given_up) > len(won):
                return self.signal(Signal.INFERIOR, now_ms, f"silent here, not there: {', '.join(given_up)}")
        self._reported.update(silent)
        self.fresh = silent
        return self.signal(Signal.WANTING, now_ms, f"no first frame: {', '.join(silent)}")

    def _watch(self, now_ms: int) -> tuple[Action, ...]:
        if now_ms - self._measured_ms >= MEASURE_MS:
            self._measured_ms = now_ms
            for watch in self.watches.values():
                watch.measure()
            self._reported = {s for s in self._reported if s in self.watches and not self.flows(s, now_ms)}
        fresh = [] if self.behind else [stream for stream in self.silent(now_ms) if stream not in self._reported]
        if fresh:
            self._reported.update(fresh)
            self.fresh = fresh
            return self.signal(Signal.WANTING, now_ms, f"silent: {', '.join(fresh)}")
        if not self._aged and now_ms - self._opened_ms >= self._rotation_ms:
            self._aged = True
            self._leaving = self._leaving or "age of rotation"
        if self._leaving:
            reason, self._leaving, self.fresh = self._leaving, "", []
            return self.signal(Signal.AGED, now_ms, reason)
        return ()


def rotation_age_ms(fraction: float) -> int:
    """The age at which a connection is replaced, at random within 22–23.5 h; *fraction* is drawn from [0, 1)."""
    return MIN_ROTATION_MS + int(fraction * (MAX_ROTATION_MS - MIN_ROTATION_MS))
