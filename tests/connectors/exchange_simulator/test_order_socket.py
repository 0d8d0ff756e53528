"""The WebSocket API over a real socket: answers, faults, floods of pings, the weight of the handshake."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from tests.simulator import SignedClient, simulator_inside

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}


def request(number: int, method: str, **params: Any) -> str:
    """A signed request as a frame."""
    params |= {"apiKey": DEFAULT_KEY, "timestamp": int(time.time() * 1_000)}
    payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return json.dumps({"id": number, "method": method, "params": params | {"signature": sign(DEFAULT_SECRET, payload)}})


async def receive(socket: ClientConnection) -> Any:
    """The next answer."""
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())


async def test_orders_over_the_socket_reach_the_user_stream() -> None:
    """order.place answers, its events come on /private, the handshake and the answer are charged to the address."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        url = running.urls()["ws"]
        async with connect(f"{url}/ws-fapi/v1") as socket:
            await socket.send(request(1, "userDataStream.start"))
            key = (await receive(socket))["result"]["listenKey"]
            async with connect(f"{url}/private/ws/{key}") as private:
                await socket.send(request(2, "order.place", **ORDER))
                reply = await receive(socket)
                assert (2, 200, "NEW") == (reply["id"], reply["status"], reply["result"]["status"])
                assert "ORDER_TRADE_UPDATE" == (await receive(private))["e"]
            assert 6 == reply["rateLimits"][0]["count"]
            await socket.send("{")
            assert (None, 400) == ((bad := await receive(socket))["id"], bad["status"])
            await client.admin("POST", "disconnect", {"route": "ws-fapi"})
            with pytest.raises(ConnectionClosed):
                await receive(socket)


async def test_faults_bite_and_a_held_answer_is_overtaken() -> None:
    """A hold delays one answer, the next goes past it; a replaced answer is the venue's; a drop cuts the socket."""
    rules = [
        {"match": {"method": "WS", "path": "order.place"}, "action": "hold_after", "milliseconds": 20_000},
        {"match": {"path": "order.status"}, "action": "503_unknown_executed"},
        {"match": {"path": "order.cancel"}, "action": "drop_connection_before"},
    ]
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        await client.admin("POST", "faults", rules)
        async with connect(f"{running.urls()['ws']}/ws-fapi/v1?returnRateLimits=false") as socket:
            await socket.send(request(1, "order.place", **ORDER))
            await socket.send(request(2, "order.status", symbol="BTCUSDT", orderId=1))
            reply = await receive(socket)
            assert (2, 503) == (reply["id"], reply["status"])
            assert "rateLimits" not in reply
            assert 1 == len((await client.admin("GET", "holds", wait_ms=5_000))["holds"])
            await client.admin("POST", "release")
            assert (1, 200) == ((late := await receive(socket))["id"], late["status"])
            await socket.send(request(3, "order.cancel", symbol="BTCUSDT", orderId=1))
            with pytest.raises(ConnectionClosed):
                await receive(socket)
        assert 3 == (await client.admin("GET", "faults"))["bites"]


async def test_a_flood_of_pings_or_binary_ends_the_connection() -> None:
    """More than five pings a second, or a binary frame, close the socket; others go on."""
    async with simulator_inside(begin="admin") as running:
        url = f"{running.urls()['ws']}/ws-fapi/v1"
        async with connect(url) as good:
            async with connect(url) as bad:
                with pytest.raises(ConnectionClosed):
                    for _ in range(10):
                        await bad.ping()
                    await receive(bad)
            async with connect(url) as bad:
                await bad.send(b"\x00")
                with pytest.raises(ConnectionClosed):
                    await receive(bad)
            await good.send(json.dumps({"id": 1, "method": "ticker.price", "params": {"symbol": "BTCUSDT"}}))
            assert 200 == (await receive(good))["status"]


async def test_a_registered_public_key_signs_for_the_account() -> None:
    """POST /admin/key accepts PEM, and says what is wrong with anything else."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        with pytest.raises(AssertionError, match="no public key"):
            await client.admin("POST", "key", {"api_key": "x", "public_key": "rubbish"})
