"""
The only place that starts the real roles as processes of virtual time: connector, account, decide, execute.

Each is what its agent or client makes of the same classes, with Faust and sockets replaced by a reader of the log and
a connection of the virtual venue: intakes and line publisher, ``PartitionRunner`` around ``DecideFolding`` and
``AccountFolding``, ``Executor`` with ``KafkaJournal`` and ``KafkaOutbox``.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from connectors.binance_futures.routing import UserEvent, all_market_symbols, stream_of, user_event
from pipeline.agents.account import AccountFolding
from pipeline.agents.decide import DecideFolding
from pipeline.agents.execute import KafkaOutbox, budget_of, limits_of
from pipeline.core import account_state
from pipeline.core.events import FeedLost
from pipeline.core.units import Milliseconds
from pipeline.execution.executor import Executor, Superseded
from pipeline.execution.kafka_journal import KafkaJournal
from pipeline.execution.lease import LEASE_MS
from pipeline.execution.ports import JournalUnavailable, Venue
from pipeline.settings import Settings
from pipeline.streaming.folding import Folding, View
from pipeline.streaming.lines import LinePublisher
from pipeline.streaming.producer import OutputProducer
from pipeline.streaming.runner import PartitionRunner
from pipeline.virtual.clock import VirtualClock, VirtualLoop
from pipeline.virtual.log import Reader, Stored, Table, VirtualConsumer, VirtualKafka, VirtualProducer, home_of
from pipeline.virtual.processes import Process
from pipeline.virtual.venue import Socket, VenueClient, VirtualVenue
from pipeline.wire import lines, records
from pipeline.wire.lines import EVERY_SYMBOL
from pipeline.wire.outputs import Outgoing
from pipeline.wire.topics import ACCOUNT, ATTEMPTS, DATA_INTENTS, INPUTS, INTENTS, Topic, partition_of

LOG_IDENTITY: Final = "virtual"
COMMIT_MS: Final = 800  # Faust commits once a second: what was acknowledged since is delivered again after a kill
STREAMS: Final = ("bookTicker", "markPrice@1s")
USER_STREAM: Final = "user"


class World(msgspec.Struct):
    """What outlives the processes: the log, the venue, tables, offsets, disks."""

    loop: VirtualLoop
    settings: Settings
    fold: str
    kafka: VirtualKafka
    venue: VirtualVenue
    disk: Path
    tick_seconds: float = 0.5
    lease_ms: int = LEASE_MS
    tables: dict[str, Table] = msgspec.field(default_factory=dict)
    committed: dict[str, int] = msgspec.field(default_factory=dict)
    faults: list[tuple[str, BaseException]] = msgspec.field(default_factory=list)
    starts: int = 0

    def table(self, name: str) -> Table:
        """A changelog table of one partition."""
        return self.tables.setdefault(name, Table(self.kafka))

    def incarnation(self) -> str:
        """A text that no process of this world had before."""
        self.starts += 1
        return f"i{self.starts:04d}"


class VirtualOutput(OutputProducer):
    """The pipeline's producer on the virtual log."""

    def __init__(self, world: World, process: Process) -> None:
        self._client = VirtualProducer(world.kafka, process)

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Wait for what is in flight."""
        await self._client.stop()

    async def send(
        self, topic: Topic, *, value: bytes, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Any]:  # Any: as its base says
        """Hand one record over and return the future of its acknowledgement."""
        return await self._client.send(topic.name, value, key, home_of(topic, key, partition))


class Worker(ABC):
    """One process of a role; *on_fault* of the role kills it, as ``end_process`` would."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.process = Process(name)
        self.clock = VirtualClock(world.loop)

    def begin(self) -> None:
        """Start it."""
        self.process.spawn(self._guarded(), "main")

    async def _guarded(self) -> None:
        try:
            await self.main()
        except Exception as error:  # noqa: BLE001 - the process ends and the world is told, as end_process does
            self.fault(error)

    def fault(self, error: BaseException) -> None:
        """Something that should not be: the process ends. Kafka's failures are life: it ends and folds again."""
        if isinstance(error, KafkaError):
            self.process.kill()
        if not self.process.dead:
            self.world.faults.append((self.process.name, error))
            self.process.kill()

    @abstractmethod
    async def main(self) -> None:
        """What it does until it is killed."""


# ------------------------------------------------------------------------------------------------------ connector


class _Connection:
    """One connection of the connector: a source with its own numbers."""

    def __init__(self, source: str, incarnation: str, symbols: tuple[str, ...]) -> None:
        self.source = source
        self.incarnation = incarnation
        self.hole = "connector started"
        self._numbers = dict.fromkeys(symbols, 0)
        self._prefix = {s: lines.frame_prefix(source=source, incarnation=incarnation, symbol=s) for s in symbols}

    def frame(self, symbol: str, at_ns: int, frame: bytes) -> bytes:
        """The frame as a line."""
        self._numbers[symbol] += 1
        return lines.frame_line(at_ns, self._numbers[symbol], frame, self._prefix[symbol])

    def lost(self, symbol: str, at_ns: int, stream: str) -> bytes:
        """A ``lost`` line."""
        self._numbers[symbol] += 1
        return lines.encode(
            lines.Line(
                at=at_ns,
                src=self.source,
                inc=self.incarnation,
                n=self._numbers[symbol],
                sym=symbol,
                lost=FeedLost(stream=stream, reason=self.hole),
            )
        )


class Connector(Worker):
    """
    Frames into lines, as the connector writes them: numbered per connection, holes marked, user events to ``account``.

    It is small because what makes the connector large is sockets; its own faults are tried on its own session.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._output = VirtualOutput(world, self.process)
        self._queue: asyncio.Queue[tuple[bool, bytes]] = asyncio.Queue()
        self._market = world.venue.market_socket("connector", lambda data: self._queue.put_nowait((False, data)))
        self._user = world.venue.user_socket("connector", lambda data: self._queue.put_nowait((True, data)))
        self._publisher = LinePublisher(self._output, source="connector/none", incarnation="none")
        self.process.on_death(self._hang_up)
        self._connect("connector started")

    def _hang_up(self) -> None:
        self.world.venue.hang_up(self._market)
        self.world.venue.hang_up(self._user)

    def _connect(self, reason: str) -> None:
        symbols, incarnation = self.world.settings.symbols, self.world.incarnation()
        self._public = _Connection("connector/public-0.a", incarnation, symbols)
        self._private = _Connection("connector/user-0.a", incarnation, symbols)
        self._public.hole = self._private.hole = reason

    async def main(self) -> None:
        """Read until killed."""
        self._mark_holes()
        while True:
            user, frame = await self._queue.get()
            if user:
                await self._user_frame(frame)
            else:
                self._market_frame(frame)

    def _mark_holes(self) -> None:
        at_ns = self.clock.now_ns()
        for symbol in self.world.settings.symbols:
            self._publish(symbol, self._private.lost(symbol, at_ns, USER_STREAM))
            for kind in STREAMS:
                self._publish(symbol, self._public.lost(symbol, at_ns, f"{symbol.lower()}@{kind}"))

    def _market_frame(self, frame: bytes) -> None:
        name = stream_of(frame)
        stream = "" if name is None else name.decode()
        if stream.startswith("!"):
            symbols = all_market_symbols(stream, frame)
            assert isinstance(symbols, tuple), symbols
            for symbol in symbols:
                if symbol in self.world.settings.symbols:
                    self._publish(symbol, self._public.frame(symbol, self.clock.now_ns(), frame))
            return
        symbol = stream.partition("@")[0].upper()
        if symbol in self.world.settings.symbols:
            self._publish(symbol, self._public.frame(symbol, self.clock.now_ns(), frame))

    async def _user_frame(self, frame: bytes) -> None:
        event = user_event(frame)
        assert isinstance(event, UserEvent), event
        at_ns = self.clock.now_ns()
        raw = records.UserFrame(at=at_ns, src=self._private.source, frame=msgspec.Raw(frame))
        await self._output.send(ACCOUNT, value=records.encode(raw))
        for symbol in event.symbols:
            if symbol in self.world.settings.symbols:
                self._publish(symbol, self._private.frame(symbol, at_ns, frame))

    def _publish(self, symbol: str, line: bytes) -> None:
        self._publisher.publish_encoded(partition_of(symbol), line).add_done_callback(_read_result)

    def cut(self, socket: str) -> None:
        """Lose the connection ``market`` or ``user``; frames meanwhile are gone."""
        chosen: Socket = self._market if socket == "market" else self._user
        chosen.open = False

    def restore(self) -> None:
        """Connect again: new incarnations, and holes where frames may be missing."""
        self._market.open = self._user.open = True
        self._connect("connection lost")
        self._mark_holes()


# -------------------------------------------------------------------------------------------- account and decide


class _Ports:
    """``streaming.runner.Ports`` of one partition."""

    def __init__(self, worker: Worker, output: VirtualOutput, topic: Topic, partition: int) -> None:
        self._worker, self._output = worker, output
        self._name = f"{topic.name}/{partition}"
        self._table = worker.world.table(self._name)
        self._write = self._table.writer(worker.process)
        self._commits = Commits(worker, self._name)
        self.reader = Reader(worker.world.kafka, topic.name, partition, offset=self._commits.offset)

    async def send(self, outgoing: Outgoing) -> Awaitable[Any]:
        return await self._output.send(
            outgoing.topic, value=outgoing.value, key=outgoing.key or None, partition=outgoing.partition
        )

    def read(self, key: str) -> bytes | None:
        return self._table.rows.get(key)

    def write(self, key: str, value: bytes) -> Awaitable[Any]:
        return self._write(key, value)

    def show(self, view: View) -> None:
        """Nobody looks."""

    def acknowledge(self, message: Stored) -> None:
        self._commits.done(message.offset)

    async def log_range(self) -> tuple[int, int]:
        kafka = self._worker.world.kafka
        topic, _, partition = self._name.rpartition("/")
        await asyncio.sleep(kafka.road() + kafka.road())
        return 0, len(kafka.of(topic, int(partition)).records)

    async def seek(self, offset: int) -> None:
        self.reader.again(offset)

    def owned(self) -> bool:
        return not self._worker.process.dead


class Commits:
    """Which offset a group would go on from; acknowledgements are committed now and then, as Faust does."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._world = worker.world
        self._process = worker.process
        self._name = name
        self.offset = worker.world.committed.get(name, 0)
        self._done: dict[int, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def done(self, offset: int) -> None:
        """A record is done with."""
        self._done[offset] = None
        while self.offset in self._done:
            del self._done[self.offset]
            self.offset += 1
        if self._timer is None:
            self._timer = self._world.loop.call_later(COMMIT_MS / 1_000, self._commit)

    def _commit(self) -> None:
        self._timer = None
        if not self._process.dead:
            self._world.committed[self._name] = self.offset


class _Folder(Worker):
    """A role around ``PartitionRunner``."""

    topic: Topic

    def __init__(self, world: World, name: str, partitions: tuple[int, ...]) -> None:
        super().__init__(world, name)
        self._partitions = partitions
        self._output = VirtualOutput(world, self.process)

    async def main(self) -> None:
        """Fold every partition until killed."""
        for partition in self._partitions:
            self.process.spawn(self._fold(partition), f"partition {partition}")
        while True:
            for partition in self._partitions:
                await self._tick(partition)
            await asyncio.sleep(self._pause)

    async def _fold(self, partition: int) -> None:
        ports = _Ports(self, self._output, self.topic, partition)
        runner = PartitionRunner(
            role=self.process.name,
            partition=partition,
            log_identity=LOG_IDENTITY,
            folding=self._folding(partition),
            ports=ports,
            on_fault=self.fault,
        )
        try:
            while True:
                record = await ports.reader.next()
                await runner.handle(
                    offset=record.offset,
                    append_ms=record.timestamp,
                    value=record.value,
                    message=record,
                    now_ms=self.clock.boot_ms(),
                )
                if runner.refusal is not None:
                    raise AssertionError(f"partition {partition} was refused: {runner.refusal}")
        except Exception as error:  # noqa: BLE001 - as ``fatal`` does
            self.fault(error)

    @property
    def _pause(self) -> float:
        return self.world.tick_seconds

    @abstractmethod
    def _folding(self, partition: int) -> Folding: ...

    @abstractmethod
    async def _tick(self, partition: int) -> None: ...


class Decide(_Folder):
    """The fold of ``inputs``."""

    topic = INPUTS

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, tuple(sorted({partition_of(s) for s in world.settings.symbols})))
        self._ticks = LinePublisher(
            self._output, source="decide/0", incarnation=world.incarnation(), now_ns=self.clock.now_ns
        )
        self._foldings: dict[int, DecideFolding] = {}

    def _folding(self, partition: int) -> Folding:
        universe = frozenset(self.world.settings.symbols)
        folding = DecideFolding(partition, LOG_IDENTITY, fold=self.world.fold, universe=universe)
        self._foldings[partition] = folding
        return folding

    async def _tick(self, partition: int) -> None:
        folding = self._foldings.get(partition)
        turns = () if folding is None else folding.turns()
        future = self._ticks.publish(EVERY_SYMBOL, partition=partition, tick=self.clock.now_ms(), turns=turns)
        future.add_done_callback(_read_result)


class Account(_Folder):
    """The fold of ``account``."""

    topic = ACCOUNT

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, (0,))
        self._kept: AccountFolding | None = None

    @property
    def _pause(self) -> float:
        return 1.0

    def _folding(self, partition: int) -> Folding:
        self._kept = AccountFolding(LOG_IDENTITY, fold=self.world.fold, settings=self.world.settings)
        return self._kept

    @property
    def slots(self) -> frozenset[str]:
        """The symbols whose slot is taken, as far as this process knows."""
        return (
            frozenset(account_state.decode(self._kept.image("account")).slots)
            if self._kept is not None
            else frozenset()
        )

    async def _tick(self, partition: int) -> None:
        message = records.AccountTick(at_ms=Milliseconds(self.clock.now_ms()))
        await self._output.send(ACCOUNT, value=records.encode(message), partition=partition)


# -------------------------------------------------------------------------------------------------------- execute


class VirtualJournal(KafkaJournal):
    """The executor's journal on the virtual log."""

    def __init__(
        self, world: World, process: Process, *, spill: Path, on_fault: Callable[[BaseException], None]
    ) -> None:
        super().__init__({}, topic=ATTEMPTS.name, spill=spill, on_fault=on_fault)
        self._world, self._process = world, process

    async def start(self) -> None:
        """Producer and consumer of the virtual log."""
        self._producer = VirtualProducer(self._world.kafka, self._process)
        consumer = self._consumer = VirtualConsumer(self._world.kafka)
        consumer.assign([TopicPartition(ATTEMPTS.name, 0)])


class Execute(Worker):
    """
    The executor. *machine* names its disk: the same after a restart, another for one that was put elsewhere.

    ``ready`` is set when intents are taken; ``superseded`` when another took over.
    """

    make_executor: Callable[..., Executor] = Executor
    make_journal: Callable[..., KafkaJournal] = VirtualJournal

    def __init__(self, world: World, name: str, *, machine: str = "a", ahead_ms: int = 0) -> None:
        super().__init__(world, name)
        self.clock = VirtualClock(world.loop, ahead_ms=ahead_ms)
        self.ready = asyncio.Event()
        self.superseded = False
        self.machine = machine
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()

    def fault(self, error: BaseException) -> None:
        """Another took over: that is life; anything else is a fault."""
        if isinstance(error, Superseded):
            self.superseded = True
            self.process.kill()
            return
        if isinstance(error, JournalUnavailable) and not self.ready.is_set():
            self.process.kill()  # it could not take over; the cluster starts it again
            return
        super().fault(error)

    def make_venue(self) -> Venue:
        """The road of its requests; another transport overrides it."""
        settings = self.world.settings
        return VenueClient(
            self.world.venue,
            self.process,
            self.clock,
            api_key=settings.api_key.reveal(),
            api_secret=settings.api_secret.reveal(),
        )

    def made(self, executor: Executor) -> None:
        """The executor exists and has not started; another transport begins here."""

    async def main(self) -> None:
        """Take over, protect, take intents until killed."""
        world, settings = self.world, self.world.settings
        output = VirtualOutput(world, self.process)
        outbox = KafkaOutbox(output, now_ns=self.clock.now_ns)
        journal = type(self).make_journal(
            world, self.process, spill=world.disk / self.machine / "attempts.jsonl", on_fault=self.fault
        )
        await journal.start()
        self.executor = executor = type(self).make_executor(
            journal=journal,
            venue=self.make_venue(),
            outbox=outbox,
            clock=self.clock,
            limits=limits_of(settings),
            symbols=settings.symbols,
            budget=budget_of(settings),
            name=self.process.name,
            lease_ms=world.lease_ms,
            on_taken=outbox.begin,
            on_fault=self.fault,
        )
        self.made(executor)
        self.process.spawn(self._listen(), "user stream")
        self.socket = world.venue.user_socket("execute", self._frames.put_nowait)
        self.process.on_death(lambda: world.venue.hang_up(self.socket))
        await executor.start()
        self.ready.set()
        self.process.spawn(self._data(), "data")
        await self._intents()

    async def _listen(self) -> None:
        while True:
            frame = await self._frames.get()
            self.executor.desk.evidence.frame(frame)

    async def _intents(self) -> None:
        commits = Commits(self, INTENTS.name)
        self.reader = Reader(self.world.kafka, INTENTS.name, offset=commits.offset)
        while True:
            message = await self.reader.next()
            record = records.decode_intent(message.value)
            self.executor.submit(record).add_done_callback(partial(_commit, commits, message.offset))

    async def _data(self) -> None:
        reader = Reader(self.world.kafka, DATA_INTENTS.name, offset=len(self.world.kafka.of(DATA_INTENTS.name).records))
        while True:
            self.executor.submit_data(records.decode_data_intent((await reader.next()).value))

    async def close(self) -> None:
        """SIGTERM: last words, end of the epoch."""
        await self.executor.close()
        self.process.kill()


def _commit(commits: Commits, offset: int, _: asyncio.Future[None]) -> None:
    """The journal holds an intent."""
    commits.done(offset)


def _read_result(future: asyncio.Future[None]) -> None:
    """Whoever publishes without waiting does not care how it ended; the loop would complain."""
    if not future.cancelled():
        future.exception()
