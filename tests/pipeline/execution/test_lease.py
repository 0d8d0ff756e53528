"""The lease: one executor acts, a newer epoch ends the older, and no window outlives the lease."""

from __future__ import annotations

import asyncio

from pipeline.core.units import Milliseconds
from pipeline.execution.lease import CLOCK_ERROR_MS, LEASE_MS, LOOK_MS, RECEIVE_WINDOW_MS, Lease
from pipeline.wire.records import EpochEnded, EpochStarted, LeaseRenewed
from tests.pipeline.execution.fakes import FakeJournal, Killer, OpenJournal, VirtualClock, scenario


async def taken(topic: FakeJournal, name: str, *, predecessor_lease_ms: int = 0, known: int = 0) -> Lease:
    """A lease that took over."""
    journal: OpenJournal = topic.open(Killer())
    await journal.read(lambda _: None)
    lease = Lease(journal, VirtualClock(), executor=name)
    journal.follow(lease.seen)
    await lease.take(known_epoch=known, predecessor_lease_ms=predecessor_lease_ms)
    return lease


@scenario
async def test_the_first_executor_may_act_at_once() -> None:
    """Nobody was before: no wait, a whole receive window."""
    lease = await taken(FakeJournal(), "first")

    assert (1, 0, RECEIVE_WINDOW_MS) == (lease.epoch, lease.risk_wait_ms, lease.receive_window(risk=True))


@scenario
async def test_the_window_never_outlives_the_lease() -> None:
    """recvWindow is what is left of the lease at most; at its end risk may not go, reducing may."""
    lease = await taken(FakeJournal(), "first")
    await asyncio.sleep((LEASE_MS - 400) / 1_000)
    window = lease.receive_window(risk=True)
    assert window is not None
    assert window <= 400
    await asyncio.sleep(0.4)

    assert lease.receive_window(risk=True) is None
    assert RECEIVE_WINDOW_MS == lease.receive_window(risk=False)


@scenario
async def test_renewals_keep_it_and_do_not_flood_the_topic() -> None:
    """A minute of renewing: the lease is good all the time, with at most one record a second."""
    topic = FakeJournal()
    lease = await taken(topic, "first")
    renewing = asyncio.create_task(lease.renew())
    for _ in range(60):
        await asyncio.sleep(1)
        assert lease.receive_window(risk=True) == RECEIVE_WINDOW_MS
    renewing.cancel()

    assert len(topic.of(LeaseRenewed)) <= 60


@scenario
async def test_a_renewal_counts_from_before_it_was_sent_and_only_once_read_back() -> None:
    """A journal that does not answer lets the lease run out."""
    topic = FakeJournal()
    lease = await taken(topic, "first")
    topic.unavailable = True
    renewing = asyncio.create_task(lease.renew())
    await asyncio.sleep(LEASE_MS / 1_000)
    renewing.cancel()

    assert 0 == lease.left_ms


@scenario
async def test_a_newer_epoch_ends_the_older() -> None:
    """Who sees another's newer epoch has lost for good: not even reducing goes."""
    topic = FakeJournal()
    first = await taken(topic, "first")
    second = await taken(topic, "second", known=1, predecessor_lease_ms=LEASE_MS)

    assert first.lost.is_set()
    assert first.receive_window(risk=False) is None
    assert not second.lost.is_set()
    assert LEASE_MS + RECEIVE_WINDOW_MS + CLOCK_ERROR_MS == second.risk_wait_ms
    assert second.receive_window(risk=True) is None


@scenario
async def test_of_two_that_take_over_at_once_one_wins() -> None:
    """Both read epoch 0 and write epoch 1: the later one in the log sees it and tries higher, the other loses."""
    topic = FakeJournal()
    first, second = await asyncio.gather(taken(topic, "one"), taken(topic, "two"))

    assert [True, False] == sorted((first.lost.is_set(), second.lost.is_set()), reverse=True)
    winner = second if first.lost.is_set() else first
    assert 2 == winner.epoch == max(record.epoch for record in topic.of(EpochStarted))


@scenario
async def test_giving_up_is_written_once_and_only_by_who_has_it() -> None:
    """A clean end tells the successor; one that was superseded has nothing to give up."""
    topic = FakeJournal()
    first = await taken(topic, "first")
    second = await taken(topic, "second", known=1)
    await first.give_up()
    await second.give_up()

    assert [EpochEnded(epoch=2, executor="second", at_ms=Milliseconds(0))] == [
        EpochEnded(record.epoch, record.executor, Milliseconds(0)) for record in topic.of(EpochEnded)
    ]


class _SleepyClock(VirtualClock):
    """A machine clock that goes on while the process stands still."""

    slept_ms = 0

    def boot_ms(self) -> int:
        return super().boot_ms() + self.slept_ms


async def sleepy(topic: FakeJournal) -> tuple[Lease, _SleepyClock, OpenJournal]:
    """A lease whose process is about to be stopped."""
    journal: OpenJournal = topic.open(Killer())
    await journal.read(lambda _: None)
    clock = _SleepyClock()
    lease = Lease(journal, clock, executor="first")
    journal.follow(lease.seen)
    await lease.take(known_epoch=0, predecessor_lease_ms=0)
    await lease.awake()
    return lease, clock, journal


@scenario
async def test_who_slept_reads_the_log_before_it_acts_even_for_what_only_reduces() -> None:
    """Another took over while it was stopped: it finds out before its next request (virtual chaos, seed 3891)."""
    topic = FakeJournal()
    lease, clock, _ = await sleepy(topic)
    topic.followers.clear()  # stopped: nothing of the log is read …
    topic.write(EpochStarted(epoch=2, executor="second", lease_ms=LEASE_MS, at_ms=Milliseconds(0)))
    unread = topic.records[-1]
    topic.followers += [lambda record: lease.seen(unread), lease.seen]  # … until it wakes, in order
    clock.slept_ms = 7_000
    assert lease.receive_window(risk=False) is not None
    await lease.awake()

    assert lease.lost.is_set()
    assert lease.receive_window(risk=False) is None


@scenario
async def test_who_did_not_sleep_is_not_held_up() -> None:
    """No record, no wait."""
    topic = FakeJournal()
    lease, _, _ = await sleepy(topic)
    records = len(topic.records)
    await lease.awake()

    assert records == len(topic.records)


@scenario
async def test_a_log_that_is_away_holds_protection_up_for_a_moment_and_words_for_good() -> None:
    """Rule 6: what reduces goes after LOOK_MS, a word only once the log was read."""
    topic = FakeJournal()
    lease, clock, _ = await sleepy(topic)
    clock.slept_ms = 7_000
    topic.unavailable = True
    async with asyncio.timeout(LOOK_MS / 1_000 + 0.1):
        await lease.awake()
    words = asyncio.create_task(lease.awake(patient=True))
    await asyncio.sleep(5)
    assert not words.done()
    topic.unavailable = False
    async with asyncio.timeout(1):
        await words
