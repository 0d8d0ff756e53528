"""The emergency client against sockets that misbehave: what was perhaps executed is never called failed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.binance.errors import Reaction
from pipeline.emergency.venue import Call, PlainVenue

READ = Call("GET", "/fapi/v3/positionRisk")


@contextmanager
def answering(raw: bytes | None) -> Iterator[str]:
    """A server that reads one request per connection and answers *raw* (None: nothing, and it hangs up)."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(5)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                if raw is not None:
                    connection.sendall(raw)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


def venue(url: str) -> PlainVenue:
    return PlainVenue(url, key="k", secret="s")


def reply(head: str, body: str = "[]") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_refused_connections_were_not_executed() -> None:
    """Nothing listens: provably nothing was sent."""
    assert Reaction.NOT_EXECUTED is venue("http://127.0.0.1:9").call(READ).classified.reaction


@pytest.mark.parametrize("raw", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", b"nonsense\r\n\r\n"])
def test_a_missing_or_cut_answer_is_in_doubt(raw: bytes | None) -> None:
    """The request was written: it may have been executed."""
    with answering(raw) as url:
        assert Reaction.IN_DOUBT is venue(url).call(READ).classified.reaction


def test_counts_of_the_headers_are_kept() -> None:
    """Quota is what the newest answer says."""
    head = "200 OK\r\nX-MBX-USED-WEIGHT-1M: 77\r\nX-MBX-ORDER-COUNT-10S: 3\r\nX-MBX-ORDER-COUNT-1M: 9"
    with answering(reply(head)) as url:
        used = venue(url)
        used.call(READ)

        assert (77, 3, 9) == (used.quota.weight_1m, used.quota.orders_10s, used.quota.orders_1m)


def test_while_a_limit_stands_nothing_is_sent() -> None:
    """After a 429 the next call stays here until Retry-After has passed: going on would become a ban."""
    with answering(reply("429 Too Many\r\nRetry-After: 30", '{"code":-1003,"msg":"Too many requests"}')) as url:
        used = venue(url)
        first, second = used.call(READ), used.call(READ)

        assert [Reaction.STOP_ALL] * 2 == [first.classified.reaction, second.classified.reaction]
        assert 1 == used.calls


def test_whoever_waits_for_the_turn_is_always_woken() -> None:
    """``written`` is called also when nothing could be sent: the next close must not wait for it."""
    woken = threading.Event()
    venue("http://127.0.0.1:9").call(Call("POST", "/fapi/v1/order"), written=woken.set)

    assert woken.is_set()
