"""
The only place that takes up where an executor stopped: protect first, then end the doubts, then finish the intents.

Levels come from the journal, quantities from the venue (pains 10: the exchange wins on quantity, the journal on
meaning). Nothing here waits for a table, a fold or another process.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from pipeline.binance.errors import ReadFailed
from pipeline.core import identity
from pipeline.core.commands import CancelLeg, ClosePosition, MoveStop, OpenBracket, PlaceTarget, ReducePosition, Sweep
from pipeline.core.events import Leg, Verdict
from pipeline.core.rescale import Grid
from pipeline.core.units import Lots, Ticks, parse_e8
from pipeline.execution.closing import Closer
from pipeline.execution.desk import Desk, Guarded, LiveOrder, WantedRail, bracket_on
from pipeline.execution.entries import Entries
from pipeline.execution.evidence import Sighting
from pipeline.execution.first_reads import Reads, read_venue
from pipeline.execution.in_doubt import Doubts, read_positions
from pipeline.execution.journal import Placed, PositionJournal
from pipeline.execution.rails import Rails
from pipeline.execution.sender import NEVER_TOLD, Sender
from pipeline.execution.targets import Targets
from pipeline.wire.records import Attempted, IntentRecord

log = structlog.get_logger(__name__)

READ_AGAIN_S: Final = 0.5
SECOND_READ_S: Final = 1.0
RAILS: Final = (Leg.FAR, Leg.WORKING)


class Recovery:
    """One start of an executor; *valid_until_ms*: what a predecessor sent can no longer be taken after it."""

    def __init__(
        self,
        desk: Desk,
        sender: Sender,
        *,
        doubts: Doubts,
        rails: Rails,
        entries: Entries,
        targets: Targets,
        closer: Closer,
    ) -> None:
        self._desk, self._sender = desk, sender
        self._doubts, self._rails, self._entries = doubts, rails, entries
        self._targets, self._closer = targets, closer

    async def run(self, *, valid_until_ms: int) -> None:
        """Protect what is open, then spawn the rest: doubts, outcomes nobody may have heard, intents not settled."""
        unsettled = dict(self._desk.index.unsettled)
        instruments = self._desk.instruments
        journals = [journal for journal in self._desk.index.positions.values() if journal.symbol in instruments]
        reads = await read_venue(self._desk, self._sender, (journal.symbol for journal in journals))
        positions = {}
        for journal in journals:
            positions[journal.id] = self._restore(journal, reads)
        known = {journal.symbol for journal in journals}
        for symbol, lots in sorted(reads.positions.items()):
            if lots and symbol not in known:
                text = f"{symbol}: a position of {lots} lots that the journal does not know: adopted, never closed"
                self._desk.alert("unknown_position", "critical", text, symbol)
        for journal in journals:
            self._end_doubts(journal, positions[journal.id], valid_until_ms=valid_until_ms)
        self._tell_again(unsettled)
        self._resume(unsettled, valid_until_ms=valid_until_ms)

    def _tell_again(self, unsettled: dict[str, IntentRecord]) -> None:
        """Outcomes of intents that are not settled may not have reached decide; it drops a repeat."""
        for intent, ended in list(self._desk.index.outcomes.items()):
            for record in ended:
                self._desk.know_symbol(intent, record.symbol)
                self._desk.know_symbol(record.outcome.position, record.symbol)
                if record.outcome.status != NEVER_TOLD:
                    self._desk.say(intent, self._sender.tell(record.symbol, record.outcome))
            if intent not in unsettled:  # refused before anything was sent for it
                self._sender.settle(intent, symbol=ended[-1].symbol, position=ended[-1].outcome.position)

    # ------------------------------------------------------------------------------------------------ positions

    def _restore(self, journal: PositionJournal, reads: Reads) -> Guarded:
        bracket = self._bracket(journal)
        position = Guarded(
            id=journal.id, symbol=journal.symbol, side=bracket.side, bracket=bracket, record=journal.record
        )
        self._desk.positions[journal.id] = position
        self._desk.know_symbol(journal.id, journal.symbol)
        self._find_orders(position, journal, reads)
        position.entry_over = not journal.entry_unknown
        lots = reads.positions.get(journal.symbol, 0) * bracket.side.sign
        if lots > 0 and not journal.never_entered:
            self._protect(position, journal, lots)
        elif journal.entry_filled:
            self._desk.spawn(self._confirm_flat(position, journal), f"confirm flat {position.id}")
        return position

    def _bracket(self, journal: PositionJournal) -> OpenBracket:
        """The bracket on today's grid: what the entry was sent with tells the grid that it was counted on."""
        bracket, today = journal.bracket, self._desk.instruments[journal.symbol]
        attempts = [placed.attempted for placed in journal.orders.values()]
        sent = [attempted.parameters for attempted in attempts if attempted.leg is Leg.ENTRY]
        if not sent or not bracket.limit or not bracket.lots:
            return bracket
        tick, step = parse_e8(sent[0]["price"]) // bracket.limit, parse_e8(sent[0]["quantity"]) // bracket.lots
        if (tick, step) == (today.tick_e8, today.step_e8) or min(tick, step) <= 0:
            return bracket
        return bracket_on(bracket, Grid(msgspec.structs.replace(today, tick_e8=tick, step_e8=step), today))

    def _find_orders(self, position: Guarded, journal: PositionJournal, reads: Reads) -> None:
        instrument = self._desk.instruments[position.symbol]
        for row in reads.algo_orders:
            if row.symbol == position.symbol and self._ours(journal, row.client_algo_id):
                lots = 0 if row.close_position else instrument.whole_lots(row.quantity)
                trigger = instrument.near_ticks(row.trigger_price)
                self._found(position, row.client_algo_id, "algoOrder", trigger=trigger, lots=lots)
        for order in reads.orders:
            if order.symbol == position.symbol and self._ours(journal, order.client_order_id):
                price, lots = instrument.near_ticks(order.price), instrument.whole_lots(order.orig_qty)
                self._found(position, order.client_order_id, "order", trigger=price, lots=lots)

    def _found(self, position: Guarded, client_id: str, book: str, *, trigger: int, lots: int) -> None:
        leg = identity.leg_of(client_id)
        position.orders[client_id] = LiveOrder(client_id, leg, book, trigger, lots)
        self._desk.evidence.seen(Sighting(symbol=position.symbol, client_id=client_id, book=book, status="NEW"))

    def _ours(self, journal: PositionJournal, client_id: str) -> bool:
        return client_id in journal.orders or identity.intent_of(client_id) == journal.id

    def _protect(self, position: Guarded, journal: PositionJournal, lots: int) -> None:
        """Place the rails that are missing, at the newest level that the journal knows to have been taken."""
        position.filled = lots
        position.first_fill_ms = self._desk.clock.now_ms()
        self._desk.spawn(self._rails.watch_cover(position), f"cover {position.id}")
        for leg in RAILS:
            live = position.live(leg)
            enough = bool(live) if leg is Leg.FAR else sum(order.lots for order in live) >= lots
            if not enough:
                intent, trigger = self._newest_level(journal, leg)
                self._rails.want(position, leg, WantedRail(intent, trigger, 0 if leg is Leg.FAR else lots))

    def _newest_level(self, journal: PositionJournal, leg: Leg) -> tuple[str, int]:
        instrument = self._desk.instruments[journal.symbol]
        bracket = self._bracket(journal)
        level = (journal.id, int(bracket.far_trigger if leg is Leg.FAR else bracket.working_trigger))
        for placed in journal.orders.values():
            taken = placed.outcome is not None and placed.outcome.verdict is Verdict.ACCEPTED
            if placed.attempted.leg is leg and taken:
                level = (placed.attempted.intent, instrument.near_ticks(placed.attempted.parameters["triggerPrice"]))
        return level

    async def _confirm_flat(self, position: Guarded, journal: PositionJournal) -> None:
        """One read that shows nothing proves nothing (pains 11): read again a second later."""
        while True:
            await asyncio.sleep(SECOND_READ_S)
            try:
                found = await read_positions(self._desk, self._sender, position.symbol)
            except ReadFailed:
                continue
            lots = found.get(position.symbol, (0, ""))[0] * position.side.sign
            if lots > 0 and not position.swept:
                self._protect(position, journal, lots)
            elif not position.filled:
                position.flat = True
            return

    # --------------------------------------------------------------------------------------------------- doubts

    def _end_doubts(self, journal: PositionJournal, position: Guarded, *, valid_until_ms: int) -> None:
        for placed in list(journal.orders.values()):
            if placed.unknown:
                self._desk.spawn(
                    self._end_doubt(position, placed, valid_until_ms=valid_until_ms),
                    f"doubt {placed.attempted.client_id}",
                )

    async def _end_doubt(self, position: Guarded, placed: Placed, *, valid_until_ms: int) -> None:
        attempted = placed.attempted
        trigger, lots = self._figures(placed)
        if attempted.leg is Leg.ENTRY:
            async with self._desk.chain(position.symbol, Leg.ENTRY):
                outcome = await self._entries.end_doubt(position, attempted, valid_until_ms=valid_until_ms)
                self._entries.entry_ended(position, outcome)
            return
        order = position.orders.get(attempted.client_id)
        if order is None and attempted.leg is not Leg.CLOSE:
            order = LiveOrder(attempted.client_id, attempted.leg, attempted.path, trigger, lots, doubtful=True)
            position.orders[attempted.client_id] = order
        outcome = await self._doubts.resolve(
            attempted, valid_until_ms=valid_until_ms, trigger=trigger, lots=lots, untouched=lambda _: True
        )
        if order is None:
            return
        if attempted.leg in RAILS:
            await self._rails.doubt_ended(position, order, outcome)
        else:
            self._targets.doubt_ended(position, order, outcome)

    def _figures(self, placed: Placed) -> tuple[int, int]:
        parameters = placed.attempted.parameters
        instrument = self._desk.instruments[placed.attempted.symbol]
        price = parameters.get("triggerPrice") or parameters.get("price")
        quantity = parameters.get("quantity")
        return (
            Ticks(0) if price is None else instrument.near_ticks(price),
            Lots(0) if quantity is None else instrument.whole_lots(quantity),
        )

    async def stranger(self, attempted: Attempted, *, valid_until_ms: int) -> None:
        """A predecessor wrote an attempt behind our epoch: void as a right, yet it may have been sent."""
        journal = self._desk.index.positions.get(attempted.position)
        placed = None if journal is None else journal.orders.get(attempted.client_id)
        if journal is None or placed is None:
            return
        position = self._desk.positions.get(journal.id)
        if position is None:
            position = Guarded(
                id=journal.id,
                symbol=journal.symbol,
                side=journal.bracket.side,
                bracket=journal.bracket,
                record=journal.record,
            )
            self._desk.positions[journal.id] = position
            self._desk.know_symbol(journal.id, journal.symbol)
        await self._end_doubt(position, placed, valid_until_ms=valid_until_ms)

    # --------------------------------------------------------------------------------------------------- intents

    def _resume(self, unsettled: dict[str, IntentRecord], *, valid_until_ms: int) -> None:
        newest_move = {
            (record.intent.position, record.intent.leg): record.id
            for record in unsettled.values()
            if isinstance(record.intent, MoveStop)
        }
        for record in unsettled.values():
            intent = record.intent
            self._desk.know_symbol(record.id, record.symbol)
            if record.symbol not in self._desk.instruments:
                continue  # the venue does not list it now (alerted): what is known of it is kept as it is
            if isinstance(intent, OpenBracket):
                self._resume_entry(record)
                continue
            position = self._desk.positions.get(intent.position)
            unknown = position is None and isinstance(intent, ClosePosition)
            if unknown and self._closer.may_close_stranger(record.symbol):
                assert isinstance(intent, ClosePosition)
                self._desk.know_symbol(intent.position, record.symbol)
                position = self._closer.stranger(record, intent)
            if position is None and isinstance(intent, Sweep):
                position = self._closer.remainder(record, intent.position)
            if position is None or (
                isinstance(intent, MoveStop) and newest_move[intent.position, intent.leg] != record.id
            ):
                self._sender.settle(record.id, symbol=record.symbol, position=intent.position)
                continue
            match intent:
                case MoveStop():
                    wanted = WantedRail(record.id, intent.trigger, intent.lots, record)
                    self._rails.want(position, intent.leg, wanted)
                case PlaceTarget():
                    self._desk.spawn(self._resume_target(record, position), f"resume {record.id}")
                case CancelLeg():
                    self._targets.cancel(record, position)
                case ClosePosition():
                    self._closer.start(position, intent=record.id, asked=True, reason=intent.reason)
                case ReducePosition():
                    self._closer.reduce_interrupted(record, position)
                case Sweep():
                    self._desk.spawn(self._closer.sweep(record, position), f"sweep {record.id}")

    def _resume_entry(self, record: IntentRecord) -> None:
        """An entry whose end is known is finished; one that never left may still go if it is young enough."""
        journal = self._desk.index.positions.get(record.id)
        position = self._desk.positions.get(record.id)
        if journal is None or position is None:
            self._sender.settle(record.id, symbol=record.symbol, position=record.id, closed=True)
            return
        if journal.entry_unknown:
            return  # its doubt ends it
        taken = [placed.outcome for placed in journal.orders.values() if _entry_taken(placed)]
        if taken and taken[-1] is not None:
            self._entries.entry_ended(position, taken[-1])
        else:
            self._desk.positions.pop(record.id, None)
            self._desk.spawn(self._entries.open(record), f"entry {record.id}")

    async def _resume_target(self, record: IntentRecord, position: Guarded) -> None:
        """A target whose attempt is in doubt waits for the doubt; one that rests is done; else it is asked again."""
        journal = self._desk.index.positions.get(position.id)
        attempts = [] if journal is None else [p for p in journal.orders.values() if p.attempted.intent == record.id]
        while any(placed.unknown for placed in attempts):  # noqa: ASYNC110 - set by the journal's index, which is plain
            await asyncio.sleep(READ_AGAIN_S)
        if any(placed.may_live or placed.over for placed in attempts):
            self._sender.settle(record.id, symbol=record.symbol, position=position.id)
        else:
            self._targets.place(record, position)


def _entry_taken(placed: Placed) -> bool:
    return (
        placed.attempted.leg is Leg.ENTRY and placed.outcome is not None and placed.outcome.verdict is Verdict.ACCEPTED
    )
