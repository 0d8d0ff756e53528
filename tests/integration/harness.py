"""The only place for how an integration test runs workers on the counting fold, feeds them and judges them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.streaming.app import app_id
from pipeline.streaming.checkpoints import MANIFEST_KEY
from pipeline.streaming.topics_admin import changelog_name, ensure_topics
from pipeline.wire.records import Manifest
from pipeline.wire.topics import INPUT_PARTITIONS, INPUTS, INTENTS, Topic, partition_of
from tests.integration.counting import CountingFold, Intent

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = tuple(f"S{number:02}USDT" for number in range(40))
PATIENCE_SECONDS = 60.0


class Verdict(msgspec.Struct, frozen=True):
    """What the intents in Kafka are, held against a plain fold of the whole log."""

    expected: int
    missing: int
    wrong: int
    repeated: int
    lines: int


class Worker:
    """One worker process; ends with the test."""

    def __init__(self, module: str, environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "faust", "-A", module, "worker", "-l", "warn"],
                cwd=ROOT,
                env=os.environ | environ,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def tell(self, number: signal.Signals) -> None:
        """Send *number*; a process that has ended does not mind."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send *number* and wait for the end; returns the exit code (negative: the signal)."""
        self.tell(number)
        self.tell(signal.SIGCONT)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def says(self, word: str) -> int:
        """How often *word* stands in the log of this worker (all its lives)."""
        return self.log.read_text(errors="replace").count(word)


class Stage:
    """Topics with a prefix of their own, a feed of lines, and any number of workers."""

    def __init__(
        self, *, brokers: str, directory: Path, prefix: str, module: str = "tests.integration.counting_worker"
    ) -> None:
        self.brokers = brokers
        self.directory = directory
        self.prefix = prefix
        self.module = module
        self._workers: list[Worker] = []
        self._feed: asyncio.Task[None] | None = None
        self._feeding = False
        self._producer: AIOKafkaProducer | None = None
        self.identity = ""

    async def __aenter__(self) -> Stage:
        self.identity = await ensure_topics(self.brokers, self.prefix)
        self._producer = AIOKafkaProducer(bootstrap_servers=self.brokers, enable_idempotence=True)
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._feeding = False
        if self._feed is not None:
            self._feed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._feed
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.end(signal.SIGKILL)
        assert self._producer is not None
        await self._producer.stop()

    # --------------------------------------------------------------------------------------------------- workers

    def worker(self, instance: str = "0", **environ: str) -> Worker:
        """Start a worker; the same *instance* again finds its stores and its place in the group."""
        worker = Worker(self.module, self.settings(instance) | environ, self.directory / f"worker-{instance}.log")
        self._workers.append(worker)
        return worker

    def said(self, word: str) -> int:
        """How often *word* stands in the logs of all workers."""
        logs = {worker.log for worker in self._workers}
        return sum(log.read_text(errors="replace").count(word) for log in logs)

    def settings(self, instance: str) -> dict[str, str]:
        """The environment of a worker here."""
        return {
            "PERPGUARD_BROKERS": self.brokers,
            "PERPGUARD_PREFIX": self.prefix,
            "PERPGUARD_INSTANCE": instance,
            "PERPGUARD_DATA_DIRECTORY": str(self.directory),
        }

    async def until_folded(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the manifest of each partition covers the log as it ends now."""
        ends = {p: len(await self.read(INPUTS, p)) for p in range(INPUT_PARTITIONS)}
        deadline = time.monotonic() + seconds
        changelog = changelog_name(self.prefix, "checkpoints")
        while True:
            manifests = [
                msgspec.json.decode(record.value, type=Manifest)
                for partition in range(INPUT_PARTITIONS)
                for record in await self.read_named(changelog, partition)
                if record.key == MANIFEST_KEY.encode()
            ]
            reached = {manifest.partition: manifest.next_offset for manifest in manifests}
            if all(reached.get(partition, 0) >= end for partition, end in ends.items()):
                return
            assert time.monotonic() < deadline, f"folded {reached} of {ends} within {seconds:.0f} s"
            await asyncio.sleep(0.2)

    async def until(self, what: str, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for *condition*; fails with the tail of the workers' logs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                tails = [f"{w.log.name}:\n" + w.log.read_text(errors="replace")[-3000:] for w in self._workers]
                raise AssertionError(f"not seen within {seconds:.0f} s: {what}\n" + "\n".join(tails))
            await asyncio.sleep(0.05)

    # ------------------------------------------------------------------------------------------------------ feed

    async def write(self, partition: int, value: bytes, topic: Topic = INPUTS) -> None:
        """Write one record."""
        assert self._producer is not None
        await self._producer.send_and_wait(topic.named(self.prefix), value, partition=partition)

    async def write_all(self, partition: int, values: list[bytes], topic: Topic = INPUTS) -> None:
        """Write records one behind the other."""
        assert self._producer is not None
        for value in values:
            await self._producer.send(topic.named(self.prefix), value, partition=partition)
        await self._producer.flush()

    async def commit(self, role: str, partition: int, offset: int) -> None:
        """Set the committed offset of a role's group, which has no members."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.brokers, group_id=app_id(self.prefix, role))
        await consumer.start()
        try:
            tp = TopicPartition(INPUTS.named(self.prefix), partition)
            consumer.assign([tp])
            await consumer.commit({tp: offset})
        finally:
            await consumer.stop()

    def feed(self, *, seed: int, records_per_second: float = 200.0) -> None:
        """Write batches of lines of random symbols until ``stop_feed``."""
        self._feeding = True
        self._feed = asyncio.get_running_loop().create_task(self._write_lines(random.Random(seed), records_per_second))

    async def stop_feed(self) -> None:
        """End the feed; everything it wrote is acknowledged."""
        self._feeding = False
        assert self._feed is not None
        await self._feed

    async def _write_lines(self, rng: random.Random, rate: float) -> None:
        assert self._producer is not None
        number = 0
        started, written = time.monotonic(), 0
        while self._feeding:
            batches: dict[int, list[bytes]] = {}
            for _ in range(rng.randint(1, 8)):
                symbol = rng.choice(SYMBOLS)
                number += 1
                batches.setdefault(partition_of(symbol), []).append(f"{symbol} {number}".encode())
            for partition, lines in batches.items():
                await self._producer.send(INPUTS.named(self.prefix), b"\n".join(lines), partition=partition)
                written += 1
            await asyncio.sleep(max(started + written / rate - time.monotonic(), 0))
        await self._producer.flush()

    # --------------------------------------------------------------------------------------------------- account

    async def verdict(self, seconds: float = PATIENCE_SECONDS) -> Verdict:
        """Fold the whole log plainly, wait until its last intents stand in Kafka, and compare."""
        log = {partition: await self.read(INPUTS, partition) for partition in range(INPUT_PARTITIONS)}
        expected: dict[str, bytes] = {}
        lines = 0
        for partition, log_records in log.items():
            fold = CountingFold(partition, self.identity)
            for record in log_records:
                lines += record.value.count(b"\n") + 1
                for outgoing in fold.apply(offset=record.offset, append_ms=0, value=record.value):
                    intent = msgspec.json.decode(outgoing.value, type=Intent)
                    expected[intent.id] = intent.chain
        deadline = time.monotonic() + seconds
        while True:
            seen = [msgspec.json.decode(record.value, type=Intent) for record in await self.read(INTENTS, 0)]
            missing = expected.keys() - {intent.id for intent in seen}
            if not missing or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        known = {intent.id for intent in seen if intent.id in expected}
        return Verdict(
            expected=len(expected),
            missing=len(missing),
            # An id that the log read above does not know yet is a later one; the workers live on.
            wrong=sum(1 for intent in seen if intent.id in expected and expected[intent.id] != intent.chain),
            repeated=sum(1 for intent in seen if intent.id in expected) - len(known),
            lines=lines,
        )

    async def read(self, topic: Topic, partition: int) -> list[Any]:
        """Every record of a topic's partition up to its end now."""
        return await self.read_named(topic.named(self.prefix), partition)

    async def read_named(self, name: str, partition: int) -> list[Any]:
        """The same of a topic by its name on the cluster."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.brokers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            tp = TopicPartition(name, partition)
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            found: list[Any] = []
            while await consumer.position(tp) < end:
                batch = await consumer.getmany(tp, timeout_ms=1000)
                found += batch.get(tp, [])
            return [record for record in found if record.offset < end]
        finally:
            await consumer.stop()
