"""
The only place where the command line reads and writes topics: from a time to the present end, onwards, or one record.

Nothing here joins a consumer group: a person who looks must not move anybody's partitions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments
from pipeline.wire.topics import Topic

ANSWER_SECONDS: Final = 20.0
FETCH_WAIT_MS: Final = 20  # a fetch that waits for the old assignment holds up the next one: the default is 500 ms

# What the client library logs on the way is said again by the exception, in words for people.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Unreachable(Exception):
    """Kafka does not answer, or the topics are not there; the text says what to do."""


class Record(NamedTuple):
    """One record of a topic; ``append_ms`` is the broker's time."""

    partition: int
    offset: int
    append_ms: int
    key: bytes | None
    value: bytes


class Log:
    """An open view of the topics of one prefix."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._settings = settings
        self._consumer = consumer

    async def read(
        self, topic: Topic, *, since_ms: int | None = None, partitions: Iterable[int] | None = None
    ) -> list[Record]:
        """Every record from *since_ms* (else from the start) to the end as it stands now, per partition in order."""
        wanted = [
            TopicPartition(topic.named(self._settings.prefix), number)
            for number in (range(topic.partitions) if partitions is None else partitions)
        ]
        consumer = self._consumer
        consumer.assign(wanted)
        begins = await self._begins(wanted, since_ms)
        ends = await consumer.end_offsets(wanted)
        left = {place: ends[place] for place in wanted if begins[place] < ends[place]}
        for place in wanted:
            consumer.seek(place, begins[place])
        found: list[Record] = []
        deadline = time.monotonic() + ANSWER_SECONDS
        while left:
            if time.monotonic() > deadline:
                raise Unreachable(f"{topic.named(self._settings.prefix)} gave nothing for {ANSWER_SECONDS:.0f} s")
            for place, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                deadline = time.monotonic() + ANSWER_SECONDS
                found += [_record(record) for record in records if record.offset < ends[place]]
            for place in list(left):  # a position moves past what is no record of ours
                if await consumer.position(place) >= left[place]:
                    del left[place]
        return found

    async def one(self, topic: Topic, partition: int, offset: int) -> Record | None:
        """The record at a place, None when the log no longer (or not yet) holds it."""
        place = TopicPartition(topic.named(self._settings.prefix), partition)
        self._consumer.assign([place])
        begin = (await self._consumer.beginning_offsets([place]))[place]
        end = (await self._consumer.end_offsets([place]))[place]
        if not begin <= offset < end:
            return None
        self._consumer.seek(place, offset)
        record = await asyncio.wait_for(self._consumer.getone(place), ANSWER_SECONDS)
        return _record(record)

    async def follow(self, topics: Iterable[Topic], *, since_ms: int) -> AsyncIterator[tuple[Topic, Record]]:
        """Records of one-partition topics from *since_ms* on, as they come, without end."""
        by_name = {topic.named(self._settings.prefix): topic for topic in topics}
        wanted = [TopicPartition(name, number) for name, t in by_name.items() for number in range(t.partitions)]
        self._consumer.assign(wanted)
        begins = await self._begins(wanted, since_ms)
        for place in wanted:
            self._consumer.seek(place, begins[place])
        while True:
            for place, records in (await self._consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    yield by_name[place.topic], _record(record)

    async def _begins(self, wanted: list[TopicPartition], since_ms: int | None) -> dict[TopicPartition, int]:
        begins: dict[TopicPartition, int] = await self._consumer.beginning_offsets(wanted)
        if since_ms is None:
            return begins
        ends = await self._consumer.end_offsets(wanted)
        found = await self._consumer.offsets_for_times(dict.fromkeys(wanted, since_ms))
        return {place: ends[place] if found.get(place) is None else found[place].offset for place in wanted}


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[Log]:
    """Connect for reading; raises Unreachable when no broker answers or it has no topics of this prefix."""
    consumer = AIOKafkaConsumer(
        **client_arguments(settings),
        enable_auto_commit=False,
        max_partition_fetch_bytes=16 << 20,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        await _check_topics(settings, consumer)
        yield Log(settings, consumer)
    except KafkaConnectionError as error:
        raise Unreachable(_no_kafka(settings)) from error
    except (KafkaError, TimeoutError) as error:
        raise Unreachable(f"Kafka at {settings.brokers} failed: {error!r}") from error
    finally:
        await consumer.stop()


async def send(settings: Settings, topic: Topic, value: bytes, *, key: bytes | None = None) -> tuple[int, int]:
    """Write one record and wait for its acknowledgement; returns (partition, offset). Raises Unreachable."""
    producer = AIOKafkaProducer(**client_arguments(settings), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        sent = await asyncio.wait_for(
            producer.send_and_wait(topic.named(settings.prefix), value, key=key), ANSWER_SECONDS
        )
    except KafkaConnectionError as error:
        raise Unreachable(_no_kafka(settings)) from error
    except (KafkaError, TimeoutError) as error:
        raise Unreachable(f"Kafka at {settings.brokers} did not take the record: {error!r}") from error
    finally:
        await producer.stop()
    return sent.partition, sent.offset


async def _check_topics(settings: Settings, consumer: AIOKafkaConsumer) -> None:
    if not any(name.startswith(settings.prefix) for name in await consumer.topics()):
        raise Unreachable(
            f"Kafka at {settings.brokers} has no topics that begin with {settings.prefix!r}: start a worker first "
            "(`faust -A pipeline worker`), or set PERPGUARD_PREFIX"
        )


def _no_kafka(settings: Settings) -> str:
    return (
        f"no Kafka answers at {settings.brokers}: start one with `perpguard kafka`, or set PERPGUARD_BROKERS to the "
        "address that it printed"
    )


def _record(record: Any) -> Record:  # Any: aiokafka has no types here
    return Record(record.partition, record.offset, record.timestamp, record.key, record.value)
