"""
The only place that rests and withdraws targets: TP1 as a reduce-only LIMIT, TP2 as a conditional close (domain 6.7).

A cancel of a leg first tombstones what was not sent yet: a target asked for before it never goes out after it.
"""

from __future__ import annotations

from typing import Final

from pipeline.binance import requests
from pipeline.binance.errors import Reaction
from pipeline.binance.requests import Placement
from pipeline.core.commands import CancelLeg, PlaceTarget
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.execution.cancelling import Canceller
from pipeline.execution.desk import Desk, Guarded, LiveOrder
from pipeline.execution.in_doubt import Doubts
from pipeline.execution.sender import Purpose, Sender, Sent, Wanted
from pipeline.wire.records import IntentRecord

GIVE_UP_TRIES: Final = 5


class Targets:
    """Targets of every position; the newest wish of a (position, leg) wins."""

    def __init__(self, desk: Desk, sender: Sender, canceller: Canceller, doubts: Doubts) -> None:
        self._desk = desk
        self._sender = sender
        self._canceller = canceller
        self._doubts = doubts

    def place(self, record: IntentRecord, position: Guarded) -> None:
        """Ask for a target to rest."""
        intent = record.intent
        assert isinstance(intent, PlaceTarget)
        position.targets[intent.leg] = record.id
        self._desk.spawn(self._place(record, intent, position), f"target {record.id}")

    def cancel(self, record: IntentRecord, position: Guarded) -> None:
        """Ask for a leg to be withdrawn."""
        intent = record.intent
        assert isinstance(intent, CancelLeg)
        position.targets[intent.leg] = ""
        self._desk.spawn(self._cancel(record, intent, position), f"cancel {record.id}")

    async def _cancel(self, record: IntentRecord, intent: CancelLeg, position: Guarded) -> None:
        async with self._desk.chain(position.symbol, intent.leg):
            for order in position.live(intent.leg, doubtful=True):
                await self._canceller.cancel(position, order, intent=record.id)
        self._sender.settle(record.id, symbol=position.symbol, position=position.id)

    async def _place(self, record: IntentRecord, intent: PlaceTarget, position: Guarded) -> None:
        purpose = Purpose(
            intent=record.id,
            position=position.id,
            symbol=position.symbol,
            leg=intent.leg,
            lane=Lane.CLOSE,
            trigger=intent.price,
            lots=intent.lots,
        )

        def wanted() -> str:
            if position.flat or position.closing or position.swept:
                return "position is closing"
            if not position.plausible(intent.price):
                return "invalid: a price on another scale"
            return "" if position.targets.get(intent.leg) == record.id else "superseded"

        async with self._desk.chain(position.symbol, intent.leg):
            for order in position.live(intent.leg, doubtful=True):
                await self._canceller.cancel(position, order, intent=record.id)
            post_only = True
            for _ in range(GIVE_UP_TRIES):
                sent = await self._send(purpose, intent, position, post_only=post_only, wanted=wanted)
                if sent.outcome.verdict is Verdict.ACCEPTED:
                    self._rests(position, sent)
                elif sent.outcome.verdict is Verdict.IN_DOUBT and sent.attempted is not None:
                    order = self._rests(position, sent, doubtful=True)
                    outcome = await self._doubts.resolve(
                        sent.attempted,
                        valid_until_ms=sent.valid_until_ms,
                        trigger=intent.price,
                        lots=intent.lots,
                        untouched=lambda _: True,
                    )
                    self.doubt_ended(position, order, outcome)
                    if outcome.verdict is Verdict.ABSENT:
                        continue
                elif sent.reaction is Reaction.WOULD_TAKE and post_only:
                    post_only = False  # GTX would take: rest it as GTC (domain 6.7)
                    continue
                break
        self._sender.settle(record.id, symbol=position.symbol, position=position.id)

    async def _send(
        self, purpose: Purpose, intent: PlaceTarget, position: Guarded, *, post_only: bool, wanted: Wanted
    ) -> Sent:
        instrument = self._desk.instruments[position.symbol]

        def build(client_id: str) -> Placement:
            if intent.leg is Leg.LAST_TARGET:
                return requests.last_target(
                    instrument, client_id=client_id, position_side=position.side, trigger=intent.price
                )
            return requests.target(
                instrument,
                client_id=client_id,
                position_side=position.side,
                lots=intent.lots,
                price=intent.price,
                post_only=post_only,
            )

        return await self._sender.place(purpose, build, wanted=wanted)

    def _rests(self, position: Guarded, sent: Sent, *, doubtful: bool = False) -> LiveOrder:
        outcome = sent.outcome
        book = "order" if outcome.leg is Leg.TARGET else "algoOrder"
        order = LiveOrder(outcome.client_id, outcome.leg, book, outcome.trigger, outcome.lots, doubtful)
        seen = self._desk.evidence.of(order.client_id, book)
        if (seen is None or not seen.ended) and outcome.status not in ("FILLED", "EXPIRED", "CANCELED"):
            position.orders[order.client_id] = order
        return order

    def doubt_ended(self, position: Guarded, order: LiveOrder, outcome: RequestEnded) -> None:
        """A doubtful target was found or not."""
        order.doubtful = False
        seen = self._desk.evidence.of(order.client_id, order.book)
        if outcome.verdict is Verdict.ABSENT or (seen is not None and seen.ended):
            position.orders.pop(order.client_id, None)
