"""A start reads the venue however badly it answers: what is open is protected as soon as one road to it does."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.binance.errors import ReadFailed
from pipeline.binance.requests import Read, Request
from pipeline.execution.first_reads import AGAIN_MS, PATIENCE_MS, SAID_AFTER, insist
from tests.pipeline.execution.fakes import BTC, FAR, WORKING, World, bereft, opened, run_virtual, scenario, started


def is_read(request: Request, *paths: str) -> bool:
    return isinstance(request, Read) and request.path.endswith(paths)


@pytest.mark.parametrize(
    ("action", "path", "within_ms"),
    [
        ("-1001", "positionRisk", 100),
        ("before", "positionRisk", 500),
        ("-1001", "openAlgoOrders", 600),
        ("-1001", "exchangeInfo", 600),
    ],
)
def test_a_start_protects_although_a_read_fails(action: str, path: str, within_ms: int) -> None:
    """
    positionRisk refused or unanswered for good: account has the quantities, too (virtual chaos, seeds 220 and 2420:
    five to seven seconds without cover). A book or the filters refused five times: asked again soon.
    """

    async def play() -> None:
        world = World()
        await bereft(world)
        left = 5 if path != "positionRisk" else 1_000

        def fault(request: Request) -> str:
            nonlocal left
            if is_read(request, path) and left:
                left -= 1
                return action
            return ""

        world.venue.fault = fault
        began = world.venue.clock.now_ms()
        start = asyncio.create_task(world.executor().start())
        while len(world.venue.rails(BTC)) < 2:
            await asyncio.sleep(0.005)
            assert world.venue.clock.now_ms() - began <= within_ms
        assert [FAR, WORKING] == world.venue.rails(BTC)
        world.venue.fault = lambda _: ""
        await start

    run_virtual(play())


@scenario
async def test_people_hear_of_a_venue_that_cannot_be_read() -> None:
    """Not of a single failure; and a start that was never answered places nothing."""
    world = World()
    first = await started(world)
    await opened(world, first)
    world.kill(first)
    world.venue.fault = lambda r: "-1001" if is_read(r, "positionRisk", "account") else ""
    start = asyncio.create_task(world.executor().start())
    await asyncio.sleep(2)

    assert ["start_not_read"] == [code for code, _ in world.outbox.alerts]
    world.venue.fault = lambda _: ""
    await start


@scenario
async def test_ways_take_turns_and_patience_grows() -> None:
    """Each way is asked in turn, first with little patience; what is said are the failures from the third on."""
    asked: list[tuple[str, int]] = []
    said: list[str] = []
    answers = len(PATIENCE_MS) * 2 + 1

    def way(name: str):  # type: ignore[no-untyped-def]
        async def ask(timeout_ms: int) -> str:
            asked.append((name, timeout_ms))
            if len(asked) < answers:
                raise ReadFailed("no", 0)
            return name

        return ask

    began = asyncio.get_running_loop().time()
    assert "a" == await insist((way("a"), way("b")), failing=said.append)
    passed_ms = (asyncio.get_running_loop().time() - began) * 1_000

    assert [(name, ms) for ms in PATIENCE_MS for name in "ab"] + [("a", PATIENCE_MS[-1])] == asked
    assert answers - SAID_AFTER == len(said)
    assert sum(AGAIN_MS[: answers - 1]) == round(passed_ms)
