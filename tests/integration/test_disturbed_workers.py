"""Real workers on a real Kafka are killed, joined and frozen; what they wrote equals an undisturbed fold of the log."""

from __future__ import annotations

import asyncio
import random
import signal
import uuid
from functools import partial
from pathlib import Path

from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.faults import EXIT_CODE
from pipeline.wire.topics import INPUT_PARTITIONS, partition_of
from tests.integration.counting import EVERY
from tests.integration.harness import PATIENCE_SECONDS, Stage, Verdict, Worker

KILLS = 3
SESSION_SECONDS = 6


def stage(kafka: EmbeddedKafka, directory: Path) -> Stage:
    """A stage with a prefix nobody else has."""
    return Stage(brokers=kafka.bootstrap, directory=directory, prefix=f"it-{uuid.uuid4().hex[:8]}.")


def holds(verdict: Verdict) -> bool:
    """Every intent is there, as the plain fold has it; repeats carry a known id and the same bytes."""
    return verdict.expected > 100 and verdict.missing == 0 and verdict.wrong == 0


def _folds(worker: Worker, lives: int) -> bool:
    return worker.says("partition_loaded") >= INPUT_PARTITIONS * lives


async def test_killed_worker_folds_on_from_its_manifest(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Three times kill -9 at random moments: no intent is missing, none is wrong, repeats have equal ids and bytes."""
    rng = random.Random(4)
    async with stage(kafka, tmp_path) as scene:
        scene.feed(seed=1)
        worker = scene.worker()
        for life in range(1, KILLS + 1):
            await scene.until(f"life {life} folds", partial(_folds, worker, life))
            await asyncio.sleep(1.0 + rng.random())  # somewhere within a checkpoint round or two
            assert worker.end(signal.SIGKILL) == -signal.SIGKILL
            worker = scene.worker()
        await scene.until("the last life folds", lambda: worker.says("partition_loaded") >= 8 * (KILLS + 1))
        await scene.stop_feed()
        await scene.until_folded()
        verdict = await scene.verdict()

        assert holds(verdict), verdict
        assert worker.end() == 0


async def test_second_worker_joins_and_leaves(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Partitions move to a second worker and back: no intent is missing, none is wrong."""
    async with stage(kafka, tmp_path) as scene:
        scene.feed(seed=2)
        first = scene.worker("0")
        await scene.until("the first folds alone", lambda: first.says("partition_loaded") >= 8)
        second = scene.worker("1")
        await scene.until("the second has its share", lambda: second.says("partition_loaded") >= 4)
        await asyncio.sleep(1.5)
        assert second.end() == 0
        await scene.until("the first has all again", lambda: first.says("partition_loaded") >= 8 + 4 + 8)
        await scene.stop_feed()
        await scene.until_folded()
        verdict = await scene.verdict()

        assert holds(verdict), verdict


async def test_frozen_worker_wakes_after_its_session(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A worker frozen for longer than its session wakes up amid another's work: nothing is missing or wrong."""
    async with stage(kafka, tmp_path) as scene:
        scene.feed(seed=3)
        first = scene.worker("0")
        second = scene.worker("1")
        await scene.until(
            "both have a share", lambda: first.says("partition_loaded") >= 4 and second.says("partition_loaded") >= 4
        )
        await asyncio.sleep(1.5)
        before = second.says("partition_loaded")
        first.tell(signal.SIGSTOP)
        await scene.until(
            "the second has taken over", lambda: second.says("partition_loaded") >= before + 8, SESSION_SECONDS * 4
        )
        await asyncio.sleep(1.0)
        before = first.says("partition_loaded")
        first.tell(signal.SIGCONT)
        await scene.until("the first has its share again", lambda: first.says("partition_loaded") >= before + 4)
        await scene.stop_feed()
        await scene.until_folded()
        verdict = await scene.verdict()

        assert holds(verdict), verdict


POISON = "S00USDT poison"


async def poisoned(scene: Stage, habits: str) -> Worker:
    """A worker that has met a line on which its fold raises, some good lines before and behind it."""
    worker = scene.worker(COUNTING_POISON=POISON, COUNTING_HABITS=habits)
    partition = partition_of("S00USDT")
    for number in range(200):
        await scene.write(partition, POISON.encode() if number == 150 else f"S00USDT {number}".encode())
    return worker


async def test_fault_ends_the_process_and_loses_no_record(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """An exception in the shell ends the process with code 70; the record is there for the next start."""
    async with stage(kafka, tmp_path) as scene:
        worker = await poisoned(scene, "")
        await scene.until("the worker has ended", lambda: worker.process.poll() is not None)
        assert EXIT_CODE == worker.process.returncode

        scene.worker()
        verdict = await scene.verdict()

        assert (200 // EVERY, 0, 0) == (verdict.expected, verdict.missing, verdict.wrong)


async def test_fault_that_leaves_the_agent_would_lose_its_record(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Why point 7 is needed: Faust restarts the agent behind the record, and the process looks healthy."""
    async with stage(kafka, tmp_path) as scene:
        worker = await poisoned(scene, "lives_on")
        await scene.until("all partitions are loaded", partial(_folds, worker, 1))
        verdict = await scene.verdict(seconds=3)

        assert worker.process.poll() is None
        assert verdict.missing + verdict.wrong > 0


async def ahead_of_its_states(scene: Stage, habits: str) -> Verdict:
    """Kafka's committed offset stands in the middle of a log of which nothing has been folded."""
    partition = partition_of("S00USDT")
    await scene.write_all(partition, [f"S00USDT {number}".encode() for number in range(200)])
    await scene.commit("decide", partition, 100)
    worker = scene.worker(COUNTING_HABITS=habits)
    await scene.until("all partitions are loaded", partial(_folds, worker, 1))
    return await scene.verdict(seconds=3 if habits else PATIENCE_SECONDS)


async def test_committed_offset_is_only_a_hint(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Delivered from offset 100, a partition without states asks for its first record and folds everything."""
    async with stage(kafka, tmp_path) as scene:
        verdict = await ahead_of_its_states(scene, "")

        assert (200 // EVERY, 0, 0) == (verdict.expected, verdict.missing, verdict.wrong)


async def test_trusting_the_order_of_delivery_loses_records(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Why point 2 is needed: without the guard half of the log is missing."""
    async with stage(kafka, tmp_path) as scene:
        verdict = await ahead_of_its_states(scene, "unguarded")

        assert verdict.missing + verdict.wrong > 0
