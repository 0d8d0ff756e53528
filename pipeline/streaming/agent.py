"""
The only place where a guarded fold becomes a Faust agent: assignment, records, stop.

The rules (architecture section 3): messages are acknowledged by hand when a checkpoint covers them; one record at a
time; on a revocation everything of the partitions is forgotten, and until Faust has recovered the tables of the new
assignment (``on_rebalance_complete``) no record is folded, whatever still stands in a buffer; each partition is loaded
from the tables at its first record; any exception ends the process without an acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final

from faust.streams import _current_event
from faust.types import TP

from pipeline import telemetry
from pipeline.core.identity import base62
from pipeline.core.units import Milliseconds
from pipeline.streaming.app import WorkerApp, source
from pipeline.streaming.backlog import Backlog
from pipeline.streaming.faults import end_process, fatal
from pipeline.streaming.folding import MakeFolding, View
from pipeline.streaming.guard import Refused
from pipeline.streaming.log_ranges import LogRanges
from pipeline.streaming.producer import OutputProducer
from pipeline.streaming.runner import Condition, Habits, PartitionRunner
from pipeline.streaming.tables import BytesTable
from pipeline.wire.outputs import Outgoing
from pipeline.wire.records import AlertRecord, encode
from pipeline.wire.topics import ALERTS, INTENTS, Topic

Tick = Callable[[int, int], Awaitable[Any]]  # (partition, wall ms) → the write of one tick
CLOSE_SECONDS: Final = 4.0
# Turns of the loop from the producer's ``send`` to its socket: an intent goes out before the next record is folded.
TURNS_TO_THE_SOCKET: Final = 4
MAX_BACKLOG: Final = 256  # records at hand; behind them Faust's own buffer fills, and its fetching stops
# How long folding may go on before the loop is given to sockets and heartbeats: each time makes fetches smaller, and
# many small ones cost more than they are worth (after every record: 48 % of a core instead of 39 %).
BREATH_SECONDS: Final = 0.002
# Turns of the loop from the client's socket to the agent: with fewer a record takes several breaths to come.
TURNS_FROM_THE_SOCKET: Final = 8


class GuardedAgent:
    """
    Runs one fold per partition of *topic* on *app*; ``checkpoints`` is the table of its states and manifests.

    ``log_identity`` is called after the app's ``before_start`` steps. *tick* writes the ticks of an owned partition
    every *tick_seconds*: without them a silent partition would neither be loaded nor feel time pass.
    """

    def __init__(
        self,
        app: WorkerApp,
        *,
        topic: Topic,
        checkpoints: BytesTable,
        views: Mapping[str, BytesTable],
        producer: OutputProducer,
        ranges: LogRanges,
        make_folding: MakeFolding,
        log_identity: Callable[[], str],
        tick: Tick,
        tick_seconds: float,
        habits: Habits | None = None,
    ) -> None:
        self.app = app
        self.runners: dict[int, PartitionRunner] = {}
        self.shown: dict[tuple[str, str], bytes] = {}  # (table, key) → the row last written: what people are served
        self.ready = False  # the tables of the assignment have been recovered
        self._topic = topic
        self._checkpoints = checkpoints
        self._views = views
        self._producer = producer
        self._ranges = ranges
        self._make_folding = make_folding
        self._log_identity = log_identity
        self._tick = tick
        self._tick_seconds = tick_seconds
        self._habits = habits or Habits()
        self._assigned: frozenset[int] = frozenset()
        self._life = 0  # counts assignments: a runner of an older one owns nothing
        self._last: dict[int, tuple[contextvars.Context, Any]] = {}  # partition → context and event of its last record
        self._backlog: Backlog[Any] = Backlog()  # of Faust's events
        self._sent = 0  # intents so far
        self._ticker: asyncio.Task[None] | None = None
        self._register()

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions of the topic that are ours at the moment."""
        return self._assigned

    @property
    def folding(self) -> bool:
        """True when every partition that is ours is loaded and none is stopped."""
        running = {p for p, runner in self.runners.items() if runner.condition is Condition.RUNNING}
        return self.ready and self._assigned <= running

    def _register(self) -> None:
        app = self.app
        app.unfiltered.add(self._topic.named(app.prefix))
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_partitions_assigned.connect(self._on_assigned)
        app.on_rebalance_complete.connect(self._on_recovered)
        app.before_stop.append(self._close)
        app.agent(source(app, self._topic), name=f"{app.role}.{self._topic.name}", concurrency=1)(self._run)

    # ---------------------------------------------------------------------------------------------------- ownership

    async def _on_revoked(self, _: Any, revoked: set[TP], **__: Any) -> None:
        telemetry.log.info(telemetry.PARTITIONS_REVOKED, role=self.app.role, partitions=self._ours(revoked))
        self._forget()
        if self._habits.forgets:
            self._assigned = frozenset()

    async def _on_assigned(self, _: Any, assigned: set[TP], **__: Any) -> None:
        """Forget everything: the new assignment is loaded from the tables, the old one may have gone on elsewhere."""
        telemetry.log.info(telemetry.PARTITIONS_ASSIGNED, role=self.app.role, partitions=self._ours(assigned))
        self._forget()
        self._assigned = frozenset(self._ours(assigned))
        if self._ticker is None:
            # Before the tables are recovered: a fetch of a silent partition holds the consumer's connection for 1.5 s,
            # and the questions of the recovery wait behind it; a tick ends it.
            self._ticker = asyncio.get_running_loop().create_task(self._ticks())

    async def _on_recovered(self, *_: Any, **__: Any) -> None:
        self.ready = True

    def _ours(self, partitions: set[TP]) -> list[int]:
        name = self._topic.named(self.app.prefix)
        return sorted(tp.partition for tp in partitions if tp.topic == name)

    def _forget(self) -> None:
        if not self._habits.forgets:
            return
        self.ready = False
        self._life += 1
        for runner in self.runners.values():
            runner.forget()
        self.runners.clear()
        self._last.clear()
        self._backlog.clear()
        self.shown.clear()

    # ------------------------------------------------------------------------------------------------------ records

    async def _run(self, stream: Any) -> None:  # Any: Faust's stream
        """Take whatever is at hand, fold what presses first, and let the loop breathe while much is at hand."""
        with fatal(f"agent {self.app.role}") if self._habits.ends_process else nullcontext():
            at_hand = stream.channel.queue
            breath = time.monotonic()
            async for event in stream.noack().events():
                message = event.message
                self._backlog.add(message.partition, event, pressing=self._presses(message.partition, event.value))
                while self._backlog and (at_hand.empty() or len(self._backlog) >= MAX_BACKLOG):
                    await self._next()
                    if time.monotonic() - breath > BREATH_SECONDS:
                        for _ in range(TURNS_FROM_THE_SOCKET):
                            await asyncio.sleep(0)
                        breath = time.monotonic()

    async def _next(self) -> None:
        event = self._backlog.take()
        _current_event.set(weakref.ref(event))  # by it Faust knows the partition of a table's row
        sent = self._sent
        await self._handle(event)
        if self._sent > sent:
            for _ in range(TURNS_TO_THE_SOCKET):
                await asyncio.sleep(0)

    def _presses(self, partition: int, value: bytes) -> bool:
        runner = self.runners.get(partition)
        return runner is not None and runner.folding.presses(value)

    async def _handle(self, event: Any) -> None:  # Any: Faust's event
        message = event.message
        partition = message.partition
        if not self.ready or partition not in self._assigned:
            return  # a buffered record of an assignment that is over: never folded, never acknowledged
        runner = self.runners.get(partition)
        if runner is None:
            runner = self.runners[partition] = self._new_runner(partition)
        self._last[partition] = (contextvars.copy_context(), event)
        refused = runner.condition is Condition.STOPPED
        append_ms = round(message.timestamp * 1000)
        telemetry.LAG_SECONDS.labels(self.app.role, str(partition)).set(time.time() - message.timestamp)
        await runner.handle(
            offset=message.offset,
            append_ms=append_ms,
            value=event.value,
            message=event,
            now_ms=time.monotonic_ns() // 1_000_000,
        )
        if runner.refusal is not None and not refused:
            await self._alert(partition, runner.refusal)

    def _new_runner(self, partition: int) -> PartitionRunner:
        identity = self._log_identity()
        return PartitionRunner(
            role=self.app.role,
            partition=partition,
            log_identity=identity,
            folding=self._make_folding(partition, identity),
            ports=_Ports(self, partition, self._life),
            on_fault=lambda error: end_process(f"checkpoint of {self.app.role} partition {partition}", error),
            habits=self._habits,
        )

    async def _alert(self, partition: int, refusal: Refused) -> None:
        now_ms = time.time_ns() // 1_000_000
        alert = AlertRecord(
            id=f"{self._log_identity()}.{self.app.role}.{partition}.{base62(now_ms)}",
            symbol="",
            source=self.app.role,
            code=refusal.code,
            severity="critical",
            text=f"{self._topic.name} partition {partition} is not folded: {refusal.reason}",
            at_ms=Milliseconds(now_ms),
        )
        await (await self._producer.send(ALERTS, value=encode(alert), key=self.app.role.encode()))

    # ------------------------------------------------------------------------------------------------ time and stop

    async def _ticks(self) -> None:
        """Tick every owned partition once in ``tick_seconds``, evenly: eight at once would stand before an exit."""
        with fatal(f"ticks of {self.app.role}"):
            while not self.app.should_stop:
                partitions = sorted(self._assigned)
                pause = self._tick_seconds / max(len(partitions), 1)
                for partition in partitions:
                    due = time.monotonic() + pause
                    await self._tick(partition, time.time_ns() // 1_000_000)
                    await asyncio.sleep(max(due - time.monotonic(), 0.001))
                if not partitions:
                    await asyncio.sleep(pause)

    async def _close(self) -> None:
        """
        Write a clean manifest for every partition, while we are still a member of the group.

        Without Kafka it is given up after ``CLOSE_SECONDS``: the next start folds from the last manifest there is.
        """
        if self._ticker is not None:
            self._ticker.cancel()
        with fatal(f"stop of {self.app.role}"):
            now_ms = time.monotonic_ns() // 1_000_000
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    for partition, runner in sorted(self.runners.items()):
                        context, event = self._last[partition]
                        await asyncio.get_running_loop().create_task(
                            runner.close(now_ms=now_ms, record=event), context=context.copy()
                        )
            except TimeoutError:
                telemetry.log.error(telemetry.STOP_NOT_CLEAN, role=self.app.role)


class _Ports:
    """What one partition needs, by Faust and our own producer (``runner.Ports``)."""

    def __init__(self, agent: GuardedAgent, partition: int, life: int) -> None:
        self._agent = agent
        self._partition = partition
        self._life = life
        self._tp = TP(agent._topic.named(agent.app.prefix), partition)

    async def send(self, outgoing: Outgoing) -> Awaitable[Any]:
        self._agent._sent += outgoing.topic is INTENTS
        return await self._agent._producer.send(
            outgoing.topic, value=outgoing.value, key=outgoing.key or None, partition=outgoing.partition
        )

    def read(self, key: str) -> bytes | None:
        return self._agent._checkpoints.read(key)

    def write(self, key: str, value: bytes) -> Awaitable[Any]:
        return self._agent._checkpoints.write(key, value)

    def show(self, view: View) -> None:
        table = self._agent._views[view.table]
        if view.value is None:
            self._agent.shown.pop((view.table, view.key), None)
            table.remove(view.key)
        else:
            self._agent.shown[view.table, view.key] = view.value
            table.write(view.key, view.value)

    def acknowledge(self, message: Any) -> None:
        message.message.ack(self._agent.app.consumer)

    async def log_range(self) -> tuple[int, int]:
        return await self._agent._ranges.of(self._tp.topic, self._partition)

    async def seek(self, offset: int) -> None:
        await self._agent.app.consumer.seek(self._tp, offset)

    def owned(self) -> bool:
        agent = self._agent
        return agent._life == self._life and self._partition in agent._assigned
