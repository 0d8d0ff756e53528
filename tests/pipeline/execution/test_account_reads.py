"""Tests of the reads of the account: at start, when account asks (with the transfers), and again until it succeeded."""

from __future__ import annotations

import asyncio

import msgspec

from pipeline.core.commands import RequestData
from pipeline.core.units import Milliseconds
from pipeline.execution.account_reads import FIRST_AGAIN_S
from pipeline.wire.records import AccountRead, DataIntentRecord
from tests.pipeline.execution.fakes import VirtualClock, World, scenario, started


def asked(since_ms: int) -> DataIntentRecord:
    """Account wants a second reading."""
    request = RequestData("account", since_ms=Milliseconds(since_ms))
    return DataIntentRecord(f"read {since_ms}", "*", Milliseconds(VirtualClock().now_ms()), request)


def reads(world: World) -> list[AccountRead]:
    """What account was told."""
    return [record for record in world.outbox.records if isinstance(record, AccountRead)]


@scenario
async def test_an_asked_read_brings_the_transfers_of_the_day() -> None:
    """The wish of account is served with income since its baseline; two wishes at once are one read."""
    world = World()
    executor = await started(world)
    executor.submit_data(asked(86_400_000))
    executor.submit_data(asked(86_400_000))
    await executor.desk.idle()

    found = reads(world)[-1]
    assert (86_400_000, b"[]") == (found.since_ms, bytes(found.transfers))
    assert 1 == sum(read.since_ms == 86_400_000 for read in reads(world))


@scenario
async def test_the_first_read_comes_with_the_start() -> None:
    """Without a balance nothing may be entered, so it is read at once, without transfers."""
    world = World()
    await started(world)
    await asyncio.sleep(FIRST_AGAIN_S)

    assert msgspec.Raw(b"null") == reads(world)[0].transfers
