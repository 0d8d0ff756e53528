"""Outputs reach their topic in the order of the calls, and each says when it is durable."""

from __future__ import annotations

import uuid

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import load
from pipeline.streaming.log_ranges import LogRanges
from pipeline.streaming.producer import OutputProducer, acknowledged
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import DECISIONS, INTENTS


async def test_records_keep_their_order_and_their_place(kafka: EmbeddedKafka) -> None:
    """Key, partition and order are as given; when ``acknowledged`` returns the log has them all."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    await ensure_topics(kafka.bootstrap, prefix)
    settings = load({"PERPGUARD_BROKERS": kafka.bootstrap, "PERPGUARD_PREFIX": prefix})
    producer, ranges = OutputProducer(settings, role="decide"), LogRanges(settings)
    await producer.start()
    await ranges.start()
    try:
        assert (0, 0) == await ranges.of(DECISIONS.named(prefix), 3)
        written = [await producer.send(DECISIONS, value=b"%d" % n, key=b"A", partition=3) for n in range(50)]
        written.append(await producer.send(INTENTS, value=b"intent"))
        await acknowledged(written)
        assert (0, 50) == await ranges.of(DECISIONS.named(prefix), 3)
    finally:
        await producer.stop()
        await ranges.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(DECISIONS.named(prefix), 3)])
        found = [await consumer.getone() for _ in range(50)]
    finally:
        await consumer.stop()

    assert [(b"A", b"%d" % n) for n in range(50)] == [(record.key, record.value) for record in found]
