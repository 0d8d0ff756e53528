"""
The only place where the connector writes to Kafka: one idempotent producer, one record in flight per partition.

Whatever the broker does, order stays and nothing is dropped silently: a record is produced until it is acknowledged,
meanwhile lines wait in the ``Batcher``, whose bound and give-way rule stand there. A producer that failed for good is
replaced by a new one; a record whose acknowledgement was lost may then stand twice, which the running numbers of its
lines give away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pipeline.core.units import Milliseconds
from pipeline.wire import records
from pipeline.wire.batching import MAX_QUEUED_BYTES, Batcher, Origin
from pipeline.wire.topics import ACCOUNT, ALERTS, INPUT_PARTITIONS, INPUTS, QUARANTINE, Topic

COMPRESSION: Final = "lz4"
# How long frames of symbols that nobody holds may collect. One clock for all partitions: their records go out in one
# request and come to the readers in one fetch, which costs less than their number would (docs/benchmarks.md).
PATIENCE_SECONDS: Final = 0.02
REQUEST_TIMEOUT_MS: Final = 15_000
RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 2.0
STOP_SECONDS: Final = 1.0
RECORDS_AT_ONCE: Final = 50  # of topics whose records are single messages
QUARANTINE_QUEUE_BYTES: Final = 24 * 1024 * 1024  # holds the longest frame of a socket, 16 MB, as base64
ALERTS_QUEUE_BYTES: Final = 1024 * 1024  # a day without a broker; the process's own log has them all
ALERT_SPACING_MS: Final = 10_000  # of one code: a flood of bad frames is one alert with a count

log: Any = structlog.get_logger("perpguard.connector")  # Any: structlog binds its types at run time


class AlertGate:
    """Lets one alert of a code through every 10 s and counts the others. Pure: time is an argument."""

    def __init__(self, spacing_ms: int = ALERT_SPACING_MS) -> None:
        self._spacing_ms = spacing_ms
        self._last: dict[str, int] = {}
        self._held_back: dict[str, int] = {}

    def passes(self, code: str, now_ms: int) -> int | None:
        """How many of this code were held back before this one; None when this one is held back too."""
        last = self._last.get(code)
        if last is not None and 0 <= now_ms - last < self._spacing_ms:  # a clock that was set back hushes nobody
            self._held_back[code] = self._held_back.get(code, 0) + 1
            return None
        self._last[code] = now_ms
        return self._held_back.pop(code, 0)


class _Queue:
    """Single records of one topic (partition 0), in order; ``max_bytes`` 0: never refuses."""

    def __init__(self, topic: Topic, max_bytes: int = 0) -> None:
        self.topic = topic
        self.waiting: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.sending = 0
        self.refused = 0
        self.bytes = 0  # waiting and in flight
        self._max_bytes = max_bytes

    def put(self, record: bytes) -> bool:
        if self._max_bytes and self.bytes + len(record) > self._max_bytes:
            self.refused += 1
            return False
        self.bytes += len(record)
        self.waiting.append(record)
        self.wake.set()
        return True

    def take(self) -> list[bytes]:
        taken = [self.waiting.popleft() for _ in range(min(len(self.waiting), RECORDS_AT_ONCE))]
        self.sending = len(taken)
        return taken

    def acknowledged(self, taken: list[bytes]) -> None:
        self.bytes -= sum(map(len, taken))
        self.sending = 0

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.sending


class Publisher:
    """
    The sink of all intakes. ``line``, ``account``, ``quarantine`` and ``alert`` only queue; tasks of its own send.

    ``arguments`` are aiokafka's addresses and credentials. Times of counters are monotonic seconds.
    """

    def __init__(
        self,
        *,
        arguments: Mapping[str, Any],  # Any: keyword arguments of aiokafka's clients
        prefix: str,
        incarnation: str,
        compression: str | None = COMPRESSION,
        max_bytes: int = MAX_QUEUED_BYTES,
        make_producer: Callable[..., Any] = AIOKafkaProducer,  # Any: a producer by shape
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.batcher = Batcher(max_bytes=max_bytes)
        self.acknowledged_records = 0
        self.acknowledged_bytes = 0
        self.retries = 0
        self.last_acknowledged = time.monotonic()
        self._arguments = dict(arguments)
        self._prefix = prefix
        self._incarnation = incarnation
        self._compression = compression
        self._make_producer = make_producer
        self._wall_ns = wall_ns
        self._producer: Any | None = None
        self._generation = 0
        self._replacing = asyncio.Lock()
        self._wake = [asyncio.Event() for _ in range(INPUT_PARTITIONS)]
        self._patience: asyncio.TimerHandle | None = None
        self._account = _Queue(ACCOUNT)
        self._quarantine = _Queue(QUARANTINE, QUARANTINE_QUEUE_BYTES)
        self._alerts = _Queue(ALERTS, ALERTS_QUEUE_BYTES)
        self._queues = (self._account, self._quarantine, self._alerts)
        self._gate = AlertGate()
        self._alert_number = 0
        self._concerned: dict[str, None] = {}
        self._held: tuple[str, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []

    # -------------------------------------------------------------------------------------------------- the sink

    def line(self, partition: int, line: bytes, origin: Origin | None) -> None:
        """Queue a line for ``inputs``."""
        self.batcher.add(partition, line, origin)
        if self.batcher.urgent(partition):
            self._wake[partition].set()
        elif self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._be_patient_no_more)

    def account(self, record: bytes) -> None:
        """Queue a record for ``account``; it never gives way."""
        self._account.put(record)

    def quarantine(self, record: records.QuarantineRecord) -> None:
        """Queue refused bytes and tell people, at most every 10 s per source."""
        kept = self._quarantine.put(records.encode(record))
        text = f"{record.source}: {record.reason}"
        self.alert("frame_quarantined", text, severity="warning", gate=f"frame_quarantined {record.source}")
        if not kept:
            self.alert("quarantine_full", f"bytes not kept, quarantine is behind: {text}", severity="critical")

    def alert(self, code: str, text: str, *, severity: str = "warning", gate: str = "") -> None:
        """Queue a word for people, unless one of the same *gate* (default: code) went out less than 10 s ago."""
        now_ms = self._wall_ns() // 1_000_000
        held_back = self._gate.passes(gate or code, now_ms)
        if held_back is None:
            return
        if held_back:
            text += f" (and {held_back} more since the last alert)"
        self._alert_number += 1
        log.warning("alert", code=code, text=text)
        self._alerts.put(
            records.encode(
                records.AlertRecord(
                    id=f"connector.{self._incarnation}.{self._alert_number}",
                    symbol="",
                    source="connector",
                    code=code,
                    severity=severity,
                    text=text,
                    at_ms=Milliseconds(now_ms),
                )
            )
        )

    def hold(self, symbol: str) -> None:
        """The account has something to do with *symbol*: its market frames give way last."""
        if symbol not in self._concerned:
            self._concerned[symbol] = None
            self._hold()

    def hold_all(self, symbols: Iterable[str]) -> None:
        """These are held now; those the user stream spoke of since the start stay with them."""
        self._held = tuple(symbols)
        self._hold()

    def _hold(self) -> None:
        self.batcher.hold({*self._concerned, *self._held})
        for partition, wake in enumerate(self._wake):
            if self.batcher.urgent(partition):
                wake.set()

    # -------------------------------------------------------------------------------------------------- its life

    async def start(self) -> None:
        """Connect, however long it takes, and begin to send."""
        await self._connect()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._send_lines(p)) for p in range(INPUT_PARTITIONS)]
        self._tasks += [loop.create_task(self._send_records(queue)) for queue in self._queues]

    @property
    def waiting_bytes(self) -> int:
        """Bytes that Kafka has not acknowledged: lines, words to account, refused bytes, alerts."""
        return self.batcher.size + sum(queue.bytes for queue in self._queues)

    @property
    def not_kept(self) -> int:
        """Records of quarantine and alerts that found their queue full."""
        return sum(queue.refused for queue in self._queues)

    def waiting(self) -> str:
        """What Kafka has not acknowledged, in words; empty when there is nothing."""
        if not self.waiting_bytes:
            return ""
        queued, firm = self.batcher.waiting
        singles = [(len(queue.waiting) + queue.sending, f"records of {queue.topic.name}") for queue in self._queues]
        counts = [(queued - firm, "market lines"), (firm, "lines of user events and holes"), *singles]
        flying = f", {self.batcher.in_flight} records of lines on their way" if self.batcher.in_flight else ""
        named = ", ".join(f"{count} {name}" for count, name in counts if count)
        return f"{self.waiting_bytes} bytes: {named or 'no more lines'}{flying}"

    async def flush(self, seconds: float) -> bool:
        """Wait until everything queued is acknowledged; False when *seconds* were not enough."""
        deadline = time.monotonic() + seconds
        while not (self.batcher.is_empty and all(queue.is_empty for queue in self._queues)):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.005)
        return True

    async def stop(self) -> None:
        """End the tasks and the producer; call ``flush`` before."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disconnect()

    def failure(self) -> BaseException | None:
        """What ended one of the sending tasks, if anything did: the process cannot go on without it."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    # ---------------------------------------------------------------------------------------------------- sending

    async def _send_lines(self, partition: int) -> None:
        wake = self._wake[partition]
        while True:
            await wake.wait()
            wake.clear()
            while (record := self.batcher.take(partition)) is not None:
                await self._produce(INPUTS, [record], partition)
                self.batcher.acknowledged(partition)

    def _be_patient_no_more(self) -> None:
        self._patience = None
        for partition in range(INPUT_PARTITIONS):
            if self.batcher.queued(partition):
                self.batcher.release(partition)
                self._wake[partition].set()

    async def _send_records(self, queue: _Queue) -> None:
        while True:
            await queue.wake.wait()
            queue.wake.clear()
            while taken := queue.take():
                await self._produce(queue.topic, taken, 0)
                queue.acknowledged(taken)

    async def _produce(self, topic: Topic, values: list[bytes], partition: int) -> None:
        """Produce *values* in order until all are acknowledged."""
        name, delay = topic.named(self._prefix), RETRY_SECONDS
        while values:
            done, error = await self._attempt(name, values, partition)
            self.acknowledged_records += done
            self.acknowledged_bytes += sum(map(len, values[:done]))
            if done:
                self.last_acknowledged = time.monotonic()
            values = values[done:]
            if error is not None:
                # Retriable errors stay inside aiokafka; what comes out has broken the producer's sequence of numbers.
                self.retries += 1
                log.warning("produce_failed", topic=name, partition=partition, error=repr(error))
                generation = self._generation
                await asyncio.sleep(delay)
                delay = min(LONGEST_RETRY_SECONDS, 2 * delay)
                await self._replace(generation)

    async def _attempt(self, name: str, values: list[bytes], partition: int) -> tuple[int, KafkaError | None]:
        """Send *values* once; returns how many of the first ones are durable, and what stopped the others."""
        while (producer := self._producer) is None:  # another lane is replacing it
            async with self._replacing:
                pass
        futures: list[asyncio.Future[Any]] = []  # Any: aiokafka's RecordMetadata
        failure: KafkaError | None = None
        try:
            for value in values:
                futures.append(await producer.send(name, value, partition=partition))  # noqa: PERF401  # kept on errors
        except KafkaError as error:
            failure = error
        done = 0
        for result in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(result, KafkaError):
                return done, result
            if isinstance(result, BaseException):
                raise result
            done += 1
        return done, failure

    async def _connect(self) -> None:
        delay = RETRY_SECONDS
        while self._producer is None:
            producer = self._make_producer(
                **self._arguments,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                compression_type=self._compression,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
            )
            try:
                await producer.start()
                self._producer = producer
            except KafkaError as error:
                log.warning("kafka_away", error=str(error))
                await _stopped(producer)
                await asyncio.sleep(delay)
                delay = min(LONGEST_RETRY_SECONDS, 2 * delay)

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stopped(producer)

    async def _replace(self, generation: int) -> None:
        """Put a new producer in the place of the one of *generation*, once for all who saw it fail."""
        async with self._replacing:
            if self._generation == generation:
                await self._disconnect()
                await self._connect()
                self._generation += 1


async def _stopped(producer: Any) -> None:  # Any: AIOKafkaProducer by shape
    """Stop a producer that may never answer again; what it still holds is held here too."""
    with contextlib.suppress(TimeoutError, KafkaError):
        await asyncio.wait_for(producer.stop(), STOP_SECONDS)
