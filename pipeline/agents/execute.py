"""The only place where the execute role is put together: Kafka and HTTP around ``execution.executor``, two agents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from pipeline.binance.order_socket import Key, SocketVenue, opener, private_key
from pipeline.binance.rest import RestClient
from pipeline.configuration import ConfigurationError
from pipeline.core.events import RequestEnded
from pipeline.core.identity import base62
from pipeline.core.rate_limits import MINUTE_MS, Budget
from pipeline.core.units import Milliseconds
from pipeline.execution.desk import Limits
from pipeline.execution.early import Early
from pipeline.execution.executor import Executor
from pipeline.execution.kafka_journal import KafkaJournal
from pipeline.execution.ports import OutboxUnavailable, SystemClock
from pipeline.execution.switch import Switch
from pipeline.settings import Settings
from pipeline.streaming.app import WorkerApp, source
from pipeline.streaming.clients import client_arguments
from pipeline.streaming.faults import end_process, fatal
from pipeline.streaming.lines import LinePublisher
from pipeline.streaming.producer import OutputProducer
from pipeline.wire import lines
from pipeline.wire.records import AlertRecord, QuarantineRecord, decode_data_intent, decode_intent, encode
from pipeline.wire.topics import ACCOUNT, ALERTS, ATTEMPTS, DATA_INTENTS, INTENTS, QUARANTINE, Topic

SOURCE = "execute/main"


class KafkaOutbox:
    """The executor's words on their topics; lines are numbered per epoch (the source's incarnation)."""

    def __init__(self, producer: OutputProducer, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._producer = producer
        self._now_ns = now_ns
        self._lines: LinePublisher | None = None
        self._alerts = 0
        self._incarnation = ""

    def begin(self, epoch: int) -> None:
        """An executor took over: its lines start at 1."""
        self._incarnation = str(epoch)
        self._lines = LinePublisher(self._producer, source=SOURCE, incarnation=self._incarnation, now_ns=self._now_ns)

    async def outcome(self, symbol: str, outcome: RequestEnded) -> None:
        """An ``outcome`` line."""
        await self._line(symbol, outcome=outcome)

    async def answer(self, symbol: str, answer: lines.Answer) -> None:
        """An ``answer`` line."""
        await self._line(symbol, answer=answer)

    async def account(self, record: msgspec.Struct) -> None:
        """A record of ``account``."""
        await self.write(ACCOUNT, record, key=SOURCE)

    async def alert(self, *, symbol: str, code: str, severity: str, text: str) -> None:
        """A word for people."""
        self._alerts += 1
        record = AlertRecord(
            id=f"{SOURCE}.{self._incarnation or base62(self._now_ns() // 1_000_000)}.{self._alerts}",
            symbol=symbol,
            source=SOURCE,
            code=code,
            severity=severity,
            text=text,
            at_ms=Milliseconds(self._now_ns() // 1_000_000),
        )
        await self.write(ALERTS, record, key=symbol or SOURCE)

    async def write(self, topic: Topic, record: msgspec.Struct, *, key: str) -> None:
        """Write a record and wait for its acknowledgement. Raises OutboxUnavailable."""
        try:
            await (await self._producer.send(topic, value=encode(record), key=key.encode()))
        except KafkaError as error:
            raise OutboxUnavailable(repr(error)) from error

    async def _line(self, symbol: str, **body: Any) -> None:  # Any: the one field of lines.Line that is set
        if self._lines is None:
            raise OutboxUnavailable("no epoch yet")
        try:
            await self._lines.publish(symbol, **body)
        except KafkaError as error:
            raise OutboxUnavailable(repr(error)) from error


class Execute:
    """Everything of the role that lives and dies with its process."""

    def __init__(self, settings: Settings) -> None:
        clock = SystemClock()
        self._producer = OutputProducer(settings, role="execute")
        self.outbox = KafkaOutbox(self._producer)
        self._journal = KafkaJournal(
            client_arguments(settings),
            topic=ATTEMPTS.named(settings.prefix),
            spill=Path(settings.data_directory) / "execute" / settings.instance / "attempts.jsonl",
            on_fault=partial(end_process, "execute: attempts"),
        )
        self._rest = RestClient(
            settings.rest_url,
            api_key=settings.api_key.reveal(),
            api_secret=settings.api_secret.reveal(),
            now_ms=clock.now_ms,
        )
        self._order_socket = order_socket_of(settings, self._rest, clock)
        name = f"{settings.instance}-{base62(time.time_ns())}"
        self.executor = Executor(
            journal=self._journal,
            venue=self._order_socket or self._rest,
            outbox=self.outbox,
            clock=clock,
            limits=limits_of(settings),
            symbols=settings.symbols,
            budget=budget_of(settings),
            name=name,
            ws_url=settings.ws_url,
            switch=Switch(settings.data_directory, name),
            on_taken=self.outbox.begin,
            on_fault=partial(end_process, "execute"),
        )
        if self._order_socket is not None:
            self._order_socket.on_word = self.executor.desk.alert
        self.ready = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take over and protect beside the rest of the worker's start: a position may be waiting for its stop."""
        self._starting = asyncio.create_task(self._take_over())

    async def _take_over(self) -> None:
        with fatal("execute: start"):
            if self._order_socket is not None:
                self._order_socket.start(self.executor.lanes.weight)
            await asyncio.gather(self._producer.start(), self._journal.start())
            await self.executor.start()
        self.ready.set()

    async def stop(self) -> None:
        """Leave in order: last words, end of the epoch, connections."""
        if self._starting is not None:
            self._starting.cancel()
        await self.executor.close()
        await self._journal.stop()
        if self._order_socket is not None:
            await self._order_socket.close()
        await self._rest.close()
        await self._producer.stop()

    async def refuse(self, raw: bytes, *, topic: Topic, offset: int, reason: str) -> None:
        """What is no intent goes to ``quarantine`` with its bytes."""
        cause = f"{topic.name}/0/{offset}"
        record = QuarantineRecord(
            source=topic.name, reason=reason, at_ms=Milliseconds(time.time_ns() // 1_000_000), payload=raw, cause=cause
        )
        await self.outbox.write(QUARANTINE, record, key=topic.name)
        await self.outbox.alert(symbol="", code="intent_malformed", severity="critical", text=f"{cause}: {reason}")


def order_socket_of(settings: Settings, rest: RestClient, clock: SystemClock) -> SocketVenue | None:
    """The order socket, where the settings name one; *rest* stands in for it. Raises ConfigurationError."""
    if not settings.order_socket_url:
        return None
    try:
        private = private_key(settings.order_socket_private_key.reveal())
    except ValueError as error:
        raise ConfigurationError([f"PERPGUARD_ORDER_SOCKET_PRIVATE_KEY: {error}"]) from error
    key = Key(settings.order_socket_key.reveal(), private)
    return SocketVenue(rest, key=key, open_wire=opener(settings.order_socket_url), now_ms=clock.now_ms)


def limits_of(settings: Settings) -> Limits:
    """What no topic can change."""
    limits = settings.limits
    return Limits(
        limits.symbols,
        limits.max_notional_e8,
        limits.max_positions,
        limits.entries_per_minute,
        limits.foreign_positions,
        limits.max_leverage,
        limits.moves_per_minute,
    )


def budget_of(settings: Settings) -> Budget:
    """
    The design document's own budget; the venue's limits come from the venue.

    The half second between two requests gives way to a budget that it would make unreachable (above 120 a minute).
    """
    own = settings.rate_limit
    return Budget(
        background_per_minute=own.rest_api_per_minute,
        background_spacing_ms=min(Budget().background_spacing_ms, MINUTE_MS // own.rest_api_per_minute),
        background_weight_permille=int(own.safety_margin * 1_000),
        background_per_day=own.daily_budget,
    )


def register(app: WorkerApp, settings: Settings) -> Execute:
    """Put the role on *app*: intents are acknowledged once the journal holds them, wishes for data at once."""
    role = Execute(settings)
    app.before_start.insert(0, role.start)  # before topics are checked: protection comes first
    app.before_stop.append(role.stop)
    early = Early(role.executor.submit, role.ready.is_set)

    def read(message: Any) -> None:  # Any: Faust's Message
        with fatal("execute: intents"):
            early.read(message.offset, message.value)

    app.early[INTENTS.named(app.prefix)] = read

    @app.agent(source(app, INTENTS), name="execute.intents", concurrency=1)  # type: ignore[untyped-decorator]
    async def intents(stream: Any) -> None:  # Any: Faust's StreamT
        with fatal("execute: intents"):
            await role.ready.wait()
            async for event in stream.noack().events():
                message = event.message
                try:
                    record = decode_intent(event.value)
                except msgspec.DecodeError as error:
                    await role.refuse(event.value, topic=INTENTS, offset=message.offset, reason=str(error))
                    early.handled(message.offset)
                    message.ack(app.consumer)
                    continue
                role.executor.submit(record).add_done_callback(partial(_acknowledge, app, message))
                early.handled(message.offset)

    @app.agent(source(app, DATA_INTENTS), name="execute.data", concurrency=1)  # type: ignore[untyped-decorator]
    async def data(stream: Any) -> None:  # Any: Faust's StreamT
        with fatal("execute: data"):
            await role.ready.wait()
            async for event in stream.noack().events():
                try:
                    role.executor.submit_data(decode_data_intent(event.value))
                except msgspec.DecodeError as error:
                    reason, offset = str(error), event.message.offset
                    await role.refuse(event.value, topic=DATA_INTENTS, offset=offset, reason=reason)
                event.message.ack(app.consumer)

    return role


def _acknowledge(app: WorkerApp, message: Any, _done: asyncio.Future[None]) -> None:  # Any: Faust's Message
    message.ack(app.consumer)
