"""
The only place for the long run of disturbed workers: kill -9, joins and leavings, freezes, drawn from a seed.

    python -m tests.chaos.workers --kills 30 --joins 10 --freezes 10 --seed 1 --json FILE

Runs the counting fold (``tests/integration/counting.py``) on an embedded Kafka of its own. Prints one JSON object; exit
code 0 only when no intent is missing and none is wrong. ``--habits unguarded`` shows what the guard is for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.wire.topics import INPUT_PARTITIONS
from tests.integration.harness import Stage, Worker

SESSION_SECONDS = 6.0


class Disturbed:
    """Two workers at most, one always there when nothing disturbs."""

    def __init__(self, scene: Stage, rng: random.Random, habits: str) -> None:
        self.scene = scene
        self.rng = rng
        self.habits = habits
        self.back_ms: list[int] = []
        self.first = self._worker("0")

    def _worker(self, instance: str) -> Worker:
        return self.scene.worker(instance, COUNTING_HABITS=self.habits)

    async def kill(self) -> None:
        """kill -9 and a new start; notes how long until every partition is loaded again."""
        await asyncio.sleep(self.rng.uniform(0.2, 2.5))
        loaded = self.first.says("partition_loaded")
        self.first.end(signal.SIGKILL)
        killed = time.monotonic()
        self.first = self._worker("0")
        await self.scene.until(
            "all partitions are back", lambda: self.first.says("partition_loaded") >= loaded + INPUT_PARTITIONS
        )
        self.back_ms.append(round((time.monotonic() - killed) * 1000))

    async def join(self) -> None:
        """A second worker comes, takes its share, and leaves: half of the times by kill -9."""
        second = self._worker("1")
        loaded = second.says("partition_loaded")
        await self.scene.until("it has a share", lambda: second.says("partition_loaded") > loaded)
        await asyncio.sleep(self.rng.uniform(0.5, 3.0))
        loaded = self.first.says("partition_loaded")
        second.end(self.rng.choice((signal.SIGTERM, signal.SIGKILL)))
        await self.scene.until(
            "the first has all", lambda: self.first.says("partition_loaded") >= loaded + INPUT_PARTITIONS
        )

    async def freeze(self) -> None:
        """One of two workers stops for 3 to 11 s, the session being 6 s."""
        second = self._worker("1")
        loaded = second.says("partition_loaded")
        await self.scene.until("it has a share", lambda: second.says("partition_loaded") > loaded)
        frozen = self.rng.choice((self.first, second))
        await asyncio.sleep(self.rng.uniform(0.2, 1.5))
        frozen.tell(signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(3.0, 11.0))
        frozen.tell(signal.SIGCONT)
        await asyncio.sleep(self.rng.uniform(2.0, 4.0))
        loaded = self.first.says("partition_loaded")
        second.end(signal.SIGTERM)
        await self.scene.until(
            "the first has all", lambda: self.first.says("partition_loaded") >= loaded + INPUT_PARTITIONS
        )


async def run(arguments: argparse.Namespace, brokers: str, directory: Path) -> dict[str, Any]:
    """Disturb as asked, in an order drawn from the seed; returns the figures."""
    rng = random.Random(arguments.seed)
    started = time.monotonic()
    async with Stage(brokers=brokers, directory=directory, prefix=f"chaos{arguments.seed}.") as scene:
        scene.feed(seed=arguments.seed, records_per_second=arguments.rate)
        disturbed = Disturbed(scene, rng, arguments.habits)
        await scene.until("it folds", lambda: disturbed.first.says("partition_loaded") >= INPUT_PARTITIONS)
        steps = [disturbed.kill] * arguments.kills + [disturbed.join] * arguments.joins
        steps += [disturbed.freeze] * arguments.freezes
        rng.shuffle(steps)
        for number, step in enumerate(steps, start=1):
            print(f"{number}/{len(steps)} {step.__name__}", file=sys.stderr, flush=True)
            await step()
        await scene.stop_feed()
        await scene.until_folded(180.0)
        verdict = await scene.verdict()
        asked_again, faults = scene.said("offset_asked_again"), scene.said("worker_fatal")
    back = sorted(disturbed.back_ms)
    return {
        "seed": arguments.seed,
        "habits": arguments.habits or "all",
        "kills": arguments.kills,
        "joins": arguments.joins,
        "freezes": arguments.freezes,
        "lines": verdict.lines,
        "expected": verdict.expected,
        "missing": verdict.missing,
        "wrong": verdict.wrong,
        "repeated": verdict.repeated,
        "asked_again": asked_again,
        "ended_by_fault": faults,
        "back_ms": {"p50": back[len(back) // 2], "max": back[-1]} if back else {},
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    """Parse, run on a Kafka of our own, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--joins", type=int, default=10)
    parser.add_argument("--freezes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=300.0, help="records a second")
    parser.add_argument("--habits", default="", help="what to take away: unguarded, no_manifest")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="chaos-workers-") as name,
        EmbeddedKafka(directory=Path(name) / "kafka") as kafka,
    ):
        result = asyncio.run(run(arguments, kafka.bootstrap, Path(name)))
    text = json.dumps(result)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    return 0 if result["missing"] == result["wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
