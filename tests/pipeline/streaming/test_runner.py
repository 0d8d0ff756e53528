"""A partition folds every record once and loses nothing, whatever dies, is skipped, repeated or written late."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.streaming.checkpoints import MANIFEST_KEY, ORDER_OF_DURABILITY, Step
from pipeline.streaming.runner import Condition, Habits, PartitionRunner
from tests.pipeline.streaming.world import World, live, records

PERFECT = {"missing": 0, "wrong": 0, "early": 0}


@settings(max_examples=150, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_nothing_is_missing_wrong_or_acknowledged_early(seed: int) -> None:
    """Crashes, skips, repeats and late writes of a frozen worker leave the outputs of a plain fold."""
    world = live(seed)

    assert PERFECT == world.flaws()
    assert [] == world.faults


MUTANTS = {
    "without the guard": Habits(guarded=False),
    "starting where Kafka delivers": Habits(guarded=False, manifest_first=False),
    "starting where Kafka delivers, guarded": Habits(manifest_first=False),
    "states before outputs": Habits(order=(Step.STATES, Step.MANIFEST, Step.CHANGELOG, Step.ACKNOWLEDGE, Step.OUTPUTS)),
    "acknowledged first": Habits(
        order=(Step.ACKNOWLEDGE, *(s for s in ORDER_OF_DURABILITY if s is not Step.ACKNOWLEDGE))
    ),
    "acknowledged before the changelog has it": Habits(
        order=(Step.OUTPUTS, Step.STATES, Step.MANIFEST, Step.ACKNOWLEDGE, Step.CHANGELOG)
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_point_is_needed(name: str) -> None:
    """A runner that leaves out one point of section 3 is caught by the same lives."""
    noticed = any(live(seed, habits=MUTANTS[name]).flaws() != PERFECT for seed in range(300))

    assert noticed, f"{name}: not noticed in 300 lives"


def fed(world: World, *, upto: int, now_ms: int = 0) -> tuple[World, int]:
    """Deliver records without any disturbance and write a clean manifest; returns the world and its next offset."""

    async def run() -> int:
        runner = world.runner()
        for offset in range(upto):
            await world.deliver(runner, offset, now_ms=now_ms + offset)
        closing = asyncio.ensure_future(runner.close(now_ms=now_ms + upto, record=None))
        while not closing.done():
            await world.land()
        await closing
        return runner.next_offset

    return world, asyncio.run(run())


def started(world: World, *, offset: int = 0) -> PartitionRunner:
    """A fresh runner after its first record."""

    async def run() -> PartitionRunner:
        runner = world.runner()
        await world.deliver(runner, offset, now_ms=0)
        await world.land()
        return runner

    return asyncio.run(run())


def with_manifest(world: World, **changes: object) -> World:
    """Change the durable manifest, as another log, fold or crash would have left it."""
    assert world.manifest is not None
    world.table[MANIFEST_KEY] = msgspec.json.encode(msgspec.structs.replace(world.manifest, **changes))
    return world


def test_clean_stop_covers_everything() -> None:
    """A normal stop writes a manifest that says clean, covers every record and every symbol, and acknowledges them."""
    world, next_offset = fed(World(records(1, 30)), upto=30)

    assert world.manifest is not None
    assert (True, 30, 30) == (world.manifest.clean, world.manifest.next_offset, next_offset)
    assert 30 == world.committed
    assert PERFECT == world.flaws()


def test_record_after_a_clean_stop_is_not_folded() -> None:
    """What still arrives after the clean manifest is left to the next worker."""

    async def run(world: World) -> int:
        runner = world.runner()
        await world.deliver(runner, 0, now_ms=0)
        closing = asyncio.ensure_future(runner.close(now_ms=1, record=None))
        while not closing.done():
            await world.land()
        await world.deliver(runner, 1, now_ms=2)
        return runner.next_offset

    assert 1 == asyncio.run(run(World(records(1, 30))))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"log_identity": "OTHER01"}, "log_identity_changed"),
        ({"next_offset": 31}, "log_truncated"),
        ({"fold": "counting-0", "clean": False}, "fold_changed_unclean"),
    ],
)
def test_manifest_of_another_log_or_fold_stops_the_partition(changes: dict[str, object], code: str) -> None:
    """A partition whose manifest does not fit the log, or whose old fold crashed, is refused: nothing is folded."""
    world, _ = fed(World(records(1, 30)), upto=30)
    before = len(world.outputs)
    runner = started(with_manifest(world, **changes))

    assert runner.refusal is not None
    assert (Condition.STOPPED, code) == (runner.condition, runner.refusal.code)
    assert before == len(world.outputs)


def test_clean_manifest_of_another_fold_is_taken_over() -> None:
    """An old fold that stopped cleanly left no output beyond its manifest: the new one goes on from it."""
    world, _ = fed(World(records(1, 30)), upto=20)

    assert Condition.RUNNING is started(with_manifest(world, fold="counting-0"), offset=20).condition


def test_clean_manifest_is_withdrawn_before_anything_is_folded() -> None:
    """Once a worker goes on from it, a crash leaves outputs beyond it: no other fold may take it over any more."""
    world, _ = fed(World(records(1, 30)), upto=20)
    before = len(world.outputs)
    started(with_manifest(world, fold="counting-0"), offset=19)

    assert world.manifest is not None
    assert ("counting-1", False, 20) == (world.manifest.fold, world.manifest.clean, world.manifest.next_offset)
    assert before == len(world.outputs)


def test_records_gone_from_the_log_are_a_declared_gap() -> None:
    """A manifest below the log's start is answered by a declared gap, not by asking for ever."""
    world, _ = fed(World(records(1, 30)), upto=10)
    world.begin = 15
    runner = started(world, offset=15)

    assert 16 == runner.next_offset
    assert ["gap.3.15.5"] == [intent.id for intent in world.outputs if intent.id.startswith("gap")]


def test_unreadable_state_stops_the_partition() -> None:
    """A state that this version cannot read is a reason to stop, not to begin anew."""
    world, _ = fed(World(records(1, 30)), upto=30)
    world.table["AUSDT"] = b"?"
    runner = started(world, offset=29)

    assert runner.refusal is not None and "state_unreadable" == runner.refusal.code


def test_lost_partition_writes_nothing_more() -> None:
    """A round under way when the partition is lost writes no state, no manifest and acknowledges nothing."""

    async def run(world: World) -> None:
        runner = world.runner()
        for offset in range(10):
            await world.deliver(runner, offset, now_ms=offset * 400)
        runner.forget()
        world.ours = False
        await world.land()

    world = World(records(1, 30))
    asyncio.run(run(world))

    assert ({}, 0) == (world.table, world.committed)


def test_failed_output_is_a_fault() -> None:
    """An output that Kafka refused ends the worker before any state is written behind it."""

    async def run(world: World) -> None:
        runner = world.runner()
        for offset in range(8):
            await world.deliver(runner, offset, now_ms=offset * 400)
        world.refuse_outputs(ConnectionError("gone"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    world = World(records(1, 30))
    asyncio.run(run(world))

    assert ["ConnectionError"] == [type(fault).__name__ for fault in world.faults]
    assert {} == world.table
