"""
The only place that ends positions: the close ladder, and the sweep of what is left behind.

Close ladder (pains 20, V7): cancel own targets (they use up the reduce-only budget) and read the quantity, side by
side and never waiting long for either; MARKET reduce-only in slices; read again; until the venue says zero. After
repeated refusals a conditional closePosition order one tick beyond the mark. Stops are never touched: they go last, in
the sweep, when it is flat.

Zero is believed from our own fills, from ACCOUNT_UPDATE, or from two reads at least a second apart (pains 10, 11).
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Final

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import Reaction, ReadFailed
from pipeline.binance.requests import AlgoOrder, AlgoType
from pipeline.core import identity
from pipeline.core.commands import ClosePosition, OpenBracket, ReducePosition
from pipeline.core.events import Leg, Side, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Lots, Milliseconds, NotADecimal, Ticks, parse_e8
from pipeline.execution.cancelling import Canceller
from pipeline.execution.cover import Cover
from pipeline.execution.desk import Desk, Guarded, LiveOrder
from pipeline.execution.in_doubt import Doubts, read_positions
from pipeline.execution.sender import Purpose, Sender, Sent
from pipeline.wire.records import IntentRecord

SECOND_READ_MS: Final = 1_000
PAUSE_MS: Final = 100
SLICE_PAUSE_MS: Final = 1_000  # between two slices of a partial close: the book fills up again
EVIDENCE_MS: Final = 300  # behind its sending a close that was not answered has shown itself, or another goes out
FALLBACK_TRIES: Final = 3  # the venue may take market orders again meanwhile
LOOK_MS: Final = 300  # a market close waits this long for a read or a cancelled target, however busy the venue is
REFUSALS_BEFORE_FALLBACK: Final = 4
TARGETS: Final = (Leg.TARGET, Leg.LAST_TARGET)
SWEEP_FIRST: Final = (Leg.ENTRY, Leg.TARGET, Leg.LAST_TARGET, Leg.CLOSE)
SWEEP_LAST: Final = (Leg.WORKING, Leg.FAR)


class Closer:
    """Closes and sweeps; serial per symbol."""

    def __init__(self, desk: Desk, sender: Sender, canceller: Canceller, doubts: Doubts) -> None:
        self._desk = desk
        self._sender = sender
        self._canceller = canceller
        self._doubts = doubts

    # --------------------------------------------------------------------------------------------------- close

    def close_by_itself(self, position: Guarded, reason: str) -> None:
        """Close without being asked (X1, −2021); decide sees the orders under the bracket's own id and adopts them."""
        if position.closing:
            return
        text = f"{position.id}: closed by the executor ({reason})"
        self._desk.alert("executor_closes", "critical", text, position.symbol)
        self.start(position, intent=position.id, asked=False, reason=reason)

    def start(self, position: Guarded, *, intent: str, asked: bool, reason: str) -> None:
        """Begin the ladder; *asked* when the intent is one of the log (its own bracket's otherwise)."""
        position.closing = position.closing or reason
        self._desk.spawn(self._close(position, intent, asked=asked), f"close {intent}")

    def may_close_stranger(self, symbol: str) -> bool:
        """A position not opened here may be closed when it cannot be taken for one that was."""
        return symbol in self._desk.instruments and not self._desk.of_symbol(symbol)

    def let_go(self, symbol: str, side: Side) -> Guarded | None:
        """
        The position that decide has let go of by mistake: a close under another name is about it, for the venue has one
        position a symbol. Without that mistake a close of an old position must never meet a new one.
        """
        for position in self._desk.of_symbol(symbol):
            if position.let_go_by is not None and not position.flat and position.side is side:
                return position
        return None

    def stranger(self, record: IntentRecord, intent: ClosePosition) -> Guarded:
        """A position that was not opened here: the ladder needs its side only, it is never protected."""
        most = self._desk.instruments[record.symbol].max_lots
        position = _unknown(record, intent.position, side=intent.side, lots=min(abs(intent.lots), most))
        position.closing = intent.reason or "close"
        self._desk.positions[intent.position] = position
        return position

    def remainder(self, record: IntentRecord, name: str) -> Guarded:
        """
        A position that was swept before and still has orders on the venue (it forgets and finds again, pains 2 and 6):
        whatever of our log rests without an owner is swept with it. It is not put under guard.
        """
        return _unknown(record, name, side=Side.BUY, lots=0)

    # -------------------------------------------------------------------------------------------------- reduce

    def reduce(self, record: IntentRecord, intent: ReducePosition, position: Guarded) -> None:
        """Close a part at market in slices; a close of everything pre-empts it between two slices."""
        self._desk.spawn(self._reduce(record, intent, position), f"reduce {record.id}")

    def reduce_interrupted(self, record: IntentRecord, position: Guarded) -> None:
        """After a restart nobody knows how much of it was done, and too much cannot be taken back: it ends here."""
        self._sender.refuse(self._purpose(position, record.id, 0), "interrupted by a restart; the rest is not taken")
        self._sender.settle(record.id, symbol=position.symbol, position=position.id)

    async def _reduce(self, record: IntentRecord, intent: ReducePosition, position: Guarded) -> None:
        desk, symbol = self._desk, position.symbol
        most = min(intent.slice_lots, desk.instruments[symbol].max_market_lots)
        left, crowded = int(intent.lots), False
        while left:
            async with desk.chain(symbol, Leg.CLOSE):
                if position.closing or position.flat or position.swept:
                    self._sender.refuse(self._purpose(position, record.id, left), "position is closing")
                    break
                piece = min(left, most)
                sent = await self._slice(position, record.id, piece)
            if sent.outcome.verdict is Verdict.ACCEPTED:
                left -= piece
            elif sent.reaction is Reaction.REDUCE_CROWDED and not crowded:
                crowded = True  # the targets use the reduce-only budget up; decide states them anew for the rest
                await self._cancel_targets(position, record.id)
                continue
            else:
                text = f"{position.id}: {left} of {intent.lots} lots were not taken ({sent.outcome.verdict.value})"
                desk.alert("reduction_incomplete", "warning", text, symbol)
                break
            if left:
                await asyncio.sleep(SLICE_PAUSE_MS / 1_000)
        self._sender.settle(record.id, symbol=symbol, position=position.id)

    async def _close(self, position: Guarded, intent: str, *, asked: bool) -> None:
        async with self._desk.chain(position.symbol, Leg.CLOSE):
            if position.flat or position.swept:
                if asked:
                    self._sender.refuse(self._purpose(position, intent, 0), "position is flat")
            else:
                await self._ladder(position, intent)
            if asked:
                self._sender.settle(intent, symbol=position.symbol, position=position.id)
            if position.id not in self._desk.index.positions:
                self._desk.positions.pop(position.id, None)  # not opened here: nobody will sweep it

    async def _ladder(self, position: Guarded, intent: str) -> None:
        desk, symbol, sign = self._desk, position.symbol, position.side.sign
        clearing = desk.spawn(self._cancel_targets(position, intent), f"clear targets {intent}")
        zero_since: int | None = None
        refusals = closed = 0
        patient = False  # the venue's word is only worth waiting for once there may be nothing left to close
        while not desk.lease.lost.is_set():
            known, _ = await asyncio.gather(
                self._look(position, patient=patient),
                asyncio.wait({clearing}, timeout=LOOK_MS / 1_000),  # a target that still rests then is told by −4118
            )
            if known is None:  # our own knowledge is better than waiting; reduce-only cannot close too much
                left = max(0, (position.filled or position.bracket.lots) - closed)
                if not left and position.filled and position.entry_over:
                    break
                patient = patient or not left
                known = left * sign, "0"
                if not left:
                    await asyncio.sleep(PAUSE_MS / 1_000)
                    continue
            lots, mark = known
            if lots * sign <= 0:
                now = desk.clock.now_ms()
                if self._closed_by_us(position) or self._told_flat(position):
                    break
                if zero_since is not None and now - zero_since >= SECOND_READ_MS:
                    break
                zero_since = now if zero_since is None else zero_since
                await asyncio.sleep(SECOND_READ_MS / 1_000)
                continue
            zero_since = None
            if refusals >= REFUSALS_BEFORE_FALLBACK:
                await self._fallback(position, intent, mark)
                refusals = 0
                continue
            for piece in requests.slices(desk.instruments[symbol], abs(lots)):
                sent_ms = desk.clock.now_ms()
                sent = await self._slice(position, intent, piece)
                closed += sent.outcome.filled_lots
                patient = sent.outcome.filled_lots >= piece or sent.reaction is Reaction.NO_POSITION
                if sent.outcome.verdict is Verdict.IN_DOUBT:
                    await self._evidence(sent, EVIDENCE_MS - (desk.clock.now_ms() - sent_ms))
                    break  # read again: reduce-only cannot flip, another goes out under a new id
                if sent.outcome.verdict is not Verdict.ACCEPTED:
                    refusals += 1
                    if sent.reaction in (Reaction.REDUCE_CROWDED, Reaction.NO_POSITION) and clearing.done():
                        clearing = desk.spawn(self._cancel_targets(position, intent), f"clear targets {intent}")
                    await asyncio.sleep(PAUSE_MS / 1_000)
                    break
        position.flat = True

    async def _look(self, position: Guarded, *, patient: bool) -> tuple[int, str] | None:
        """The venue's quantity and mark; None when it is not said, or not soon enough for a close that must go out."""
        try:
            async with asyncio.timeout(None if patient else LOOK_MS / 1_000):
                found = await read_positions(self._desk, self._sender, position.symbol, Lane.CLOSE)
        except (ReadFailed, TimeoutError):
            return None
        return found.get(position.symbol, (0, "0"))

    def _told_flat(self, position: Guarded) -> bool:
        """ACCOUNT_UPDATE said zero after this position's first fill."""
        lots, event_ms = self._desk.evidence.positions.get(position.symbol, (1, 0))
        return lots == 0 and 0 < position.first_fill_ms < event_ms - self._desk.venue.server_ahead_ms

    def _closed_by_us(self, position: Guarded) -> bool:
        """Our own close orders filled what was open."""
        journal = self._desk.index.positions.get(position.id)
        closes = [] if journal is None else [p for p in journal.orders.values() if p.attempted.leg is Leg.CLOSE]
        closed = 0
        for placed in closes:
            seen = self._desk.evidence.of(placed.attempted.client_id, "order")
            replied = 0 if placed.outcome is None else placed.outcome.filled_lots
            closed += max(replied, 0 if seen is None else seen.filled)
        return 0 < position.filled <= closed

    async def _slice(self, position: Guarded, intent: str, lots: int) -> Sent:
        instrument = self._desk.instruments[position.symbol]
        sent = await self._sender.place(
            self._purpose(position, intent, lots),
            lambda client_id: requests.market_close(
                instrument, client_id=client_id, position_side=position.side, lots=lots
            ),
            wanted=lambda: "",
        )
        if sent.outcome.verdict is Verdict.IN_DOUBT and sent.attempted is not None:
            self._desk.spawn(self._end_doubt(sent), f"doubt {sent.outcome.client_id}")
        return sent

    async def _evidence(self, sent: Sent, milliseconds: int) -> None:
        """Wait for our stream to show a close that was not answered, unless it has, or long enough was waited for."""
        if milliseconds > 0 and self._desk.evidence.of(sent.outcome.client_id, "order") is None:
            await self._desk.evidence.wait(sent.outcome.client_id, milliseconds)

    async def _end_doubt(self, sent: Sent) -> None:
        assert sent.attempted is not None
        await self._doubts.resolve(
            sent.attempted,
            valid_until_ms=sent.valid_until_ms,
            trigger=0,
            lots=sent.outcome.lots,
            untouched=lambda _: True,
        )

    async def _fallback(self, position: Guarded, intent: str, mark: str) -> None:
        """Market closes are refused: let the venue close the position at its next tick of the mark price."""
        instrument = self._desk.instruments[position.symbol]
        same_type = [
            self._desk.spawn(self._cancel(position, order, intent), f"clear {order.client_id}")
            for order in position.live(Leg.LAST_TARGET) + position.live(Leg.CLOSE)
        ]
        if same_type:
            await asyncio.wait(same_type, timeout=LOOK_MS / 1_000)
        mark_ticks = _ticks_near(mark, instrument.tick_e8)
        if not mark_ticks:
            await asyncio.sleep(PAUSE_MS / 1_000)
            return
        trigger = mark_ticks + position.side.sign

        def build(client_id: str) -> AlgoOrder:
            return AlgoOrder(
                symbol=position.symbol,
                client_id=client_id,
                side=position.side.opposite,
                order_type=AlgoType.TAKE_PROFIT_MARKET,
                trigger=instrument.price_text(trigger),
            )

        sent = await self._sender.place(
            self._purpose(position, intent, 0), build, wanted=lambda: "", most_tries=FALLBACK_TRIES
        )
        if sent.outcome.verdict is not Verdict.REJECTED:
            client_id = sent.outcome.client_id
            position.orders[client_id] = LiveOrder(
                client_id=client_id, leg=Leg.CLOSE, book="algoOrder", trigger=trigger, lots=0
            )
            await asyncio.sleep(SECOND_READ_MS / 1_000)

    async def _cancel(self, position: Guarded, order: LiveOrder, intent: str) -> None:
        await self._canceller.cancel(position, order, intent=intent)

    async def _cancel_targets(self, position: Guarded, intent: str) -> None:
        for leg in TARGETS:
            for order in position.live(leg, doubtful=True):
                if order.book == "order":  # conditional targets rest on no book and use nothing up
                    await self._canceller.cancel(position, order, intent=intent)

    # --------------------------------------------------------------------------------------------------- sweep

    async def sweep(self, record: IntentRecord, position: Guarded) -> None:
        """
        Cancel what a flat position left behind on both books: entries and targets first, stops last.

        The venue is asked first. While it still shows the position (and no newer one of ours owns it), stops stay.
        """
        desk, symbol = self._desk, position.symbol
        position.flat = True
        async with desk.chain(symbol, Leg.CLOSE):
            while True:
                try:
                    flat = (await read_positions(desk, self._sender, symbol)).get(symbol, (0, ""))[0] == 0
                    await self._adopt_leftovers(position)
                    break
                except ReadFailed:
                    await asyncio.sleep(SECOND_READ_MS / 1_000)
            newer = any(other is not position and other.filled for other in desk.of_symbol(symbol))
            stops_may_go = flat or newer
            await self._cancel_legs(position, SWEEP_FIRST, record.id)
            if stops_may_go:
                await self._cancel_legs(position, SWEEP_LAST, record.id)
            if not stops_may_go:
                position.flat = False
                text = f"{position.id}: asked to sweep, but the venue shows an open position; its stops stay"
                desk.alert("sweep_refused", "critical", text, symbol)
                position.let_go_by = record
                desk.want_audit(symbol)
                self._sender.refuse(self._purpose(position, record.id, 0), "position is not flat")
            else:
                position.swept = True
                desk.positions.pop(position.id, None)
        self._sender.settle(record.id, symbol=symbol, position=position.id, closed=stops_may_go)

    def told(self, symbol: str, lots: int) -> None:
        """The user stream states a quantity: a position that decide has let go of may be over now."""
        for position in self._desk.of_symbol(symbol) if not lots else ():
            self._sweep_later(position)

    def judged(self, verdicts: tuple[Cover, ...]) -> None:
        """A read of the auditor: what decide has let go of and the venue does not show any more is swept."""
        shown = {verdict.symbol for verdict in verdicts}
        for position in self._desk.positions.values():
            if position.symbol not in shown:
                self._sweep_later(position)

    def _sweep_later(self, position: Guarded) -> None:
        record = position.let_go_by
        if record is not None and not position.closing and not position.swept:
            self._desk.spawn(self._sweep_again(record, position), f"sweep again {record.id}")

    async def _sweep_again(self, record: IntentRecord, position: Guarded) -> None:
        """
        Decide let go of a position that the venue still showed, so nobody sweeps its orders when it ends after all; and
        a closePosition stop that stays would close the next one. Zero is believed from a second read a second later.
        """
        await asyncio.sleep(SECOND_READ_MS / 1_000)
        if position.id in self._desk.positions and not position.swept and not position.closing:
            await self.sweep(record, position)

    async def _cancel_legs(self, position: Guarded, legs: tuple[Leg, ...], intent: str) -> None:
        """Cancel what rests of these legs, side by side: one that nobody finds takes a second to be given up."""

        async def cancel(leg: Leg) -> None:
            held = nullcontext() if leg is Leg.CLOSE else self._desk.chain(position.symbol, leg)
            async with held:
                orders = position.live(leg, doubtful=True)
                await asyncio.gather(*(self._canceller.cancel(position, order, intent=intent) for order in orders))

        await asyncio.gather(*(cancel(leg) for leg in legs))

    async def _adopt_leftovers(self, position: Guarded) -> None:
        """Take orders of the position that rest on the venue without our knowing. Raises ReadFailed."""
        for book, request, name in (
            ("order", requests.open_orders(position.symbol), "clientOrderId"),
            ("algoOrder", requests.open_algo_orders(position.symbol), "clientAlgoId"),
        ):
            for client_id in await self._open_ids(request, name):
                if client_id not in position.orders and self._belongs(position, client_id):
                    position.orders[client_id] = LiveOrder(
                        client_id=client_id, leg=identity.leg_of(client_id), book=book, trigger=0, lots=0
                    )

    async def _open_ids(self, request: requests.Read, name: str) -> list[str]:
        body = await self._sender.read(request, Lane.QUERY)
        try:
            rows = msgspec.json.decode(body, type=list[dict[str, msgspec.Raw]])
            return [msgspec.json.decode(row[name], type=str) for row in rows]
        except (msgspec.DecodeError, KeyError) as error:
            raise ReadFailed(f"{request.path}: {error}", 0) from error

    def _belongs(self, position: Guarded, client_id: str) -> bool:
        intent, known = identity.intent_of(client_id), self._desk.index.positions
        if position.id in known:
            return intent == position.id or client_id in known[position.id].orders
        if intent is None or intent.partition(".")[0] != position.id.partition(".")[0]:
            return False  # of somebody else, or of another log
        return not any(intent == owner.id or client_id in owner.orders for owner in known.values())

    def _purpose(self, position: Guarded, intent: str, lots: int) -> Purpose:
        return Purpose(
            intent=intent,
            position=position.id,
            symbol=position.symbol,
            leg=Leg.CLOSE,
            lane=Lane.CLOSE,
            lots=lots,
            urgency=-position.at_risk_e8,
        )


def _unknown(record: IntentRecord, name: str, *, side: Side, lots: int) -> Guarded:
    """A position that the journal does not hold (any more)."""
    nothing = Ticks(0)
    bracket = OpenBracket(side, Lots(lots), nothing, nothing, nothing, Milliseconds(0))
    return Guarded(id=name, symbol=record.symbol, side=side, bracket=bracket, record=record, entry_over=True)


def _ticks_near(text: str, tick_e8: int) -> int:
    """A mark price (off the grid) on the grid, rounded down; 0 for none."""
    try:
        return parse_e8(text) // tick_e8
    except NotADecimal:
        return 0
