"""
The only place that reads the whole account: at start, every minute while a position is open, and when account asks.

Account judges day loss, margin ratio and drawdown by two sources (``core.risk``); this is the second one: account v3
(weight 5), and when a bound is suspected the transfers of income too (weight 30), because money taken out by hand is no
loss. A read that account waits for is a query (the reserve is kept for those); the others wait their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Milliseconds
from pipeline.execution.desk import Desk
from pipeline.execution.sender import Sender
from pipeline.wire import lines
from pipeline.wire.records import AccountRead, DataIntentRecord

log = structlog.get_logger(__name__)

ACCOUNT_EVERY_S: Final = 60.0
FIRST_AGAIN_S: Final = 2.0  # until the account was read once, nothing may be entered


class AccountReads:
    """Reads the account for account; *tell* writes the record into its topic."""

    def __init__(self, desk: Desk, sender: Sender, tell: Callable[[msgspec.Struct], Awaitable[None]]) -> None:
        self._desk = desk
        self._sender = sender
        self._tell = tell
        self._asked = False

    async def keep(self) -> None:
        """Read at start until it succeeds, then every minute while a position is open."""
        known = False
        while True:
            if not known or self._desk.positions:
                known = await self._read(Lane.DATA, since_ms=0) or known
            await asyncio.sleep(ACCOUNT_EVERY_S if known else FIRST_AGAIN_S)

    def ask(self, record: DataIntentRecord) -> None:
        """Account waits for a read with the transfers since ``since_ms``; one at a time, account asks again."""
        if not self._asked:
            self._asked = True
            self._desk.spawn(self._serve(record.request.since_ms), "account")

    async def _serve(self, since_ms: int) -> None:
        try:
            await self._read(Lane.QUERY, since_ms=since_ms)
        finally:
            self._asked = False

    async def _read(self, lane: Lane, *, since_ms: int) -> bool:
        transfers = b"null"
        try:
            if since_ms:
                transfers = await self._sender.read(requests.transfers(since_ms), lane)
            body = await self._sender.read(requests.account(), lane)
        except ReadFailed as error:
            log.warning("account_not_read", error=str(error))
            return False
        if not lines.embeddable(body) or not lines.embeddable(transfers):
            log.warning("account_not_read", error="the answer is no single JSON value")
            return False
        await self._tell(
            AccountRead(
                at_ms=Milliseconds(self._desk.clock.now_ms()),
                body=msgspec.Raw(body),
                since_ms=Milliseconds(since_ms),
                transfers=msgspec.Raw(transfers),
            )
        )
        return True
