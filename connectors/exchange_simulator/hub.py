"""The only place that knows which socket gets which stream, and that turns payloads into shared WebSocket bytes.

Every payload is encoded once; the framed bytes (server frames are unmasked) are shared among all sockets. A socket
that does not read is dropped when its unsent bytes pass the bound; others never wait for it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from connectors.exchange_simulator.faults import FaultPlan
from connectors.exchange_simulator.spoiling import Spoiler

Payload = dict[str, Any]  # Any: the venue's JSON
MAX_STREAMS: Final = 1_024
MAX_UNSENT: Final = 16 * 1024 * 1024
PUBLIC: Final = re.compile(r"(@bookTicker|@depth(5|10|20)?(@100ms|@250ms|@500ms)?|@rpiDepth@500ms)$|^!bookTicker$")


def route_of(stream: str) -> str:
    """The only route on which a market stream flows (sheet 1.2)."""
    return "public" if PUBLIC.search(stream) else "market"


def text_frame(payload: bytes) -> bytes:
    """An unmasked WebSocket text frame."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Client:
    """One connected socket: its route, subscriptions, unsent bytes, and what a fault does to it."""

    def __init__(self, route: str, *, combined: bool, transport: asyncio.Transport) -> None:
        self.route = route
        self.combined = combined
        self.transport = transport
        self.streams: dict[str, None] = {}
        # listen key → wanted event names; None is everything.
        self.keys: dict[str, frozenset[str] | None] = {}
        self.frames = self.bytes = 0
        self.stalled = False
        self._pending: list[bytes] = []
        # Faults: subscriptions that never flow; frames withheld until a loop time; frames late by seconds; nothing
        # read or written. `hindered` is set while any of the last three may apply.
        self.misrouted = self.hindered = self._paused = False
        self._silent_until = self._lag = 0.0
        self._late: deque[tuple[float, bytes]] = deque()
        self._held = 0

    def send(self, framed: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Queue one framed message; all messages of one loop turn leave in one write."""
        if not self._pending:
            loop.call_soon(self.flush)
        self._pending.append(framed)

    def flush(self) -> None:
        """Write what is pending; drop the socket when the peer does not read."""
        if self._paused:
            return
        pending, self._pending = self._pending, []
        if not pending or self.transport.is_closing():
            return
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        self.frames += len(pending)
        self.bytes += len(data)
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > MAX_UNSENT:
            self._drop()

    def _drop(self) -> None:
        self.stalled = True
        self._pending.clear()
        self._late.clear()
        self.transport.abort()

    # ---- faults -------------------------------------------------------------------------------------------------

    def silence(self, milliseconds: int, loop: asyncio.AbstractEventLoop) -> None:
        """Withhold market and user frames for a time; replies and pings go on, what was withheld is lost."""
        self.hindered, self._silent_until = True, loop.time() + milliseconds / 1_000

    def lag(self, milliseconds: int) -> None:
        """Send every market and user frame late, in order: frames of other sockets overtake them."""
        self.hindered, self._lag = True, milliseconds / 1_000

    def stall(self, milliseconds: int, loop: asyncio.AbstractEventLoop) -> None:
        """Read and write nothing for a time (not even pongs); everything that gathered goes out afterwards."""
        self.hindered = self._paused = True
        self.transport.pause_reading()
        loop.call_later(milliseconds / 1_000, self._go_on)

    def _go_on(self) -> None:
        self._paused, self._held = False, 0
        if not self.transport.is_closing():
            self.transport.resume_reading()
        self.flush()

    def hinder(self, framed: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Take a market or user frame in place of `send` while a fault lies on the socket."""
        now = loop.time()
        if now < self._silent_until:
            return
        if self._lag:
            self._late.append((now + self._lag, framed))
            if len(self._late) == 1:
                loop.call_later(self._lag, self._send_late, loop)
            return
        if self._paused:
            self._held += len(framed)
            if self._held > MAX_UNSENT:
                self._drop()
                return
        else:
            self.hindered = False
        self.send(framed, loop)

    def _send_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._late and self._late[0][0] <= now:
            self.send(self._late.popleft()[1], loop)
        if self._late:
            loop.call_at(self._late[0][0], self._send_late, loop)


class Readers:
    """The sockets of one stream, and the beginning of its frames in the combined form."""

    __slots__ = ("clients", "prefix")

    def __init__(self, stream: str) -> None:
        self.clients: dict[Client, None] = {}
        self.prefix = b'{"stream":' + msgspec.json.encode(stream) + b',"data":'


class Hub:
    """Streams and the sockets that subscribed to them."""

    def __init__(self, faults: FaultPlan) -> None:
        self._encoder = msgspec.json.Encoder()
        self.faults = faults
        self.clients: dict[Client, None] = {}
        self._readers: dict[str, Readers] = {}
        self.frames_sent = 0
        self.on_bite: Callable[[str, Payload], None] = lambda kind, body: None
        self._spoiler = Spoiler(faults, self._tell)
        self.subscribed = asyncio.Event()

    def _tell(self, kind: str, body: Payload) -> None:
        self.on_bite(kind, body)

    def wanted(self, stream: str) -> bool:
        """Whether anyone reads a stream."""
        return stream in self._readers

    def streams(self) -> list[str]:
        """Every market stream that somebody reads."""
        return list(self._readers)

    def add(self, client: Client) -> None:
        """A socket has connected."""
        self.clients[client] = None

    def remove(self, client: Client) -> None:
        """A socket is gone."""
        for stream in list(client.streams):
            self.unsubscribe(client, stream)
        self.clients.pop(client, None)

    def subscribe(self, client: Client, stream: str) -> None:
        """Note a subscription. On a foreign route it is accepted, listed, and stays silent for ever (sheet 1.3)."""
        if len(client.streams) >= MAX_STREAMS:
            return
        client.streams[stream] = None
        if client.misrouted:
            return
        if client.route == "private":
            client.keys.setdefault(stream, None)
        elif route_of(stream) == client.route:
            if stream not in self._readers:
                self._readers[stream] = Readers(stream)
            self._readers[stream].clients[client] = None
            self.subscribed.set()

    def unsubscribe(self, client: Client, stream: str) -> None:
        """Forget a subscription."""
        client.streams.pop(stream, None)
        client.keys.pop(stream, None)
        readers = self._readers.get(stream)
        if readers is not None:
            readers.clients.pop(client, None)
            if not readers.clients:
                del self._readers[stream]

    def publish(self, frames: list[tuple[str, Payload]]) -> None:
        """Send public frames to their readers, each encoded once."""
        if not frames:
            return
        loop = asyncio.get_running_loop()
        encode, find, deliver = self._encoder.encode, self._readers.get, self._deliver
        faulty = self._spoiler.spoils_frames()
        for stream, payload in frames:
            readers = find(stream)
            if readers is None:
                continue
            data = encode(payload)
            if not faulty:
                deliver(readers, data, loop)
                continue
            for delay_ms, what in self._spoiler.frames(stream, payload, data, route=route_of(stream)):
                if delay_ms:
                    loop.call_later(delay_ms / 1_000, deliver, readers, what, loop)
                else:
                    deliver(readers, what, loop)

    def _deliver(self, readers: Readers, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        raw = wrapped = None
        for client in readers.clients:
            if client.combined:
                if wrapped is None:
                    wrapped = text_frame(readers.prefix + data + b"}")
                framed = wrapped
            else:
                if raw is None:
                    raw = text_frame(data)
                framed = raw
            if client.hindered:
                client.hinder(framed, loop)
            else:
                client.send(framed, loop)
        self.frames_sent += len(readers.clients)

    def publish_user(self, events: list[Payload], active_key: str | None) -> None:
        """Send user events to the sockets of the account's key; without one they are lost, as on the venue."""
        if not events:
            return
        loop = asyncio.get_running_loop()
        for event in events:
            for delay_ms, what in self._spoiler.events(event):
                # listenKeyExpired concerns the key that just ended, everything else the active one.
                key = what.get("listenKey", active_key)
                if delay_ms:
                    loop.call_later(delay_ms / 1_000, self._send_user, what, key, loop)
                else:
                    self._send_user(what, key, loop)

    def _send_user(self, event: Payload, key: str | None, loop: asyncio.AbstractEventLoop) -> None:
        if key is None:
            return
        data = self._encoder.encode(event)
        for client in self.clients:
            if key not in client.keys:
                continue
            names = client.keys[key]
            if names is None or event["e"] in names:
                body = b'{"stream":"%s","data":%s}' % (key.encode(), data) if client.combined else data
                act = client.hinder if client.hindered else client.send
                act(text_frame(body), loop)
                self.frames_sent += 1

    def disconnect(self, route: str | None) -> int:
        """Cut every socket of a route (all without one); returns how many."""
        cut = self.on_route(route)
        for client in cut:
            client.transport.abort()
        return len(cut)

    def on_route(self, route: str | None) -> list[Client]:
        """The sockets of a route; all without one."""
        return [client for client in self.clients if route is None or client.route == route]

    def unsent(self) -> int:
        """The most unsent bytes any socket has; a fast recording waits for them."""
        return max((client.transport.get_write_buffer_size() for client in self.clients), default=0)
