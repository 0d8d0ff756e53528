"""The REST door: real HTTP with bodies and queries, unknown paths, damage of every kind, faults as clients see them."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from connectors.exchange_simulator.rest import request_attributes
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.venue import Request
from tests.simulator import SignedClient, signed_query, simulator_inside

ENTRY = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}


async def test_parameters_may_be_in_query_body_or_both() -> None:
    """A form body and a mixed request are signed over query and body together (sheet 6.1)."""
    async with (
        simulator_inside() as running,
        httpx.AsyncClient(base_url=running.urls()["rest"], headers={"X-MBX-APIKEY": DEFAULT_KEY}) as http,
    ):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await http.post("/fapi/v1/order", content=signed_query(ENTRY), headers=form)
        assert (200, "NEW") == (answer.status_code, answer.json()["status"])
        query, body = "symbol=BTCUSDT&side=BUY", f"type=MARKET&quantity=0.010&timestamp={int(time.time() * 1000)}"
        signature = sign(DEFAULT_SECRET, query + body)
        answer = await http.post(f"/fapi/v1/order?{query}", content=f"{body}&signature={signature}", headers=form)
        assert 200 == answer.status_code, answer.text


async def test_unknown_paths_are_plain_and_damage_is_refused_never_a_500() -> None:
    """404 without JSON for unknown paths; broken escapes, bytes and huge bodies get an answer below 500."""
    async with (
        simulator_inside(begin="admin") as running,
        httpx.AsyncClient(base_url=running.urls()["rest"], headers={"X-MBX-APIKEY": DEFAULT_KEY}) as http,
    ):
        for method, path in (
            ("GET", "/fapi/v1/positionRisk"),
            ("GET", "/"),
            ("PATCH", "/fapi/v1/order"),
            ("GET", "/x/../y"),
        ):
            answer = await http.request(method, path)
            assert 404 == answer.status_code
            assert "json" not in answer.headers["content-type"]
        for content in (b"\xff\xfe=\x00&signature=", b"&&&===", b"signature=" * 1_000, b"x" * 300_000):
            answer = await http.post("/fapi/v1/order?symbol=%ZZ%00&timestamp=%E2%82", content=content)
            assert 400 <= answer.status_code < 500, answer.text


def test_fault_attributes_come_from_query_and_body() -> None:
    """Symbol, type, side and whichever client id is there."""
    request = Request("POST", "/fapi/v1/algoOrder", "symbol=A&clientAlgoId=x", "type=STOP_MARKET&side=SELL")

    found = request_attributes(request)
    assert ("A", "STOP_MARKET", "SELL", "x") == tuple(found[name] for name in ("symbol", "type", "side", "client_id"))


@pytest.mark.parametrize(
    ("action", "status", "took_effect"),
    [
        ("503_unknown_executed", 503, True),
        ("503_unknown_not_executed", 503, False),
        ("timeout_executed", 408, True),
        ("timeout_not_executed", 408, False),
        ("throttle", 503, False),
        ("429", 429, False),
        ("drop_connection_before", 0, False),
        ("drop_connection_after", 0, True),
    ],
)
async def test_ambiguous_answers_from_the_clients_side(action: str, status: int, took_effect: bool) -> None:
    """What the client sees, and whether the order exists afterwards; the fault is in the ledger, and bites once."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        await client.admin(
            "POST", "faults", [{"action": action, "match": {"path": "/fapi/v1/order", "method": "POST"}}]
        )
        if status:
            assert status == (await client.call("POST", "/fapi/v1/order", newClientOrderId="one", **ENTRY))[0]
        else:
            with pytest.raises(httpx.TransportError):
                await client.call("POST", "/fapi/v1/order", newClientOrderId="one", **ENTRY)
        known = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="one")

        assert (200 if took_effect else 400) == known[0]
        assert 1 == (await client.admin("GET", "faults"))["bites"]
        kinds = [line["kind"] for line in (await client.admin("GET", "ledger"))["lines"]]
        assert "fault" in kinds
        assert ("request_not_executed" in kinds) != took_effect
        assert 200 == (await client.call("POST", "/fapi/v1/order", newClientOrderId="two", **ENTRY))[0]


@pytest.mark.parametrize(("action", "exists"), [("hold_before", False), ("hold_after", True)])
async def test_held_requests_wait_for_their_release(action: str, exists: bool) -> None:
    """Before the effect nothing exists while held, after it the fill does; the release lets the reply go."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        rule = {"action": action, "match": {"path": "/fapi/v1/order", "method": "POST"}, "milliseconds": 30_000}
        await client.admin("POST", "faults", [rule])
        order = asyncio.create_task(client.call("POST", "/fapi/v1/order", newClientOrderId="held", **ENTRY))
        holds = (await client.admin("GET", "holds", wait_ms=5_000))["holds"]
        assert [("held", "BTCUSDT")] == [(hold["client_id"], hold["symbol"]) for hold in holds]
        known = await client.call("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="held")
        assert (200 if exists else 400) == known[0]
        assert not order.done()
        assert {"released": 1} == await client.admin("POST", "release", {"id": holds[0]["id"]})
        async with asyncio.timeout(5):
            assert 200 == (await order)[0]
        assert [] == (await client.admin("GET", "holds"))["holds"]


async def test_a_vanished_stop_was_acknowledged() -> None:
    """The reply says NEW, no query finds it afterwards."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        await client.admin("POST", "faults", [{"action": "vanish", "match": {"path": "/fapi/v1/algoOrder"}}])
        status, body = await client.call(
            "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL", type="STOP_MARKET",
            triggerPrice="80000.00", closePosition="true", clientAlgoId="ghost",
        )  # fmt: skip
        assert (200, "NEW") == (status, body["algoStatus"])
        assert [] == (await client.call("GET", "/fapi/v1/openAlgoOrders", symbol="BTCUSDT"))[1]
