"""The door of the WebSocket API: one socket from handshake to end, request faults, connection rules (sheet 1.6)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.request_faults import Trial, ids_of, suffer
from connectors.exchange_simulator.rest import parameter_attributes
from connectors.exchange_simulator.socket_api import (
    HANDSHAKE_WEIGHT,
    Session,
    SocketRequest,
    answer,
    failure,
    id_of,
    read,
)
from connectors.exchange_simulator.streams import MAX_MESSAGE, Pulse
from connectors.exchange_simulator.timed_faults import cut_later, is_refused

if TYPE_CHECKING:
    from connectors.exchange_simulator.server import Simulator

Payload = dict[str, Any]  # Any: the venue's JSON
PINGS_PER_SECOND: Final = 5


async def serve_order_socket(simulator: Simulator, request: web.Request) -> web.StreamResponse:
    """One connection; its handshake costs request weight."""
    address = request.remote or "unknown"
    if is_refused(simulator.faults, "ws-fapi", simulator.note_bite):
        return web.Response(status=503, text="Service Unavailable.")
    try:
        simulator.venue.limiter.charge_weight(address, HANDSHAKE_WEIGHT, simulator.clock.now_ms())
    except VenueError as refusal:
        return web.Response(
            status=refusal.status, body=msgspec.json.encode(refusal.body()), content_type="application/json"
        )
    socket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_MESSAGE, compress=False)
    await socket.prepare(request)
    session = Session(
        address=address,
        now_ms=simulator.clock.now_ms(),
        return_rate_limits=request.query.get("returnRateLimits", "true") != "false",
    )
    if request.transport is not None:
        loop = asyncio.get_running_loop()
        cut_later(simulator.faults, "ws-fapi", request.transport, loop, simulator.note_bite)
    connection = OrderConnection(simulator, session, socket, request.transport)
    simulator.order_connections[connection] = None
    pinger = asyncio.create_task(connection.pulse.run())
    try:
        await connection.listen()
    except ConnectionError:
        pass  # The peer is gone; nothing is left to tell it.
    finally:
        pinger.cancel()
        connection.end()
        del simulator.order_connections[connection]
    return socket


class OrderConnection:
    """One socket of the WebSocket API. Requests with a fault wait apart, so answers may come in another order."""

    def __init__(
        self,
        simulator: Simulator,
        session: Session,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
    ) -> None:
        self._simulator, self._session, self._socket, self._transport = simulator, session, socket, transport
        self._waiting: set[asyncio.Task[None]] = set()
        self.pulse = Pulse(socket)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """Forget the requests that still wait."""
        for task in self._waiting:
            task.cancel()

    async def listen(self) -> None:
        """Answer frame after frame until the peer goes or breaks a rule."""
        pings: deque[float] = deque(maxlen=PINGS_PER_SECOND + 1)
        loop = asyncio.get_running_loop()
        async for message in self._socket:
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                pings.append(loop.time())
                if len(pings) > PINGS_PER_SECOND and pings[-1] - pings[0] < 1.0:
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many pings")
                    return
                if message.type is WSMsgType.PING:
                    await self._socket.pong(message.data)
                else:
                    self.pulse.heard()
            elif message.type is WSMsgType.TEXT:
                await self._serve(message.data)
            elif message.type is WSMsgType.BINARY:
                await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                return

    async def _serve(self, text: str) -> None:
        simulator = self._simulator
        try:
            asked = read(text)
        except VenueError as refusal:
            await self._send(failure(simulator.venue, self._session, id_of(text), refusal, simulator.clock.now_ms()))
            return
        if not simulator.faults.rules:
            await self._send(self._answer(asked))
            return
        attributes = {"method": "WS", "path": asked.method, "route": "ws-fapi"} | parameter_attributes(asked.params)
        rules = simulator.faults.find_all(attributes)
        if not rules:
            await self._send(self._answer(asked))
            return
        task = asyncio.create_task(self._faulty(asked, attributes, Trial(rules)))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _answer(self, asked: SocketRequest) -> Payload:
        self._simulator.venue.gateway_skew_ms = self._simulator.clock.skew_ms()
        reply = answer(self._simulator.venue, self._session, asked, self._simulator.clock.now_ms())
        self._simulator.deliver()
        return reply

    async def _faulty(self, asked: SocketRequest, attributes: dict[str, str], trial: Trial) -> None:
        """The REST door's faults, with the same names (docs/simulator.md)."""
        simulator = self._simulator
        reply: Payload | None = await suffer(
            simulator,
            trial,
            attributes,
            ask=lambda: self._answer(asked),
            client_ids=lambda given: ids_of(given.get("result"), attributes["client_id"]),
        )
        if trial.drops:
            self.abort()
            return
        replaced = trial.replaced(simulator.clock.now_ms())
        if replaced is not None:
            reply = {"id": asked.id, "status": replaced[0], "error": replaced[1]}
        assert reply is not None, "what is not executed has another answer or none"
        if "result" in reply:
            reply["result"] = trial.body(reply["result"])
        await self._send(reply, cut=trial.cuts_reply)

    async def _send(self, body: Payload, *, cut: bool = False) -> None:
        text = msgspec.json.encode(body).decode()
        if not self._socket.closed:
            await self._socket.send_str(text[: len(text) // 2] if cut else text)
