"""Tests of reading and writing topics from the command line, on a real Kafka."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline.console.log_access import Unreachable, open_log, send
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import ALERTS, DECISIONS
from tests.account_desk import environment


async def test_records_are_read_to_the_present_end_in_order(kafka: EmbeddedKafka) -> None:
    """Everything written before the call is returned, per partition in order, and nothing is waited for."""
    await ensure_topics(kafka.bootstrap, "access.")
    settings = load(environment(kafka.bootstrap, "access."))
    places = [await send(settings, ALERTS, b"%d" % number, key=b"k") for number in range(5)]

    async with open_log(settings) as log:
        found = await log.read(ALERTS)
        later = await log.read(ALERTS, since_ms=int(time.time() * 1_000) + 60_000)
        empty = await log.read(DECISIONS)
        one = await log.one(ALERTS, 0, 3)
        beyond = await log.one(ALERTS, 0, 5)

    assert [(0, offset) for offset in range(5)] == places
    assert [b"0", b"1", b"2", b"3", b"4"] == [record.value for record in found]
    assert [] == later == empty
    assert one == found[3]
    assert beyond is None


async def test_following_goes_on_with_what_comes(kafka: EmbeddedKafka) -> None:
    """A follower gets what is there and then what is written later."""
    await ensure_topics(kafka.bootstrap, "follow.")
    settings = load(environment(kafka.bootstrap, "follow."))
    await send(settings, ALERTS, b"first")
    seen: list[bytes] = []
    async with asyncio.timeout(30), open_log(settings) as log:
        async for topic, record in log.follow([ALERTS], since_ms=0):
            assert topic is ALERTS
            seen.append(record.value)
            if len(seen) == 2:
                break
            await send(settings, ALERTS, b"second")

    assert [b"first", b"second"] == seen


async def test_no_kafka_is_one_line_with_the_remedy() -> None:
    """Nobody listening is said with the address and the command that would help, for reading and for writing."""
    settings = load({"PERPGUARD_BROKERS": "127.0.0.1:1"})

    with pytest.raises(Unreachable, match=r"no Kafka answers at 127\.0\.0\.1:1: start one with `perpguard kafka`"):
        async with open_log(settings):
            pass
    with pytest.raises(Unreachable, match="no Kafka answers"):
        await send(settings, ALERTS, b"")


async def test_missing_topics_are_named(kafka: EmbeddedKafka) -> None:
    """A broker without topics of the prefix is told apart from no broker."""
    settings = load(environment(kafka.bootstrap, "nobody-made-these."))

    with pytest.raises(Unreachable, match=r"no topics that begin with 'nobody-made-these\.'"):
        async with open_log(settings):
            pass
