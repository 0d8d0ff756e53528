"""Real sockets: routes, control messages and the venue's connection rules (sheet section 1)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket

from connectors.exchange_simulator.faults import FaultPlan
from connectors.exchange_simulator.hub import Client, Hub
from connectors.exchange_simulator.server import Simulator
from connectors.exchange_simulator.streams import METHODS, ControlError, Pulse, control_reply
from tests.simulator import SignedClient, simulator_inside, until


def connect(url: str) -> websocket:
    """A socket that reads on however much is unread, so that its end is never waited for."""
    return websocket(url, max_queue=None)


async def receive(socket: ClientConnection) -> Any:
    """The next message as JSON, within a deadline."""
    async with asyncio.timeout(5):
        return json.loads(await socket.recv())


async def ask(socket: ClientConnection, text: str) -> Any:
    """Send one control frame and return its reply, passing over market frames."""
    await socket.send(text)
    while True:
        message = await receive(socket)
        if "result" in message or "error" in message:
            return message


async def ends(socket: ClientConnection) -> bool:
    """Whether the server ends the connection."""
    try:
        async with asyncio.timeout(5):
            while True:
                await socket.recv()
    except websockets.ConnectionClosed:
        return True
    except TimeoutError:
        return False


async def test_raw_and_combined_forms_on_their_routes() -> None:
    """/ws/<s1>/<s2> sends bare payloads, /stream?streams= wraps them with their name."""
    async with simulator_inside() as running:
        base = running.urls()["ws"]
        async with connect(f"{base}/public/ws/btcusdt@bookTicker/ethusdt@bookTicker") as raw:
            assert "bookTicker" == (await receive(raw))["e"]
        async with connect(f"{base}/market/stream?streams=btcusdt@markPrice@1s/!markPrice@arr@1s") as combined:
            seen: dict[str, Any] = {}
            while len(seen) < 2:
                message = await receive(combined)
                seen[message["stream"]] = message["data"]
        assert isinstance(seen["!markPrice@arr@1s"], list)
        assert "markPriceUpdate" == seen["btcusdt@markPrice@1s"]["e"]


async def test_a_wrong_route_says_yes_and_stays_silent() -> None:
    """The reply is a success, the stream is listed, and nothing ever arrives; unrouted paths are /public (1.3)."""
    async with simulator_inside(rate=50) as running:
        base = running.urls()["ws"]
        async with connect(f"{base}/public/ws") as public, connect(f"{base}/ws/btcusdt@bookTicker") as legacy:
            request = {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade", "btcusdt@markPrice@1s"], "id": 1}
            assert {"result": None, "id": 1} == await ask(public, json.dumps(request))
            assert {"result": None, "id": 7} == await ask(legacy, json.dumps(request | {"id": 7}))
            listed = await ask(public, '{"method":"LIST_SUBSCRIPTIONS","id":2}')
            assert request["params"] == listed["result"]
            seen = {(await receive(legacy))["e"] for _ in range(40)}
            assert {"bookTicker"} == seen
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.2):
                    await public.recv()


CONTROL = [
    ('{"method":"SUBSCRIBE","params":["btcusdt@kline_5m"],"id":"9c1-uuid"}', {"result": None, "id": "9c1-uuid"}),
    ('{"method":"UNSUBSCRIBE","params":["btcusdt@kline_5m"],"id":312}', {"result": None, "id": 312}),
    ('{"method":"GET_PROPERTY","params":["combined"],"id":2}', {"result": False, "id": 2}),
    ('{"method":"SET_PROPERTY","params":["combined",true],"id":5}', {"result": None, "id": 5}),
]
REFUSED = [
    ('{"method":"GET_PROPERTY","params":["colour"],"id":2}', 0),
    ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":2}', 1),
    ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":2}', 2),
    ('{"method":"SET_PROPERTY","params":[5,true],"id":2}', 2),
    ('{"params":[],"id":2}', 2),
    ('{"method":"LISTEN","id":2}', 2),
    ('{"method":"SUBSCRIBE","params":["a"],"id":-1}', 2),
    ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2),
    ('{"method":"SUBSCRIBE","params":"a","id":1}', 2),
    ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
    ("[]", 2),
]


async def test_control_messages_have_the_venues_replies() -> None:
    """Successes echo the id, integers and strings; refusals have the table's codes and keep the connection."""
    async with simulator_inside(begin="admin") as running:
        for chunk in (CONTROL, REFUSED[:6], REFUSED[6:]):
            async with connect(f"{running.urls()['ws']}/market/ws") as socket:
                for text, expected in chunk:
                    reply = await ask(socket, text)
                    assert expected == (reply if isinstance(expected, dict) else reply["error"]["code"]), text


class Wire(asyncio.Transport):
    """A transport for control messages that are never sent."""


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8))
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from([*METHODS, "subscribe"]) | anything,
        "params": st.lists(st.sampled_from(["btcusdt@depth", "combined", True]), max_size=3) | anything,
        "id": st.integers(0, 9) | anything,
    },
)


@settings(max_examples=300, deadline=None)
@given(fields | anything | st.none(), st.text(max_size=12))
def test_any_control_message_gets_a_reply_that_is_json(message: object, rubbish: str) -> None:
    """Half-valid and wholly invalid messages end in a reply or in an error of the table, never otherwise."""
    hub = Hub(FaultPlan())
    client = Client("public", combined=False, transport=Wire())
    for text in (json.dumps(message), json.dumps(message, ensure_ascii=False), rubbish):
        try:
            assert {"result", "id"} == control_reply(hub, client, text).keys()
        except ControlError as error:
            assert error.code in (0, 1, 2, 3)
        msgspec.json.encode(list(client.streams))


async def test_malformed_json_is_told_and_ends_the_connection() -> None:
    """Code 3, then the disconnect that was seen live."""
    async with (
        simulator_inside(begin="admin") as running,
        connect(f"{running.urls()['ws']}/market/ws") as socket,
    ):
        assert 3 == (await ask(socket, "{oops"))["error"]["code"]
        assert await ends(socket)


async def test_more_than_ten_messages_a_second_end_the_connection() -> None:
    """Ten are answered, the eleventh within a second disconnects; pings count too (1.5)."""
    async with simulator_inside(begin="admin") as running:
        async with connect(f"{running.urls()['ws']}/market/ws") as socket:
            for index in range(11):
                await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": index}))
            assert list(range(10)) == [(await receive(socket))["id"] for _ in range(10)]
            assert await ends(socket)
        async with connect(f"{running.urls()['ws']}/market/ws") as socket:
            for _ in range(11):
                await socket.ping()
            assert await ends(socket)


async def test_pings_are_answered_with_their_payload() -> None:
    """A client's ping gets its pong."""
    async with (
        simulator_inside(begin="admin") as running,
        connect(f"{running.urls()['ws']}/private/ws/x") as socket,
    ):
        async with asyncio.timeout(5):
            await (await socket.ping(b"hello"))


async def test_large_and_binary_frames_end_the_connection_without_harm_to_others() -> None:
    """A 10 MB frame and a binary frame are refused; another socket still gets its stream."""
    async with simulator_inside() as running:
        base = running.urls()["ws"]
        async with connect(f"{base}/public/ws/btcusdt@bookTicker") as good:
            for rubbish in ("x" * 10_000_000, b"\x00\x01"):
                async with connect(f"{base}/public/ws") as bad:
                    # The server may close while we still send; that is the point.
                    try:
                        await bad.send(rubbish)
                    except websockets.ConnectionClosed:
                        continue
                    assert await ends(bad)
            assert "bookTicker" == (await receive(good))["e"]


@pytest.mark.parametrize(
    "form", ["/private/ws/{key}", "/private/ws?listenKey={key}", "/private/stream?listenKey={key}", "subscribe"]
)
async def test_user_events_arrive_on_every_documented_form(form: str) -> None:
    """By path, by query, combined, and by SUBSCRIBE of the listen key (the official SDK's way)."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        key = (await client.keyed("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
        path = "/private/stream" if form == "subscribe" else form.format(key=key)
        async with connect(running.urls()["ws"] + path) as socket:
            if form == "subscribe":
                await ask(socket, json.dumps({"method": "SUBSCRIBE", "params": [key], "id": "u"}))
            await connected(running)
            await client.call("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
            events = [await receive(socket) for _ in range(4)]
            if "stream" in path:
                assert all(event["stream"] == key for event in events)
                events = [event["data"] for event in events]
            assert ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"] == [
                event["e"] for event in events
            ]


async def connected(running: Simulator) -> None:
    """Wait until the simulator knows a socket with a key."""
    await until(lambda: any(client.keys for client in running.hub.clients))


async def test_events_may_be_filtered_and_the_expiry_ends_them() -> None:
    """`events=` names what is wanted; listenKeyExpired is sent, afterwards nothing."""
    async with simulator_inside() as running, SignedClient(running.urls()["rest"]) as client:
        key = (await client.keyed("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
        query = f"listenKey={key}&events=TRADE_LITE/listenKeyExpired"
        async with connect(f"{running.urls()['ws']}/private/ws?{query}") as socket:
            await connected(running)
            order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
            await client.call("POST", "/fapi/v1/order", **order)
            assert "TRADE_LITE" == (await receive(socket))["e"]
            await client.keyed("DELETE", "/fapi/v1/listenKey")
            assert "listenKeyExpired" == (await receive(socket))["e"]
            await client.call("POST", "/fapi/v1/order", **order)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await socket.recv()


class PingedSocket:
    """A socket that counts pings and remembers its end; its peer answers while *alive*."""

    def __init__(self, *, alive: bool) -> None:
        self.pings, self.closed, self.alive = 0, False, alive
        self.pulse: Pulse | None = None

    async def ping(self, message: bytes) -> None:
        """Count, and let the peer answer."""
        self.pings += 1
        if self.alive and self.pulse is not None:
            self.pulse.heard()

    async def close(self, *, code: int) -> None:
        """End."""
        assert 1001 == code
        self.closed = True


@pytest.mark.parametrize(("alive", "patience", "life"), [(True, 0.1, 0.3), (False, 0.1, 1_000.0)])
async def test_a_peer_without_pongs_is_dropped_and_any_connection_ends_with_its_life(
    alive: bool, patience: float, life: float
) -> None:
    """Sheet 1.5 with short times: pinged meanwhile; one that never answers ends long before its life."""
    socket = PingedSocket(alive=alive)
    pulse = Pulse(socket, ping_seconds=0.01, pong_seconds=patience, life_seconds=life)  # type: ignore[arg-type]
    socket.pulse = pulse
    async with asyncio.timeout(10):
        await pulse.run()
    assert socket.closed
    assert socket.pings > 0


@pytest.mark.parametrize("path", ["public/ws", "ws-fapi/v1"])
async def test_an_unasked_pong_is_welcome(path: str) -> None:
    """Unsolicited pongs keep the connection (sheet 1.5)."""
    async with simulator_inside(begin="admin") as running, connect(f"{running.urls()['ws']}/{path}") as socket:
        await socket.pong(b"here")
        pong = await socket.ping()
        async with asyncio.timeout(5):
            await pong
