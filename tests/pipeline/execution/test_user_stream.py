"""The executor's own user stream: a key, a socket, and a new pair when either ends."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, serve

from pipeline.binance.requests import Read, Request
from pipeline.execution.user_stream import UserStream
from tests.pipeline.execution.fakes import World

FRAME = '{"e":"TRADE_LITE","E":5,"s":"BTCUSDT","c":"x","S":"BUY","l":"0.004","L":"83800","t":9,"i":7}'
DEADLINE_S = 10.0


class KeyVenue:
    """Answers listen keys: key-1, key-2 …"""

    def __init__(self, world: World) -> None:
        self.asked: list[str] = []
        self._execute = world.venue._execute
        world.venue._execute = self.execute  # type: ignore[method-assign]

    def execute(self, request: Request) -> tuple[int, object]:
        """A key for a listenKey request, else as the venue does."""
        if isinstance(request, Read) and request.path.endswith("listenKey"):
            self.asked.append(request.method)
            return 200, {"listenKey": f"key-{len(self.asked)}"}
        return self._execute(request)


async def test_it_listens_with_its_key_and_comes_back_with_a_new_one() -> None:
    """After a cut, and after listenKeyExpired, it asks for a key and connects again; frames become evidence."""
    world = World()
    venue = KeyVenue(world)
    executor = world.executor()
    await executor.start()
    paths: list[str] = []
    sent = asyncio.Event()

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        paths.append(socket.request.path)
        if len(paths) == 1:
            return  # cut
        if len(paths) == 2:
            await socket.send('{"e":"listenKeyExpired","E":"1","listenKey":"key-2"}')
            await socket.wait_closed()
            return
        await socket.send("rubbish")
        await socket.send(FRAME)
        sent.set()
        await socket.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        stream = UserStream(executor.desk, executor._sender, f"ws://127.0.0.1:{port}")
        running = asyncio.create_task(stream.run())
        await asyncio.wait_for(sent.wait(), DEADLINE_S)
        assert await executor.desk.evidence.wait("x", 5_000) or "x" in executor.desk.evidence.orders
        running.cancel()
        executor.die()

    assert ["/private/ws/key-1", "/private/ws/key-2", "/private/ws/key-3"] == paths
    assert ["POST"] * 3 == venue.asked
    assert 4 == executor.desk.evidence.orders["x"].filled
