"""
The only place that plays the simulator's market situations on real processes and judges what came.

Simulator, connector and the three workers are processes of their own, joined by sockets and a real Kafka, as in
production; only their time is hastened (``pipeline.hastened``), or a situation of an hour would take one. Nobody asks
for a position. When the position has ended, everything is stopped, ``perpguard replay --verify`` folds the log again
and ``perpguard explain`` tells the position's story, each as a process too: their output is what is judged, by the same
rows (``expected``) as the run in virtual time.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from connectors.exchange_simulator.situations import SYMBOL
from pipeline.backtest.expected import EXPECTED, Expected
from pipeline.backtest.run import Trace, note_decision
from pipeline.backtest.scenarios import CONFIGURATION, RATE, Verdict, judge
from pipeline.console.log_access import send
from pipeline.demo import verdict
from pipeline.demo.exchange import open_episodes
from pipeline.demo.fleet import perpguard
from pipeline.demo.stage import Options, Stage, Surroundings, ready, set_stage
from pipeline.demo.view import View
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.hastened import NANOSECONDS, Pacer, SharedClock, hastened
from pipeline.reporting import story
from pipeline.streaming.topics_admin import ensure_topics, wanted_topics
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT

Json: TypeAlias = Any  # of commands and of the exchange

PACE: Final = 30.0
HOUR_MS: Final = 3_600_000
AGO_MS: Final = 3 * HOUR_MS  # hastened time must not run into the broker's future: it refuses records of it
BEGIN_MS: Final = (29 * 60 + 32) * 1_000  # past the hour, as in virtual time: 28 s before a bar closes
START_PACE: Final = 0.3  # while the processes start: the market has begun, and the first bar must not miss them
CAREFUL_PACE: Final = 3.0  # until a position is open: an entry that comes two seconds late is stale
CAREFUL_MS: Final = 60_000  # but not for longer: then there will be none at this bar
SECONDS: Final = 900.0  # of the machine, for one situation
LOOK_SECONDS: Final = 0.1
LAG_SECONDS: Final = 1.5  # of the market: decide further behind what was appended makes time slower
SLOWER, FASTER, SLOWEST = 0.6, 1.1, 1.0
LAG: Final = re.compile(r"^perpguard_fold_lag_seconds\{[^}]*\} (\S+)$", re.MULTILINE)
SETTLED_MS: Final = 15_000
QUIET_MS: Final = 120_000
EXPLAIN_SECONDS: Final = 60.0
SLOTS: Final = {"simulator": 0, "connector": 1, "decide": 2, "account": 3, "execute": 4}


class Played(msgspec.Struct, frozen=True):
    """A situation on real processes: what was judged, and how long the machine took for how much market."""

    verdict: Verdict
    machine_seconds: float
    market_seconds: float
    worst_lag_seconds: float
    held_seconds: float
    naked_by_episode: list[int]
    explained: list[str]
    memory_mb: dict[str, float]


class Stopped(Exception):
    """A situation did not come to its end; the text says where it stood."""


async def play_all(
    names: list[str],
    view: View,
    *,
    seed: int,
    pace: float = PACE,
    keep: bool = False,
    on_played: Callable[[Played], None] = lambda one: None,
) -> list[Played]:
    """
    Each situation after the other on one Kafka; every process has ended when this returns or raises.

    Raises PartFailed, EmbeddedKafkaError, Stopped. With *keep* the directories stay.
    """
    directory = Path(tempfile.mkdtemp(prefix="perpguard-situations-"))
    kafka = EmbeddedKafka(directory=directory / "kafka", progress=view.step)
    found: list[Played] = []
    try:
        await asyncio.to_thread(kafka.start)
        for name in names:
            found.append(await _play(name, view, directory, kafka, seed=seed, pace=pace, keep=keep))
            on_played(found[-1])
    finally:
        await asyncio.to_thread(kafka.stop)
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return found


async def _play(
    name: str, view: View, directory: Path, kafka: EmbeddedKafka, *, seed: int, pace: float, keep: bool
) -> Played:
    began = time.monotonic()
    prefix = f"situation.{name}."
    begin_ms = (time.time_ns() // 1_000_000 - AGO_MS) // HOUR_MS * HOUR_MS + BEGIN_MS
    file = directory / f"{name}.clock"
    clock = SharedClock.make(file, now_ns=begin_ms * 1_000_000)
    clock.set_pace(START_PACE)
    await make_topics(kafka.bootstrap, prefix)
    options = Options(seed=seed, scenario=name, rate=RATE, configuration=CONFIGURATION, keep=keep)
    around = Surroundings(kafka, prefix, lambda part, command: hastened(command, file, SLOTS[part]))
    pacer = Pacer(clock)
    pacer.start()
    try:
        async with set_stage(options, (SYMBOL,), view, around) as stage:
            async with httpx.AsyncClient() as metrics:
                one = _Situation(name, stage, clock, pacer, metrics, began=began)
                await one.play(begin_ms, pace)
            played = await one.judge(file)
            if played.verdict.holds and not keep:
                stage.let_go()
    finally:
        pacer.stop()
    return played


async def make_topics(brokers: str, prefix: str) -> None:
    """The pipeline's topics, whose records carry their sender's time."""
    wanted = wanted_topics(prefix, 1)
    for topic in wanted:
        if "message.timestamp.type" in topic.topic_configs:
            topic.topic_configs = topic.topic_configs | {"message.timestamp.type": "CreateTime"}
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics(wanted)
    finally:
        await admin.close()
    await ensure_topics(brokers, prefix)


class _Situation:
    """One situation on a stage that is set."""

    def __init__(
        self, name: str, stage: Stage, clock: SharedClock, pacer: Pacer, metrics: httpx.AsyncClient, *, began: float
    ) -> None:
        self.name = name
        self.expected: Expected = EXPECTED[name]
        self.stage = stage
        self.clock = clock
        self.pacer = pacer
        self.metrics = metrics
        self.began = began
        self.begin_ms = self.end_ms = 0
        self.limit = CAREFUL_PACE
        self.worst_lag = 0.0

    @property
    def now_ms(self) -> int:
        """Hastened Unix ms."""
        return self.clock.now_ns() * 1_000 // NANOSECONDS

    async def play(self, begin_ms: int, pace: float) -> None:
        """From the first process to the last position's end; then connector and workers are stopped."""
        stage, say = self.stage, self.stage.view.step
        await ready(stage)
        self.begin_ms = begin_ms
        self.limit = min(CAREFUL_PACE, pace)
        self.clock.set_pace(self.limit)
        began = (self.now_ms - begin_ms) / 1_000
        say(f"{self.name}: ready {began:.1f} s after the market began; now up to {pace:g} times as fast as real time")
        until_ms = self.begin_ms + self.expected.seconds * 1_000
        ended_ms = 0
        while self.now_ms < until_ms and not (ended_ms and self.now_ms > ended_ms + SETTLED_MS):
            await self._look()
            summary = await self.stage.exchange.summary()
            if summary["episodes"] or self.now_ms > begin_ms + CAREFUL_MS:
                self.limit = pace
            if not ended_ms and summary["episodes"] and not open_episodes(summary):
                ended_ms = self.now_ms
        await self._flatten()
        self.end_ms = self.now_ms
        await self._caught_up()
        say(f"{self.name}: {(self.end_ms - self.begin_ms) / 1_000:.0f} s of market are over, stopping")
        await asyncio.to_thread(self.stage.stop_pipeline)
        for part, slot in SLOTS.items():
            if part != "simulator":
                self.clock.free(slot)

    async def _flatten(self) -> None:
        """What is still open is closed as by hand, and waited for: then the situation has not ended as expected."""
        until_ms = self.now_ms + QUIET_MS
        if open_episodes(await self.stage.exchange.summary()):
            command = records.CloseCommand(command=f"situation-{self.name}", symbol=SYMBOL)
            await send(self.stage.settings, ACCOUNT, records.encode(command))
        while open_episodes(await self.stage.exchange.summary()) and self.now_ms < until_ms:
            await self._look()

    async def _look(self) -> None:
        """A moment later, time as fast as decide keeps up; raises PartFailed, BrokerDied, Stopped."""
        await asyncio.sleep(LOOK_SECONDS)
        lag = await self._lag()
        self.worst_lag = max(self.worst_lag, lag)
        change = SLOWER if lag > LAG_SECONDS else FASTER
        self.clock.set_pace(max(SLOWEST, min(self.limit, self.clock.pace * change)))
        self.stage.fleet.check()
        self.stage.kafka.check()
        if time.monotonic() - self.began > SECONDS:
            waiting = [part for part, slot in SLOTS.items() if slot in self.pacer.waiting_for]
            passed = (self.now_ms - self.begin_ms) / 1_000
            raise Stopped(
                f"{self.name}: not over within {SECONDS:.0f} s; {passed:.0f} s of market passed"
                + (f", time waits for {', '.join(waiting)}" if waiting else "")
            )

    async def _lag(self) -> float:
        """How far decide is behind the newest records, in seconds of the market: what queues in Kafka nobody sees."""
        port = self.stage.fleet.parts["decide"].environment["PERPGUARD_METRICS_PORT"]
        try:
            answer = await self.metrics.get(f"http://127.0.0.1:{port}/metrics")
        except httpx.TransportError:
            return LAG_SECONDS  # too busy to say, or gone: the fleet's check tells
        return max((float(lag) for lag in LAG.findall(answer.text)), default=0.0)

    async def _caught_up(self) -> None:
        """In real time, until decide has folded what was appended and account has heard of it."""
        self.limit = 1.0
        self.clock.set_pace(self.limit)
        until_ms = self.now_ms + QUIET_MS
        while await self._lag() > LAG_SECONDS and self.now_ms < until_ms:
            await self._look()
        until_ms = self.now_ms + 2_000
        while self.now_ms < until_ms:
            await self._look()

    async def judge(self, clock_file: Path) -> Played:
        """Replay, explain, and hold everything against what is expected."""
        stage = self.stage
        evidence = await verdict.gather(stage)
        trace = Trace(
            symbol=SYMBOL,
            market=self.name,
            shift_ms=0,
            length_ms=self.end_ms - self.begin_ms,
            tick_e8=1,
            step_e8=1,
            assumed=(),
        )
        for decision in evidence.decisions:
            note_decision(trace, decision)
        episodes = evidence.summary["episodes"]
        naked = [episode["naked"]["any"]["longest_ms"] for episode in episodes]
        trace.naked_ms = max(naked, default=0)
        replayed = evidence.replay or {"lines": 0, "decisions": 0, "equal": False, "first_difference": "no result"}
        trace.lines, trace.decisions = replayed["lines"], replayed["decisions"]
        trace.equal = bool(replayed["equal"]) and replayed["decisions"] > 0
        trace.difference = json.dumps(replayed["first_difference"]) if not trace.equal else ""
        trace.flat = not open_episodes(evidence.summary)
        trace.faults = [
            f"{promise.number} {promise.what}: {text}"
            for promise in verdict.common_promises(stage, evidence, killed=None)
            for text in promise.broken
        ]
        stories = [await asyncio.to_thread(self._explain, clock_file, trade.position) for _, trade in trace.trades]
        why = await asyncio.to_thread(self._explain_symbol, clock_file) if self.expected.refused_by else ""
        found = judge(self.name, trace, evidence.decisions, stories[0] if stories else [], why)
        return Played(
            verdict=found,
            machine_seconds=round(time.monotonic() - self.began, 1),
            market_seconds=round((self.end_ms - self.begin_ms) / 1_000, 1),
            worst_lag_seconds=round(self.worst_lag, 1),
            held_seconds=round(self.pacer.held_seconds, 1),
            naked_by_episode=naked,
            explained=[story.told(steps) for steps in stories],
            memory_mb={name: part.memory_mb for name, part in stage.fleet.parts.items()},
        )

    def _explain(self, clock_file: Path, position: str) -> list[story.Step]:
        """The story as the command tells it; empty when it knows none."""
        told = self._command(clock_file, "explain", position, "--json")
        with suppress(msgspec.MsgspecError):
            return msgspec.convert(msgspec.json.decode(told)["steps"], list[story.Step])
        return []

    def _explain_symbol(self, clock_file: Path) -> str:
        return self._command(clock_file, "explain", SYMBOL)

    def _command(self, clock_file: Path, *arguments: str) -> str:
        """What a command of ours prints, in the situation's time."""
        environment = os.environ | self.stage.fleet.environment
        command = hastened(perpguard(*arguments), clock_file, None)
        with (self.stage.directory / "explain.log").open("ab") as log:
            done = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=EXPLAIN_SECONDS,
                check=False,
                text=True,
            )
        return done.stdout
