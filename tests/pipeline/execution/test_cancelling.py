"""Cancels: "unknown order" is a question, not an answer."""

from __future__ import annotations

from pipeline.core.commands import Sweep
from tests.pipeline.execution.fakes import (
    BTC,
    World,
    intent,
    opened,
    scenario,
    started,
)


@scenario
async def test_a_stop_that_went_off_is_told_as_gone_when_it_is_cancelled() -> None:
    """−2011 is asked about: a triggered stop is GONE, not cancelled."""
    world = World()
    world.stream = False
    executor = await started(world)
    record = await opened(world, executor)
    world.venue.trigger(f"{record.id}-b1")
    executor.submit(intent(2, Sweep(record.id)))
    await executor.desk.idle()

    assert ["a:cancelled", "b:gone"] == sorted(world.outbox.verdicts(intent(2, Sweep(record.id)).id))
    assert {} == world.venue.open_algos(BTC)
