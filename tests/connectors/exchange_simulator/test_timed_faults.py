"""Faults of sockets, clocks, keys and triggers are seen from the client's side; what finds nothing to hit says so."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from connectors.exchange_simulator.faults import SOCKET_ACTIONS, TIMED_ACTIONS, TRIGGER_ACTIONS
from connectors.exchange_simulator.server import Simulator
from tests.simulator import SignedClient, simulator_inside, until

DEMONSTRATED = {
    "disconnect", "silence_sockets", "stall_sockets", "clock_offset", "clock_jump", "expire_listen_key",
    "refuse_socket", "wrong_route", "cut_socket", "lag_socket", "stick_trigger", "shutdown",
}  # fmt: skip


def test_every_action_is_demonstrated() -> None:
    """No action without a client that sees it."""
    assert {*SOCKET_ACTIONS, *TIMED_ACTIONS, *TRIGGER_ACTIONS} == DEMONSTRATED


async def joined(running: Simulator, route: str, stream: str) -> ClientConnection:
    """A socket whose subscription has arrived."""
    before = len(running.hub.clients)
    socket = await connect(f"{running.urls()['ws']}/{route}/ws/{stream}", ping_interval=None)
    await until(lambda: len(running.hub.clients) > before and bool(list(running.hub.clients)[-1].streams))
    return socket


async def told(running: Simulator, action: str) -> None:
    """Wait until the ledger has the bite."""
    await until(lambda: action in running.venue.ledger.faults)


async def send(running: Simulator, stream: str, number: int) -> None:
    """One public frame, through the hub as the market does."""
    running.hub.publish([(stream, {"n": number})])


@pytest.mark.parametrize("route", ["public", "market", "private", "ws-fapi"])
async def test_disconnect_cuts_the_sockets_of_a_route_at_a_time(route: str) -> None:
    """The socket of the route ends, another one lives."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        other = "market" if route == "public" else "public"
        path = "ws-fapi/v1" if route == "ws-fapi" else f"{route}/ws"
        async with (
            connect(f"{running.urls()['ws']}/{path}") as socket,
            connect(f"{running.urls()['ws']}/{other}/ws") as safe,
        ):
            await until(lambda: len(running.hub.clients) + len(running.order_connections) == 2)
            await client.admin("POST", "faults", [{"action": "disconnect", "match": {"route": route}, "at_ms": 30}])
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(5):
                    await socket.recv()
            await (await safe.ping())
        assert {"disconnect": 1} == running.venue.ledger.faults


async def test_silent_sockets_live_and_lose_frames() -> None:
    """Pings and control replies go on, frames of the silence never come."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        socket = await joined(running, "public", "x@bookTicker")
        await client.admin("POST", "faults", [{"action": "silence_sockets", "milliseconds": 150}])
        await told(running, "silence_sockets")
        await send(running, "x@bookTicker", 1)
        await (await socket.ping())
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 5}))
        assert 5 == json.loads(await socket.recv())["id"]
        await until(lambda: _speaks(running))
        await send(running, "x@bookTicker", 2)
        async with asyncio.timeout(5):
            assert 2 == json.loads(await socket.recv())["n"]
        await socket.close()


def _speaks(running: Simulator) -> bool:
    """Whether the silence of the only socket is over (asked with a frame that nobody reads)."""
    client = next(iter(running.hub.clients))
    sent: list[bytes] = []
    probe = asyncio.get_running_loop()
    original, client.send = client.send, lambda framed, loop: sent.append(framed)  # type: ignore[method-assign]
    client.hinder(b"", probe)
    client.send = original  # type: ignore[method-assign]
    return bool(sent)


async def test_stalled_sockets_read_and_write_nothing_and_then_catch_up() -> None:
    """Not even a pong while it lasts; afterwards every frame that gathered, in order."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        socket = await joined(running, "public", "x@bookTicker")
        await client.admin("POST", "faults", [{"action": "stall_sockets", "milliseconds": 200}])
        await told(running, "stall_sockets")
        begin = asyncio.get_running_loop().time()
        for number in (1, 2, 3):
            await send(running, "x@bookTicker", number)
        pong = await socket.ping()
        async with asyncio.timeout(5):
            assert [1, 2, 3] == [json.loads(await socket.recv())["n"] for _ in range(3)]
            await pong
        assert asyncio.get_running_loop().time() - begin > 0.1
        await socket.close()


async def test_frames_of_a_lagging_socket_are_overtaken_by_those_of_another() -> None:
    """Reordering across sockets: in order on each, late on one."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        rule = {"action": "lag_socket", "match": {"route": "public"}, "milliseconds": 80}
        await client.admin("POST", "faults", [rule])
        slow, fast = await joined(running, "public", "x@bookTicker"), await joined(running, "market", "x@aggTrade")
        order: list[str] = []

        async def read(name: str, socket: ClientConnection) -> None:
            first, second = await socket.recv(), await socket.recv()
            order.extend(f"{name}{json.loads(frame)['n']}" for frame in (first, second))

        async with asyncio.timeout(5):
            async with asyncio.TaskGroup() as readers:
                readers.create_task(read("slow", slow))
                readers.create_task(read("fast", fast))
                for number in (1, 2):
                    await send(running, "x@bookTicker", number)
                    await send(running, "x@aggTrade", number)
        assert ["fast1", "fast2", "slow1", "slow2"] == order
        assert {"lag_socket": 1} == running.venue.ledger.faults
        await slow.close()
        await fast.close()


async def test_refused_misrouted_and_short_lived_sockets() -> None:
    """503 at the handshake; a subscription that is listed and silent; a socket that ends by itself."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        url = running.urls()["ws"]
        await client.admin(
            "POST",
            "faults",
            [
                {"action": "refuse_socket", "match": {"route": "public"}},
                {"action": "refuse_socket", "match": {"route": "ws-fapi"}},
                {"action": "wrong_route", "match": {"route": "public"}},
                {"action": "cut_socket", "match": {"route": "market"}, "milliseconds": 50, "count": 1},
                {"action": "cut_socket", "match": {"route": "ws-fapi"}, "milliseconds": 50},
            ],
        )
        for path in ("public/ws", "ws-fapi/v1"):
            with pytest.raises(InvalidStatus, match="503"):
                await connect(f"{url}/{path}")
        silent = await joined(running, "public", "x@bookTicker")
        heard = await joined(running, "public", "x@bookTicker")
        await send(running, "x@bookTicker", 1)
        async with asyncio.timeout(5):
            assert 1 == json.loads(await heard.recv())["n"]
        await silent.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
        assert ["x@bookTicker"] == json.loads(await silent.recv())["result"]
        for path in ("market/ws", "ws-fapi/v1"):
            async with connect(f"{url}/{path}") as socket, asyncio.timeout(5):
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
        assert {"refuse_socket": 2, "wrong_route": 1, "cut_socket": 2} == running.venue.ledger.faults
        await silent.close()
        await heard.close()


async def test_clocks_off_and_jumping() -> None:
    """An offset is set, a jump adds to it; a client that signs with its own clock is refused with -1021."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:

        async def ahead() -> int:
            told_ms: int = (await client.get("/fapi/v1/time"))[1]["serverTime"]
            return round((told_ms - time.time() * 1_000) / 1_000)

        await client.admin("POST", "faults", [{"action": "clock_offset", "milliseconds": 60_000}])
        await told(running, "clock_offset")
        assert 60 == await ahead()
        assert -1021 == (await client.call("GET", "/fapi/v3/balance"))[1]["code"]
        await client.admin("POST", "faults", [{"action": "clock_jump", "milliseconds": -90_000}])
        await told(running, "clock_jump")
        assert -30 == await ahead()
        events = running.exchange.market_events
        await until(lambda: running.exchange.market_events > events)


async def test_the_listen_key_expires_with_its_event() -> None:
    """The stream tells, PUT answers -1125, a new key is another one."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        key = (await client.keyed("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
        socket = await joined(running, "private", key)
        await client.admin("POST", "faults", [{"action": "expire_listen_key", "at_ms": 20}])
        async with asyncio.timeout(5):
            event = json.loads(await socket.recv())
        assert ("listenKeyExpired", key) == (event["e"], event["listenKey"])
        assert -1125 == (await client.keyed("PUT", "/fapi/v1/listenKey"))[1]["code"]
        assert key != (await client.keyed("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
        await socket.close()


async def test_a_stop_stuck_in_triggering() -> None:
    """Its condition holds, it stays TRIGGERING, cannot be cancelled (-4117), and the position is still there."""
    async with simulator_inside(scenario="demo", rate=40) as running, SignedClient(running.urls()["rest"]) as client:
        entry = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        await client.call("POST", "/fapi/v1/order", **entry)
        await client.admin("POST", "faults", [{"action": "stick_trigger", "match": {"client_id": "stop"}}])
        mark = float((await client.get("/fapi/v1/premiumIndex", symbol="BTCUSDT"))[1]["markPrice"])
        stop: dict[str, Any] = {
            "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
            "triggerPrice": f"{mark * 0.9995:.1f}", "closePosition": "true", "clientAlgoId": "stop",
        }  # fmt: skip
        assert 200 == (await client.call("POST", "/fapi/v1/algoOrder", **stop))[0]
        fall = {"symbol": "BTCUSDT", "segments": [{"seconds": 1, "drift_bps": -40}]}
        await client.admin("POST", "path", fall)
        await told(running, "stick_trigger")
        known = (await client.call("GET", "/fapi/v1/algoOrder", clientAlgoId="stop"))[1]
        assert "TRIGGERING" == known["algoStatus"]
        assert -4117 == (await client.call("DELETE", "/fapi/v1/algoOrder", clientAlgoId="stop"))[1]["code"]
        assert 1 == len((await client.call("GET", "/fapi/v3/positionRisk"))[1])


async def test_a_shutdown_is_maintenance_as_one_fault() -> None:
    """Sockets end, handshakes and requests are refused on every door, then all is as before; orders live on."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
        status, _ = await client.call("POST", "/fapi/v1/order", price="82000.0", **order)
        assert 200 == status
        socket = await joined(running, "public", "btcusdt@bookTicker")
        await client.admin("POST", "faults", [{"action": "shutdown", "milliseconds": 600}])
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(5):
                while True:
                    await socket.recv()
        for method, path in (("GET", "/fapi/v1/ping"), ("POST", "/fapi/v1/order"), ("GET", "/fapi/v3/positionRisk")):
            status, body = await client.call(method, path)
            assert (503, -1016) == (status, body["code"])
        for path in ("market/ws", "private/ws", "ws-fapi/v1"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{running.urls()['ws']}/{path}")
            assert 503 == refused.value.response.status_code

        async def answers() -> bool:
            return (await client.get("/fapi/v1/ping"))[0] == 200

        await until(answers)
        again = await joined(running, "public", "btcusdt@bookTicker")
        async with asyncio.timeout(5):
            await again.recv()
        await again.close()
        _, rows = await client.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT")
        assert 1 == len(rows)
        report = await client.admin("GET", "faults")
        assert ([], []) == (report["active"], report["never_bit"])
        assert 1 == report["by_action"]["shutdown"]


async def test_a_shutdown_bites_only_who_is_there() -> None:
    """Nobody came in its window: it never bit. One request in it: it did."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        await client.admin("POST", "faults", [{"action": "shutdown", "milliseconds": 20}])
        await until(lambda: len(running.faults.rules) == 3)
        await until(lambda: len(running.faults.rules) == 1)
        assert ["shutdown never bit"] == [words.split(": ")[1][:18] for words in running.faults.never_bit()]
        await client.admin("POST", "faults", {"rules": [{"action": "shutdown", "milliseconds": 60_000}]})
        await until(lambda: len(running.faults.rules) == 4)
        assert 503 == (await client.get("/fapi/v1/ping"))[0]
        assert 1 == len(running.faults.never_bit())


async def test_a_plan_says_what_never_bit() -> None:
    """A disconnect without sockets and a rule nobody met are named; the ledger ends with the plan's last word."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        rules = [
            {"action": "disconnect", "name": "cut"},
            {"action": "429", "match": {"path": "/x"}},
            {"action": "503_internal"},
        ]
        await client.admin("POST", "faults", rules)
        await client.get("/fapi/v1/ping")
        await until(lambda: not running.faults.due())
        words = (await client.admin("GET", "summary"))["faults_never_bit"]
        assert 2 == len(words)
        assert "rule 1 (cut): disconnect never bit" in words[0]
    last = running.venue.ledger.lines[-1]
    assert ("fault_plan", {"disconnect": 0, "429": 0, "503_internal": 1}, words) == (
        last["kind"], last["bites"], last["never_bit"],
    )  # fmt: skip
