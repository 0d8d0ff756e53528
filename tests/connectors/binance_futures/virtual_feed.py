"""
The only place where the whole connector runs in virtual time: sockets that fail as told, and a ledger of what was sent.

The venue is the simulator's pure one with its synthetic market, Kafka is ``pipeline.virtual.log``, and everything
between them is the connector as it is: ``Connector``, ``Publisher``, their tasks and deadlines. Only the library below
``transport.dial`` and aiokafka are stood in for.

The ledger knows of every frame when it was made, on which connections it was sent, and which of these the venue cut
before it arrived. A frame that was sent on a connection that was not cut is owed to the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable
from random import Random
from types import SimpleNamespace
from typing import Any, Final

import httpx
import msgspec
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from connectors.binance_futures.client import Connector
from connectors.binance_futures.clocks import ReceiveClock
from connectors.binance_futures.publisher import Publisher
from connectors.binance_futures.routing import Route, route_of
from connectors.binance_futures.subscriptions import Subscriptions
from connectors.binance_futures.transport import CLOSE_SECONDS
from connectors.binance_futures.user_stream import ListenKeys
from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.scenarios import BUILT_IN
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import Reply, Request, Venue, VenueSettings
from pipeline.binance.fold import PartitionFold
from pipeline.core.commands import RequestData
from pipeline.core.rate_limits import Budget, Cost, Lane, WaitUntil, Window, admit, release
from pipeline.virtual.clock import BEHIND, START_MS, VirtualClock, VirtualLoop
from pipeline.virtual.log import Stored, VirtualKafka, VirtualProducer
from pipeline.virtual.processes import Process
from pipeline.wire import lines
from pipeline.wire.topics import INPUT_PARTITIONS, INPUTS, QUARANTINE, partition_of

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
ROAD_US: Final = (800, 30_000)
TICK_MS: Final = 250
MARKED_WITHIN_MS: Final = 1_000
USER_MARKED_WITHIN_MS: Final = 90_000  # as soon as a user stream stands again
# A coin-margined trade, which the fold reads and does not fold: it stands where a duplicate stood.
NOTHING: Final = (
    b'{"stream":"x@aggTrade","data":{"e":"aggTrade","E":1,"a":1,"s":"%b","p":"1","q":"1","nq":"1","f":1,"l":1,"T":1,'
    b'"m":false,"st":2}}'
)


class Sent(msgspec.Struct):
    """One frame of the venue: when it was made, on how many connections it is under way, arrived or was cut."""

    stream: str
    at_ms: int
    roads: int = 0
    cut: int = 0
    cut_ms: int = 0
    spoilt: bool = False


class VirtualSocket:
    """``transport.Socket`` at our end of a road with a latency of its own; the venue's end does what the faults say."""

    def __init__(self, venue: FeedVenue, route: Route, key: str) -> None:
        self.venue = venue
        self.route = route
        self.key = key
        self.streams: dict[str, None] = {}
        self.muted: set[str] = set()
        self.deaf = False  # the wrong route: everything is accepted, nothing comes
        self.open = True
        self.closing = False
        self.stalled_until = 0.0
        self._clear_at = 0.0
        self._inbox: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._end: Exception | None = None
        self._ended = asyncio.Event()
        self._under_way: deque[tuple[bytes, Sent | None]] = deque()

    # ---- our end

    async def recv(self, decode: bool | None = None) -> bytes:
        while not self._inbox:
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    async def send(self, message: str) -> None:
        if self._end is not None:
            raise self._end
        self.venue.loop.call_later(self.venue.road(), self.venue.control, self, json.loads(message))

    async def ping(self) -> Awaitable[None]:
        pong: asyncio.Future[None] = self.venue.loop.create_future()
        self._send_at(lambda: None if pong.done() else pong.set_result(None))
        return pong

    async def close(self) -> None:
        if not self.closing and self._end is None:
            self.closing = True
            self.venue.loop.call_later(self.venue.road(), self._close_at_venue)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ended.wait()
        if self._end is None:
            self.cut("no close frame came", by_venue=False)

    # ---- the venue's end

    def _close_at_venue(self) -> None:
        self.open = False
        self._send_at(lambda: self._finish(ConnectionClosedOK(Close(1000, ""), Close(1000, ""), True)))

    def _send_at(self, arrive: Any) -> None:
        loop = self.venue.loop
        at = max(self._clear_at + BEHIND, loop.time() + self.venue.road(), self.stalled_until)
        self._clear_at = at
        loop.call_at(at, self._arrive, arrive)

    def _arrive(self, arrive: Any) -> None:
        if self._end is None:
            arrive()

    def push(self, frame: bytes, sent: Sent | None) -> None:
        if not self.open or self._end is not None:
            return
        if sent is not None:
            sent.roads += 1
        self._under_way.append((frame, sent))
        self._send_at(self._take)

    def _take(self) -> None:
        frame, _ = self._under_way.popleft()
        self._inbox.append(frame)
        self._arrived.set()

    def cut(self, reason: str, *, by_venue: bool = True) -> None:
        """The connection is gone: what is under way is lost."""
        self.open = False
        for _, sent in self._under_way:
            if sent is not None:
                sent.cut += by_venue
                sent.cut_ms = self.venue.clock.now_ms()
        self._under_way.clear()
        self._finish(ConnectionClosedError(None, None))

    def _finish(self, end: Exception) -> None:
        if self._end is None:
            self._end = end
            self.open = False
            self._arrived.set()
            self._ended.set()
            self.venue.sockets.pop(self, None)


class FeedVenue:
    """The simulator's venue behind sockets; ``ledger`` maps the bytes of each frame to what became of it."""

    def __init__(self, loop: VirtualLoop, random: Random, *, symbols: tuple[str, ...], rate: float) -> None:
        self.loop = loop
        self.random = random
        self.clock = VirtualClock(loop)
        rows = [default_instrument(symbol) for symbol in symbols]
        settings = VenueSettings(seed=random.randrange(1 << 30))
        self.sockets: dict[VirtualSocket, None] = {}
        self.venue = Venue(rows, settings, routes=ROUTES, start_ms=START_MS, wanted=self._wanted)
        self.source = SyntheticMarket(rows, seed=settings.seed, scenario=BUILT_IN["calm"], rate=rate, start_ms=START_MS)
        for event in self.source.initial(START_MS):
            self.venue.apply(event, START_MS)
        self.ledger: dict[bytes, Sent] = {}
        self.resting = False
        self.refusing_until = 0.0
        self.deaf_until = 0.0
        self.next_frames: deque[str] = (
            deque()
        )  # lose | duplicate | corrupt: what becomes of the next frames of a stream
        self.spoil_stream = ""
        self.bites: Counter[str] = Counter()
        self.never_sent = 0
        self.opened = 0
        self._encode = msgspec.json.Encoder().encode

    def road(self) -> float:
        """Seconds of one way."""
        return self.random.randint(*ROAD_US) / 1_000_000

    def _wanted(self, stream: str) -> bool:
        return any(stream in socket.streams for socket in self.sockets)

    async def run(self) -> None:
        """Let the market happen, until it is told to rest: then only what has a cadence goes on."""
        while True:
            now = self.clock.now_ms()
            while not self.resting and (due := self.source.next_due()) is not None and due <= now:
                for event in self.source.take(now):
                    self.venue.apply(event, now)
            self.venue.tick(now)
            self.deliver()
            await asyncio.sleep(0.05)

    def deliver(self) -> None:
        """Send what the venue has produced."""
        frames, self.venue.frames = self.venue.frames, []
        for stream, payload in frames:
            self._publish(stream, b'{"stream":"%b","data":%b}' % (stream.encode(), self._encode(payload)))
        events = self.venue.user_events[:]
        self.venue.user_events.clear()
        for event in events:
            frame = self._encode(event)
            sent = self.ledger.setdefault(frame, Sent("user", self.clock.now_ms()))
            for socket in list(self.sockets):
                if socket.route is Route.PRIVATE and socket.key == event.get("listenKey", self.venue.listen_key):
                    socket.push(frame, sent)

    def _publish(self, stream: str, frame: bytes) -> None:
        fate = self.next_frames.popleft() if stream == self.spoil_stream and self.next_frames else ""
        sent = self.ledger.setdefault(frame, Sent(stream, self.clock.now_ms()))
        if fate:
            self.bites[fate] += 1
        if fate == "lose":
            self.never_sent += 1
            return
        if fate == "corrupt":
            sent.spoilt = True
            frame = frame[: len(frame) // 2]
        for socket in list(self.sockets):
            if stream in socket.streams and not socket.deaf and stream not in socket.muted:
                for _ in range(2 if fate == "duplicate" else 1):
                    socket.push(frame, sent)

    def control(self, socket: VirtualSocket, message: dict[str, Any]) -> None:
        """A control message has come in."""
        for stream in message["params"]:
            if message["method"] == "UNSUBSCRIBE":
                socket.streams.pop(stream, None)
            elif route_of(stream) is socket.route:
                socket.streams[stream] = None
        socket.push(json.dumps({"result": None, "id": message["id"]}).encode(), None)

    @contextlib.asynccontextmanager
    async def dial(self, url: str, route: Route) -> AsyncIterator[VirtualSocket]:
        """``transport.dial``."""
        await asyncio.sleep(2 * self.road())
        if self.loop.time() < self.refusing_until:
            self.bites["refused"] += 1
            raise ConnectionRefusedError("maintenance")
        socket = VirtualSocket(self, route, url.rpartition("/")[2])
        socket.deaf = self.loop.time() < self.deaf_until
        self.sockets[socket] = None
        self.opened += 1
        try:
            yield socket
        finally:
            if socket._end is None:
                socket.cut("the reader went", by_venue=False)

    def ask(self, method: str, path: str, query: str = "", *, signed: bool = False) -> Reply:
        """A REST request, answered at once."""
        if signed:
            query = f"{query}&timestamp={self.clock.now_ms()}".lstrip("&")
            query = f"{query}&signature={sign(DEFAULT_SECRET, query)}"
        reply = self.venue.request(Request(method, path, query=query, api_key=DEFAULT_KEY), self.clock.now_ms())
        self.deliver()
        return reply

    def keys(self) -> ListenKeys:
        """The listen-key endpoint."""

        def answer(request: httpx.Request) -> httpx.Response:
            reply = self.ask(request.method, request.url.path)
            return httpx.Response(reply.status, json=reply.body)

        return ListenKeys(rest_url="http://venue", api_key=DEFAULT_KEY, transport=httpx.MockTransport(answer))


class Feed:
    """A connector between a venue and a log, with a fold and a small executor behind it that answers its questions."""

    def __init__(self, loop: VirtualLoop, seed: int, *, symbols: tuple[str, ...] = SYMBOLS, rate: float = 4.0) -> None:
        self.loop = loop
        self.random = Random(seed)
        self.symbols = symbols
        self.kafka = VirtualKafka(loop, self.random)
        self.venue = FeedVenue(loop, self.random, symbols=symbols, rate=rate)
        self.clock = VirtualClock(loop)
        self.alerts: list[tuple[int, str, str]] = []
        self.publisher, self.connector = self.process("")
        self.folds = [
            PartitionFold(partition=p, log_identity="virtual", fold="f", universe=symbols)
            for p in range(INPUT_PARTITIONS)
        ]
        self._others: Counter[str] = Counter()
        self._folded = [0] * INPUT_PARTITIONS
        self._tasks: list[asyncio.Task[None]] = []
        self.window = Window(Budget())
        self.spent: list[tuple[int, int]] = []  # (when, weight) of each snapshot
        self._waiting: dict[str, Cost] = {}
        self.asked: Counter[str] = Counter()

    def process(self, instance: str) -> tuple[Publisher, Connector]:
        """A connector with its publisher, as a process of its own has them."""
        process = Process(f"connector {instance}")
        publisher = Publisher(
            arguments={},
            prefix="",
            incarnation=f"v{instance}",
            make_producer=lambda **_: VirtualProducer(self.kafka, process),
            wall_ns=self.clock.now_ns,
        )
        publisher.alert = self._alert  # type: ignore[method-assign]  # kept here, not parsed again
        connector = Connector(
            ws_url="ws://venue",
            subscriptions=Subscriptions(self.symbols),
            publisher=publisher,
            incarnation=f"v{instance}",
            draw=self.random.random,
            listen_keys=self.venue.keys(),
            dial=self.venue.dial,
            clock=ReceiveClock(self.clock.now_ns, self.clock.now_ns),
            instance=instance,
        )
        return publisher, connector

    def _alert(self, code: str, text: str, *, severity: str = "warning", gate: str = "") -> None:
        self.alerts.append((self.clock.now_ms(), code, text))

    async def start(self) -> None:
        """Everything runs and every stream is proven."""
        await self.publisher.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in (self.venue.run(), self.connector.run(), self._fold())]
        await self.until(lambda: self.connector.proven, 30)

    async def until(self, condition: Any, seconds: float) -> None:
        """Wait in virtual time."""
        end = self.loop.time() + seconds
        while not condition():
            assert self.loop.time() < end, f"waited in vain {seconds} s, alerts: {self.alerts[-3:]}"
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End the connector as a signal would; the fold reads to the end."""
        self.connector.stop()
        await self._tasks[1]
        assert await self.publisher.flush(60)
        await asyncio.sleep(1)
        self._fold_more()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.publisher.stop()

    # ---- fold and executor

    async def _fold(self) -> None:
        while True:
            await asyncio.sleep(TICK_MS / 1_000)
            at = self.clock.now_ns()
            for partition in sorted({partition_of(symbol) for symbol in self.symbols}):
                self._others[f"tick {partition}"] += 1
                line = lines.Line(
                    at=at, src="decide/0", inc="v", n=self._others[f"tick {partition}"], sym="*", tick=at // 1_000_000
                )
                self.kafka.append(INPUTS.name, partition, b"", lines.encode(line))
            self._fold_more()

    def _fold_more(self) -> None:
        for partition, fold in enumerate(self.folds):
            records = self.kafka.of(INPUTS.name, partition).records
            for record in records[self._folded[partition] :]:
                applied = fold.apply_record(offset=record.offset, append_ms=record.timestamp, value=record.value)
                for decision in applied.decisions:
                    for output in decision.outputs:
                        if isinstance(output, RequestData):
                            self.asked[output.kind] += 1
                            self._serve(decision.symbol, output)
            self._folded[partition] = len(records)

    def _serve(self, symbol: str, request: RequestData) -> None:
        """Answer in a moment; snapshots when the governor's own budget allows, one wish of a symbol at a time."""
        if request.kind != "depth":
            self.loop.call_later(0.05, self._answer, symbol, request.kind)
        elif symbol not in self._waiting:
            self._waiting[symbol] = Cost(Lane.DATA, weight=20 if request.limit > 500 else 10)
            self._admit(symbol)

    def _admit(self, symbol: str) -> None:
        cost, now = self._waiting[symbol], self.clock.now_ms()
        verdict = admit(self.window, cost, now)
        if isinstance(verdict, WaitUntil):
            self.loop.call_later(max(1, verdict.at - now) / 1_000, self._admit, symbol)
            return
        self.spent.append((now, cost.weight))
        del self._waiting[symbol]
        release(self.window, cost)
        self.loop.call_later(0.05, self._answer, symbol, "depth")

    def _answer(self, symbol: str, kind: str) -> None:
        body = self._read(symbol, kind)
        self._others[symbol] += 1
        answer = lines.Answer(kind=kind, request="r", body=msgspec.Raw(msgspec.json.encode(body)))
        line = lines.Line(
            at=self.clock.now_ns(), src="execute/main", inc="1", n=self._others[symbol], sym=symbol, answer=answer
        )
        self.kafka.append(INPUTS.name, partition_of(symbol), b"", lines.encode(line))

    def _read(self, symbol: str, kind: str) -> Any:
        def get(path: str, query: str = "", *, signed: bool = False) -> Any:
            return self.venue.ask("GET", f"/fapi/{path}", f"symbol={symbol}{query}", signed=signed).body

        match kind:
            case "exchange_info":
                return next(row for row in get("v1/exchangeInfo")["symbols"] if row["symbol"] == symbol)
            case "depth":
                return get("v1/depth", "&limit=1000")
            case "klines":
                return get("v1/klines", "&interval=5m&limit=200")
            case "premium_index":
                return get("v1/premiumIndex")
            case "open_interest":
                return get("v1/openInterest")
            case "audit":
                return {
                    "positionRisk": get("v3/positionRisk", signed=True),
                    "openOrders": get("v1/openOrders", signed=True),
                    "openAlgoOrders": get("v1/openAlgoOrders", signed=True),
                }
            case _:
                return None

    # ---- what happens on the account

    def trade(self) -> None:
        """An order of somebody who uses the same account: events for the user stream."""
        symbol = self.random.choice(self.symbols)
        side = self.random.choice(["BUY", "SELL"])
        quantity = "0.002" if symbol == "BTCUSDT" else "0.02"
        reply = self.venue.ask(
            "POST", "/fapi/v1/order", f"symbol={symbol}&side={side}&type=MARKET&quantity={quantity}", signed=True
        )
        assert reply.status in (200, 400), reply

    # ---- the judge

    def records(self) -> list[tuple[int, Stored]]:
        """Every record of ``inputs`` with its partition."""
        return [(p, record) for p in range(INPUT_PARTITIONS) for record in self.kafka.of(INPUTS.name, p).records]

    def sources(self) -> set[str]:
        """Whoever wrote lines."""
        return {lines.decode(raw).src for _, record in self.records() for raw in lines.split(record.value)}

    def judge(self) -> SimpleNamespace:
        """Hold the log against the ledger, and the fold against one that never saw a frame twice."""
        seen: dict[bytes, int] = {}
        lost: dict[str, list[int]] = defaultdict(list)
        per_source: dict[tuple[str, str, str], int] = defaultdict(int)
        duplicates = 0
        without = [
            PartitionFold(partition=p, log_identity="virtual", fold="f", universe=self.symbols)
            for p in range(INPUT_PARTITIONS)
        ]
        told: set[tuple[str, bytes]] = set()
        for partition, record in self.records():
            kept = []
            for raw in lines.split(record.value):
                line = lines.decode(raw)
                if line.src.startswith("connector/"):
                    per_source[line.src, line.inc, line.sym] += 1
                    assert per_source[line.src, line.inc, line.sym] == line.n, "running numbers are dense"
                if line.lost is not None:
                    lost[line.lost.stream].append(line.at // 1_000_000)
                frame = bytes(line.frame)
                if frame:
                    seen.setdefault(frame, line.at // 1_000_000)
                    again = (line.sym, frame) in told
                    duplicates += again
                    told.add((line.sym, frame))
                    if again:
                        kept.append(raw[: raw.index(b',"frame":')] + b',"frame":' + NOTHING % line.sym.encode() + b"}")
                        continue
                kept.append(raw)
            without[partition].apply_record(offset=record.offset, append_ms=record.timestamp, value=lines.join(kept))
        owed = {frame: sent for frame, sent in self.venue.ledger.items() if sent.roads > sent.cut and not sent.spoilt}
        missed = [
            (sent.stream, sent.at_ms - START_MS)
            for frame, sent in owed.items()
            if frame not in seen and self._ours(frame)
        ]
        unmarked = self._unmarked(seen, lost)
        effects = [
            symbol
            for fold, other in zip(self.folds, without, strict=True)
            for symbol in fold.states
            if fold.encode_state(symbol) != other.encode_state(symbol)
        ]
        halted = [symbol for fold in self.folds for symbol, state in fold.states.items() if state.halted]
        quarantined = self.kafka.of(QUARANTINE.name).records
        return SimpleNamespace(
            owed=len(owed),
            missed=missed,
            unmarked=unmarked,
            duplicates=duplicates,
            effects=effects,
            halted=halted,
            quarantined=len(quarantined),
            spoilt=sum(sent.spoilt for sent in self.venue.ledger.values()),
            books=[symbol for symbol in self.symbols if not self._book_agrees(symbol)],
            positions=[symbol for symbol in self.symbols if not self._position_agrees(symbol)],
        )

    def _ours(self, frame: bytes) -> bool:
        return b"!contractInfo" not in frame and b"!forceOrder" not in frame and b"listenKeyExpired" not in frame

    def _unmarked(self, seen: dict[bytes, int], lost: dict[str, list[int]]) -> list[tuple[str, int]]:
        """
        Frames that are not in the log though they left the venue, and no lost line where it belongs: no later than the
        next frame of the stream that is in the log, or, of a retired connection, than the next one after it was torn.

        One that never left the venue (lost inside, or muted for less than 3 s) nobody can know of: the fold finds it in
        a book by ``pu``. The last frames of a run are followed by none.
        """
        found = []
        follower: dict[str, int] = {}
        arrivals: dict[str, list[int]] = defaultdict(list)
        for frame, sent in self.venue.ledger.items():
            if frame in seen:
                arrivals[sent.stream].append(seen[frame])
        for stamps in arrivals.values():
            stamps.sort()
        for frame, sent in reversed(self.venue.ledger.items()):
            if frame in seen:
                follower[sent.stream] = seen[frame]
            elif sent.roads and sent.stream in follower and self._ours(frame):
                within = USER_MARKED_WITHIN_MS if sent.stream == "user" else MARKED_WITHIN_MS
                stamps = arrivals[sent.stream]
                place = bisect_left(stamps, sent.cut_ms)
                after = stamps[place] if place < len(stamps) else sent.cut_ms
                spans = [(sent.at_ms, follower[sent.stream] + within), (sent.cut_ms, after + within)]
                if not any(low <= at <= high for at in lost[sent.stream] for low, high in spans):
                    found.append((sent.stream, sent.at_ms - START_MS))
        return found

    def _state(self, symbol: str) -> Any:
        return self.folds[partition_of(symbol)].states[symbol]

    def _book_agrees(self, symbol: str) -> bool:
        book, state = self.venue.venue.markets[symbol].book, self._state(symbol)
        if not state.book.whole:
            return False
        return (dict(state.book.bids), dict(state.book.asks)) == (dict(book.bids), dict(book.asks))

    def _position_agrees(self, symbol: str) -> bool:
        row = self.venue.venue.markets[symbol].row
        lots = self.venue.venue.account.position(row, "BOTH").lots
        foreign = self._state(symbol).foreign
        return lots == (foreign.lots if foreign is not None else 0)
