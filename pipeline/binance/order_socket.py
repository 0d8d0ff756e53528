"""
The only place that sends orders over the venue's WebSocket API: a logged-on socket behind the sender's own port.

``SocketVenue`` is ``execution.ports.Venue``: placements and cancels go over the socket while it stands, everything else
and everything in between over REST, with the same journal, governor and rules of doubt. An order that was handed to a
socket and has no answer (cut, silence, nonsense) is in doubt; one that was not handed over goes by REST at once.

Venue sheet 1.6: one request a frame, answers by id in any order, Ed25519 logon, then neither key nor signature, counts
in ``rateLimits``, a connection lives 24 hours. The limit of ten frames a second is of the streams; that it does not
bind here is not documented, so what would exceed it goes by REST.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from pipeline.binance.errors import NoAnswer, Reaction, classify
from pipeline.binance.requests import AlgoOrder, CancelAlgo, CancelRegular, RegularOrder, Request
from pipeline.binance.rest import Answer
from pipeline.core.units import Milliseconds

log = structlog.get_logger(__name__)

PATH: Final = "/ws-fapi/v1"
METHODS: Final[dict[type[RegularOrder | CancelRegular | AlgoOrder | CancelAlgo], str]] = {
    RegularOrder: "order.place",
    CancelRegular: "order.cancel",
    AlgoOrder: "algoOrder.place",
    CancelAlgo: "algoOrder.cancel",
}
_METHOD_OF: Final[dict[type, str]] = {**METHODS}
HANDSHAKE_WEIGHT: Final = 5 + 2  # the socket and its logon
FRAMES_PER_SECOND: Final = 8  # two below the limit: pongs count
LIFE_SECONDS: Final = 22.5 * 3_600  # the venue cuts at 24 h
OPEN_SECONDS: Final = 5.0
LOGON_WINDOW_MS: Final = 5_000
PATIENCE_SECONDS: Final = 5.0  # a socket that is not used any more waits so long for answers that are still due
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
LIMITED_SECONDS: Final = 120.0  # the shortest ban (venue sheet 5.2)
HEADERS: Final = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "x-mbx-used-weight-1m",
    ("ORDERS", "SECOND", 10): "x-mbx-order-count-10s",
    ("ORDERS", "MINUTE", 1): "x-mbx-order-count-1m",
}
LIMITED: Final = (418, 429)
NO_SESSION: Final = -4056  # the key is no Ed25519 key


class WireCut(Exception):
    """The connection is gone, or was not made."""


class WireLimited(WireCut):
    """The venue refuses connections for a while (429, 418)."""


class Wire(Protocol):
    """One WebSocket connection, as text frames."""

    def is_open(self) -> bool:
        """False once it is known to be gone: nothing is handed to it any more."""

    async def send(self, text: str) -> None:
        """Hand one frame over. Raises WireCut: it may have left all the same."""

    async def receive(self) -> str | bytes:
        """The next frame. Raises WireCut."""

    async def close(self) -> None:
        """End the connection."""


class Rest(Protocol):
    """What stands in when the socket does not (``pipeline.binance.rest.RestClient``)."""

    server_ahead_ms: int

    async def send(
        self, request: Request, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
    ) -> Answer:
        """See ``RestClient.send``."""

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        """See ``RestClient.synchronise``."""


class _Limit(msgspec.Struct):
    rateLimitType: str = ""
    interval: str = ""
    intervalNum: int = 0
    count: int = 0


class _Again(msgspec.Struct, frozen=True):
    retryAfter: int = 0
    serverTime: int = 0


class _Refusal(msgspec.Struct):
    data: _Again = _Again()


class _Frame(msgspec.Struct):
    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    rateLimits: list[_Limit] = []

    def body(self) -> bytes:
        """As REST would have answered."""
        return bytes(self.error) or bytes(self.result)

    def headers(self) -> dict[str, str]:
        """The counts, under the names that REST gives them."""
        found = {}
        for limit in self.rateLimits:
            name = HEADERS.get((limit.rateLimitType, limit.interval, limit.intervalNum))
            if name is not None:
                found[name] = str(limit.count)
        if self.status in LIMITED:
            found |= self._again()
        return found

    def _again(self) -> dict[str, str]:
        """How long to stop, where it is said (``error.data``, documented for Spot only: used if it is there)."""
        try:
            again = _refusals.decode(self.error).data
        except msgspec.DecodeError:
            return {}
        seconds = -(-(again.retryAfter - again.serverTime) // 1_000)
        return {"retry-after": str(seconds)} if again.retryAfter and again.serverTime and seconds > 0 else {}


_refusals: Final = msgspec.json.Decoder(_Refusal)
_frames: Final = msgspec.json.Decoder(_Frame)
_encode: Final = msgspec.json.Encoder().encode


class Key(msgspec.Struct, frozen=True):
    """The API key of the socket and its Ed25519 half; REST may use another key of the same account."""

    api_key: str
    private: Ed25519PrivateKey

    def logon(self, timestamp_ms: int) -> dict[str, str | int]:
        """Parameters of session.logon: signed over all of them, sorted by name (venue sheet 1.6)."""
        parameters: dict[str, str | int] = {
            "apiKey": self.api_key,
            "recvWindow": LOGON_WINDOW_MS,
            "timestamp": timestamp_ms,
        }
        payload = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
        return parameters | {"signature": base64.b64encode(self.private.sign(payload.encode())).decode()}


def private_key(pem: str) -> Ed25519PrivateKey:
    """Read a private key. Raises ValueError for anything but Ed25519 in PEM without a password."""
    try:
        found = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("no private key in PEM without a password") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError("session.logon takes Ed25519 keys only")
    return found


class Session:
    """One connection and the requests that wait for their answers on it."""

    def __init__(self, wire: Wire, number: int, now_ns: Callable[[], int]) -> None:
        self._wire = wire
        self._now_ns = now_ns
        self._prefix = f"{number}."
        self._count = 0
        self._waiting: dict[str, asyncio.Future[_Frame]] = {}
        self._sent: deque[float] = deque()
        self.retired = asyncio.Event()  # nothing new is asked on it
        self.revoked = False

    def free(self) -> bool:
        """True while a frame may be handed over now."""
        if self.retired.is_set() or not self._wire.is_open():
            return False
        now = asyncio.get_running_loop().time()
        while self._sent and self._sent[0] <= now - 1.0:
            self._sent.popleft()
        return len(self._sent) < FRAMES_PER_SECOND

    async def listen(self) -> None:
        """Give every answer to whoever asked, until the connection ends; then nobody waits any more."""
        reason = "its reader ended"
        try:
            while True:
                frame = _frames.decode(await self._wire.receive())
                if frame.id is None:
                    self._spoken_to(frame)
                    continue
                waiting = self._waiting.pop(str(frame.id), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
        except WireCut as error:
            reason = str(error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = f"a frame that is none: {error}"
        finally:  # however it ends, nobody may go on waiting for it
            self.retired.set()
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(WireCut(reason))
            self._waiting.clear()
        await self._wire.close()

    def _spoken_to(self, frame: _Frame) -> None:
        """A frame without id: the key was revoked, or a frame of ours was not understood."""
        self.revoked = classify(frame.status, frame.body()).reaction is Reaction.FATAL
        log.error("order_socket_refused", status=frame.status, body=frame.body()[:200])
        self.retired.set()

    async def ask(self, method: str, parameters: dict[str, str | int]) -> tuple[_Frame, int]:
        """One request: its answer, and the ns at which it was handed over. Raises WireCut."""
        self._count += 1
        number = f"{self._prefix}{self._count}"
        loop = asyncio.get_running_loop()
        waiting = self._waiting[number] = loop.create_future()
        waiting.add_done_callback(_looked_at)
        self._sent.append(loop.time())
        try:
            await self._wire.send(_encode({"id": number, "method": method, "params": parameters}).decode())
            written_ns = self._now_ns()
            return await waiting, written_ns
        finally:
            self._waiting.pop(number, None)

    async def end(self) -> None:
        """Nothing new; close once nobody waits, or after a while."""
        self.retired.set()
        if self._waiting:
            await asyncio.wait(list(self._waiting.values()), timeout=PATIENCE_SECONDS)
        await self._wire.close()


def _looked_at(waiting: asyncio.Future[_Frame]) -> None:
    if not waiting.cancelled():
        waiting.exception()  # whoever asked may have gone


class SocketVenue:
    """
    The venue with orders by socket and everything by REST that the socket does not carry.

    *open_wire* makes a connection (raises WireCut, WireLimited); *now_ms* and *now_ns* are our clock. ``on_word`` is
    called with (code, severity, text) of what people must hear.
    """

    def __init__(
        self,
        rest: Rest,
        *,
        key: Key,
        open_wire: Callable[[], Awaitable[Wire]],
        now_ms: Callable[[], int],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._rest = rest
        self._key = key
        self._open_wire = open_wire
        self._now_ms, self._now_ns = now_ms, now_ns
        self.on_word: Callable[[str, str, str], None] = lambda code, severity, text: None
        self._session: Session | None = None
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.by_socket = 0  # orders that went over the socket
        self.by_rest = 0  # and those that went by REST because it did not stand

    @property
    def server_ahead_ms(self) -> int:
        """How far the venue's clock is ahead of ours."""
        return self._rest.server_ahead_ms

    @server_ahead_ms.setter
    def server_ahead_ms(self, value: int) -> None:
        self._rest.server_ahead_ms = value

    def start(self, admit: Callable[[int], Awaitable[None]]) -> None:
        """Keep a socket logged on from now on; *admit* waits until so much request weight may be used."""
        self._spawn(self._stand(admit))

    async def close(self) -> None:
        """End every socket."""
        for task in list(self._tasks):
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.end()

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        """See ``RestClient.synchronise``."""
        return await self._rest.synchronise(timeout_ms=timeout_ms)

    async def send(
        self, request: Request, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
    ) -> Answer:
        """As ``RestClient.send``; raises NotWritten (by REST only) and NoAnswer."""
        method, session = _METHOD_OF.get(type(request)), self._session
        if method is None or session is None or not session.free():
            self.by_rest += method is not None
            return await self._rest.send(
                request, timestamp_ms=timestamp_ms, receive_window_ms=receive_window_ms, timeout_ms=timeout_ms
            )
        self.by_socket += 1
        parameters: dict[str, str | int] = dict(request.parameters())
        parameters |= {"recvWindow": receive_window_ms, "timestamp": timestamp_ms}
        sent_ms = self._now_ms()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                frame, written_ns = await session.ask(method, parameters)
        except TimeoutError as error:
            session.retired.set()  # silent once, it may be silent always: the next order goes another way
            raise NoAnswer("no answer on the order socket") from error
        except WireCut as error:
            raise NoAnswer(f"the order socket was cut: {error}") from error
        return Answer(
            status=frame.status,
            headers=frame.headers(),
            body=frame.body(),
            sent_ms=Milliseconds(sent_ms),
            written_ms=Milliseconds(written_ns // 1_000_000),
            received_ms=Milliseconds(self._now_ms()),
            written_ns=written_ns,
        )

    # ---- the socket

    async def _stand(self, admit: Callable[[int], Awaitable[None]]) -> None:
        """``_keep`` for ever: a fault of ours in it sends orders by REST, is told, and it begins anew in a minute."""
        while True:
            try:
                await self._keep(admit)
            except Exception as fault:
                text = f"orders go by REST, the next try is in {LONGEST_WAIT_SECONDS:g} s: {fault!r}"
                log.exception("order_socket_lost")
                self.on_word("order_socket_lost", "critical", text)
            else:
                text = "orders go by REST until a restart: the venue refuses the key of the order socket"
                self.on_word("order_socket_key_refused", "critical", text)
                return
            finally:
                session, self._session = self._session, None
                if session is not None:
                    self._spawn(session.end())
            await asyncio.sleep(LONGEST_WAIT_SECONDS)

    async def _keep(self, admit: Callable[[int], Awaitable[None]]) -> None:
        """One logged-on socket after another; the next one stands before an old one is given up."""
        wait = FIRST_WAIT_SECONDS
        while True:
            await admit(HANDSHAKE_WEIGHT)
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    session = await self._open()
            except WireLimited as error:
                log.warning("order_socket_limited", error=str(error))
                await asyncio.sleep(LIMITED_SECONDS)
                continue
            except (WireCut, TimeoutError) as error:
                log.warning("order_socket_not_open", error=repr(error), again_in_s=wait)
                await asyncio.sleep(wait)
                wait = min(LONGEST_WAIT_SECONDS, wait * 2)
                continue
            if session is None:
                return
            before, self._session = self._session, session
            if before is not None:
                self._spawn(before.end())
            log.info("order_socket_stands")
            began = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(LIFE_SECONDS):
                    await session.retired.wait()
            except TimeoutError:
                continue  # old: used until the next one stands
            self._session = None
            self._spawn(session.end())
            if session.revoked:
                log.critical("order_socket_key_refused", what="orders go by REST until a restart")
                return
            if asyncio.get_running_loop().time() - began > LONGEST_WAIT_SECONDS:
                wait = FIRST_WAIT_SECONDS
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT_SECONDS, wait * 2)

    async def _open(self) -> Session | None:
        """A connection that is logged on; None when the venue refuses the key (no use in asking again)."""
        self._number += 1
        session = Session(await self._open_wire(), self._number, self._now_ns)
        self._spawn(session.listen())
        try:
            frame, _ = await session.ask("session.logon", self._key.logon(self._now_ms() + self.server_ahead_ms))
        except BaseException:
            self._spawn(session.end())
            raise
        if frame.status == 200:
            return session
        await session.end()
        refusal = classify(frame.status, frame.body())
        if refusal.reaction is Reaction.FATAL or refusal.code == NO_SESSION:
            log.critical("order_socket_key_refused", code=refusal.code, message=refusal.message)
            return None
        error = WireLimited if refusal.reaction is Reaction.STOP_ALL else WireCut
        raise error(f"logon: {frame.status} {refusal.code} {refusal.message}")

    def _spawn(self, work: Awaitable[None]) -> None:
        assert asyncio.iscoroutine(work)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("order_socket_task_failed", fault=repr(fault))
            self.on_word("order_socket_lost", "critical", f"a task of the order socket ended: {fault!r}")


class WebSocketWire:
    """A real connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def is_open(self) -> bool:
        """False once a close was begun or seen."""
        return self._connection.state.name == "OPEN"

    async def send(self, text: str) -> None:
        """See ``Wire``."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise WireCut(str(error)) from error

    async def receive(self) -> str | bytes:
        """See ``Wire``."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise WireCut(str(error)) from error

    async def close(self) -> None:
        """See ``Wire``."""
        await self._connection.close()


def opener(url: str) -> Callable[[], Awaitable[Wire]]:
    """Connections to *url* (scheme, host, port; the path is the venue's)."""

    async def open_wire() -> Wire:
        try:
            connection = await connect(f"{url}{PATH}", compression=None, proxy=None, close_timeout=1)
        except InvalidStatus as error:
            status = error.response.status_code
            kind = WireLimited if status in LIMITED else WireCut
            raise kind(f"the handshake was answered {status}") from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise WireCut(repr(error)) from error
        return WebSocketWire(connection)

    return open_wire
