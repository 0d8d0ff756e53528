"""
The only place that reads a real venue for the live proxy: its sockets, its snapshots, and the public answers passed on.

What clients subscribe here is subscribed there; what the matching needs (diffs, aggregate trades, marks) always is. No
key is ever sent there and nothing but GET: orders stay in this process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.hub import route_of
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.live_market import LiveError, LiveMarket, base_streams, instruments_from
from connectors.exchange_simulator.parameters import Params
from connectors.exchange_simulator.venue import Endpoint, Reply, Request, Venue

if TYPE_CHECKING:
    from connectors.exchange_simulator.server import Simulator

Payload = dict[str, Any]  # Any: the venue's JSON
REST_SECONDS: Final = 10.0
MAX_FRAME: Final = 16 * 1024 * 1024
# Names per SUBSCRIBE and messages per second stay far below the venue's limits (sheet 1.5).
NAMES_PER_MESSAGE: Final = 100
FOLLOW_SECONDS: Final = 0.25
SNAPSHOT_SECONDS: Final = 0.2
SILENT_SECONDS: Final = 30.0
BACKOFF_SECONDS: Final = (1.0, 60.0)
# Answered here: the clock is ours.
OWN_PATHS: Final = ("/fapi/v1/ping", "/fapi/v1/time", "/api/v3/ping", "/api/v3/time")
KEYED: Final = (("GET", "/fapi/v1/historicalTrades"),)
PROXIED: Final = "passed on"


def _pass_on(venue: Venue, params: Params, now_ms: int) -> str:
    """Stands in for the handler of a path that the real venue answers: only its weight is charged here."""
    return PROXIED


def _needs_a_key(venue: Venue, params: Params, now_ms: int) -> None:
    raise VenueError(-1020, message="not simulated: the real venue answers this only with a key of its own")


def live_routes(routes: Mapping[tuple[str, str], Endpoint]) -> dict[tuple[str, str], Endpoint]:
    """The route table of a live proxy: every public GET is the real venue's to answer."""
    table = dict(routes)
    for (method, path), endpoint in routes.items():
        if method == "GET" and endpoint.security == "NONE" and path not in OWN_PATHS:
            table[method, path] = msgspec.structs.replace(endpoint, handler=_pass_on)
    for key in KEYED:
        table[key] = msgspec.structs.replace(routes[key], handler=_needs_a_key)
    return table


class Upstream(msgspec.Struct, frozen=True):
    """What a real venue said at the start: instruments, and how far its clock is ahead of the host's."""

    rows: list[Instrument]
    offset_ms: int


async def greet(rest: str, symbols: list[str]) -> Upstream:
    """Ask a venue for its clock and its rules; LiveError when it cannot be reached or lists not all symbols."""
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REST_SECONDS)) as session:
            before = time.time()
            stated = (await _json(session, f"{rest}/fapi/v1/time"))["serverTime"]
            offset = stated - int((before + time.time()) * 500)
            return Upstream(instruments_from(await _json(session, f"{rest}/fapi/v1/exchangeInfo"), symbols), offset)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, KeyError) as error:
        raise LiveError(f"{rest} does not answer as the venue does: {type(error).__name__} {error}") from error


async def _json(session: aiohttp.ClientSession, url: str) -> Any:  # Any: JSON
    async with session.get(url) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise LiveError(f"{url}: {answer.status} {body[:200]!r}")
        return msgspec.json.decode(body)


class LiveFeed:
    """The connections of one live proxy."""

    def __init__(self, rest: str, streams: str, market: LiveMarket, symbols: list[str]) -> None:
        """*rest* and *streams* are the venue's URLs without path."""
        self._rest, self._streams = rest.rstrip("/"), streams.rstrip("/")
        self.market = market
        self._symbols = set(symbols)
        base = [name for symbol in symbols for name in base_streams(symbol)] + ["!contractInfo"]
        self._base: dict[str, list[str]] = {
            route: [name for name in base if route_of(name) == route] for route in ("public", "market")
        }
        self._session: aiohttp.ClientSession | None = None
        self._pump: Callable[[], None] = lambda: None
        self._wanted: Callable[[], list[str]] = list

    async def run(self, simulator: Simulator) -> None:
        """Feed a simulator until cancelled."""
        self._pump, self._wanted = simulator.pump, simulator.hub.streams
        timeout = aiohttp.ClientTimeout(total=REST_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self._session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep("public"))
            tasks.create_task(self._keep("market"))
            tasks.create_task(self._keep_books())

    # ---- sockets ------------------------------------------------------------------------------------------------

    async def _keep(self, route: str) -> None:
        """One socket of a route, again and again; the pause doubles while the venue does not let us in."""
        pause = BACKOFF_SECONDS[0]
        while True:
            began = time.monotonic()
            try:
                await self._listen(route)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                pass  # Told by `connected` in the status; the next try follows.
            finally:
                self.market.connected[route] = False
                if route == "public":
                    self.market.lost()
                    self._pump()
            if time.monotonic() - began > BACKOFF_SECONDS[1]:
                pause = BACKOFF_SECONDS[0]
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(BACKOFF_SECONDS[1], pause * 2)

    async def _listen(self, route: str) -> None:
        assert self._session is not None
        url = f"{self._streams}/{route}/stream"
        patience = aiohttp.ClientWSTimeout(ws_close=REST_SECONDS)
        async with self._session.ws_connect(url, max_msg_size=MAX_FRAME, timeout=patience) as socket:
            follower = asyncio.create_task(self._follow(route, socket))
            try:
                while True:
                    async with asyncio.timeout(SILENT_SECONDS):
                        message = await socket.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        return
                    self._take(route, message.data)
            finally:
                follower.cancel()
                # What it met while sending is the end of this socket, which the reading has noticed.
                await asyncio.gather(follower, return_exceptions=True)

    def _take(self, route: str, text: str) -> None:
        try:
            frame = msgspec.json.decode(text)
            if isinstance(frame, dict) and "stream" in frame:
                self.market.connected[route] = True
                self.market.feed(frame["stream"], frame["data"])
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            # Not what the sheet says: counted in the status, and what is whole goes on.
            self.market.malformed += 1
        self._pump()

    async def _follow(self, route: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Keep the venue's subscriptions those that the matching and our clients want."""
        subscribed: dict[str, None] = {}
        number = 0
        while True:
            wanted = dict.fromkeys(
                [*self._base[route], *(name for name in self._wanted() if route_of(name) == route)]
            )  # fmt: skip
            new = [name for name in wanted if name not in subscribed][:NAMES_PER_MESSAGE]
            gone = [name for name in subscribed if name not in wanted][:NAMES_PER_MESSAGE]
            for method, names in (("SUBSCRIBE", new), ("UNSUBSCRIBE", gone)):
                if names:
                    number += 1
                    await socket.send_json({"method": method, "params": names, "id": number})
            subscribed = {name: None for name in (*subscribed, *new) if name not in gone}
            await asyncio.sleep(FOLLOW_SECONDS)

    # ---- snapshots ----------------------------------------------------------------------------------------------

    async def _keep_books(self) -> None:
        """Fetch a snapshot for every book that lacks one, one at a time (weight 20 each); again when it was too old."""
        assert self._session is not None
        while True:
            await asyncio.sleep(SNAPSHOT_SECONDS)
            if not self.market.connected["public"]:
                continue
            for symbol in self.market.unsynced():
                try:
                    url = f"{self._rest}/fapi/v1/depth?symbol={symbol}&limit=1000"
                    self.market.snapshot(symbol, await _json(self._session, url))
                except (aiohttp.ClientError, TimeoutError, LiveError, msgspec.DecodeError, KeyError):
                    # The venue is busy or refuses: ask again later, slowly.
                    await asyncio.sleep(BACKOFF_SECONDS[0] * 2)
                self._pump()
                await asyncio.sleep(SNAPSHOT_SECONDS)

    # ---- answers ------------------------------------------------------------------------------------------------

    async def answer(self, asked: Request, reply: Reply) -> Reply:
        """The real venue's answer to a public GET; what was refused here, and everything else, stays as it is."""
        if reply.body != PROXIED:
            return reply
        if self._session is None:
            return self._away(reply)
        query = f"?{asked.query}" if asked.query else ""
        try:
            async with self._session.get(f"{self._rest}{asked.path}{query}") as given:
                body = msgspec.json.decode(await given.read())
                retry = given.headers.get("Retry-After")
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            return self._away(reply)
        if asked.path == "/fapi/v1/exchangeInfo" and given.status == 200:
            body["symbols"] = [row for row in body["symbols"] if row["symbol"] in self._symbols]
        headers = reply.headers if retry is None else reply.headers | {"Retry-After": retry}
        return Reply(given.status, body, headers)

    @staticmethod
    def _away(reply: Reply) -> Reply:
        """The real venue cannot be asked: said with the venue's own words for it."""
        words = "Internal error; unable to process your request. Please try again."
        return Reply(503, {"code": -1001, "msg": words}, reply.headers)
