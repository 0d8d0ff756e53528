"""The journal in Kafka: read wholly, followed in order, spilled to a synchronised file while the broker is away."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.core.units import Milliseconds
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.execution import kafka_journal
from pipeline.execution.kafka_journal import KafkaJournal, Kept
from pipeline.execution.ports import JournalCorrupt, JournalUnavailable
from pipeline.wire.records import AttemptRecord, LeaseRenewed, encode

DEADLINE_S = 20.0
FAULTS: list[BaseException] = []


def record(number: int) -> LeaseRenewed:
    """Some record."""
    return LeaseRenewed(epoch=number, executor="x", at_ms=Milliseconds(number))


def no_image(image: bytes) -> None:
    """Nothing was kept."""
    raise AssertionError(image)


async def new_topic(kafka: EmbeddedKafka) -> str:
    """An empty topic with one partition."""
    name = f"attempts-{secrets.token_hex(4)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    return name


@asynccontextmanager
async def journal(kafka: EmbeddedKafka, topic: str, spill: Path) -> AsyncIterator[KafkaJournal]:
    """A connected journal."""
    made = KafkaJournal({"bootstrap_servers": kafka.bootstrap}, topic=topic, spill=spill, on_fault=FAULTS.append)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def seen_all(seen: list[AttemptRecord], count: int) -> None:
    """Wait until the tail has read that many."""
    async with asyncio.timeout(DEADLINE_S):
        while len(seen) < count:  # noqa: ASYNC110 - a plain list
            await asyncio.sleep(0.01)


async def test_what_one_wrote_the_next_reads_and_follows(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A start reads everything before it; behind that it follows its own records and others', in the log's order."""
    topic = await new_topic(kafka)
    async with journal(kafka, topic, tmp_path / "a") as first:
        assert [] == await first.read(no_image)
        for number in (1, 2, 3):
            await first.append(record(number))
        async with journal(kafka, topic, tmp_path / "b") as second:
            assert [record(1), record(2), record(3)] == await second.read(no_image)
            seen: list[AttemptRecord] = []
            second.follow(seen.append)
            await first.append(record(4))
            await second.append(record(5))
            await seen_all(seen, 2)

    assert [record(4), record(5)] == seen


async def test_a_broker_that_hangs_is_waited_for_only_by_those_who_must(
    kafka: EmbeddedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without the broker a rail's record goes to the file, an entry's is refused; a new start reads the file behind the
    topic, and forwards it when the broker answers.
    """
    monkeypatch.setattr(kafka_journal, "APPEND_MS", 300)
    topic = await new_topic(kafka)
    spill = tmp_path / "data" / "attempts.jsonl"
    async with journal(kafka, topic, spill) as first:
        await first.read(no_image)
        answered = asyncio.Event()
        send = first._send

        async def hangs() -> None:
            await answered.wait()
            await send()

        monkeypatch.setattr(first, "_express", None)
        monkeypatch.setattr(first, "_send", hangs)
        await first.append(record(1), spill=True)
        with pytest.raises(JournalUnavailable):
            await first.append(record(2))
        assert 1 == first.spilled
        assert spill.read_bytes().endswith(b"\n")
        # The process dies with the broker still away: nothing of the sends in flight is ever written.
    with spill.open("ab") as file:
        file.write(b'{"type":"lease","ep')  # a torn line was never durable
    async with journal(kafka, topic, spill) as second:
        assert [record(1)] == await second.read(no_image)
        async with asyncio.timeout(DEADLINE_S):
            while spill.exists():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
    async with journal(kafka, topic, spill) as third:
        assert [record(1)] == await third.read(no_image)


class Producer:
    """A plain fake of aiokafka's producer: keeps what it is given, acknowledges it when the broker *answers*."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.answers = asyncio.Event()

    async def send(self, topic: str, *, value: bytes, partition: int) -> asyncio.Future[None]:
        """Hand one record over."""
        assert ("attempts", 0) == (topic, partition)
        self.sent.append(value)
        return asyncio.ensure_future(self._acknowledge())

    async def _acknowledge(self) -> None:
        await self.answers.wait()


async def test_a_rail_never_waits_for_what_is_being_forwarded(tmp_path: Path) -> None:
    """
    While the broker hangs, the forwarder hangs with it: every later record of a rail goes to the file all the same, and
    all of them go to the log, once, when it answers.
    """
    spill = tmp_path / "attempts.jsonl"
    made = KafkaJournal({}, topic="attempts", spill=spill, on_fault=FAULTS.append)
    made._producer = producer = Producer()  # type: ignore[assignment]  # a producer by shape
    async with asyncio.timeout(DEADLINE_S):
        for number in (1, 2, 3):
            await made.append(record(number), spill=True)
        forwarder = made._forwarder
        assert forwarder is not None
        producer.answers.set()
        await forwarder

    assert {encode(record(n)) for n in (1, 2, 3)} == set(producer.sent)
    assert not spill.exists()


async def test_patient_records_travel_with_the_next_that_is_not_and_none_overtakes(tmp_path: Path) -> None:
    """An end that nobody waits for does not cost a request of its own; the order of the calls is that of the log."""
    made = KafkaJournal({}, topic="attempts", spill=tmp_path / "attempts.jsonl", on_fault=FAULTS.append)
    made._producer = producer = Producer()  # type: ignore[assignment]  # a producer by shape
    producer.answers.set()
    async with asyncio.timeout(DEADLINE_S):
        patient = [asyncio.create_task(made.append(record(number), patient=True)) for number in (1, 2)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert [] == producer.sent
        await made.append(record(3))
        assert [encode(record(n)) for n in (1, 2, 3)] == producer.sent
        await asyncio.gather(*patient)
        await made.append(record(4), patient=True)

    assert [encode(record(n)) for n in (1, 2, 3, 4)] == producer.sent


async def test_a_torn_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that died within a line leaves it behind; what is spilled after it is read back whole."""
    spill = tmp_path / "attempts.jsonl"
    spill.write_bytes(encode(record(1)) + b"\n" + b'{"type":"lease","ep')
    made = KafkaJournal({}, topic="attempts", spill=spill, on_fault=FAULTS.append)
    made._write_spill(encode(record(2)))

    assert [record(1), record(2)] == made._read_spill()


async def test_a_kept_image_spares_the_reading_of_what_it_holds(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A start restores the image and reads behind it; an image of another log, or of another shape, is no use."""
    topic, other = await new_topic(kafka), await new_topic(kafka)
    spill = tmp_path / "attempts.jsonl"
    async with journal(kafka, topic, spill) as first:
        await first.append(record(1))
        assert [record(1)] == await first.read(no_image)
        seen: list[AttemptRecord] = []
        first.follow(seen.append)
        await first.append(record(2))
        await seen_all(seen, 1)
        await asyncio.sleep(0)
        await first.keep(b"image")
        await first.append(record(3))
    images: list[bytes] = []
    async with journal(kafka, topic, spill) as second:
        assert [record(3)] == await second.read(images.append)
    assert [b"image"] == images

    def refused(image: bytes) -> None:
        raise msgspec.DecodeError("another shape")

    async with journal(kafka, topic, spill) as third:
        assert [record(1), record(2), record(3)] == await third.read(refused)
    kept = spill.with_suffix(".image")
    kept.write_bytes(msgspec.msgpack.encode(Kept(other, 1, b"", b"image")))
    async with journal(kafka, other, spill) as fourth:
        await fourth.append(record(7))
        await fourth.append(record(8))
        assert [record(7), record(8)] == await fourth.read(no_image)


async def test_bytes_that_are_no_record_stop_the_reader_at_their_offset(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """At a start ``read`` raises, behind it the follower hands the fault on: in both cases the process must end."""
    topic = await new_topic(kafka)
    async with journal(kafka, topic, tmp_path / "a") as made:
        await made.append(record(1))
        assert [record(1)] == await made.read(no_image)
        made.follow(lambda _: None)
        await made._enqueue(b'{"type":"from the future"}')
        async with asyncio.timeout(DEADLINE_S):
            while not FAULTS:  # noqa: ASYNC110 - a plain list
                await asyncio.sleep(0.01)
    assert [JournalCorrupt] == [type(fault) for fault in FAULTS]
    async with journal(kafka, topic, tmp_path / "b") as made:
        with pytest.raises(JournalCorrupt, match=f"{topic}/0/1: "):
            await made.read(no_image)


@pytest.mark.parametrize("value", [b"", b"{", b'{"type":"tomorrow"}', encode(record(1))[:-4], b"\xff\xfe"])
def test_a_record_that_is_none_stops_with_its_offset_until_a_person_has_looked(value: bytes, tmp_path: Path) -> None:
    """Passed over in silence an attempt would be sent twice; the way on is a file with the offset in it."""
    made = KafkaJournal({}, topic="attempts", spill=tmp_path / "attempts.jsonl", on_fault=FAULTS.append)
    with pytest.raises(JournalCorrupt, match=r"^attempts/0/1234: .*docs/runbooks/corrupt-journal.md$"):
        made._record(1_234, value)
    (tmp_path / "attempts.skip").write_text("77\n1234\n")

    assert 0 == made._record(1_234, value).epoch  # type: ignore[union-attr]  # a renewal of nobody's
    assert encode(record(1)) == encode(made._record(1_235, encode(record(1))))
