"""The only place for a small world around one ``PartitionRunner``: a log, a table, an output topic, and crashes.

Time passes only where the test says so: a write is *under way* until the world lands it, and a crash loses a suffix of
what is under way on each road. ``World`` outlives its workers, as Kafka does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pipeline.streaming.checkpoints import MANIFEST_KEY
from pipeline.streaming.folding import View
from pipeline.streaming.runner import Condition, Habits, PartitionRunner
from pipeline.wire.outputs import Outgoing
from pipeline.wire.records import Manifest
from tests.integration.counting import CountingFold, Intent

IDENTITY = "LOG0001"
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")


class Road:
    """Writes under way on one topic partition: they land in order."""

    def __init__(self, land: Callable[[Any], None]) -> None:
        self._land = land
        self._under_way: list[tuple[Any, asyncio.Future[None]]] = []

    def send(self, item: Any) -> asyncio.Future[None]:
        """Put one write on its way."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.append((item, future))
        return future

    def land(self, count: int) -> None:
        """Let the oldest *count* land and be acknowledged."""
        for item, future in self._under_way[:count]:
            self._land(item)
            if not future.done():
                future.set_result(None)
        del self._under_way[:count]

    def crash(self, count: int) -> None:
        """The writer dies: the oldest *count* land unheard, the rest never does."""
        for item, _ in self._under_way[:count]:
            self._land(item)
        for _, future in self._under_way:
            future.cancel()
        self._under_way.clear()

    def refuse(self, error: Exception) -> None:
        """Everything under way fails."""
        for _, future in self._under_way:
            future.set_exception(error)
        self._under_way.clear()

    def __len__(self) -> int:
        return len(self._under_way)


class World:
    """One partition of the log and everything that survives a worker."""

    def __init__(self, records: list[bytes]) -> None:
        self.records = records
        self.begin = 0
        self.end: int | None = None  # a log that ends elsewhere than its records say (truncated)
        self.table: dict[str, bytes] = {}
        self.outputs: list[Intent] = []
        self.committed = 0
        self.acknowledged: set[int] = set()
        self.early: list[int] = []  # acknowledged before a durable manifest covered them
        self.seeks: list[int] = []
        self.ours = True
        self.faults: list[BaseException] = []
        self._table_road = Road(self._land_row)
        self._output_road = Road(lambda outgoing: self.outputs.append(msgspec.json.decode(outgoing.value, type=Intent)))

    def _land_row(self, row: tuple[str, bytes]) -> None:
        self.table[row[0]] = row[1]

    @property
    def manifest(self) -> Manifest | None:
        """The manifest that is durable now."""
        image = self.table.get(MANIFEST_KEY)
        return None if image is None else msgspec.json.decode(image, type=Manifest)

    def runner(self, habits: Habits | None = None) -> PartitionRunner:
        """A fresh worker's runner of this partition."""
        self.ours = True
        return PartitionRunner(
            role="decide",
            partition=3,
            log_identity=IDENTITY,
            folding=CountingFold(3, IDENTITY),
            ports=self,
            on_fault=self.faults.append,
            habits=habits,
        )

    async def deliver(self, runner: PartitionRunner, offset: int, *, now_ms: int) -> None:
        """Deliver one record, as Kafka might at any time."""
        taking = asyncio.ensure_future(
            runner.handle(offset=offset, append_ms=0, value=self.records[offset], message=offset, now_ms=now_ms)
        )
        while not taking.done():
            for _ in range(3):
                await asyncio.sleep(0)
            if not taking.done():  # it waits for a row: a clean manifest that is withdrawn
                self._table_road.land(1)
        await taking

    async def land(self, *, outputs: int = 1_000, rows: int = 1_000) -> None:
        """Let writes land and everybody who waits for them go on."""
        for _ in range(6):
            self._output_road.land(outputs)
            await asyncio.sleep(0)
            self._table_road.land(rows)
            await asyncio.sleep(0)

    def crash(self, rng: random.Random) -> None:
        """The worker dies with what is under way."""
        self._output_road.crash(rng.randint(0, len(self._output_road)))
        self._table_road.crash(rng.randint(0, len(self._table_road)))

    def refuse_outputs(self, error: Exception) -> None:
        """Kafka refuses every output under way."""
        self._output_road.refuse(error)

    def expected(self) -> dict[str, bytes]:
        """What a plain fold of the log leads to."""
        fold = CountingFold(3, IDENTITY)
        found = {}
        for offset in range(self.begin, len(self.records)):
            for outgoing in fold.apply(offset=offset, append_ms=0, value=self.records[offset]):
                intent = msgspec.json.decode(outgoing.value, type=Intent)
                found[intent.id] = intent.chain
        return found

    def flaws(self) -> dict[str, int]:
        """Outputs missing or other than the plain fold's."""
        expected = self.expected()
        seen = {intent.id for intent in self.outputs}
        return {
            "missing": len(expected.keys() - seen),
            "wrong": sum(expected.get(intent.id) != intent.chain for intent in self.outputs),
            "early": len(self.early),
        }

    # ------------------------------------------------------------------------------------------------------- ports

    async def send(self, outgoing: Outgoing) -> Awaitable[Any]:
        """An output goes on its way."""
        return self._output_road.send(outgoing)

    def read(self, key: str) -> bytes | None:
        """A row as it is durable."""
        return self.table.get(key)

    def write(self, key: str, value: bytes) -> Awaitable[Any]:
        """A row goes on its way."""
        return self._table_road.send((key, value))

    def show(self, view: View) -> None:
        """The counting fold has no views."""

    def acknowledge(self, message: Any) -> None:
        """Kafka commits what is acknowledged without a hole."""
        manifest = self.manifest
        if manifest is None or message >= manifest.next_offset:
            self.early.append(message)
        self.acknowledged.add(message)
        while self.committed in self.acknowledged:
            self.committed += 1

    async def log_range(self) -> tuple[int, int]:
        """How far the log reaches."""
        return self.begin, len(self.records) if self.end is None else self.end

    def owned(self) -> bool:
        """False when the test has given the partition to somebody else."""
        return self.ours

    async def seek(self, offset: int) -> None:
        """Somebody asks again."""
        self.seeks.append(offset)


class Life:
    """Drives workers through a world with faults drawn from a seed."""

    def __init__(self, world: World, seed: int, habits: Habits | None = None) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.habits = habits
        self.now_ms = 0
        self.runner = world.runner(habits)
        self.position = world.committed

    async def run(self, steps: int) -> None:
        """Live through *steps* random moments, then undisturbed to the end of the log."""
        for _ in range(steps):
            await self._moment()
        for _ in range(4 * len(self.world.records)):
            await self._pass(quiet=True)
            if self.runner.condition is Condition.STOPPED:
                return
            if self.position >= len(self.world.records):
                if self.runner.next_offset >= len(self.world.records):
                    break
                self.world.records.append(b"* tick")  # time passes in the log: a gap at its end is seen by the next
        await self.world.land()

    async def _moment(self) -> None:
        match self.rng.choices(("pass", "land", "crash", "stop", "late", "skip", "again"), (60, 25, 4, 2, 2, 4, 5))[0]:
            case "pass":
                await self._pass()
            case "land":
                await self.world.land(outputs=self.rng.randint(0, 3), rows=self.rng.randint(0, 3))
            case "crash":
                self._reborn()
            case "stop":
                await self._stop()
            case "late":
                await self._write_late()
            case "skip":
                self.position = min(self.position + self.rng.randint(1, 2), len(self.world.records))
            case "again":
                self.position = max(self.position - self.rng.randint(1, 4), self.world.begin)

    async def _pass(self, *, quiet: bool = False) -> None:
        """Deliver the next record; an answer to ``seek`` moves the position."""
        self.now_ms += 1_500 if quiet else self.rng.choice((0, 10, 400, 1_200))
        if self.position < len(self.world.records):
            await self.world.deliver(self.runner, self.position, now_ms=self.now_ms)
            self.position += 1
        if self.world.seeks:
            self.position = self.world.seeks.pop()
        if quiet:
            await self.world.land()

    async def _stop(self) -> None:
        """A normal stop, then another worker."""
        closing = asyncio.ensure_future(self.runner.close(now_ms=self.now_ms, record=None))
        while not closing.done():
            await self.world.land()
        await closing
        self._reborn()

    def _reborn(self) -> None:
        self.runner.forget()
        self.world.crash(self.rng)
        self.world.seeks.clear()
        self.runner = self.world.runner(self.habits)
        self.position = max(self.world.committed, self.world.begin)

    async def _write_late(self) -> None:
        """
        A frozen worker wakes up: it takes back one symbol's state, as it was at some earlier record.

        Then the partition is assigned anew.
        """
        manifest = self.world.manifest
        if manifest is None or not manifest.applied:
            return
        symbol = self.rng.choice(sorted(manifest.applied))
        past = self.rng.randint(0, manifest.applied[symbol][0])
        fold = CountingFold(3, IDENTITY)
        for offset in range(past + 1):
            fold.apply(offset=offset, append_ms=0, value=self.world.records[offset])
        if symbol in fold.applied():
            self.world.table[symbol] = fold.image(symbol)
        self._reborn()


def records(seed: int, count: int) -> list[bytes]:
    """A log of batches of lines."""
    rng = random.Random(seed)
    number = 0
    log = []
    for _ in range(count):
        batch = []
        for _ in range(rng.randint(1, 4)):
            number += 1
            batch.append(f"{rng.choice(SYMBOLS)} {number}".encode())
        log.append(b"\n".join(batch))
    return log


def live(seed: int, *, habits: Habits | None = None, steps: int = 150) -> World:
    """One disturbed life over a log of 60 records; returns the world at the end."""
    world = World(records(seed, 60))
    asyncio.run(Life(world, seed, habits).run(steps))
    return world
