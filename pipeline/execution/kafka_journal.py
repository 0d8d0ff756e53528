"""
The only place that keeps the journal in the topic ``attempts``, and in a local file while Kafka is away.

A record that may not wait (rails, reduce-only closes, outcomes) and is not acknowledged within ``SPILL_AFTER_MS`` is
written to a file that is synchronised to the disk, and forwarded when the broker answers again; a start reads the file
behind the topic. A record may so come twice: the index knows a record that it has. Entries never spill.

An image of the index is kept in a second file with the place of the last record it holds, so that a start reads what
came behind it. The file counts only if the log has, at that place, the very record that was seen there.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from pipeline.core.units import Milliseconds
from pipeline.execution.express import Express, Record, express_of, hand_on
from pipeline.execution.ports import JournalCorrupt, JournalUnavailable
from pipeline.wire.records import AttemptRecord, LeaseRenewed, decode_attempt, encode

log = structlog.get_logger(__name__)

SPILL_AFTER_MS: Final = 250
APPEND_MS: Final = 3_000
COMPANY_S: Final = 0.003  # a record that nobody's request waits for looks this long for others to travel with
FORWARD_EVERY_S: Final = 0.5
BATCH: Final = 5_000
TOPIC_AGAIN_S: Final = 0.1


class Kept(msgspec.Struct):
    """An image of the index and the last record that it holds, by place and digest."""

    topic: str
    offset: int
    digest: bytes
    image: bytes


class KafkaJournal:
    """
    The journal of one account; *arguments* are those of any Kafka client (addresses, login).

    *on_fault* is called when the following of the log ends by an exception: without it no lease can be kept.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        *,
        topic: str,
        spill: Path,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self._arguments = dict(arguments)
        self._on_fault = on_fault
        self._partition = TopicPartition(topic, 0)
        self._spill_path = spill
        self._image_path = spill.with_suffix(".image")
        self._seen: tuple[int, bytes] | None = None  # the last record handed over: offset, digest
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._tail: asyncio.Task[None] | None = None
        self._forwarder: asyncio.Task[None] | None = None
        self._spilling = asyncio.Lock()
        self._waiting: deque[Record] = deque()  # not handed to the producer yet
        self._express: Express | None = None
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self.spilled = 0

    async def start(self) -> None:
        """Connect, and wait until the topic is there. Raises aiokafka's KafkaError when no broker answers."""
        self._producer = AIOKafkaProducer(
            **self._arguments, acks="all", enable_idempotence=True, linger_ms=0, request_timeout_ms=10_000
        )
        await self._producer.start()
        self._express = express_of(self._producer, self._partition, free=self._flush)
        self._consumer = AIOKafkaConsumer(
            **self._arguments,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        await self._consumer.start()
        while self._partition.topic not in await self._consumer.topics():
            log.info("attempts_awaited", topic=self._partition.topic)
            await asyncio.sleep(TOPIC_AGAIN_S)
        self._consumer.assign([self._partition])

    async def stop(self) -> None:
        """Disconnect; what was appended before is durable already."""
        for task in (self._tail, self._forwarder):
            if task is not None:
                task.cancel()
        if self._consumer is not None:
            await self._consumer.stop()
        if self._producer is not None:
            await self._producer.stop()

    async def read(self, restore: Callable[[bytes], None]) -> list[AttemptRecord]:
        """
        Everything so far: the topic (behind the kept image, if it belongs to it), then what could not be forwarded.

        Raises JournalUnavailable, JournalCorrupt.
        """
        assert self._consumer is not None, "the journal was not started"
        try:
            begin = (await self._consumer.beginning_offsets([self._partition]))[self._partition]
            end = (await self._consumer.end_offsets([self._partition]))[self._partition]
            values = await self._restored(restore, begin, end)
            if values is None:
                values = await self._values(begin, end)
        except KafkaError as error:
            raise JournalUnavailable(repr(error)) from error
        records = [self._record(offset, value) for offset, value in values]
        left_behind = self._read_spill()
        if left_behind:
            self._forward_soon()
        return records + left_behind

    def _record(self, offset: int, value: bytes) -> AttemptRecord:
        """
        A record of the topic. Raises JournalCorrupt with its offset for bytes that are none.

        Passed over, an attempt would be sent again. An offset in the file ``attempts.skip`` (one a line), written by a
        person who has looked, stands for a renewal of nobody's lease.
        """
        try:
            record: AttemptRecord = decode_attempt(value)
            return record
        except msgspec.DecodeError as error:
            place = f"{self._partition.topic}/{self._partition.partition}/{offset}"
            if str(offset) in self._skipped():
                log.warning("attempt_skipped", place=place, value=value[:200])
                return LeaseRenewed(epoch=0, executor="", at_ms=Milliseconds(0))
            text = f"{place}: {error}; nothing is sent, stops stay: docs/runbooks/corrupt-journal.md"
            raise JournalCorrupt(text) from error

    def _skipped(self) -> list[str]:
        try:
            return self._image_path.with_name("attempts.skip").read_text().split()
        except OSError:
            return []

    async def _restored(self, restore: Callable[[bytes], None], begin: int, end: int) -> list[tuple[int, bytes]] | None:
        """Use the kept image and return the records behind it; None when there is none for this log."""
        try:
            kept = msgspec.msgpack.decode(self._image_path.read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return None
        if kept.topic != self._partition.topic or not begin <= kept.offset < end:
            return None
        first, *behind = await self._values(kept.offset, end)
        if _digest(first[1]) != kept.digest:
            return None
        try:
            restore(kept.image)
        except msgspec.DecodeError:
            return None
        return behind

    async def _values(self, begin: int, end: int) -> list[tuple[int, bytes]]:
        """Offset and bytes of every record from *begin* to *end*."""
        assert self._consumer is not None
        consumer, partition = self._consumer, self._partition
        values: list[tuple[int, bytes]] = []
        # An explicit offset: seek_to_beginning races with the consumer's own first reset and was seen to lose.
        consumer.seek(partition, begin)
        while await consumer.position(partition) < end:
            batches = await consumer.getmany(partition, timeout_ms=1_000, max_records=BATCH)
            for batch in batches.values():
                for message in batch:
                    values.append((message.offset, message.value))
                    self._seen = (message.offset, _digest(message.value))
        return values

    async def keep(self, image: bytes) -> None:
        """Keep an image of all that was handed over so far; a file that cannot be written is only logged."""
        if self._seen is None:
            return
        kept = Kept(self._partition.topic, *self._seen, image)
        try:
            await asyncio.to_thread(self._write_image, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.warning("journal_image_not_kept", error=str(error))

    def _write_image(self, value: bytes) -> None:
        self._image_path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._image_path.with_suffix(".fresh")
        with fresh.open("wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._image_path)

    def follow(self, seen: Callable[[AttemptRecord], None]) -> None:
        """Call *seen* for every record behind those of ``read``."""
        self._tail = asyncio.create_task(self._follow(seen), name="attempts")
        self._tail.add_done_callback(self._tail_ended)

    async def append(self, record: AttemptRecord, *, spill: bool = False, patient: bool = False) -> None:
        """
        Return when the record is durable in the log, or with *spill* in the file. Raises JournalUnavailable.

        Records stand in the log in the order of the calls. A *patient* one may travel with the next that is not.
        """
        value = encode(record)
        written = self._enqueue(value, patient=patient)
        patience_ms = SPILL_AFTER_MS if spill else APPEND_MS
        deadline = asyncio.get_running_loop().call_later(patience_ms / 1_000, _too_late, written, patience_ms)
        try:
            await written
            return
        except (KafkaError, _TooLate) as error:
            if not spill:
                raise JournalUnavailable(repr(error)) from error
        finally:
            deadline.cancel()
        try:
            async with self._spilling:
                await asyncio.to_thread(self._write_spill, value)
        except OSError as error:
            raise JournalUnavailable(f"{self._spill_path}: {error}") from error
        self._forward_soon()

    def _enqueue(self, value: bytes, *, patient: bool = False) -> asyncio.Future[None]:
        """Put one record in line; the future ends when it is acknowledged, or failed with aiokafka's KafkaError."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        written.add_done_callback(_not_written)
        self._waiting.append((value, written))
        if not patient:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(COMPANY_S, self._flush_words)
        return written

    def _flush(self) -> None:
        """Hand over what waits: at once while nothing is under way, else with all that comes in this turn."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._express is not None and self._express.busy:
            if self._soon is None:
                self._soon = asyncio.get_running_loop().call_soon(self._hand_over)
        elif self._soon is None:
            self._hand_over()

    def _flush_words(self) -> None:
        """No company came: they go alone, but never beside a request that is under way; its end is their company."""
        self._timer = None
        if self._express is None or not self._express.busy:
            self._flush()

    def _hand_over(self) -> None:
        self._soon = None
        express = self._express
        while self._waiting and not self._ordinary and express is not None and express.open():
            express.send(self._waiting)
        if self._waiting and not self._ordinary and not (express is not None and express.busy):
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="send attempts")

    @property
    def _ordinary(self) -> bool:
        """True while records go the producer's own road: none may overtake them."""
        return self._sending is not None and not self._sending.done()

    async def _send(self) -> None:
        """Hand everything in line to the producer, in order; it makes as few batches of it as it can."""
        assert self._producer is not None, "the journal was not started"
        while self._waiting:
            value, written = self._waiting.popleft()
            try:
                acknowledged = await self._producer.send(self._partition.topic, value=value, partition=0)
            except KafkaError as error:
                if not written.done():
                    written.set_exception(error)
                continue
            acknowledged.add_done_callback(partial(hand_on, written))

    async def _follow(self, seen: Callable[[AttemptRecord], None]) -> None:
        assert self._consumer is not None
        while True:
            try:
                async for message in self._consumer:
                    seen(self._record(message.offset, message.value))
                    self._seen = (message.offset, _digest(message.value))
            except KafkaError as error:
                log.warning("attempts_not_read", error=repr(error))
                await asyncio.sleep(FORWARD_EVERY_S)

    def _tail_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    # ------------------------------------------------------------------------------------------------ the file

    def _write_spill(self, value: bytes) -> None:
        self._spill_path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._spilled()[-1:] not in (b"", b"\n")  # a process died within a line: it must not spoil this one
        with self._spill_path.open("ab") as file:
            file.write(b"\n" * torn + value + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.spilled += 1

    def _spilled(self) -> bytes:
        return self._spill_path.read_bytes() if self._spill_path.exists() else b""

    def _read_spill(self) -> list[AttemptRecord]:
        return _whole_records(self._spilled())

    def _forget_spilled(self, size: int) -> bool:
        """Drop the first *size* bytes, which stand in the log; True when no whole line is left behind them."""
        rest = self._spilled()[size:]
        if b"\n" not in rest:
            self._spill_path.unlink(missing_ok=True)
            return True
        fresh = self._spill_path.with_suffix(".rest")
        with fresh.open("wb") as file:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._spill_path)
        return False

    def _forward_soon(self) -> None:
        if self._forwarder is None or self._forwarder.done():
            self._forwarder = asyncio.create_task(self._forward(), name="forward attempts")

    async def _forward(self) -> None:
        """Send what was spilled; never with the file held, for a rail must not wait until a broker gives up."""
        while True:
            async with self._spilling:
                spilled = await asyncio.to_thread(self._spilled)
            whole = spilled[: spilled.rfind(b"\n") + 1]
            try:
                for record in _whole_records(whole):
                    await self._enqueue(encode(record))
            except KafkaError as error:
                log.warning("attempts_not_forwarded", error=repr(error))
                await asyncio.sleep(FORWARD_EVERY_S)
                continue
            async with self._spilling:
                if await asyncio.to_thread(self._forget_spilled, len(whole)):
                    return


class _TooLate(Exception):
    """Nobody waits for the record any more; it may still be written."""


def _too_late(written: asyncio.Future[None], patience_ms: int) -> None:
    if not written.done():
        written.set_exception(_TooLate(f"no acknowledgement in {patience_ms} ms"))


def _not_written(written: asyncio.Future[None]) -> None:
    if not written.cancelled() and isinstance(error := written.exception(), KafkaError):
        log.warning("attempt_not_written", error=repr(error))


def _whole_records(spilled: bytes) -> list[AttemptRecord]:
    """The records of whole lines; a torn one was never durable, whether it stands last or another start wrote on."""
    return _readable(line for line in spilled.split(b"\n")[:-1] if line)


def _readable(values: Iterable[bytes]) -> list[AttemptRecord]:
    """The records of the file; a torn line was never durable and is passed over with a word."""
    records: list[AttemptRecord] = []
    for value in values:
        try:
            records.append(decode_attempt(value))
        except msgspec.DecodeError as error:
            log.error("attempt_unreadable", value=value[:200], error=str(error))
    return records


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()
