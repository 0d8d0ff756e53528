"""The order socket: what it carries, what goes by REST instead, and what is in doubt when it ends."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipeline.binance import order_socket, requests
from pipeline.binance.errors import NoAnswer
from pipeline.binance.order_socket import HANDSHAKE_WEIGHT, Key, SocketVenue, Wire, WireCut, WireLimited, private_key
from pipeline.binance.requests import Request
from pipeline.binance.rest import Answer
from pipeline.core.events import Side
from pipeline.core.units import Milliseconds
from tests.pipeline.binance.test_requests import BTC

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400, "count": 6},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 2},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200, "count": 3},
    {"rateLimitType": "SOMETHING_NEW", "interval": "DAY", "intervalNum": 1, "limit": 1, "count": 1},
]
Json = dict[str, Any]
STOP = requests.far_rail(BTC, client_id="stop-1", position_side=Side.BUY, trigger=600_000)
Reply = Callable[[Json], Json | bytes | None]  # None: no answer


def accept(asked: Json) -> Json:
    """Everything is accepted."""
    return {"status": 200, "result": {"clientAlgoId": asked["params"].get("clientAlgoId", "")}, "rateLimits": LIMITS}


class FakeWire:
    """A wire whose other end answers by a function."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[Json] = []
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    def is_open(self) -> bool:
        """Until ``cut`` or ``close``."""
        return not self.closed

    async def send(self, text: str) -> None:
        """Answer at once."""
        asked = msgspec.json.decode(text)
        self.asked.append(asked)
        replied = self.reply(asked)
        if isinstance(replied, dict):
            self.say({"id": asked["id"], **replied})
        elif replied is not None:
            self._frames.put_nowait(replied)

    def say(self, frame: Json) -> None:
        """A frame from the venue."""
        self._frames.put_nowait(msgspec.json.encode(frame))

    async def receive(self) -> bytes:
        """The next answer."""
        frame = await self._frames.get()
        if frame is None:
            raise WireCut("cut")
        return frame

    def cut(self) -> None:
        """The connection breaks."""
        self.closed = True
        self._frames.put_nowait(None)

    async def close(self) -> None:
        """We end it."""
        self.cut()


class FakeRest:
    """Remembers what went by REST."""

    server_ahead_ms = 70

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def send(self, request: Request, **_: int) -> Answer:
        """Everything is well."""
        self.asked.append(request)
        now = Milliseconds(1)
        return Answer(200, {}, b"{}", now, now, now)

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        """Known."""
        return 1


class World:
    """A venue with an order socket; *replies* are those of its connections, the last one for all further."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self.rest = FakeRest()
        self.replies = list(replies or [accept])
        self.wires: list[FakeWire] = []
        self.weights: list[int] = []
        self.tries = 0
        self.venue = SocketVenue(
            self.rest, key=Key("the-key", PRIVATE), open_wire=self._open, now_ms=lambda: 1_000, now_ns=lambda: 5
        )

    async def _open(self) -> Wire:
        self.tries += 1
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        self.wires.append(FakeWire(reply))
        return self.wires[-1]

    async def _admit(self, weight: int) -> None:
        self.weights.append(weight)

    async def up(self) -> None:
        """Start and wait for the socket."""
        self.venue.start(self._admit)
        await self.until(lambda: self.venue._session is not None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, with a deadline."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.001)

    async def stop(self, *, timeout_ms: int = 5_000) -> Answer:
        """Place the stop."""
        return await self.venue.send(STOP, timestamp_ms=1_070, receive_window_ms=1_000, timeout_ms=timeout_ms)


async def test_logged_on_once_orders_carry_neither_key_nor_signature() -> None:
    """Logon is signed over its sorted parameters in the venue's time; an order has timestamp and window as integers."""
    world = World()
    await world.up()
    answer = await world.stop()
    logon, order = world.wires[0].asked
    signature = base64.b64decode(logon["params"].pop("signature"))
    payload = "&".join(f"{name}={value}" for name, value in sorted(logon["params"].items()))
    PRIVATE.public_key().verify(signature, payload.encode())

    assert ("session.logon", "the-key", 1_070) == (
        logon["method"],
        logon["params"]["apiKey"],
        logon["params"]["timestamp"],
    )
    assert [HANDSHAKE_WEIGHT] == world.weights
    assert "algoOrder.place" == order["method"]
    assert dict(STOP.parameters()) | {"timestamp": 1_070, "recvWindow": 1_000} == order["params"]
    assert isinstance(order["id"], str)
    assert (200, b'{"clientAlgoId":"stop-1"}', 5) == (answer.status, answer.body, answer.written_ns)
    assert {"x-mbx-used-weight-1m": "6", "x-mbx-order-count-10s": "2", "x-mbx-order-count-1m": "3"} == answer.headers
    await world.venue.close()


async def test_every_order_request_has_its_method_and_reads_go_by_rest() -> None:
    """Place and cancel of both books over the socket; a query by REST."""
    world = World()
    await world.up()
    asked: list[Request] = [
        requests.entry(BTC, client_id="e", side=Side.BUY, lots=1, limit=10),
        requests.CancelRegular(symbol="BTCUSDT", client_id="e"),
        STOP,
        requests.CancelAlgo(symbol="BTCUSDT", client_id="stop-1"),
    ]
    for request in asked:
        await world.venue.send(request)
    await world.venue.send(requests.open_orders("BTCUSDT"))

    assert ["session.logon", "order.place", "order.cancel", "algoOrder.place", "algoOrder.cancel"] == [
        frame["method"] for frame in world.wires[0].asked
    ]
    assert [requests.open_orders("BTCUSDT")] == world.rest.asked
    assert 70 == world.venue.server_ahead_ms
    await world.venue.close()


async def test_until_a_socket_stands_orders_go_by_rest() -> None:
    """A venue that refuses connections costs nothing but its socket."""
    world = World(WireCut("refused"))
    world.venue.start(world._admit)
    await world.until(lambda: world.tries == 1)
    await world.stop()

    assert [STOP] == world.rest.asked
    await world.venue.close()


async def test_answers_are_told_apart_by_id_whatever_their_order() -> None:
    """Two orders, the second answered first."""
    held: list[Json] = []

    def late(asked: Json) -> Json | None:
        if asked["method"] == "order.place" and not held:
            held.append(asked)
            return None
        return {"status": 200, "result": {"of": asked["method"]}}

    world = World(late)
    await world.up()
    entry = requests.entry(BTC, client_id="e", side=Side.BUY, lots=1, limit=10)
    first = asyncio.create_task(world.venue.send(entry))
    await world.until(lambda: bool(held))
    second = await world.stop()
    world.wires[0].say({"id": held[0]["id"], "status": 200, "result": {"of": "order.place"}})

    assert (b'{"of":"algoOrder.place"}', b'{"of":"order.place"}') == (second.body, (await first).body)
    await world.venue.close()


async def test_a_refusal_reads_as_by_rest() -> None:
    """Status and body are what the error table expects; a ban says until when, if it says it."""
    data = {"serverTime": 10_000, "retryAfter": 12_500}
    refusal = {"status": 429, "error": {"code": -1003, "msg": "Too many requests", "data": data}}
    world = World(lambda asked: accept(asked) if asked["method"] == "session.logon" else refusal)
    await world.up()
    answer = await world.stop()

    assert 429 == answer.status
    assert -1003 == msgspec.json.decode(answer.body)["code"]
    assert {"retry-after": "3"} == answer.headers
    await world.venue.close()


def silent(asked: Json) -> Json | None:
    """Logs on and answers nothing."""
    return accept(asked) if asked["method"] == "session.logon" else None


async def test_a_cut_leaves_every_waiting_order_in_doubt() -> None:
    """None of them goes again by itself; the next one goes by REST."""
    world = World(silent, WireCut("refused"))
    await world.up()
    waiting = [asyncio.create_task(world.stop()) for _ in range(3)]
    await world.until(lambda: len(world.wires[0].asked) == 4)
    world.wires[0].cut()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    await world.stop()

    assert [NoAnswer] * 3 == [type(end) for end in ends]
    assert [STOP] == world.rest.asked
    await world.venue.close()


async def test_silence_is_in_doubt_and_the_next_order_goes_another_way() -> None:
    """A half-open connection must not swallow one order after another; late answers meet nobody."""
    world = World(silent, WireCut("refused"))
    await world.up()
    with pytest.raises(NoAnswer):
        await world.stop(timeout_ms=20)
    await world.stop()
    world.wires[0].say({"id": world.wires[0].asked[1]["id"], "status": 200, "result": {}})
    await asyncio.sleep(0)

    assert [STOP] == world.rest.asked
    await world.venue.close()


@pytest.mark.parametrize("frame", [b'{"id":"1', b'{"id":"1.2","result":' + b"[" * 100_000, b"\xff"])
async def test_nonsense_on_the_wire_is_no_answer(frame: bytes) -> None:
    """Half a frame, or one too deep to read: nobody can tell whose answer it was, and nobody waits for it."""
    world = World(lambda asked: accept(asked) if asked["method"] == "session.logon" else frame, WireCut("x"))
    await world.up()
    with pytest.raises(NoAnswer, match="cut"):  # not by the deadline
        await world.stop()
    await world.venue.close()


async def test_the_frames_of_a_second_are_counted() -> None:
    """What would go beyond the venue's ten a second goes by REST."""
    world = World()
    await world.up()
    for _ in range(12):
        await world.stop()

    assert order_socket.FRAMES_PER_SECOND == len(world.wires[0].asked)
    assert 12 + 1 - order_socket.FRAMES_PER_SECOND == len(world.rest.asked)
    await world.venue.close()


async def test_a_refused_key_is_not_asked_again() -> None:
    """One line, no retries that burn weight: orders go by REST."""
    refusal = {"status": 401, "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}}
    world = World(lambda _: refusal)
    world.venue.start(world._admit)
    await world.until(lambda: bool(world.wires) and world.wires[0].closed)
    await world.until(lambda: not world.venue._tasks)
    await world.stop()

    assert 1 == world.tries
    assert [STOP] == world.rest.asked
    await world.venue.close()


async def test_a_revoked_key_ends_the_socket_for_good() -> None:
    """A frame without id says so (venue sheet 1.6)."""
    world = World()
    await world.up()
    world.wires[0].say({"id": None, "status": 401, "error": {"code": -2015, "msg": "Invalid API-key"}})
    await world.until(lambda: not world.venue._tasks)
    await world.stop()

    assert (1, [STOP]) == (world.tries, world.rest.asked)
    await world.venue.close()


async def test_an_old_socket_is_replaced_before_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue cuts at 24 hours; the next one is logged on before, and no order meets the change."""
    monkeypatch.setattr(order_socket, "LIFE_SECONDS", 0.02)
    world = World()
    await world.up()
    answers = []
    while len(world.wires) < 3:
        answers.append(await world.stop())
        await asyncio.sleep(0.002)
        world.venue._session._sent.clear()  # type: ignore[union-attr]  # another second

    assert {200} == {answer.status for answer in answers}
    assert [] == world.rest.asked
    await world.venue.close()


async def test_a_venue_that_limits_connections_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """429 at the handshake: no second try for two minutes."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(3_600 if seconds > 1 else 0)

    world = World(WireLimited("429"))
    monkeypatch.setattr("pipeline.binance.order_socket.asyncio.sleep", sleep)
    world.venue.start(world._admit)
    while not slept:
        await real(0)
    monkeypatch.undo()

    assert ([order_socket.LIMITED_SECONDS], 1) == (slept, world.tries)
    await world.venue.close()


async def test_a_fault_in_the_keeper_sends_orders_by_rest_is_told_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever ends the task that keeps the socket is heard; a minute later it is tried again."""
    monkeypatch.setattr(order_socket, "LONGEST_WAIT_SECONDS", 0.01)
    world = World(ZeroDivisionError("ours"), accept)
    told: list[tuple[str, str, str]] = []
    world.venue.on_word = lambda *word: told.append(word)
    world.venue.start(world._admit)
    await world.until(lambda: bool(told))
    await world.stop()
    assert [("order_socket_lost", "critical")] == [word[:2] for word in told]
    assert 1 == len(world.rest.asked)

    await world.until(lambda: world.venue._session is not None)
    assert 200 == (await world.stop()).status
    assert 1 == len(world.rest.asked)
    await world.venue.close()


async def test_a_reader_that_dies_leaves_nobody_waiting() -> None:
    """A fault in the task that reads answers puts what waits into doubt at once, and the next order goes by REST."""
    world = World(accept, silent)
    told: list[tuple[str, str, str]] = []
    world.venue.on_word = lambda *word: told.append(word)
    await world.up()
    wire = world.wires[0]
    wire.reply = silent
    waiting = asyncio.create_task(world.stop())
    await asyncio.sleep(0.01)

    async def fails() -> bytes:
        raise ZeroDivisionError("ours")

    wire.receive = fails  # type: ignore[method-assign]
    wire.say({"id": "nobody's", "status": 200, "result": {}})
    with pytest.raises(NoAnswer):
        await waiting
    await world.until(lambda: bool(told))
    assert [("order_socket_lost", "critical")] == [word[:2] for word in told]
    await world.venue.close()


def test_only_ed25519_in_pem_is_a_key() -> None:
    """Another curve, rubbish, nothing: refused with a reason."""

    def pem(key: Any) -> str:
        return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    assert PRIVATE.private_bytes_raw() == private_key(pem(PRIVATE)).private_bytes_raw()
    for text in (pem(ec.generate_private_key(ec.SECP256R1())), "rubbish", ""):
        with pytest.raises(ValueError, match=r"Ed25519|PEM"):
            private_key(text)
