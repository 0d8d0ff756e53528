"""
The only place where intents are taken in and given to whoever carries them out; start and end of an executor.

Life of an intent: ``submit`` → (known? late? within limits?) → governor → write-ahead in ``attempts`` → sign → send →
outcome → ``inputs`` and ``attempts`` → settled. The future that ``submit`` returns is done once the journal holds the
intent: only then may its message be acknowledged, so that none is lost whatever dies.

Start (architecture 2.4): read ``attempts`` wholly, take over by an epoch record, read the venue, protect, end doubts,
finish what was not settled; only then intents are taken in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, assert_never

import structlog

from pipeline.binance.errors import VenueFailure
from pipeline.core import identity, rate_limits
from pipeline.core.commands import (
    CancelLeg,
    ClosePosition,
    MoveStop,
    OpenBracket,
    PlaceTarget,
    ReducePosition,
    RequestData,
    Sweep,
)
from pipeline.core.events import Leg
from pipeline.core.identity import intent_of, leg_of
from pipeline.core.rate_limits import Budget, Lane, Window
from pipeline.core.units import Milliseconds
from pipeline.execution.adoption import Adopter
from pipeline.execution.auditor import Auditor
from pipeline.execution.cancelling import Canceller
from pipeline.execution.closing import Closer
from pipeline.execution.cover import Cover
from pipeline.execution.data import Data
from pipeline.execution.desk import Desk, Limits, WantedRail
from pipeline.execution.entries import Entries
from pipeline.execution.evidence import Sighting
from pipeline.execution.first_reads import PATIENCE_LARGE_MS, insist
from pipeline.execution.in_doubt import Doubts
from pipeline.execution.journal import digest
from pipeline.execution.lanes import Lanes
from pipeline.execution.lease import CLOCK_ERROR_MS, LEASE_MS, RECEIVE_WINDOW_MS, Lease
from pipeline.execution.ports import Clock, Journal, JournalUnavailable, Outbox, Venue
from pipeline.execution.rails import Rails
from pipeline.execution.recovery import Recovery
from pipeline.execution.sender import Purpose, Sender
from pipeline.execution.switch import Switch
from pipeline.execution.switch_watch import SwitchWatch
from pipeline.execution.targets import Targets
from pipeline.execution.user_stream import UserStream
from pipeline.wire.records import Attempted, AttemptRecord, DataIntentRecord, IntentRecord

log = structlog.get_logger(__name__)

CLOCK_EVERY_S: Final = 300.0
IMAGE_EVERY_S: Final = 300.0
LAST_WORDS_S: Final = 3.0
MOST_PIECES: Final = 100  # a stop of more pieces than this is no wish of decide: 200 conditional orders are allowed
MINUTE_MS: Final = 60_000
LANE_OF: Final = {
    OpenBracket: Lane.ENTRY,
    MoveStop: Lane.PROTECT,
    PlaceTarget: Lane.CLOSE,
    CancelLeg: Lane.CANCEL,
    ClosePosition: Lane.CLOSE,
    ReducePosition: Lane.CLOSE,
    Sweep: Lane.CANCEL,
}


class Executor:
    """
    One executor for one account; all calls from one event loop.

    *on_fault* is called with an exception that should not be (the process must end, architecture 3 point 7) and when
    another executor took over (``Superseded``), *on_taken* with the epoch once it is ours. Without *ws_url* it has no
    user stream of its own; *switch* is the switch file of this machine (tests have none).
    """

    def __init__(
        self,
        *,
        journal: Journal,
        venue: Venue,
        outbox: Outbox,
        clock: Clock,
        limits: Limits,
        symbols: tuple[str, ...],
        budget: Budget,
        name: str,
        ws_url: str = "",
        lease_ms: int = LEASE_MS,
        switch: Switch | None = None,
        on_taken: Callable[[int], None] = lambda _: None,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.lanes = Lanes(Window(budget), clock)
        self.lease = Lease(journal, clock, executor=name, lease_ms=lease_ms, switch=switch)
        self.desk = Desk(
            journal=journal,
            venue=venue,
            outbox=outbox,
            clock=clock,
            lanes=self.lanes,
            lease=self.lease,
            limits=limits,
            on_fault=on_fault,
        )
        self._on_fault = on_fault
        self._on_taken = on_taken
        self._sender = Sender(self.desk)
        self._doubts = Doubts(self.desk, self._sender)
        canceller = Canceller(self.desk, self._sender)
        self._closer = Closer(self.desk, self._sender, canceller, self._doubts)
        self._rails = Rails(self.desk, self._sender, canceller, self._doubts, self._closer.close_by_itself)
        self._entries = Entries(self.desk, self._sender, self._doubts, self._rails)
        self._targets = Targets(self.desk, self._sender, canceller, self._doubts)
        self.data = Data(self.desk, self._sender, symbols)
        self.user_stream = UserStream(self.desk, self._sender, ws_url) if ws_url else None
        self._loops: list[asyncio.Task[None]] = []
        self._adopter = Adopter(self.desk, self._sender, policy=limits.foreign_positions)
        self.desk.on_verdicts = self._judged
        self._recovery: Recovery | None = None
        self._valid_until_ms = 0
        self.desk.evidence.on_sighting = self._sighted
        self.desk.evidence.on_position = self._position_told
        self.desk.evidence.on_setting = self._entries.configured
        self.desk.on_bad_filters = self.data.doubt_filters
        self.desk.want_audit = self._want_audit

    # --------------------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Take over and protect; returns when intents may be submitted. Raises JournalUnavailable."""
        desk = self.desk
        contact = asyncio.get_running_loop().create_task(self._first_contact())
        self._loops.append(contact)
        for record in await desk.journal.read(desk.index.restore):
            desk.index.apply(record)
        desk.entries_ms = list(desk.index.entries_at.values())
        desk.moves_ms = list(desk.index.moves_at.values())
        rate_limits.resume_day(self.lanes.window, desk.clock.now_ms(), *desk.index.day)
        self.lease.usage = lambda: (self.lanes.window.day, self.lanes.window.day_used)
        predecessor_ms = desk.index.lease_ms
        desk.journal.follow(self._journalled)
        await self.lease.take(known_epoch=desk.index.epoch, predecessor_lease_ms=predecessor_ms)
        if self.lease.switch is not None:
            self._loop(SwitchWatch(desk, self.lease.switch).run(), "switch")
        self._on_taken(self.lease.epoch)
        self._loop(self.lease.renew(), "lease")
        self._loop(self.lease.beat(), "beat")
        self._loop(self._watch_lease(), "epoch")
        await contact
        await self.data.know(desk.index.symbols())
        self.data.announce_instruments()
        if self.user_stream is not None:
            self._loop(self.user_stream.run(), "user stream")
        self._recovery = Recovery(
            desk,
            self._sender,
            doubts=self._doubts,
            rails=self._rails,
            entries=self._entries,
            targets=self._targets,
            closer=self._closer,
        )
        wait_ms = predecessor_ms + RECEIVE_WINDOW_MS + CLOCK_ERROR_MS
        self._valid_until_ms = desk.clock.now_ms() + wait_ms
        await self._recovery.run(valid_until_ms=self._valid_until_ms)
        self._adopter.begin()
        self._loop(Auditor(desk, self._sender, self.user_stream).run(), "auditor")
        self._loop(self.data.keep_instruments(), "exchange info")
        self._loop(self.data.account.keep(), "account")
        self._loop(self._keep_clock(), "clock")
        self._loop(self._keep_journal(), "journal image")

    async def close(self) -> None:
        """Stop taking part: let what was said become durable, stop, tell a successor that it need not wait."""
        for task in self._loops:
            task.cancel()
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self.desk.idle()
        except TimeoutError:
            log.warning("closed_unfinished", tasks=len(self.desk.cancel_all()))
        self.die()
        try:
            await self.lease.give_up()
        except JournalUnavailable as error:
            log.warning("epoch_not_ended", error=str(error))

    def die(self) -> None:
        """End every task where it stands, as a killed process would (tests, and the end of ``close``)."""
        for task in self._loops:
            task.cancel()
        self.desk.cancel_all()

    def _loop(self, work: object, name: str) -> None:
        assert asyncio.iscoroutine(work)
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._loop_ended)
        self._loops.append(task)

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    async def _watch_lease(self) -> None:
        await self.lease.lost.wait()
        text = f"epoch {self.lease.epoch} was taken over by another executor; nothing more is sent"
        self.desk.alert("superseded", "critical", text)
        self._on_fault(Superseded(text))

    async def _first_contact(self) -> None:
        """Clock and filters: without them no request can be written. Tries until the venue answers."""

        def failing(text: str) -> None:
            self.desk.alert("venue_unreachable", "critical", f"the venue does not answer at start: {text}")

        def clock(timeout_ms: int) -> Awaitable[int]:
            return self.desk.venue.synchronise(timeout_ms=timeout_ms)

        def filters(timeout_ms: int) -> Awaitable[None]:
            return self.data.read_instruments(announce=False, lane=Lane.PROTECT, tries=1, timeout_ms=timeout_ms)

        await asyncio.gather(
            insist((clock,), failing=failing),
            insist((filters,), failing=failing, patience_ms=PATIENCE_LARGE_MS),
        )

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            try:
                await self.desk.venue.synchronise()
            except VenueFailure as error:
                log.warning("clock_not_read", error=str(error))

    async def _keep_journal(self) -> None:
        """An image of the index now and then: a start must not read a year of records before it protects."""
        while True:
            await asyncio.sleep(IMAGE_EVERY_S)
            await self.desk.journal.keep(self.desk.index.image(without=self.desk.unjournalled))

    # ------------------------------------------------------------------------------------------ intents

    def submit(self, record: IntentRecord) -> asyncio.Future[None]:
        """
        Take an intent in. The future is done when the journal holds it; a repeat of the same bytes changes nothing.

        The same id with other bytes is refused and alerted: ids name places of the log, so somebody forged one.
        """
        desk = self.desk
        if not identity.well_formed(record.id):  # no client id can be made of it, so it is no output of any line
            desk.alert("intent_forged", "critical", f"{record.id[:80]!r} is no id of an intent; refused", record.symbol)
            return _done()
        future = desk.awaited(record.id)
        known = desk.index.intents.get(record.id)
        if known is not None:
            if known not in ("", digest(record)):
                text = f"{record.id}: known with other bytes; refused"
                desk.alert("intent_forged", "critical", text, record.symbol)
            return future if future is not None else _done()
        desk.index.know(record.id, digest(record))
        desk.taken_ns[record.id] = time.time_ns()
        desk.unjournalled[record.id] = record
        desk.know_symbol(record.id, record.symbol)
        future = desk.durability(record.id)
        self._carry_out(record)
        return future

    def submit_data(self, record: DataIntentRecord) -> None:
        """Take a wish for data in; it is answered by a line, or shed with a reason."""
        self.data.submit(record)

    def _want_audit(self, symbol: str) -> None:
        """Decide hears what the venue shows of a symbol, although it did not ask."""
        now = Milliseconds(self.desk.clock.now_ms())
        self.data.submit(DataIntentRecord(f"unasked-{symbol}-{now}", symbol, now, RequestData("audit")))

    def _carry_out(self, record: IntentRecord) -> None:
        intent, desk = record.intent, self.desk
        if isinstance(intent, OpenBracket):
            desk.spawn(self._entries.open(record), f"entry {record.id}")
            return
        desk.know_symbol(intent.position, record.symbol)
        position = desk.positions.get(intent.position)
        if position is not None and position.symbol != record.symbol:
            self._refuse(record, f"invalid: {intent.position} is a position of {position.symbol}")
            return
        if position is None and isinstance(intent, ClosePosition):
            position = self._closer.let_go(record.symbol, intent.side)
        if position is None:
            if isinstance(intent, ClosePosition) and self._closer.may_close_stranger(record.symbol):
                position = self._closer.stranger(record, intent)
            elif isinstance(intent, Sweep) and record.symbol in desk.instruments:
                position = self._closer.remainder(record, intent.position)
            elif isinstance(intent, Sweep | CancelLeg):
                self._sender.settle(record.id, symbol=record.symbol, position=intent.position)
                return
            else:
                self._refuse(record, "unknown position")
                return
        match intent:
            case MoveStop():
                if intent.leg not in (Leg.FAR, Leg.WORKING) or (intent.leg is Leg.WORKING and intent.lots <= 0):
                    self._refuse(record, "invalid: a stop moves FAR, or WORKING with a quantity")
                elif intent.trigger <= 0 or intent.lots > MOST_PIECES * desk.instruments[record.symbol].max_market_lots:
                    self._refuse(record, "invalid: a stop with a positive price and a quantity that can be placed")
                elif intent.ratchet and not self._may_move():
                    most = desk.limits.moves_per_minute
                    self._refuse(record, f"limits: {most} stop moves within a minute; what rests covers")
                else:
                    wanted = WantedRail(record.id, intent.trigger, intent.lots, record)
                    self._rails.want(position, intent.leg, wanted)
            case PlaceTarget():
                if intent.leg not in (Leg.TARGET, Leg.LAST_TARGET) or (intent.leg is Leg.TARGET and intent.lots <= 0):
                    self._refuse(record, "invalid: a target is TARGET with a quantity, or LAST_TARGET")
                else:
                    self._targets.place(record, position)
            case CancelLeg():
                if intent.leg in (Leg.FAR, Leg.WORKING):
                    self._refuse(record, "invalid: a stop is moved or swept, never taken away")
                else:
                    self._targets.cancel(record, position)
            case ClosePosition():
                position.at_risk_e8 = intent.risk
                self._closer.start(position, intent=record.id, asked=True, reason=intent.reason)
            case ReducePosition():
                if not 0 < intent.slice_lots <= intent.lots:
                    self._refuse(record, "invalid: a part is a quantity, taken in slices of it")
                else:
                    self._closer.reduce(record, intent, position)
            case Sweep():
                desk.spawn(self._closer.sweep(record, position), f"sweep {record.id}")
            case _:
                assert_never(intent)

    def _may_move(self) -> bool:
        """Count one more ratchet move of the account, or say that the minute is full (domain 6.4)."""
        desk = self.desk
        now = desk.clock.now_ms()
        desk.moves_ms = [at for at in desk.moves_ms if at > now - MINUTE_MS]
        if len(desk.moves_ms) >= desk.limits.moves_per_minute:
            return False
        desk.moves_ms.append(now)
        return True

    def _refuse(self, record: IntentRecord, reason: str) -> None:
        intent = record.intent
        assert not isinstance(intent, OpenBracket)
        leg = Leg.CLOSE if isinstance(intent, ClosePosition | ReducePosition | Sweep) else intent.leg
        purpose = Purpose(
            intent=record.id,
            position=intent.position,
            symbol=record.symbol,
            leg=leg,
            lane=LANE_OF[type(intent)],
        )
        self._sender.refuse(purpose, reason)
        self._sender.settle(record.id, symbol=record.symbol, position=intent.position)

    # ----------------------------------------------------------------------------------------- evidence

    def _sighted(self, sighting: Sighting) -> None:
        self._adopter.sighted(sighting)
        self._entries.late(sighting)
        for position in self.desk.of_symbol(sighting.symbol):
            if sighting.ended:
                position.orders.pop(sighting.client_id, None)
            if intent_of(sighting.client_id) == position.id and leg_of(sighting.client_id) is Leg.ENTRY:
                self._entries.seen(sighting, position)

    def _judged(self, verdicts: tuple[Cover, ...]) -> None:
        self._adopter.judged(verdicts)
        self._closer.judged(verdicts)

    def _position_told(self, symbol: str, lots: int, event_ms: int) -> None:
        self._adopter.told(symbol, lots)
        self._closer.told(symbol, lots)
        for position in self.desk.of_symbol(symbol):
            signed = lots * position.side.sign
            if signed > position.filled and not position.entry_over and self._entries.may_speak_of(position, event_ms):
                self._entries.filled(position, signed)
            elif (
                lots == 0
                and position.entry_over
                and 0 < position.first_fill_ms < event_ms - self.desk.venue.server_ahead_ms
            ):
                position.flat = True

    def _journalled(self, record: AttemptRecord) -> None:
        """A record of the log: ours come back here too, another executor's are taken in."""
        self.lease.seen(record)
        self.desk.index.apply(record)
        if isinstance(record, Attempted) and record.action == "place" and record.epoch < self.lease.epoch:
            text = f"{record.client_id}: an attempt of epoch {record.epoch} behind epoch {self.lease.epoch}"
            self.desk.alert("void_attempt", "warning", text, record.symbol)
            if self._recovery is not None:
                work = self._recovery.stranger(record, valid_until_ms=self._valid_until_ms)
                self.desk.spawn(work, f"stranger {record.client_id}")


class Superseded(Exception):
    """Another executor took over: end the process without sending anything."""


def _done() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
