"""
The only place for tests of situations on real processes that need none: slots, topics of hastened time.

A whole run is ``perpguard scenarios --processes`` (minutes); the same judge is tested in virtual time.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.backtest.expected import EXPECTED
from pipeline.backtest.processes import AGO_MS, BEGIN_MS, HOUR_MS, SLOTS, make_topics
from pipeline.demo.stage import ROLES
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.hastened import SLOTS as WORDS
from pipeline.virtual.clock import START_MS
from pipeline.wire.topics import INPUTS

PREFIX = "hastened."
LONG_AGO_MS = 1_700_000_000_123


def test_every_process_has_a_slot_of_its_own() -> None:
    """Time waits for each of the five: simulator, connector and the workers."""
    assert {"simulator", "connector", *ROLES} == set(SLOTS)
    assert len(SLOTS) == len(set(SLOTS.values()))
    assert max(SLOTS.values()) < WORDS


def test_a_situation_begins_as_in_virtual_time_and_stays_behind_the_broker() -> None:
    """As far before the close of a bar; and the longest ends before the hour in which a broker refuses its future."""
    five = 300_000
    longest_ms = max(row.seconds for row in EXPECTED.values()) * 1_000

    assert START_MS % five == BEGIN_MS % five
    assert longest_ms + BEGIN_MS < AGO_MS + HOUR_MS


def test_records_carry_the_time_of_who_sent_them(kafka: EmbeddedKafka) -> None:
    """In topics made for a situation the broker keeps a record's own time instead of stamping it."""

    async def read_back() -> int:
        await make_topics(kafka.bootstrap, PREFIX)
        place = TopicPartition(INPUTS.named(PREFIX), 0)
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        try:
            await producer.send_and_wait(place.topic, b"x", partition=0, timestamp_ms=LONG_AGO_MS)
        finally:
            await producer.stop()
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([place])
            record = await asyncio.wait_for(consumer.getone(), 20)
        finally:
            await consumer.stop()
        return int(record.timestamp)

    assert LONG_AGO_MS == asyncio.run(read_back())
