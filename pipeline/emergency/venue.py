"""
The only place where the emergency tools talk to the venue: the standard library's HTTP client and threads, no more.

It is another road than ``pipeline.binance.rest`` on purpose: it loads in a few milliseconds, and what may be wrong with
the executor's client (a pool in use up, a loop that hangs) is not wrong here. Signing and the meaning of answers are
the shared tables (venue sheet 5 and 6.1). Counts of the governor are not known here: quota is read from the headers.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pipeline.binance.errors import Classified, Reaction, classify, stop_until
from pipeline.binance.requests import canonical

ANSWER_SECONDS: Final = 0.7
READ_SECONDS: Final = 2.0
RECEIVE_WINDOW_MS: Final = 1_000  # domain 6.7: exits
READ_WINDOW_MS: Final = 5_000
WEIGHT_PER_MINUTE: Final = 2_400  # venue sheet 5.1, for what is printed and for reads that give way
ORDERS_PER_10_SECONDS: Final = 300


class Call(msgspec.Struct, frozen=True):
    """One request; ``signed`` ones carry key, timestamp and signature."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    signed: bool = True

    @property
    def reads(self) -> bool:
        """It changes nothing."""
        return self.method == "GET"


class Reply(msgspec.Struct, frozen=True):
    """What came of a call; without an answer the reaction is NOT_EXECUTED or IN_DOUBT and the body empty."""

    classified: Classified
    body: bytes = b""

    @property
    def accepted(self) -> bool:
        """A clear yes."""
        return self.classified.reaction is Reaction.ACCEPTED

    def words(self) -> str:
        """The refusal for people."""
        said = self.classified
        return f"{said.code} {said.message}".strip() if said.code else said.message or said.reaction.value


class Quota(msgspec.Struct):
    """The newest counts of the response headers, and until when everything stands still (429, 418)."""

    weight_1m: int = 0
    orders_10s: int = 0
    orders_1m: int = 0
    stopped_until_ms: int = 0
    stopped_because: str = ""

    @property
    def reads_should_wait(self) -> bool:
        """The last tenth of the weight belongs to what closes."""
        return self.weight_1m > WEIGHT_PER_MINUTE * 9 // 10

    def words(self) -> str:
        """For people."""
        return (
            f"weight {self.weight_1m} of {WEIGHT_PER_MINUTE} a minute, "
            f"orders {self.orders_10s} of {ORDERS_PER_10_SECONDS} in 10 s, {self.orders_1m} a minute"
        )


class PlainVenue:
    """
    The venue behind *url*; every thread has a connection of its own. Nothing here repeats a request.

    ``ahead_ms``: how far the venue's clock is ahead of ours (``synchronise``).
    """

    def __init__(self, url: str, *, key: str, secret: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._key, self._secret = key, secret.encode()
        self._mine = threading.local()
        self._context: ssl.SSLContext | None = ssl.create_default_context() if self._tls else None
        self.ahead_ms = 0
        self.quota = Quota()
        self.calls = 0

    def call(self, call: Call, *, seconds: float = 0.0, written: Callable[[], None] | None = None) -> Reply:
        """
        Send once, within *seconds* (0: as the kind of call wants); *written* is called once the request has gone.

        While a limit of the venue stands, nothing is sent and the answer is STOP_ALL.
        """
        limit = seconds or (READ_SECONDS if call.reads else ANSWER_SECONDS)
        try:
            if self.quota.stopped_until_ms > now_ms():
                return Reply(Classified(Reaction.STOP_ALL, 0, self.quota.stopped_because))
            if call.reads and self.quota.reads_should_wait:
                time.sleep(0.2)
            return self._exchange(call, limit, written or _nothing)
        finally:
            if written is not None:
                written()  # whoever waits for the turn must not wait for a request that never left

    def _exchange(self, call: Call, seconds: float, written: Callable[[], None]) -> Reply:
        headers = {"user-agent": "perpguard-emergency", "accept-encoding": "identity"}
        target = canonical(call.parameters)
        if call.signed:
            headers["x-mbx-apikey"] = self._key
            window = READ_WINDOW_MS if call.reads else RECEIVE_WINDOW_MS
            tail = f"recvWindow={window}&timestamp={now_ms() + self.ahead_ms}"
            target = f"{target}&{tail}" if target else tail
            target = f"{target}&signature={hmac.new(self._secret, target.encode(), hashlib.sha256).hexdigest()}"
        connection, sent = self._connection(seconds), False
        self.calls += 1
        try:
            if connection.sock is None:
                connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(seconds)
            sent = True
            connection.request(call.method, f"{call.path}?{target}" if target else call.path, headers=headers)
            written()
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            reaction = Reaction.IN_DOUBT if sent else Reaction.NOT_EXECUTED
            return Reply(Classified(reaction, 0, f"{type(error).__name__}: {error}"))
        return self._judged(answer, body)

    def _judged(self, answer: http.client.HTTPResponse, body: bytes) -> Reply:
        quota = self.quota
        for name, header in (
            ("weight_1m", "x-mbx-used-weight-1m"),
            ("orders_10s", "x-mbx-order-count-10s"),
            ("orders_1m", "x-mbx-order-count-1m"),
        ):
            text = answer.getheader(header, "")
            if text.isdigit():
                setattr(quota, name, int(text))
        classified = classify(answer.status, body)
        if classified.reaction is Reaction.STOP_ALL:
            quota.stopped_until_ms = stop_until(
                now_ms=now_ms(),
                status=answer.status,
                message=classified.message,
                retry_after=answer.getheader("retry-after"),
                server_ahead_ms=self.ahead_ms,
            )
            quota.stopped_because = f"{answer.status}: {classified.message or 'the venue asks for a pause'}"
        return Reply(classified, body)

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if found is None:
            if self._tls:
                found = http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._context)
            else:
                found = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
            self._mine.connection = found
        found.timeout = seconds
        return found

    def synchronise(self) -> str:
        """Read the venue's clock; returns "" or why it could not be read."""
        before = now_ms()
        reply = self.call(Call("GET", "/fapi/v1/time", signed=False), seconds=ANSWER_SECONDS)
        after = now_ms()
        if not reply.accepted:
            return reply.words()
        try:
            server_ms = msgspec.json.decode(reply.body, type=dict[str, int])["serverTime"]
        except (msgspec.DecodeError, KeyError):
            return f"/time answered {reply.body[:80]!r}"
        self.ahead_ms = server_ms - (before + after) // 2
        return ""


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


def _nothing() -> None:
    """Nobody waits."""
