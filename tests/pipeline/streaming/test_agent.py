"""An agent folds only what is its own now: nothing before the tables are recovered, nothing after a revocation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from faust import current_event
from faust.types import TP

from pipeline.settings import load
from pipeline.streaming.agent import GuardedAgent
from pipeline.streaming.app import make_app
from pipeline.streaming.runner import Condition, Habits
from pipeline.wire.records import Manifest, decode_alert
from pipeline.wire.topics import ALERTS, INPUTS, Topic
from tests.integration.counting import Counted, CountingFold

PARTITION = TP("test.inputs", 0)


class Rows:
    """A checkpoint table that is durable at once."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        """The row."""
        return self.rows.get(key)

    def write(self, key: str, value: bytes) -> asyncio.Future[None]:
        """Write it."""
        self.rows[key] = value
        return done()


class Written:
    """A producer whose records are acknowledged at once."""

    def __init__(self) -> None:
        self.records: list[tuple[Topic, bytes]] = []

    async def send(
        self, topic: Topic, *, value: bytes, key: bytes | None = None, partition: int | None = None
    ) -> asyncio.Future[None]:
        """As ``OutputProducer.send``."""
        self.records.append((topic, value))
        return done()


class Log:
    """A log of 1,000 records."""

    async def of(self, topic: str, partition: int) -> tuple[int, int]:
        """As ``LogRanges.of``."""
        return 0, 1_000


def done() -> asyncio.Future[None]:
    """An acknowledgement that is there."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


class Scene:
    """One agent on an app that never starts, driven by hand."""

    def __init__(self, directory: Path, habits: Habits | None = None) -> None:
        settings = load({"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(directory)})
        self.rows, self.written = Rows(), Written()
        self.acknowledged: list[int] = []
        self.agent = GuardedAgent(
            make_app(settings, "decide"),
            topic=INPUTS,
            checkpoints=self.rows,  # type: ignore[arg-type]  # plain fakes
            views={},
            producer=self.written,  # type: ignore[arg-type]
            ranges=Log(),  # type: ignore[arg-type]
            make_folding=CountingFold,
            log_identity=lambda: "LOG0001",
            tick=lambda *_: asyncio.sleep(0),
            tick_seconds=1.0,
            habits=habits,
        )

    async def assign(self) -> None:
        """Partition 0 is ours, and its tables are recovered."""
        await self.agent._on_assigned(None, {PARTITION})
        await self.agent._on_recovered()

    async def deliver(self, offset: int) -> None:
        """Faust hands over one record of partition 0."""
        message = SimpleNamespace(
            partition=0, offset=offset, timestamp=1.0, ack=lambda _: self.acknowledged.append(offset)
        )
        await self.agent._handle(SimpleNamespace(value=b"AUSDT %d" % offset, message=message))

    @property
    def applied(self) -> dict[str, Any]:
        """What the partition's fold in memory has applied."""
        runner = self.agent.runners.get(0)
        return {} if runner is None else dict(runner.folding.applied())


async def test_nothing_is_folded_before_the_tables_are_recovered(tmp_path: Path) -> None:
    """A record that arrives between assignment and recovery would be folded on old states."""
    scene = Scene(tmp_path)
    await scene.agent._on_assigned(None, {PARTITION})
    await scene.deliver(0)
    assert {} == scene.applied

    await scene.agent._on_recovered()
    await scene.deliver(0)
    assert {"AUSDT": (0, 0)} == scene.applied


async def test_buffered_record_of_a_revoked_partition_is_not_folded(tmp_path: Path) -> None:
    """What still stands in a buffer after a revocation is neither folded nor acknowledged."""
    scene = Scene(tmp_path)
    await scene.assign()
    await scene.deliver(0)
    await scene.agent._on_revoked(None, {PARTITION})
    await scene.deliver(1)

    assert ({}, []) == (scene.applied, scene.acknowledged)


async def go_on_elsewhere(scene: Scene) -> None:
    """The partition is revoked, folded to offset 99 by another worker, and comes back."""
    await scene.assign()
    await scene.deliver(0)
    await scene.agent._on_revoked(None, {PARTITION})
    scene.rows.rows["AUSDT"] = msgspec.msgpack.encode(Counted(applied=(99, 0), lines=100))
    scene.rows.rows["manifest"] = msgspec.json.encode(
        Manifest(log_identity="LOG0001", fold="counting-1", partition=0, next_offset=100, applied={"AUSDT": (99, 0)})
    )
    await scene.assign()


async def test_partition_that_comes_back_is_loaded_from_the_tables(tmp_path: Path) -> None:
    """Another worker has gone on with it: what was in memory is forgotten."""
    scene = Scene(tmp_path)
    await go_on_elsewhere(scene)
    await scene.deliver(1)
    assert {"AUSDT": (99, 0)} == scene.applied

    await scene.deliver(100)
    assert {"AUSDT": (100, 0)} == scene.applied


async def test_agent_that_does_not_forget_folds_on_old_states(tmp_path: Path) -> None:
    """Why point 5 is needed."""
    scene = Scene(tmp_path, Habits(forgets=False))
    await go_on_elsewhere(scene)
    await scene.deliver(1)

    assert {"AUSDT": (1, 0)} == scene.applied


async def test_refused_partition_is_alerted_once(tmp_path: Path) -> None:
    """A partition that must not be folded says so to people, once, and stays silent."""
    scene = Scene(tmp_path)
    scene.rows.rows["manifest"] = msgspec.json.encode(
        Manifest(log_identity="OTHER01", fold="counting-1", partition=0, next_offset=1, applied={})
    )
    await scene.assign()
    for offset in range(3):
        await scene.deliver(offset)
    alerts = [decode_alert(value) for topic, value in scene.written.records if topic is ALERTS]

    assert ["log_identity_changed"] == [alert.code for alert in alerts]
    assert Condition.STOPPED is scene.agent.runners[0].condition
    assert not scene.agent.folding


async def test_clean_stop_writes_a_clean_manifest(tmp_path: Path) -> None:
    """A normal stop leaves a manifest that another fold may go on from, and acknowledges what it covers."""
    scene = Scene(tmp_path)
    await scene.assign()
    for offset in range(3):
        await scene.deliver(offset)
    await scene.agent._close()
    manifest = msgspec.json.decode(scene.rows.rows["manifest"], type=Manifest)

    assert (True, 3) == (manifest.clean, manifest.next_offset)
    assert [0, 1, 2] == scene.acknowledged


@pytest.mark.parametrize("count", [1, 5])
async def test_nothing_is_acknowledged_before_a_round(tmp_path: Path, count: int) -> None:
    """Messages are acknowledged by hand, when a manifest covers them."""
    scene = Scene(tmp_path)
    await scene.assign()
    for offset in range(count):
        await scene.deliver(offset)

    assert [] == scene.acknowledged


class Stream:
    """What Faust hands over: groups of events that are at hand together."""

    def __init__(self, *groups: list[Any]) -> None:
        self._groups = [list(group) for group in groups]
        self.channel = SimpleNamespace(queue=SimpleNamespace(empty=lambda: not self._groups[0]))

    def noack(self) -> Stream:
        """As Faust's."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """One after the other; a new group comes when the one before was folded."""
        while self._groups:
            while self._groups[0]:
                yield self._groups[0].pop(0)
            self._groups.pop(0)
            await asyncio.sleep(0)


async def test_what_presses_is_folded_before_what_came_first(tmp_path: Path) -> None:
    """A record of an open position does not wait for records of other partitions that were fetched with it."""
    scene = Scene(tmp_path)
    folded: list[tuple[int, int, Any]] = []

    async def handle(event: Any) -> None:
        folded.append((event.message.partition, event.message.offset, current_event()))

    class Event:
        def __init__(self, partition: int, offset: int, value: bytes) -> None:
            self.message, self.value = SimpleNamespace(partition=partition, offset=offset), value

    scene.agent.runners[2] = SimpleNamespace(  # type: ignore[assignment]  # all that is asked of it
        folding=SimpleNamespace(presses=lambda value: b"held" in value)
    )
    scene.agent._handle = handle  # type: ignore[method-assign]
    events = [Event(1, 7, b"held"), Event(2, 3, b""), Event(1, 8, b""), Event(2, 4, b"held"), Event(2, 5, b"")]
    later = [Event(1, 9, b"")]
    await scene.agent._run(Stream(events, later))

    assert [(2, 3), (2, 4), (1, 7), (1, 8), (2, 5), (1, 9)] == [(partition, offset) for partition, offset, _ in folded]
    assert [(event.message.partition, event.message.offset) for *_, event in folded] == [row[:2] for row in folded]
