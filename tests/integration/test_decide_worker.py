"""The real decide worker on a real Kafka: killed in the middle, what it wrote is what the log gives again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from pipeline.benchmarks.inputs import synthetic
from pipeline.core.commands import Decision
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.wire.records import decode_decision
from pipeline.wire.topics import DECISIONS, INPUT_PARTITIONS, partition_of
from tests.integration.harness import ROOT, Stage

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
LOST_EVERY = 97  # a line of the connector that never arrives: a gap, hence a decision


def records(symbol: str) -> list[bytes]:
    """Made-up lines of a symbol in records of eight, some lost on the way."""
    source = synthetic(3_000, symbol=symbol, seed=len(symbol) + ord(symbol[0]))
    kept = [line for number, (_, line) in enumerate(source.lines, start=1) if number % LOST_EVERY]
    return [b"\n".join(kept[start : start + 8]) for start in range(0, len(kept), 8)]


async def decisions(scene: Stage) -> list[Decision]:
    """Every decision in Kafka."""
    return [
        decode_decision(record.value)
        for partition in range(INPUT_PARTITIONS)
        for record in await scene.read(DECISIONS, partition)
    ]


async def test_killed_decide_worker_is_verified_by_replay(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """kill -9 amid the log, a restart, a clean stop: replay finds every decision equal."""
    environ = {"PERPGUARD_ROLE": "decide", "PERPGUARD_SYMBOLS": ",".join(SYMBOLS)}
    prefix = f"it-{uuid.uuid4().hex[:8]}."
    async with Stage(brokers=kafka.bootstrap, directory=tmp_path, prefix=prefix, module="pipeline") as scene:
        logs = {symbol: records(symbol) for symbol in SYMBOLS}
        worker = scene.worker(**environ)
        await scene.until("all partitions are loaded", lambda: worker.says("partition_loaded") >= INPUT_PARTITIONS)
        for symbol, log in logs.items():
            await scene.write_all(partition_of(symbol), log[: len(log) // 2])
        assert -signal.SIGKILL == worker.end(signal.SIGKILL)
        worker = scene.worker(**environ)
        for symbol, log in logs.items():
            await scene.write_all(partition_of(symbol), log[len(log) // 2 :])
        await scene.until("the second life folds", lambda: worker.says("partition_loaded") >= 2 * INPUT_PARTITIONS)
        await scene.until_folded()
        assert 0 == worker.end()
        assert 0 == worker.says("partition_stopped")
        found = await decisions(scene)
        verified = tmp_path / "replay.json"
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "pipeline.cli", "replay", "--verify", "--json", str(verified)],
            cwd=ROOT,
            env=os.environ | scene.settings("0") | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    report = json.loads(verified.read_text())
    assert (0, True, None) == (done.returncode, report["equal"], report["first_difference"]), done.stdout + done.stderr
    assert len(found) >= report["decisions"] > 50
    assert set(SYMBOLS) == {decision.symbol for decision in found}
