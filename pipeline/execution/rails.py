"""
The only place that keeps the two rails of a position as they are wanted (domain 6.7).

* First fill: FAR and WORKING at once, side by side; neither waits for the other's answer.
* WORKING (b) moves new-before-old: the old pieces are cancelled on the confirmed successors only (pains V5).
* FAR (a) moves cancel-then-place, and only while a WORKING stop is confirmed to rest (−4130, one per side and type).
* A placement in doubt does not wait: 300 ms without evidence and another goes out under a new id; what turns out to be
  one too many is cancelled later. Reduce-only and closePosition orders cannot flip a one-way position.
* −4130 proves that a closePosition stop rests: it is read and adopted.
* A far rail that was accepted is looked for on the venue once; what vanished without a word is placed again. With the
  far rail proven nothing more need be read when the working stop moves.
* −2021 with a working stop resting is a refused move (the old stop stays); without one the price is through: close now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import Reaction, ReadFailed
from pipeline.binance.requests import AlgoOrder
from pipeline.core import identity
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Lots, Ticks
from pipeline.execution.cancelling import Canceller
from pipeline.execution.desk import Desk, Guarded, LiveOrder, WantedRail
from pipeline.execution.in_doubt import Doubts
from pipeline.execution.sender import Purpose, Sender, Sent

EVIDENCE_MS: Final = 300
COVER_MS: Final = 2_000  # X1: this long after the first fill the executor itself looks whether anything covers
RETRY_MS: Final = 250
GIVE_UP_TRIES: Final = 20
PROOF_MS: Final = 400  # after its acceptance a far rail is looked for, and again this much later if it is not shown
RAILS: Final = (Leg.FAR, Leg.WORKING)
DEAD_ON_ARRIVAL: Final = frozenset({"REJECTED", "EXPIRED", "CANCELED"})  # a reply that says so is no stop


class OpenAlgoRow(msgspec.Struct, rename="camel"):
    """A row of openAlgoOrders, as far as rails need it."""

    client_algo_id: str
    order_type: str
    symbol: str
    side: str
    algo_status: str = "NEW"
    quantity: str = "0"
    trigger_price: str = "0"
    close_position: bool = False


open_algo_rows = msgspec.json.Decoder(list[OpenAlgoRow])


class Rails:
    """Drives both rails of every position; ``close`` starts the close ladder for (position, reason)."""

    def __init__(
        self, desk: Desk, sender: Sender, canceller: Canceller, doubts: Doubts, close: Callable[[Guarded, str], None]
    ) -> None:
        self._desk = desk
        self._sender = sender
        self._canceller = canceller
        self._doubts = doubts
        self._close = close

    # -------------------------------------------------------------------------------------------------- wishes

    def want(self, position: Guarded, leg: Leg, wanted: WantedRail) -> None:
        """Make *wanted* the newest wish of a rail; an older one that was not sent yet ends as superseded."""
        before = position.wanted.get(leg)
        if before is not None and not before.sent and before.record is not None:
            self._sender.refuse(self._purpose(position, leg, before), "superseded")
            self._sender.settle(before.intent, symbol=position.symbol, position=position.id)
        position.wanted[leg] = wanted
        self._desk.spawn(self._drive(position, leg), f"rail {leg.value} {wanted.intent}")

    def protect(self, position: Guarded) -> None:
        """State the bracket's rails for what is filled now; called at the first fill and at every later one."""
        for leg, trigger in ((Leg.FAR, position.bracket.far_trigger), (Leg.WORKING, position.bracket.working_trigger)):
            before = position.wanted.get(leg)
            if before is not None and before.intent != position.id:
                continue  # decide has spoken since: it sizes and moves from then on
            if before is not None and (leg is Leg.FAR or before.lots >= position.filled):
                continue
            self.want(position, leg, WantedRail(position.id, trigger, 0 if leg is Leg.FAR else position.filled))

    async def watch_cover(self, position: Guarded) -> None:
        """X1 at the executor: nothing known to cover 2 s after the first fill, and a fresh read agrees: close."""
        await asyncio.sleep(COVER_MS / 1_000)
        while not position.flat and not position.closing and position.filled and not position.covered:
            try:
                if not await self._covered_by_read(position):
                    text = f"{position.id}: no stop covers {COVER_MS} ms after the first fill"
                    self._desk.alert("unprotected", "critical", text, position.symbol)
                    self._close(position, "X1")
                    return
            except ReadFailed:
                pass  # proves nothing: ask again
            await asyncio.sleep(RETRY_MS / 1_000)

    async def _covered_by_read(self, position: Guarded) -> bool:
        instrument = self._desk.instruments[position.symbol]
        rows = [row for row in await self.read_open(position.symbol) if row.side == position.side.opposite.value]
        if any(row.order_type == "STOP_MARKET" and row.close_position for row in rows):
            return True
        stops = [row for row in rows if row.order_type == "STOP_MARKET"]
        return sum(instrument.whole_lots(row.quantity) for row in stops) >= position.filled

    async def read_open(self, symbol: str) -> list[OpenAlgoRow]:
        """
        What waits in the conditional book of a symbol. Raises ReadFailed.

        One that is triggering no longer covers; it may be stuck there, and even be of a position that is over.
        """
        return [row for row in await self._rows(symbol) if row.algo_status == "NEW"]

    async def _rows(self, symbol: str) -> list[OpenAlgoRow]:
        body = await self._sender.read(requests.open_algo_orders(symbol), Lane.QUERY)
        try:
            return open_algo_rows.decode(body)
        except msgspec.DecodeError as error:
            raise ReadFailed(f"openAlgoOrders: {error}", 0) from error

    # ------------------------------------------------------------------------------------------------- driving

    async def _drive(self, position: Guarded, leg: Leg) -> None:
        async with self._desk.chain(position.symbol, leg):
            wanted = position.wanted.get(leg)
            if wanted is None or wanted.sent:
                return  # a newer wish was driven in our place
            wanted.sent = True
            if position.flat or position.swept:
                self._sender.refuse(self._purpose(position, leg, wanted), "position is flat")
            elif looser := self._looser(position, leg, wanted):
                self._sender.refuse(self._purpose(position, leg, wanted), looser)
                self._desk.alert("stop_loosened", "critical", f"{wanted.intent}: {looser}", position.symbol)
            elif not position.plausible(wanted.trigger):
                self._sender.refuse(self._purpose(position, leg, wanted), "invalid: a price on another scale")
            elif leg is Leg.FAR:
                await self._move_far(position, wanted)
            else:
                await self._move_working(position, wanted)
            self._desk.on_cover_changed(position.symbol)
            if wanted.record is not None:
                self._sender.settle(wanted.intent, symbol=position.symbol, position=position.id)

    def _looser(self, position: Guarded, leg: Leg, wanted: WantedRail) -> str:
        """
        Why a wish from the log would take a stop away from the price, "" if it does not.

        Stops only tighten (domain 6.4). Whoever can write to ``intents`` must not be able to more than that; the
        executor's own wishes (``record`` None) state what was journalled.
        """
        sign = position.side.sign
        resting = [order.trigger * sign for order in position.live(leg)]
        if wanted.record is None or not resting or wanted.trigger * sign >= max(resting):
            return ""
        return f"looser: {wanted.trigger} is further from the price than {max(resting) * sign}, which rests"

    async def _move_working(self, position: Guarded, wanted: WantedRail) -> None:
        old = position.live(Leg.WORKING, doubtful=True)
        instrument = self._desk.instruments[position.symbol]
        # What rests as wanted already (a start found it, or a wish came twice) is not placed again.
        new = [order for order in position.live(Leg.WORKING) if order.trigger == wanted.trigger]
        missing = wanted.lots
        if sum(order.lots for order in new) == wanted.lots:
            missing = 0
        else:
            new = []
        for lots in requests.slices(instrument, missing) if missing > 0 else []:
            order = await self._place(position, Leg.WORKING, wanted, lots)
            if order is None:
                return  # refused, superseded or flat: what rests keeps resting
            new.append(order)
        # Beside the old ones: an earlier try of this very move, given up as doubtful and found alive meanwhile.
        beside = [order for order in position.live(Leg.WORKING) if order not in old]
        replaced = [o for o in (*old, *beside) if o.client_id in position.orders and o not in new]
        await asyncio.gather(*(self._canceller.cancel(position, order, intent=wanted.intent) for order in replaced))

    async def _move_far(self, position: Guarded, wanted: WantedRail) -> None:
        old = position.live(Leg.FAR)
        if old and all(order.trigger == wanted.trigger for order in old):
            return
        if old and not position.live(Leg.WORKING):
            self._sender.refuse(self._purpose(position, Leg.FAR, wanted), "no working stop rests to cover the move")
            return
        for order in old:
            if await self._canceller.cancel(position, order, intent=wanted.intent) is Verdict.IN_DOUBT:
                return
        await self._place(position, Leg.FAR, wanted, 0)

    async def _place(self, position: Guarded, leg: Leg, wanted: WantedRail, lots: int) -> LiveOrder | None:
        """Place one rail order until it rests; None when it is refused for good or no longer wanted."""
        for _ in range(GIVE_UP_TRIES):
            sent = await self._send(position, leg, wanted, lots)
            outcome = sent.outcome
            if outcome.verdict is Verdict.REFUSED:
                return None
            if outcome.verdict is Verdict.ACCEPTED and outcome.status not in DEAD_ON_ARRIVAL:
                return self._rests(position, sent)
            if outcome.verdict is Verdict.IN_DOUBT:
                order = await self._doubted(position, sent)
                if order is not None:
                    return order
                continue
            if sent.reaction is Reaction.COVER_EXISTS:
                adopted = await self._adopt(position, wanted)
                if adopted is not None:
                    return adopted
                continue
            if sent.reaction is Reaction.WOULD_TRIGGER:
                if not position.live(Leg.WORKING) and not position.closing:
                    self._close(position, "-2021")
                return None
            text = f"{outcome.client_id}: {outcome.status} {outcome.code} {outcome.message}"
            self._desk.alert("rail_rejected", "critical", text, position.symbol)
            return None
        return None

    async def _send(self, position: Guarded, leg: Leg, wanted: WantedRail, lots: int) -> Sent:
        instrument = self._desk.instruments[position.symbol]
        side, trigger = position.side, wanted.trigger

        def build(client_id: str) -> AlgoOrder:
            if leg is Leg.FAR:
                return requests.far_rail(instrument, client_id=client_id, position_side=side, trigger=trigger)
            return requests.working_stop(
                instrument, client_id=client_id, position_side=side, lots=lots, trigger=trigger
            )

        def still_wanted() -> str:
            if position.flat or position.swept:
                return "position is flat"
            return "" if position.wanted.get(leg) is wanted else "superseded"

        purpose = msgspec.structs.replace(self._purpose(position, leg, wanted), lots=lots)
        return await self._sender.place(purpose, build, wanted=still_wanted)

    def _rests(self, position: Guarded, sent: Sent) -> LiveOrder:
        outcome = sent.outcome
        order = LiveOrder(
            client_id=outcome.client_id,
            leg=outcome.leg,
            book="algoOrder",
            trigger=outcome.trigger,
            lots=outcome.lots,
            doubtful=outcome.verdict is Verdict.IN_DOUBT,
        )
        seen = self._desk.evidence.of(order.client_id, "algoOrder")
        if seen is None or not seen.ended:  # its end may have been told before its acceptance
            position.orders[order.client_id] = order
            if order.leg is Leg.FAR and not order.doubtful:
                self._desk.spawn(self._prove(position, order), f"prove {order.client_id}")
        return order

    async def _prove(self, position: Guarded, far: LiveOrder) -> None:
        """Two reads do not show a far rail: what neither of them shows is gone without an event; place it again."""
        missing: set[str] | None = None
        while True:
            await asyncio.sleep(PROOF_MS / 1_000)
            known = {order.client_id for leg in RAILS for order in position.live(leg)}
            if far.client_id not in known or position.flat or position.closing:
                return
            try:
                shown = {row.client_algo_id for row in await self._rows(position.symbol)}
            except ReadFailed:
                continue  # proves nothing: ask again
            if far.client_id in shown:
                return
            if missing is not None:
                self._vanished(position, missing & known - shown)
                return
            missing = known - shown

    def _vanished(self, position: Guarded, gone: set[str]) -> None:
        for leg in RAILS:
            lost = [order for order in position.live(leg) if order.client_id in gone]
            wanted = position.wanted.get(leg)
            for order in lost:
                del position.orders[order.client_id]
                text = f"{order.client_id}: accepted, and not shown by two reads; another is placed"
                self._desk.alert("stop_vanished", "critical", text, position.symbol)
            if lost and wanted is not None and wanted.sent:
                self.want(position, leg, WantedRail(wanted.intent, wanted.trigger, wanted.lots))

    async def _doubted(self, position: Guarded, sent: Sent) -> LiveOrder | None:
        """300 ms for the stream to show it; then it is left to the doubts, and another may go out."""
        outcome = sent.outcome
        order = self._rests(position, sent)
        assert sent.attempted is not None
        self._desk.spawn(self._end_doubt(position, order, sent), f"doubt {order.client_id}")
        await self._desk.evidence.wait(order.client_id, EVIDENCE_MS)
        seen = self._desk.evidence.of(outcome.client_id, "algoOrder")
        if seen is not None and not seen.ended:
            order.doubtful = False
            return order
        return None

    async def _end_doubt(self, position: Guarded, order: LiveOrder, sent: Sent) -> None:
        assert sent.attempted is not None
        outcome = await self._doubts.resolve(
            sent.attempted,
            valid_until_ms=sent.valid_until_ms,
            trigger=order.trigger,
            lots=order.lots,
            untouched=lambda _: True,
        )
        await self.doubt_ended(position, order, outcome)

    async def doubt_ended(self, position: Guarded, order: LiveOrder, outcome: RequestEnded) -> None:
        """A doubtful rail was found: it is one too many if others no looser cover its place, else it is kept."""
        if outcome.verdict is Verdict.ABSENT:
            position.orders.pop(order.client_id, None)
            return
        if order.client_id not in position.orders:
            seen = self._desk.evidence.of(order.client_id, "algoOrder")
            if position.swept and seen is not None and not seen.ended:  # it came behind its sweep
                await self._canceller.cancel(position, order, intent=outcome.intent)
            return  # cancelled or triggered meanwhile
        sign = position.side.sign

        def others() -> list[LiveOrder]:
            """Cover in its place: what it tightened stays looser than it, and must not be left alone again."""
            live = [o for o in position.live(order.leg) if o.client_id != order.client_id]
            return [o for o in live if order.leg is Leg.FAR or o.trigger * sign >= order.trigger * sign]

        order.doubtful = False
        wanted = position.wanted.get(order.leg)
        if others() and wanted is not None and wanted.sent:
            async with self._desk.chain(position.symbol, order.leg):
                cover = others()
                enough = order.leg is Leg.FAR or sum(o.lots for o in cover) >= wanted.lots
                if order.client_id in position.orders and cover and enough:
                    await self._canceller.cancel(position, order, intent=outcome.intent)

    async def _adopt(self, position: Guarded, wanted: WantedRail) -> LiveOrder | None:
        """−4130: read the closePosition stop that rests and take it as FAR; None when the read shows none."""
        try:
            rows = await self.read_open(position.symbol)
        except ReadFailed:
            await asyncio.sleep(RETRY_MS / 1_000)
            return None
        instrument = self._desk.instruments[position.symbol]
        for row in rows:
            if row.order_type == "STOP_MARKET" and row.close_position and row.side == position.side.opposite.value:
                trigger = instrument.near_ticks(row.trigger_price)
                order = LiveOrder(client_id=row.client_algo_id, leg=Leg.FAR, book="algoOrder", trigger=trigger, lots=0)
                position.orders[order.client_id] = order
                if identity.intent_of(order.client_id) is None:
                    text = f"{position.id}: a stop of somebody else at {row.trigger_price} taken as far rail"
                    self._desk.alert("foreign_stop_adopted", "warning", text, position.symbol)
                else:
                    self._sender.conclude(
                        RequestEnded(
                            intent=identity.intent_of(order.client_id) or wanted.intent,
                            position=position.id,
                            leg=Leg.FAR,
                            client_id=order.client_id,
                            verdict=Verdict.ACCEPTED,
                            trigger=Ticks(trigger),
                            lots=Lots(0),
                            status=row.algo_status,
                        )
                    )
                return order
        await asyncio.sleep(RETRY_MS / 1_000)  # it went between the refusal and the read
        return None

    def _purpose(self, position: Guarded, leg: Leg, wanted: WantedRail) -> Purpose:
        return Purpose(
            intent=wanted.intent,
            position=position.id,
            symbol=position.symbol,
            leg=leg,
            lane=Lane.PROTECT,
            trigger=wanted.trigger,
            lots=wanted.lots,
        )
