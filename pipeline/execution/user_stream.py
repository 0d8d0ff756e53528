"""
The only place where the executor listens to its own account: a connection of its own, used as evidence only.

The connector's user stream feeds the log; this one shortens the road from a fill to its stop and ends doubts. Losing it
costs time, never truth: whatever it would have said is asked for by REST.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException

from pipeline.binance import requests
from pipeline.binance.errors import ReadFailed
from pipeline.core.rate_limits import Lane
from pipeline.execution.desk import Desk
from pipeline.execution.sender import Sender

log = structlog.get_logger(__name__)

KEEP_ALIVE_S: Final = 1_800.0  # the key lives 60 minutes (venue sheet 3.1)
BACKOFF_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
EXPIRED: Final = "listenKeyExpired"


class _Key(msgspec.Struct):
    listenKey: str


class UserStream:
    """Keeps one connection to ``/private/ws/<listenKey>`` of *ws_url*; ``connected`` tells whether it stands."""

    def __init__(self, desk: Desk, sender: Sender, ws_url: str) -> None:
        self._desk = desk
        self._sender = sender
        self._ws_url = ws_url
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Connect, listen, and connect again, for ever."""
        failures = 0
        while True:
            try:
                key = await self._listen_key()
                async with connect(
                    f"{self._ws_url}/private/ws/{key}", open_timeout=5, max_size=1 << 22, compression=None, proxy=None
                ) as socket:
                    failures = 0
                    self.connected.set()
                    self._desk.evidence.on_setting("", None)  # what was changed by hand meanwhile was not told
                    keeper = asyncio.create_task(self._keep_alive())
                    try:
                        async for frame in socket:
                            raw = frame.encode() if isinstance(frame, str) else frame
                            if self._desk.evidence.frame(raw) == EXPIRED:
                                break
                    finally:
                        keeper.cancel()
            except (ReadFailed, OSError, TimeoutError, WebSocketException, InvalidHandshake, InvalidURI) as error:
                log.warning("user_stream_lost", error=f"{type(error).__name__}: {error}")
            finally:
                self.connected.clear()
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _listen_key(self) -> str:
        body = await self._sender.read(requests.listen_key("POST"), Lane.QUERY)
        try:
            return msgspec.json.decode(body, type=_Key).listenKey
        except msgspec.DecodeError as error:
            raise ReadFailed(f"listenKey: {error}", 0) from error

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            try:
                await self._sender.read(requests.listen_key("PUT"), Lane.QUERY)
            except ReadFailed as error:  # −1125: the socket will end with listenKeyExpired, and a new key is asked for
                log.warning("listen_key_not_kept", error=str(error))
