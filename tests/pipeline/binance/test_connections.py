"""The connections to the venue: kept while they are good, never used twice at once, honest about what was written."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import h11
import httpx
import pytest
import uvloop

from pipeline.binance.connections import Connections, Reply, Written, header_lines

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Venue:
    """A raw server that counts its connections."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()


@asynccontextmanager
async def running(
    serve: Serve, *, most: int = 5, idle_seconds: float = 50.0
) -> AsyncIterator[tuple[Venue, Connections, httpx.URL]]:
    """A server, connections to it and its address."""
    venue = Venue(serve)
    server = await asyncio.start_server(venue.handle, "127.0.0.1", 0)
    url = httpx.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x?a=1")
    connections = Connections(url, most=most, idle_seconds=idle_seconds)
    try:
        yield venue, connections, url
    finally:
        await connections.aclose()
        server.close()


async def ask(connections: Connections, method: str, url: httpx.URL, written: Written | None = None) -> Reply:
    """One request."""
    fields = header_lines({"host": url.netloc.decode()})
    return await connections.exchange(method.encode(), url.raw_path, fields, written or Written())


def answering(*pieces: bytes) -> Serve:
    """Every request gets the same bytes, piece by piece."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    return serve


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def test_one_connection_carries_requests_one_after_another() -> None:
    """A connection whose answer is whole is used again."""
    async with running(answering(WHOLE)) as (venue, connections, url):
        for _ in range(20):
            answer = await ask(connections, "POST", url)
            assert (200, b"{}") == (answer.status, answer.body)

        assert 1 == venue.connections


async def test_requests_at_once_have_connections_of_their_own_up_to_the_most() -> None:
    """Answers never mix, and a request beyond the most waits for its turn."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            await asyncio.sleep(0.001)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with running(echo, most=3) as (venue, connections, url):

        async def numbered(number: int) -> bytes:
            there = url.copy_with(raw_path=f"/{number}".encode())
            return (await ask(connections, "GET", there)).body

        got = await asyncio.gather(*(numbered(number) for number in range(40)))

        assert [f"/{number}".encode() for number in range(40)] == got
        assert 3 == venue.connections


@pytest.mark.parametrize(
    "pieces",
    [
        tuple(bytes([byte]) for byte in WHOLE),
        (b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n", b"1\r\n}\r\n0\r\n\r\n"),
    ],
)
async def test_an_answer_is_whole_however_it_comes(pieces: tuple[bytes, ...]) -> None:
    """Byte by byte, behind an interim answer, in chunks: the connection is kept all the same."""
    async with running(answering(*pieces)) as (venue, connections, url):
        for _ in range(3):
            answer = await ask(connections, "GET", url)
            assert (200, b"{}") == (answer.status, answer.body)

        assert 1 == venue.connections


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """HTTP/1.0 manners of something in between: whole when closed, and the next request has another connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{}")
        await writer.drain()

    async with running(serve) as (venue, connections, url):
        for _ in range(2):
            answer = await ask(connections, "GET", url)
            assert b"{}" == answer.body

        assert 2 == venue.connections


async def test_a_connection_that_the_venue_closed_is_not_used_again() -> None:
    """A close between two requests costs a new connection, no doubt."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WHOLE)
        await writer.drain()

    async with running(once) as (venue, connections, url):
        await ask(connections, "GET", url)
        while connections._all:  # noqa: ASYNC110  (the end of a connection has no event)
            await asyncio.sleep(0)
        await ask(connections, "GET", url)

        assert 2 == venue.connections


async def test_a_connection_that_rested_too_long_is_not_used_again() -> None:
    """The venue would cut it under the request."""
    async with running(answering(WHOLE), idle_seconds=-1.0) as (venue, connections, url):
        for _ in range(2):
            await ask(connections, "GET", url)

        assert 2 == venue.connections


async def test_bytes_nobody_asked_for_spoil_the_connection() -> None:
    """An answer too many is never taken for the answer to the next request."""
    async with running(answering(WHOLE + WHOLE)) as (venue, connections, url):
        for _ in range(3):
            assert b"{}" == (await ask(connections, "GET", url)).body

        assert 3 == venue.connections


async def test_a_call_given_up_breaks_its_connection() -> None:
    """The answer of a request that nobody waits for any more must not reach the next one."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n" + head[:4])

    async with running(slow) as (_venue, connections, url):
        written = Written()
        call = asyncio.create_task(ask(connections, "GET", url, written))
        while not written.ns:  # noqa: ASYNC110  (a stamp has no event)
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait({call})
        release.set()
        answer = await ask(connections, "POST", url)

        assert b"POST" == answer.body
        assert call.cancelled()


async def test_what_was_written_is_told_by_the_kind_of_failure() -> None:
    """Refused: nothing was written. Cut: it was."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    written = Written()
    async with running(cut) as (_venue, connections, url):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await ask(connections, "POST", url, written)
    assert written.began

    refused = Written()
    with pytest.raises(httpx.ConnectError):
        await ask(Connections(url, most=1, idle_seconds=1.0), "POST", url, refused)
    assert not refused.began


async def test_nonsense_is_no_answer() -> None:
    """Something that does not speak HTTP in between."""
    async with running(answering(b"hello\r\n\r\n")) as (_venue, connections, url):
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(connections, "GET", url)


async def test_what_is_written_is_the_head_and_nothing_else() -> None:
    """Method, target and headers as given; a body was never asked for."""
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            got.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(WHOLE)
            await writer.drain()

    async with running(take) as (_venue, connections, url):
        for method in ("DELETE", "PUT"):
            await ask(connections, method, url)

    host = url.netloc.decode()
    assert [f"{method} /x?a=1 HTTP/1.1\r\nhost: {host}\r\n\r\n".encode() for method in ("DELETE", "PUT")] == got


@pytest.mark.parametrize("target", [b"/x?a=1 HTTP/1.1\r\nx: ", b"/x y", b"/x\n", b"/\xc3\xa4", b"/x\x00"])
async def test_a_target_cannot_end_before_its_time(target: bytes) -> None:
    """The parser used to look; a client id or symbol with a line break must never write headers of its own."""
    connections = Connections(httpx.URL("http://127.0.0.1:1"), most=1, idle_seconds=1.0)
    with pytest.raises(AssertionError):
        await connections.exchange(b"GET", target, b"", Written())


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "a\x00b"])
def test_a_header_cannot_end_before_its_time(value: str) -> None:
    """A key out of a file with a line break in it is refused at the start."""
    with pytest.raises(h11.LocalProtocolError):
        header_lines({"host": "venue", "x-mbx-apikey": value})


async def test_a_body_that_was_packed_unasked_is_unpacked() -> None:
    """Something in between that packs answers although nobody takes them packed; nonsense is no answer."""
    packed = gzip.compress(b"{}")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    async with running(answering(head % len(packed) + packed)) as (_venue, connections, url):
        assert b"{}" == (await ask(connections, "GET", url)).body
    async with running(answering(head % 4 + b"nope")) as (_venue, connections, url):
        with pytest.raises(httpx.DecodingError):
            await ask(connections, "GET", url)


async def test_a_head_that_the_kernel_does_not_take_at_once_is_stamped_later() -> None:
    """The stamp is of when everything was handed over."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(20_000_000)
        writer.write(WHOLE)
        await writer.drain()

    async with running(slow) as (_venue, connections, _url):
        written = Written()
        target = b"/" + b"x" * 20_000_000
        call = asyncio.create_task(connections.exchange(b"GET", target, b"host: x\r\n", written))
        while not written.began:  # noqa: ASYNC110  (a stamp has no event)
            await asyncio.sleep(0)
        began = written.ns
        assert b"{}" == (await call).body

    assert (0, True) == (began, written.ns > 0)


def test_the_workers_own_loop_carries_them() -> None:
    """uvloop's transports are other classes than asyncio's."""

    async def play() -> None:
        async with running(answering(WHOLE)) as (venue, connections, url):
            for _ in range(3):
                written = Written()
                assert b"{}" == (await ask(connections, "POST", url, written)).body
                assert written.ns
            assert 1 == venue.connections

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())


class SecondThoughts(threading.Thread):
    """
    A server beside the loop: answers once a connection as soon as it ``may``, then says *more* and closes; ``said``
    once it has.
    """

    def __init__(self, more: bytes, *, may: bool = True) -> None:
        super().__init__(daemon=True)
        self.may = threading.Event()
        if may:
            self.may.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._more = more
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.said = threading.Event()

    def run(self) -> None:
        """Two connections."""
        for _ in range(2):
            connection, _ = self._listener.accept()
            self.connections += 1
            with connection:
                connection.recv(65_536)
                assert self.may.wait(5)
                with suppress(OSError):  # the client may have gone by the second word
                    connection.sendall(WHOLE)
                    if self._more:
                        connection.sendall(self._more)
                    connection.shutdown(socket.SHUT_WR)
                self.said.set()
                with suppress(OSError):
                    connection.recv(65_536)
        self._listener.close()


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", WHOLE])
@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_what_the_loop_has_not_read_yet_keeps_a_connection_from_being_used(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], more: bytes
) -> None:
    """A close, or an answer to nobody, that the kernel holds already: the order goes over another connection."""
    server = SecondThoughts(more)
    server.start()
    url = httpx.URL(f"http://127.0.0.1:{server.port}/x")

    async def play() -> None:
        connections = Connections(url, most=5, idle_seconds=50.0)
        # The answer is whole; from here to the second request the loop reads nothing.
        await ask(connections, "POST", url)
        assert server.said.wait(5)
        answer = await ask(connections, "POST", url)

        assert (200, b"{}") == (answer.status, answer.body)
        assert 2 == server.connections
        await connections.aclose()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(play())
    server.join(5)


@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_who_slept_over_the_deadline_is_in_doubt_and_the_answer_meets_nobody_else(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """
    The whole answer lies in the kernel when a stopped process goes on, but its deadline is over: no answer (a soak
    run whose process was stopped showed it). The next request has a connection and an answer of its own.
    """
    server = SecondThoughts(b"", may=False)  # an answer that came before the process slept would be one in time
    server.start()
    url = httpx.URL(f"http://127.0.0.1:{server.port}/x")

    async def play() -> None:
        loop = asyncio.get_running_loop()
        connections = Connections(url, most=5, idle_seconds=50.0)
        written = Written()

        def sleep() -> None:
            if not written.ns:
                loop.call_soon(sleep)
                return
            server.may.set()
            assert server.said.wait(5)
            deadline = loop.time() + 0.02
            bound.reschedule(deadline)
            while loop.time() <= deadline + 0.002:  # uvloop counts in whole milliseconds
                pass

        loop.call_soon(sleep)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as bound:
                await ask(connections, "POST", url, written)
        answer = await ask(connections, "GET", url)

        assert b"{}" == answer.body
        assert (True, 2) == (written.began, server.connections)
        await connections.aclose()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(play())
    server.join(5)


async def test_a_connection_that_is_lost_as_soon_as_it_is_made_wrote_nothing() -> None:
    """Nothing was handed over, so it is no doubt (it was an assertion, which ends the process)."""
    async with running(answering(WHOLE)) as (_venue, connections, url):
        made = connections._connect

        async def lost() -> object:
            connection = await made()
            connection.abort()
            while connection.open or connections._all:  # noqa: ASYNC110  (the end of a connection has no event)
                await asyncio.sleep(0)
            return connection

        connections._connect = lost  # type: ignore[method-assign, assignment]
        written = Written()
        with pytest.raises(httpx.ConnectError):
            await ask(connections, "POST", url, written)

    assert not written.began
