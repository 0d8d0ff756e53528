"""Cancels: "unknown order" is a question, not an answer."""

from __future__ import annotations

from typing import Any

from pipeline.binance.requests import CancelAlgo, Request
from pipeline.core.commands import Sweep
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    World,
    intent,
    moved,
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


@scenario
async def test_a_success_that_does_not_name_the_order_took_nothing_away() -> None:
    """In maintenance a 200 with another body was seen (venue sheet 5.3): the cancel goes again until it is told."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    execute = world.venue._execute
    odd: list[Request] = []

    def answered(request: Request) -> tuple[int, Any]:
        if isinstance(request, CancelAlgo) and not odd:
            odd.append(request)
            return 200, {}
        return execute(request)

    world.venue._execute = answered  # type: ignore[method-assign]
    executor.submit(moved(2, record.id, 991_000))
    await executor.desk.idle()

    assert 1 == len(odd)
    assert [FAR, ("b", 991_000, 10)] == world.venue.rails(BTC)
