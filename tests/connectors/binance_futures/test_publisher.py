"""The only place for the tests of writing to Kafka: order and completeness while a real broker dies and comes back."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from connectors.binance_futures.intake import MarketIntake
from connectors.binance_futures.publisher import AlertGate, Publisher
from pipeline.core.units import Milliseconds
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import lines, records
from pipeline.wire.batching import Origin
from pipeline.wire.topics import ACCOUNT, ALERTS, INPUT_PARTITIONS, INPUTS, QUARANTINE, Topic

PREFIX = "publisher."


def line(partition: int, number: int) -> bytes:
    prefix = lines.frame_prefix(source="connector/public-0.a", incarnation="i", symbol=f"S{partition}USDT")
    return lines.frame_line(number, number, b'{"stream":"x","data":{}}', prefix)


async def values(brokers: str, topic: Topic, partition: int = 0) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers)
    await consumer.start()
    try:
        place = TopicPartition(topic.named(PREFIX), partition)
        end = (await consumer.end_offsets([place]))[place]
        consumer.assign([place])
        consumer.seek(place, 0)
        found = []
        while await consumer.position(place) < end:
            found.append((await consumer.getone()).value)
        return found
    finally:
        await consumer.stop()


def without_repeats(numbers: list[int]) -> list[int]:
    """What a fold makes of them: a number at or below the last one is a repeat."""
    kept: list[int] = []
    for number in numbers:
        if not kept or number > kept[-1]:
            kept.append(number)
    return kept


async def test_lines_keep_their_order_and_none_is_lost_while_the_broker_dies_and_comes_back(tmp_path: Path) -> None:
    """
    A broker is killed, started again and frozen while lines come all the time; every line is there in order.

    User frames, alerts and quarantine too. A record whose acknowledgement was lost may repeat, never out of order.
    """
    broker = EmbeddedKafka(directory=tmp_path)
    await asyncio.to_thread(broker.start)
    try:
        await ensure_topics(broker.bootstrap, PREFIX)
        publisher = Publisher(
            arguments={"bootstrap_servers": broker.bootstrap}, prefix=PREFIX, incarnation="i", compression="lz4"
        )
        await publisher.start()
        numbers = itertools.count(1)
        last = 0

        async def feed(steps: int) -> None:
            nonlocal last
            for _ in range(steps):
                last = next(numbers)
                for partition in range(INPUT_PARTITIONS):
                    publisher.line(partition, line(partition, last), Origin(f"S{partition}USDT", "x"))
                publisher.account(b"%d" % last)
                await asyncio.sleep(0.005)

        await feed(50)
        broker.kill()
        await feed(100)
        assert publisher.batcher.queued(0) > 0
        starting = asyncio.create_task(asyncio.to_thread(broker.start))
        while not starting.done():
            await feed(10)
        await starting
        broker.pause()
        await feed(50)
        broker.resume()
        publisher.quarantine(
            records.QuarantineRecord(source="connector/x", reason="r", at_ms=Milliseconds(1), payload=b"\x00bad")
        )
        assert await publisher.flush(30)
        await publisher.stop()
        assert publisher.failure() is None
        assert publisher.batcher.given_way == 0

        for partition in range(INPUT_PARTITIONS):
            found = [
                lines.decode(raw).n
                for record in await values(broker.bootstrap, INPUTS, partition)
                for raw in lines.split(record)
            ]
            assert list(range(1, last + 1)) == without_repeats(found)
        told = [int(value) for value in await values(broker.bootstrap, ACCOUNT)]
        assert list(range(1, last + 1)) == without_repeats(told)
        refused = [records.decode_quarantine(value) for value in await values(broker.bootstrap, QUARANTINE)]
        assert [b"\x00bad"] == [record.payload for record in refused]
        alerts = [records.decode_alert(value) for value in await values(broker.bootstrap, ALERTS)]
        assert ["frame_quarantined"] == [alert.code for alert in alerts]
        assert ["connector/x: r"] == [alert.text for alert in alerts]
    finally:
        await asyncio.to_thread(broker.stop)


def test_a_flood_of_one_alert_is_one_alert_with_a_count() -> None:
    """The first of a code at once, then one every ten seconds that says how many were held back."""
    gate = AlertGate()

    assert 0 == gate.passes("a", 0)
    assert [None, None] == [gate.passes("a", 1), gate.passes("a", 9_999)]
    assert 0 == gate.passes("b", 9_999)
    assert 2 == gate.passes("a", 10_000)
    assert 0 == gate.passes("a", 20_000)


def test_a_clock_that_is_set_back_hushes_no_alert() -> None:
    """An hour back was an hour without a word."""
    gate = AlertGate()

    assert 0 == gate.passes("a", 7_200_000)
    assert 0 == gate.passes("a", 3_600_000)
    assert gate.passes("a", 3_600_001) is None


class Broker:
    """A plain fake of a producer: acknowledges at once, keeps what it was given."""

    def __init__(self, **_: object) -> None:
        self.records: list[bytes] = []
        self.turns: list[int] = []  # of each record: the turn of the loop in which it came
        self.turn = 0

    async def start(self) -> None:
        """Connected."""

    async def stop(self) -> None:
        """Disconnected."""

    async def send(self, _topic: str, value: bytes, *, partition: int) -> asyncio.Future[None]:
        """Keep the record."""
        self.records.append(value)
        self.turns.append(self.turn)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


async def test_frames_of_nobody_collect_for_a_moment_and_those_of_a_held_symbol_go_alone_at_once() -> None:
    """The mark prices of all symbols come in one instant: those that decide about a position do not wait for them."""
    broker = Broker()
    publisher = Publisher(arguments={}, prefix=PREFIX, incarnation="i", make_producer=lambda **_: broker)
    publisher.hold("HELDUSDT")
    await publisher.start()
    try:
        publisher.line(0, b"1", Origin("AUSDT", "x"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert [] == broker.records
        publisher.line(0, b"2", Origin("HELDUSDT", "x"))
        publisher.line(0, b"3", Origin("AUSDT", "x"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert [b"2"] == broker.records
        publisher.line(0, b"4", Origin("AUSDT", "x"))
        publisher.line(0, b"5", Origin("AUSDT", "x"))
        assert await publisher.flush(10)
        assert [b"2", b"1\n3\n4\n5"] == broker.records
    finally:
        await publisher.stop()


async def test_what_collected_in_all_partitions_goes_in_one_moment() -> None:
    """One request and one fetch instead of eight: a line that came later in another partition waits no longer."""
    broker = Broker()
    publisher = Publisher(arguments={}, prefix=PREFIX, incarnation="i", make_producer=lambda **_: broker)
    await publisher.start()
    try:
        publisher.line(3, b"1", Origin("AUSDT", "x"))
        for _ in range(5):
            await asyncio.sleep(0)
        publisher.line(5, b"2", Origin("BUSDT", "x"))
        async with asyncio.timeout(10):
            while len(broker.records) < 2:
                broker.turn += 1
                await asyncio.sleep(0)
        assert ([b"1", b"2"], 1) == (sorted(broker.records), len({*broker.turns}))
    finally:
        await publisher.stop()


async def test_the_longest_frame_of_a_socket_is_kept_whole_and_what_is_not_kept_is_told() -> None:
    """
    Sixteen megabytes come in pieces at once: the queue took only half of them, and the word of it was held back as one
    more alert of the same connection.
    """
    broker = Broker()
    publisher = Publisher(arguments={}, prefix=PREFIX, incarnation="i", make_producer=lambda **_: broker)
    intake = MarketIntake(
        source="connector/public-0.a", incarnation="i", symbols=[], sink=publisher, watches=[],
        answered=lambda reply: None,
    )  # fmt: skip
    frame = b"x" * 16 * 1024 * 1024
    intake.frame(1, frame)
    assert 0 == publisher.not_kept
    intake.frame(2, frame[: 4 * 1024 * 1024])
    assert publisher.not_kept > 0
    await publisher.start()
    assert await publisher.flush(60)
    await publisher.stop()
    refused, told = [], []
    for record in broker.records:
        if b'"payload"' in record:
            refused.append(records.decode_quarantine(record).payload)
        else:
            told.append(records.decode_alert(record).code)

    assert b"".join(refused).startswith(frame)
    assert ["frame_quarantined", "quarantine_full"] == told
    assert 0 == publisher.waiting_bytes


class Away(Broker):
    """A broker that refuses everything."""

    async def send(self, _topic: str, value: bytes, *, partition: int) -> asyncio.Future[None]:
        """As aiokafka after its deadline."""
        self.records.append(value)
        raise KafkaTimeoutError


async def test_an_attempt_that_failed_is_no_acknowledgement_and_what_waits_has_a_name() -> None:
    """The metric said that Kafka had answered just now, for as long as it was away."""
    broker = Away()
    publisher = Publisher(arguments={}, prefix=PREFIX, incarnation="i", make_producer=lambda **_: broker)
    before = publisher.last_acknowledged
    await publisher.start()
    publisher.line(0, b"1", None)
    publisher.line(1, b"2", Origin("AUSDT", "x"))
    publisher.account(b"fill")
    async with asyncio.timeout(10):
        while publisher.retries < 2:  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)
    assert not await publisher.flush(0)
    text, waiting = publisher.waiting(), publisher.waiting_bytes
    await publisher.stop()

    assert before == publisher.last_acknowledged
    assert waiting >= publisher.batcher.size + len(b"fill")
    assert f"{waiting} bytes: " in text
    assert "1 records of account" in text
    assert "records of lines on their way" in text
