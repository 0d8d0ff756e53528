"""The stand-in for Kafka: dense offsets, order per producer and partition, a beginning of what a dead one had sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pipeline.virtual.clock import START_MS, VirtualLoop, run
from pipeline.virtual.log import Reader, Table, VirtualConsumer, VirtualKafka, VirtualProducer, home_of
from pipeline.virtual.processes import Process
from pipeline.wire.topics import INPUTS, INTENTS, partition_of


def kafka(test: Callable[[VirtualKafka], Awaitable[None]], *, seed: int = 1) -> None:
    """Run *test* with a broker of its own."""

    async def main(loop: VirtualLoop) -> None:
        await test(VirtualKafka(loop, Random(seed)))

    run(main)


def test_records_of_one_producer_and_partition_keep_their_order() -> None:
    """Whatever roads are drawn, offsets are dense and in the order of the calls; append time never runs back."""

    async def test(broker: VirtualKafka) -> None:
        producer = VirtualProducer(broker, Process("p"))
        futures = [await producer.send("intents", f"{n}".encode()) for n in range(50)]
        await producer.stop()
        stored = broker.records(INTENTS)
        assert [f"{n}".encode() for n in range(50)] == [record.value for record in stored]
        assert list(range(50)) == [record.offset for record in stored]
        assert sorted(record.timestamp for record in stored) == [record.timestamp for record in stored]
        assert stored[7] == await futures[7]

    kafka(test)


@pytest.mark.parametrize("seed", range(12))
def test_of_what_a_killed_process_had_in_flight_a_beginning_is_there(seed: int) -> None:
    """Never a record without the ones before it."""

    async def test(broker: VirtualKafka) -> None:
        process = Process("p")
        producer = VirtualProducer(broker, process)
        for number in range(10):
            await producer.send("intents", f"{number}".encode())
        process.kill()
        await asyncio.sleep(1)
        values = [int(record.value) for record in broker.records(INTENTS)]
        assert list(range(len(values))) == values

    kafka(test, seed=seed)


def test_while_the_broker_is_away_nothing_is_appended_and_afterwards_everything() -> None:
    """An acknowledgement takes as long as the absence."""

    async def test(broker: VirtualKafka) -> None:
        producer = VirtualProducer(broker, Process("p"))
        broker.away(1_500)
        stored = await producer.send_and_wait("intents", b"x")
        assert START_MS + 1_500 <= stored.timestamp < START_MS + 1_510

    kafka(test)


def test_a_record_without_an_acknowledgement_is_there_or_not() -> None:
    """The producer's error says nothing about the log."""

    async def test(broker: VirtualKafka) -> None:
        producer = VirtualProducer(broker, Process("p"))
        broker.unanswered = 2
        for value in (b"a", b"b"):
            with pytest.raises(KafkaError):
                await producer.send_and_wait("intents", value)
        await producer.send_and_wait("intents", b"c")
        assert [b"a", b"c"] == [record.value for record in broker.records(INTENTS)]

    kafka(test)


def test_a_reader_waits_follows_and_can_be_set_back() -> None:
    """Records come in order, later than they were appended by what the topic is held back."""

    async def test(broker: VirtualKafka) -> None:
        reader = Reader(broker, "intents")
        broker.hold_ms["intents"] = 300
        broker.loop.call_later(1.0, broker.append, "intents", 0, b"", b"x")
        first = await reader.next()
        assert (b"x", 0) == (first.value, first.offset)
        assert 1.3 <= broker.loop.time() < 1.31
        reader.again(0)
        assert first == await reader.next()

    kafka(test)


def test_the_journals_consumer_reads_to_the_end_and_follows() -> None:
    """The methods of aiokafka's consumer that the journal calls."""

    async def test(broker: VirtualKafka) -> None:
        for number in range(3):
            broker.append("attempts", 0, b"", f"{number}".encode())
        partition = TopicPartition("attempts", 0)
        consumer = VirtualConsumer(broker)
        consumer.assign([partition])
        assert {partition: 3} == await consumer.end_offsets([partition])
        consumer.seek(partition, 1)
        found = await consumer.getmany(partition, timeout_ms=10)
        assert [b"1", b"2"] == [record.value for record in found[partition]]
        assert 3 == await consumer.position(partition)
        broker.append("attempts", 0, b"", b"3")
        async for record in consumer:
            assert b"3" == record.value
            break

    kafka(test)


def test_rows_of_a_table_become_durable_in_the_order_of_the_writes() -> None:
    """A killed writer leaves a beginning of its writes."""

    async def test(broker: VirtualKafka) -> None:
        table, process = Table(broker), Process("p")
        write = table.writer(process)
        await write("a", b"1")
        for key in "bcdef":
            write(key, b"1")
        process.kill()
        await asyncio.sleep(1)
        assert "abcdef"[: len(table.rows)] == "".join(table.rows)

    kafka(test)


def test_keys_find_their_partition_as_with_kafkas_partitioner() -> None:
    """Topics of one partition need no key."""
    assert partition_of("BTCUSDT") == home_of(INPUTS, b"BTCUSDT", None)
    assert (5, 0) == (home_of(INPUTS, b"x", 5), home_of(INTENTS, b"x", None))
