"""
The only place where the connector has sockets: one task per connection reads, stamps and hands every frame on.

The decisions are elsewhere: what to open and close in ``rollover``, what becomes of a frame in ``intake``, what the
broker's absence means in ``publisher``. A frame is stamped before anything else is done with it. One task reads one
socket to its end, also while it is closing; there is no task per frame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import structlog

from connectors.binance_futures import transport
from connectors.binance_futures.clocks import Offsets, ReceiveClock
from connectors.binance_futures.control import Control, Method
from connectors.binance_futures.intake import Intake, MarketIntake, UserIntake
from connectors.binance_futures.publisher import Publisher
from connectors.binance_futures.recorder import Recorder
from connectors.binance_futures.rollover import STARTED, Do, OpeningBudget, Order, Rollover
from connectors.binance_futures.routing import Reply, Route, stream_of
from connectors.binance_futures.session import Session, Signal, State
from connectors.binance_futures.subscriptions import (
    USER_STREAM,
    Group,
    Subscriptions,
    Tier,
    kind_of,
    streams_of,
    user_groups,
)
from connectors.binance_futures.transport import READ_AHEAD, ConnectionClosed, InvalidHandshake, InvalidURI
from connectors.binance_futures.user_stream import KeepAlive, ListenKeyError, ListenKeys, Watchdog

TICK_SECONDS: Final = 0.1
FROZEN_MS: Final = 1_500  # a tick that late: not the streams were silent, we were
GRACE_MS: Final = 1_000  # then what waits in the sockets is read before silence is judged
FRAMES_PER_TURN: Final = 64  # the broker's acknowledgements wait meanwhile, for each socket that is full
STOP_SECONDS: Final = 3
FALLBACK_MS: Final = 5_000
LIFE_EVERY_MS: Final = 5_000  # user stream: the pong is its only sign of life on an idle account
DEAD_AFTER_MS: Final = 15_000
OFFSET_EVERY_MS: Final = 60_000
SPOILT_FRAMES: Final = 10  # bytes that are no frame, from one connection: it is not trusted any more

log: Any = structlog.get_logger("perpguard.connector")  # Any: structlog binds its types at run time


class Described(msgspec.Struct, frozen=True):
    """One connection in words and numbers; ``quiet_ms`` is the age of its last frame."""

    source: str
    state: str
    streams: int
    age_s: int
    frames: int
    refused: int
    holes: int
    silent: list[str]
    quiet_ms: int
    unread: int


class _Connection:
    """One socket with its session, its intake and what is asked of it."""

    def __init__(self, session: Session, rollover: Rollover, intake: MarketIntake | UserIntake) -> None:
        self.session = session
        self.rollover = rollover
        self.intake = intake
        self.control = Control()
        self.socket: transport.Socket | None = None
        self.task: asyncio.Task[None] | None = None
        self.opened_ms = 0
        self.life_ms = 0  # user stream: when it was surely alive
        self.asked_life_ms = 0
        self.key = ""  # user stream: the listen key in its address
        self.judged = False  # its bad frames have been held against it

    @property
    def behind(self) -> bool:
        """True when frames wait unread: what seems silent may stand in the queue."""
        return self.socket is not None and transport.unread(self.socket) > READ_AHEAD[1]


class Connector:
    """
    Keeps every stream of every symbol flowing into the log until it is told to stop.

    ``draw`` gives random numbers from [0, 1). Without *listen_keys* there is no user stream. *on_ready* is called once,
    when every real-time stream has had its first frame and the user stream stands. *dial* and *clock* are the world.
    While no user stream stands, held symbols are told so every *fallback_ms*: decide then reads the venue by REST.
    *instance* tells the sources of a second process from those of the first (hot/hot): both write the same frames, and
    the fold takes each once.
    """

    def __init__(
        self,
        *,
        ws_url: str,
        subscriptions: Subscriptions,
        publisher: Publisher | Recorder,
        incarnation: str,
        draw: Callable[[], float],
        listen_keys: ListenKeys | None = None,
        on_ready: Callable[[], None] = lambda: None,
        dial: transport.Dial = transport.dial,
        clock: ReceiveClock | None = None,
        fallback_ms: int = FALLBACK_MS,
        instance: str = "",
    ) -> None:
        self.subscriptions = subscriptions
        self.publisher = publisher
        self.offsets = Offsets()
        self.opened = 0
        self.frames = 0  # of connections that are gone
        self.refused = 0
        self.holes = 0
        self.watchdog = Watchdog()
        self._ws_url = ws_url
        self._incarnation = incarnation
        self._draw = draw
        self._budget = OpeningBudget()
        self._dial = dial
        self._listen_keys = listen_keys
        self._keep_alive = KeepAlive()
        self._on_ready = on_ready
        self._is_ready = False
        self._clock = ReceiveClock() if clock is None else clock
        self._symbols = dict.fromkeys(subscriptions.symbols)
        self._moved = False  # wishes have changed
        self._connections: dict[Session, _Connection] = {}
        self._ended_users: dict[Session, _Connection] = {}  # while its end is being told
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._ticked_ms = 0
        self._judge_from_ms = 0  # no silence is judged before
        self._offsets_at_ms = 0
        self._stopped: dict[str, Rollover] = {}  # groups that ended, by name: their connections may still be read
        self._keys_gone: dict[str, str] = {}  # listen keys that the venue knows no more, and how we heard of it
        self._user_down_ms = 0  # when it was said last that no user stream stands
        self._fallback_ms = fallback_ms
        self._instance = f"{instance}-" if instance else ""
        self._own = Intake(  # what the connector has to say when no connection can
            source=f"connector/{self._instance}watch.a",
            incarnation=f"{incarnation}-watch",
            symbols=self._symbols,
            sink=publisher,
        )
        self.rollovers = [Rollover(group, draw=draw, budget=self._budget) for group in subscriptions.groups]
        for number, group in enumerate(user_groups() if listen_keys is not None else ()):
            started = "" if number else STARTED
            self.rollovers.append(
                Rollover(group, draw=draw, budget=self._budget, started=started, covered=self._covered)
            )

    # -------------------------------------------------------------------------------------------------- its life

    async def run(self) -> None:
        """Run until ``stop``; raises what ended the publisher or a reader unexpectedly: that is a fault of ours."""
        self._ticked_ms = self._user_down_ms = self._now_ms()
        self._offsets_at_ms = self._ticked_ms + OFFSET_EVERY_MS
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
            await asyncio.wait(serving, timeout=STOP_SECONDS)
        for task in [*self._tasks, *serving]:
            task.cancel()
        await asyncio.gather(*self._tasks, *serving, return_exceptions=True)
        if self._listen_keys is not None:
            await self._listen_keys.close()

    def stop(self) -> None:
        """Retire all connections, reading what the venue still sends, then let ``run`` return."""
        self._stop.set()

    def beside(self, work: Any) -> None:  # Any: a coroutine that returns nothing
        """Do *work* until the end; should it raise, so does ``run``."""
        self._spawn(work)

    def want(self, owner: str, symbol: str, tier: Tier | None) -> None:
        """*owner* wants *symbol* at *tier* (None: no more); applied to the living sockets with the next tick."""
        if self.subscriptions.want(owner, symbol, tier):
            self._moved = True

    @property
    def ready(self) -> bool:
        """
        True when the user stream stands and every real-time stream of every held symbol flows. While nothing is held:
        when every group has a connection that is live.
        """
        if self._listen_keys is not None and not self._user_stands(self._now_ms()):
            return False
        held = self.subscriptions.held
        if not held:
            return all(r.live for r in self.rollovers if r.group.route is not Route.PRIVATE)
        return not self.missing(held)

    def missing(self, symbols: Iterable[str]) -> list[str]:
        """
        What *symbols* need while they are held and do not have now: real-time streams that do not flow, others that no
        connection carries. A symbol without any connection misses all of them.
        """
        now_ms = self._now_ms()

        def has(stream: str) -> bool:
            if kind_of(stream).first_ms:
                return any(rollover.flows(stream, now_ms) for rollover in self.rollovers)
            return any(r.serving is not None and stream in r.serving.watches for r in self.rollovers)

        return [stream for symbol in symbols for stream in streams_of(symbol, Tier.HELD) if not has(stream)]

    def describe(self) -> list[Described]:
        """Each connection as it is now, for people and metrics."""
        now_ms = self._now_ms()
        return [
            Described(
                source=connection.intake.source,
                state=connection.session.state.value,
                streams=len(connection.session.watches),
                age_s=(now_ms - connection.opened_ms) // 1_000 if connection.opened_ms else 0,
                frames=connection.intake.frames,
                refused=connection.intake.refused,
                holes=connection.intake.holes,
                silent=connection.session.silent(now_ms) if connection.session.state is State.LIVE else [],
                quiet_ms=now_ms - max((w.last_ns for w in watches), default=0) // 1_000_000,
                unread=transport.unread(connection.socket) if connection.socket is not None else 0,
            )
            for connection in self._connections.values()
            for watches in [list(connection.session.watches.values())]
        ]

    @property
    def proven(self) -> bool:
        """True when each real-time stream of every group has had its first frame on a living connection."""
        return all(rollover.ready for rollover in self.rollovers)

    @property
    def intakes(self) -> list[Intake]:
        """The intakes of the connections that exist now, and the one that speaks when none does."""
        return [*(connection.intake for connection in self._connections.values()), self._own]

    def silent(self, rollover: Rollover) -> int:
        """How many streams of the group's live connection owe a frame now."""
        session = rollover.serving
        return len(session.silent(self._now_ms())) if session is not None and session.state is State.LIVE else 0

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000

    def _tick(self) -> None:
        self._clock.correct()
        now_ms = self._now_ms()
        since_ms, self._ticked_ms = now_ms - self._ticked_ms, now_ms
        if since_ms > FROZEN_MS:
            text = f"this process stood still for {since_ms / 1_000:.1f} s, or its clock was set forward"
            self.publisher.alert("connector_frozen", text)
            self._judge_from_ms = now_ms + GRACE_MS
        if self._moved:
            self._resubscribe(now_ms)
        for connection in self._connections.values():
            connection.session.behind = connection.behind
            connection.session.asking = not connection.control.settled
        if now_ms >= self._judge_from_ms:
            for rollover in self.rollovers:
                self._obey(rollover, rollover.tick(now_ms))
        for connection in list(self._connections.values()):
            self._judge(connection)
            self._attend(connection, now_ms)
        self._replace_deaf(now_ms)
        if self._listen_keys is not None and self._keep_alive.due(now_ms):
            self._spawn(self._keep_key_alive(self._listen_keys))
        self._watch_orders(now_ms)
        self._tell_user_down(now_ms)
        if not self._is_ready and self.proven:
            self._is_ready = True
            self._on_ready()
        if now_ms >= self._offsets_at_ms:
            self._offsets_at_ms = now_ms + OFFSET_EVERY_MS
            log.info("clock_offsets", offsets=self.offsets.summary())

    def _resubscribe(self, now_ms: int) -> None:
        """Carry the changed wishes to the sockets; a group without streams ends, a new one begins."""
        self._moved = False
        known = {rollover.group.name: rollover for rollover in self.rollovers}
        for change in self.subscriptions.settle():
            rollover = known.get(change.group.name)
            if rollover is None:
                before = self._stopped.pop(change.group.name, None)
                rollover = Rollover(change.group, draw=self._draw, budget=self._budget, before=before)
                self.rollovers.append(rollover)
            elif not change.group.streams:
                self._obey(rollover, rollover.stop(now_ms))
                self.rollovers.remove(rollover)
                self._stopped[change.group.name] = rollover
            else:
                self._obey(rollover, rollover.change(change.add, change.remove, now_ms))
        self._symbols.clear()  # the same object: the intakes have it
        self._symbols.update(dict.fromkeys(self.subscriptions.symbols))
        self.publisher.hold_all(self.subscriptions.held)

    def _judge(self, connection: _Connection) -> None:
        """A connection that is announced to end, or brings bytes that are no frames, is replaced while it stands."""
        intake, session, name = connection.intake, connection.session, connection.rollover.group.name
        if intake.notice:
            session.leave(intake.notice)
            self.publisher.alert("server_shutdown", f"{name}: {intake.notice}", gate=f"server_shutdown {name}")
            intake.notice = ""
        if intake.spoilt >= SPOILT_FRAMES and not connection.judged:
            connection.judged = True
            text = f"{intake.spoilt} spoilt frames"
            session.leave(text, distrusted=True)
            self.publisher.alert("connection_spoilt", f"{name}: {text}", gate=f"connection_spoilt {name}")

    def _attend(self, connection: _Connection, now_ms: int) -> None:
        intake, session = connection.intake, connection.session
        if isinstance(intake, UserIntake):
            intake.settle(self._clock.now_ns())
            self._look_for_life(connection, now_ms)
            return
        intake.settle(self._clock.now_ns(), session.watches.values(), live=session.state is State.LIVE)
        if session.state in (State.PROBING, State.LIVE):
            message = connection.control.due(now_ms)
            if message is not None:
                self._spawn(_say(connection, message))
        if intake.latest:
            name = stream_of(intake.latest)
            watch = session.watches.get(name.decode()) if name is not None else None
            if watch is not None:
                self.offsets.sample(watch.kind.name, intake.latest, watch.last_ns)
            intake.latest = b""

    # ---------------------------------------------------------------------------------------------- the user stream

    def _covered(self, session: Session) -> bool:
        """
        Another user connection stood since before *session* was surely alive for the last time. When that one ends, it
        is asked in its turn since when it was surely alive: so no moment is vouched for by nobody.
        """
        ended = self._ended_users.get(session, self._connections.get(session))
        life_ms = ended.life_ms if ended is not None and ended.life_ms else self._now_ms()
        return any(
            isinstance(other.intake, UserIntake)
            and other.session is not session
            and other.session.state is State.LIVE
            and other.opened_ms <= life_ms
            for other in self._connections.values()
        )

    def _look_for_life(self, connection: _Connection, now_ms: int) -> None:
        rollover, session = connection.rollover, connection.session
        if connection.socket is None or session.state is not State.LIVE:
            return
        dead = now_ms - connection.life_ms > DEAD_AFTER_MS and now_ms >= self._judge_from_ms
        if dead and rollover.serving is session and not rollover.replacing:
            # Replaced, and read on for a while: a stalled connection may still bring what the venue had sent.
            hole = not self._covered(session)
            rollover.replace(now_ms, f"no pong for {DEAD_AFTER_MS // 1_000} s", hole=hole)
        if now_ms - connection.asked_life_ms >= LIFE_EVERY_MS:
            connection.asked_life_ms = now_ms
            self._spawn(self._ask_for_life(connection))

    async def _ask_for_life(self, connection: _Connection) -> None:
        assert connection.socket is not None
        asked_ms = self._now_ms()
        with contextlib.suppress(ConnectionClosed):
            pong = await connection.socket.ping()
            await pong
            # Alive when it was asked: events that the venue sent before are read, for a pong waits behind them.
            connection.life_ms = max(connection.life_ms, asked_ms)

    def _watch_orders(self, now_ms: int) -> None:
        """Pain 13: an order that the venue took and no event of it: the stream is replaced, every symbol audited."""
        late = self.watchdog.overdue(now_ms)
        if not late:
            return
        named = ", ".join(f"{client_id} ({symbol})" for client_id, symbol in late[:3])
        self.publisher.alert("user_stream_silent", f"{len(late)} orders without an event: {named}", severity="critical")
        for rollover in self.rollovers:
            if rollover.group.route is Route.PRIVATE:
                rollover.replace(now_ms, "orders without an event", hole=True)

    def _user_stands(self, now_ms: int) -> bool:
        """True while a user connection is live by its pongs, too: a half-dead one is live by its state for a minute."""
        return any(
            isinstance(connection.intake, UserIntake)
            and connection.session.state is State.LIVE
            and connection.key not in self._keys_gone
            and (now_ms - connection.life_ms <= DEAD_AFTER_MS or now_ms < self._judge_from_ms)
            for connection in self._connections.values()
        )

    def _tell_user_down(self, now_ms: int) -> None:
        """REST fallback of the position: a lost line for each held symbol, again and again until a stream stands."""
        if self._listen_keys is None or self._user_stands(now_ms):
            self._user_down_ms = now_ms
        elif now_ms - self._user_down_ms >= self._fallback_ms:
            self._user_down_ms = now_ms
            for symbol in self.subscriptions.held:
                self._own.lost(self._clock.now_ns(), symbol, USER_STREAM, "no user stream stands")

    async def _keep_key_alive(self, keys: ListenKeys) -> None:
        now_ms = self._now_ms()
        try:
            if await keys.keep_alive():
                self._keep_alive.obtained(now_ms)
            else:
                self._key_gone(keys.key, "listen key unknown to the venue")
        except ListenKeyError as error:
            self._keep_alive.failed(now_ms)
            self.publisher.alert("listen_key", f"keep-alive failed: {error}")

    def _key_gone(self, key: str, reason: str) -> None:
        """The key is no more: every connection that stands on one is deaf, whichever was told. The same word twice."""
        if key not in self._keys_gone:
            self._keys_gone.update({c.key: reason for c in self._connections.values() if c.key})
            self._keys_gone[key] = reason

    def _replace_deaf(self, now_ms: int) -> None:
        """
        A connection with a key that is no more is replaced as soon as it serves, and its events are missing until then.
        One that was being opened when the key ended comes to serve with the dead key.
        """
        if not self._keys_gone:
            return
        users = [connection for connection in self._connections.values() if connection.key in self._keys_gone]
        for connection in users:
            rollover, session = connection.rollover, connection.session
            if session.state is State.LIVE and rollover.serving is session and not rollover.replacing:
                rollover.replace(now_ms, self._keys_gone[connection.key], hole=True)
        if not users:
            self._keys_gone.clear()  # nobody stands on them any more

    # ------------------------------------------------------------------------------------------- what rollover says

    def _obey(self, rollover: Rollover, orders: list[Order]) -> None:
        for order in orders:
            connection = self._connections.get(order.session)
            match order.do:
                case Do.OPEN:
                    self._open(rollover, order.session)
                case Do.SUBSCRIBE | Do.UNSUBSCRIBE if connection is not None:
                    self._ask(connection, order)
                case Do.CLOSE if connection is not None and connection.socket is not None:
                    self._spawn(connection.socket.close())
                case Do.ABORT if connection is not None and connection.task is not None:
                    connection.task.cancel()
                case Do.ALERT:
                    self.publisher.alert(order.code, order.text, gate=f"{order.code} {rollover.group.name}")
                case _:
                    pass  # its connection is gone already

    def _ask(self, connection: _Connection, order: Order) -> None:
        """Queue control messages; without names in the order: subscribe to everything the session watches."""
        intake, session = connection.intake, connection.session
        if isinstance(intake, UserIntake):
            return  # the key in the address is the subscription
        if order.do is Do.UNSUBSCRIBE:
            connection.control.ask(Method.UNSUBSCRIBE, order.streams)
        else:
            streams = order.streams or tuple(session.watches)
            intake.follow(session.watches[stream] for stream in streams)
            connection.control.ask(Method.SUBSCRIBE, streams)
        session.asking = True
        message = connection.control.due(self._now_ms())
        if message is not None:
            self._spawn(_say(connection, message))

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
        source = f"connector/{self._instance}{group.name}.{session.slot}"
        incarnation = f"{self._incarnation}-{self.opened:05d}"
        intake: MarketIntake | UserIntake
        if group.route is Route.PRIVATE:
            intake = UserIntake(
                source=source,
                incarnation=incarnation,
                symbols=self._symbols,
                sink=self.publisher,
                watch=session.watches[USER_STREAM],
                key_expired=lambda: self._key_gone(self._connections[session].key, "listen key expired"),
                concerns=self.publisher.hold,
                happened=self.watchdog.heard,
            )
        else:
            intake = MarketIntake(
                source=source,
                incarnation=incarnation,
                symbols=self._symbols,
                sink=self.publisher,
                watches=session.watches.values(),
                answered=lambda reply: self._answered(session, reply),
            )
        connection = _Connection(session, rollover, intake)
        self._connections[session] = connection
        connection.task = asyncio.get_running_loop().create_task(self._serve(connection))
        connection.task.add_done_callback(self._finished)

    def _answered(self, session: Session, reply: Reply) -> None:
        connection = self._connections[session]
        names = connection.control.answered(reply.id)
        if not reply.refusal:
            return
        rollover = connection.rollover
        self.publisher.alert("control_refused", f"{rollover.group.name}: {reply.refusal} (asked: {names or 'unknown'})")
        self._obey(rollover, rollover.signal(session, Signal.REFUSED, self._now_ms(), f"refused: {reply.refusal}"))

    # ------------------------------------------------------------------------------------------------- the sockets

    async def _serve(self, connection: _Connection) -> None:
        """One connection from handshake to end; whatever ends it is told to the rollover, once."""
        reason, clean = "closed by the venue", False
        route = connection.rollover.group.route
        try:
            url = await self._url(connection)
            async with self._dial(url, route) as socket:
                connection.socket = socket
                now_ns = self._clock.now_ns()
                connection.opened_ms = connection.life_ms = now_ns // 1_000_000
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
                        take(now(), frame)  # type: ignore[arg-type]  # decode=False: bytes
                    await asyncio.sleep(0)
        except ConnectionClosed as error:
            reason, clean = str(error), transport.clean(error)
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError, ListenKeyError) as error:
            reason = f"{type(error).__name__}: {error}"
        except asyncio.CancelledError:
            reason = connection.session.reason or "aborted"
        finally:
            self._ended(connection, reason, clean=clean)

    def _ended(self, connection: _Connection, reason: str, *, clean: bool) -> None:
        session, rollover = connection.session, connection.rollover
        self._connections.pop(session, None)
        self.frames += connection.intake.frames
        self.refused += connection.intake.refused
        self.holes += connection.intake.holes
        if self._listen_keys is not None:
            reason = self._listen_keys.without_key(reason)
        if session.state is not State.DEAD:
            log.info("connection_closed", group=rollover.group.name, slot=session.slot, reason=reason)
        self._ended_users = {session: connection}
        self._obey(rollover, rollover.signal(session, Signal.CLOSED, self._now_ms(), reason, clean=clean))
        self._ended_users = {}

    async def _url(self, connection: _Connection) -> str:
        group: Group = connection.rollover.group
        if group.route is not Route.PRIVATE:
            return f"{self._ws_url}/{group.route}/stream"
        assert self._listen_keys is not None
        connection.key = key = await self._listen_keys.fetch()
        self._keys_gone.pop(key, None)  # the venue says that it lives
        self._keep_alive.obtained(self._now_ms())
        return f"{self._ws_url}/{group.route}/ws/{key}"


async def _say(connection: _Connection, message: str) -> None:
    """Send a control message; a socket that goes meanwhile is its reader's to report."""
    assert connection.socket is not None
    with contextlib.suppress(ConnectionClosed):
        await connection.socket.send(message)
