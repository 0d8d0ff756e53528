"""Data: one read serves many, and what cannot be served says so."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.binance.requests import AlgoOrder, Read
from pipeline.core.commands import RequestData
from pipeline.core.units import Milliseconds
from pipeline.wire.records import DataIntentRecord
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    VirtualClock,
    World,
    moved,
    opened,
    run_virtual,
    scenario,
    started,
)


@scenario
async def test_one_audit_serves_everybody_who_asked() -> None:
    """Audits are bulk reads and coalesced: three requests for any number of symbols, answered to each."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    before = len(world.venue.requests)
    for symbol in ("ETHUSDT", "SOLUSDT"):
        executor.submit_data(
            DataIntentRecord(f"audit {symbol}", symbol, Milliseconds(VirtualClock().now_ms()), RequestData("audit"))
        )
    await executor.desk.idle()
    audits = [(symbol, answer.request) for symbol, answer in world.outbox.answers if answer.kind == "audit"]

    assert 3 == len(world.venue.requests) - before
    assert [(BTC, ""), ("ETHUSDT", "audit ETHUSDT"), ("SOLUSDT", "audit SOLUSDT")] == sorted(audits)


@scenario
async def test_one_odd_contract_or_limit_keeps_no_start_from_coming_about() -> None:
    """Filters that cannot be read are alerted and leave the other symbols guarded; a limit of nothing is no limit."""
    world = World()
    world.venue.odd = "SOLUSDT"
    world.venue.rate_limits = (
        '{"rateLimitType":"ORDERS","interval":"MINUTE","intervalNum":1,"limit":0},'
        '{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000}'
    )
    executor = await started(world)
    await opened(world, executor)
    budget = executor.lanes.window.budget

    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert ["instrument_unreadable"] == [code for code, _ in world.outbox.alerts]
    assert (6_000, 1_200) == (budget.weight_per_minute, budget.orders_per_minute)


@pytest.mark.parametrize("code", [-1111, -4014, -4023])
def test_a_refusal_by_the_filters_makes_them_be_read_again(code: int) -> None:
    """The tick changed and nobody said so: one refusal, one read, and the next stop goes out on the new grid."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        record = await opened(world, executor)
        await asyncio.sleep(10)
        world.venue.filters = world.venue.filters.replace('"tickSize":"0.10"', '"tickSize":"0.01"')
        world.venue.fault = lambda r: f"code {code}" if isinstance(r, AlgoOrder) else ""
        before = len(world.venue.requests)
        for number in (2, 3, 4):
            executor.submit(moved(number, record.id, 991_000 + 1_000 * number))
            await executor.desk.idle()
        reads = [r for r in world.venue.requests[before:] if isinstance(r, Read) and r.path.endswith("exchangeInfo")]
        assert 1 == len(reads)
        world.venue.fault = lambda _: ""
        executor.submit(moved(5, record.id, 9_960_000))
        await executor.desk.idle()
        assert [FAR, ("b", 996_000, 10)] == world.venue.rails(BTC)

    run_virtual(run())


@scenario
async def test_from_eighty_percent_of_the_day_on_open_interest_is_polled_half_as_often() -> None:
    """Of symbols that nobody holds; a held one is polled as ever, and the first poll of a symbol is never refused."""
    world = World()
    executor = await started(world)
    await opened(world, executor)

    async def poll(symbol: str, *, held: bool = False) -> bool:
        clock = VirtualClock()
        request = RequestData("open_interest", held=held, expires_ms=Milliseconds(clock.now_ms() + 10_000))
        executor.submit_data(DataIntentRecord(f"oi {clock.now_ms()}", symbol, Milliseconds(clock.now_ms()), request))
        await executor.desk.idle()
        return not world.outbox.answers[-1][1].error

    assert [True, True] == [await poll("ETHUSDT"), await poll("ETHUSDT")]
    executor.lanes.window.day_used = 8_000
    assert [False, True, True] == [await poll("ETHUSDT"), await poll("SOLUSDT"), await poll("ETHUSDT", held=True)]
    found = []
    for seconds in (600, 75, 150, 300):  # as decide asks: its own pace, then doubling from 75 s
        await asyncio.sleep(seconds)
        executor.lanes.window.day_used = max(8_000, executor.lanes.window.day_used)
        found.append(await poll("SOLUSDT"))
    assert [False, False, False, True] == found


@scenario
async def test_more_requests_than_the_steady_state_has_delay_polls_of_what_nobody_holds() -> None:
    """The cadence follows the budget of all lanes: refused while ten minutes held 100 requests, held ones never."""
    world = World()
    executor = await started(world)
    clock = VirtualClock()

    async def poll(*, held: bool = False) -> bool:
        request = RequestData("open_interest", held=held, expires_ms=Milliseconds(clock.now_ms() + 10_000))
        executor.submit_data(DataIntentRecord(f"oi {clock.now_ms()}", "ETHUSDT", Milliseconds(clock.now_ms()), request))
        await executor.desk.idle()
        return not world.outbox.answers[-1][1].error

    assert await poll()
    await asyncio.sleep(600)
    executor.lanes.window.lately.add(clock.now_ms(), 100)
    assert [False, True] == [await poll(), await poll(held=True)]
    await asyncio.sleep(600)
    assert await poll()
