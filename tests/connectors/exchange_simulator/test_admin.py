"""The admin door answers, refuses with words that help, and starts price paths on demand."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.simulator import SignedClient, simulator_inside, until


@pytest.mark.parametrize(
    ("method", "name", "body", "words"),
    [
        ("POST", "path", {"symbol": "NONE"}, "not simulated"),
        ("POST", "path", {"symbol": "XRPUSDT"}, "gives XRPUSDT no path"),
        ("POST", "path", {"symbol": "BTCUSDT", "path": "up"}, "only"),
        ("POST", "path", {"symbol": "BTCUSDT", "segments": [{"seconds": -1}]}, "seconds"),
        ("POST", "path", {"symbol": "BTCUSDT", "at_end": "explode"}, "at_end"),
        ("POST", "faults", [{"action": "explode"}], "explode"),
        ("POST", "disconnect", {"route": "moon"}, "moon"),
        ("POST", "clock", {}, "offset_ms"),
        ("POST", "marks", {"spread": 1}, "spread"),
        ("POST", "marks", {"spread": True, "phases": {"NONE": 1}}, "phases"),
        ("POST", "marks", {"spread": True, "phases": {"BTCUSDT": 1_000}}, "phases"),
        ("POST", "bars", {"phase_ms": -1}, "phase_ms"),
        ("POST", "frame", {}, "stream"),
        ("POST", "stuck-triggers", {"symbol": "NONE"}, "symbol"),
        ("POST", "symbol", {"symbol": "NONE"}, "not simulated"),
        ("POST", "symbol", {"symbol": "BTCUSDT", "status": "SLEEPING"}, "TRADING"),
        ("POST", "symbol", {"symbol": "BTCUSDT", "delivery_ms": "soon"}, "delivery_ms"),
        ("POST", "symbol", {"symbol": "BTCUSDT", "tick_size": "0.15"}, "no multiple"),
        ("POST", "symbol", {"symbol": "BTCUSDT", "tick_size": 1}, "no multiple"),
        ("POST", "release", {"id": "x"}, "id"),
        ("GET", "ledger?after=x", None, "after"),
    ],
)
async def test_refusals_name_the_mistake(method: str, name: str, body: Any, words: str) -> None:
    """400 with a sentence that holds what was wrong or what is allowed."""
    async with simulator_inside(symbols=4, scenario="demo", begin="admin") as running, httpx.AsyncClient() as http:
        answer = await http.request(method, f"{running.urls()['rest']}/admin/{name}", json=body)

        assert 400 == answer.status_code
        assert words in answer.json()["error"]


async def test_unknown_calls_list_the_known_ones_and_broken_json_is_told() -> None:
    """404 with the list; 400 for a body that is no JSON."""
    async with simulator_inside(begin="admin") as running, httpx.AsyncClient() as http:
        base = running.urls()["rest"]
        assert "GET /admin/status" in (await http.get(f"{base}/admin/nothing")).json()["error"]
        assert 400 == (await http.post(f"{base}/admin/faults", content=b"{")).status_code


async def test_a_path_moves_the_price_when_it_is_told_to() -> None:
    """Segments given over the door move one symbol by their drift, mirrored for the other direction."""
    async with simulator_inside(scenario="demo", rate=40) as running, SignedClient(running.urls()["rest"]) as client:

        async def mark(symbol: str) -> float:
            return float((await client.get("/fapi/v1/premiumIndex", symbol=symbol))[1]["markPrice"])

        before = {symbol: await mark(symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
        segments = [{"seconds": 0.5, "drift_bps": 100, "volatility_bps": 0}]
        await client.admin("POST", "path", {"symbol": "BTCUSDT", "segments": segments})
        await client.admin("POST", "path", {"symbol": "ETHUSDT", "segments": segments, "direction": -1})

        async def moved() -> bool:
            up = await mark("BTCUSDT") > before["BTCUSDT"] * 1.008
            return up and await mark("ETHUSDT") < before["ETHUSDT"] * 0.992

        await until(moved)
        assert await mark("BTCUSDT") < before["BTCUSDT"] * 1.012


async def test_disconnect_cuts_one_route_only() -> None:
    """The sockets of the route end, the others live; the ledger has it as a fault."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        base = running.urls()["ws"]
        async with connect(f"{base}/public/ws/btcusdt@bookTicker") as public, connect(f"{base}/market/ws") as market:
            async with asyncio.timeout(5):
                await public.recv()
                assert {"disconnected": 1} == await client.admin("POST", "disconnect", {"route": "public"})
                await public.wait_closed()
                await market.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
                assert {"result": [], "id": 1} == json.loads(await market.recv())
        assert "disconnect" in [
            line.get("action") for line in (await client.admin("GET", "ledger", kind="fault"))["lines"]
        ]


async def test_any_public_frame_can_be_sent() -> None:
    """forceOrder, contractInfo or a frame that the client must refuse."""
    async with (
        simulator_inside(begin="admin") as running,
        SignedClient(running.urls()["rest"]) as client,
        connect(f"{running.urls()['ws']}/market/ws/!forceOrder@arr") as socket,
    ):
        payload = {"e": "forceOrder", "E": 1, "ps": "BTCUSDT", "st": 1, "o": {"s": "BTCUSDT"}}
        await until(lambda: running.hub.wanted("!forceOrder@arr"))
        assert {"sent": True} == await client.admin("POST", "frame", {"stream": "!forceOrder@arr", "payload": payload})
        async with asyncio.timeout(5):
            assert payload == json.loads(await socket.recv())


async def test_status_ledger_pages_and_summary() -> None:
    """Status tells source and sockets; the ledger pages by number and kind; the summary has the promises."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        await client.call("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
        status = await client.admin("GET", "status")
        assert ("synthetic", True) == (status["source"]["source"], status["started"])
        page = await client.admin("GET", "ledger", after=-1, limit=1)
        rest = await client.admin("GET", "ledger", after=page["lines"][-1]["n"])
        lines = [*page["lines"], *rest["lines"]]
        assert list(range(len(lines))) == [line["n"] for line in lines]
        assert ["order", "position_opened", "fill", "request", "protection"] == [line["kind"] for line in lines]
        summary = await client.admin("GET", "summary")
        assert 1 == summary["symbols"]["BTCUSDT"]["episodes"]
        assert {"accepted": 1, "algo_accepted": 0} == summary["orders"]


async def test_a_moved_clock_is_the_exchanges_time() -> None:
    """offset_ms shifts /time at once."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        before = (await client.get("/fapi/v1/time"))[1]["serverTime"]
        await client.admin("POST", "clock", {"offset_ms": 60_000})
        assert (await client.get("/fapi/v1/time"))[1]["serverTime"] >= before + 60_000
