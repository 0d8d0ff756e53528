"""Entries: late or beyond the limits is refused, doubt is never sent again, every fill is covered."""

from __future__ import annotations

import pytest

from pipeline.binance.requests import RegularOrder
from pipeline.core.commands import OpenBracket
from pipeline.core.events import Side
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.wire.records import IntentRecord
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    START_MS,
    WORKING,
    World,
    bracket,
    intent,
    is_entry,
    once,
    opened,
    run_virtual,
    scenario,
    started,
)

DOUBTS = ("before", "after", "503")


@scenario
async def test_a_partial_fill_arms_the_rails_with_what_was_filled() -> None:
    """LIMIT IOC filled in part: WORKING covers the filled quantity, not the wanted one."""
    world = World()
    world.venue.fill_share = 0.4
    executor = await started(world)
    await opened(world, executor)

    assert [FAR, ("b", 990_000, 4)] == world.venue.rails(BTC)


@scenario
async def test_an_entry_without_fill_leaves_nothing() -> None:
    """An entry the venue rejects: REJECTED is told, no rail is placed, the position is forgotten."""
    world = World()
    executor = await started(world)
    world.venue.fault = lambda request: "code -2019" if isinstance(request, RegularOrder) else ""
    record = await opened(world, executor)

    assert ["e:rejected"] == world.outbox.verdicts(record.id)
    assert [] == world.venue.rails(BTC)
    assert {} == executor.desk.positions == executor.desk.index.positions


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (intent(1, bracket(), at_ms=START_MS - 5_000), "stale"),
        (intent(1, bracket(), symbol="XRPUSDT", at_ms=START_MS), "limits"),
        (intent(1, bracket(lots=2_000), at_ms=START_MS), "limits: notional"),
        (
            intent(
                1,
                OpenBracket(Side.BUY, Lots(10), Ticks(1_000_000), Ticks(1_010_000), Ticks(990_000), Milliseconds(0)),
                at_ms=START_MS,
            ),
            "invalid: a stop on the wrong side",
        ),
        (
            intent(1, OpenBracket(Side.BUY, Lots(1), Ticks(10), Ticks(1), Ticks(2), Milliseconds(0)), at_ms=START_MS),
            "inv",
        ),
    ],
)
def test_an_entry_out_of_time_or_limits_is_refused_and_not_sent(record: IntentRecord, reason: str) -> None:
    """Late is refused, not acted on; and no topic can make the executor exceed its own limits."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        await executor.submit(record)
        await executor.desk.idle()
        (_, outcome), *_ = world.outbox.outcomes
        assert "refused" == outcome.verdict.value
        assert outcome.message.startswith(reason)
        assert [] == [request for request in world.venue.requests if isinstance(request, RegularOrder)]
        assert {} == executor.desk.positions

    run_virtual(run())


@scenario
async def test_a_second_position_of_a_symbol_is_refused() -> None:
    """One position per symbol: the executor holds it even if account and decide forgot."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    second = await opened(world, executor, 2)

    assert ["e:refused"] == world.outbox.verdicts(second.id)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("action", DOUBTS)
def test_an_entry_in_doubt_is_never_sent_again_and_protected_when_filled(action: str, stream: bool) -> None:
    """Timeout, cut or 503 "Unknown error", with and without the user stream: one entry at most, rails if it filled."""

    async def run() -> None:
        world = World()
        world.stream = stream
        executor = await started(world)
        world.venue.fault = once(is_entry, action)
        record = await opened(world, executor)
        entries = [request for request in world.venue.requests if is_entry(request)]
        assert 1 == len(entries)
        verdicts = world.outbox.verdicts(record.id)
        if action == "before":
            assert ["e:in_doubt", "e:absent"] == verdicts
            assert [] == world.venue.rails(BTC)
        else:
            assert [FAR, WORKING] == world.venue.rails(BTC)
            assert ["e:in_doubt", "e:accepted"] == [verdict for verdict in verdicts if verdict[0] == "e"]

    run_virtual(run())


@scenario
async def test_an_entry_that_fills_after_it_was_found_absent_is_guarded_all_the_same() -> None:
    """Evidence against evidence: the fill wins, the rails go out at once, and a successor finds them in the journal."""
    world = World()
    executor = await started(world)
    world.venue.fault = once(lambda r: isinstance(r, RegularOrder), "before")
    record = intent(1, bracket())
    executor.submit(record)
    await executor.desk.idle()
    assert ["e:in_doubt", "e:absent"] == world.outbox.verdicts(record.id)
    assert {} == executor.desk.index.positions
    order = {
        "symbol": BTC,
        "clientOrderId": f"{record.id}-e1",
        "status": "FILLED",
        "executedQty": "0.010",
        "orderId": 5,
    }
    world.venue.positions[BTC] = 10
    world.venue._tell_order(order)
    world.venue._tell_order(order)
    await executor.desk.idle()
    assert [FAR, WORKING] == world.venue.rails(BTC)
    world.kill(executor)
    for algo in world.venue.algos.values():
        algo["algoStatus"] = "EXPIRED"
    successor = await started(world)
    await successor.desk.idle()

    assert [FAR, WORKING] == world.venue.rails(BTC)
