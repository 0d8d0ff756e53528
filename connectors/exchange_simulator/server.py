"""The composition of one running simulator: clock, exchange, hub, HTTP and WebSocket doors, admin, ledger file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import msgspec
from aiohttp import web

from connectors.exchange_simulator import admin
from connectors.exchange_simulator.conditional import AlgoOrder
from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.faults import STREAM_ACTIONS, FaultPlan
from connectors.exchange_simulator.hub import Hub
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.live_feed import LiveFeed, live_routes
from connectors.exchange_simulator.order_socket import OrderConnection, serve_order_socket
from connectors.exchange_simulator.request_faults import Holds, Trial
from connectors.exchange_simulator.rest import MAX_BODY, faulty_reply, read_request, request_attributes, write_reply
from connectors.exchange_simulator.streams import serve_socket
from connectors.exchange_simulator.synthetic import Source, SyntheticMarket
from connectors.exchange_simulator.timed_faults import carry_out_due
from connectors.exchange_simulator.venue import Reply, Request, Venue, VenueSettings

Payload = dict[str, Any]  # Any: JSON
# Source steps per loop turn: small enough that a request never waits long behind the market.
STEPS_PER_TURN: Final = 100
# A market that is behind gathers so many frames before it writes; one that keeps up writes at once.
FRAMES_PER_WRITE: Final = 200
# A recording played as fast as possible waits while a reader has this much unread.
FULL: Final = 2 * 1024 * 1024
STALL_SECONDS: Final = 30.0
LATE_MS: Final = 2_000
LINES_OF_A_STREAM: Final = 100
BEGINNINGS: Final = ("now", "subscription", "admin")
GATHERING_SECONDS: Final = 1.0


class Clock:
    """
    Exchange time: the host's clock plus an offset that faults and recordings set.

    Clients see the offset at once in /time and in what the venue thinks of their timestamps. The engine's clock never
    goes back: put back, it runs at half speed until it agrees again, so that the market goes on meanwhile.
    """

    def __init__(self, offset_ms: int = 0, read: Callable[[], float] = time.time) -> None:
        self.offset_ms = offset_ms
        self._read = read
        self._engine = self._last = 0.0

    def now_ms(self) -> int:
        """The engine's milliseconds; never less than before."""
        host = self._read() * 1_000
        self._engine = max(host + self.offset_ms, self._engine + max(0.0, host - self._last) / 2)
        self._last = host
        return int(self._engine)

    def skew_ms(self) -> int:
        """How far the clock that clients see is behind the engine's; 0 or negative."""
        engine = self.now_ms()
        return min(0, int(self._last) + self.offset_ms - engine)

    def host_ms(self) -> int:
        """The host's milliseconds, which no fault moves."""
        return int(self._read() * 1_000)


class LedgerFile:
    """Writes ledger lines as JSON lines, in batches."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()

    def __call__(self, line: Payload) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()


class Simulator:
    """One exchange on one port."""

    def __init__(
        self,
        rows: list[Instrument],
        settings: VenueSettings,
        *,
        make_source: Callable[[int], Source],
        clock: Clock | None = None,
        ledger_file: LedgerFile | None = None,
        begin: str = "now",
        live: LiveFeed | None = None,
    ) -> None:
        """
        *make_source* gets the start in exchange ms; *live* feeds it from a real venue, which then also answers what is
        public.

        The market begins now, by POST /admin/start ("admin"), or a second after the first subscription, when the other
        sockets of the same client have come too ("subscription").
        """
        self.clock = Clock() if clock is None else clock
        start_ms = self.clock.now_ms()
        self.faults = FaultPlan(elapsed=self.clock.host_ms)
        self.hub = Hub(self.faults)
        self._ledger_file = ledger_file
        self.venue = Venue(
            rows,
            settings,
            routes=ROUTES if live is None else live_routes(ROUTES),
            start_ms=start_ms,
            ledger=Ledger(ledger_file),
            # Of a real venue every frame is passed on as it is, and none is made here.
            wanted=self.hub.wanted if live is None else lambda stream: False,
        )
        self._live = live
        self.venue.conditional.sticks = self._sticks
        self.exchange = Exchange(self.venue, make_source(start_ms))
        self.holds = Holds()
        self.order_connections: dict[OrderConnection, None] = {}
        self.started = asyncio.Event()
        assert begin in BEGINNINGS
        self._begin = begin
        if begin == "now":
            self.started.set()
        self.hub.on_bite = self.note_bite
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    # ---- life ---------------------------------------------------------------------------------------------------

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Open the port and let the market run."""
        application = web.Application(client_max_size=MAX_BODY)
        for prefix in ("/{route:public|market|private}", ""):
            application.router.add_get(prefix + "/{mode:ws|stream}", self._socket)
            application.router.add_get(prefix + "/{mode:ws|stream}/{streams:.+}", self._socket)
        application.router.add_get("/ws-fapi/v1", self._order_socket)
        admin.add_routes(application, self)
        application.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1_024)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.market_task = asyncio.create_task(self._run_market())
        self._tasks = [self.market_task]
        if self._live is not None:
            self._tasks.append(asyncio.create_task(self._live.run(self)))
        if self._ledger_file is not None:
            self._tasks.append(asyncio.create_task(self._flush_ledger()))

    async def stop(self) -> None:
        """Close every socket and the port; the ledger file is complete afterwards."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.holds.release(None)
        self.disconnect(None)
        if self._runner is not None:
            await self._runner.cleanup()
        self._close_plan()
        if self._ledger_file is not None:
            self._ledger_file.flush()

    def _close_plan(self) -> None:
        """The last word on faults: how often each action bit, and which rules never did."""
        report = self.faults.report()
        if report["by_action"]:
            body = {"bites": report["by_action"], "never_bit": self.faults.never_bit()}
            self.venue.ledger.record("fault_plan", body, now_ms=self.clock.now_ms())

    def urls(self) -> dict[str, str]:
        """What clients connect to."""
        return {"rest": f"http://127.0.0.1:{self.port}", "ws": f"ws://127.0.0.1:{self.port}"}

    async def _flush_ledger(self) -> None:
        assert self._ledger_file is not None
        while True:
            await asyncio.sleep(0.2)
            self._ledger_file.flush()

    # ---- market -------------------------------------------------------------------------------------------------

    async def _run_market(self) -> None:
        """Advance the exchange with the clock; yield to requests after every few steps."""
        loop = asyncio.get_running_loop()
        while not self.started.is_set():
            # Quiet market: cadence frames still flow, the source has not begun.
            carry_out_due(self)
            self.venue.tick(self.clock.now_ms())
            self.deliver()
            if self._begin == "subscription" and self.hub.subscribed.is_set():
                self._begin = "admin"
                loop.call_later(GATHERING_SECONDS, self.started.set)
            try:
                async with asyncio.timeout(0.05):
                    await self.started.wait()
            except TimeoutError:
                continue
        if isinstance(self.exchange.source, SyntheticMarket):
            # What was due while the market waited never happened.
            self.exchange.source.skip_to(self.clock.now_ms())
        while True:
            carry_out_due(self)
            now_ms = self.clock.now_ms()
            self._forgive_lateness(now_ms)
            more = self.exchange.advance(now_ms, limit=STEPS_PER_TURN)
            if more and len(self.venue.frames) < FRAMES_PER_WRITE and not self.venue.user_events:
                # Behind: a write costs as much as ten frames, so few of them leave together; requests go in between.
                await asyncio.sleep(0)
                continue
            self.deliver()
            if more:
                await self._drained(loop)
                continue
            wait_ms = self.exchange.next_due() - self.clock.now_ms()
            await asyncio.sleep(max(0.0, min(wait_ms, 50)) / 1_000)

    def _forgive_lateness(self, now_ms: int) -> None:
        """After a stall (a suspended process) the synthetic market goes on from now instead of racing."""
        source = self.exchange.source
        due = source.next_due()
        if isinstance(source, SyntheticMarket) and due is not None and now_ms - due > LATE_MS:
            source.skip_to(now_ms)

    async def _drained(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let sockets empty before the next burst; a reader that stalls for long is left to its own bound."""
        deadline = loop.time() + STALL_SECONDS
        await asyncio.sleep(0)
        # Transports tell only their own protocol when they have emptied, so their fill is looked at.
        while self.hub.unsent() > FULL and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def pump(self) -> None:
        """Take what the live feed has brought, at once."""
        if self.started.is_set():
            self.exchange.advance(self.clock.now_ms(), limit=STEPS_PER_TURN)
            self.deliver()

    def deliver(self) -> None:
        """Send everything the venue has produced."""
        frames, events = self.exchange.drain()
        self.hub.publish(frames)
        self.hub.publish_user(events, self.venue.listen_key)

    # ---- doors --------------------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return await serve_socket(self.hub, request)

    async def _order_socket(self, request: web.Request) -> web.StreamResponse:
        return await serve_order_socket(self, request)

    def disconnect(self, route: str | None) -> int:
        """Cut every socket of a route (public, market, private, ws-fapi; all without one); returns how many."""
        cut = self.hub.disconnect(route) if route != "ws-fapi" else 0
        if route in (None, "ws-fapi"):
            for connection in self.order_connections:
                connection.abort()
            cut += len(self.order_connections)
        return cut

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        asked = await read_request(request)
        if not self.faults.rules:
            return write_reply(await self.passed_on(asked, self.ask(asked)))
        attributes = request_attributes(asked)
        rules = self.faults.find_all(attributes)
        if not rules:
            return write_reply(await self.passed_on(asked, self.ask(asked)))
        return await faulty_reply(self, request, asked, attributes, Trial(rules))

    async def passed_on(self, asked: Request, reply: Reply) -> Reply:
        """The real venue's answer in place of *reply* where a live proxy leaves it to that; else *reply*."""
        return reply if self._live is None else await self._live.answer(asked, reply)

    def ask(self, asked: Request) -> Reply:
        """Answer one request now and send what it caused."""
        self.venue.gateway_skew_ms = self.clock.skew_ms()
        reply = self.exchange.request(asked, self.clock.now_ms())
        self.deliver()
        return reply

    def _sticks(self, algo: AlgoOrder) -> bool:
        if "stick_trigger" not in self.faults.active:
            return False
        attributes = {
            "symbol": algo.row.symbol, "client_id": algo.client_id, "type": algo.order_type, "side": algo.side,
        }  # fmt: skip
        rule = self.faults.find(("stick_trigger",), attributes)
        if rule is None:
            return False
        self.note_bite(rule.action, {"rule": rule.id} | attributes)
        return True

    def note_bite(self, kind: str, body: Payload) -> None:
        """Write a fault that bit into the ledger; of the many of a stream only the first and then every hundredth."""
        ledger = self.venue.ledger
        bites = ledger.faults.get(kind, 0)
        if kind in STREAM_ACTIONS and bites >= LINES_OF_A_STREAM and bites % LINES_OF_A_STREAM:
            # A muted stream must not push the orders out of the ledger.
            ledger.faults[kind] = bites + 1
            return
        ledger.record("fault", {"action": kind} | body, now_ms=self.clock.now_ms())


def synthetic_simulator(
    rows: list[Instrument], settings: VenueSettings, *, rate: float, scenario: Any, **options: Any
) -> Simulator:  # Any: Scenario, and the options of Simulator
    """A simulator on a synthetic market."""
    return Simulator(
        rows,
        settings,
        make_source=lambda start_ms: SyntheticMarket(
            rows, seed=settings.seed, scenario=scenario, rate=rate, start_ms=start_ms
        ),
        **options,
    )
