"""The only place where the counting fold becomes a worker: ``faust -A tests.integration.counting_worker worker``.

``COUNTING_HABITS`` takes away what the tests want to see missed, ``COUNTING_POISON`` is a line that breaks the fold.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import uvloop

from pipeline import telemetry
from pipeline.settings import load
from pipeline.streaming.agent import GuardedAgent
from pipeline.streaming.app import make_app
from pipeline.streaming.log_ranges import LogRanges
from pipeline.streaming.producer import OutputProducer
from pipeline.streaming.runner import Habits
from pipeline.streaming.tables import BytesTable
from pipeline.streaming.topics_admin import ensure_topics_of
from pipeline.wire.topics import INPUTS
from tests.integration.counting import CountingFold

HABITS = {
    "": Habits(),
    "unguarded": Habits(guarded=False),
    "no_manifest": Habits(guarded=False, manifest_first=False),
    "lives_on": Habits(ends_process=False),
}

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
telemetry.configure_logging()
settings = load(os.environ)
app = make_app(settings, "decide")
producer = OutputProducer(settings, role="decide")
ranges = LogRanges(settings)
identity: list[str] = []


async def _prepare() -> None:
    identity.append(await ensure_topics_of(settings))
    await producer.start()
    await ranges.start()


async def _tick(partition: int, now_ms: int) -> Any:
    return await producer.send(INPUTS, value=b"* %d" % time.time_ns(), partition=partition)


app.before_start.append(_prepare)
agent = GuardedAgent(
    app,
    topic=INPUTS,
    checkpoints=BytesTable(app, "checkpoints"),
    views={},
    producer=producer,
    ranges=ranges,
    make_folding=CountingFold,
    log_identity=lambda: identity[0],
    tick=_tick,
    tick_seconds=0.25,
    habits=HABITS[os.environ.get("COUNTING_HABITS", "")],
)
app.before_stop += [producer.stop, ranges.stop]
