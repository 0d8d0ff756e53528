"""The close ladder and the sweep: until the venue says zero, and stops last."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.binance.requests import AlgoOrder, CancelAlgo, CancelRegular, Read, RegularOrder, Request
from pipeline.core.commands import ClosePosition, PlaceTarget, ReducePosition, Sweep
from pipeline.core.events import Leg, Side
from pipeline.core.units import Lots, Ticks
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    World,
    bracket,
    intent,
    moved,
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


@scenario
async def test_a_position_that_decide_let_go_of_is_closed_under_another_name() -> None:
    """A refused sweep tells decide what the venue shows; then a close under another name reaches the position."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    executor.submit(intent(2, ClosePosition("abcdefg.09.0.tagg0", Side.BUY, Lots(10), "by hand")))
    await executor.desk.idle()
    assert [FAR, WORKING] == world.venue.rails(BTC)  # a name from before never meets a position that is guarded
    assert 0 < world.venue.positions[BTC]
    executor.submit(intent(3, Sweep(record.id)))
    await executor.desk.idle()
    told = [(symbol, answer.kind) for symbol, answer in world.outbox.answers]
    close = intent(4, ClosePosition("abcdefg.010.0.tagg0", Side.BUY, Lots(10), "by hand"))
    executor.submit(close)
    await executor.desk.idle()

    assert (BTC, "audit") in told
    assert 0 == world.venue.positions[BTC]
    assert ["c:accepted"] == world.outbox.verdicts(close.id)
    executor.submit(intent(5, Sweep(record.id)))
    await executor.desk.idle()
    assert [] == world.venue.rails(BTC)


@scenario
async def test_a_position_that_was_not_opened_here_can_be_closed() -> None:
    """The ladder needs its side only; afterwards the symbol is free again."""
    world = World()
    world.venue.positions[BTC] = -7
    executor = await started(world)
    record = intent(2, ClosePosition("abcdefg.09.0.tagg0", Side.SELL, Lots(-7), "X3"))
    executor.submit(record)
    await executor.desk.idle()
    assert 0 == world.venue.positions[BTC]
    assert ["c:accepted"] == world.outbox.verdicts(record.id)
    assert {} == executor.desk.positions


@scenario
async def test_refused_market_closes_end_with_a_conditional_close_of_everything() -> None:
    """Four refusals: the venue is asked to close the position at its next tick of the mark price."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.venue.fault = lambda r: "code -4131" if isinstance(r, RegularOrder) and r.reduce_only else ""
    close = intent(2, ClosePosition(record.id, Side.BUY, Lots(10), "X15"))
    executor.submit(close)
    await asyncio.sleep(1)
    fallback = [
        client
        for client, algo in world.venue.open_algos(BTC).items()
        if algo["orderType"] == "TAKE_PROFIT_MARKET" and client.startswith(close.id)
    ]
    assert 1 == len(fallback)
    assert 1_000_010 - 9 == round(float(world.venue.algos[fallback[0]]["triggerPrice"]) * 10)
    world.venue.trigger(fallback[0])
    await executor.desk.idle()

    assert 0 == world.venue.positions[BTC]
    assert [FAR, WORKING] == world.venue.rails(BTC)


@pytest.mark.parametrize("obstacle", ["weight", "reads", "cancels"])
def test_a_close_waits_neither_for_weight_nor_for_reads_nor_for_a_target(obstacle: str) -> None:
    """
    An exhausted weight, reads that hang and a target that cannot be cancelled delay a market close by moments only: it
    costs no weight and cannot close too much.
    """

    async def run() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor)
        executor.submit(intent(2, PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(1_010_000), Lots(5))))
        await executor.desk.idle()
        if obstacle == "weight":
            executor.desk.lanes.observe({"x-mbx-used-weight-1m": "2400"})
        else:
            kind = Read if obstacle == "reads" else CancelRegular
            world.venue.fault = lambda r: "before" if isinstance(r, kind) else ""
        executor.submit(intent(3, ClosePosition(record.id, Side.BUY, Lots(10), "X1")))
        await asyncio.sleep(1)
        assert 0 == world.venue.positions[BTC]
        world.venue.fault = lambda _: ""
        await executor.desk.idle()
        assert [FAR, WORKING] == world.venue.rails(BTC)
        assert 1 == sum("-c" in client for client in world.venue.orders)

    run_virtual(run())


@scenario
async def test_reads_that_fail_are_no_proof_of_zero() -> None:
    """A position that was not opened here is closed although it can never be read."""
    world = World()
    world.venue.positions[BTC] = -7
    executor = await started(world)
    world.venue.fault = lambda r: "code -1000" if isinstance(r, Read) else ""
    executor.submit(intent(2, ClosePosition("abcdefg.09.0.tagg0", Side.SELL, Lots(-7), "X3")))
    await asyncio.sleep(10)
    assert 0 == world.venue.positions[BTC]
    world.venue.fault = lambda _: ""
    await executor.desk.idle()

    assert {} == executor.desk.positions


@pytest.mark.parametrize("killed", [False, True])
def test_orders_that_the_venue_had_forgotten_are_swept_when_they_come_up_again(killed: bool) -> None:
    """A later sweep of the same position takes them off, whoever else trades the symbol keeps what is his."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        first = await opened(world, executor)
        executor.submit(intent(2, ClosePosition(first.id, Side.BUY, Lots(10), "X15")))
        await executor.desk.idle()
        executor.submit(intent(3, Sweep(first.id)))
        await executor.desk.idle()
        second = await opened(world, executor, number=4)
        forgotten = world.venue.algos[f"{first.id}-b1"]
        foreign = forgotten | {"clientAlgoId": "web_1", "algoStatus": "NEW"}
        other_log = forgotten | {"clientAlgoId": "zzzzzzz.01.0.tagg0-b1", "algoStatus": "NEW"}
        forgotten["algoStatus"] = "NEW"
        world.venue.algos |= {"web_1": foreign, "zzzzzzz.01.0.tagg0-b1": other_log}
        if killed:
            world.venue.fault = lambda r: "before" if isinstance(r, CancelAlgo) else ""
            executor.submit(intent(5, Sweep(first.id)))
            await asyncio.sleep(1)
            world.kill(executor)
            world.venue.fault = lambda _: ""
            executor = await started(world)
        else:
            executor.submit(intent(5, Sweep(first.id)))
        await executor.desk.idle()
        kept = {"web_1", "zzzzzzz.01.0.tagg0-b1", f"{second.id}-a1", f"{second.id}-b1"}
        assert kept == set(world.venue.open_algos(BTC))
        assert [second.id] == list(executor.desk.positions)

    run_virtual(run())


@scenario
async def test_stops_without_an_owner_stay_while_the_venue_shows_a_position() -> None:
    """They may be all that guards it."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    executor.desk.positions.clear()
    executor.desk.index.positions.clear()
    executor.submit(intent(3, Sweep(record.id)))
    await executor.desk.idle()

    assert [FAR, WORKING] == world.venue.rails(BTC)


# -------------------------------------------------------------------------------------------------------- reduce


def taken(world: World) -> list[int]:
    """Lots of every market close that filled, in order."""
    return [round(float(o["executedQty"]) * 1_000) for o in world.venue.orders.values() if "-c" in o["clientOrderId"]]


@scenario
async def test_a_part_is_taken_in_slices_and_the_rails_stay() -> None:
    """Six of ten, two at a time with a pause between; nothing touches the stops, each slice is told."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    part = intent(2, ReducePosition(record.id, Side.BUY, Lots(6), Lots(2), "X11"))
    executor.submit(part)
    await executor.desk.idle()

    assert (4, [2, 2, 2]) == (world.venue.positions[BTC], taken(world))
    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert ["c:accepted"] * 3 == world.outbox.verdicts(part.id)


@scenario
async def test_a_crowded_budget_gives_way_to_a_part_once() -> None:
    """−4118: the resting target is cancelled and the slice goes out again."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    executor.submit(intent(2, PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(1_010_000), Lots(5))))
    await executor.desk.idle()
    world.venue.fault = once(lambda r: isinstance(r, RegularOrder) and r.reduce_only, "code -4118")
    executor.submit(intent(3, ReducePosition(record.id, Side.BUY, Lots(5), Lots(5), "X9")))
    await executor.desk.idle()

    assert 5 == world.venue.positions[BTC]
    assert [] == [o for o in world.venue.orders.values() if "-t" in o["clientOrderId"] and o["status"] == "NEW"]


@pytest.mark.parametrize("action", DOUBTS)
def test_a_part_in_doubt_ends_it_rather_than_taking_too_much(action: str) -> None:
    """A part too much cannot be taken back: after a doubt nothing more is sent, and it is told."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor)
        world.venue.fault = once(lambda r: isinstance(r, RegularOrder) and r.reduce_only, action)
        executor.submit(intent(2, ReducePosition(record.id, Side.BUY, Lots(4), Lots(2), "X11")))
        await executor.desk.idle()
        assert world.venue.positions[BTC] in (8, 10)
        assert "reduction_incomplete" in [code for code, _ in world.outbox.alerts]
        assert [FAR, WORKING] == world.venue.rails(BTC)

    run_virtual(run())


@scenario
async def test_a_close_of_everything_pre_empts_a_part_between_two_slices() -> None:
    """X3 comes while half is being taken: the close goes out at once, the rest of the part is refused."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    part = intent(2, ReducePosition(record.id, Side.BUY, Lots(6), Lots(1), "X11"))
    executor.submit(part)
    await asyncio.sleep(1.5)
    executor.submit(intent(3, ClosePosition(record.id, Side.BUY, Lots(8), "X3")))
    await executor.desk.idle()

    assert 0 == world.venue.positions[BTC]
    assert "c:refused" == world.outbox.verdicts(part.id)[-1]


@scenario
async def test_a_part_that_a_restart_interrupted_is_not_taken_again() -> None:
    """The successor cannot know how much was taken; decide still guards what is open."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    part = intent(2, ReducePosition(record.id, Side.BUY, Lots(6), Lots(1), "X11"))
    await executor.submit(part)
    await asyncio.sleep(1.5)
    executor.die()
    left = world.venue.positions[BTC]
    successor = await started(world)
    await successor.desk.idle()

    assert 0 < left < 10
    assert left == world.venue.positions[BTC]
    assert "c:refused" == world.outbox.verdicts(part.id)[-1]


@pytest.mark.parametrize("lots", [(0, 1), (3, 0), (2, 3)])
def test_a_part_without_sense_is_refused(lots: tuple[int, int]) -> None:
    """A part is a quantity above zero, taken in slices of it."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor)
        part = intent(2, ReducePosition(record.id, Side.BUY, Lots(lots[0]), Lots(lots[1]), "X11"))
        executor.submit(part)
        await executor.desk.idle()
        assert ["c:refused"] == world.outbox.verdicts(part.id)
        assert 10 == world.venue.positions[BTC]

    run_virtual(run())


@scenario
async def test_a_fallback_that_the_venue_does_not_execute_gives_way_to_the_market_again() -> None:
    """Three tries of the conditional close, then market orders again: the ladder hangs at no step."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    fallbacks: list[str] = []

    def fault(request: Request) -> str:
        if isinstance(request, AlgoOrder):
            fallbacks.append(request.client_id)
            return "-1001"
        return "code -4131" if isinstance(request, RegularOrder) and not fallbacks else ""

    world.venue.fault = fault
    close = intent(2, ClosePosition(record.id, Side.BUY, Lots(10), "X15"))
    executor.submit(close)
    await executor.desk.idle()

    assert (3, 0) == (len(fallbacks), world.venue.positions[BTC])
    assert 1 == len(set(world.outbox.verdicts(close.id)) & {"c:accepted"})


@pytest.mark.parametrize("told", [True, False], ids=["by the stream", "by the auditor"])
def test_what_decide_let_go_of_is_swept_once_the_venue_shows_it_flat(told: bool) -> None:
    """A refused sweep is tried again when the position ends after all: its far rail must not close the next one."""

    async def play() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor)
        executor.submit(intent(2, Sweep(record.id)))
        await executor.desk.idle()
        assert "sweep_refused" in [code for code, _ in world.outbox.alerts]
        await asyncio.sleep(200)
        assert [FAR, WORKING] == world.venue.rails(BTC)  # it is open: its stops stay
        if told:
            world.venue._fill(BTC, -world.venue.positions[BTC], "somebody")
        else:
            world.venue.positions[BTC] = 0
        await asyncio.sleep(3 if told else 140)

        assert [] == world.venue.rails(BTC)
        assert record.id not in executor.desk.positions

    run_virtual(play())


@scenario
async def test_a_stop_that_takes_effect_behind_its_sweep_is_cancelled() -> None:
    """A placement in doubt reaches the venue after position and stops are gone: it must not stay for the next one."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    lost: list[AlgoOrder] = []

    def fault(request: Request) -> str:
        if isinstance(request, AlgoOrder) and not lost:
            lost.append(request)
            return "before"
        return ""

    world.venue.fault = fault
    executor.submit(moved(2, record.id, 995_000))
    await asyncio.sleep(0.75)  # in doubt
    position = executor.desk.positions[record.id]
    executor.submit(intent(3, ClosePosition(record.id, Side.BUY, Lots(10), "X15")))
    await asyncio.sleep(0.1)
    executor.submit(intent(4, Sweep(record.id)))
    while not position.swept:  # noqa: ASYNC110 - a plain mark
        await asyncio.sleep(0.001)
    world.venue._execute(lost[0])
    assert [lost[0].client_id] == list(world.venue.open_algos(BTC))
    await executor.desk.idle()

    assert {} == world.venue.open_algos(BTC)
