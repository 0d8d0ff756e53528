"""The road of one request: written ahead, repeated only when it was not executed, told until it is heard."""

from __future__ import annotations

import asyncio

from pipeline.core.commands import RequestData
from pipeline.core.units import Milliseconds
from pipeline.wire.records import DataIntentRecord, IntentSettled
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    VirtualClock,
    World,
    bracket,
    intent,
    moved,
    opened,
    scenario,
    started,
)


@scenario
async def test_kafka_away_keeps_entries_out_and_protection_going() -> None:
    """No journal: an entry is refused; a close and a stop move still go."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.journal.unavailable = True
    entry = intent(2, bracket(), symbol="ETHUSDT")
    executor.submit(entry)
    executor.submit(moved(3, record.id, 995_000))
    await asyncio.sleep(0.5)
    assert [FAR, ("b", 995_000, 10)] == world.venue.rails(BTC)
    world.journal.unavailable = False
    await executor.desk.idle()

    assert ["e:refused"] == world.outbox.verdicts(entry.id)


@scenario
async def test_who_was_taken_over_neither_refuses_nor_settles_what_is_the_other_s() -> None:
    """An intent that reaches the old executor too late is the new one's: the old one's word would end it for decide."""
    world = World()
    old = await started(world)
    new = await started(world)
    assert old.lease.lost.is_set()
    entry = intent(1, bracket())
    old.submit(entry)
    await asyncio.sleep(0.2)
    assert ([], []) == (world.outbox.verdicts(entry.id), world.journal.of(IntentSettled))

    await asyncio.sleep(9)  # the predecessor's lease and recvWindow
    entry = intent(2, bracket())
    await new.submit(entry)
    await new.desk.idle()
    assert "e:accepted" in world.outbox.verdicts(entry.id)


@scenario
async def test_eighty_percent_of_the_days_budget_are_said_once() -> None:
    """The design document's alarm: one word a day, and exits go on."""
    world = World()
    executor = await started(world)
    executor.lanes.window.day_used = 8_000
    for _ in range(3):
        executor.submit_data(DataIntentRecord("d", BTC, Milliseconds(VirtualClock().now_ms()), RequestData("depth")))
        await executor.desk.idle()
        await asyncio.sleep(20)

    assert ["daily_budget"] == [code for code, _ in world.outbox.alerts]
    record = await opened(world, executor)
    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert record.id in executor.desk.positions


@scenario
async def test_a_ban_stops_everything_until_it_ends_and_then_protection_goes_first() -> None:
    """418 names its end: nothing is sent before it, not even a rail; the rails are the first requests after it."""
    world = World()
    executor = await started(world)
    until = VirtualClock().now_ms() + 30_000
    executor.lanes.stop_all(until)
    before = len(world.venue.requests)
    executor.submit_data(
        DataIntentRecord("d", BTC, Milliseconds(until), RequestData("depth", expires_ms=until + 9_000))
    )
    world.venue.positions[BTC] = 0
    record = intent(1, bracket(), at_ms=VirtualClock().now_ms())
    executor.submit(record)
    await asyncio.sleep(29)
    assert before == len(world.venue.requests)
    await executor.desk.idle()

    assert ["e:refused"] == world.outbox.verdicts(record.id)
    assert VirtualClock().now_ms() >= until


class PausedClock(VirtualClock):
    """A clock that jumps, as it does for a process that was stopped in between."""

    ahead = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead


@scenario
async def test_a_pause_behind_the_lease_check_makes_the_entry_too_old_for_the_venue() -> None:
    """The timestamp is taken no later than the lease is looked at: whatever pause follows, the venue is the fence."""
    world = World()
    executor = await started(world)
    clock = PausedClock()
    executor.desk.clock = world.venue.clock = clock
    check = executor.lease.receive_window

    def checked_then_paused(*, risk: bool) -> int | None:
        window = check(risk=risk)
        clock.ahead += 20_000
        return window

    executor.lease.receive_window = checked_then_paused  # type: ignore[method-assign]
    await executor.submit(intent(1, bracket()))
    await executor.desk.idle()

    assert {} == world.venue.positions
