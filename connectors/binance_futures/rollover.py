"""
The only place for when connections of one group are opened, replaced and retired: make before break, with back-off.

Sans-I/O like ``session``: time and random numbers come in, orders to the shell go out.

Rules:

1. A group has one serving connection, and beside it at most one successor. The predecessor is retired when the
   successor is live, not before (pains 15). A third is not opened before the retired one is gone: two names of source
   (``slot``) are enough, and lines of one source never mix two connections.
2. A connection that was lost is opened again after a back-off of 1–60 s with jitter, doubled by each failure; a
   connection that was live for 60 s ends the series of failures.
3. A hole is marked where it is: on the successor's watch of each stream that has no frame there yet at the moment the
   predecessor ends. Streams that flow on both have no hole.
4. A stream that is silent on the replacement too is excused for a minute, doubled each time, up to an hour; it is
   forgiven when it flows on a healthy connection.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from connectors.binance_futures.session import Action, Session, Signal, State, Watch, rotation_age_ms
from connectors.binance_futures.subscriptions import Group, kind_of

FIRST_DELAY_MS: Final = 1_000
LONGEST_DELAY_MS: Final = 60_000
HEALTHY_MS: Final = 60_000
FIRST_EXCUSE_MS: Final = 60_000
LONGEST_EXCUSE_MS: Final = 3_600_000
BURST_OPENINGS: Final = 20
OPENING_MS: Final = 1_000  # a second of patience buys one more
LISTED_STREAMS: Final = 5  # names in an alert; the count says the rest


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
    How many connections may be begun, over all groups: a burst at the start, then one a second.

    The venue states no limit for these hosts; 300 in five minutes per address is Spot's, and safe (venue sheet 1.5).
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
    CLOSE = "close"
    ABORT = "abort"
    ALERT = "alert"


class Order(msgspec.Struct, frozen=True):
    """One thing to do; ``text`` is for people, ``code`` names the alert."""

    do: Do
    session: Session
    code: str = ""
    text: str = ""


class Rollover:
    """The connections of one group; see the rules above."""

    def __init__(self, group: Group, *, draw: Callable[[], float], budget: OpeningBudget) -> None:
        self.group = group
        self.serving: Session | None = None
        self.successor: Session | None = None
        self._draw = draw
        self._budget = budget
        self._backoff = Backoff()
        self._open_at_ms: int | None = 0
        self._excuses: dict[str, int] = {}
        self._suspected: dict[str, int] = {}  # stream → how often it asked for a replacement
        self._retired: list[Session] = []
        # What an earlier process missed is a hole too.
        self._holes = {s: "connector started" for s in group.streams if kind_of(s).hole_matters}
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

    def signal(self, session: Session, signal: Signal, now_ms: int, reason: str = "") -> list[Order]:
        """Something happened to *session*: OPENED, CLOSED or REFUSED, as the shell sees it."""
        return self._follow(session, session.signal(signal, now_ms, reason), now_ms)

    def tick(self, now_ms: int) -> list[Order]:
        """Look at deadlines; call it ten times a second."""
        orders: list[Order] = []
        self._retired = [session for session in self._retired if session.state is not State.DEAD]
        for session in (self.serving, self.successor, *self._retired):
            if session is not None:
                orders += self._follow(session, session.tick(now_ms), now_ms)
        if self.serving is not None and self.serving.live_for_ms(now_ms) >= HEALTHY_MS:
            self._backoff.healthy()
            for stream in [s for s in self._suspected if self.serving.flows(s, now_ms)]:
                del self._suspected[stream]
                self._excuses.pop(stream, None)
        due = self._open_at_ms is not None and now_ms >= self._open_at_ms and not self._stopping
        free = all(session.state is State.DEAD for session in self._retired)
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

    def _open(self, now_ms: int) -> Order:
        session = Session(
            self.group.streams, now_ms=now_ms, rotation_ms=rotation_age_ms(self._draw()), excuses=self._excuses
        )
        for stream, reason in self._holes.items():
            session.watches[stream].hole = reason
        self._open_at_ms = None
        session.slot = "b" if self.serving is not None and self.serving.slot == "a" else "a"
        if self.serving is None:
            self.serving = session
        else:
            self.successor = session
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
        return self._follow(predecessor, predecessor.signal(Signal.RETIRE, now_ms), now_ms)

    def _replace(self, session: Session, now_ms: int) -> list[Order]:
        silent = session.silent(now_ms)
        for stream in silent:
            times = self._suspected[stream] = self._suspected.get(stream, 0) + 1
            if times > 1:
                self._excuses[stream] = now_ms + min(LONGEST_EXCUSE_MS, FIRST_EXCUSE_MS << min(times - 2, 10))
            if session.watches[stream].kind.hole_matters:
                self._holes[stream] = session.reason
        if session is self.serving and self.successor is None and self._open_at_ms is None:
            # The first successor at once; a series of them with the same back-off as lost connections.
            self._open_at_ms = now_ms if not self._backoff.failures else now_ms + self._delay_ms()
            self._backoff.failures = max(self._backoff.failures, 1) if silent else self._backoff.failures
        if not silent:
            return []
        named = ", ".join(silent[:LISTED_STREAMS]) + (" …" if len(silent) > LISTED_STREAMS else "")
        text = f"{self.group.name}: {len(silent)} of {len(session.watches)} streams silent: {named}"
        return [Order(Do.ALERT, session, "stream_silent", text)]

    def _lost(self, session: Session, now_ms: int) -> list[Order]:
        self._retired.append(session)
        if session is self.successor:
            self.successor = None
            self._open_at_ms = now_ms + self._delay_ms()
        elif session is self.serving:
            for watch in session.watches.values():
                self._mark_hole(watch, session.reason)
            self.serving, self.successor = self.successor, None
            if self.serving is None:
                self._open_at_ms = now_ms + self._delay_ms()
        if self._stopping:
            return []
        text = f"{self.group.name}: connection lost: {session.reason or 'closed by the venue'}"
        return [Order(Do.ALERT, session, "connection_lost", text)]

    def _mark_hole(self, watch: Watch, reason: str) -> None:
        """Rule 3: only where the successor has no frame yet; an earlier hole that no frame has ended stays marked."""
        if not watch.kind.hole_matters:
            return
        why = watch.hole or reason or "connection lost"
        if self.successor is None:
            self._holes[watch.stream] = why
        elif self.successor.watches[watch.stream].count == 0:
            self.successor.watches[watch.stream].hole = why

    def _delay_ms(self) -> int:
        return self._backoff.next_delay_ms(self._draw())
