"""
The only place that ends a doubt, by evidence of the venue and never by a timer: was an unanswered request executed?

Rules (venue sheet 5.5, domain 6.7, pains 2, 8, 9):

1. The user stream or a query by client id on the right book that shows the order settles it.
2. "Not found" counts only once the request can no longer be taken (timestamp + recvWindow have passed, the engine
   checks it again) and only from two complete reads at least a second apart. For what can fill, the position must
   agree in both.
3. Until then the doubt stands, however long it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.rate_limits import Lane
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from pipeline.execution.cancelling import NOT_FOUND, sighting_of
from pipeline.execution.desk import Desk
from pipeline.execution.evidence import Sighting
from pipeline.execution.sender import Sender
from pipeline.wire.records import Attempted

SECOND_READ_MS: Final = 1_000
POLLS_MS: Final = (250, 500, 1_000, 1_100, 2_000)  # between the queries; the last repeats


class Miss(msgspec.Struct, frozen=True):
    """A complete read that did not show the order; ``agrees``: the position is as if it had never been."""

    at_ms: int
    agrees: bool


def absent(misses: list[Miss], *, valid_until_ms: int) -> bool:
    """Rule 2: two agreeing misses behind the end of validity, a second apart, with nothing against in between."""
    first: int | None = None
    for miss in misses:
        if miss.at_ms <= valid_until_ms or not miss.agrees:
            first = None
        elif first is None:
            first = miss.at_ms
        elif miss.at_ms - first >= SECOND_READ_MS:
            return True
    return False


def conclusive(seen: Sighting, leg: Leg) -> bool:
    """An entry or a close must have ended before its fills are final; any sighting proves a resting order."""
    return seen.ended if leg in (Leg.ENTRY, Leg.CLOSE) else True


class Doubts:
    """Ends doubts, one call each."""

    def __init__(self, desk: Desk, sender: Sender) -> None:
        self._desk = desk
        self._sender = sender

    async def resolve(
        self,
        attempted: Attempted,
        *,
        valid_until_ms: int,
        trigger: int,
        lots: int,
        untouched: Callable[[int], bool],
    ) -> RequestEnded:
        """
        Wait until the venue says what became of *attempted*; conclude and return it: ACCEPTED (with status) or ABSENT.

        *untouched* says whether a signed position quantity is as if the order had never been.
        """
        desk = self._desk
        misses: list[Miss] = []
        turn = 0
        while True:
            seen = desk.evidence.of(attempted.client_id, attempted.path)
            if seen is not None and conclusive(seen, attempted.leg):
                return self._conclude(_accepted(attempted, seen, trigger=trigger, lots=lots))
            if await desk.evidence.wait(attempted.client_id, POLLS_MS[min(turn, len(POLLS_MS) - 1)]):
                continue
            turn += 1
            asked_ms = desk.clock.now_ms()
            found = await self._query(attempted)
            if isinstance(found, Sighting):
                desk.evidence.seen(found)
            elif found == NOT_FOUND:
                agrees = await self._position_agrees(attempted, untouched)
                if agrees is not None:
                    misses.append(Miss(asked_ms, agrees))
            if absent(misses, valid_until_ms=valid_until_ms):
                return self._conclude(_ended(attempted, Verdict.ABSENT, trigger=trigger, lots=lots))

    async def _query(self, attempted: Attempted) -> Sighting | int:
        """The order on its own book, or the venue's code (0: no usable answer)."""
        query = (
            requests.query_algo_order(attempted.client_id)
            if attempted.path == "algoOrder"
            else requests.query_order(attempted.symbol, attempted.client_id)
        )
        try:
            body = await self._sender.read(query, Lane.QUERY, tries=1)
        except ReadFailed as error:
            code: int = error.args[1]
            return code
        return sighting_of(body, attempted.symbol, self._desk) or 0

    async def _position_agrees(self, attempted: Attempted, untouched: Callable[[int], bool]) -> bool | None:
        if attempted.path == "algoOrder":
            return True  # nothing fills before its trigger, and then the query shows it
        try:
            lots = await read_position(self._desk, self._sender, attempted.symbol)
        except ReadFailed:
            return None
        return untouched(lots)

    def _conclude(self, outcome: RequestEnded) -> RequestEnded:
        self._sender.conclude(outcome)
        return outcome


class _PositionRow(msgspec.Struct):
    symbol: str
    positionAmt: str
    positionSide: str = "BOTH"
    markPrice: str = "0"


_rows = msgspec.json.Decoder(list[_PositionRow])


async def read_position(desk: Desk, sender: Sender, symbol: str, lane: Lane = Lane.QUERY) -> int:
    """The venue's signed quantity of a symbol in lots. Raises ReadFailed."""
    return (await read_positions(desk, sender, symbol, lane)).get(symbol, (0, ""))[0]


async def read_positions(
    desk: Desk, sender: Sender, symbol: str = "", lane: Lane = Lane.QUERY
) -> dict[str, tuple[int, str]]:
    """Symbol → (signed lots, mark price as text) of the one-way positions we know. Raises ReadFailed."""
    return lots_of_positions(desk, await sender.read(requests.position_risk(symbol), lane))


def lots_of_positions(desk: Desk, body: bytes) -> dict[str, tuple[int, str]]:
    """The same out of a positionRisk answer. Raises ReadFailed."""
    try:
        return {
            row.symbol: (desk.instruments[row.symbol].whole_lots(row.positionAmt), row.markPrice)
            for row in _rows.decode(body)
            if row.symbol in desk.instruments and row.positionSide == "BOTH"
        }
    except (msgspec.DecodeError, ValueError) as error:
        raise ReadFailed(f"positionRisk: {error}", 0) from error


class _Account(msgspec.Struct):
    positions: list[_PositionRow]


_account = msgspec.json.Decoder(_Account)


def lots_of_account(desk: Desk, body: bytes) -> dict[str, int]:
    """Symbol → signed lots out of an account answer, the other place where they stand. Raises ReadFailed."""
    try:
        return {
            row.symbol: desk.instruments[row.symbol].whole_lots(row.positionAmt)
            for row in _account.decode(body).positions
            if row.symbol in desk.instruments and row.positionSide == "BOTH"
        }
    except (msgspec.DecodeError, ValueError) as error:
        raise ReadFailed(f"account: {error}", 0) from error


def _ended(attempted: Attempted, verdict: Verdict, *, trigger: int, lots: int) -> RequestEnded:
    return RequestEnded(
        intent=attempted.intent,
        position=attempted.position,
        leg=attempted.leg,
        client_id=attempted.client_id,
        verdict=verdict,
        trigger=Ticks(trigger),
        lots=Lots(lots),
    )


def _accepted(attempted: Attempted, seen: Sighting, *, trigger: int, lots: int) -> RequestEnded:
    return msgspec.structs.replace(
        _ended(attempted, Verdict.ACCEPTED, trigger=trigger, lots=lots),
        order_id=seen.order_id,
        status=seen.status,
        filled_lots=Lots(seen.filled),
        average_price=E8(seen.average_e8),
        venue_ms=Milliseconds(seen.event_ms),
    )
