"""
The only place for the life of one assigned partition: load, guard, fold, write, checkpoint, acknowledge.

Knows neither Faust nor Kafka: the agent gives it ``Ports``, tests give it small fakes and crash it between any two
steps. One ``PartitionRunner`` lives from an assignment to the next; nothing of it survives (architecture section 3,
point 5). Whatever it raises ends the process without an acknowledgement (point 7).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, Final, Protocol, assert_never

import msgspec

from pipeline import telemetry
from pipeline.streaming.checkpoints import MANIFEST_KEY, ORDER_OF_DURABILITY, ROUND_MS, Ledger, Plan, Step
from pipeline.streaming.folding import Folding, View
from pipeline.streaming.guard import Apply, Continuity, Drop, Position, Refused, SeekTo, Skip, StartAt, where_to_start
from pipeline.wire.outputs import Outgoing
from pipeline.wire.records import Manifest
from pipeline.wire.topics import INPUT_PARTITIONS

MAX_OUTPUTS_WAITING: Final = 5_000
ANCHOR_MS: Final = 3_600_000


class Ports(Protocol):
    """What a partition needs of the world. Writes return the future of their durability."""

    async def send(self, outgoing: Outgoing) -> Awaitable[Any]:
        """Put one output on its way."""
        ...

    def read(self, key: str) -> bytes | None:
        """A row of the partition's checkpoint table."""
        ...

    def write(self, key: str, value: bytes) -> Awaitable[Any]:
        """Write a row of the partition's checkpoint table; writes become durable in the order of the calls."""
        ...

    def show(self, view: View) -> None:
        """Write a row of a view table."""
        ...

    def acknowledge(self, message: Any) -> None:  # Any: the agent's own, passed back unread
        """Tell Kafka that a record is done with."""
        ...

    async def log_range(self) -> tuple[int, int]:
        """First offset of the log and the one behind its last."""
        ...

    async def seek(self, offset: int) -> None:
        """Ask for the records from *offset* on again."""
        ...

    def owned(self) -> bool:
        """False as soon as the partition may belong to somebody else."""
        ...


class Habits(msgspec.Struct, frozen=True):
    """
    What section 3 demands and a test may take away, to see that its absence is noticed.

    ``guarded`` folds in offset order only, ``order`` is the order of durability, ``manifest_first`` starts from the
    manifest rather than from wherever Kafka delivers, ``forgets`` drops everything of a partition that is revoked,
    ``ends_process`` lets no exception acknowledge a record.
    """

    guarded: bool = True
    manifest_first: bool = True
    forgets: bool = True
    ends_process: bool = True
    order: tuple[Step, ...] = ORDER_OF_DURABILITY


class Condition(Enum):
    """How a partition stands."""

    NEW = "not loaded yet"
    RUNNING = "folding"
    STOPPED = "refused, with an alert; its records are dropped and never acknowledged"
    CLOSED = "revoked or stopped cleanly; its records are dropped and never acknowledged"


class _Round(msgspec.Struct):
    """A checkpoint round under way."""

    plan: Plan
    images: list[tuple[str, bytes]]
    outputs: list[Awaitable[Any]]
    writes: list[Awaitable[Any]]
    started: float
    record: Any  # the record it was taken behind, kept alive: the tables ask it for the partition


class PartitionRunner:
    """One partition of an agent, from its assignment to the next."""

    def __init__(
        self,
        *,
        role: str,
        partition: int,
        log_identity: str,
        folding: Folding,
        ports: Ports,
        on_fault: Callable[[BaseException], None],
        habits: Habits | None = None,
    ) -> None:
        self.partition = partition
        self.condition = Condition.NEW
        self.folding = folding
        self.refusal: Refused | None = None
        self.next_offset = -1
        self._role = role
        self._log_identity = log_identity
        self._ports = ports
        self._on_fault = on_fault
        self._habits = habits or Habits()
        self._forgotten = False
        self._continuity = Continuity(0)
        self._ledger = Ledger({}, now_ms=0)
        self._pending: deque[tuple[int, Any]] = deque()  # (offset, message) applied or skipped, not acknowledged
        self._outputs: list[Awaitable[Any]] = []
        self._round: asyncio.Task[None] | None = None
        self._anchor_ms = 0

    # ------------------------------------------------------------------------------------------------------- loading

    async def load(self, *, now_ms: int, first_offset: int) -> list[Outgoing]:
        """
        Read the manifest and the states, hold them against the log, and be ready for the first record.

        Returns the outputs of a declared gap. A refusal is in ``refusal`` afterwards; the agent alerts people.
        """
        image = self._ports.read(MANIFEST_KEY)
        manifest = None if image is None else msgspec.json.decode(image, type=Manifest)
        stored: dict[str, Position | None] = {}
        for key in manifest.applied if manifest is not None else ():
            state = self._ports.read(key)
            try:
                stored[key] = None if state is None else self.folding.restore(key, state)
            except msgspec.DecodeError as error:
                self.refuse(Refused("state_unreadable", f"the stored state of {key} is none of this version: {error}"))
                return []
        begin, end = await self._ports.log_range()
        start = where_to_start(
            manifest, stored, log_identity=self._log_identity, fold=self.folding.fold, begin=begin, end=end
        )
        if isinstance(start, Refused):
            self.refuse(start)
            return []
        if manifest is not None and manifest.clean:
            # From now on outputs may stand beyond it: another fold must not take it over after a crash of this one.
            taken = msgspec.structs.replace(manifest, clean=False, fold=self.folding.fold)
            await self._ports.write(MANIFEST_KEY, msgspec.json.encode(taken))
        if not self._habits.manifest_first:
            start = StartAt(first_offset)
        self.folding.start(start.offset)
        self._continuity = Continuity(start.offset)
        self.next_offset = start.offset
        self._ledger = Ledger(
            {key: at for key, at in stored.items() if at is not None},
            now_ms=now_ms,
            phase_ms=self.partition * ROUND_MS // INPUT_PARTITIONS % ROUND_MS,
        )
        self._anchor_ms = now_ms
        self.condition = Condition.RUNNING
        telemetry.log.info(
            telemetry.PARTITION_LOADED,
            role=self._role,
            partition=self.partition,
            next=start.offset,
            lost=start.lost,
            states=len(stored),
            begin=begin,
            end=end,
        )
        if start.lost:
            telemetry.log.warning(telemetry.GAP_DECLARED, partition=self.partition, lost=start.lost)
            return self.folding.declare_gap(offset=start.offset, lost=start.lost)
        return []

    def refuse(self, refusal: Refused) -> None:
        """Stop the partition; its records stay where they are."""
        self.condition = Condition.STOPPED
        self.refusal = refusal
        telemetry.STOPPED.labels(self._role, str(self.partition)).set(1)
        telemetry.log.critical(
            telemetry.PARTITION_STOPPED, partition=self.partition, code=refusal.code, reason=refusal.reason
        )

    # ------------------------------------------------------------------------------------------------------- folding

    async def handle(self, *, offset: int, append_ms: int, value: bytes, message: Any, now_ms: int) -> None:
        """Take one record as Kafka delivered it; *message* is what will be acknowledged."""
        if self.condition is Condition.NEW:
            await self._send(await self.load(now_ms=now_ms, first_offset=offset))
        if self.condition is not Condition.RUNNING or not self._ports.owned():
            return
        match self._continuity.judge(offset, now_ms=now_ms) if self._habits.guarded else Apply():
            case Apply():
                telemetry.RECORDS.labels(self._role, "applied").inc()
                await self._apply(offset, append_ms, value, message)
            case Skip():
                telemetry.RECORDS.labels(self._role, "skipped").inc()
                self._skip(offset, message)
            case Drop():
                telemetry.RECORDS.labels(self._role, "ahead").inc()
            case SeekTo(offset=wanted):
                telemetry.RECORDS.labels(self._role, "ahead").inc()
                telemetry.log.warning(telemetry.OFFSET_ASKED_AGAIN, partition=self.partition, want=wanted, got=offset)
                await self._ports.seek(wanted)
        for view in self.folding.views(now_ms=now_ms):
            self._ports.show(view)
        if self._round is None and self._ledger.due(now_ms=now_ms):
            await self._send(self.folding.seal())
            if now_ms - self._anchor_ms >= ANCHOR_MS:
                await self._send(self._anchor())
                self._anchor_ms = now_ms
            self._begin_round(now_ms, message)

    def _anchor(self) -> list[Outgoing]:
        manifest = Manifest(
            log_identity=self._log_identity,
            fold=self.folding.fold,
            partition=self.partition,
            next_offset=self.next_offset,
            applied=dict(self.folding.applied()),
        )
        telemetry.log.info(telemetry.ANCHOR_WRITTEN, partition=self.partition, next=self.next_offset)
        return self.folding.anchor(manifest, at_ms=time.time_ns() // 1_000_000)

    async def _apply(self, offset: int, append_ms: int, value: bytes, message: Any) -> None:
        started = time.perf_counter()
        outputs = self.folding.apply(offset=offset, append_ms=append_ms, value=value)
        self.next_offset = offset + 1
        self._pending.append((offset, message))
        self._ledger.count()
        telemetry.STAGE_SECONDS.labels(self._role, "fold").observe(time.perf_counter() - started)
        await self._send(outputs)

    def _skip(self, offset: int, message: Any) -> None:
        """Records below a manifest are covered by it; those of this life wait for their own round."""
        if self._pending and offset >= self._pending[0][0]:
            return  # delivered twice, and the first delivery is still pending
        self._ports.acknowledge(message)

    async def _send(self, outputs: Sequence[Outgoing]) -> None:
        for outgoing in outputs:
            self._outputs.append(await self._ports.send(outgoing))
        if len(self._outputs) > MAX_OUTPUTS_WAITING:
            waiting, self._outputs = self._outputs, []
            for acknowledgement in waiting:
                await acknowledgement

    # ---------------------------------------------------------------------------------------------------- durability

    def _take(self, now_ms: int, record: Any, *, clean: bool) -> _Round:
        """Everything of a round as it stands now, between two records; nothing of it waits."""
        plan = self._ledger.plan(
            applied=self.folding.applied(),
            next_offset=self.next_offset,
            log_identity=self._log_identity,
            fold=self.folding.fold,
            partition=self.partition,
            now_ms=now_ms,
            clean=clean,
        )
        images = [(key, self.folding.image(key)) for key in plan.keys]
        outputs, self._outputs = self._outputs, []
        return _Round(plan, images, outputs, [], time.perf_counter(), record)

    def _begin_round(self, now_ms: int, record: Any) -> None:
        """
        Take a round now and make it durable beside the folding of the next records.

        The task inherits the context of the current record, by which Faust knows the partition of a table's row.
        """
        self._round = asyncio.get_running_loop().create_task(
            self._make_durable(self._take(now_ms, record, clean=False))
        )
        self._round.add_done_callback(self._round_ended)

    def _round_ended(self, task: asyncio.Task[None]) -> None:
        self._round = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    async def _make_durable(self, work: _Round) -> None:
        for step in self._habits.order:
            if not self._ports.owned() or self._forgotten:
                telemetry.ROUNDS.labels(self._role, "abandoned").inc()
                telemetry.log.info(telemetry.CHECKPOINT_ABANDONED, partition=self.partition, before=step.name)
                return
            await self._do(step, work)
        telemetry.ROUNDS.labels(self._role, "done").inc()
        telemetry.STAGE_SECONDS.labels(self._role, "checkpoint").observe(time.perf_counter() - work.started)
        telemetry.NEXT_OFFSET.labels(self._role, str(self.partition)).set(work.plan.manifest.next_offset)

    async def _do(self, step: Step, work: _Round) -> None:
        match step:
            case Step.OUTPUTS:
                for acknowledgement in work.outputs:
                    await acknowledgement
            case Step.STATES:
                for key, image in work.images:
                    if not self._ports.owned() or self._forgotten:
                        return  # the next step sees it, too
                    work.writes.append(self._ports.write(key, image))
                    await asyncio.sleep(0)  # a record that arrived meanwhile is folded between two writes
            case Step.MANIFEST:
                work.writes.append(self._ports.write(MANIFEST_KEY, msgspec.json.encode(work.plan.manifest)))
            case Step.CHANGELOG:
                for written in work.writes:
                    await written
            case Step.ACKNOWLEDGE:
                while self._pending and self._pending[0][0] < work.plan.manifest.next_offset:
                    self._ports.acknowledge(self._pending.popleft()[1])
            case _:
                assert_never(step)

    async def close(self, *, now_ms: int, record: Any) -> None:
        """
        Stop here with no output beyond the manifest, and say so in it (``clean``): another fold may go on from it.

        Called in the context of the partition's last *record*.
        """
        if self.condition is not Condition.RUNNING:
            return
        self.condition = Condition.CLOSED
        if self._round is not None:
            await asyncio.wait([self._round])
        await self._send([*self.folding.seal(), *self._anchor()])
        await self._make_durable(self._take(now_ms, record, clean=True))
        telemetry.log.info(telemetry.CLEAN_STOP, partition=self.partition, next=self.next_offset)

    def forget(self) -> None:
        """The partition is no longer ours: fold nothing more, write nothing more."""
        self.condition = Condition.CLOSED
        self._forgotten = True
