"""Targets: the newest wish rests, a cancel comes before what it cancels."""

from __future__ import annotations

import pytest

from pipeline.binance.requests import RegularOrder, TimeInForce
from pipeline.core.commands import CancelLeg, PlaceTarget
from pipeline.core.events import Leg, Side
from pipeline.core.units import Lots, Ticks
from tests.pipeline.execution.fakes import World, intent, once, opened, run_virtual, scenario, started


@scenario
async def test_a_cancel_tombstones_a_target_that_was_not_sent() -> None:
    """A target asked for before its cancel never goes out after it."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    target = intent(2, PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(1_020_000), Lots(5)))
    executor.submit(target)
    executor.submit(intent(3, CancelLeg(record.id, Leg.TARGET)))
    await executor.desk.idle()

    assert ["t:refused"] == world.outbox.verdicts(target.id)
    assert [] == [order for order in world.venue.orders.values() if order["status"] == "NEW"]


@scenario
async def test_a_target_that_would_take_rests_as_good_till_cancel() -> None:
    """GTX is refused with −5022: it is told, and the same target goes again as GTC (domain 6.7)."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.venue.fault = lambda r: (
        "code -5022" if isinstance(r, RegularOrder) and r.time_in_force is TimeInForce.GTX else ""
    )
    target = intent(2, PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(1_020_000), Lots(5)))
    executor.submit(target)
    await executor.desk.idle()

    assert ["t:rejected", "t:accepted"] == world.outbox.verdicts(target.id)
    assert [f"{target.id}-t2"] == [c for c, order in world.venue.orders.items() if order["status"] == "NEW"]


@scenario
async def test_a_newer_target_takes_the_place_of_the_older() -> None:
    """One resting order per leg: the old one is cancelled before the new one is placed."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    for number, price in ((2, 1_020_000), (3, 1_021_000)):
        executor.submit(intent(number, PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(price), Lots(5))))
        await executor.desk.idle()

    assert ["102100"] == [order["price"] for order in world.venue.orders.values() if order["status"] == "NEW"]


@pytest.mark.parametrize("action", ["before", "after", "503"])
def test_a_target_in_doubt_rests_once(action: str) -> None:
    """A target waits for its doubt: found it rests, absent it goes again."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor)
        world.venue.fault = once(lambda r: isinstance(r, RegularOrder), action)
        executor.submit(intent(2, PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(1_020_000), Lots(5))))
        await executor.desk.idle()
        assert 1 == len([order for order in world.venue.orders.values() if order["status"] == "NEW"])

    run_virtual(run())
