"""Every fault of a public frame or user event is seen by a client on a real socket, and faults compose."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from connectors.exchange_simulator.faults import EVENT_ACTIONS, STREAM_ACTIONS, FaultPlan, parse_rules
from connectors.exchange_simulator.spoiling import Spoiler
from tests.simulator import SignedClient, simulator_inside, until

FRAMES: dict[str, list[str]] = {
    "mute_stream": ["1", "3"],
    "lose_frame": ["1", "3"],
    "duplicate_frame": ["1", "2", "2", "3"],
    "reorder_frame": ["1", "3", "2"],
    "delay_frame": ["1", "3", "2"],
    "corrupt_frame": ["1", "damaged", "3"],
    "late_close": ["1", "3", "2"],
}
EVENTS: dict[str, list[str]] = {
    "lose_event": ["1", "3"],
    "duplicate_event": ["1", "2", "2", "3"],
    "reorder_event": ["1", "3", "2"],
    "delay_event": ["1", "3", "2"],
}


def test_every_action_is_demonstrated() -> None:
    """No action without a client that sees it."""
    assert sorted(FRAMES) == sorted(STREAM_ACTIONS)
    assert sorted(EVENTS) == sorted(EVENT_ACTIONS)


def number(text: str) -> str:
    """Which frame arrived."""
    try:
        return str(json.loads(text)["n"])
    except json.JSONDecodeError:
        return "damaged"


@pytest.mark.parametrize(("action", "expected"), FRAMES.items())
async def test_what_a_reader_sees_of_three_frames(action: str, expected: list[str]) -> None:
    """The rule hits the second frame; late ones come last; the ledger counts one bite."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        # No market of this name: only these frames flow.
        stream = "nobodyusdt@kline_5m"
        skip = 0 if action == "late_close" else 1
        rule = {"action": action, "match": {"stream": "nob*@kline_*"}, "skip": skip, "milliseconds": 60}
        await client.admin("POST", "faults", [rule])
        async with connect(f"{running.urls()['ws']}/market/ws/{stream}") as socket:
            await until(lambda: running.hub.wanted(stream))
            for index in ("1", "2", "3"):
                payload = {"e": "kline", "s": "BTCUSDT", "n": index, "k": {"x": index == "2"}}
                await client.admin("POST", "frame", {"stream": stream, "payload": payload})
            seen: list[str] = []
            async with asyncio.timeout(5):
                while len(seen) < len(expected):
                    seen.append(number(str(await socket.recv())))
        assert expected == seen
        assert {action: 1} == running.venue.ledger.faults


@pytest.mark.parametrize(("action", "expected"), EVENTS.items())
async def test_what_a_user_stream_sees_of_three_events(action: str, expected: list[str]) -> None:
    """The rule hits the second order's NEW: lost, twice, after its successor."""
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        rule = {"match": {"event": "ORDER_TRADE_UPDATE", "client_id": "2"}, "action": action, "milliseconds": 60}
        await client.admin("POST", "faults", [rule])
        key = (await client.keyed("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
        async with connect(f"{running.urls()['ws']}/private/ws/{key}") as socket:
            await until(lambda: any(key in one.keys for one in running.hub.clients))
            for name in ("1", "2", "3"):
                await client.call(
                    "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="LIMIT", quantity="0.010",
                    price="80500.00", timeInForce="GTC", newClientOrderId=name,
                )  # fmt: skip
            seen: list[str] = []
            async with asyncio.timeout(5):
                while len(seen) < len(expected):
                    event = json.loads(await socket.recv())
                    if event["e"] == "ORDER_TRADE_UPDATE":
                        seen.append(event["o"]["c"])
        assert expected == seen


def spoiler(*rules: dict[str, Any]) -> tuple[Spoiler, list[str]]:
    """A spoiler with these rules, and the bites it tells."""
    faults, told = FaultPlan(), []
    faults.add(parse_rules(list(rules)))
    return Spoiler(faults, lambda kind, body: told.append(kind)), told


def test_faults_of_a_frame_compose() -> None:
    """Late and twice at once; a held frame follows its successor even when the rule has ended."""
    made, told = spoiler({"action": "delay_frame", "milliseconds": 5}, {"action": "duplicate_frame"})
    assert [(5, b"{}"), (5, b"{}")] == made.frames("a@depth", {}, b"{}", route="public")
    assert [(0, b"{}")] == made.frames("a@depth", {}, b"{}", route="public")
    assert ["duplicate_frame", "delay_frame"] == told

    made, _ = spoiler({"action": "reorder_frame"})
    assert [] == made.frames("a@depth", {}, b"1", route="public")
    assert made.spoils_frames()
    assert [(0, b"2")] == made.frames("b@depth", {}, b"2", route="public")
    assert [(0, b"3"), (0, b"1")] == made.frames("a@depth", {}, b"3", route="public")
    assert not made.spoils_frames()


def test_only_a_closed_candle_is_late() -> None:
    """late_close passes running candles and everything else."""
    made, told = spoiler({"action": "late_close", "count": -1, "milliseconds": 2_000})
    for payload, delay in (({"k": {"x": True}}, 2_000), ({"k": {"x": False}}, 0), ({"e": "trade"}, 0), ([{}], 0)):
        assert [(delay, b"")] == made.frames("a@kline_1m", payload, b"", route="market")  # type: ignore[arg-type]
    assert ["late_close"] == told


def test_a_symbol_is_found_wherever_the_venue_puts_it() -> None:
    """At the top, or inside the order of a liquidation."""
    made, told = spoiler({"action": "lose_frame", "match": {"symbol": "X", "event": "forceOrder"}, "count": -1})
    assert [] == made.frames("!forceOrder@arr", {"e": "forceOrder", "o": {"s": "X"}}, b"", route="market")
    assert [(0, b"")] == made.frames("!forceOrder@arr", {"e": "forceOrder", "o": {"s": "Y"}}, b"", route="market")
    assert ["lose_frame"] == told


async def test_a_muted_stream_does_not_flood_the_ledger() -> None:
    """Every bite is counted, but only the first hundred and then every hundredth has a line."""
    async with simulator_inside(begin="admin") as running:
        for _ in range(450):
            running.note_bite("mute_stream", {"stream": "a@depth"})
        ledger = running.venue.ledger
        assert {"mute_stream": 450} == ledger.faults
        assert 104 == sum(line["kind"] == "fault" for line in ledger.lines)
