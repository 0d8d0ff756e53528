"""Lines of a worker are numbered in the log's order and leave in one record per round trip."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeline.core.events import FeedLost
from pipeline.streaming.lines import LinePublisher
from pipeline.wire import lines
from pipeline.wire.topics import Topic, partition_of


class SlowKafka:
    """Takes records and acknowledges them when told."""

    def __init__(self) -> None:
        self.records: list[tuple[int | None, bytes]] = []
        self.pending: list[asyncio.Future[None]] = []

    async def send(
        self, topic: Topic, *, value: bytes, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[Any]:
        """As ``OutputProducer.send``."""
        self.records.append((partition, value))
        self.pending.append(asyncio.get_running_loop().create_future())
        return self.pending[-1]


def publisher(kafka: SlowKafka) -> LinePublisher:
    """A publisher of source decide/0."""
    return LinePublisher(kafka, source="decide/0", incarnation="i1")  # type: ignore[arg-type]  # a plain fake


async def test_lines_collect_while_a_record_is_in_flight() -> None:
    """The first line leaves alone; what comes before its acknowledgement leaves together behind it."""
    kafka = SlowKafka()
    written = publisher(kafka)
    first = written.publish("*", partition=2, tick=1)
    await asyncio.sleep(0)
    rest = [written.publish("*", partition=2, tick=tick) for tick in (2, 3, 4)]
    await asyncio.sleep(0)

    assert 1 == len(kafka.records)
    kafka.pending[0].set_result(None)
    await first
    await asyncio.sleep(0)
    assert [1, 3] == [len(lines.split(value)) for _, value in kafka.records]
    kafka.pending[1].set_result(None)
    await asyncio.gather(*rest)
    numbers = [lines.decode(line).n for _, value in kafka.records for line in lines.split(value)]
    assert [1, 2, 3, 4] == numbers


async def test_numbers_count_per_symbol_and_per_partition_of_a_star() -> None:
    """Each partition's fold sees only its own lines, so lines for every symbol count per partition."""
    kafka = SlowKafka()
    written = publisher(kafka)
    lost = FeedLost(stream="public", reason="test")
    for partition in (0, 1, 1):
        written.publish("*", partition=partition, tick=1)
    written.publish("BTCUSDT", lost=lost)
    flushing = asyncio.ensure_future(written.flush())
    while not flushing.done():
        for future in kafka.pending:
            if not future.done():
                future.set_result(None)
        await asyncio.sleep(0)
    found = {
        (partition, line.sym, line.n)
        for partition, value in kafka.records
        for line in map(lines.decode, lines.split(value))
    }

    assert {(0, "*", 1), (1, "*", 1), (1, "*", 2), (partition_of("BTCUSDT"), "BTCUSDT", 1)} == found


async def test_refused_record_fails_its_lines_and_not_the_next() -> None:
    """Whoever wrote a line of a refused record is told; later lines go on."""
    kafka = SlowKafka()
    written = publisher(kafka)
    first = written.publish("*", partition=2, tick=1)
    await asyncio.sleep(0)
    second = written.publish("*", partition=2, tick=2)
    kafka.pending[0].set_exception(ConnectionError("gone"))

    with pytest.raises(ConnectionError):
        await first
    await asyncio.sleep(0)
    kafka.pending[1].set_result(None)
    await second
    await written.flush()
