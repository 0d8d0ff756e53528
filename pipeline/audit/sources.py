"""
The only place where an audit gets the log from: Kafka, or a file that such a log was dumped to.

Both give the same: first ``account``; then partition by partition everything the log *says* about the partition
(``anchors``, ``decisions``), then its ``inputs`` in order. Nothing joins a consumer group; an audit moves nobody's
partitions.

A dump is the magic, a header (JSON: log identity, prefix), then records: length, CRC-32 and msgpack of ``Entry`` each.
The checksum finds a torn file; a record changed on purpose *with* its checksum is what ``replay --verify`` finds.
"""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.wire.topics import ACCOUNT, ANCHORS, DECISIONS, INPUT_PARTITIONS, INPUTS, LOG_IDENTITY, Topic

MAGIC: Final = b"perpguard log 1\n"
SUFFIX: Final = ".pglog"
QUIET_SECONDS: Final = 20.0
READ_TOPICS: Final = (ANCHORS, DECISIONS, INPUTS)  # witnesses before the records they speak of
_HEAD: Final = struct.Struct(">II")


class SourceError(Exception):
    """The log cannot be read: no broker, no topics, a torn file; the text says which and what to do."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One record of a topic; ``topic`` is the bare name of the table in ``wire.topics``, ``append_ms`` the broker's."""

    topic: str
    partition: int
    offset: int
    append_ms: int
    key: bytes | None
    value: bytes


class Header(msgspec.Struct, frozen=True):
    """What a dump says about itself."""

    log_identity: str
    prefix: str


class KafkaSource:
    """
    The log on a cluster. *arguments* are those of aiokafka's clients (addresses, login).

    Use as an async context manager; raises SourceError when the broker or the topics are not there.
    """

    def __init__(self, arguments: dict[str, Any], prefix: str) -> None:  # Any: aiokafka's own arguments
        self._arguments = arguments
        self._prefix = prefix
        self._consumer: AIOKafkaConsumer | None = None
        self.log_identity = ""

    async def __aenter__(self) -> KafkaSource:
        # A fetch that waits for data holds up every other question on its connection: let none wait for long.
        consumer = AIOKafkaConsumer(**self._arguments, fetch_max_bytes=32 << 20, fetch_max_wait_ms=50)
        try:
            await consumer.start()
        except KafkaError as error:
            raise SourceError(f"Kafka does not answer at {self._arguments['bootstrap_servers']}: {error}") from error
        self._consumer = consumer
        try:
            self.log_identity = await self._identity()
        except BaseException:
            await consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def _identity(self) -> str:
        for place, span in (await self._spans([(LOG_IDENTITY, 0)])).items():
            async for entry in self._read(LOG_IDENTITY, place, span):
                return str(msgspec.json.decode(entry.value)["identity"])
        raise SourceError(f"{LOG_IDENTITY.named(self._prefix)} is empty: no log was made under this prefix")

    async def entries(self, partitions: Iterable[int] = range(INPUT_PARTITIONS)) -> AsyncIterator[Entry]:
        """Everything up to the present end, in the order of this module's first paragraph."""
        numbers = list(partitions)
        # The ends of inputs are taken first: what the witnesses say is then at least as new as what is folded.
        spans = await self._spans([(INPUTS, number) for number in numbers])
        spans |= await self._spans([(topic, number) for topic in READ_TOPICS[:-1] for number in numbers])
        for place, span in (await self._spans([(ACCOUNT, 0)])).items():
            async for entry in self._read(ACCOUNT, place, span):
                yield entry
        for number in numbers:
            for topic in READ_TOPICS:
                place = TopicPartition(topic.named(self._prefix), number)
                async for entry in self._read(topic, place, spans[place]):
                    yield entry

    async def _spans(self, wanted: list[tuple[Topic, int]]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and the one behind the last, for several partitions in two questions."""
        consumer = self._consumer
        assert consumer is not None
        places = [TopicPartition(topic.named(self._prefix), number) for topic, number in wanted]
        try:
            begins = await asyncio.wait_for(consumer.beginning_offsets(places), QUIET_SECONDS)
            ends = await asyncio.wait_for(consumer.end_offsets(places), QUIET_SECONDS)
        except (KafkaError, TimeoutError) as error:
            names = ", ".join(sorted({place.topic for place in places}))
            raise SourceError(f"{names}: cannot be read, are the topics there? {error!r}") from error
        return {place: (begins[place], ends[place]) for place in places}

    async def _read(self, topic: Topic, place: TopicPartition, span: tuple[int, int]) -> AsyncIterator[Entry]:
        consumer = self._consumer
        assert consumer is not None
        begin, end = span
        if begin >= end:
            return
        consumer.assign([place])
        consumer.seek(place, begin)
        deadline = time.monotonic() + QUIET_SECONDS
        while await consumer.position(place) < end:
            if time.monotonic() > deadline:
                raise SourceError(f"{place.topic} {place.partition} gave nothing for {QUIET_SECONDS:.0f} s")
            for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                deadline = time.monotonic() + QUIET_SECONDS
                if record.offset < end:
                    value = record.value or b""
                    yield Entry(topic.name, place.partition, record.offset, record.timestamp, record.key, value)


# ---------------------------------------------------------------------------------------------------------- dump files


class DumpWriter:
    """Writes a dump; ``write`` in the order in which it shall be read."""

    def __init__(self, stream: BinaryIO, header: Header) -> None:
        self._stream = stream
        self.entries = 0
        stream.write(MAGIC)
        self._write(msgspec.json.encode(header))

    def write(self, entry: Entry) -> None:
        """Append one record."""
        self._write(msgspec.msgpack.encode(entry))
        self.entries += 1

    def _write(self, body: bytes) -> None:
        self._stream.write(_HEAD.pack(len(body), zlib.crc32(body)))
        self._stream.write(body)


class DumpSource:
    """A dump file; ``entries`` may be read once per ``open``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._path.open("rb") as stream:
            try:
                header = msgspec.json.decode(next(self._bodies(stream)), type=Header)
            except (StopIteration, msgspec.DecodeError) as error:
                raise SourceError(f"{path} is no dump of a log: {error}") from error
        self.log_identity = header.log_identity
        self.prefix = header.prefix

    def entries(self, partitions: Iterable[int] = range(INPUT_PARTITIONS)) -> Iterator[Entry]:
        """The records of these partitions as they were dumped; raises SourceError for a torn or damaged file."""
        wanted = frozenset(partitions)
        decode = msgspec.msgpack.Decoder(Entry).decode
        with self._path.open("rb") as stream:
            bodies = self._bodies(stream)
            next(bodies)
            for number, body in enumerate(bodies):
                try:
                    entry = decode(body)
                except msgspec.DecodeError as error:
                    raise SourceError(f"{self._path}: record {number} cannot be read: {error}") from error
                if entry.partition in wanted or entry.topic == ACCOUNT.name:
                    yield entry

    def _bodies(self, stream: BinaryIO) -> Iterator[bytes]:
        if stream.read(len(MAGIC)) != MAGIC:
            raise SourceError(f"{self._path} is no dump of a log")
        while head := stream.read(_HEAD.size):
            place = stream.tell()
            if len(head) < _HEAD.size:
                raise SourceError(f"{self._path} ends in the middle of a record at byte {place}")
            length, checksum = _HEAD.unpack(head)
            body = stream.read(length)
            if len(body) < length:
                raise SourceError(f"{self._path} ends in the middle of a record at byte {place}")
            if zlib.crc32(body) != checksum:
                raise SourceError(f"{self._path}: the checksum of the record at byte {place} does not fit")
            yield body


def dumps_in(directory: Path) -> list[Path]:
    """The dumps of an archive directory (or the one file it names), by name; SourceError when there is none."""
    found = [directory] if directory.is_file() else sorted(directory.glob(f"*{SUFFIX}"))
    if not found:
        raise SourceError(f"no *{SUFFIX} in {directory}")
    return found
