"""A start: protect first, at the journal's levels and with the venue's quantities."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.binance.requests import AlgoOrder, RegularOrder
from pipeline.core.commands import ClosePosition
from pipeline.core.events import Side
from pipeline.core.units import Lots
from pipeline.wire.records import IntentSettled
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    World,
    bracket,
    intent,
    moved,
    opened,
    run_virtual,
    scenario,
    started,
)


@scenario
async def test_a_successor_of_a_killed_executor_waits_before_any_risk() -> None:
    """After a kill an entry within the old lease is refused; rails and closes are not held up."""
    world = World()
    first = await started(world)
    record = await opened(world, first)
    world.kill(first)
    second = await started(world)
    late = intent(2, bracket(), symbol="ETHUSDT")
    await second.submit(late)
    second.submit(moved(3, record.id, 995_000))
    await second.desk.idle()

    assert ["e:refused"] == world.outbox.verdicts(late.id)
    assert [FAR, ("b", 995_000, 10)] == world.venue.rails(BTC)


@scenario
async def test_missing_rails_are_placed_from_the_journal_before_anything_else() -> None:
    """A start finds a position without rails: it protects at the journalled levels from venue reads alone."""
    world = World()
    first = await started(world)
    record = await opened(world, first)
    first.submit(moved(2, record.id, 995_000))
    await first.desk.idle()
    world.kill(first)
    for algo in world.venue.algos.values():
        algo["algoStatus"] = "EXPIRED"
    second = await started(world)
    await second.desk.idle()

    assert [FAR, ("b", 995_000, 10)] == world.venue.rails(BTC)


@scenario
async def test_an_unknown_position_is_alerted_and_adopted() -> None:
    """A position the journal does not know: told to people, given a far stop, never closed silently (pains 10)."""
    world = World()
    world.venue.positions["SOLUSDT"] = 7
    await started(world)
    await asyncio.sleep(3)

    assert ["unknown_position", "position_adopted"] == [code for code, _ in world.outbox.alerts]
    assert ["a"] == [leg for leg, _, _ in world.venue.rails("SOLUSDT")]
    assert 7 == world.venue.positions["SOLUSDT"]


@scenario
async def test_a_close_of_a_position_not_opened_here_survives_its_executor() -> None:
    """Killed within the ladder: the successor takes the close up again from the journal."""
    world = World()
    world.venue.positions[BTC] = -7
    executor = await started(world)
    world.venue.fault = lambda r: "before" if isinstance(r, RegularOrder) else ""
    await executor.submit(intent(2, ClosePosition("abcdefg.09.0.tagg0", Side.SELL, Lots(-7), "X3")))
    world.kill(executor)
    world.venue.fault = lambda _: ""
    successor = await started(world)
    await successor.desk.idle()

    assert 0 == world.venue.positions[BTC]
    assert {} == successor.desk.positions


@pytest.mark.parametrize(("tick", "step"), [("0.01", "0.0001"), ("7", "0.004")])
def test_a_start_behind_a_change_of_the_grid_protects_at_the_same_prices(tick: str, step: str) -> None:
    """
    The journal counts in the ticks of before: the entry's own words tell them. What rests off the new grid, or is held
    in less than a lot, keeps no start from coming about.
    """

    async def run() -> None:
        world = World()
        executor = await started(world)
        world.venue.fault = lambda r: "lost" if isinstance(r, AlgoOrder) else ""
        executor.submit(intent(1, bracket(lots=10)))
        await asyncio.sleep(0.1)
        assert {BTC: 10} == world.venue.positions
        world.kill(executor)
        world.venue.fault = lambda _: ""
        world.venue.filters = world.venue.filters.replace('"tickSize":"0.10"', f'"tickSize":"{tick}"').replace(
            '"stepSize":"0.001"', f'"stepSize":"{step}"'
        )
        successor = await started(world)
        await asyncio.sleep(1)
        far, working = world.venue.rails(BTC)

        assert abs(far[1] - FAR[1]) <= 10 * float(tick)
        assert abs(working[1] - WORKING[1]) <= 10 * float(tick)
        assert working[2] in (8, 10)
        assert [] == world.faults
        assert 1 == len(successor.desk.positions)

    run_virtual(run())


@scenario
async def test_a_guarded_symbol_that_is_configured_no_longer_is_still_protected() -> None:
    """A new configuration without the symbol keeps no start from coming about: rails are placed, people are told."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    world.kill(executor)
    for algo in world.venue.algos.values():
        algo["algoStatus"] = "EXPIRED"
    successor = world.executor(symbols=("ETHUSDT",))
    await successor.start()
    await successor.desk.idle()

    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert "symbol_not_configured" in [code for code, _ in world.outbox.alerts]
    assert [] == world.faults


@scenario
async def test_a_guarded_symbol_that_the_venue_lists_no_longer_stops_no_start() -> None:
    """The position stays in the journal as it is; everything else is taken up."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.kill(executor)
    world.venue.listed = ("ETHUSDT",)
    successor = await started(world)
    await successor.desk.idle()

    assert {record.id} == set(successor.desk.index.positions)
    assert "symbol_unknown" in [code for code, _ in world.outbox.alerts]
    assert [] == world.faults


@scenario
async def test_a_position_of_somebody_else_gets_no_stops_of_an_entry_that_was_refused() -> None:
    """Killed between the refusal and its settling: what the venue shows on the symbol is not ours to close."""
    world = World()
    executor = await started(world)
    world.venue.fault = lambda r: "code -2019" if isinstance(r, RegularOrder) else ""
    executor.submit(intent(1, bracket()))
    await executor.desk.idle()
    world.kill(executor)
    world.journal.records = [record for record in world.journal.records if not isinstance(record, IntentSettled)]
    world.venue.positions[BTC] = 7
    successor = await started(world)
    await successor.desk.idle()

    assert [("a", 970_000, 0)] == world.venue.rails(BTC)  # adopted: not the levels of the refused bracket
    assert 7 == world.venue.positions[BTC]


@scenario
async def test_what_was_accepted_is_never_called_refused_by_a_later_start() -> None:
    """Killed before the move was settled; at the next start a newer move supersedes it: the old order was sent."""
    world = World()
    first = await started(world)
    record = await opened(world, first)
    first.submit(moved(2, record.id, 995_000))
    await first.desk.idle()
    world.kill(first)
    move = moved(2, record.id, 995_000)
    world.journal.records = [
        r for r in world.journal.records if not isinstance(r, IntentSettled) or r.intent != move.id
    ]
    second = await started(world)
    second.submit(moved(3, record.id, 996_000))
    await second.desk.idle()

    spoken = [o for _, o in world.outbox.outcomes if o.client_id == f"{move.id}-b1"]
    assert {"accepted", "cancelled"} == {outcome.verdict.value for outcome in spoken}
    assert [FAR, ("b", 996_000, 10)] == world.venue.rails(BTC)
