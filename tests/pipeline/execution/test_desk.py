"""The desk: order of work per leg, durability of intents, faults that end the process."""

from __future__ import annotations

import asyncio

import msgspec

from pipeline.core.events import Leg
from pipeline.wire.records import Attempted
from tests.pipeline.execution.fakes import BTC, FAR, WORKING, World, intent, moved, opened, scenario, started


@scenario
async def test_work_on_one_leg_is_serial_and_on_others_parallel() -> None:
    """The chain of a (symbol, leg) is first come, first served; other chains do not wait for it."""
    world = World()
    desk = world.executor().desk
    order: list[str] = []

    async def work(name: str, symbol: str, leg: Leg, seconds: float) -> None:
        async with desk.chain(symbol, leg):
            await asyncio.sleep(seconds)
            order.append(name)

    await asyncio.gather(
        work("first", BTC, Leg.FAR, 3),
        work("second", BTC, Leg.FAR, 1),
        work("other leg", BTC, Leg.WORKING, 2),
        work("other symbol", "ETHUSDT", Leg.FAR, 1),
    )

    assert ["other symbol", "other leg", "first", "second"] == order


@scenario
async def test_an_exception_that_leaves_a_task_is_a_fault() -> None:
    """Nothing is swallowed: what should not be is handed on, and the process ends."""
    world = World()
    desk = world.executor().desk

    async def wrong() -> None:
        raise AssertionError("promise broken")

    desk.spawn(wrong(), "wrong")
    await desk.idle()

    assert ["promise broken"] == [str(fault) for fault in world.faults]


@scenario
async def test_an_intent_is_durable_only_once_the_journal_holds_it() -> None:
    """The future of ``submit`` (the acknowledgement of the message) waits for the write-ahead."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.journal.unavailable = True
    move = moved(2, record.id, 995_000)
    future = executor.submit(move)
    await asyncio.sleep(5)
    assert not future.done()
    world.journal.unavailable = False
    await future

    assert move in [written.record for written in world.journal.of(Attempted)]


@scenario
async def test_the_same_word_is_not_said_over_and_over() -> None:
    """An alert of one code and symbol comes at most every ten seconds."""
    world = World()
    desk = world.executor().desk
    for _ in range(25):
        desk.alert("venue_limit", "warning", "text", BTC)
        await asyncio.sleep(1)
    desk.alert("venue_limit", "warning", "text", "ETHUSDT")
    await desk.idle()

    assert 4 == len(world.outbox.alerts)


@scenario
async def test_cover_is_one_far_rail_or_enough_working_stops() -> None:
    """One rail is enough; a doubtful one is none."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    position = executor.desk.positions[record.id]
    far, working = (position.live(leg)[0] for leg in (Leg.FAR, Leg.WORKING))
    far.doubtful = True
    assert position.covered
    working.lots -= 1
    assert not position.covered
    far.doubtful = False

    assert position.covered
    assert intent(1, record.intent).id == position.id


@scenario
async def test_a_change_of_the_tick_counts_a_guarded_position_anew() -> None:
    """Everything held in ticks and lots follows the filters in one step; the rails stay where they are."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    old = executor.desk.instruments[BTC]
    new = msgspec.structs.replace(old, tick_e8=old.tick_e8 // 10, step_e8=old.step_e8 // 10)
    executor.desk.know_instruments({BTC: new})
    position = executor.desk.positions[record.id]

    assert (100, 9_875_000, 9_900_000) == (
        position.filled,
        position.bracket.far_trigger,
        position.bracket.working_trigger,
    )
    assert [(9_875_000, 0), (9_900_000, 100)] == sorted((o.trigger, o.lots) for o in position.orders.values())
    assert position.plausible(9_900_000)
    assert not position.plausible(990_000)


@scenario
async def test_a_stop_counted_in_old_ticks_does_not_go_out() -> None:
    """Decide's word from before the change would be a tenth of the price: refused, the old stop stays."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    old = executor.desk.instruments[BTC]
    executor.desk.know_instruments({BTC: msgspec.structs.replace(old, tick_e8=old.tick_e8 // 10)})
    move = moved(2, record.id, 995_000)
    await executor.submit(move)
    await executor.desk.idle()

    assert ["b:refused"] == world.outbox.verdicts(move.id)
    assert [FAR, WORKING] == world.venue.rails(BTC)
