"""
The only place that talks HTTP to the venue: one client, HTTP/1.1 keep-alive, signed exactly as sent (venue sheet 6.1).

It decides nothing and repeats nothing. It returns an ``Answer`` whatever its status, or raises ``NotWritten`` or
``NoAnswer``, which tell whether the request can have been executed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Final, Protocol

import msgspec

from pipeline.binance.connections import Connections, Reply, Written, header_lines
from pipeline.binance.errors import NoAnswer, NotWritten, ReadFailed
from pipeline.binance.requests import Read, Request, Security, canonical, server_time
from pipeline.core.units import Milliseconds
from pipeline.lean_imports import without

with without("httpx._main"):
    import httpx

CONNECTIONS: Final = 20
CONNECTIONS_OF_READS: Final = 10  # reads that hang must never hold the connections that a stop or a close needs
IDLE_SECONDS: Final = 50.0  # below the venue's own patience, so that a kept connection is not cut under a request


class Answer(msgspec.Struct, frozen=True):
    """What came back; ``headers`` have lower-case names, ``written_ms`` is when the kernel had the whole request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_ms: Milliseconds
    written_ms: Milliseconds
    received_ms: Milliseconds
    written_ns: int = 0

    def count(self, name: str) -> int | None:
        """An integer header, None when absent or no number."""
        text = self.headers.get(name, "")
        return int(text) if text.isdigit() else None


def sign(secret: bytes, payload: str) -> str:
    """HMAC-SHA256 of the bytes sent, in hex."""
    return hmac.new(secret, payload.encode(), hashlib.sha256).hexdigest()


class Carrier(Protocol):
    """What brings bytes to the venue (``pipeline.binance.connections.Connections``)."""

    async def exchange(self, method: bytes, target: bytes, fields: bytes, written: Written) -> Reply:
        """See ``Connections.exchange``."""

    async def aclose(self) -> None:
        """See ``Connections.aclose``."""


class RestClient:
    """
    The venue behind one address.

    ``server_ahead_ms`` is how far the venue's clock is ahead of ours, read by ``synchronise``; *now_ms* is our clock.
    *carrier* replaces the network in tests of single answers.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str,
        api_secret: str,
        now_ms: Callable[[], int],
        carrier: Carrier | None = None,
    ) -> None:
        base = httpx.URL(base_url)
        self._signer = hmac.new(api_secret.encode(), digestmod=hashlib.sha256)
        self._now_ms = now_ms
        self.server_ahead_ms = 0
        self._read_turns = asyncio.Semaphore(CONNECTIONS_OF_READS)
        self._carrier = carrier or Connections(base, most=CONNECTIONS, idle_seconds=IDLE_SECONDS)
        plain = {
            "host": base.netloc.decode(),
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "perpguard",
        }
        keyed = {**plain, "x-mbx-apikey": api_key}
        self._fields = {  # (method, with the key) → the lines of the headers
            (method, key): header_lines(fields | ({"content-length": "0"} if method in ("POST", "PUT") else {}))
            for method in ("GET", "POST", "PUT", "DELETE")
            for key, fields in ((False, plain), (True, keyed))
        }

    def target(self, request: Request, *, timestamp_ms: int, receive_window_ms: int) -> bytes:
        """Path and query exactly as they go on the wire; the signature is the last parameter."""
        query = canonical(request.parameters())
        if request.security is Security.SIGNED:
            tail = f"recvWindow={receive_window_ms}&timestamp={timestamp_ms}"
            query = f"{query}&{tail}" if query else tail
            signer = self._signer.copy()
            signer.update(query.encode())
            query = f"{query}&signature={signer.hexdigest()}"
        return (f"{request.path}?{query}" if query else request.path).encode()

    async def send(
        self, request: Request, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
    ) -> Answer:
        """
        Send once and return the answer whatever its status.

        Raises:
            NotWritten: nothing reached the wire.
            NoAnswer: the request may have been written and there is no whole answer.
        """
        target = self.target(request, timestamp_ms=timestamp_ms, receive_window_ms=receive_window_ms)
        fields = self._fields[request.method, request.security is not Security.NONE]
        written = Written()
        sent_ms = self._now_ms()
        try:
            async with (
                asyncio.timeout(timeout_ms / 1_000),
                self._read_turns if isinstance(request, Read) else nullcontext(),
            ):
                reply = await self._carrier.exchange(request.method.encode(), target, fields, written)
        except (httpx.HTTPError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
            if written.began or isinstance(error, (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError)):
                raise NoAnswer(reason) from error
            raise NotWritten(reason) from error
        return Answer(
            status=reply.status,
            headers={name.decode("latin-1"): text.decode("latin-1") for name, text in reply.headers},
            body=reply.body,
            sent_ms=Milliseconds(sent_ms),
            written_ms=Milliseconds(written.ns // 1_000_000),
            received_ms=Milliseconds(self._now_ms()),
            written_ns=written.ns,
        )

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        """
        Read the venue's clock and keep the offset; returns half the round trip in ms, the bound of its error.

        Raises:
            VenueFailure: no usable answer.
        """
        answer = await self.send(server_time(), timeout_ms=timeout_ms)
        if answer.status != 200:
            raise ReadFailed(f"/time answered {answer.status}")
        try:
            server_ms = msgspec.json.decode(answer.body, type=dict[str, int])["serverTime"]
        except (msgspec.DecodeError, KeyError) as error:
            raise ReadFailed(f"/time answered {answer.body[:80]!r}") from error
        half = (answer.received_ms - answer.sent_ms + 1) // 2
        self.server_ahead_ms = server_ms - (answer.sent_ms + answer.received_ms) // 2
        return half

    async def close(self) -> None:
        """Close the connections."""
        await self._carrier.aclose()
