"""
The only place that carries the order socket in virtual time: the simulator's own WebSocket API without a socket.

``SocketExecute`` is the executor with ``pipeline.binance.order_socket`` on this wire. Faults match as they would by
REST, so one plan means the same on both roads; a fault that drops a connection takes every order that waits on it
along, and the wire is cut now and then by itself.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectors.exchange_simulator.rest import parameter_attributes
from connectors.exchange_simulator.socket_api import Session, SocketRequest, answer, read
from connectors.exchange_simulator.venue import Reply
from pipeline.binance.order_socket import METHODS, Key, SocketVenue, Wire, WireCut
from pipeline.execution.executor import Executor
from pipeline.execution.ports import Venue
from pipeline.virtual.processes import Process
from pipeline.virtual.venue import VirtualVenue
from pipeline.virtual.workers import Execute

API_KEY: Final = "socket-key"
PRIVATE: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # of the simulator only
PUBLIC_PEM: Final = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
LIFE_S: Final = (1.0, 15.0)
CUT_AMID: Final = 0.05  # of the orders have their wire cut on the way there or back
AS_REST: Final = {name: {"method": kind.method, "path": kind.path} for kind, name in METHODS.items()}
PLACES: Final = frozenset({"order.place", "algoOrder.place"})


class VirtualWire:
    """``order_socket.Wire`` of one process; the exchange sees each frame a road later."""

    def __init__(self, venue: VirtualVenue, process: Process, *, chance: random.Random) -> None:
        self._venue = venue
        self._process = process
        self._chance = chance
        self._session = Session(address="unknown", now_ms=venue.catch_up())
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._cut = False
        self._unanswered = 0
        venue.loop.call_later(chance.uniform(*LIFE_S), self._end_of_life)

    def is_open(self) -> bool:
        """False once it was cut, and while the exchange refuses everything."""
        return not self._cut and self._venue.refusing_until <= self._venue.loop.time()

    async def send(self, text: str) -> None:
        """See ``order_socket.Wire``."""
        await asyncio.sleep(0)  # buffers, the kernel: here a process may be stopped before its write
        if self._cut:
            raise WireCut("cut")
        asked = read(text)
        venue, loop = self._venue, self._venue.loop
        self._unanswered += 1
        if venue.late_requests and asked.method in PLACES:
            venue.late_requests -= 1
            venue.bite("late_request")
            loop.call_later(venue.road() + venue.late_ms / 1_000, self._arrive, asked)
            self.cut()
            raise WireCut("the connection broke")
        loop.call_later(venue.road(), self._arrive, asked)
        if asked.method in METHODS.values() and self._chance.random() < CUT_AMID:
            loop.call_later(venue.road() * self._chance.uniform(0.0, 2.0), self._end_of_life)

    async def receive(self) -> bytes:
        """See ``order_socket.Wire``."""
        frame = await self._frames.get()
        if frame is None:
            raise WireCut("the connection was cut")
        return frame

    async def close(self) -> None:
        """See ``order_socket.Wire``."""
        self.cut()

    def cut(self) -> None:
        """The connection breaks: what is on the road still arrives, no answer comes back."""
        if not self._cut:
            self._cut = True
            self._frames.put_nowait(None)

    def _end_of_life(self) -> None:
        if not self._cut and not self._process.dead:
            self._venue.bite("order_socket_cut" + (" in the middle" if self._unanswered else ""))
            self.cut()

    def _arrive(self, asked: SocketRequest) -> None:
        venue = self._venue
        if self._process.dead and venue.loses():
            return
        limits: list[Any] = []  # the venue's JSON

        def attributes() -> dict[str, str]:
            return AS_REST.get(asked.method, {"method": "WS", "path": asked.method}) | parameter_attributes(
                asked.params
            )

        def ask() -> Reply:
            now = venue.catch_up()
            payload = answer(venue.venue, self._session, asked, now)
            venue.deliver()
            limits.extend(payload.get("rateLimits", ()))
            return Reply(payload["status"], payload.get("result", payload.get("error")), {})

        def back(reply: Reply | None) -> None:
            venue.loop.call_later(venue.road(), self._answered, asked, reply, limits)

        venue.carry_out(attributes, ask, back)

    def _answered(self, asked: SocketRequest, reply: Reply | None, limits: list[Any]) -> None:
        self._unanswered -= 1
        if reply is None:
            self.cut()
        if self._cut or reply is None:
            return
        body = reply.body
        if "Retry-After" in reply.headers and isinstance(body, dict):
            again = self._venue.catch_up()
            until = again + 1_000 * int(reply.headers["Retry-After"])
            body = body | {"data": {"serverTime": again, "retryAfter": until}}
        frame = {"id": asked.id, "status": reply.status, "rateLimits": limits}
        frame["result" if reply.status == 200 else "error"] = body
        self._frames.put_nowait(msgspec.json.encode(frame))


class SocketExecute(Execute):
    """The executor with the order socket in front of REST."""

    def make_venue(self) -> Venue:
        """Orders by socket while one stands."""
        world, process = self.world, self.process
        chance = random.Random(f"{process.name}/{world.venue.venue.settings.seed}/order socket")
        world.venue.venue.keys.register(API_KEY, PUBLIC_PEM)

        async def open_wire() -> Wire:
            await asyncio.sleep(world.venue.road() * 2)
            if world.venue.refusing_until > world.loop.time():
                raise WireCut("connection refused")
            return VirtualWire(world.venue, process, chance=chance)

        self.socket_venue = SocketVenue(
            super().make_venue(),
            key=Key(API_KEY, PRIVATE),
            open_wire=open_wire,
            now_ms=self.clock.now_ms,
            now_ns=self.clock.now_ns,
        )
        return self.socket_venue

    def made(self, executor: Executor) -> None:
        """Log on beside the start; the governor counts it."""
        self.socket_venue.on_word = executor.desk.alert
        self.socket_venue.start(executor.lanes.weight)
