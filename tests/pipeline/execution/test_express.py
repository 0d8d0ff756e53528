"""The express to the broker: several requests in flight, in order; what goes wrong ends as if there were none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.core.units import Milliseconds
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.execution.express import MOST, Express, express_of
from pipeline.execution.kafka_journal import KafkaJournal
from pipeline.wire.records import AttemptRecord, LeaseRenewed, encode
from tests.pipeline.execution.test_kafka_journal import new_topic, no_image

DEADLINE_S = 20.0


def record(number: int) -> LeaseRenewed:
    """Some record."""
    return LeaseRenewed(epoch=number, executor="x", at_ms=Milliseconds(number))


@asynccontextmanager
async def journal(kafka: EmbeddedKafka, topic: str, spill: Path) -> AsyncIterator[KafkaJournal]:
    """A connected journal whose faults are the test's."""
    faults: list[BaseException] = []
    made = KafkaJournal({"bootstrap_servers": kafka.bootstrap}, topic=topic, spill=spill, on_fault=faults.append)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
    assert [] == faults


async def written(kafka: EmbeddedKafka, topic: str, spill: Path) -> list[AttemptRecord]:
    """What stands in the log."""
    async with journal(kafka, topic, spill) as made:
        return await made.read(no_image)


def connection_of(made: KafkaJournal) -> Any:
    """The express's connection to the leader."""
    assert made._express is not None
    return made._express._connection()


async def test_records_are_written_in_the_turn_of_their_call_and_stand_in_its_order(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """One at a time or a hundred at once: the first leaves at once, the others behind it, never more than MOST."""
    topic = await new_topic(kafka)
    async with journal(kafka, topic, tmp_path / "a") as made:
        express = made._express
        assert express is not None
        await made.append(record(0))  # the producer's own road makes the connection, if nothing else has
        alone = express.carried
        for number in range(1, 6):
            await made.append(record(number))
        assert alone + 5 == express.carried

        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(express._under_way))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(made.append(record(number), patient=number % 7 == 0) for number in range(6, 106)))
        watching.cancel()
        assert 1 <= most <= MOST
        assert not express.busy

    assert [record(number) for number in range(106)] == await written(kafka, topic, tmp_path / "b")


async def test_a_cut_connection_costs_no_record_and_no_order(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """
    Whether the broker had them or not: what was under way goes again under its own numbers and stands once, in order.
    """
    topic = await new_topic(kafka)
    async with journal(kafka, topic, tmp_path / "a") as made:
        express = made._express
        assert express is not None
        await made.append(record(0))
        await made.append(record(1))
        number = 2
        for turns in (0, 1, 2, 4, 40):
            calls = []
            for _ in range(4):
                calls.append(asyncio.create_task(made.append(record(number))))
                number += 1
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            connection = connection_of(made)
            if connection is not None:
                connection.close()
            calls.append(asyncio.create_task(made.append(record(number))))
            number += 1
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*calls)
        before = express.carried
        async with asyncio.timeout(DEADLINE_S):
            while express.carried == before:  # it opens again
                await made.append(record(number))
                number += 1

    assert [record(n) for n in range(number)] == await written(kafka, topic, tmp_path / "b")


async def test_a_refusal_by_the_broker_is_the_producers_matter(
    kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer with an error, or of another shape, gives everything back in order; nothing stands twice."""
    topic = await new_topic(kafka)
    async with journal(kafka, topic, tmp_path / "a") as made:
        await made.append(record(0))
        await made.append(record(1))
        express = made._express
        assert express is not None
        number = 2
        for answer in (
            SimpleNamespace(topics=[(topic, [(0, 6, -1, -1, -1)])]),  # not the leader
            SimpleNamespace(topics=[(topic, [(0, 45, -1, -1, -1)])]),  # out of order
            SimpleNamespace(topics=[]),
            SimpleNamespace(),
        ):
            spoilt = connection_of(made)
            send = spoilt.send

            def once(
                request: Any, send: Callable[[Any], Any] = send, answer: Any = answer, spoilt: Any = spoilt
            ) -> Any:
                spoilt.send = send

                async def wrong() -> Any:
                    await send(request)
                    return answer

                return wrong()

            spoilt.send = once
            calls = [asyncio.create_task(made.append(record(number + n))) for n in range(3)]
            number += 3
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*calls)
                while not express.open():  # noqa: ASYNC110 - the producer's own road has no event
                    await asyncio.sleep(0.01)

    assert [record(n) for n in range(number)] == await written(kafka, topic, tmp_path / "b")


async def test_a_broker_that_stands_still_is_left_to_the_file(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A rail's record is in the file after its patience although requests are under way; later all is in the log."""
    topic = await new_topic(kafka)
    spill = tmp_path / "a" / "attempts.jsonl"
    async with journal(kafka, topic, spill) as made:
        await made.append(record(0))
        await made.append(record(1))
        kafka.pause()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(made.append(record(n), spill=True) for n in range(2, 8)))
            assert 6 == made.spilled
        finally:
            kafka.resume()
        async with asyncio.timeout(DEADLINE_S):
            await made.append(record(8))
            while spill.exists():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
    log = await written(kafka, topic, tmp_path / "b")

    assert [record(n) for n in range(9)] == log[:9]
    assert {encode(record(n)) for n in range(9)} == {encode(one) for one in log}


async def test_without_the_parts_it_is_made_of_there_is_none() -> None:
    """Another version of aiokafka costs time, not records."""
    other: Any = SimpleNamespace(_message_accumulator=SimpleNamespace(_batches={}))
    assert express_of(other, TopicPartition("attempts", 0), free=lambda: None) is None
    own: Any = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", enable_idempotence=True)
    assert isinstance(express_of(own, TopicPartition("attempts", 0), free=lambda: None), Express)
    await own.client.close()
