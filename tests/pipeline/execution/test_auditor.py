"""The auditor against a venue that lost stops, lied, or could not be read: it says so, and touches nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from pipeline.binance.requests import AlgoOrder, Read, Request
from tests.pipeline.execution.fakes import BTC, FAR, WORKING, FakeVenue, World, moved, opened, scenario, started


def codes(world: World) -> list[str]:
    return [code for code, _ in world.outbox.alerts if code.startswith("auditor")]


def audits(world: World) -> list[str]:
    return [symbol for symbol, answer in world.outbox.answers if answer.kind == "audit" and not answer.request]


def vanish(venue: FakeVenue) -> None:
    """The venue drops every stop and tells nobody (pains 2)."""
    for algo in venue.algos.values():
        algo["algoStatus"] = "EXPIRED"


@scenario
async def test_a_covered_position_is_proven_and_nothing_is_said() -> None:
    """Rails rest: reads at the start and after the change, no alert, no line."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    await asyncio.sleep(100)

    assert [] == codes(world) + audits(world)
    assert [FAR, WORKING] == world.venue.rails(BTC)


@scenario
async def test_stops_that_vanished_in_silence_are_found_at_the_cadence() -> None:
    """Our own books say covered, the venue shows nothing, twice: alert and a complete audit line within 70 s."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    await asyncio.sleep(30)
    vanish(world.venue)
    sent = len(world.venue.requests)
    await asyncio.sleep(70)
    text = next(text for code, text in world.outbox.alerts if code == "auditor_uncovered")

    assert "our own books say it is covered" in text
    assert BTC in audits(world)
    assert all(isinstance(request, Read) for request in world.venue.requests[sent:])


@scenario
async def test_stops_that_vanish_behind_a_move_are_found_within_seconds() -> None:
    """After each change of a stop the venue is asked."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    await asyncio.sleep(30)
    await executor.submit(moved(2, record.id, 995_000))
    vanish(world.venue)
    await asyncio.sleep(3)

    assert ["auditor_uncovered"] == codes(world)


@scenario
async def test_an_incomplete_read_proves_nothing() -> None:
    """Half of the venue cannot be read: no verdict, no alarm of a naked position; several in a row are said."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    await asyncio.sleep(30)
    send = world.venue.send

    async def refusing(request: Request, **more: Any) -> Any:
        answer = await send(request, **more)
        if isinstance(request, Read) and request.path.endswith("openAlgoOrders"):
            return msgspec.structs.replace(answer, body=b"{}")
        return answer

    world.venue.send = refusing  # type: ignore[method-assign]
    vanish(world.venue)
    await asyncio.sleep(200)

    assert ["auditor_blind"] == sorted(set(codes(world)))
    assert [] == audits(world)


@scenario
async def test_a_moment_without_cover_is_not_said() -> None:
    """The first read misses, the second shows the stop: on its way, not naked."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    await asyncio.sleep(30)
    send, missed = world.venue.send, 0

    async def missing(request: Request, **more: Any) -> Any:
        nonlocal missed
        answer = await send(request, **more)
        if isinstance(request, Read) and request.path.endswith("openAlgoOrders") and not missed:
            missed += 1
            return msgspec.structs.replace(answer, body=b"[]")
        return answer

    world.venue.send = missing  # type: ignore[method-assign]
    await asyncio.sleep(100)

    assert (1, []) == (missed, codes(world))


@scenario
async def test_a_position_of_somebody_else_is_audited_too() -> None:
    """Opened by hand and no stop can be placed: the auditor looks at the account, not at what we know."""
    world = World()
    world.venue.positions["SOLUSDT"] = 7
    world.venue.fault = lambda request: "code -4045" if isinstance(request, AlgoOrder) else ""
    await started(world)
    await asyncio.sleep(5)

    assert "auditor_uncovered" in codes(world)
    assert ["SOLUSDT"] == audits(world)


@scenario
async def test_without_positions_nothing_is_read() -> None:
    """Flat: one look at the start, then silence."""
    world = World()
    await started(world)
    await asyncio.sleep(1)
    before = len(world.venue.requests)
    await asyncio.sleep(590)
    paths = [request.path for request in world.venue.requests[before:] if isinstance(request, Read)]

    assert [] == [path for path in paths if "Algo" in path]
