"""
The only place for the whole way of a frame: real simulator → real connector process → real Kafka, with faults.

The simulator's own record of what it wrote to each socket is held against the log: byte for byte, in order, nothing
missing but the tail of a connection that the simulator itself cut.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.exchange_simulator import streams
from connectors.exchange_simulator.hub import Client
from connectors.exchange_simulator.server import Simulator
from connectors.exchange_simulator.signing import DEFAULT_KEY
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.wire import lines, records
from pipeline.wire.topics import ACCOUNT, INPUTS, QUARANTINE, Topic
from tests.simulator import SignedClient, simulator_inside

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
PREFIX = "feed."
PATIENCE_SECONDS = 30.0


class RecordingClient(Client):
    """A socket of the simulator that keeps what was written to it and whether the simulator cut it."""

    all: ClassVar[list[RecordingClient]] = []

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sent: list[bytes] = []
        RecordingClient.all.append(self)

    def send(self, framed: bytes, loop: asyncio.AbstractEventLoop) -> None:
        header = {126: 4, 127: 10}.get(framed[1], 2)
        if not framed[header:].startswith((b'{"result"', b'{"id"')):
            self.sent.append(framed[header:])
        super().send(framed, loop)


async def read_all(brokers: str, topic: Topic) -> list[bytes]:
    """All records of *topic*, partition by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.named(PREFIX), number) for number in range(topic.partitions)]
        ends = await consumer.end_offsets(partitions)
        found: list[bytes] = []
        for partition in partitions:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            while await consumer.position(partition) < ends[partition]:
                found.append((await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)).value)
        return found
    finally:
        await consumer.stop()


async def until(condition: Any, what: str) -> None:
    """Wait for *condition* with a deadline."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"waited in vain for: {what}")


async def start_connector(brokers: str, simulator: Simulator) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """The real command, ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline.cli", "connector", "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "PERPGUARD_BROKERS": brokers,
            "PERPGUARD_PREFIX": PREFIX,
            "PERPGUARD_WS_URL": simulator.urls()["ws"],
            "PERPGUARD_REST_URL": simulator.urls()["rest"],
            "PERPGUARD_SYMBOLS": ",".join(SYMBOLS),
            "PERPGUARD_API_KEY": DEFAULT_KEY,
        },
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)
    return process, json.loads(line)


def symbol_of(frame: bytes) -> str:
    """The symbol a sent frame concerns."""
    data = msgspec.json.decode(frame)
    data = data.get("data", data)
    return str(data.get("s") or data["o"]["s"] if data["e"] != "ACCOUNT_UPDATE" else data["a"]["P"][0]["s"])


def check_against_the_log(inputs: list[bytes], account: list[bytes], cut: set[int]) -> dict[str, int]:
    """Hold every socket's record against the lines of its connection; returns counts of what was seen."""
    received: dict[tuple[str, str], dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    numbers: dict[tuple[str, str, str], int] = defaultdict(int)
    lost = 0
    for record in inputs:
        for raw in lines.split(record):
            line = lines.decode(raw)
            numbers[line.src, line.inc, line.sym] += 1
            assert numbers[line.src, line.inc, line.sym] == line.n
            if line.lost is not None:
                lost += 1
            else:
                received[line.src, line.inc][line.sym].append(bytes(line.frame))
    missing_tail = frames = 0
    for number, client in enumerate(RecordingClient.all):
        sent: dict[str, list[bytes]] = defaultdict(list)
        for frame in client.sent:
            sent[symbol_of(frame)].append(frame)
        found = [
            of_symbol
            for of_symbol in received.values()
            if any(sent[symbol][:1] == of_symbol[symbol][:1] != [] for symbol in SYMBOLS)
        ]
        expected = 2 if client.route == "private" else 1  # two user streams bring the same events
        assert expected == len(found) or not client.sent, f"{len(found)} connections in the log for one socket"
        for symbol in SYMBOLS if client.sent else ():
            got = found[0][symbol]
            assert sent[symbol][: len(got)] == got
            if number not in cut:
                assert len(sent[symbol]) == len(got)
            missing_tail += len(sent[symbol]) - len(got)
            frames += len(got)
    private = [frame for client in RecordingClient.all if client.route == "private" for frame in client.sent]
    told = [records.decode_account(record) for record in account]
    accounted = [bytes(message.frame) for message in told if isinstance(message, records.UserFrame)]
    assert sorted(private) == sorted(accounted)
    return {"frames": frames, "lost": lost, "missing_tail": missing_tail, "user": len(private)}


async def test_every_frame_sent_on_a_living_connection_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Two cut routes, a corrupt frame, orders with their user events, and a broker that is frozen for 5 s.

    Every frame the venue wrote to a connection it did not cut is in ``inputs``, byte-identical, in order per symbol and
    connection, with dense running numbers; user events are in ``account`` too; the corrupt frame is in quarantine with
    its bytes; SIGTERM loses nothing.
    """
    monkeypatch.setattr(streams, "Client", RecordingClient)
    monkeypatch.setattr(RecordingClient, "all", [])
    async with (
        EmbeddedKafka(directory=tmp_path / "kafka") as kafka,
        simulator_inside(symbols=SYMBOLS, rate=100.0) as simulator,
        SignedClient(simulator.urls()["rest"]) as trader,
    ):
        process, ready = await start_connector(kafka.bootstrap, simulator)
        try:
            assert (True, 17, 4) == (ready["ready"], ready["streams"], ready["connections"])
            for route in ("public", "market"):
                before = len(RecordingClient.all)
                await asyncio.sleep(2)
                assert {"disconnected": 1} == await trader.admin("POST", "disconnect", {"route": route})
                await until(lambda n=before: len(RecordingClient.all) > n, f"{route} reconnected")
                await until(lambda: len(RecordingClient.all[-1].sent) > 50, f"{route} flows again")
            status, _ = await trader.call(
                "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
            )
            assert 200 == status
            kafka.pause()
            await asyncio.sleep(5)
            kafka.resume()
            await trader.call("POST", "/fapi/v1/order", symbol="ETHUSDT", side="SELL", type="MARKET", quantity="0.1")
            await asyncio.sleep(1)
            process.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        inputs = await read_all(kafka.bootstrap, INPUTS)
        account = await read_all(kafka.bootstrap, ACCOUNT)
    cut = {n for n, client in enumerate(RecordingClient.all) if client.route != "private" and n < 4}
    seen = check_against_the_log(inputs, account, cut)

    assert 6 == len(RecordingClient.all)
    # At the start each stream, the all-market ones and the user stream for each symbol; then those of the cut routes.
    assert 3 * (5 + 2 + 1) + 3 * 2 + 3 * (3 + 2) == seen["lost"]
    assert seen["frames"] > 2_000
    assert seen["user"] >= 4
    assert seen["missing_tail"] < 100
    assert max(len(lines.split(record)) for record in inputs) > 20  # what piled up went out as batches


async def test_a_corrupt_frame_is_quarantined_with_its_bytes(
    kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a frame of a book: bytes and reason in ``quarantine``, a lost line before the book's next frame."""
    monkeypatch.setattr(streams, "Client", RecordingClient)
    monkeypatch.setattr(RecordingClient, "all", [])
    async with simulator_inside(symbols=SYMBOLS) as simulator, SignedClient(simulator.urls()["rest"]) as trader:
        process, _ = await start_connector(kafka.bootstrap, simulator)
        try:
            rule = {"match": {"stream": "btcusdt@depth@100ms"}, "action": "corrupt_frame", "count": 1}
            await trader.admin("POST", "faults", [rule])
            broken = [b""]

            def spoilt() -> bool:
                broken[0] = next((f for c in RecordingClient.all for f in c.sent if not f.endswith(b"}}")), b"")
                return broken[0] != b""

            await until(spoilt, "the corrupt frame")
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    refused = [records.decode_quarantine(record) for record in await read_all(kafka.bootstrap, QUARANTINE)]
    lost = [
        line.lost.reason
        for record in await read_all(kafka.bootstrap, INPUTS)
        for line in map(lines.decode, lines.split(record))
        if line.lost is not None and line.sym == "BTCUSDT" and "depth" in line.lost.stream
    ]

    assert [broken[0]] == [record.payload for record in refused]
    assert "not one JSON value on one line" == refused[0].reason
    assert ["connector started", "a frame was quarantined: not one JSON value on one line"] == lost
