"""Limits that no topic may change outlive the process: entries a minute, the day's budget, stops that only tighten."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline.core.commands import MoveStop
from pipeline.core.events import Leg, Side
from pipeline.core.units import Lots, Ticks
from pipeline.execution.executor import Executor
from pipeline.wire.records import IntentRecord, LeaseRenewed
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    VirtualClock,
    World,
    bracket,
    intent,
    moved,
    opened,
    run_virtual,
    scenario,
    started,
)


def limited(world: World, entries: int) -> Executor:
    executor = world.executor()
    executor.desk.limits = msgspec.structs.replace(executor.desk.limits, entries_per_minute=entries)
    return executor


@pytest.mark.parametrize("kept", [False, True], ids=["from records", "from an image"])
def test_entries_of_the_last_minute_count_after_a_restart(kept: bool) -> None:
    """Two entries a minute: a restart between them does not give a third; a minute later it is free again."""

    async def play() -> None:
        world = World()
        first = limited(world, 2)
        await first.start()
        for number, symbol in ((1, "BTCUSDT"), (2, "ETHUSDT")):
            await first.submit(intent(number, bracket(), symbol=symbol))
        await first.desk.idle()
        if kept:
            await first.desk.journal.keep(first.desk.index.image())
        world.kill(first)
        second = limited(world, 2)
        await second.start()
        await asyncio.sleep(8)
        third = intent(3, bracket(), symbol="SOLUSDT")
        await second.submit(third)
        await second.desk.idle()
        assert ["e:refused"] == world.outbox.verdicts(third.id)
        assert "entries within a minute" in world.outbox.outcomes[-1][1].message

        await asyncio.sleep(60)
        fourth = intent(4, bracket(), symbol="SOLUSDT")
        await second.submit(fourth)
        await second.desk.idle()
        assert "e:accepted" in world.outbox.verdicts(fourth.id)

    run_virtual(play())


@pytest.mark.parametrize("kept", [False, True], ids=["from records", "from an image"])
def test_moves_of_the_last_minute_count_after_a_restart(kept: bool) -> None:
    """Two ratchet moves a minute: a restart between them does not give a third; a minute later it is free again."""

    async def play() -> None:
        world = World()
        first = await started(world)
        record = await opened(world, first)

        async def ratchet(executor: Executor, number: int) -> IntentRecord:
            executor.desk.limits = msgspec.structs.replace(executor.desk.limits, moves_per_minute=2)
            move = MoveStop(record.id, Leg.WORKING, Side.BUY, Ticks(990_000 + number), Lots(10), ratchet=True)
            asked = intent(number, move)
            await executor.submit(asked)
            await executor.desk.idle()
            return asked

        await ratchet(first, 2)
        await ratchet(first, 3)
        if kept:
            await first.desk.journal.keep(first.desk.index.image())
        world.kill(first)
        second = await started(world)
        fourth = await ratchet(second, 4)
        assert ["b:refused"] == world.outbox.verdicts(fourth.id)
        assert "stop moves within a minute" in world.outbox.outcomes[-1][1].message

        await asyncio.sleep(60)
        fifth = await ratchet(second, 5)
        assert ["b:accepted", "b:cancelled"] == world.outbox.verdicts(fifth.id)

    run_virtual(play())


@scenario
async def test_the_days_budget_goes_on_after_a_restart() -> None:
    """What a predecessor had used is used; renewals carry the figure."""
    world = World()
    first = await started(world)
    first.lanes.window.day_used = 4_321
    await asyncio.sleep(3)
    world.kill(first)
    second = await started(world)

    assert 4_321 <= second.lanes.window.day_used < 4_400
    assert {VirtualClock().now_ms() // 86_400_000} == {r.day for r in world.journal.of(LeaseRenewed) if r.day}


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("leg", [Leg.WORKING, Leg.FAR])
def test_a_stop_that_would_loosen_is_refused_whoever_writes_it(side: Side, leg: Leg) -> None:
    """A wish further from the price than what rests: refused with both figures, alerted, nothing is sent."""

    async def play() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor, side=side)
        before = world.venue.rails(BTC)
        trigger = next(row[1] for row in before if row[0] == leg.value) - side.sign
        wish = moved(2, record.id, trigger, leg=leg, lots=10 if leg is Leg.WORKING else 0)
        await executor.submit(wish)
        await executor.desk.idle()

        assert before == world.venue.rails(BTC)
        assert [f"{leg.value}:refused"] == world.outbox.verdicts(wish.id)
        assert world.outbox.outcomes[-1][1].message.startswith("looser: ")
        assert "stop_loosened" in [code for code, _ in world.outbox.alerts]

    run_virtual(play())


@scenario
async def test_the_same_level_with_another_quantity_is_no_loosening() -> None:
    """A resize at the same trigger goes through."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    await executor.submit(moved(2, record.id, WORKING[1], lots=7))
    await executor.desk.idle()

    assert [FAR, ("b", WORKING[1], 7)] == world.venue.rails(BTC)
