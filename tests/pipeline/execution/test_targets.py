"""Targets: the newest wish rests, a cancel comes before what it cancels."""

from __future__ import annotations

from pipeline.core.commands import CancelLeg, PlaceTarget
from pipeline.core.events import Leg, Side
from pipeline.core.units import Lots, Ticks
from tests.pipeline.execution.fakes import (
    World,
    intent,
    opened,
    scenario,
    started,
)


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
