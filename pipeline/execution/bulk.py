"""
The only place for reads that one request answers for every symbol: mark prices and best prices while streams are down.

Who asks within a moment shares one request without a symbol; a single asker is read alone, at a lower weight. Five held
symbols polled every five seconds would else cost more than the whole budget of a minute (domain 6.7).
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
# A symbol that fundingInfo does not list has the default interval (venue sheet 7.2): that is an answer, too.
UNLISTED: Final[dict[str, Callable[[str], bytes]]] = {
    "funding_info": lambda symbol: b'{"symbol":"%s"}' % symbol.encode()
}


class _Row(msgspec.Struct):
    symbol: str


class BulkReads:
    """Gathers the askers of each kind; *read* sends, *say* answers one with its symbol's own bytes or an error."""

    def __init__(
        self,
        *,
        read: Callable[[Read, DataIntentRecord], Awaitable[bytes]],
        say: Callable[[DataIntentRecord, bytes, str], None],
    ) -> None:
        self._read = read
        self._say = say
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
        for record in askers:
            row = rows.get(record.symbol)
            if row is None and kind in UNLISTED:
                row = UNLISTED[kind](record.symbol)
            self._say(record, row or b"", "" if row else "the venue does not know the symbol")


def _rows(body: bytes) -> dict[str, bytes]:
    """The rows of a bulk answer by symbol, byte for byte."""
    rows = msgspec.json.decode(body, type=list[msgspec.Raw])
    return {msgspec.json.decode(row, type=_Row).symbol: bytes(row) for row in rows}
