"""
The only place where a program outside hands in a signal over HTTP: ``POST /signal``, authenticated and heard once.

A request carries three headers: ``X-Perpguard-Timestamp`` (Unix ms), ``X-Perpguard-Nonce`` (8 to 40 of ``A-Za-z0-9_-``)
and ``X-Perpguard-Signature``, the hex HMAC-SHA256 by the shared secret over ``timestamp.nonce.body``. Who does not know
the secret learns nothing but 401. A timestamp more than ``WINDOW_MS`` off is refused; a nonce is taken once: within the
window by memory, for ever by the command id ``hook-<nonce>`` that the account answers once, also after a restart.

Nothing is decided here: an accepted request is a ``SignalCommand`` in the topic ``account``, which meets every gate.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

import msgspec
from aiohttp import web

from pipeline.core.events import Side
from pipeline.core.units import Milliseconds
from pipeline.wire import records

PATH: Final = "/signal"
WINDOW_MS: Final = 10_000
MOST_BYTES: Final = 4_096
MOST_NONCES: Final = 10_000  # of one window; more signals than that are no signals
LONGEST_VALID_MS: Final = 4 * 3_600_000  # domain section 5: valid_until
SIDES: Final = {"long": Side.BUY, "short": Side.SELL, "buy": Side.BUY, "sell": Side.SELL}
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{8,40}")
_TIMESTAMP: Final = re.compile(r"[0-9]{10,15}")
_SYMBOL: Final = re.compile(r"[A-Z0-9]{3,20}")


class SignalBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body: numbers are texts as a person would type them; ``valid_ms`` counts from the timestamp."""

    symbol: str
    side: str
    source: str = "webhook"
    notional: str = ""
    stop: str = ""
    target: str = ""
    last_target: str = ""
    valid_ms: int = 10_000


class NotTaken(Exception):
    """A request that is refused; ``status`` is the HTTP status, the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


_decode = msgspec.json.Decoder(SignalBody).decode


def signature(secret: str, *, timestamp: str, nonce: str, body: bytes) -> str:
    """The hex HMAC-SHA256 that a caller sends along."""
    return hmac.new(secret.encode(), f"{timestamp}.{nonce}.".encode() + body, sha256).hexdigest()


class Door:
    """Judges requests by *secret*; remembers the nonces of the last window. *now_ms* is the machine's clock."""

    def __init__(self, secret: str, *, now_ms: Callable[[], int]) -> None:
        assert secret
        self._secret = secret
        self._now_ms = now_ms
        self._nonces: dict[str, int] = {}

    def open(self, *, timestamp: str, nonce: str, given: str, body: bytes) -> records.SignalCommand:
        """The command of an authentic, fresh, new and readable request; raises NotTaken."""
        if len(body) > MOST_BYTES:
            raise NotTaken(413, f"a signal has at most {MOST_BYTES} bytes")
        expected = signature(self._secret, timestamp=timestamp, nonce=nonce, body=body)
        if not hmac.compare_digest(expected.encode(), given.lower().encode()):
            raise NotTaken(401, "not authentic")
        if not _TIMESTAMP.fullmatch(timestamp) or not _NONCE.fullmatch(nonce):
            raise NotTaken(400, "the timestamp is Unix time in ms, the nonce 8 to 40 of A-Z a-z 0-9 _ -")
        now = self._now_ms()
        if abs(now - int(timestamp)) > WINDOW_MS:
            raise NotTaken(401, f"the timestamp is {now - int(timestamp)} ms away, {WINDOW_MS} are allowed")
        self._take(nonce, now)
        return _command(body, nonce=nonce, at_ms=int(timestamp))

    def _take(self, nonce: str, now: int) -> None:
        for known in [known for known, until in self._nonces.items() if until < now]:
            del self._nonces[known]
        if nonce in self._nonces:
            raise NotTaken(409, "this nonce was used")
        if len(self._nonces) >= MOST_NONCES:
            raise NotTaken(429, "too many signals")
        self._nonces[nonce] = now + 2 * WINDOW_MS


def _command(body: bytes, *, nonce: str, at_ms: int) -> records.SignalCommand:
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotTaken(400, f"the body cannot be read: {error}") from error
    side = SIDES.get(asked.side.lower())
    if side is None:
        raise NotTaken(400, f"side: found {asked.side[:20]!r}; allowed: {', '.join(SIDES)}")
    if not _SYMBOL.fullmatch(asked.symbol):
        raise NotTaken(400, "symbol: allowed are 3 to 20 capitals and digits")
    if not 0 < asked.valid_ms <= LONGEST_VALID_MS:
        raise NotTaken(400, f"valid_ms: found {asked.valid_ms}; allowed: 1 to {LONGEST_VALID_MS}")
    return records.SignalCommand(
        command=f"hook-{nonce}",
        symbol=asked.symbol,
        side=side,
        source=asked.source[:40] or "webhook",
        notional=asked.notional,
        stop=asked.stop,
        target=asked.target,
        last_target=asked.last_target,
        until_ms=Milliseconds(at_ms + asked.valid_ms),
    )


class Webhook:
    """``route`` serves the door; *write* puts the command into the log and returns when it is there."""

    def __init__(self, door: Door, write: Callable[[records.SignalCommand], Awaitable[object]]) -> None:
        self._door = door
        self._write = write

    def route(self) -> web.RouteDef:
        """For ``server.ViewServer``."""
        return web.post(PATH, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        headers = request.headers
        try:
            body = await request.content.read(MOST_BYTES + 1)
            command = self._door.open(
                timestamp=headers.get("X-Perpguard-Timestamp", ""),
                nonce=headers.get("X-Perpguard-Nonce", ""),
                given=headers.get("X-Perpguard-Signature", ""),
                body=body,
            )
        except NotTaken as refusal:
            return web.json_response({"taken": False, "reason": str(refusal)}, status=refusal.status)
        await self._write(command)
        return web.json_response({"taken": True, "command": command.command}, status=202)


def machine_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000
