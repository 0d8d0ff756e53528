"""The WebSocket door: routes, raw and combined forms, control messages and the connection rules of sheet 1."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from connectors.exchange_simulator.hub import MAX_STREAMS, Client, Hub, text_frame
from connectors.exchange_simulator.timed_faults import greet, is_refused

ROUTES: Final = ("public", "market", "private")
MESSAGES_PER_SECOND: Final = 10
PING_SECONDS: Final = 180.0
PONG_SECONDS: Final = 600.0
LIFE_SECONDS: Final = 86_400.0
MAX_MESSAGE: Final = 64 * 1024
METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class ControlError(Exception):
    """A control message the venue answers with `{"error": {"code", "msg"}}` (sheet 1.4)."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


def control_reply(hub: Hub, client: Client, text: str) -> dict[str, Any]:  # Any: JSON
    """Carry out one control message; ids are integers or strings (the official SDK sends UUIDs)."""
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ControlError(3, "Invalid JSON: expected value at line 1 column 1") from error
    if not isinstance(message, dict):
        raise ControlError(2, "Invalid request: expected a JSON object")
    number = message.get("id")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | str)):
        raise ControlError(2, "Invalid request: request ID must be an unsigned integer")
    if isinstance(number, int) and number < 0:
        raise ControlError(2, "Invalid request: request ID must be an unsigned integer")
    method = message.get("method")
    if method is None:
        raise ControlError(2, "Invalid request: missing field `method`")
    if method not in METHODS:
        raise ControlError(2, f"Invalid request: unknown variant `{method}`, expected one of {', '.join(METHODS)}")
    params = message.get("params", [])
    if not isinstance(params, list):
        raise ControlError(2, "Invalid request: params must be a list")
    return {"result": _carry_out(hub, client, method, params), "id": number}


def _carry_out(hub: Hub, client: Client, method: str, params: list[Any]) -> Any:  # Any: JSON
    if method == "LIST_SUBSCRIPTIONS":
        return list(client.streams)
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        if not all(isinstance(stream, str) for stream in params):
            raise ControlError(2, "Invalid request: stream names must be strings")
        act = hub.subscribe if method == "SUBSCRIBE" else hub.unsubscribe
        for stream in params:
            act(client, stream)
        return None
    if not params or not isinstance(params[0], str):
        raise ControlError(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise ControlError(0, "Unknown property")
    if method == "GET_PROPERTY":
        return client.combined
    if len(params) != 2:
        raise ControlError(2, "Invalid request: too many parameters" if len(params) > 2 else "Invalid request")
    if not isinstance(params[1], bool):
        raise ControlError(1, "Invalid value type: expected Boolean")
    client.combined = params[1]
    return None


def _subscribe_from_url(hub: Hub, client: Client, request: web.Request) -> None:
    """Streams named by the URL: `/ws/<s1>/<s2>`, `/stream?streams=`, and on /private `listenKey=K&events=A/B`."""
    path = request.match_info.get("streams", "")
    for stream in filter(None, path.split("/")):
        hub.subscribe(client, stream)
    key: str | None = None
    for name, value in parse_qsl(request.query_string, keep_blank_values=True):
        if name == "streams":
            for stream in filter(None, value.split("/")):
                hub.subscribe(client, stream)
        elif name == "listenKey" and client.route == "private":
            key = value
            hub.subscribe(client, key)
        elif name == "events" and key is not None:
            client.keys[key] = frozenset(filter(None, value.split("/")))


async def serve_socket(hub: Hub, request: web.Request) -> web.StreamResponse:
    """One socket from handshake to end."""
    # An unrouted legacy URL behaves like /public (sheet 1.3).
    route = request.match_info.get("route", "public")
    combined = request.match_info["mode"] == "stream"
    if is_refused(hub.faults, route, hub.on_bite):
        return web.Response(status=503, text="Service Unavailable.")
    socket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_MESSAGE, compress=False)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        return socket
    client = Client(route, combined=combined, transport=transport)
    greet(hub.faults, client, asyncio.get_running_loop(), hub.on_bite)
    hub.add(client)
    pulse = Pulse(socket)
    pinger = asyncio.create_task(pulse.run())
    try:
        _subscribe_from_url(hub, client, request)
        await _listen(hub, client, socket, pulse)
    except ConnectionError:
        pass  # The peer is gone; nothing is left to tell it.
    finally:
        pinger.cancel()
        hub.remove(client)
    return socket


async def _listen(hub: Hub, client: Client, socket: web.WebSocketResponse, pulse: Pulse) -> None:
    arrivals: deque[float] = deque(maxlen=MESSAGES_PER_SECOND + 1)
    loop = asyncio.get_running_loop()
    async for message in socket:
        now = loop.time()
        arrivals.append(now)
        # Pings, pongs and JSON all count; the eleventh within a second ends the connection (sheet 1.5).
        if len(arrivals) > MESSAGES_PER_SECOND and now - arrivals[0] < 1.0:
            # What was answered before goes out first.
            client.flush()
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
            return
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            pulse.heard()
        elif message.type is WSMsgType.TEXT:
            if not _answer(hub, client, message, loop):
                client.flush()
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Invalid JSON")
                return
        elif message.type is WSMsgType.BINARY:
            await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
            return


def _answer(hub: Hub, client: Client, message: WSMessage, loop: asyncio.AbstractEventLoop) -> bool:
    """Answer one text frame; False when the connection must end (malformed JSON, seen live)."""
    try:
        reply: dict[str, Any] = control_reply(hub, client, message.data)  # Any: JSON
        alive = True
    except ControlError as error:
        reply = {"error": {"code": error.code, "msg": error.message}}
        alive = error.code != 3
    client.send(text_frame(msgspec.json.encode(reply)), loop)
    return alive


class Pulse:
    """Pings a socket every three minutes; ends it without a pong for ten, and after 24 hours (sheet 1.5)."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        *,
        ping_seconds: float = PING_SECONDS,
        pong_seconds: float = PONG_SECONDS,
        life_seconds: float = LIFE_SECONDS,
    ) -> None:
        self._socket = socket
        self._ping, self._patience, self._life = ping_seconds, pong_seconds, life_seconds
        self._loop = asyncio.get_running_loop()
        self._born = self._heard = self._loop.time()

    def heard(self) -> None:
        """A pong came, asked for or not."""
        self._heard = self._loop.time()

    async def run(self) -> None:
        """Until the socket ends."""
        while not self._socket.closed:
            now = self._loop.time()
            left = min(self._born + self._life, self._heard + self._patience) - now
            if left <= 0:
                await self._socket.close(code=WSCloseCode.GOING_AWAY)
                return
            await asyncio.sleep(min(self._ping, left))
            try:
                await self._socket.ping(b"%d" % int(self._loop.time() - self._born))
            except ConnectionError:
                return


__all__ = ["MAX_STREAMS", "ROUTES", "ControlError", "Pulse", "control_reply", "serve_socket"]
