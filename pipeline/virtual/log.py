"""
The only place that stands in for Kafka: partitions with dense offsets and append time, a producer and a consumer.

The producer has the methods of aiokafka's that the pipeline calls, the consumer those of the journal's and a plain
``Reader`` for everybody else. Records of one producer and partition keep their order; nothing else has one. What a
killed process had in flight is cut at a place that the seed chooses: a beginning of it is in the log, the rest never
was. While the broker is away nothing is appended and nothing acknowledged; it all comes later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random
from typing import Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from pipeline.virtual.clock import BEHIND, VirtualClock, VirtualLoop
from pipeline.virtual.processes import Process
from pipeline.wire.topics import Topic, partition_of

ROAD_US: Final = (150, 900)  # one way between a client and the broker


class Stored(msgspec.Struct, frozen=True):
    """One record as the broker keeps it; fields named as aiokafka's ConsumerRecord."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # LogAppendTime, ms
    key: bytes
    value: bytes


class _Partition:
    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.waiting: list[asyncio.Future[None]] = []


class VirtualKafka:
    """One broker; *random* draws the roads. ``hold_ms`` (topic name → ms) delays what readers of a topic see."""

    def __init__(self, loop: VirtualLoop, random: Random) -> None:
        self.loop = loop
        self.random = random
        self.clock = VirtualClock(loop)
        self.hold_ms: dict[str, int] = {}
        self.unanswered = 0  # so many of the next records get no acknowledgement; every other one is lost, too
        self._away_until = 0.0
        self._partitions: dict[tuple[str, int], _Partition] = {}

    def of(self, topic: str, partition: int = 0) -> _Partition:
        """A partition, made when it is first named."""
        found = self._partitions.get((topic, partition))
        if found is None:
            found = self._partitions[topic, partition] = _Partition()
        return found

    def records(self, topic: Topic) -> list[Stored]:
        """Every record of a topic, partition after partition."""
        found = sorted(key for key in self._partitions if key[0] == topic.name)
        return [record for key in found for record in self._partitions[key].records]

    def append(self, topic: str, partition: int, key: bytes, value: bytes) -> Stored:
        """Write one record now."""
        where = self.of(topic, partition)
        record = Stored(topic, partition, len(where.records), self.clock.now_ms(), key, value)
        where.records.append(record)
        waiting, where.waiting = where.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return record

    def away(self, milliseconds: int) -> None:
        """The broker answers nobody for so long."""
        self._away_until = max(self._away_until, self.loop.time() + milliseconds / 1_000)

    @property
    def away_ms(self) -> int:
        """For how long the broker will still be away."""
        return max(0, round((self._away_until - self.loop.time()) * 1_000))

    def road(self) -> float:
        """Seconds of one way, the broker's absence included."""
        low, high = ROAD_US
        seconds = self.random.randint(low, high) / 1_000_000
        return max(0.0, self._away_until - self.loop.time()) + seconds


class _Flying(msgspec.Struct):
    topic: str
    partition: int
    key: bytes
    value: bytes
    acknowledged: asyncio.Future[Stored]
    landed: bool = False


class VirtualProducer:
    """aiokafka's AIOKafkaProducer, as far as the pipeline uses it; belongs to *process*."""

    def __init__(self, kafka: VirtualKafka, process: Process) -> None:
        self._kafka = kafka
        self._process = process
        self._flying: dict[tuple[str, int], deque[_Flying]] = {}
        self._clear_at: dict[tuple[str, int], float] = {}
        process.on_death(self._cut)

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Wait for what is in flight."""
        waiting = [one.acknowledged for queue in self._flying.values() for one in queue]
        if waiting:
            await asyncio.wait(waiting)

    async def send(
        self, topic: str, value: bytes, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Stored]:
        """Hand over one record; returns the future of its acknowledgement."""
        loop, kafka = self._kafka.loop, self._kafka
        where = (topic, 0 if partition is None else partition)
        flying = _Flying(where[0], where[1], key or b"", value, loop.create_future())
        if self._process.dead:
            return flying.acknowledged  # a timer outlived its process: the dead send nothing
        self._flying.setdefault(where, deque()).append(flying)
        at = max(self._clear_at.get(where, 0.0) + BEHIND, loop.time() + kafka.road())
        self._clear_at[where] = at
        loop.call_at(at, self._land, where)
        await asyncio.sleep(0)  # aiokafka may have to wait for metadata or room: a caller must not rely on its turn
        return flying.acknowledged

    async def send_and_wait(
        self, topic: str, value: bytes, key: bytes | None = None, partition: int | None = None
    ) -> Stored:
        """Hand over one record and wait for its acknowledgement."""
        return await (await self.send(topic, value, key, partition))

    def _land(self, where: tuple[str, int]) -> None:
        queue = self._flying[where]
        if not queue:
            return  # cut
        flying = queue.popleft()
        if self._kafka.unanswered:
            self._kafka.unanswered -= 1
            if self._kafka.unanswered % 2:
                self._kafka.append(flying.topic, flying.partition, flying.key, flying.value)
            if not self._process.dead and not flying.acknowledged.done():
                flying.acknowledged.set_exception(KafkaTimeoutError("no acknowledgement"))
                flying.acknowledged.exception()  # whoever does not wait for it need not be told again at its end
            return
        stored = self._kafka.append(flying.topic, flying.partition, flying.key, flying.value)
        if not self._process.dead:
            self._kafka.loop.call_later(self._kafka.road(), self._acknowledge, flying, stored)

    def _acknowledge(self, flying: _Flying, stored: Stored) -> None:
        if not self._process.dead and not flying.acknowledged.done():
            flying.acknowledged.set_result(stored)

    def _cut(self) -> None:
        """The process died: of each partition's records in flight the first few reach the broker, if any."""
        for queue in self._flying.values():
            kept = self._kafka.random.randint(0, len(queue))
            while len(queue) > kept:
                queue.pop()


class Reader:
    """
    Follows one partition from *offset* on. ``delay`` adds ms to when each record is seen; it may be changed.

    ``again(offset)`` delivers records once more (a consumer that is set back, a rebalance).
    """

    def __init__(self, kafka: VirtualKafka, topic: str, partition: int = 0, *, offset: int = 0) -> None:
        self._kafka = kafka
        self._topic = topic
        self._where = kafka.of(topic, partition)
        self.offset = offset
        self._seen_from = 0.0

    async def next(self) -> Stored:
        """The next record, once it can be seen."""
        kafka, loop = self._kafka, self._kafka.loop
        while self.offset >= len(self._where.records):
            future: asyncio.Future[None] = loop.create_future()
            self._where.waiting.append(future)
            await future
        record = self._where.records[self.offset]
        appended = (record.timestamp - kafka.clock.now_ms()) / 1_000 + loop.time()
        held = kafka.hold_ms.get(self._topic, 0) / 1_000
        seen = max(self._seen_from, appended + held + kafka.road())
        self._seen_from = seen
        if seen > loop.time():
            await asyncio.sleep(seen - loop.time())
        if self.offset == record.offset:  # nobody set it back meanwhile
            self.offset += 1
        return record

    def again(self, offset: int) -> None:
        """Deliver from *offset* on."""
        self.offset = offset


class VirtualConsumer:
    """aiokafka's AIOKafkaConsumer with one assigned partition, as far as the journal uses it."""

    def __init__(self, kafka: VirtualKafka) -> None:
        self._kafka = kafka
        self._reader: Reader | None = None

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to disconnect from."""

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read this partition."""
        (partition,) = partitions
        self._reader = Reader(self._kafka, partition.topic, partition.partition)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets; nothing is ever deleted."""
        await asyncio.sleep(self._kafka.road() + self._kafka.road())
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offsets behind the last records."""
        await asyncio.sleep(self._kafka.road())
        ends = {one: len(self._kafka.of(one.topic, one.partition).records) for one in partitions}
        await asyncio.sleep(self._kafka.road())
        return ends

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from *offset*."""
        assert self._reader is not None
        self._reader.again(offset)

    async def position(self, partition: TopicPartition) -> int:
        """The next offset."""
        assert self._reader is not None
        await asyncio.sleep(0)
        return self._reader.offset

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, list[Stored]]:
        """Some records."""
        assert self._reader is not None
        (partition,) = partitions
        await asyncio.sleep(self._kafka.road() + self._kafka.road())
        found = [await self._reader.next()]
        rest = self._kafka.of(partition.topic, partition.partition).records[self._reader.offset :]
        found += rest[: (max_records or 500) - 1]
        self._reader.again(found[-1].offset + 1)
        return {partition: found}

    async def __aiter__(self) -> AsyncIterator[Stored]:
        assert self._reader is not None
        while True:
            yield await self._reader.next()


class Table:
    """
    A changelog table of one partition: rows become durable in the order of the writes.

    ``rows`` outlive the processes; what a killed one had written and not seen acknowledged is there or not, as a
    beginning of its writes.
    """

    def __init__(self, kafka: VirtualKafka) -> None:
        self._kafka = kafka
        self.rows: dict[str, bytes] = {}

    def writer(self, process: Process) -> Callable[[str, bytes], asyncio.Future[None]]:
        """The writing side of one process."""
        flying: deque[tuple[str, bytes, asyncio.Future[None]]] = deque()
        loop, kafka = self._kafka.loop, self._kafka
        clear_at = 0.0

        def land() -> None:
            if not flying:
                return
            key, value, durable = flying.popleft()
            self.rows[key] = value
            if not process.dead and not durable.done():
                durable.set_result(None)

        def write(key: str, value: bytes) -> asyncio.Future[None]:
            nonlocal clear_at
            durable: asyncio.Future[None] = loop.create_future()
            flying.append((key, value, durable))
            clear_at = max(clear_at + BEHIND, loop.time() + kafka.road() + kafka.road())
            loop.call_at(clear_at, land)
            return durable

        def cut() -> None:
            kept = kafka.random.randint(0, len(flying))
            while len(flying) > kept:
                flying.pop()

        process.on_death(cut)
        return write


def home_of(topic: Topic, key: bytes | None, partition: int | None) -> int:
    """The partition that a producer's partitioner chooses."""
    if partition is not None:
        return partition
    return partition_of((key or b"").decode(), partitions=topic.partitions) if topic.partitions > 1 else 0
