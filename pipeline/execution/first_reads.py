"""
The only place that reads the venue at a start and insists on its answer: before it, nothing open can be protected.

Each read goes on by itself: soon again after a failure, and with little patience for an answer at first, for what is
held up once is often answered when it is asked again. Later tries are rarer and wait longer. Where two roads lead to
the same knowledge they take turns: quantities stand in positionRisk and in account (venue sheet 4.6), and one may
answer while the other does not. Of both books only symbols that the journal knows are read (weight 1 each).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed, VenueFailure
from pipeline.core.rate_limits import Lane
from pipeline.execution.desk import Desk
from pipeline.execution.in_doubt import lots_of_account, lots_of_positions
from pipeline.execution.rails import OpenAlgoRow, open_algo_rows
from pipeline.execution.sender import Sender

Found = TypeVar("Found")
Way = Callable[[int], Awaitable[Found]]  # asks once, and waits for its answer so many ms

PATIENCE_MS: Final = (300, 700, 1_500, 3_000)  # of each way in turn; the last repeats
PATIENCE_LARGE_MS: Final = (1_500, 3_000)  # exchangeInfo is a megabyte
AGAIN_MS: Final = (20, 50, 100, 150, 200, 200, 250, 300, 300, 400, 500, 1_000, 2_000)
SAID_AFTER: Final = 3  # failures of one read before people hear of it


async def insist(
    ways: Sequence[Way[Found]], *, failing: Callable[[str], None], patience_ms: tuple[int, ...] = PATIENCE_MS
) -> Found:
    """Ask until there is an answer, by each of the *ways* in turn; *failing* hears why there is none."""
    turn = 0
    while True:
        try:
            return await ways[turn % len(ways)](patience_ms[min(turn // len(ways), len(patience_ms) - 1)])
        except VenueFailure as error:
            if turn + 1 >= SAID_AFTER:
                failing(str(error))
        await asyncio.sleep(AGAIN_MS[min(turn, len(AGAIN_MS) - 1)] / 1_000)
        turn += 1


class OpenOrderRow(msgspec.Struct, rename="camel"):
    """A row of openOrders, as far as a start needs it."""

    client_order_id: str
    symbol: str
    orig_qty: str = "0"
    price: str = "0"


_open_orders: Final = msgspec.json.Decoder(list[OpenOrderRow])


class Reads(msgspec.Struct):
    """What the venue shows: signed lots of every symbol, and the open orders of those that were asked for."""

    positions: dict[str, int]
    algo_orders: list[OpenAlgoRow]
    orders: list[OpenOrderRow]


async def read_venue(desk: Desk, sender: Sender, symbols: Iterable[str]) -> Reads:
    """Read the account's positions and both books of *symbols*; returns when all have been answered."""

    def failing(text: str) -> None:
        desk.alert("start_not_read", "critical", f"the venue cannot be read at start: {text}")

    async def body(request: requests.Read, timeout_ms: int) -> bytes:
        return await sender.read(request, Lane.PROTECT, tries=1, timeout_ms=timeout_ms)

    async def risk(timeout_ms: int) -> dict[str, int]:
        found = lots_of_positions(desk, await body(requests.position_risk(), timeout_ms))
        return {symbol: lots for symbol, (lots, _) in found.items()}

    async def account(timeout_ms: int) -> dict[str, int]:
        return lots_of_account(desk, await body(requests.account(), timeout_ms))

    async def algo_orders(symbol: str) -> list[OpenAlgoRow]:
        async def ask(timeout_ms: int) -> list[OpenAlgoRow]:
            return _decoded(open_algo_rows, await body(requests.open_algo_orders(symbol), timeout_ms))

        return await insist((ask,), failing=failing)

    async def orders(symbol: str) -> list[OpenOrderRow]:
        async def ask(timeout_ms: int) -> list[OpenOrderRow]:
            return _decoded(_open_orders, await body(requests.open_orders(symbol), timeout_ms))

        return await insist((ask,), failing=failing)

    wanted = sorted(set(symbols))
    positions, algo_books, books = await asyncio.gather(
        insist((risk, account), failing=failing),
        asyncio.gather(*map(algo_orders, wanted)),
        asyncio.gather(*map(orders, wanted)),
    )
    return Reads(positions, [row for book in algo_books for row in book], [row for book in books for row in book])


def _decoded(decoder: msgspec.json.Decoder[Found], body: bytes) -> Found:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ReadFailed(f"a book: {error}", 0) from error
