"""A log reads alike from Kafka and from a dump; a torn or damaged file is said to be one."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.audit.sources import (
    MAGIC,
    DumpSource,
    DumpWriter,
    Entry,
    Header,
    KafkaSource,
    SourceError,
    dumps_in,
)
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import INPUTS, TOPICS
from tests.pipeline.audit.logs import IDENTITY, PARTITION, entries, replayed

HEADER = Header(log_identity=IDENTITY, prefix="p.")


def dumped(path: Path, rows: list[Entry]) -> Path:
    with path.open("wb") as stream:
        writer = DumpWriter(stream, HEADER)
        for row in rows:
            writer.write(row)
    return path


def test_a_dump_reads_back(tmp_path: Path) -> None:
    """Every record with its place, time, key and bytes."""
    source = DumpSource(dumped(tmp_path / "a.pglog", entries()))

    assert (IDENTITY, "p.") == (source.log_identity, source.prefix)
    assert entries() == list(source.entries())
    assert [] == list(source.entries([PARTITION + 1]))


def test_a_damaged_byte_without_its_checksum_is_said(tmp_path: Path) -> None:
    """That is a broken disk, not a changed log: the file is refused."""
    path = dumped(tmp_path / "a.pglog", entries()[:20])
    body = bytearray(path.read_bytes())
    body[-3] ^= 1
    path.write_bytes(bytes(body))

    with pytest.raises(SourceError, match="checksum"):
        list(DumpSource(path).entries())


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_file_is_said(tmp_path: Path, cut: int) -> None:
    """A dump that ends in the middle of a record does not pass for a shorter log."""
    path = dumped(tmp_path / "a.pglog", entries()[:20])
    path.write_bytes(path.read_bytes()[:-cut])

    with pytest.raises(SourceError, match="in the middle"):
        list(DumpSource(path).entries())


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    """Another file, an empty one, one without a header or with a record that is none."""
    other = tmp_path / "a.pglog"
    for body in (b"", b"hello", MAGIC, MAGIC + struct.pack(">II", 2, zlib.crc32(b"{}")) + b"{}"):
        other.write_bytes(body)
        with pytest.raises(SourceError, match="no dump"):
            DumpSource(other)
    stream = io.BytesIO()
    DumpWriter(stream, HEADER)
    other.write_bytes(stream.getvalue() + struct.pack(">II", 1, zlib.crc32(b"x")) + b"x")
    with pytest.raises(SourceError, match="record 0 cannot be read"):
        list(DumpSource(other).entries())


def test_an_archive_is_a_directory_of_dumps_or_one(tmp_path: Path) -> None:
    """By name; an empty directory is an error, not an empty log."""
    with pytest.raises(SourceError, match=r"no \*.pglog"):
        dumps_in(tmp_path)
    second, first = dumped(tmp_path / "b.pglog", []), dumped(tmp_path / "a.pglog", [])

    assert [first, second] == dumps_in(tmp_path)
    assert [second] == dumps_in(second)


async def test_a_log_in_kafka_is_read_to_its_present_end(kafka: EmbeddedKafka) -> None:
    """Witnesses before the records they speak of, no consumer group, and the verdict of the replay over it."""
    prefix = "audit-sources."
    identity = await ensure_topics(kafka.bootstrap, prefix)
    arguments = {"bootstrap_servers": kafka.bootstrap}
    rows = entries()
    names = {topic.name: topic for topic in TOPICS}
    producer = AIOKafkaProducer(**arguments, acks="all")
    await producer.start()
    try:
        for row in rows:
            await producer.send(names[row.topic].named(prefix), row.value, key=row.key, partition=row.partition)
        await producer.flush()
    finally:
        await producer.stop()

    async with KafkaSource(arguments, prefix) as source:
        assert identity == source.log_identity
        found = [row async for row in source.entries()]
        alone = [row async for row in source.entries([PARTITION])]

    assert [(row.topic, row.offset, row.value) for row in rows] == [(row.topic, row.offset, row.value) for row in found]
    assert found == alone
    # The broker stamped its own append times, which the seals of this log do not know: every record is found changed.
    differing = replayed(found)
    assert "record" == differing.differences[0].kind
    inputs = [row.append_ms for row in found if row.topic == INPUTS.name]
    assert inputs == sorted(inputs)


async def test_a_prefix_without_a_log_and_a_silent_address_are_said(kafka: EmbeddedKafka) -> None:
    """One line that says what is not there."""
    with pytest.raises(SourceError):
        async with KafkaSource({"bootstrap_servers": "127.0.0.1:1"}, "p."):
            pass
