"""
The only place for when connections of one group are opened, replaced and retired: make before break, with back-off.

Sans-I/O like ``session``: time and random numbers come in, orders to the shell go out.

Rules:

1. A group has one serving connection, and beside it at most one successor. The predecessor is retired when the
   successor is live, not before (pains 15), and is then read to its end, which a stalled one reaches late: up to four
   stand at a time, each with a name of source (``slot``) of its own, so that lines of one source never mix two of them.
2. A connection that was lost is opened again after a back-off of 1–60 s with jitter, doubled by each failure; one that
   became live after the last failure, and was so for 60 s, ends the series. How healthy a predecessor still is says
   nothing about that.
3. A hole is marked where it is, for every stream: on the watch of whoever serves next, in front of its next frame.
   There is none when the predecessor was read to its closing handshake (the successor was subscribed before), nor when
   both have frames and the venue's times in them overlap: the last one here is younger than the first one there.
4. A stream that is silent on the replacement too is excused for a minute, doubled each time, up to an hour; it is
   forgiven when it flows on a healthy connection. On one connection a stream is blamed once for one silence, however
   many others go silent after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from connectors.binance_futures.session import Action, Session, Signal, State, Watch, rotation_age_ms
from connectors.binance_futures.subscriptions import Group

FIRST_DELAY_MS: Final = 1_000
LONGEST_DELAY_MS: Final = 60_000
HEALTHY_MS: Final = 60_000
FIRST_EXCUSE_MS: Final = 60_000
LONGEST_EXCUSE_MS: Final = 3_600_000
BURST_OPENINGS: Final = 20
OPENING_MS: Final = 1_200  # so much patience buys one more: with the burst 270 in five minutes
SLOTS: Final = "abcd"
STARTED: Final = "connector started"
SUBSCRIBED: Final = "subscribed"
LISTED_STREAMS: Final = 5  # names in an alert; the count says the rest
_EVENT_TIME: Final = re.compile(rb'"E":(\d{1,18})')


class Backoff(msgspec.Struct):
    """Delays between attempts: 1–2 s, 2–4 s … 30–60 s."""

    failures: int = 0

    def next_delay_ms(self, fraction: float) -> int:
        """The delay before the next attempt; *fraction* is drawn from [0, 1)."""
        longest = min(LONGEST_DELAY_MS, 2 * FIRST_DELAY_MS << min(self.failures, 10))
        shortest = longest // 2
        self.failures += 1
        return shortest + int(fraction * (longest - shortest))

    def healthy(self) -> None:
        """A connection has been live for long enough: the series of failures is over."""
        self.failures = 0


class OpeningBudget:
    """
    How many connections may be begun, over all groups: a burst at the start, then one every 1.2 s.

    The venue states no limit for these hosts; 300 in five minutes per address is Spot's, and safe (venue sheet 1.5).
    The thirty that are left are the order socket's, and those of a process that is started again.
    """

    def __init__(self, *, burst: int = BURST_OPENINGS) -> None:
        self._burst_ms = burst * OPENING_MS
        self._saved_ms = self._burst_ms
        self._at_ms: int | None = None

    def take(self, now_ms: int) -> bool:
        """Take one opening; False when the budget is used up for now."""
        if self._at_ms is not None:
            self._saved_ms = min(self._burst_ms, self._saved_ms + now_ms - self._at_ms)
        self._at_ms = now_ms
        if self._saved_ms < OPENING_MS:
            return False
        self._saved_ms -= OPENING_MS
        return True


class Do(StrEnum):
    """What the shell is asked to do with a connection."""

    OPEN = "open"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    CLOSE = "close"
    ABORT = "abort"
    ALERT = "alert"


class Order(msgspec.Struct, frozen=True):
    """One thing to do; ``text`` is for people, ``code`` names the alert, ``streams`` what is (un)subscribed."""

    do: Do
    session: Session
    code: str = ""
    text: str = ""
    streams: tuple[str, ...] = ()


def overlap(before: Watch, after: Watch) -> bool:
    """
    True when the frames seen on two connections leave no hole between them: the last one *before* is younger, by the
    venue's own event time, than the first one *after*. Times that are equal or absent prove nothing.
    """
    last, first = _EVENT_TIME.search(before.last), _EVENT_TIME.search(after.first)
    return last is not None and first is not None and int(last[1]) > int(first[1])


class Rollover:
    """The connections of one group; see the rules above."""

    def __init__(
        self,
        group: Group,
        *,
        draw: Callable[[], float],
        budget: OpeningBudget,
        started: str = STARTED,
        covered: Callable[[Session], bool] = lambda session: False,
        before: Rollover | None = None,
    ) -> None:
        """
        *started* is the hole in front of everything: what an earlier process missed; empty for a stream that another
        group brings too. *covered* says whether another group had all that *session*, which just ended, may have lost.
        *before* had the same group's name and was stopped: its connections may still be read.
        """
        self.group = group
        self.serving: Session | None = None
        self.successor: Session | None = None
        self._draw = draw
        self._budget = budget
        self._backoff = Backoff()
        self._open_at_ms: int | None = 0
        self._excuses: dict[str, int] = {}
        self._suspected: dict[str, int] = {}  # stream → how often it asked for a replacement
        self._failed_ms = 0  # when the last failure of the series was
        self._gaps: dict[str, int] = {}  # rates of streams whose connection is gone
        self._retired: list[Session] = [] if before is None else before.standing()
        self._served: list[Session] = []  # retired ones that were read meanwhile: what they lose is a hole
        self._covered = covered
        self._holes = dict.fromkeys(group.streams, started) if started else {}
        self._stopping = False

    @property
    def ready(self) -> bool:
        """True when the serving connection is live and every stream that owes a first frame has had it."""
        session = self.serving
        return (
            session is not None
            and session.state is State.LIVE
            and all(watch.count or not watch.kind.first_ms for watch in session.watches.values())
        )

    @property
    def replacing(self) -> bool:
        """True when a successor is on its way or wanted."""
        return self.successor is not None or self._open_at_ms is not None

    @property
    def live(self) -> bool:
        """True when a connection is live, whatever single streams of it do."""
        return self.serving is not None and self.serving.state is State.LIVE

    def flows(self, stream: str, now_ms: int) -> bool:
        """True when *stream* has frames on a connection of this group and is not overdue there."""
        return any(
            session is not None and session.state is not State.CONNECTING and session.flows(stream, now_ms)
            for session in (self.serving, self.successor)
        )

    def signal(
        self, session: Session, signal: Signal, now_ms: int, reason: str = "", *, clean: bool = False
    ) -> list[Order]:
        """
        Something happened to *session*: OPENED, CLOSED or REFUSED, as the shell sees it. *clean*: it was CLOSED by the
        handshake, so everything the venue had sent was read.
        """
        draining = session.state is State.DRAINING
        orders = self._follow(session, session.signal(signal, now_ms, reason), now_ms)
        if signal is Signal.CLOSED and draining and not clean:
            self._torn(session, reason)
        return orders

    def change(self, add: Sequence[str], remove: Sequence[str], now_ms: int) -> list[Order]:
        """The group carries other streams now: apply it to the sockets that stand, without reconnecting."""
        for stream in remove:
            self._holes.pop(stream, None)
            self._suspected.pop(stream, None)
            self._excuses.pop(stream, None)
        orders: list[Order] = []
        standing = [session for session in (self.serving, self.successor) if session is not None]
        for session in standing:
            session.add(add, now_ms)
            session.drop(remove)
            if session.state in (State.PROBING, State.LIVE):
                orders += [Order(Do.SUBSCRIBE, session, streams=tuple(add))] if add else []
                orders += [Order(Do.UNSUBSCRIBE, session, streams=tuple(remove))] if remove else []
        for stream in add:
            if standing:
                standing[0].watches[stream].hole = SUBSCRIBED
            else:
                self._holes[stream] = SUBSCRIBED
        return orders

    def tick(self, now_ms: int) -> list[Order]:
        """Look at deadlines; call it ten times a second."""
        orders: list[Order] = []
        self._retired = [session for session in self._retired if session.state is not State.DEAD]
        self._served = [session for session in self._served if session.state is not State.DEAD]
        for session in (self.serving, self.successor, *self._retired):
            if session is not None:
                draining = session.state is State.DRAINING
                orders += self._follow(session, session.tick(now_ms), now_ms)
                if draining and session.state is State.DEAD:
                    self._torn(session, "torn off before its end")
        if self.serving is not None and (live_ms := self.serving.live_for_ms(now_ms)) >= HEALTHY_MS:
            if now_ms - live_ms >= self._failed_ms:
                self._backoff.healthy()
            for stream in [s for s in self._suspected if self.serving.flows(s, now_ms)]:
                del self._suspected[stream]
                self._excuses.pop(stream, None)
        due = self._open_at_ms is not None and now_ms >= self._open_at_ms and not self._stopping
        free = len(SLOTS) - len(self.standing())
        if due and free and self._budget.take(now_ms):
            orders.append(self._open(now_ms))
        return orders

    def stop(self, now_ms: int) -> list[Order]:
        """Retire everything and open nothing more."""
        self._stopping = True
        orders: list[Order] = []
        for session in (self.serving, self.successor):
            if session is not None:
                orders += self._follow(session, session.signal(Signal.RETIRE, now_ms), now_ms)
        return orders

    def replace(self, now_ms: int, reason: str, *, hole: bool = False) -> None:
        """Ask for a successor now (another listen key, an operator); with *hole* the present one is known to miss."""
        if hole:
            for watch in self.serving.watches.values() if self.serving is not None else ():
                self._mark_hole(watch, reason)
        if self.successor is None:
            self._open_at_ms = now_ms
            if self.serving is not None:
                self.serving.reason = reason

    def standing(self) -> list[Session]:
        """Whatever is not dead: connections that serve, prove themselves, or are read to their end."""
        every = (self.serving, self.successor, *self._retired)
        return [session for session in every if session is not None and session.state is not State.DEAD]

    def _open(self, now_ms: int) -> Order:
        session = Session(
            self.group.streams, now_ms=now_ms, rotation_ms=rotation_age_ms(self._draw()), excuses=self._excuses
        )
        for stream, watch in session.watches.items():
            watch.hole = self._holes.get(stream, "")
            if self.serving is not None and stream in self.serving.watches:
                watch.gap_ms = self.serving.watches[stream].gap_ms
            else:
                watch.gap_ms = self._gaps.get(stream, 0)
        self._open_at_ms = None
        taken = {standing.slot for standing in self.standing()}
        session.slot = next(slot for slot in SLOTS if slot not in taken)
        if self.serving is None:
            self.serving = session
        else:
            self.successor = session
            session.rival = self.serving.flows
        return Order(Do.OPEN, session)

    def _follow(self, session: Session, actions: tuple[Action, ...], now_ms: int) -> list[Order]:
        orders: list[Order] = []
        for action in actions:
            match action:
                case Action.SUBSCRIBE:
                    orders.append(Order(Do.SUBSCRIBE, session))
                case Action.CLOSE:
                    orders.append(Order(Do.CLOSE, session))
                case Action.ABORT:
                    orders.append(Order(Do.ABORT, session))
                case Action.ANNOUNCE:
                    orders += self._announce(session, now_ms)
                case Action.REPLACE:
                    orders += self._replace(session, now_ms)
                case Action.LOST:
                    orders += self._lost(session, now_ms)
        return orders

    def _announce(self, session: Session, now_ms: int) -> list[Order]:
        self._holes.clear()  # they are marked on the session's watches
        if session is not self.successor:
            return []
        predecessor, self.serving, self.successor = self.serving, session, None
        if predecessor is None:
            return []
        self._retired.append(predecessor)
        self._served.append(predecessor)
        for watch in predecessor.watches.values():
            if watch.hole:  # no frame has come to end it
                self._mark(watch.stream, watch.hole, session.watches.get(watch.stream))
        return self._follow(predecessor, predecessor.signal(Signal.RETIRE, now_ms), now_ms)

    def _replace(self, session: Session, now_ms: int) -> list[Order]:
        silent = session.silent(now_ms)
        for stream in session.fresh:
            times = self._suspected[stream] = self._suspected.get(stream, 0) + 1
            if times > 1:
                self._excuses[stream] = now_ms + min(LONGEST_EXCUSE_MS, FIRST_EXCUSE_MS << min(times - 2, 10))
            self._mark_hole(session.watches[stream], session.reason)
        if session is self.serving and self.successor is None and self._open_at_ms is None:
            # The first successor at once; a series of them with the same back-off as lost connections.
            self._open_at_ms = now_ms if not self._backoff.failures else now_ms + self._delay_ms(now_ms)
            if session.fresh or session.distrusted:
                self._failed_ms, self._backoff.failures = now_ms, max(self._backoff.failures, 1)
        if not session.fresh:
            return []
        named = ", ".join(silent[:LISTED_STREAMS]) + (" …" if len(silent) > LISTED_STREAMS else "")
        text = f"{self.group.name}: {len(silent)} of {len(session.watches)} streams silent: {named}"
        return [Order(Do.ALERT, session, "stream_silent", text)]

    def _lost(self, session: Session, now_ms: int) -> list[Order]:
        self._retired.append(session)
        if session is self.successor:
            self.successor = None
            self._open_at_ms = now_ms + self._delay_ms(now_ms)
        elif session is self.serving:
            covered = self._covered(session)
            for watch in session.watches.values():
                if watch.hole or not covered:
                    self._mark_hole(watch, session.reason)
            self._gaps = {stream: watch.gap_ms for stream, watch in session.watches.items() if watch.gap_ms}
            self.serving, self.successor = self.successor, None
            if self.serving is None:
                self._open_at_ms = now_ms + self._delay_ms(now_ms)
            else:
                self.serving.rival = None  # half of it is better than none now
        if self._stopping:
            return []
        text = f"{self.group.name}: connection lost: {session.reason or 'closed by the venue'}"
        return [Order(Do.ALERT, session, "connection_lost", text)]

    def _torn(self, session: Session, reason: str) -> None:
        """A retired connection ended before it was read to its end: what it alone had is a hole."""
        if session not in self._served or self._covered(session):
            return
        self._served.remove(session)
        heir = self.serving
        for stream, watch in session.watches.items():
            known = heir.watches.get(stream) if heir is not None else None
            if known is None or not (known.count and overlap(watch, known)):
                self._mark(stream, watch.hole or reason or "connection lost", known)

    def _mark_hole(self, watch: Watch, reason: str) -> None:
        """Rule 3; an earlier hole that no frame has ended stays marked."""
        why = watch.hole or reason or "connection lost"
        successor = self.successor.watches.get(watch.stream) if self.successor is not None else None
        if successor is None or not (successor.count and not watch.hole and overlap(watch, successor)):
            self._mark(watch.stream, why, successor)

    def _mark(self, stream: str, reason: str, watch: Watch | None) -> None:
        if watch is None:
            if stream in self.group.streams:
                self._holes[stream] = reason
        elif not watch.hole:
            watch.hole = reason

    def _delay_ms(self, now_ms: int) -> int:
        self._failed_ms = now_ms
        return self._backoff.next_delay_ms(self._draw())
