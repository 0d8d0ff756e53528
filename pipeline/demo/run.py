"""The only place for the order of a demo: set the stage, play, stop everything, judge what was left behind, report."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from rich.console import Console

from pipeline.console.log_access import Log, open_log
from pipeline.demo import acts, figures, promises, recorded, verdict
from pipeline.demo.exchange import ExchangeGone
from pipeline.demo.fleet import peak_memory_mb
from pipeline.demo.promises import Promise
from pipeline.demo.scenario import KILL_BEFORE_RAILS
from pipeline.demo.stage import Options, Stage, ready, set_stage
from pipeline.demo.view import View
from pipeline.reporting.account_view import AccountView
from pipeline.reporting.trades_report import TradesReport
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, INPUTS, INTENTS

Json: TypeAlias = Any  # the result's JSON

LOOK_SECONDS: Final = 1.0
LAST_LOOK_SECONDS: Final = 5.0
LATENCY_SAMPLES: Final = 20
LOOK_BACK_MS: Final = 60_000


class Outcome(msgspec.Struct):
    """What a demo came to: the verdicts, the report, the result for programs, where the log lies."""

    promises: list[Promise]
    report: TradesReport
    result: dict[str, Json]
    directory: Path
    kept: bool

    @property
    def ok(self) -> bool:
        """True when every promise held."""
        return all(promise.held for promise in self.promises)


async def run(options: Options, console: Console) -> Outcome:
    """
    Run a demo to its end.

    Raises PartFailed, Played, ExchangeGone, EmbeddedKafkaError, Unreachable when it could not be played; everything
    that was started has ended by then, and the directory with all logs stays.
    """
    began = time.monotonic()
    with View(console) as view:
        async with set_stage(options, tuple(plan.symbol for plan in options.plans), view) as stage:
            async with watched(stage):
                await ready(stage)
                extra = await _play(stage)
                stage.fleet.note_memory()
            view.step("stopping connector and workers")
            await asyncio.to_thread(stage.stop_pipeline)
            view.step("replaying the log in a fresh process, and judging")
            evidence = await verdict.gather(stage)
            held = await _judge(stage, evidence, extra)
            result = verdict.result_of(stage, evidence, held, time.monotonic() - began)
            result["memory_mb"]["kafka"] = peak_memory_mb(stage.kafka.pid or 0)
            directory = stage.directory
            if all(promise.held for promise in held) and not options.keep:
                stage.let_go()
            kept = stage.kept
    return Outcome(held, evidence.report, result, directory, kept)


async def _latency(log: Log, since_ms: int) -> dict[str, float]:
    """Frame → intent of the last minute: the few intents, and the lines that they name."""
    intents = [(r.append_ms, records.decode_intent(r.value)) for r in await log.read(INTENTS, since_ms=since_ms)]
    causes: dict[tuple[int, int], bytes] = {}
    for _, intent in intents[-LATENCY_SAMPLES:]:
        partition, offset, _ = (int(part) for part in intent.cause.split("/"))
        if (found := await log.one(INPUTS, partition, offset)) is not None:
            causes[partition, offset] = found.value
    received = figures.frame_times((partition, offset, value) for (partition, offset), value in causes.items())
    return figures.latencies(received, intents, ())


class _Extra(msgspec.Struct):
    """What the synthetic demo knows beside the log: the answer to the bad command, how long each recovery took."""

    answer: Json = None
    recovered_ms: dict[str, int] = {}


async def _play(stage: Stage) -> _Extra:
    if stage.options.recording is not None:
        await recorded.play(stage)
        return _Extra()
    answer, recovered = await acts.play(stage)
    return _Extra(answer, recovered)


async def _judge(stage: Stage, evidence: verdict.Evidence, extra: _Extra) -> list[Promise]:
    if stage.options.recording is not None:
        held = verdict.common_promises(stage, evidence, killed=None)
        return held + await recorded.judge(stage, evidence, stage.options.recording)
    options = stage.options
    wanted = {plan.symbol: plan.outcome for plan in options.plans}
    return [
        *verdict.common_promises(stage, evidence, killed=KILL_BEFORE_RAILS if options.kills else None),
        promises.bad_input_is_answered(extra.answer, evidence.quarantined),
        promises.ended_as_planned(evidence.report.rows, wanted),
        *([promises.came_back(extra.recovered_ms)] if options.kills else []),
    ]


@asynccontextmanager
async def watched(stage: Stage) -> AsyncIterator[None]:
    """Gather what the live view shows, while the body runs and somebody watches."""
    if not stage.view.live:
        yield
        return
    enough = asyncio.Event()
    looking = asyncio.create_task(_look(stage, enough))
    try:
        yield
    finally:
        enough.set()  # a cancellation alone can be swallowed by what the look waits for (asyncio.wait_for in 3.11)
        done, _ = await asyncio.wait({looking}, timeout=LAST_LOOK_SECONDS)
        if not done:
            looking.cancel()
        elif not looking.cancelled() and (fault := looking.exception()) is not None:
            stage.view.step(f"the live view ended early: {fault}")


async def _look(stage: Stage, enough: asyncio.Event) -> None:
    view = stage.view
    while not enough.is_set():
        with contextlib.suppress(ExchangeGone):  # the act that needs it says so
            view.summary = await stage.exchange.summary()
        positions = AccountView()
        since = int(time.time() * 1_000) - LOOK_BACK_MS
        async with open_log(stage.settings) as log:
            for record in await log.read(ACCOUNT, since_ms=since):
                positions.take(record.append_ms, record.value)
            view.latency = await _latency(log, since)
        positions.instruments = view.positions.instruments | positions.instruments
        view.positions = positions
        view.refresh()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await enough.wait()
