"""The only place that knows which socket gets which stream, and that turns payloads into shared WebSocket bytes.

Every payload is encoded once; the framed bytes (server frames are unmasked) are shared among all sockets. A socket
that does not read is dropped when its unsent bytes pass the bound; others never wait for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from connectors.exchange_simulator.faults import EVENT_ACTIONS, STREAM_ACTIONS, FaultPlan

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
    """One connected socket: its route, subscriptions and unsent bytes."""

    def __init__(self, route: str, *, combined: bool, transport: asyncio.WriteTransport) -> None:
        self.route = route
        self.combined = combined
        self.transport = transport
        self.streams: dict[str, None] = {}
        # listen key → wanted event names; None is everything.
        self.keys: dict[str, frozenset[str] | None] = {}
        self.frames = self.bytes = 0
        self.stalled = False
        self._pending: list[bytes] = []

    def send(self, framed: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Queue one framed message; all messages of one loop turn leave in one write."""
        if not self._pending:
            loop.call_soon(self.flush)
        self._pending.append(framed)

    def flush(self) -> None:
        """Write what is pending; drop the socket when the peer does not read."""
        pending, self._pending = self._pending, []
        if not pending or self.transport.is_closing():
            return
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        self.frames += len(pending)
        self.bytes += len(data)
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > MAX_UNSENT:
            self.stalled = True
            self.transport.abort()


class Hub:
    """Streams and the sockets that subscribed to them."""

    def __init__(self, faults: FaultPlan) -> None:
        self._encoder = msgspec.json.Encoder()
        self._faults = faults
        self.clients: dict[Client, None] = {}
        self._readers: dict[str, dict[Client, None]] = {}
        self.frames_sent = 0
        self.on_bite: Callable[[str, Payload], None] = lambda kind, body: None
        self.subscribed = asyncio.Event()

    def wanted(self, stream: str) -> bool:
        """Whether anyone reads a stream."""
        return stream in self._readers

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
        if client.route == "private":
            client.keys.setdefault(stream, None)
        elif route_of(stream) == client.route:
            self._readers.setdefault(stream, {})[client] = None
            self.subscribed.set()

    def unsubscribe(self, client: Client, stream: str) -> None:
        """Forget a subscription."""
        client.streams.pop(stream, None)
        client.keys.pop(stream, None)
        readers = self._readers.get(stream)
        if readers is not None:
            readers.pop(client, None)
            if not readers:
                del self._readers[stream]

    def publish(self, frames: list[tuple[str, Payload]]) -> None:
        """Send public frames to their readers, each encoded once."""
        if not frames:
            return
        loop = asyncio.get_running_loop()
        encode = self._encoder.encode
        faulty = any(rule.action in STREAM_ACTIONS for rule in self._faults.rules)
        for stream, payload in frames:
            readers = self._readers.get(stream)
            if readers is None:
                continue
            data = encode(payload)
            copies = 1
            if faulty:
                data, copies = self._spoil(stream, data)
            self._deliver(readers, stream, data, copies, loop)

    def _deliver(
        self, readers: dict[Client, None], stream: str, data: bytes, copies: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        raw = wrapped = None
        for client in readers:
            if client.combined:
                if wrapped is None:
                    wrapped = text_frame(b'{"stream":"%s","data":%s}' % (stream.encode(), data))
                framed = wrapped
            else:
                if raw is None:
                    raw = text_frame(data)
                framed = raw
            for _ in range(copies):
                client.send(framed, loop)
                self.frames_sent += 1

    def _spoil(self, stream: str, data: bytes) -> tuple[bytes, int]:
        rule = self._faults.find(STREAM_ACTIONS, {"stream": stream})
        if rule is None:
            return data, 1
        self.on_bite(rule.action, {"rule": rule.id, "stream": stream})
        if rule.action == "corrupt_frame":
            return data[: len(data) // 2], 1
        return data, 2 if rule.action == "duplicate_frame" else 0

    def publish_user(self, events: list[Payload], active_key: str | None) -> None:
        """Send user events to the sockets of the account's key; without one they are lost, as on the venue."""
        if not events:
            return
        loop = asyncio.get_running_loop()
        for event in events:
            # listenKeyExpired concerns the key that just ended, everything else the active one.
            key = event.get("listenKey", active_key)
            rule = self._faults.find(EVENT_ACTIONS, _event_attributes(event))
            if rule is None:
                self._send_user(event, key, loop)
                continue
            self.on_bite(rule.action, {"rule": rule.id, "event": event["e"]})
            if rule.action == "delay_event":
                loop.call_later(rule.milliseconds / 1_000, self._send_user, event, key, loop)
            elif rule.action == "duplicate_event":
                self._send_user(event, key, loop)
                self._send_user(event, key, loop)

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
                client.send(text_frame(body), loop)
                self.frames_sent += 1

    def disconnect(self, route: str | None) -> int:
        """Cut every socket of a route (all without one); returns how many."""
        cut = [client for client in self.clients if route is None or client.route == route]
        for client in cut:
            client.transport.abort()
        return len(cut)

    def unsent(self) -> int:
        """The most unsent bytes any socket has; a fast recording waits for them."""
        return max((client.transport.get_write_buffer_size() for client in self.clients), default=0)


def _event_attributes(event: Payload) -> dict[str, str]:
    order = event.get("o", {})
    names = order if isinstance(order, dict) else {}
    return {
        "event": event["e"],
        "symbol": str(names.get("s", event.get("s", ""))),
        "type": str(names.get("o", "")),
        "side": str(names.get("S", event.get("S", ""))),
        "client_id": str(names.get("c", names.get("caid", event.get("c", "")))),
        "status": str(names.get("X", "")),
    }
