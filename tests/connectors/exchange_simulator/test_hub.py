"""Frames reach exactly the sockets that asked, in valid WebSocket bytes, and a socket that never reads is dropped."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.faults import FaultPlan, parse_rules
from connectors.exchange_simulator.hub import MAX_STREAMS, MAX_UNSENT, Client, Hub, route_of, text_frame
from tests.simulator import until


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.aborted = False
        self.reading = True

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def messages(self) -> list[bytes]:
        """The payloads of the frames written so far."""
        found, rest = [], self.written
        while rest:
            assert rest[0] == 0x81
            size, start = rest[1], 2
            if size == 126:
                size, start = int.from_bytes(rest[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(rest[2:10], "big"), 10
            found.append(rest[start : start + size])
            rest = rest[start + size :]
        return found


def connected(hub: Hub, route: str, *streams: str, combined: bool = False) -> tuple[Client, Wire]:
    """A socket with subscriptions."""
    wire = Wire()
    client = Client(route, combined=combined, transport=wire)
    hub.add(client)
    for stream in streams:
        hub.subscribe(client, stream)
    return client, wire


@pytest.mark.parametrize(
    ("stream", "route"),
    [
        ("btcusdt@bookTicker", "public"), ("!bookTicker", "public"), ("btcusdt@depth", "public"),
        ("btcusdt@depth@100ms", "public"), ("btcusdt@depth20@500ms", "public"), ("btcusdt@rpiDepth@500ms", "public"),
        ("btcusdt@aggTrade", "market"), ("btcusdt@markPrice@1s", "market"), ("btcusdt@kline_5m", "market"),
        ("!forceOrder@arr", "market"), ("!contractInfo", "market"), ("!miniTicker@arr", "market"),
    ],
)  # fmt: skip
def test_the_route_table(stream: str, route: str) -> None:
    """Book data flows on /public, everything else on /market (sheet 1.2)."""
    assert route == route_of(stream)


@given(st.binary(max_size=70_000))
def test_frames_are_valid_websocket_text_frames(payload: bytes) -> None:
    """The length is coded in 7, 16 or 64 bits as it must be."""
    wire = Wire()
    wire.write(text_frame(payload))
    assert [payload] == wire.messages()


async def test_readers_get_their_streams_raw_or_wrapped_and_others_nothing() -> None:
    """Raw payloads on /ws, wrapped ones on /stream, nothing on a foreign route; unread streams are not wanted."""
    hub = Hub(FaultPlan())
    _, raw = connected(hub, "public", "a@bookTicker")
    _, wrapped = connected(hub, "public", "a@bookTicker", combined=True)
    _, foreign = connected(hub, "market", "a@bookTicker")
    hub.publish([("a@bookTicker", {"u": 1}), ("b@bookTicker", {"u": 2})])
    await asyncio.sleep(0)

    assert ([b'{"u":1}'], [b'{"stream":"a@bookTicker","data":{"u":1}}'], []) == (
        raw.messages(), wrapped.messages(), foreign.messages(),
    )  # fmt: skip
    assert hub.wanted("a@bookTicker")
    assert not hub.wanted("b@bookTicker")


async def test_unsubscribing_and_leaving_end_the_flow() -> None:
    """After UNSUBSCRIBE or the end of the socket nobody wants the stream; 1024 streams are the most."""
    hub = Hub(FaultPlan())
    client, _ = connected(hub, "market", "a@aggTrade")
    hub.unsubscribe(client, "a@aggTrade")
    assert not hub.wanted("a@aggTrade")
    for index in range(MAX_STREAMS + 10):
        hub.subscribe(client, f"{index}@aggTrade")
    assert MAX_STREAMS == len(client.streams)
    hub.remove(client)
    assert not hub.wanted("5@aggTrade")


async def test_a_socket_that_never_reads_is_dropped_alone() -> None:
    """Beyond the bound the transport is aborted; the other reader goes on."""
    hub = Hub(FaultPlan())
    client, stuck = connected(hub, "public", "a@bookTicker")
    _, good = connected(hub, "public", "a@bookTicker")
    stuck.unsent = MAX_UNSENT + 1
    hub.publish([("a@bookTicker", {"u": 1})])
    await asyncio.sleep(0)

    assert (True, True, False, 1) == (stuck.aborted, client.stalled, good.aborted, len(good.messages()))


async def test_user_events_go_to_the_active_key_and_its_filter() -> None:
    """The key's sockets get everything or the named events; without a key events are lost, but for its expiry."""
    hub = Hub(FaultPlan())
    _, everything = connected(hub, "private", "key")
    some, filtered = connected(hub, "private", "key", combined=True)
    some.keys["key"] = frozenset({"TRADE_LITE"})
    _, stranger = connected(hub, "private", "other")
    _, wrong = connected(hub, "public", "key")
    hub.publish_user([{"e": "ACCOUNT_UPDATE"}, {"e": "TRADE_LITE"}], "key")
    hub.publish_user([{"e": "TRADE_LITE"}], None)
    hub.publish_user([{"e": "listenKeyExpired", "listenKey": "key"}], None)
    await asyncio.sleep(0)

    assert ["ACCOUNT_UPDATE", "TRADE_LITE", "listenKeyExpired"] == [
        msgspec.json.decode(message)["e"] for message in everything.messages()
    ]
    assert [b'{"stream":"key","data":{"e":"TRADE_LITE"}}'] == filtered.messages()
    assert [] == stranger.messages() == wrong.messages()


async def test_faults_spoil_streams_and_events() -> None:
    """Muted, cut in half, doubled; events lost, doubled, delayed; every bite is told."""
    faults = FaultPlan()
    hub = Hub(faults)
    told: list[str] = []
    hub.on_bite = lambda kind, body: told.append(kind)
    _, public = connected(hub, "public", "a@bookTicker", "b@bookTicker", "c@bookTicker")
    _, private = connected(hub, "private", "key")
    faults.add(
        parse_rules(
            [
                {"action": "mute_stream", "match": {"stream": "a@*"}, "count": -1},
                {"action": "corrupt_frame", "match": {"stream": "b@bookTicker"}},
                {"action": "duplicate_frame", "match": {"stream": "c@bookTicker"}},
                {"action": "lose_event", "match": {"event": "TRADE_LITE"}},
                {"action": "duplicate_event", "match": {"event": "ALGO_UPDATE", "client_id": "x"}},
                {"action": "delay_event", "match": {"event": "ACCOUNT_UPDATE"}, "milliseconds": 1},
            ]
        )
    )
    hub.publish([("a@bookTicker", {"u": 1}), ("b@bookTicker", {"u": 22}), ("c@bookTicker", {"u": 3})])
    hub.publish_user([{"e": "ACCOUNT_UPDATE"}, {"e": "TRADE_LITE"}, {"e": "ALGO_UPDATE", "o": {"caid": "x"}}], "key")
    await until(lambda: len(private.messages()) == 3)

    assert [b'{"u"', b'{"u":3}', b'{"u":3}'] == public.messages()
    names = [msgspec.json.decode(message)["e"] for message in private.messages()]
    assert ["ALGO_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE"] == names
    assert 6 == len(told)
