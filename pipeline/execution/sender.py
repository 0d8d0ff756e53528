"""
The only place where one request goes its whole road: governor → write-ahead → lease and timestamp → venue → outcome.

What comes back is said once to the journal and once to ``inputs`` (``conclude``). A request that provably was not
executed goes again as a new attempt with a new id; one that may have been executed never does here: its outcome is
IN_DOUBT and whoever asked decides what may go on (domain 6.7).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from pipeline.binance.errors import (
    Classified,
    NoAnswer,
    NotWritten,
    Reaction,
    ReadFailed,
    VenueFailure,
    classify,
    stop_until,
)
from pipeline.binance.requests import Cancellation, Placement, Read, Request
from pipeline.binance.rest import Answer
from pipeline.core import identity
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.instruments import Instrument
from pipeline.core.rate_limits import Cost, Lane
from pipeline.core.units import E8, Lots, Milliseconds, Ticks, parse_e8
from pipeline.execution.desk import Desk
from pipeline.execution.ports import JournalUnavailable, OutboxUnavailable
from pipeline.wire.records import Attempted, AttemptEnded, IntentSettled

log = structlog.get_logger(__name__)

# A close is given up soonest: another under a new id cannot flip, and while it waits nothing else ends the risk.
ANSWER_MS: Final = {Lane.PROTECT: 700, Lane.CLOSE: 400, Lane.CANCEL: 1_000, Lane.ENTRY: 2_000}
READ_MS: Final = 3_000
BACKOFF_MS: Final = (0, 50, 100, 200, 400, 800)
NOT_EXECUTED: Final = frozenset(
    {Reaction.NOT_EXECUTED, Reaction.STOP_ALL, Reaction.STOP_ORDERS, Reaction.RESYNC_CLOCK, Reaction.PAUSE}
)
READ_WINDOW_MS: Final = 5_000
NEVER_TOLD: Final = "NOT_EXECUTED"  # status of an attempt whose place another took: journalled, not told
RETELL_SECONDS: Final = 0.5


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is made; ``risk``: it may add to the position."""

    intent: str
    position: str
    symbol: str
    leg: Leg
    lane: Lane
    risk: bool = False
    trigger: int = 0
    lots: int = 0
    urgency: int = 0  # within its lane the smaller goes first


class Sent(msgspec.Struct, frozen=True):
    """How a placement ended; after ``valid_until_ms`` (our clock) the venue can no longer take it newly."""

    outcome: RequestEnded
    reaction: Reaction
    attempted: Attempted | None = None
    valid_until_ms: int = 0
    journalled_ns: int = 0
    written_ns: int = 0


class _OrderReply(msgspec.Struct):
    orderId: int = 0
    algoId: int = 0
    status: str = ""
    algoStatus: str = ""
    executedQty: str = "0"
    avgPrice: str = "0"
    updateTime: int = 0


_reply = msgspec.json.Decoder(_OrderReply)
Wanted = Callable[[], str]  # "" while the request is still wanted, else why not


class Sender:
    """The road to the venue, shared by everything that sends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._alarmed_day = -1

    # ------------------------------------------------------------------------------------------------- placing

    async def place(
        self, purpose: Purpose, build: Callable[[str], Placement], *, wanted: Wanted, most_tries: int = 0
    ) -> Sent:
        """
        Place until the answer is clear: accepted, rejected, refused (no longer wanted) or in doubt.

        *build* makes the request for a client id. The outcome is concluded; a doubt is told as IN_DOUBT and left open.
        With *most_tries* it is rejected, too, when it was not executed so often: the caller has another road.
        """
        tries = 0
        while True:
            ordinal = self._desk.index.next_ordinal(purpose.intent, purpose.leg)
            client_id = identity.client_id(intent=purpose.intent, leg=purpose.leg, attempt=ordinal)
            request = build(client_id)
            sent = await self._place_once(purpose, request, wanted=wanted)
            last = most_tries and tries + 1 >= most_tries
            if last or sent.reaction not in NOT_EXECUTED or sent.outcome.verdict is Verdict.REFUSED:
                self.conclude(sent.outcome, ended=sent.outcome.verdict is not Verdict.IN_DOUBT, sent=sent)
                return sent
            # Journalled only: decide hears of the attempt that takes its place, or of the refusal that ends it.
            self.conclude(msgspec.structs.replace(sent.outcome, status=NEVER_TOLD), tell=False)
            await self._recover(sent.reaction)
            await asyncio.sleep(BACKOFF_MS[min(tries, len(BACKOFF_MS) - 1)] / 1_000)
            tries += 1

    async def _place_once(self, purpose: Purpose, request: Placement, *, wanted: Wanted) -> Sent:
        cost = Cost(purpose.lane, request.weight, request.orders)
        await self._desk.lanes.admission(cost, urgency=purpose.urgency)
        try:
            reason = wanted()
            if reason:
                return self._refused(purpose, request.client_id, reason)
            attempted = self._attempted(purpose, request, action="place")
            try:
                await self._write_ahead(attempted, spill=not purpose.risk)
            except JournalUnavailable as error:
                if purpose.risk:
                    return self._refused(purpose, request.client_id, f"journal unavailable: {error}")
                self._desk.alert("journal_unavailable", "critical", f"{request.client_id}: {error}", purpose.symbol)
                self._journal_late(attempted)
            journalled_ns = time.time_ns()
            await self._desk.lease.awake()
            reason = wanted()  # the write-ahead took its time
            venue = self._desk.venue
            # Read before the lease is looked at: a pause behind this line makes the request too old for the venue.
            timestamp = self._desk.clock.now_ms() + venue.server_ahead_ms
            window = self._desk.lease.receive_window(risk=purpose.risk)
            if reason or window is None:
                return self._refused(purpose, request.client_id, reason or "no valid lease")
            classified, answer = await self._exchange(
                request, timestamp_ms=timestamp, window_ms=window, timeout_ms=ANSWER_MS[purpose.lane]
            )
        finally:
            self._desk.lanes.release(cost)
        if classified.reaction is Reaction.ACCEPTED and answer is not None and not _names(answer.body, request):
            # In maintenance a 200 with another body was seen (venue sheet 5.3): no proof that the order was taken.
            classified = Classified(Reaction.IN_DOUBT, 0, f"the answer does not name the order: {answer.body[:80]!r}")
        outcome = self._outcome(purpose, request.client_id, classified, answer)
        return Sent(
            outcome,
            classified.reaction,
            attempted,
            timestamp - venue.server_ahead_ms + window,
            journalled_ns,
            0 if answer is None else answer.written_ns,
        )

    def refuse(self, purpose: Purpose, reason: str) -> None:
        """
        Conclude an intent that is not sent, under the id its next attempt would have had: the first, unless an earlier
        start sent it already and only its settlement was missing.
        """
        ordinal = self._desk.index.next_ordinal(purpose.intent, purpose.leg)
        client_id = identity.client_id(intent=purpose.intent, leg=purpose.leg, attempt=ordinal)
        self.conclude(self._refused(purpose, client_id, reason).outcome)

    def _refused(self, purpose: Purpose, client_id: str, reason: str) -> Sent:
        outcome = RequestEnded(
            intent=purpose.intent,
            position=purpose.position,
            leg=purpose.leg,
            client_id=client_id,
            verdict=Verdict.REFUSED,
            trigger=Ticks(purpose.trigger),
            lots=Lots(purpose.lots),
            message=reason,
        )
        return Sent(outcome, Reaction.REJECTED)

    def _outcome(self, purpose: Purpose, client_id: str, classified: Classified, answer: Answer | None) -> RequestEnded:
        verdict = {Reaction.ACCEPTED: Verdict.ACCEPTED, Reaction.IN_DOUBT: Verdict.IN_DOUBT}.get(
            classified.reaction, Verdict.REJECTED
        )
        if classified.reaction is Reaction.ALREADY_EXISTS:  # −4116: an earlier attempt of this id lives (sheet 5.4)
            verdict = Verdict.IN_DOUBT
        outcome = RequestEnded(
            intent=purpose.intent,
            position=purpose.position,
            leg=purpose.leg,
            client_id=client_id,
            verdict=verdict,
            trigger=Ticks(purpose.trigger),
            lots=Lots(purpose.lots),
            code=classified.code,
            message=classified.message[:200],
        )
        if verdict is not Verdict.ACCEPTED or answer is None:
            return outcome
        outcome = with_reply(outcome, answer.body, self._desk.instruments[purpose.symbol])
        seen = self._desk.evidence.of(client_id, "order")
        if outcome.filled_lots and not outcome.average_price and seen is not None:
            # The reply says no price since 2026-06 (venue sheet 4.3); our own stream may have been faster.
            outcome = msgspec.structs.replace(outcome, average_price=E8(seen.average_e8))
        return outcome

    # ----------------------------------------------------------------------------------------------- cancelling

    async def cancel(self, purpose: Purpose, request: Cancellation) -> tuple[Classified, bytes]:
        """
        Cancel one order until the answer is clear; a cancel may be repeated, so doubt is answered by asking again.

        Returns the last answer; nothing is concluded (the caller knows what an unknown order means).
        """
        tries = 0
        while True:
            cost = Cost(Lane.CANCEL, request.weight, request.orders)
            await self._desk.lanes.admission(cost)
            try:
                if self._desk.lease.receive_window(risk=False) is None:
                    return Classified(Reaction.FATAL, 0, "another executor took over"), b""
                if not tries:
                    try:
                        await self._write_ahead(self._attempted(purpose, request, action="cancel"), spill=True)
                    except JournalUnavailable as error:
                        log.warning("journal_unavailable", client_id=request.client_id, error=str(error))
                await self._desk.lease.awake()
                if self._desk.lease.lost.is_set():
                    return Classified(Reaction.FATAL, 0, "another executor took over"), b""
                timestamp = self._desk.clock.now_ms() + self._desk.venue.server_ahead_ms
                classified, answer = await self._exchange(
                    request, timestamp_ms=timestamp, window_ms=READ_WINDOW_MS, timeout_ms=ANSWER_MS[Lane.CANCEL]
                )
            finally:
                self._desk.lanes.release(cost)
            if classified.reaction is Reaction.ACCEPTED and answer is not None and not _names(answer.body, request):
                # No proof that it is gone; asked again, the venue does not know it any more.
                classified = Classified(Reaction.IN_DOUBT, 0, f"not of this order: {answer.body[:80]!r}")
            if classified.reaction is not Reaction.IN_DOUBT and classified.reaction not in NOT_EXECUTED:
                return classified, b"" if answer is None else answer.body
            await self._recover(classified.reaction)
            await asyncio.sleep(BACKOFF_MS[min(tries + 1, len(BACKOFF_MS) - 1)] / 1_000)
            tries += 1

    # -------------------------------------------------------------------------------------------------- reading

    async def read(
        self, request: Read, lane: Lane, *, urgency: int = 0, tries: int = 3, timeout_ms: int = READ_MS
    ) -> bytes:
        """Read and return the body of a 200. Raises ReadFailed, with the venue's code as ``args[1]`` (0: none)."""
        last = Classified(Reaction.IN_DOUBT)
        for attempt in range(tries):
            cost = Cost(lane, request.weight)
            await self._desk.lanes.admission(cost, urgency=urgency)
            self._watch_budget()
            try:
                timestamp = self._desk.clock.now_ms() + self._desk.venue.server_ahead_ms
                last, answer = await self._exchange(
                    request, timestamp_ms=timestamp, window_ms=READ_WINDOW_MS, timeout_ms=timeout_ms
                )
            finally:
                self._desk.lanes.release(cost)
            if last.reaction is Reaction.ACCEPTED and answer is not None:
                return answer.body
            if last.reaction is not Reaction.IN_DOUBT and last.reaction not in NOT_EXECUTED:
                break
            await self._recover(last.reaction)
            if attempt + 1 < tries:
                await asyncio.sleep(BACKOFF_MS[min(attempt + 1, len(BACKOFF_MS) - 1)] / 1_000)
        raise ReadFailed(f"{request.path}: {last.code} {last.message}", last.code)

    def _watch_budget(self) -> None:
        """A word for people, once a day, at 80 % of the day's own budget (design document)."""
        window = self._desk.lanes.window
        if window.alarmed and window.day != self._alarmed_day:
            self._alarmed_day = window.day
            text = f"{window.day_used} of {window.budget.background_per_day} requests of the day's budget are used"
            self._desk.alert("daily_budget", "warning", text)

    async def _exchange(
        self, request: Request, *, timestamp_ms: int, window_ms: int, timeout_ms: int
    ) -> tuple[Classified, Answer | None]:
        """One send, with everything the answer says to the governor."""
        desk = self._desk
        try:
            answer = await desk.venue.send(
                request, timestamp_ms=timestamp_ms, receive_window_ms=window_ms, timeout_ms=timeout_ms
            )
        except NotWritten as error:
            return Classified(Reaction.NOT_EXECUTED, 0, str(error)), None
        except NoAnswer as error:
            return Classified(Reaction.IN_DOUBT, 0, str(error)), None
        desk.lanes.observe(answer.headers)
        classified = classify(answer.status, answer.body)
        if classified.reaction in (Reaction.STOP_ALL, Reaction.STOP_ORDERS):
            until = stop_until(
                now_ms=desk.clock.now_ms(),
                status=answer.status,
                message=classified.message,
                retry_after=answer.headers.get("retry-after"),
                server_ahead_ms=desk.venue.server_ahead_ms,
            )
            if classified.reaction is Reaction.STOP_ALL:
                desk.lanes.stop_all(until)
            else:
                desk.lanes.stop_orders(until)
            text = f"until {until}: {answer.status} {classified.code} {classified.message}"
            desk.alert("venue_limit", "critical" if answer.status == 418 else "warning", text)
        elif classified.reaction in (Reaction.FATAL, Reaction.BUG, Reaction.PAUSE):
            text = f"{request.method} {request.path}: {answer.status} {classified.code} {classified.message}"
            desk.alert("venue_refuses", "critical", text)
        elif classified.reaction is Reaction.BAD_FILTERS:
            desk.on_bad_filters()
        if not classified.known:
            desk.alert("unknown_code", "critical", f"{request.path}: {answer.status} {answer.body[:200]!r}")
        return classified, answer

    async def _recover(self, reaction: Reaction) -> None:
        """What must happen before a request that was not executed goes again."""
        if reaction is Reaction.RESYNC_CLOCK:
            try:
                await self._desk.venue.synchronise()
            except VenueFailure as error:
                log.warning("clock_not_read", error=str(error))

    # ------------------------------------------------------------------------------------------------ the record

    def _attempted(self, purpose: Purpose, request: Placement | Cancellation, *, action: str) -> Attempted:
        return Attempted(
            epoch=self._desk.lease.epoch,
            intent=purpose.intent,
            position=purpose.position,
            symbol=purpose.symbol,
            leg=purpose.leg,
            action=action,
            path=request.path.rpartition("/")[2],
            client_id=request.client_id,
            parameters=dict(request.parameters()),
            at_ms=Milliseconds(self._desk.clock.now_ms()),
            record=self._desk.unjournalled.get(purpose.intent),
        )

    async def _write_ahead(self, attempted: Attempted, *, spill: bool) -> None:
        await self._desk.journal.append(attempted, spill=spill)
        self._desk.index.apply(attempted)
        self._desk.durable(attempted.intent)

    def _journal_late(self, attempted: Attempted) -> None:
        """Protection does not wait for a journal that is away: the attempt is written as soon as it can be."""
        self._desk.index.apply(attempted)

        async def write() -> None:
            await self._persist(attempted)
            self._desk.durable(attempted.intent)

        self._desk.say(attempted.intent, write())

    def conclude(
        self, outcome: RequestEnded, *, ended: bool = True, tell: bool = True, sent: Sent | None = None
    ) -> None:
        """
        Journal the outcome (when it is an end) and tell decide, both until they are durable, without waiting.

        *sent* is the request it came from, for the stamps of the record.
        """
        symbol = self._desk.symbol_of(outcome)
        record = AttemptEnded(
            epoch=self._desk.lease.epoch,
            symbol=symbol,
            outcome=outcome,
            at_ms=Milliseconds(self._desk.clock.now_ms()),
            intent_read_ns=self._desk.taken_ns.get(outcome.intent, 0),
            journalled_ns=0 if sent is None else sent.journalled_ns,
            written_ns=0 if sent is None else sent.written_ns,
        )
        if ended:
            self._desk.index.apply(record)

        async def say() -> None:
            if outcome.verdict is Verdict.REFUSED and not await self._may_speak():
                return  # nothing was sent under this id here; the other may have sent under it
            if ended:
                await self._persist(record)
                self._desk.durable(outcome.intent)
            if tell:
                await self.tell(symbol, outcome)

        self._desk.say(outcome.intent, say())

    async def tell(self, symbol: str, outcome: RequestEnded) -> None:
        """Write the outcome line until it is acknowledged."""
        while True:
            try:
                await self._desk.outbox.outcome(symbol, outcome)
                return
            except OutboxUnavailable as error:
                log.warning("outcome_not_told", client_id=outcome.client_id, error=str(error))
                await asyncio.sleep(RETELL_SECONDS)

    def settle(self, intent: str, *, symbol: str, position: str = "", closed: bool = False) -> None:
        """Nothing more will be sent for the intent: journal it once everything said about it is durable."""
        self._desk.spawn(self._settle(intent, symbol=symbol, position=position, closed=closed), f"settle {intent}")

    async def _may_speak(self) -> bool:
        """False when another took over, maybe while this process slept: intents and attempts are the other's now."""
        await self._desk.lease.awake(patient=True)
        return not self._desk.lease.lost.is_set()

    async def _settle(self, intent: str, *, symbol: str, position: str, closed: bool) -> None:
        await self._desk.said(intent)
        if not await self._may_speak():
            return
        self._desk.taken_ns.pop(intent, None)
        record = IntentSettled(
            epoch=self._desk.lease.epoch,
            intent=intent,
            symbol=symbol,
            at_ms=Milliseconds(self._desk.clock.now_ms()),
            position=position,
            closed=closed,
        )
        await self._persist(record)
        self._desk.index.apply(record)
        self._desk.durable(intent)

    async def _persist(self, record: Attempted | AttemptEnded | IntentSettled) -> None:
        while True:
            try:
                await self._desk.journal.append(record, spill=True, patient=not isinstance(record, Attempted))
                return
            except JournalUnavailable as error:
                log.warning("journal_unavailable", error=str(error))
                await asyncio.sleep(RETELL_SECONDS)


def _names(body: bytes, request: Placement | Cancellation) -> bool:
    """True when the reply to a placement or a cancel is about that very order."""
    return f'"{request.client_id}"'.encode() in body


def with_reply(outcome: RequestEnded, body: bytes, instrument: Instrument) -> RequestEnded:
    """Add what an order reply (POST, GET or DELETE of either book) says about the order."""
    try:
        reply = _reply.decode(body)
        filled = instrument.whole_lots(reply.executedQty)
        average = parse_e8(reply.avgPrice) if reply.avgPrice else 0
    except (msgspec.DecodeError, ValueError):
        return outcome  # accepted all the same; evidence tells the rest
    return msgspec.structs.replace(
        outcome,
        order_id=reply.orderId or reply.algoId,
        status=reply.status or reply.algoStatus,
        filled_lots=Lots(filled),
        average_price=E8(average),
        venue_ms=Milliseconds(reply.updateTime),
    )
