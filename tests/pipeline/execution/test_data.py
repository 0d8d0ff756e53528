"""Data: one read serves many, and what cannot be served says so."""

from __future__ import annotations

from pipeline.core.commands import RequestData
from pipeline.core.units import Milliseconds
from pipeline.wire.records import DataIntentRecord
from tests.pipeline.execution.fakes import (
    BTC,
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
