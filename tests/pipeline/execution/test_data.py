"""Data: one read serves many, and what cannot be served says so."""

from __future__ import annotations

from pipeline.core.commands import RequestData
from pipeline.core.units import Milliseconds
from pipeline.wire.records import DataIntentRecord
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    VirtualClock,
    World,
    opened,
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
