"""
The only place that knows the ``websockets`` package: how a socket is opened, and how much of it waits unread.

Everything above takes any ``Socket``, so that the tests drive the same connector in virtual time.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from connectors.binance_futures.routing import Route
from connectors.binance_futures.session import DRAIN_MS, HANDSHAKE_MS

__all__ = [
    "CLOSE_SECONDS",
    "READ_AHEAD",
    "ConnectionClosed",
    "Dial",
    "InvalidHandshake",
    "InvalidURI",
    "Socket",
    "dial",
    "unread",
]

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # a frame of 10 MB is to be quarantined, not to end the connection
READ_AHEAD: Final = (512, 128)  # frames: where reading from the socket pauses and goes on; stamps wait as long
PING_SECONDS: Final = 20  # our own pings find a half-dead socket; the venue's are answered by the library
PONG_SECONDS: Final = 60  # a pong waits behind unread frames, and a stalled socket is replaced long before it is torn
CLOSE_SECONDS: Final = DRAIN_MS // 1_000  # it is read meanwhile


class Socket(Protocol):
    """What the connector needs of a WebSocket. ``recv`` and ``send`` raise ConnectionClosed once it is gone."""

    async def recv(self, decode: bool | None = None) -> bytes | str:
        """The next frame; all that came before a close first."""

    async def send(self, message: str) -> None:
        """Send a text frame."""

    async def ping(self) -> Awaitable[Any]:  # Any: what the pong carries does not matter
        """Send a ping; what is returned is done when its pong is there."""

    async def close(self) -> None:
        """Begin the closing handshake and wait for its end; ``recv`` goes on meanwhile."""


class Dial(Protocol):
    """Opens a socket; entering raises OSError, InvalidHandshake, InvalidURI (a redirect's, too) or TimeoutError."""

    def __call__(self, url: str, route: Route) -> AbstractAsyncContextManager[Socket]:
        """The socket to *url*, closed at the end of the context."""


def dial(url: str, route: Route) -> AbstractAsyncContextManager[Any]:  # Any: the library's class is a Socket by shape
    """A real socket."""
    local = (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")
    return connect(
        url,
        compression=None,
        max_size=MAX_MESSAGE_BYTES,
        max_queue=READ_AHEAD,
        ping_interval=PING_SECONDS,
        ping_timeout=PONG_SECONDS,
        open_timeout=HANDSHAKE_MS / 1_000,
        close_timeout=CLOSE_SECONDS,
        proxy=None if local else True,
    )


def unread(socket: Any) -> int:  # Any: a fake may have no queue
    """How many frames wait in the socket; the library's queue has no public length, a test holds its version to it."""
    messages = getattr(socket, "recv_messages", None)
    return len(messages.frames) if messages is not None else 0


def clean(error: BaseException) -> bool:
    """True when the peer's close frame was read: everything it had sent before was read too."""
    return isinstance(error, ConnectionClosed) and error.rcvd is not None
