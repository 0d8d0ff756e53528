"""Tests of the embedded Kafka against the real broker: data, crashes, orphans and the errors people will see."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.embedded_kafka import BrokerDied, EmbeddedKafka, PortTaken

DEADLINE_SECONDS = 30.0

ORPHANING = """
import sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from pipeline.embedded_kafka import EmbeddedKafka

broker = EmbeddedKafka(directory=Path(sys.argv[1]))
with ThreadPoolExecutor() as executor:  # the thread that starts the broker ends before the process does
    executor.submit(broker.start).result()
print(broker.pid, flush=True)
sys.stdin.read()
"""


async def test_the_session_fixture_takes_and_gives_records(kafka: EmbeddedKafka) -> None:
    """A record acknowledged by all is read back by a client that knows only the bootstrap address."""
    await _create(kafka, "embedded.fixture")

    await _produce(kafka, "embedded.fixture", b"one")

    assert [b"one"] == await _read(kafka, "embedded.fixture", count=1)


async def test_topics_do_not_appear_by_themselves(kafka: EmbeddedKafka) -> None:
    """Reading metadata of an unknown topic does not create it; a typing error must not become a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.describe_topics(["embedded.typo"])
        topics = await admin.list_topics()
    finally:
        await admin.close()

    assert "embedded.typo" not in topics
    assert "perpguard-ready" not in topics


async def test_a_restart_on_the_same_directory_keeps_data_and_port(tmp_path: Path) -> None:
    """After a clean stop, and after a SIGKILL, the log is as it was and clients find the broker where it was."""
    async with EmbeddedKafka(directory=tmp_path) as first:
        await _create(first, "kept")
        await _produce(first, "kept", b"before the stop")

    async with EmbeddedKafka(directory=tmp_path) as second:
        await _produce(second, "kept", b"before the kill")
        second.kill()
        assert second.pid is None
        await asyncio.to_thread(second.start)
        kept = await _read(second, "kept", count=2)

    assert first.bootstrap == second.bootstrap
    assert [b"before the stop", b"before the kill"] == kept


async def test_a_frozen_broker_answers_after_it_is_resumed(tmp_path: Path) -> None:
    """A paused broker acknowledges nothing; resumed, it acknowledges the record that waited."""
    async with EmbeddedKafka(directory=tmp_path) as broker:
        await _create(broker, "frozen")
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait("frozen", b"first")  # the client knows the topic and has its connection
            broker.pause()
            waiting = await producer.send("frozen", b"patient")
            done, _ = await asyncio.wait([waiting], timeout=0.5)
            assert not done
            broker.resume()
            assert 1 == (await asyncio.wait_for(waiting, DEADLINE_SECONDS)).offset
        finally:
            await producer.stop()


def test_the_broker_dies_with_its_parent(tmp_path: Path) -> None:
    """SIGKILL of the parent ends the broker, even when the thread that started it is long gone."""
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    broker = int(parent.stdout.readline())
    assert _is_alive(broker)

    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    _wait_until(lambda: not _is_alive(broker))


def test_stop_and_kill_leave_no_process_behind(tmp_path: Path) -> None:
    """Neither the broker nor the shell that watches it survives a stop; a second stop does nothing."""
    broker = EmbeddedKafka(directory=tmp_path)
    broker.start()
    session = broker.pid
    assert session is not None
    assert {session} < _processes_of(session)

    broker.stop()
    broker.stop()

    _wait_until(lambda: not _processes_of(session))


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that somebody listens on is refused at once, in one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(PortTaken) as caught:
            EmbeddedKafka(directory=tmp_path, port=port).start()

    assert str(port) in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_a_broker_that_dies_tells_its_last_words(tmp_path: Path) -> None:
    """A death is noticed by ``check``; a start that the broker refuses ends with the broker's own reason."""
    broker = EmbeddedKafka(directory=tmp_path)
    broker.start()
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    _wait_until(lambda: broker.pid is None)

    with pytest.raises(BrokerDied, match="stopped by itself") as caught:
        broker.check()
    assert 1 == len(str(caught.value).splitlines())
    broker.stop()

    metadata = tmp_path / "data" / "meta.properties"
    metadata.write_text(metadata.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(BrokerDied) as refused:
        broker.start()
    assert "7" in str(refused.value)
    assert 1 == len(str(refused.value).splitlines())
    assert refused.value.log_tail
    assert broker.pid is None


async def test_a_cancelled_start_leaves_nothing_running(tmp_path: Path) -> None:
    """Cancelling ``async with`` while the broker starts ends the broker, and the cancellation goes on."""
    broker = EmbeddedKafka(directory=tmp_path)

    async def enter() -> None:
        async with broker:
            pytest.fail("the broker was ready before the cancellation")

    entering = asyncio.create_task(enter())
    while broker.pid is None and not entering.done():  # noqa: ASYNC110  # a process appears; no event tells of it
        await asyncio.sleep(0.01)
    entering.cancel()

    with pytest.raises(asyncio.CancelledError):
        await entering
    assert broker.pid is None


async def _create(broker: EmbeddedKafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _produce(broker: EmbeddedKafka, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def _read(broker: EmbeddedKafka, topic: str, *, count: int) -> list[bytes | None]:
    async with AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest") as consumer:
        return [(await asyncio.wait_for(consumer.getone(), DEADLINE_SECONDS)).value for _ in range(count)]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come about"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _processes_of(session: int) -> set[int]:
    """Return the living processes of the POSIX session *session*."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found
