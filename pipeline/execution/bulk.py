"""
The only place for reads that one request answers for every symbol: mark prices and best prices while streams are down.

Who asks within a moment shares one request without a symbol; a single asker is read alone, at a lower weight. Five held
symbols polled every five seconds would else cost more than the whole budget of a minute (domain 6.7). What is always
read whole and hardly changes (funding intervals, leverage brackets) answers later askers for an hour without a request:
with each closed bar some symbols are newly shortlisted, and every one of them asks once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed
from pipeline.binance.requests import Read
from pipeline.wire.records import DataIntentRecord

GATHER_SECONDS: Final = 0.02
BUILDERS: Final[dict[str, Callable[[str], Read]]] = {
    "premium_index": requests.premium_index,
    "book_ticker": requests.book_ticker,
    "funding_info": requests.funding_info,
    "leverage_brackets": requests.leverage_brackets,
}
ALWAYS_WHOLE: Final = ("funding_info", "leverage_brackets")  # one read of all weighs no more than one of a symbol
# No longer than decide waits before it asks for them again (``core.data_requests.PACES``): who asks twice gets news.
KEPT_MS: Final = 3_600_000
# A symbol that fundingInfo does not list has the default interval (venue sheet 7.2): that is an answer, too.
UNLISTED: Final[dict[str, Callable[[str], bytes]]] = {
    "funding_info": lambda symbol: b'{"symbol":"%s"}' % symbol.encode()
}


class _Row(msgspec.Struct):
    symbol: str


class _Kept(msgspec.Struct, frozen=True):
    """A whole answer and when it was read."""

    at_ms: int
    rows: dict[str, bytes]


class BulkReads:
    """
    Gathers the askers of each kind; *read* sends, *say* answers one with its symbol's own bytes or an error, *now_ms*
    is the clock by which a whole answer grows old.
    """

    def __init__(
        self,
        *,
        read: Callable[[Read, DataIntentRecord], Awaitable[bytes]],
        say: Callable[[DataIntentRecord, bytes, str], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._read = read
        self._say = say
        self._now_ms = now_ms
        self._kept: dict[str, _Kept] = {}
        self._askers: dict[str, list[DataIntentRecord]] = {}

    def gather(self, record: DataIntentRecord) -> bool:
        """Note an asker; True when ``serve`` is to be called for its kind (the first one of a moment)."""
        askers = self._askers.setdefault(record.request.kind, [])
        askers.append(record)
        return len(askers) == 1

    async def serve(self, kind: str) -> None:
        """Read for everybody who asks within a moment; never raises for what the venue does."""
        await asyncio.sleep(GATHER_SECONDS)
        askers = self._askers.pop(kind)
        kept = self._kept.get(kind)
        if kept is not None and self._now_ms() - kept.at_ms < KEPT_MS:
            self._answer(askers, kind, kept.rows)
            return
        symbols = {record.symbol for record in askers}
        alone = next(iter(symbols)) if len(symbols) == 1 and kind not in ALWAYS_WHOLE else ""
        urgent = next((record for record in askers if record.request.held), askers[0])
        try:
            body = await self._read(BUILDERS[kind](alone), urgent)
            rows = {alone: body} if alone else _rows(body)
        except (ReadFailed, TimeoutError, msgspec.DecodeError) as error:
            for record in askers:
                self._say(record, b"", str(error)[:200] or "expired")
            return
        if kind in ALWAYS_WHOLE:
            self._kept[kind] = _Kept(self._now_ms(), rows)
        self._answer(askers, kind, rows)

    def _answer(self, askers: list[DataIntentRecord], kind: str, rows: dict[str, bytes]) -> None:
        for record in askers:
            row = rows.get(record.symbol)
            if row is None and kind in UNLISTED:
                row = UNLISTED[kind](record.symbol)
            self._say(record, row or b"", "" if row else "the venue does not know the symbol")


def _rows(body: bytes) -> dict[str, bytes]:
    """The rows of a bulk answer by symbol, byte for byte."""
    rows = msgspec.json.decode(body, type=list[msgspec.Raw])
    return {msgspec.json.decode(row, type=_Row).symbol: bytes(row) for row in rows}
