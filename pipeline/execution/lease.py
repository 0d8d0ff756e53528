"""
The only place that says who may act: one executor by an epoch record in ``attempts``, with a lease.

Rules (architecture 2.4):

1. Who takes over writes ``EpochStarted`` with a higher epoch and reads it back; another's epoch before it: try higher.
2. A lease counts from *before* its record was sent, by a clock that runs while the machine sleeps, and only once the
   record was read back with no newer epoch before it.
3. Who sees another's newer epoch has lost: it sends nothing any more.
4. The new one waits the old lease, the receive window and the clock's error before anything risk-increasing; what only
   reduces may go at once. An ``EpochEnded`` of the old one makes the wait unnecessary.
5. The venue is the fence: a request's timestamp is taken at the lease check and its recvWindow is what is left of the
   lease at most, so that one written after a pause is refused (−1021).
6. Who slept (its loop stood still for longer than SLEPT_MS) sends nothing, not even what only reduces, before it has
   read the log up to a record of its own: another may have taken over meanwhile, and swept. A log that does not answer
   holds protection up for no longer than LOOK_MS.
7. Beside the log stands the switch file of this machine (``execution.switch``): while a kill holds it nothing is sent,
   and in another state than active nothing that can add to a position, until somebody resumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pipeline.core.events import TradingMode
from pipeline.core.units import Milliseconds
from pipeline.execution.ports import Clock, Journal, JournalUnavailable
from pipeline.execution.switch import Permission, Switch
from pipeline.wire.records import AttemptRecord, EpochEnded, EpochStarted, LeaseRenewed

LEASE_MS: Final = 6_000
RENEW_MS: Final = 1_500
RECEIVE_WINDOW_MS: Final = 1_000
CLOCK_ERROR_MS: Final = 500
BEAT_MS: Final = 250
SLEPT_MS: Final = 1_000
LOOK_MS: Final = 1_500
SHORTEST_WINDOW_MS: Final = 50  # less would be refused by the road alone


class Lease:
    """The right to act of one executor; ``epoch`` is 0 before ``take``."""

    def __init__(
        self, journal: Journal, clock: Clock, *, executor: str, lease_ms: int = LEASE_MS, switch: Switch | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._executor = executor
        self._lease_ms = lease_ms
        self.switch = switch
        self.usage: Callable[[], tuple[int, int]] = lambda: (0, 0)  # (day, used), told with each renewal
        self.epoch = 0
        self.lost = asyncio.Event()
        self._highest = 0
        self._sent_boot_ms: dict[int, int] = {}  # at_ms of our record → boot time before it was sent
        self._good_until_boot_ms = 0
        self._risk_from_boot_ms = 0
        self._seen_own = asyncio.Event()
        self._contested = False
        self._beat_boot_ms = 0
        self._sleeps = self._tried_sleeps = self._looked_sleeps = 0
        self._looking = asyncio.Lock()
        self._look_at_ms = 0
        self._looked = asyncio.Event()

    async def take(self, *, known_epoch: int, predecessor_lease_ms: int) -> None:
        """Take over; *predecessor_lease_ms* is 0 when the predecessor ended by itself or never was."""
        self._highest = max(self._highest, known_epoch)
        while True:
            self.epoch = self._highest + 1
            self._seen_own.clear()
            self._contested = False
            at_ms = self._stamp()
            await self._journal.append(
                EpochStarted(epoch=self.epoch, executor=self._executor, lease_ms=self._lease_ms, at_ms=at_ms)
            )
            await self._seen_own.wait()
            if not self._contested:
                break
        wait = predecessor_lease_ms + RECEIVE_WINDOW_MS + CLOCK_ERROR_MS if predecessor_lease_ms else 0
        self._risk_from_boot_ms = self._clock.boot_ms() + wait

    def seen(self, record: AttemptRecord) -> None:
        """Take one record of the log, in its order."""
        if isinstance(record, EpochStarted):
            if record.executor == self._executor and record.epoch == self.epoch:
                self._contested = self._highest >= record.epoch
                self._highest = max(self._highest, record.epoch)
                self._extend(record.at_ms)
                self._seen_own.set()
                return
            if self._seen_own.is_set() and not self._contested and record.epoch >= self.epoch:
                self.lost.set()
            self._highest = max(self._highest, record.epoch)
        elif isinstance(record, LeaseRenewed) and record.epoch == self.epoch and record.executor == self._executor:
            self._extend(record.at_ms)
            if record.at_ms == self._look_at_ms:
                self._looked.set()

    async def beat(self) -> None:
        """Notice that the process slept; for ever."""
        while True:
            self._beat()
            await asyncio.sleep(BEAT_MS / 1_000)

    def _beat(self) -> None:
        now = self._clock.boot_ms()
        if self._beat_boot_ms and now - self._beat_boot_ms > SLEPT_MS:
            self._sleeps += 1
        self._beat_boot_ms = now

    async def awake(self, *, patient: bool = False) -> None:
        """
        Return at once unless the process slept; then once the log was read up to now (rule 6).

        After LOOK_MS without the log it returns all the same, unless *patient*: words can wait, protection cannot.
        """
        self._beat()
        while (self._looked_sleeps if patient else self._tried_sleeps) < self._sleeps and not self.lost.is_set():
            async with self._looking:
                sleeps = self._sleeps
                if self._looked_sleeps < sleeps and not self.lost.is_set():
                    if await self._look():
                        self._looked_sleeps = sleeps
                    elif patient:
                        await asyncio.sleep(BEAT_MS / 1_000)
                self._tried_sleeps = sleeps
            self._beat()

    async def _look(self) -> bool:
        """Write a renewal and read it back: every record before it was seen then; False when the log is silent."""
        self._looked.clear()
        day, used = self.usage()
        self._look_at_ms = self._stamp()
        record = LeaseRenewed(
            epoch=self.epoch, executor=self._executor, at_ms=Milliseconds(self._look_at_ms), day=day, day_used=used
        )
        try:
            async with asyncio.timeout(LOOK_MS / 1_000):
                await self._journal.append(record)
                await self._looked.wait()
        except (JournalUnavailable, TimeoutError):
            return False  # protection does not wait for a log that is away (rule 4)
        return True

    async def renew(self) -> None:
        """Renew until lost; a renewal that fails is tried again, and the lease runs out meanwhile."""
        while not self.lost.is_set():
            await asyncio.sleep(RENEW_MS / 1_000)
            day, used = self.usage()
            record = LeaseRenewed(
                epoch=self.epoch, executor=self._executor, at_ms=self._stamp(), day=day, day_used=used
            )
            try:
                await self._journal.append(record)
            except JournalUnavailable:
                continue

    async def give_up(self) -> None:
        """Tell a successor that it need not wait; call when nothing more will be sent."""
        if self.epoch and not self.lost.is_set():
            await self._journal.append(
                EpochEnded(epoch=self.epoch, executor=self._executor, at_ms=Milliseconds(self._clock.now_ms()))
            )

    @property
    def left_ms(self) -> int:
        """What is left of the lease; 0 when lost or run out."""
        return 0 if self.lost.is_set() else max(0, self._good_until_boot_ms - self._clock.boot_ms())

    @property
    def risk_wait_ms(self) -> int:
        """How long until risk-increasing requests may go (rule 4)."""
        return max(0, self._risk_from_boot_ms - self._clock.boot_ms())

    def receive_window(self, *, risk: bool) -> int | None:
        """
        The recvWindow of a request whose timestamp is taken now; None: it must not go.

        Reducing requests go without a valid lease too (rule 4), but never after another took over.
        """
        if self.lost.is_set():
            return None
        if self.switch is not None and (permission := self.switch.permission()) is not Permission.ALL:
            return None if risk or permission is Permission.NOTHING else RECEIVE_WINDOW_MS
        if not risk:
            return RECEIVE_WINDOW_MS
        window = min(RECEIVE_WINDOW_MS, self.left_ms)
        return window if window >= SHORTEST_WINDOW_MS and not self.risk_wait_ms else None

    @property
    def switched_off(self) -> str:
        """Why the switch file lets no risk go, for people; "" when it does."""
        if self.switch is None or self.switch.permission() is Permission.ALL:
            return ""
        state = self.switch.state
        if state.mode is TradingMode.ACTIVE:
            return f"switch: held by {state.holder}"
        return f"switch: {state.mode.value} ({state.reason}); perpguard resume lifts it"

    def _stamp(self) -> Milliseconds:
        at_ms = self._clock.now_ms()
        while at_ms in self._sent_boot_ms:
            at_ms += 1
        self._sent_boot_ms[at_ms] = self._clock.boot_ms()
        if len(self._sent_boot_ms) > 100:
            del self._sent_boot_ms[next(iter(self._sent_boot_ms))]
        return Milliseconds(at_ms)

    def _extend(self, at_ms: int) -> None:
        sent = self._sent_boot_ms.pop(at_ms, None)
        if sent is not None:
            self._good_until_boot_ms = max(self._good_until_boot_ms, sent + self._lease_ms)
