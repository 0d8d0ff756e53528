"""
The only place that makes the topics on a cluster, and that draws and reads the identity of the log.

The identity is drawn once, when the topics are made: a record in a topic of its own, whose *first* record is the
answer for ever. Racing creators may each write one; every reader takes the first, so all agree. Each record has its
own key, because compaction would remove the earlier of two records with the same key, and with it the identity.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from pipeline.core.identity import DIGITS, LOG_IDENTITY_CHARACTERS
from pipeline.core.units import Milliseconds
from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments
from pipeline.wire import records
from pipeline.wire.topics import INPUT_PARTITIONS, LOG_IDENTITY, TOPICS, Topic

# Table → (role whose worker writes it, partitions): as many as the topic has whose records write it.
TABLES: Final[dict[str, tuple[str, int]]] = {
    "checkpoints": ("decide", INPUT_PARTITIONS),
    "prices": ("decide", INPUT_PARTITIONS),
    "books": ("decide", INPUT_PARTITIONS),
    "factors": ("decide", INPUT_PARTITIONS),
    "positions": ("decide", INPUT_PARTITIONS),
    "account": ("account", 1),
}

# An anchor holds every state of a partition, a checkpoint one state: the broker's default of 1 MB may be too little.
LARGE: Final = {"max.message.bytes": str(16 << 20)}
CHANGELOG_CONFIG: Final[dict[str, str]] = {
    "cleanup.policy": "compact",
    "segment.ms": "600000",  # the head segment is never compacted: let it end, or a start reads hours of checkpoints
    "min.cleanable.dirty.ratio": "0.2",
    "compression.type": "producer",
    **LARGE,
}
READY_SECONDS: Final = 30.0


class TopicsNotReady(Exception):
    """The cluster did not make the topics, or does not show them; the text says which and why."""


def changelog_name(prefix: str, table: str) -> str:
    """
    The topic behind a table, given to Faust explicitly: one process for all roles or one per role, it is the same.

    It starts with prefix and role, which is what the access rules of a role allow.
    """
    return f"{prefix}{TABLES[table][0]}-{table}-changelog"


def wanted_topics(prefix: str, replication: int) -> list[NewTopic]:
    """Every topic of the table, and the changelogs of the tables."""
    return [_new(topic, prefix, replication) for topic in TOPICS] + [
        NewTopic(
            changelog_name(prefix, table),
            num_partitions=partitions,
            replication_factor=replication,
            topic_configs=CHANGELOG_CONFIG,
        )
        for table, (_, partitions) in TABLES.items()
    ]


def _new(topic: Topic, prefix: str, replication: int) -> NewTopic:
    config = topic.config() | (LARGE if topic.name == "anchors" else {})
    return NewTopic(
        topic.named(prefix),
        num_partitions=topic.partitions,
        replication_factor=replication,
        topic_configs=config,
    )


async def ensure_topics(brokers: str, prefix: str, replication: int = 1) -> str:
    """
    Make what is missing of the topics and return the identity of the log, drawing it when there is none.

    Safe to call from several processes at once. Raises TopicsNotReady, and aiokafka's KafkaError for a cluster that
    cannot be reached.
    """
    return await ensure_topics_as({"bootstrap_servers": brokers.split(",")}, prefix, replication)


async def ensure_topics_of(settings: Settings) -> str:
    """``ensure_topics`` with the addresses and the login of the settings."""
    return await ensure_topics_as(client_arguments(settings), settings.prefix, 1)


async def ensure_topics_as(arguments: dict[str, Any], prefix: str, replication: int) -> str:  # Any: aiokafka's
    """``ensure_topics`` with the arguments of a client (``client_arguments``)."""
    wanted = wanted_topics(prefix, replication)
    admin = AIOKafkaAdminClient(**arguments)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in present]
        if missing:
            answer = await admin.create_topics(missing)
            for name, code, *reason in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise TopicsNotReady(f"topic {name}: {for_code(code).__name__} {' '.join(map(str, reason))}")
            await _until_shown(admin, {topic.name for topic in wanted})
    finally:
        await admin.close()
    return await _identity(arguments, prefix)


async def _until_shown(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until every topic has leaders for all its partitions: before that a produce would be refused."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        shown = {
            topic["topic"]
            for topic in await admin.describe_topics(sorted(names))
            if topic["error_code"] == 0 and topic["partitions"] and all(p["leader"] >= 0 for p in topic["partitions"])
        }
        if names <= shown:
            return
        if time.monotonic() > deadline:
            raise TopicsNotReady(f"not shown after {READY_SECONDS:.0f} s: {', '.join(sorted(names - shown))}")
        await asyncio.sleep(0.05)


async def _identity(arguments: dict[str, Any], prefix: str) -> str:  # Any: aiokafka's
    """The first identity in the topic; the one drawn here when it is empty and nobody was faster."""
    known = await read_identity(arguments, prefix)
    if known is not None:
        return known
    drawn = "".join(secrets.choice(DIGITS) for _ in range(LOG_IDENTITY_CHARACTERS))
    record = records.LogIdentity(identity=drawn, created_ms=Milliseconds(time.time_ns() // 1_000_000))
    producer = AIOKafkaProducer(**arguments, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(LOG_IDENTITY.named(prefix), records.encode(record), key=drawn.encode())
    finally:
        await producer.stop()
    known = await read_identity(arguments, prefix)
    if known is None:
        raise TopicsNotReady("the identity that was just written cannot be read back")
    return known


async def read_identity(arguments: dict[str, Any], prefix: str) -> str | None:  # Any: aiokafka's
    """The identity of the log, None when none was drawn yet. Raises TopicsNotReady when the topic does not answer."""
    consumer = AIOKafkaConsumer(**arguments, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(LOG_IDENTITY.named(prefix), 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        begin = (await consumer.beginning_offsets([partition]))[partition]
        if begin == end:
            return None
        consumer.seek(partition, begin)
        record = await asyncio.wait_for(consumer.getone(), READY_SECONDS)
        return records.decode_log_identity(record.value).identity
    except (TimeoutError, KafkaError) as error:
        raise TopicsNotReady(f"{LOG_IDENTITY.named(prefix)} does not answer: {error!r}") from error
    finally:
        await consumer.stop()
