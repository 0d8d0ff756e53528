"""
The only place that takes an order off the venue, and that says what "unknown order" meant.

−2011 on a cancel is no answer (pains 2, 9): the order may have been filled, triggered, cancelled before, or not be seen
yet. So it is asked for by its id on its own book; "not found" counts from two reads at least a second apart.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import Reaction, ReadFailed
from pipeline.binance.requests import CancelAlgo, CancelRegular
from pipeline.core.events import RequestEnded, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Lots, Ticks, parse_e8
from pipeline.execution.desk import Desk, Guarded, LiveOrder
from pipeline.execution.evidence import ALGO_FIRED, Sighting
from pipeline.execution.sender import Purpose, Sender, with_reply

SECOND_READ_MS: Final = 1_000
NOT_FOUND: Final = -2013


class Canceller:
    """Cancels single orders and concludes how it went."""

    def __init__(self, desk: Desk, sender: Sender) -> None:
        self._desk = desk
        self._sender = sender

    async def cancel(self, position: Guarded, order: LiveOrder, *, intent: str) -> Verdict:
        """
        Cancel *order* for *intent*: CANCELLED, GONE (filled or triggered), or IN_DOUBT when we may not act any more.

        An order that is gone is forgotten by the position.
        """
        purpose = Purpose(
            intent=intent,
            position=position.id,
            symbol=position.symbol,
            leg=order.leg,
            lane=Lane.CANCEL,
            trigger=order.trigger,
            lots=order.lots,
        )
        request: CancelAlgo | CancelRegular
        if order.book == "algoOrder":
            request = CancelAlgo(symbol=position.symbol, client_id=order.client_id)
        else:
            request = CancelRegular(symbol=position.symbol, client_id=order.client_id)
        tries = 0
        while True:
            classified, body = await self._sender.cancel(purpose, request)
            if classified.reaction in (Reaction.ACCEPTED, Reaction.NOTHING_TO_DO):
                return self._gone(position, order, purpose, Verdict.CANCELLED, body)
            if classified.reaction is Reaction.TRIGGERING:
                return self._gone(position, order, purpose, Verdict.GONE, b"", code=classified.code)
            if classified.reaction is not Reaction.UNKNOWN_ORDER:
                return Verdict.IN_DOUBT  # key or epoch lost; told by the sender
            verdict, body = await self._what_became(position, order)
            if verdict is not None:
                return self._gone(position, order, purpose, verdict, body, code=classified.code)
            tries += 1
            await asyncio.sleep(min(0.05 * tries, 1.0))  # it rests after all: the cancel came too early for its book

    async def _what_became(self, position: Guarded, order: LiveOrder) -> tuple[Verdict | None, bytes]:
        """Ask for the order on its own book; None: it still rests there."""
        misses_since: int | None = None
        while True:
            seen = self._desk.evidence.of(order.client_id, order.book)
            if seen is not None and seen.ended:
                return _verdict(seen), b""
            query = (
                requests.query_algo_order(order.client_id)
                if order.book == "algoOrder"
                else requests.query_order(position.symbol, order.client_id)
            )
            try:
                body = await self._sender.read(query, Lane.QUERY)
            except ReadFailed as error:
                now = self._desk.clock.now_ms()
                if error.args[1] == NOT_FOUND:
                    if misses_since is not None and now - misses_since >= SECOND_READ_MS:
                        return Verdict.CANCELLED, b""
                    misses_since = now if misses_since is None else misses_since
                await asyncio.sleep(SECOND_READ_MS / 1_000)
                continue
            found = sighting_of(body, position.symbol, self._desk)
            if found is None:
                await asyncio.sleep(SECOND_READ_MS / 1_000)
                continue
            self._desk.evidence.seen(found)
            return (_verdict(found), body) if found.ended else (None, body)

    def _gone(
        self, position: Guarded, order: LiveOrder, purpose: Purpose, verdict: Verdict, body: bytes, *, code: int = 0
    ) -> Verdict:
        position.orders.pop(order.client_id, None)
        outcome = RequestEnded(
            intent=purpose.intent,
            position=position.id,
            leg=order.leg,
            client_id=order.client_id,
            verdict=verdict,
            trigger=Ticks(order.trigger),
            lots=Lots(order.lots),
            code=code,
        )
        if body:
            outcome = with_reply(outcome, body, self._desk.instruments[position.symbol])
        self._sender.conclude(outcome)
        return verdict


def _verdict(seen: Sighting) -> Verdict:
    """A fill or a trigger makes it GONE; anything else that ended it was a cancel."""
    if seen.book == "algoOrder":
        return Verdict.GONE if seen.status in ALGO_FIRED else Verdict.CANCELLED
    return Verdict.GONE if seen.status == "FILLED" else Verdict.CANCELLED


class _Found(msgspec.Struct):
    """What GET order and GET algoOrder say (venue sheet 4.3, 4.4)."""

    clientOrderId: str = ""
    clientAlgoId: str = ""
    status: str = ""
    algoStatus: str = ""
    executedQty: str = "0"
    avgPrice: str = "0"
    orderId: int = 0
    algoId: int = 0
    updateTime: int = 0


_found = msgspec.json.Decoder(_Found)


def sighting_of(body: bytes, symbol: str, desk: Desk) -> Sighting | None:
    """A query's answer as a sighting; None for one that cannot be read."""
    try:
        found = _found.decode(body)
        algo = bool(found.clientAlgoId)
        return Sighting(
            symbol=symbol,
            client_id=found.clientAlgoId or found.clientOrderId,
            book="algoOrder" if algo else "order",
            status=found.algoStatus if algo else found.status,
            filled=0 if algo else desk.instruments[symbol].whole_lots(found.executedQty),
            order_id=found.algoId if algo else found.orderId,
            average_e8=0 if algo else parse_e8(found.avgPrice or "0"),
            event_ms=found.updateTime,
        )
    except (msgspec.DecodeError, ValueError):
        return None
