"""
The only place where the connector has sockets: one task per connection reads, stamps and hands every frame on.

The decisions are elsewhere: what to open and close in ``rollover``, what becomes of a frame in ``intake``, what the
broker's absence means in ``publisher``. A frame is stamped before anything else is done with it. One task reads one
socket to its end, also while it is closing; there is no task per frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from connectors.binance_futures.intake import Intake, MarketIntake, UserIntake
from connectors.binance_futures.publisher import Publisher
from connectors.binance_futures.rollover import Do, OpeningBudget, Order, Rollover
from connectors.binance_futures.routing import Route, stream_of
from connectors.binance_futures.session import (
    HANDSHAKE_MS,
    MESSAGE_SPACING_MS,
    Session,
    Signal,
    State,
    subscribe_messages,
)
from connectors.binance_futures.subscriptions import USER_GROUP, USER_STREAM, Group
from connectors.binance_futures.user_stream import KeepAlive, ListenKeyError, ListenKeys

TICK_SECONDS: Final = 0.1
FROZEN_MS: Final = 1_500  # a tick that late: not the streams were silent, we were
GRACE_MS: Final = 1_000  # then what waits in the sockets is read before silence is judged
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # a frame of 10 MB is to be quarantined, not to end the connection
READ_AHEAD: Final = (512, 128)  # frames: where reading from the socket pauses and goes on; stamps wait as long
FRAMES_PER_TURN: Final = 64  # the broker's acknowledgements wait meanwhile, for each socket that is full
PING_SECONDS: Final = 20  # our own pings find a half-dead socket; the venue's are answered by the library
# A pong waits behind unread frames. Market streams tell by their silence that a socket is dead, the user stream cannot.
PONG_SECONDS: Final = {Route.PUBLIC: 60, Route.MARKET: 60, Route.PRIVATE: 20}
CLOSE_SECONDS: Final = 3
OFFSET_SAMPLES: Final = 600  # a minute of one sample per tick
OFFSET_EVERY_SECONDS: Final = 60.0
CLOCK_STEP_NS: Final = 1_000_000_000  # a wall clock that differs by more was set; a small drift is followed slowly
_EVENT_TIME: Final = re.compile(rb'"E":(\d{10,16})')

log: Any = structlog.get_logger("perpguard.connector")  # Any: structlog binds its types at run time


class ReceiveClock:
    """
    Unix time in ns that never runs back: the monotonic clock on a base that follows the wall clock.

    A wall clock that is set back must not give frames of this minute older stamps than those of the last one.
    """

    def __init__(self) -> None:
        self._base = time.time_ns() - time.monotonic_ns()
        self._last = 0

    def now_ns(self) -> int:
        """The stamp for a frame that was just read."""
        return self._base + time.monotonic_ns()

    def correct(self) -> None:
        """Follow the wall clock: forwards at once, backwards by at most 1 ms a call (call it every 100 ms)."""
        difference = time.time_ns() - self.now_ns()
        self._base += max(difference, -1_000_000) if difference < CLOCK_STEP_NS else difference


class Offsets:
    """Venue time less receive time per kind of stream, in ms, over the last minute (skew less the way)."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}

    def sample(self, kind: str, frame: bytes, at_ns: int) -> None:
        """Take the event time out of *frame*, if it has one."""
        found = _EVENT_TIME.search(frame)
        if found is not None:
            kept = self._samples.setdefault(kind, deque(maxlen=OFFSET_SAMPLES))
            kept.append(int(found[1]) - at_ns / 1e6)

    def summary(self) -> dict[str, dict[str, float]]:
        """Per kind: least, median and greatest offset. The greatest is nearest to the skew: its frame was quickest."""
        return {
            kind: {
                "min_ms": round(min(kept), 3),
                "median_ms": round(statistics.median(kept), 3),
                "max_ms": round(max(kept), 3),
                "samples": len(kept),
            }
            for kind, kept in self._samples.items()
        }


class _Connection:
    """One socket with its session and intake."""

    def __init__(self, session: Session, rollover: Rollover, intake: MarketIntake | UserIntake) -> None:
        self.session = session
        self.rollover = rollover
        self.intake = intake
        self.socket: ClientConnection | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def behind(self) -> bool:
        """True when frames wait unread: what seems silent may stand in the queue."""
        # The library's queue has no public length; its version is pinned and a test holds this to it.
        return self.socket is not None and len(self.socket.recv_messages.frames) > READ_AHEAD[1]


class Connector:
    """
    Keeps every stream of every symbol flowing into the log until it is told to stop.

    ``draw`` gives random numbers from [0, 1). Without *listen_keys* there is no user stream. *on_ready* is called once,
    when every real-time stream has had its first frame and the user stream stands.
    """

    def __init__(
        self,
        *,
        ws_url: str,
        groups: Iterable[Group],
        symbols: Iterable[str],
        publisher: Publisher,
        incarnation: str,
        draw: Callable[[], float],
        listen_keys: ListenKeys | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.symbols = tuple(dict.fromkeys(symbols))
        wanted = [*groups, *([USER_GROUP] if listen_keys is not None else [])]
        budget = OpeningBudget()
        self.rollovers = [Rollover(group, draw=draw, budget=budget) for group in wanted]
        self.offsets = Offsets()
        self.publisher = publisher
        self.opened = 0
        self.frames = 0  # of connections that are gone
        self.refused = 0
        self._ws_url = ws_url
        self._host = urlsplit(ws_url).hostname or ""
        self._incarnation = incarnation
        self._listen_keys = listen_keys
        self._keep_alive = KeepAlive()
        self._on_ready = on_ready
        self._is_ready = False
        self._clock = ReceiveClock()
        self._connections: dict[Session, _Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._ticked_ms = 0
        self._judge_from_ms = 0  # no silence is judged before
        self._offsets_at = time.monotonic() + OFFSET_EVERY_SECONDS

    # -------------------------------------------------------------------------------------------------- its life

    async def run(self) -> None:
        """Run until ``stop``; raises what ended the publisher or a reader unexpectedly: that is a fault of ours."""
        self._ticked_ms = self._now_ms()
        while not self._stop.is_set():
            self._tick()
            failure = self.publisher.failure() or self._failure
            if failure is not None:
                raise failure
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_SECONDS)
        for rollover in self.rollovers:
            self._obey(rollover, rollover.stop(self._now_ms()))
        serving = [c.task for c in self._connections.values() if c.task is not None]
        if serving:
            await asyncio.wait(serving, timeout=CLOSE_SECONDS)
        for task in [*self._tasks, *serving]:
            task.cancel()
        await asyncio.gather(*self._tasks, *serving, return_exceptions=True)
        if self._listen_keys is not None:
            await self._listen_keys.close()

    def stop(self) -> None:
        """Retire all connections, reading what the venue still sends, then let ``run`` return."""
        self._stop.set()

    @property
    def ready(self) -> bool:
        """True when every group is: each real-time stream has had its first frame on a living connection."""
        return all(rollover.ready for rollover in self.rollovers)

    @property
    def intakes(self) -> list[Intake]:
        """The intakes of the connections that exist now."""
        return [connection.intake for connection in self._connections.values()]

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000

    def _tick(self) -> None:
        self._clock.correct()
        now_ms = self._now_ms()
        since_ms, self._ticked_ms = now_ms - self._ticked_ms, now_ms
        if since_ms > FROZEN_MS:
            self.publisher.alert("connector_frozen", f"this process stood still for {since_ms / 1_000:.1f} s")
            self._judge_from_ms = now_ms + GRACE_MS
        for connection in self._connections.values():
            connection.session.behind = connection.behind
        if now_ms >= self._judge_from_ms:
            for rollover in self.rollovers:
                self._obey(rollover, rollover.tick(now_ms))
        for connection in self._connections.values():
            self._attend(connection)
        if self._listen_keys is not None and self._keep_alive.due(now_ms):
            self._spawn(self._keep_key_alive(self._listen_keys))
        if not self._is_ready and self.ready:
            self._is_ready = True
            self._on_ready()
        if time.monotonic() >= self._offsets_at:
            self._offsets_at += OFFSET_EVERY_SECONDS
            log.info("clock_offsets", offsets=self.offsets.summary())

    def _attend(self, connection: _Connection) -> None:
        intake = connection.intake
        if isinstance(intake, UserIntake):
            intake.settle(self._clock.now_ns())
        elif intake.latest:
            name = stream_of(intake.latest)
            watch = connection.session.watches.get(name.decode()) if name is not None else None
            if watch is not None:
                self.offsets.sample(watch.kind.name, intake.latest, watch.last_ns)
            intake.latest = b""

    # ------------------------------------------------------------------------------------------- what rollover says

    def _obey(self, rollover: Rollover, orders: list[Order]) -> None:
        for order in orders:
            match order.do:
                case Do.OPEN:
                    self._open(rollover, order.session)
                case Do.SUBSCRIBE:
                    self._spawn(self._subscribe(self._connections[order.session]))
                case Do.CLOSE:
                    connection = self._connections.get(order.session)
                    if connection is not None and connection.socket is not None:
                        self._spawn(connection.socket.close())
                case Do.ABORT:
                    connection = self._connections.get(order.session)
                    if connection is not None and connection.task is not None:
                        connection.task.cancel()
                case Do.ALERT:
                    self.publisher.alert(order.code, order.text, gate=f"{order.code} {rollover.group.name}")

    def _spawn(self, work: Any) -> None:  # Any: a coroutine that returns nothing
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    def _open(self, rollover: Rollover, session: Session) -> None:
        self.opened += 1
        group = rollover.group
        source = f"connector/{group.name}.{session.slot}"
        incarnation = f"{self._incarnation}-{self.opened:05d}"
        intake: MarketIntake | UserIntake
        if group.route is Route.PRIVATE:
            intake = UserIntake(
                source=source,
                incarnation=incarnation,
                symbols=self.symbols,
                sink=self.publisher,
                watch=session.watches[USER_STREAM],
                key_expired=lambda: rollover.replace(self._now_ms(), "listen key expired", hole=True),
                concerns=self.publisher.hold,
            )
        else:
            intake = MarketIntake(
                source=source,
                incarnation=incarnation,
                symbols=self.symbols,
                sink=self.publisher,
                watches=session.watches.values(),
                control_refused=lambda reason: self._refused(rollover, session, reason),
            )
        connection = _Connection(session, rollover, intake)
        self._connections[session] = connection
        connection.task = asyncio.get_running_loop().create_task(self._serve(connection))
        connection.task.add_done_callback(self._finished)

    def _refused(self, rollover: Rollover, session: Session, reason: str) -> None:
        self.publisher.alert("control_refused", f"{rollover.group.name}: {reason}")
        self._obey(rollover, rollover.signal(session, Signal.REFUSED, self._now_ms(), f"refused: {reason}"))

    # ------------------------------------------------------------------------------------------------- the sockets

    async def _serve(self, connection: _Connection) -> None:
        """One connection from handshake to end; whatever ends it is told to the rollover, once."""
        reason = "closed by the venue"
        try:
            url = await self._url(connection.rollover.group)
            async with connect(
                url,
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=READ_AHEAD,
                ping_interval=PING_SECONDS,
                ping_timeout=PONG_SECONDS[connection.rollover.group.route],
                open_timeout=HANDSHAKE_MS / 1_000,
                close_timeout=CLOSE_SECONDS,
                proxy=None if self._host in ("localhost", "127.0.0.1", "::1") else True,
            ) as socket:
                connection.socket = socket
                now_ns = self._clock.now_ns()
                if isinstance(connection.intake, UserIntake):
                    connection.intake.opened(now_ns)
                self._obey(
                    connection.rollover,
                    connection.rollover.signal(connection.session, Signal.OPENED, now_ns // 1_000_000),
                )
                receive, now, take = socket.recv, self._clock.now_ns, connection.intake.frame
                while True:
                    # Frames that are there already are received without a turn of the loop: give others their turn.
                    for _ in range(FRAMES_PER_TURN):
                        frame = await receive(decode=False)
                        take(now(), frame)
                    await asyncio.sleep(0)
        except ConnectionClosed as error:
            reason = str(error)
        except (OSError, InvalidHandshake, TimeoutError, ListenKeyError) as error:
            reason = f"{type(error).__name__}: {error}"
        except asyncio.CancelledError:
            reason = "aborted"
        finally:
            self._ended(connection, reason)

    def _ended(self, connection: _Connection, reason: str) -> None:
        self._connections.pop(connection.session, None)
        self.frames += connection.intake.frames
        self.refused += connection.intake.refused
        if self._listen_keys is not None:
            reason = self._listen_keys.without_key(reason)
        session, rollover = connection.session, connection.rollover
        if session.state is not State.DEAD:
            log.info("connection_closed", group=rollover.group.name, slot=session.slot, reason=reason)
        self._obey(rollover, rollover.signal(session, Signal.CLOSED, self._now_ms(), reason))

    async def _url(self, group: Group) -> str:
        if group.route is not Route.PRIVATE:
            return f"{self._ws_url}/{group.route}/stream"
        assert self._listen_keys is not None
        key = await self._listen_keys.fetch()
        self._keep_alive.obtained(self._now_ms())
        return f"{self._ws_url}/{group.route}/ws/{key}"

    async def _subscribe(self, connection: _Connection) -> None:
        """Send the control messages, 5 a second; a socket that goes meanwhile is somebody else's to report."""
        group, socket = connection.rollover.group, connection.socket
        assert socket is not None
        if group.route is Route.PRIVATE:
            return  # the key in the address is the subscription
        with contextlib.suppress(ConnectionClosed):
            for message in subscribe_messages(group.streams, first_id=1):
                await socket.send(message)
                await asyncio.sleep(MESSAGE_SPACING_MS / 1_000)

    async def _keep_key_alive(self, keys: ListenKeys) -> None:
        now_ms = self._now_ms()
        try:
            if await keys.keep_alive():
                self._keep_alive.obtained(now_ms)
            else:
                user = next(r for r in self.rollovers if r.group is USER_GROUP)
                user.replace(now_ms, "listen key unknown to the venue", hole=True)
        except ListenKeyError as error:
            self._keep_alive.failed(now_ms)
            self.publisher.alert("listen_key", f"keep-alive failed: {error}")
