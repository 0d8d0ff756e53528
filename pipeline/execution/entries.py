"""
The only place that opens positions: limits no topic can change, lateness, and the fill that arms the rails.

An entry takes effect at most once (P2): its id is written ahead, an attempt that may have been executed is never
followed by another, and the next entry of the symbol waits until the doubt has ended. The first evidence of a fill,
from whatever road, places both rails at once.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed
from pipeline.core import identity
from pipeline.core.commands import OpenBracket
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Lots
from pipeline.execution.desk import Desk, Guarded
from pipeline.execution.evidence import Sighting
from pipeline.execution.in_doubt import Doubts
from pipeline.execution.rails import Rails
from pipeline.execution.sender import Purpose, Sender
from pipeline.wire.records import Attempted, IntentRecord

STALE_MS: Final = 1_000  # an entry whose cause is older is refused (architecture 2.3)
MINUTE_MS: Final = 60_000
GONE_KEPT: Final = 64
PREPARED_MS: Final = 600_000  # then leverage and margin type are set again: somebody may have changed them by hand
NO_NEED_TO_CHANGE: Final = -4046  # the margin type is as wanted already
ENDED_STATUS: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})


class Entries:
    """Sends brackets and learns of their fills."""

    def __init__(self, desk: Desk, sender: Sender, doubts: Doubts, rails: Rails) -> None:
        self._desk = desk
        self._sender = sender
        self._doubts = doubts
        self._rails = rails
        self._prepared: dict[str, tuple[int, int]] = {}  # symbol → (leverage set with isolated margin, when)
        self._gone: dict[str, Guarded] = {}  # ended without a fill; should one come after all, it is guarded again

    async def open(self, record: IntentRecord) -> None:
        """Send the entry of a bracket once, and stay until its end is known."""
        bracket = record.intent
        assert isinstance(bracket, OpenBracket)
        purpose = self._purpose(record, bracket)
        desk = self._desk
        async with desk.chain(record.symbol, Leg.ENTRY):
            await self._until_risk_may_go(record, bracket)
            reason = self._objection(record, bracket) or await self._prepare(record.symbol, bracket.leverage)
            # Asked again behind the wait: entries of other symbols went on meanwhile, and up to the place in
            # ``positions`` nothing waits any more, so that the limits hold for all of them together.
            reason = reason or self._objection(record, bracket)
            if reason:
                self._sender.refuse(purpose, reason)
                self._sender.settle(record.id, symbol=record.symbol, position=record.id, closed=True)
                return
            position = desk.positions.get(record.id)
            if position is None:
                position = Guarded(
                    id=record.id, symbol=record.symbol, side=bracket.side, bracket=bracket, record=record
                )
                desk.positions[record.id] = position
            instrument = desk.instruments[record.symbol]
            counted = False

            def wanted() -> str:
                nonlocal counted
                late = self._late(record, bracket)
                if not late and not counted:
                    late = self._crowded()  # others may have been counted while this one waited for its turn
                    if not late:
                        counted = True
                        desk.entries_ms.append(desk.clock.now_ms())
                return late

            sent = await self._sender.place(
                purpose,
                lambda client_id: requests.entry(
                    instrument, client_id=client_id, side=bracket.side, lots=bracket.lots, limit=bracket.limit
                ),
                wanted=wanted,
            )
            if sent.outcome.verdict is Verdict.IN_DOUBT and sent.attempted is not None:
                outcome = await self.end_doubt(position, sent.attempted, valid_until_ms=sent.valid_until_ms)
            else:
                outcome = sent.outcome
                await self._until_ended(position, outcome)
            self.entry_ended(position, outcome)

    async def end_doubt(self, position: Guarded, attempted: Attempted, *, valid_until_ms: int) -> RequestEnded:
        """Wait for the venue's word on an entry; a position seen meanwhile is protected at once."""

        def untouched(lots: int) -> bool:
            filled = lots * position.side.sign
            if filled > position.filled:
                self.filled(position, filled)
            return filled <= 0

        return await self._doubts.resolve(
            attempted,
            valid_until_ms=valid_until_ms,
            trigger=0,
            lots=position.bracket.lots,
            untouched=untouched,
        )

    def seen(self, sighting: Sighting, position: Guarded) -> None:
        """The stream spoke of an entry order of *position*."""
        if sighting.filled:
            self.filled(position, sighting.filled)

    def may_speak_of(self, position: Guarded, event_ms: int) -> bool:
        """False for a word on the account that is older than the entry: late, it tells of an earlier position."""
        journal = self._desk.index.positions.get(position.id)
        orders = () if journal is None else journal.orders.values()
        sent = [placed.attempted.at_ms for placed in orders if placed.attempted.leg is Leg.ENTRY]
        return bool(sent) and event_ms - self._desk.venue.server_ahead_ms >= min(sent)

    def late(self, sighting: Sighting) -> None:
        """A word on an entry that had ended without a fill: if it filled after all, its rails go out at once."""
        name = identity.intent_of(sighting.client_id) or ""
        if name not in self._gone or not sighting.filled or identity.leg_of(sighting.client_id) is not Leg.ENTRY:
            return
        if self._desk.of_symbol(sighting.symbol):
            return  # a newer position holds the symbol: its far rail closes everything, decide resizes the other (X0b)
        position = self._desk.positions[name] = self._gone.pop(name)
        position.flat = position.swept = False
        self._desk.know_symbol(name, position.symbol)
        self._desk.unjournalled[name] = position.record  # the rails' attempts open it in the journal again
        text = f"{sighting.client_id} filled {sighting.filled} lots after its end; the position is guarded again"
        self._desk.alert("late_fill", "critical", text, position.symbol)
        self.filled(position, sighting.filled)

    def filled(self, position: Guarded, lots: int) -> None:
        """Fill evidence from any road: *lots* in all. The first arms the rails, a later one resizes WORKING."""
        if lots <= position.filled or position.swept:
            return
        first = position.filled == 0
        position.filled = lots
        if first:
            position.first_fill_ms = self._desk.clock.now_ms()
            self._desk.spawn(self._rails.watch_cover(position), f"cover {position.id}")
        if not position.flat:
            self._rails.protect(position)

    def entry_ended(self, position: Guarded, outcome: RequestEnded) -> None:
        """The entry is over: settle its intent; without a fill there is no position to guard."""
        position.entry_over = True
        if outcome.filled_lots:
            self.filled(position, outcome.filled_lots)
        if position.filled:
            self._sender.settle(position.id, symbol=position.symbol, position=position.id)
            return
        self._desk.positions.pop(position.id, None)
        self._gone[position.id] = position
        if len(self._gone) > GONE_KEPT:
            del self._gone[next(iter(self._gone))]
        self._sender.settle(position.id, symbol=position.symbol, position=position.id, closed=True)

    async def _until_ended(self, position: Guarded, outcome: RequestEnded) -> None:
        """An accepting reply that is not final yet (it should be, with RESULT): wait for the stream to end it."""
        if outcome.verdict is not Verdict.ACCEPTED:
            return
        if outcome.filled_lots:
            self.filled(position, outcome.filled_lots)
        status = outcome.status
        while status not in ENDED_STATUS:
            await self._desk.evidence.wait(outcome.client_id, STALE_MS)
            seen = self._desk.evidence.of(outcome.client_id, "order")
            if seen is not None and seen.ended:
                self.seen(seen, position)
                return
            placed = self._desk.index.positions.get(position.id)
            attempt = None if placed is None else placed.orders.get(outcome.client_id)
            if attempt is None:
                return
            ended = await self.end_doubt(position, attempt.attempted, valid_until_ms=0)
            status = ended.status or "EXPIRED"

    # ---------------------------------------------------------------------------------------------- objections

    async def _until_risk_may_go(self, record: IntentRecord, bracket: OpenBracket) -> None:
        """A new executor waits for its predecessor's lease; an entry that would be stale by then does not."""
        wait = self._desk.lease.risk_wait_ms
        if 0 < wait and not self._late(record, bracket, ahead_ms=wait):
            await asyncio.sleep(wait / 1_000)

    async def _prepare(self, symbol: str, leverage: int) -> str:
        """
        Isolated margin and the leverage, set at the venue before the first entry of the symbol and whenever another
        leverage is wanted; "" when they are, else why the entry must not go. Both may be asked for twice. They go by
        the lane of queries: in that of entries each would wait half a second, and the entry be stale by then. What was
        set holds for ten minutes, and until the user stream tells of a change (``configured``).
        """
        now = self._desk.clock.now_ms()
        known, since_ms = self._prepared.get(symbol, (0, 0))
        if now - since_ms > PREPARED_MS:
            known = 0
            self._prepared.pop(symbol, None)
        if not leverage or known == leverage:
            return ""
        try:
            if symbol not in self._prepared:
                await self._sender.read(requests.isolated_margin(symbol), Lane.QUERY)
        except ReadFailed as error:
            if error.args[1] != NO_NEED_TO_CHANGE:
                return f"venue: isolated margin is not set: {error.args[0]}"
        try:
            await self._sender.read(requests.leverage(symbol, leverage), Lane.QUERY)
        except ReadFailed as error:
            self._prepared.pop(symbol, None)
            return f"venue: leverage {leverage} is not set: {error.args[0]}"
        self._prepared[symbol] = (leverage, now)
        return ""

    def configured(self, symbol: str, leverage: int | None) -> None:
        """
        The user stream tells that leverage or margin type (None) of *symbol* was changed, "" of any: what this process
        set by itself says the same again and changes nothing.
        """
        if not symbol:
            self._prepared.clear()
        elif leverage is None or self._prepared.get(symbol, (leverage, 0))[0] != leverage:
            self._prepared.pop(symbol, None)

    def _late(self, record: IntentRecord, bracket: OpenBracket, *, ahead_ms: int = 0) -> str:
        now = self._desk.clock.now_ms() + ahead_ms
        if now - record.at_ms > STALE_MS:
            return f"stale: its cause is {now - record.at_ms} ms old"
        if bracket.expires_ms and now > bracket.expires_ms:
            return f"stale: expired {now - bracket.expires_ms} ms ago"
        return ""

    def _objection(self, record: IntentRecord, bracket: OpenBracket) -> str:
        desk, limits = self._desk, self._desk.limits
        if desk.lease.lost.is_set():
            return "another executor took over"
        if desk.lease.switched_off:
            return desk.lease.switched_off
        if desk.lease.risk_wait_ms:
            return "stale: the predecessor's lease still runs"
        late = self._late(record, bracket)
        if late:
            return late
        if record.symbol not in limits.symbols:
            return f"limits: {record.symbol} is not among the allowed symbols"
        if limits.max_leverage and bracket.leverage > limits.max_leverage:
            return f"limits: leverage {bracket.leverage} above {limits.max_leverage}"
        instrument = desk.instruments.get(record.symbol)
        if instrument is None or not instrument.trading:
            return f"invalid: {record.symbol} is not trading"
        price_e8 = instrument.price_e8(bracket.limit)
        notional = instrument.notional_e8(lots=bracket.lots, price_e8=price_e8)
        if notional > limits.max_notional_e8:
            return f"limits: notional {notional} above {limits.max_notional_e8} (10^-8 USDT)"
        if not instrument.min_lots <= bracket.lots <= instrument.max_lots or notional < instrument.min_notional_e8:
            return "invalid: quantity outside the venue's filters"
        if not instrument.min_price_ticks <= bracket.limit <= instrument.max_price_ticks:
            return "invalid: price outside the venue's filters"
        sign = bracket.side.sign
        stops = (bracket.far_trigger, bracket.working_trigger)
        if any((bracket.limit - stop) * sign <= 0 or stop <= 0 for stop in stops):
            return "invalid: a stop on the wrong side of the entry"
        others = [position for position in desk.positions.values() if position.id != record.id]
        if any(position.symbol == record.symbol for position in others):
            return f"limits: a position of {record.symbol} is under guard"
        if len(others) >= limits.max_positions:
            return f"limits: {limits.max_positions} positions are open"
        return self._crowded()

    def _crowded(self) -> str:
        """Why the minute has no room for another entry, "" when it has."""
        desk, most = self._desk, self._desk.limits.entries_per_minute
        now = desk.clock.now_ms()
        desk.entries_ms = [at for at in desk.entries_ms if at > now - MINUTE_MS]
        return f"limits: {most} entries within a minute" if len(desk.entries_ms) >= most else ""

    def _purpose(self, record: IntentRecord, bracket: OpenBracket) -> Purpose:
        return Purpose(
            intent=record.id,
            position=record.id,
            symbol=record.symbol,
            leg=Leg.ENTRY,
            lane=Lane.ENTRY,
            risk=True,
            lots=Lots(bracket.lots),
        )
