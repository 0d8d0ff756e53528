"""
The only place that joins the simulator's pure exchange to virtual time: requests, faults, frames, without a socket.

``VirtualVenue`` drives one ``connectors.exchange_simulator.venue.Venue``: market events and cadences when they are due,
requests when they arrive, answers and frames when they have travelled. ``VenueClient`` is ``execution.ports.Venue`` of
one process. Faults are the simulator's own rules (``faults.FaultPlan``), so a plan means the same here and on sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

import msgspec

from connectors.exchange_simulator.faults import (
    EVENT_ACTIONS,
    REQUEST_ACTIONS,
    FaultPlan,
    FaultRule,
    replaced_reply,
)
from connectors.exchange_simulator.rest import request_attributes
from connectors.exchange_simulator.synthetic import Source
from connectors.exchange_simulator.venue import Reply, Request, Venue
from pipeline.binance.errors import NoAnswer, NotWritten, ReadFailed
from pipeline.binance.requests import AlgoOrder, RegularOrder, Security, canonical, server_time
from pipeline.binance.requests import Request as Asked
from pipeline.binance.rest import Answer, sign
from pipeline.core.units import Milliseconds
from pipeline.virtual.clock import BEHIND, START_MS, VirtualClock, VirtualLoop
from pipeline.virtual.processes import Process

Json: TypeAlias = Any  # the venue's JSON

ROAD_US: Final = (800, 4_000)  # one way to the venue
STREAM_US: Final = (800, 3_000)
Frame = Callable[[str, bytes], None]  # (stream name, JSON)
Answering = Callable[[Reply | None], None]


class Socket:
    """A connection that receives frames in order; ``cut`` loses what comes until ``restore``."""

    def __init__(self, name: str, take: Callable[[bytes], None], *, combined: bool) -> None:
        self.name = name
        self.take = take
        self.combined = combined
        self.open = True
        self.lost = 0
        self.clear_at = 0.0


class VirtualVenue:
    """
    The exchange at one end of the roads. *random* draws the roads, *tick_ms* is how often cadences are looked at
    (100 is what the exchange itself uses; marks move once a second whatever it is).

    ``bites`` counts what every kind of fault did, ``bitten`` says when each bit.
    """

    def __init__(self, loop: VirtualLoop, venue: Venue, source: Source, *, random: Random, tick_ms: int = 100) -> None:
        assert venue.start_ms == START_MS, "venue and clocks start together"
        self.loop = loop
        self.venue = venue
        self.source = source
        self.faults = FaultPlan()
        self.bites: dict[str, int] = {}
        self.bitten: list[tuple[int, str]] = []
        self.refusing_until = 0.0  # nothing is answered but "the connection was refused"
        self.late_requests = 0  # so many of the next orders: the connection breaks, the request arrives all the same …
        self.late_ms = 0  # … this much later
        self.on_bite: Callable[[FaultRule], None] = _nobody
        self._clock = VirtualClock(loop)
        self._random = random
        self._tick_ms = tick_ms
        self._encode = msgspec.json.Encoder().encode
        self._user: list[Socket] = []
        self._market: list[Socket] = []
        for event in source.initial(venue.start_ms):
            venue.apply(event, venue.start_ms)

    # ------------------------------------------------------------------------------------------------ time

    async def run(self) -> None:
        """Let the market happen, for ever."""
        due_tick = START_MS
        while True:
            now = self._clock.now_ms()
            self._market_until(now)
            if now >= due_tick:
                self.venue.tick(now)
                due_tick = now // self._tick_ms * self._tick_ms + self._tick_ms
            self.deliver()
            due = self.source.next_due()
            wake = due_tick if due is None else min(due, due_tick)
            await asyncio.sleep(max(0.001, (wake - self._clock.now_ms()) / 1_000))

    def _market_until(self, now: int) -> None:
        while (due := self.source.next_due()) is not None and due <= now:
            for event in self.source.take(now):
                self.venue.apply(event, now)

    # ---------------------------------------------------------------------------------------------- frames

    def user_socket(self, name: str, take: Callable[[bytes], None]) -> Socket:
        """A connection of the private route; faults may tell it by the attribute ``stream``."""
        socket = Socket(name, take, combined=False)
        self._user.append(socket)
        return socket

    def market_socket(self, name: str, take: Callable[[bytes], None]) -> Socket:
        """A connection of the public and the market route, in combined form."""
        socket = Socket(name, take, combined=True)
        self._market.append(socket)
        return socket

    def hang_up(self, socket: Socket) -> None:
        """The reader is gone."""
        socket.open = False
        for sockets in (self._user, self._market):
            if socket in sockets:
                sockets.remove(socket)

    def deliver(self) -> None:
        """Send what the exchange has produced."""
        venue = self.venue
        if venue.frames:
            frames, venue.frames = venue.frames, []
            for stream, payload in frames:
                data = b'{"stream":"%b","data":%b}' % (stream.encode(), self._encode(payload))
                for socket in self._market:
                    self._send(socket, data)
        if venue.user_events:
            events = venue.user_events[:]
            venue.user_events.clear()
            for event in events:
                for socket in self._user:
                    self._tell(socket, event)

    def _tell(self, socket: Socket, event: Json) -> None:
        rule = None
        if self.faults.rules:
            rule = self.faults.find(EVENT_ACTIONS, _event_attributes(event) | {"stream": socket.name})
        data = self._encode(event)
        if rule is None:
            self._send(socket, data)
            return
        self.bite(rule.action)
        if rule.action == "delay_event":
            self.loop.call_later(rule.milliseconds / 1_000, self._receive, socket, data)  # others overtake it
        elif rule.action == "duplicate_event":
            self._send(socket, data)
            self._send(socket, data)

    def _send(self, socket: Socket, data: bytes) -> None:
        low, high = STREAM_US
        at = max(socket.clear_at + BEHIND, self.loop.time() + self._random.randint(low, high) / 1_000_000)
        socket.clear_at = at
        self.loop.call_at(at, self._receive, socket, data)

    def _receive(self, socket: Socket, data: bytes) -> None:
        if socket.open:
            socket.take(data)
        else:
            socket.lost += 1

    def bite(self, kind: str) -> None:
        """Count a fault that did something."""
        self.bites[kind] = self.bites.get(kind, 0) + 1
        self.bitten.append((self._clock.now_ms(), kind))

    # -------------------------------------------------------------------------------------------- requests

    def road(self) -> float:
        """Seconds of one way."""
        low, high = ROAD_US
        return self._random.randint(low, high) / 1_000_000

    def arrive(self, asked: Request, answer: Answering) -> None:
        """A request has come in; *answer* is called when the reply leaves, with None for a cut connection."""
        self.carry_out(lambda: request_attributes(asked), lambda: self._ask(asked), answer)

    def carry_out(
        self, attributes_of: Callable[[], dict[str, str]], ask: Callable[[], Reply], answer: Answering
    ) -> None:
        """A request of any interface: *ask* has the exchange do it, *attributes_of* are what faults match on."""
        rule = None
        if self.faults.rules:
            attributes = attributes_of()
            rule = self.faults.find(REQUEST_ACTIONS, attributes)
        if rule is None:
            answer(ask())
            return
        self.bite(rule.action if rule.action != "status" else f"status {rule.code}")
        self.on_bite(rule)
        action = REQUEST_ACTIONS[rule.action]
        if action.holds == "before":
            self.loop.call_later(rule.milliseconds / 1_000, self._answer_faulty, ask, rule, attributes, answer)
        else:
            self._answer_faulty(ask, rule, attributes, answer)

    def _answer_faulty(
        self, ask: Callable[[], Reply], rule: FaultRule, attributes: dict[str, str], answer: Answering
    ) -> None:
        action = REQUEST_ACTIONS[rule.action]
        reply = ask() if action.executes else None
        if reply is None:
            status = 0 if action.drops else action.status or rule.status
            told = {"status": status, "milliseconds": rule.milliseconds}
            self.venue.ledger.record("request_not_executed", told | attributes, now_ms=self._clock.now_ms())
        if rule.action == "vanish":
            self.venue.vanish([attributes["client_id"]], now_ms=self._clock.now_ms())
        if not action.drops:
            replaced = replaced_reply(rule)
            if replaced is not None:
                status, body = replaced
                headers = {"Retry-After": str(max(1, rule.milliseconds // 1_000))} if status in (418, 429) else {}
                reply = Reply(status, body, headers)
        else:
            reply = None
        if action.holds == "after":
            self.loop.call_later(rule.milliseconds / 1_000, answer, reply)
        else:
            answer(reply)

    def _ask(self, asked: Request) -> Reply:
        now = self.catch_up()
        reply = self.venue.request(asked, now)
        self.deliver()
        return reply

    def catch_up(self) -> int:
        """Let the market happen until now; returns now in ms."""
        now = self._clock.now_ms()
        self._market_until(now)
        return now

    def loses(self) -> bool:
        """Whether a request of a process that was killed while it was on the road is lost."""
        return self._random.random() < 0.5


def _nobody(_: FaultRule) -> None:
    """Nobody listens."""


def _event_attributes(event: Json) -> dict[str, str]:
    order = event.get("o", {})
    names = order if isinstance(order, dict) else {}
    return {
        "event": event["e"],
        "symbol": str(names.get("s", event.get("s", ""))),
        "client_id": str(names.get("c", names.get("caid", event.get("c", "")))),
        "status": str(names.get("X", "")),
    }


class VenueClient:
    """
    ``execution.ports.Venue`` of one process: the bytes are signed and sent as ``RestClient`` would.

    A request of a process that is killed while it is on the road arrives or not, as the seed says; one that was
    written before a freeze arrives. Between the call and the write lies an await point, where a process may stand.
    """

    def __init__(
        self, venue: VirtualVenue, process: Process, clock: VirtualClock, *, api_key: str, api_secret: str
    ) -> None:
        self._venue = venue
        self._process = process
        self._clock = clock
        self._key = api_key
        self._secret = api_secret.encode()
        self.server_ahead_ms = 0

    async def send(
        self, request: Asked, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
    ) -> Answer:
        """See ``RestClient.send``; raises NotWritten, NoAnswer."""
        query = canonical(request.parameters())
        if request.security is Security.SIGNED:
            tail = f"recvWindow={receive_window_ms}&timestamp={timestamp_ms}"
            query = f"{query}&{tail}" if query else tail
            query = f"{query}&signature={sign(self._secret, query)}"
        key = None if request.security is Security.NONE else self._key
        asked = Request(method=request.method, path=request.path, query=query, api_key=key)
        sent_ms = self._clock.now_ms()
        await asyncio.sleep(0)  # connections, buffers, the kernel: here a process may be stopped before its write
        venue, loop = self._venue, self._venue.loop
        if venue.refusing_until > loop.time():
            venue.bite("connection_refused")
            raise NotWritten("connection refused")
        answered: asyncio.Future[Reply | None] = loop.create_future()
        written_ns = self._clock.now_ns()
        if venue.late_requests and isinstance(request, RegularOrder | AlgoOrder):
            venue.late_requests -= 1
            venue.bite("late_request")
            loop.call_later(venue.road() + venue.late_ms / 1_000, self._arrive, asked, answered)
            raise NoAnswer("the connection broke")
        loop.call_later(venue.road(), self._arrive, asked, answered)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                reply = await answered
        except TimeoutError as error:
            raise NoAnswer("no answer in time") from error
        if reply is None:
            raise NoAnswer("the connection was cut")
        return Answer(
            status=reply.status,
            headers={name.lower(): value for name, value in reply.headers.items()},
            body=msgspec.json.encode(reply.body),
            sent_ms=Milliseconds(sent_ms),
            written_ms=Milliseconds(written_ns // 1_000_000),
            received_ms=Milliseconds(self._clock.now_ms()),
            written_ns=written_ns,
        )

    def _arrive(self, asked: Request, answered: asyncio.Future[Reply | None]) -> None:
        if self._process.dead and self._venue.loses():
            return

        def answer(reply: Reply | None) -> None:
            self._venue.loop.call_later(self._venue.road(), back, reply)

        def back(reply: Reply | None) -> None:
            if not answered.done() and not self._process.dead:
                answered.set_result(reply)

        self._venue.arrive(asked, answer)

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        """See ``RestClient.synchronise``; raises VenueFailure."""
        answer = await self.send(server_time(), timeout_ms=timeout_ms)
        if answer.status != 200:
            raise ReadFailed(f"/time answered {answer.status}")
        server_ms = msgspec.json.decode(answer.body, type=dict[str, int])["serverTime"]
        self.server_ahead_ms = server_ms - (answer.sent_ms + answer.received_ms) // 2
        return (answer.received_ms - answer.sent_ms + 1) // 2
