"""
The only place that holds the HTTP connections to the venue: HTTP/1.1 with keep-alive, httpx's parser on asyncio.

An order pays for every layer between its bytes and the kernel. This transport of httpx keeps the parser (h11) and
leaves out httpcore and anyio, whose locks, scopes and state machines took two thirds of the time of a request. It has
no deadlines: whoever asks puts one around the call, and a call that is cancelled breaks its connection.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import time
from typing import Final, cast

import msgspec

from pipeline.lean_imports import without

with without("httpx._main"):
    import httpx

import h11

WRITTEN: Final = "written"  # the extension of a request that holds its ``Written``
_KEPT_OPEN: Final = (h11.DONE, h11.DONE)


class Written(msgspec.Struct):
    """How far a request came: ``began`` when its first byte was handed over, ``ns`` when the kernel had been asked."""

    began: bool = False
    ns: int = 0

    def stamp(self) -> None:
        """The loop has written what it was given."""
        self.ns = time.time_ns()


class Connections(httpx.AsyncBaseTransport):
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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, one whole answer."""
        content = request.content
        asked = h11.Request(method=request.method.encode(), target=request.url.raw_path, headers=request.headers.raw)
        written: Written | None = request.extensions.get(WRITTEN)
        async with self._turns:
            connection = self._kept() or await self._connect()
            head, body = await connection.ask(asked, content, written or Written())
            if connection.open:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), content=body, request=request)

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

    async def ask(self, request: h11.Request, content: bytes, written: Written) -> tuple[h11.Response, bytes]:
        """Write a request and wait for the whole answer; a cancelled call leaves a broken connection."""
        http, transport = self._http, self._transport
        if transport is None or transport.is_closing():  # lost between its making and this line: nothing was written
            raise httpx.ConnectError("the connection was closed as soon as it was made")
        parts = [http.send(request), http.send(h11.Data(content)) if content else b"", http.send(h11.EndOfMessage())]
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._head, self._body = None, []
        written.began = True
        transport.write(b"".join(part for part in parts if part))
        loop.call_soon(written.stamp)  # uvloop writes at the end of this turn of the loop
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


def _context() -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context
