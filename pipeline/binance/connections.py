"""
The only place that holds the HTTP connections to the venue: HTTP/1.1 with keep-alive, httpx's parser on asyncio.

An order pays for every layer between its bytes and the kernel. The head of a request is written as it stands, and only
answers go through httpx's parser (h11): httpcore and anyio took two thirds of the time of a request, httpx's own
objects and the parser's look at what we send most of the rest. There are no deadlines here: whoever asks puts one
around the call, and a call that is cancelled breaks its connection. Errors are httpx's.
"""

from __future__ import annotations

import asyncio
import re
import select
import ssl
import time
from collections.abc import Mapping
from typing import Final, cast

import msgspec

from pipeline.lean_imports import without

with without("httpx._main"):
    import httpx

import h11

_KEPT_OPEN: Final = (h11.DONE, h11.DONE)
_UNSAFE: Final = re.compile(rb"[^\x21-\x7e]")  # would end the target, or the line, before its time
_TOLD: Final = {  # what the parser must know of a request to read its answer; the bytes went out without it
    method: h11.Request(method=method, target="/", headers=[("host", "venue")])
    for method in (b"GET", b"POST", b"PUT", b"DELETE")
}


class Written(msgspec.Struct):
    """How far a request came: ``began`` when its first byte was handed over, ``ns`` when the kernel had been asked."""

    began: bool = False
    ns: int = 0

    def stamp(self) -> None:
        """The loop has written what it was given."""
        self.ns = time.time_ns()


class Reply(msgspec.Struct, frozen=True):
    """A whole answer; names of headers are lower-case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Connections:
    """
    At most *most* connections to one address; one that was not used for *idle_seconds* is not used again.

    Raises httpx's ConnectError before anything was written, ReadError and RemoteProtocolError when the answer is
    missing or cut.
    """

    def __init__(self, base: httpx.URL, *, most: int, idle_seconds: float) -> None:
        secure = base.scheme == "https"
        self._host = base.host
        self._port = base.port or (443 if secure else 80)
        self._ssl = _context() if secure else None
        self._turns = asyncio.Semaphore(most)
        self._idle_seconds = idle_seconds
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()

    async def exchange(self, method: bytes, target: bytes, fields: bytes, written: Written) -> Reply:
        """One request without a body, one whole answer; *fields* are the lines of its headers (``header_lines``)."""
        assert _UNSAFE.search(target) is None, target
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, fields)
        async with self._turns:
            connection = self._kept() or await self._connect()
            answer, body = await connection.ask(method, head, written)
            if connection.open:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
        headers = list(answer.headers)
        if any(name == b"content-encoding" for name, _ in headers):  # not asked for; something in between does it
            body = httpx.Response(answer.status_code, headers=headers, content=body).content
        return Reply(answer.status_code, headers, body)

    def _kept(self) -> _Connection | None:
        """The connection that was used last and is still good."""
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.open and connection.idle_since >= oldest and connection.quiet():
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self._all), self._host, self._port, ssl=self._ssl
            )
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    async def aclose(self) -> None:
        """Break every connection."""
        for connection in list(self._all):
            connection.abort()
        self._idle.clear()


class _Connection(asyncio.Protocol):
    """One connection; it carries one request at a time."""

    def __init__(self, register: set[_Connection]) -> None:
        self._register = register
        self._http = h11.Connection(h11.CLIENT)
        self._answer: asyncio.Future[tuple[h11.Response, bytes]] | None = None
        self._method = b""  # of a request that the parser has not been told of
        self._head: h11.Response | None = None
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self.idle_since = 0.0

    @property
    def open(self) -> bool:
        """True while another request can be asked."""
        return self._transport is not None and not self._transport.is_closing()

    def quiet(self) -> bool:
        """
        False when the kernel holds something that the loop has not read yet: the venue has closed, or has spoken
        unasked. A request written now would be in doubt for nothing, or be given bytes that answer no request.
        """
        return not self._poll.poll(0)

    async def ask(self, method: bytes, head: bytes, written: Written) -> tuple[h11.Response, bytes]:
        """Write a request's *head* and wait for the whole answer; a cancelled call leaves a broken connection."""
        transport = self._transport
        if transport is None or transport.is_closing():  # lost between its making and this line: nothing was written
            raise httpx.ConnectError("the connection was closed as soon as it was made")
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._method, self._head, self._body = method, None, []
        written.began = True
        transport.write(head)
        if transport.get_write_buffer_size():
            loop.call_soon(written.stamp)
        else:
            written.stamp()  # asyncio and uvloop hand over at once what the kernel takes
        try:
            return await self._answer
        except BaseException:
            self.abort()
            raise
        finally:
            self._answer = None

    def abort(self) -> None:
        """Break the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._register.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; whoever waits learns that there is no answer."""
        self._register.discard(self)
        self._transport = None
        self._fail(httpx.ReadError(str(exc) if exc is not None else "the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Some bytes of the answer."""
        self._take(data)

    def eof_received(self) -> bool:
        """The venue will not write more: the end of an answer without a length, or a cut."""
        self._take(b"")
        return False

    def _take(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or answer.done():  # nobody asked: not a connection to ask on
            self.abort()
            return
        try:
            if self._method:
                self._http.send(_TOLD[self._method])
                self._http.send(h11.EndOfMessage())
                self._method = b""
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._whole(answer)
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError as error:
            self._fail(httpx.RemoteProtocolError(str(error)))
            self.abort()

    def _whole(self, answer: asyncio.Future[tuple[h11.Response, bytes]]) -> None:
        assert self._head is not None, "an answer begins with its head"
        if (self._http.our_state, self._http.their_state) == _KEPT_OPEN and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        else:
            self.abort()
        answer.set_result((self._head, b"".join(self._body)))

    def _fail(self, error: httpx.TransportError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def header_lines(fields: Mapping[str, str]) -> bytes:
    """Headers as they are written. Raises h11.LocalProtocolError for what is none (a key with a line break)."""
    h11.Request(method="GET", target="/", headers=list(fields.items()))
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())


def _context() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context
