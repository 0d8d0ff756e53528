"""Every fault of a request is seen from the client's side, on REST and on the WebSocket API, and faults compose."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from connectors.exchange_simulator.faults import REQUEST_ACTIONS, parse_rules
from connectors.exchange_simulator.request_faults import Trial, ids_of
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from tests.simulator import SignedClient, simulator_inside, until

ENTRY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
MATCH = {"path": "/fapi/v1/order", "method": "POST"}
# action → status and code the client sees (0: no answer), whether the order took effect.
SEEN: dict[str, tuple[int, int | None, bool]] = {
    "503_unknown_executed": (503, -1000, True),
    "503_unknown_not_executed": (503, -1000, False),
    "503_unavailable": (503, -1000, False),
    "503_internal": (503, -1001, False),
    "500_unclear_executed": (500, -1000, True),
    "500_unclear_not_executed": (500, -1000, False),
    "throttle": (503, -1008, False),
    "timeout_executed": (408, -1007, True),
    "timeout_not_executed": (408, -1007, False),
    "bus_executed": (400, -1006, True),
    "bus_not_executed": (400, -1006, False),
    "engine_window": (400, -5028, False),
    "429": (429, -1003, False),
    "418": (418, -1003, False),
    "waf": (403, None, False),
    "maintenance": (503, -1016, False),
    "status": (503, -1000, False),
    "status_after": (503, -1000, True),
    "drop_connection_before": (0, None, False),
    "drop_connection_after": (0, None, True),
}
# These have tests of their own below.
APART = ("hold_before", "hold_after", "vanish", "incomplete_list", "cut_reply")


def test_every_request_action_is_demonstrated() -> None:
    """No action without a client that sees it."""
    assert sorted([*SEEN, *APART]) == sorted(REQUEST_ACTIONS)


async def test_what_a_rest_client_sees_and_what_took_effect() -> None:
    """Status, code, and the order's existence; every bite is counted in the ledger under its action."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        for action, (status, code, took_effect) in SEEN.items():
            await client.admin("POST", "faults", [{"action": action, "match": MATCH}])
            order = client.call("POST", "/fapi/v1/order", newClientOrderId=f"c-{action}", **ENTRY)
            if status:
                seen, body = await order
                assert (status, code) == (seen, body["code"] if isinstance(body, dict) else None), action
            else:
                with pytest.raises(httpx.TransportError):
                    await order
            known = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=f"c-{action}")
            assert took_effect == (known[0] == 200), action
        assert dict.fromkeys(SEEN, 1) == (await client.admin("GET", "summary"))["faults"]


async def test_a_ban_tells_until_when_and_how_long_to_wait() -> None:
    """418 carries the epoch and Retry-After, 429 the latter."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        await client.admin("POST", "faults", [{"action": "418", "milliseconds": 120_000}, {"action": "429"}])
        before = int(time.time() * 1_000)
        words = (await client.get("/fapi/v1/ping"))[1]["msg"]
        assert 119_000 < int(words.split("until ")[1][:13]) - before < 121_000
        assert "120" == client.headers["retry-after"]
        assert (429, "1") == ((await client.get("/fapi/v1/ping"))[0], client.headers["retry-after"])


async def test_position_lists_lose_their_last_half() -> None:
    """incomplete_list halves a list and an account's positions; the next answer is whole again."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        for symbol, quantity in (("BTCUSDT", "0.010"), ("ETHUSDT", "0.100")):
            await client.call("POST", "/fapi/v1/order", symbol=symbol, side="BUY", type="MARKET", quantity=quantity)
        await client.admin(
            "POST",
            "faults",
            [{"action": "incomplete_list", "match": {"path": path}} for path in ("*positionRisk", "*v3/account")],
        )
        for path in ("/fapi/v3/positionRisk", "/fapi/v3/account"):
            found = []
            for _ in range(2):
                body = (await client.call("GET", path))[1]
                rows = body if isinstance(body, list) else body["positions"]
                found.append([row["symbol"] for row in rows])
            assert [["BTCUSDT"], ["BTCUSDT", "ETHUSDT"]] == found


async def test_a_reply_may_end_in_the_middle() -> None:
    """cut_reply: status 200, half a JSON text; the order is there."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        await client.admin("POST", "faults", [{"action": "cut_reply", "match": MATCH}])
        with pytest.raises(json.JSONDecodeError):
            await client.call("POST", "/fapi/v1/order", newClientOrderId="half", **ENTRY)
        assert 200 == (await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="half"))[0]


async def _is_held(client: SignedClient, phase: str) -> bool:
    return [phase] == [hold["phase"] for hold in (await client.admin("GET", "holds"))["holds"]]


async def test_faults_compose() -> None:
    """Held before and after, and then answered with 503 though executed: three rules bite one request."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        rules = [{"action": action, "match": MATCH} for action in ("503_unknown_executed", "hold_before", "hold_after")]
        await client.admin("POST", "faults", [rule | {"milliseconds": 30_000} for rule in rules])
        order = asyncio.create_task(client.call("POST", "/fapi/v1/order", newClientOrderId="slow", **ENTRY))
        for phase, known in (("before", 400), ("after", 200)):
            await until(lambda wanted=phase: _is_held(client, wanted))  # type: ignore[misc]
            there = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="slow")
            assert known == there[0]
            await client.admin("POST", "release")
        assert 503 == (await order)[0]
        assert 3 == (await client.admin("GET", "faults"))["bites"]


async def test_the_websocket_api_has_the_same_faults() -> None:
    """order.place meets each: the status and code, nothing for a cut, half a text; reduce-only passes the throttle."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:

        async def place(name: str, **more: Any) -> dict[str, Any]:
            params = ENTRY | more | {"newClientOrderId": name, "apiKey": DEFAULT_KEY}
            params["timestamp"] = int(time.time() * 1_000)
            payload = "&".join(f"{key}={params[key]}" for key in sorted(params))
            frame = {
                "id": name,
                "method": "order.place",
                "params": params | {"signature": sign(DEFAULT_SECRET, payload)},
            }
            async with connect(f"{running.urls()['ws']}/ws-fapi/v1") as socket, asyncio.timeout(5):
                await socket.send(json.dumps(frame))
                decoded: dict[str, Any] = json.loads(await socket.recv())
                return decoded

        for action, (status, code, took_effect) in SEEN.items():
            await client.admin("POST", "faults", [{"action": action, "match": {"path": "order.place"}}])
            name = f"w-{action}"
            if status:
                reply = await place(name)
                if action != "waf":
                    assert (status, code) == (reply["status"], reply["error"]["code"]), action
            else:
                with pytest.raises(ConnectionClosed):
                    await place(name)
            known = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId=name)
            assert took_effect == (known[0] == 200), action
        await client.admin("POST", "faults", [{"action": "throttle"}, {"action": "cut_reply", "skip": 1}])
        assert 200 == (await place("less", side="SELL", reduceOnly="true"))["status"]
        assert 503 == (await place("more"))["status"]
        with pytest.raises(json.JSONDecodeError):
            await place("half")


def test_an_order_without_a_client_id_vanishes_by_the_venues() -> None:
    """The id asked for, or what the answer names, of one order or a batch."""
    assert ["mine"] == ids_of({"clientOrderId": "x"}, "mine")
    assert ["x"] == ids_of({"clientOrderId": "x"}, "")
    assert ["a", "b"] == ids_of([{"clientOrderId": "a"}, {"code": -2019}, {"clientAlgoId": "b"}], "")


def test_a_trial_executes_only_when_every_rule_lets_it() -> None:
    """A hold before a refusal does not execute."""
    assert Trial(parse_rules([{"action": "hold_before"}])).executes
    assert not Trial(parse_rules([{"action": "hold_before"}, {"action": "429"}])).executes
