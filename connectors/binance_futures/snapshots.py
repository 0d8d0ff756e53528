"""
The only place where a recording asks the venue by REST: its filters once, and a book wherever its diffs begin anew.

``perpguard record`` stands alone: no executor is there to read for it. What it asks for needs no key, and is paced: by
default six books a minute, 5 % of the venue's weight, the other 95 % stay with whoever trades from this address. A ban
or an "enough" of the venue (418, 429) is waited out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import httpx
import msgspec
import structlog

from pipeline.wire.lines import embeddable

EXCHANGE_INFO: Final = "/fapi/v1/exchangeInfo"
DEPTH: Final = "/fapi/v1/depth"
LEVELS: Final = 1_000
PER_MINUTE: Final = 6  # weight 20 each of 2,400: 5 %
BURST: Final = 6  # at the start, then one by one
TIMEOUT_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 1.0
ENOUGH: Final = frozenset({418, 429})
ENOUGH_SECONDS: Final = 60.0  # when the venue does not say for how long
LONGEST_WAIT_SECONDS: Final = 3_600.0

log: Any = structlog.get_logger("perpguard.record")  # Any: structlog binds its types at run time


class Keeper(Protocol):
    """Where the answers go, and who knows which books are wanted."""

    wanted: dict[str, None]

    def filters(self, at_ns: int, url: str, body: bytes) -> None:
        """exchangeInfo, untouched."""

    def book(self, at_ns: int, symbol: str, body: bytes) -> None:
        """A snapshot, untouched."""


class Pace:
    """A burst, then so many a minute. Pure: time is an argument (seconds of any monotonic clock)."""

    def __init__(self, *, per_minute: float = PER_MINUTE, burst: int = BURST) -> None:
        self._every = 60.0 / per_minute
        self._burst = burst
        self._free_at: float | None = None

    def wait(self, now: float) -> float:
        """How long until the next may go; it is taken."""
        earliest = now - (self._burst - 1) * self._every
        at = earliest if self._free_at is None else max(earliest, self._free_at)
        self._free_at = at + self._every
        return max(0.0, at - now)


class Snapshots:
    """Reads what *keeper* wants until it is cancelled; the venue may be away at any time."""

    def __init__(
        self,
        *,
        rest_url: str,
        keeper: Keeper,
        per_minute: float = PER_MINUTE,
        now_ns: Callable[[], int] = time.time_ns,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.asked = 0
        self.begun = asyncio.Event()  # the filters are written: frames that come now can be placed on their grid
        self._rest_url = rest_url
        self._keeper = keeper
        self._pace = Pace(per_minute=per_minute)
        self._now_ns = now_ns
        self._transport = transport

    async def run(self) -> None:
        """The filters first: without them no level has a place on its grid."""
        async with httpx.AsyncClient(
            base_url=self._rest_url, timeout=TIMEOUT_SECONDS, transport=self._transport
        ) as client:
            while not self._filters(await self._read(client, EXCHANGE_INFO)):  # noqa: ASYNC110  # for the venue
                await asyncio.sleep(RETRY_SECONDS)
            self.begun.set()
            while True:
                symbol = next(iter(self._keeper.wanted), None)
                if symbol is None:
                    await asyncio.sleep(0.05)
                    continue
                await asyncio.sleep(self._pace.wait(time.monotonic()))
                del self._keeper.wanted[symbol]
                body = await self._read(client, DEPTH, symbol=symbol, limit=LEVELS)
                if body is None:
                    self._keeper.wanted[symbol] = None  # again, behind the others
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    self._keeper.book(self._now_ns(), symbol, body)

    def _filters(self, body: bytes | None) -> bool:
        if body is None:
            return False
        try:
            self._keeper.filters(self._now_ns(), f"{self._rest_url}{EXCHANGE_INFO}", body)
        except msgspec.MsgspecError as error:  # a proxy's page, a maintenance note: the frames go on being recorded
            log.warning("not_read", path=EXCHANGE_INFO, error=str(error)[:200])
            return False
        return True

    async def _read(self, client: httpx.AsyncClient, path: str, **parameters: str | int) -> bytes | None:
        """The body of a good answer; None when there was none, after the wait that the venue demands."""
        self.asked += 1
        try:
            answer = await client.get(path, params=parameters)
        except httpx.HTTPError as error:
            log.warning("not_read", path=path, error=f"{type(error).__name__} {error}"[:200], **parameters)
            return None
        if answer.status_code == 200:
            body = answer.content
            if embeddable(body):
                return body
            return msgspec.json.encode(msgspec.json.decode(body)) if _is_json(body) else None
        log.warning("not_read", path=path, status=answer.status_code, **parameters)
        if answer.status_code in ENOUGH:
            said = answer.headers.get("Retry-After", "")
            await asyncio.sleep(min(LONGEST_WAIT_SECONDS, float(said) if said.isdigit() else ENOUGH_SECONDS))
        return None


def _is_json(body: bytes) -> bool:
    """Laid out over several lines, perhaps by a proxy: its meaning can be kept, its bytes not."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
