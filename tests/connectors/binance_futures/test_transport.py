"""The only place for the tests of the socket's library: what is asked of it, and what its ends mean."""

from __future__ import annotations

from types import SimpleNamespace

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close

from connectors.binance_futures.routing import Route
from connectors.binance_futures.transport import clean, dial, unread


async def test_a_close_frame_says_that_everything_was_read_and_a_cut_does_not() -> None:
    """Frames in front of the close are delivered first; a torn socket has no such end."""

    async def handle(socket: ServerConnection) -> None:
        await socket.send("last")
        if socket.request is not None and "cut" in socket.request.path:
            socket.transport.abort()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        ends = []
        for path in ("whole", "cut"):
            async with dial(f"ws://127.0.0.1:{port}/{path}", Route.PUBLIC) as socket:
                try:
                    while True:
                        await socket.recv(decode=False)
                except ConnectionClosed as error:
                    ends.append(clean(error))

    assert [True, False] == ends


def test_only_a_received_close_frame_is_clean() -> None:
    """Our own word alone proves nothing about what the venue still had to say."""
    assert not clean(ConnectionClosedError(None, Close(1000, "")))
    assert not clean(OSError())


def test_a_socket_without_a_queue_has_nothing_unread() -> None:
    """A fake of the tests."""
    assert 0 == unread(SimpleNamespace())
