"""The close ladder and the sweep: until the venue says zero, and stops last."""

from __future__ import annotations

import pytest

from pipeline.binance.requests import RegularOrder
from pipeline.core.commands import ClosePosition, Sweep
from pipeline.core.events import Side
from pipeline.core.units import Lots
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    World,
    bracket,
    intent,
    once,
    opened,
    run_virtual,
    scenario,
    started,
)

DOUBTS = ("before", "after", "503")


@pytest.mark.parametrize("action", DOUBTS)
def test_a_close_in_doubt_goes_on_under_a_new_id(action: str) -> None:
    """A full close never waits for its doubt, and reduce-only cannot flip: the position ends at zero."""

    async def run() -> None:
        world = World()
        world.stream = False
        executor = await started(world)
        record = await opened(world, executor)
        world.venue.fault = once(lambda r: isinstance(r, RegularOrder) and r.reduce_only, action)
        executor.submit(intent(2, ClosePosition(record.id, Side.BUY, Lots(10), "X15")))
        await executor.desk.idle()
        assert 0 == world.venue.positions[BTC]
        assert [FAR, WORKING] == world.venue.rails(BTC)

    run_virtual(run())


@scenario
async def test_a_large_close_goes_in_slices_and_a_crowded_budget_is_cleared() -> None:
    """Market orders stay within 0.9 × the lot maximum; −4118 clears the targets and goes on."""
    world = World()
    executor = await started(world)
    record = intent(1, bracket(lots=200))
    await executor.submit(record)
    await executor.desk.idle()
    assert [FAR, ("b", 990_000, 20), ("b", 990_000, 90), ("b", 990_000, 90)] == world.venue.rails(BTC)
    world.venue.fault = once(lambda r: isinstance(r, RegularOrder) and r.reduce_only, "code -4118")
    executor.submit(intent(2, ClosePosition(record.id, Side.BUY, Lots(200), "X15")))
    await executor.desk.idle()

    assert 0 == world.venue.positions[BTC]
    assert [90, 90, 20] == [
        round(float(o["executedQty"]) * 1_000) for o in world.venue.orders.values() if "-c" in o["clientOrderId"]
    ]


@scenario
async def test_a_sweep_leaves_the_stops_of_a_position_that_is_not_flat() -> None:
    """Absent counts only when the venue agrees: a sweep of an open position cancels no stop and says so."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    executor.submit(intent(2, Sweep(record.id)))
    await executor.desk.idle()

    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert "sweep_refused" in [code for code, _ in world.outbox.alerts]
