"""How far a log reaches is asked of the broker, and only after a start."""

from __future__ import annotations

import uuid

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import load
from pipeline.streaming.log_ranges import LogRanges
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import ACCOUNT


async def test_range_grows_with_the_log(kafka: EmbeddedKafka) -> None:
    """Begin is the first offset there is, end the one behind the last."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    await ensure_topics(kafka.bootstrap, prefix)
    ranges = LogRanges(load({"PERPGUARD_BROKERS": kafka.bootstrap, "PERPGUARD_PREFIX": prefix}))
    await ranges.start()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    try:
        for _ in range(3):
            await producer.send_and_wait(ACCOUNT.named(prefix), b"x")
        assert (0, 3) == await ranges.of(ACCOUNT.named(prefix), 0)
    finally:
        await producer.stop()
        await ranges.stop()


async def test_asking_before_the_start_is_our_fault() -> None:
    """There is no connection yet."""
    with pytest.raises(AssertionError):
        await LogRanges(load({})).of("topic", 0)
