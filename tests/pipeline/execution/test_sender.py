"""The road of one request: written ahead, repeated only when it was not executed, told until it is heard."""

from __future__ import annotations

import asyncio

from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    World,
    bracket,
    intent,
    moved,
    opened,
    scenario,
    started,
)


@scenario
async def test_kafka_away_keeps_entries_out_and_protection_going() -> None:
    """No journal: an entry is refused; a close and a stop move still go."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.journal.unavailable = True
    entry = intent(2, bracket(), symbol="ETHUSDT")
    executor.submit(entry)
    executor.submit(moved(3, record.id, 995_000))
    await asyncio.sleep(0.5)
    assert [FAR, ("b", 995_000, 10)] == world.venue.rails(BTC)
    world.journal.unavailable = False
    await executor.desk.idle()

    assert ["e:refused"] == world.outbox.verdicts(entry.id)
