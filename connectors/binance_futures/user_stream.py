"""
The only place for what the user stream needs beside its sockets: the listen key, and a watchdog over its events.

The key header goes with these calls and nothing else: no signature, no secret (venue sheet 3.1). They are the only
REST the connector does (architecture 2.4): one POST per connection and one PUT every 30 minutes, weight 1 each. The
key opens the account's private stream, so it is kept out of logs.
"""

from __future__ import annotations

import re
from typing import Final

import httpx
import msgspec

PATH: Final = "/fapi/v1/listenKey"
KEEP_ALIVE_MS: Final = 30 * 60_000  # the key lives 60 minutes
RETRY_MS: Final = 60_000
TIMEOUT_SECONDS: Final = 5.0
NO_SUCH_KEY: Final = -1125
PATIENCE_MS: Final = 5_000  # events come within milliseconds; two connections may both be replaced meanwhile
REMEMBERED_IDS: Final = 2_000
# Client ids in ORDER_TRADE_UPDATE and TRADE_LITE (c), in ALGO_UPDATE (caid): venue sheet 3.3 to 3.6.
_CLIENT_ID: Final = re.compile(rb'"(?:c|caid)":"([^"\\]{1,64})"')


class ListenKeyError(Exception):
    """The venue gave no listen key; the text says why, ``retriable`` whether waiting can help."""

    def __init__(self, message: str, *, retriable: bool) -> None:
        self.retriable = retriable
        super().__init__(message)


class _Answer(msgspec.Struct):
    listenKey: str = ""  # the venue's name
    code: int = 0
    msg: str = ""


class Watchdog:
    """
    Order activity against user events (pain 13): an order that the venue has taken must show in the stream. Pure.

    A stream that stands, answers pings and brings nothing cannot be told from an idle account in any other way. Event
    and outcome race each other, so either may come first.
    """

    def __init__(self, *, patience_ms: int = PATIENCE_MS) -> None:
        self._patience_ms = patience_ms
        self._expected: dict[str, tuple[str, int]] = {}  # client id → symbol, since
        self._heard: dict[str, None] = {}

    def taken(self, client_id: str, symbol: str, now_ms: int) -> None:
        """The venue has taken an order of ours, by its own answer."""
        if client_id and client_id not in self._heard:
            self._expected.setdefault(client_id, (symbol, now_ms))

    def heard(self, frame: bytes) -> None:
        """An event came; the client ids in it are no longer waited for."""
        for found in _CLIENT_ID.findall(frame):
            client_id = found.decode()
            self._expected.pop(client_id, None)
            self._heard[client_id] = None
            if len(self._heard) > REMEMBERED_IDS:
                del self._heard[next(iter(self._heard))]

    def overdue(self, now_ms: int) -> list[tuple[str, str]]:
        """Client id and symbol of each order that was waited for in vain, told once."""
        late = [
            (client_id, symbol)
            for client_id, (symbol, since_ms) in self._expected.items()
            if now_ms - since_ms > self._patience_ms
        ]
        for client_id, _ in late:
            del self._expected[client_id]
        return late


class KeepAlive:
    """When the key must be kept alive next. Pure: time is an argument (any monotonic milliseconds)."""

    def __init__(self) -> None:
        self._due_ms: int | None = None

    def obtained(self, now_ms: int) -> None:
        """A key was fetched or kept alive."""
        self._due_ms = now_ms + KEEP_ALIVE_MS

    def failed(self, now_ms: int) -> None:
        """A keep-alive got no answer: try again in a minute, half an hour is left."""
        self._due_ms = now_ms + RETRY_MS

    def due(self, now_ms: int) -> bool:
        """True once when a keep-alive is due; the caller reports how it went."""
        if self._due_ms is None or now_ms < self._due_ms:
            return False
        self._due_ms = None
        return True


class ListenKeys:
    """The venue's listen-key endpoint."""

    def __init__(self, *, rest_url: str, api_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._key = ""
        self._client = httpx.AsyncClient(
            base_url=rest_url, headers={"X-MBX-APIKEY": api_key}, timeout=TIMEOUT_SECONDS, transport=transport
        )

    @property
    def key(self) -> str:
        """The key that was fetched last; empty before."""
        return self._key

    async def fetch(self) -> str:
        """The account's key, extended by 60 minutes (a POST gives the same key while one is active)."""
        answer = await self._call("POST")
        if not answer.listenKey:
            raise ListenKeyError("the venue answered without a listen key", retriable=True)
        self._key = answer.listenKey
        return self._key

    async def keep_alive(self) -> bool:
        """Extend the key; False when the venue knows it no more and the stream must be opened with a new one."""
        try:
            answer = await self._call("PUT")
        except _Unknown:
            return False
        return answer.listenKey in ("", self._key)

    def without_key(self, text: str) -> str:
        """*text* with the key blotted out: addresses stand in error texts."""
        return text.replace(self._key, "<listen key>") if self._key else text

    async def close(self) -> None:
        """Close the client. The key itself stays: another process of the account may use it."""
        await self._client.aclose()

    async def _call(self, method: str) -> _Answer:
        try:
            response = await self._client.request(method, PATH)
        except httpx.HTTPError as error:
            raise ListenKeyError(f"{method} {PATH}: {type(error).__name__} {error}", retriable=True) from error
        try:
            answer = msgspec.json.decode(response.content, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            answer = _Answer(msg=f"not understood: {response.content[:100]!r}")
        if response.status_code == 200:
            return answer
        if answer.code == NO_SUCH_KEY:
            raise _Unknown(f"{method} {PATH}: {answer.msg}", retriable=True)
        reason = f"{method} {PATH}: HTTP {response.status_code} {answer.code} {answer.msg}"
        raise ListenKeyError(reason, retriable=response.status_code != 401)


class _Unknown(ListenKeyError):
    """-1125: this listen key does not exist."""
