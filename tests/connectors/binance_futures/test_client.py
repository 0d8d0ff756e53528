"""The only place for the tests of the sockets: a small server that behaves as told, the real client, a kept log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from types import SimpleNamespace

import httpx
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connectors.binance_futures.client import DEAD_AFTER_MS, SPOILT_FRAMES, Connector
from connectors.binance_futures.intake import UserIntake
from connectors.binance_futures.session import State
from connectors.binance_futures.subscriptions import PER_SYMBOL, Subscriptions, Tier
from connectors.binance_futures.transport import READ_AHEAD
from connectors.binance_futures.user_stream import ListenKeys
from pipeline.wire import lines, records
from pipeline.wire.batching import Batcher, Origin

PATIENCE_SECONDS = 20.0


class KeptLog:
    """Stands where the publisher stands; keeps everything, fails never."""

    def __init__(self) -> None:
        self.lines: list[lines.Line] = []
        self.accounted: list[bytes] = []
        self.refused: list[records.QuarantineRecord] = []
        self.alerts: list[tuple[str, str]] = []
        self.held: list[str] = []
        self.batcher = Batcher()

    def line(self, partition: int, line: bytes, origin: Origin | None) -> None:
        self.lines.append(lines.decode(line))

    def account(self, record: bytes) -> None:
        self.accounted.append(record)

    def quarantine(self, record: records.QuarantineRecord) -> None:
        self.refused.append(record)

    def alert(self, code: str, text: str, *, severity: str = "warning", gate: str = "") -> None:
        self.alerts.append((code, text))

    @property
    def codes(self) -> list[str]:
        """Codes of the alerts; a loaded machine may stop any process for a while."""
        return [code for code, _ in self.alerts if code != "connector_frozen"]

    def hold(self, symbol: str) -> None:
        self.held.append(symbol)

    def hold_all(self, symbols: Iterable[str]) -> None:
        self.held = list(symbols)

    def failure(self) -> BaseException | None:
        return None

    def frames(self, stream: str) -> list[str]:
        found = [json.loads(bytes(line.frame)) for line in self.lines if line.lost is None]
        return [frame["data"]["id"] for frame in found if frame.get("stream") == stream]


class Venue:
    """
    Sends one numbered frame of every subscribed stream to all its sockets, 50 times a second.

    ``answer`` answers a SUBSCRIBE, if a test wants it otherwise.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.ids: dict[str, int] = defaultdict(int)
        self.known: set[str] = set()
        self.paths: list[str] = []
        self.sockets: list[ServerConnection] = []
        self.subscribed: dict[ServerConnection, list[str]] = {}
        self.answer: Callable[[dict[str, object]], str] = lambda asked: json.dumps({"result": None, "id": asked["id"]})

    async def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.paths.append(socket.request.path)
        self.sockets.append(socket)
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                asked = json.loads(message)
                reply = self.answer(asked)
                await socket.send(reply)
                if "error" not in reply:
                    names = self.subscribed.setdefault(socket, [])
                    if asked["method"] == "UNSUBSCRIBE":
                        self.subscribed[socket] = [name for name in names if name not in asked["params"]]
                    else:
                        names += [name for name in asked["params"] if name[0] != "!"]
        self.subscribed.pop(socket, None)

    async def push(self) -> None:
        while True:
            self.known |= {stream for streams in self.subscribed.values() for stream in streams}
            for stream in sorted(self.known):  # the market goes on, whether anybody listens or not
                self.ids[stream] += 1
                symbol = stream.split("@", maxsplit=1)[0].upper()
                data = {"e": "x", "E": 1_795_595_786_144, "s": symbol, "id": self.ids[stream]}
                frame = json.dumps({"stream": stream, "data": data}, separators=(",", ":"))
                for socket, streams in list(self.subscribed.items()):
                    if stream in streams:
                        with contextlib.suppress(ConnectionClosed):
                            await socket.send(frame)
                            self.sent += 1
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(venue: Venue, *, keys: ListenKeys | None = None) -> AsyncIterator[SimpleNamespace]:
    """A connector of one symbol on *venue*, ended afterwards."""
    log = KeptLog()
    ready = asyncio.Event()
    async with serve(venue.handle, "127.0.0.1", 0) as server:
        pushing = asyncio.create_task(venue.push())
        subject = Connector(
            ws_url=f"ws://127.0.0.1:{port_of(server)}",
            subscriptions=Subscriptions(["BTCUSDT"]),
            publisher=log,  # type: ignore[arg-type]  # only what is used of it
            incarnation="i",
            draw=lambda: 0.0,
            listen_keys=keys,
            on_ready=ready.set,
        )
        task = asyncio.create_task(subject.run())
        try:
            yield SimpleNamespace(subject=subject, log=log, ready=ready, server=server, task=task)
        finally:
            subject.stop()
            await asyncio.wait_for(task, PATIENCE_SECONDS)
            pushing.cancel()


def port_of(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for *condition* with a deadline."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110  # what is waited for has no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"waited in vain for: {what}")


async def test_ready_comes_with_the_first_frames_and_a_stop_reads_to_the_end() -> None:
    """Routes and names of sources are the contract's; after the stop nothing the venue sent is missing."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        assert run.subject.ready
    found = [line.sym for line in run.log.lines]

    assert {"/public/stream", "/market/stream"} == set(venue.paths)
    assert {"connector/public-0.a", "connector/market-0.a"} == {line.src for line in run.log.lines}
    assert {"BTCUSDT"} == set(found)
    for stream in ("btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@aggTrade"):
        assert list(range(1, len(run.log.frames(stream)) + 1)) == run.log.frames(stream)
    assert [] == run.log.codes


async def test_twenty_roll_overs_on_sockets_lose_nothing() -> None:
    """Each new connection proves itself before the old one goes; both slots are used, and no hole is marked."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        public = run.subject.rollovers[0]
        for number in range(20):
            serving = public.serving
            public.replace(run.subject._now_ms(), f"roll-over {number}")
            await until(lambda serving=serving: public.serving is not serving, "the successor")
            await until(lambda: len(run.subject._connections) == 2, "the end of the predecessor")
    doubled = {}
    for stream in ("btcusdt@bookTicker", "btcusdt@depth@100ms"):
        found = run.log.frames(stream)
        assert set(range(1, max(found) + 1)) == set(found)
        doubled[stream] = len(found) - len(set(found))

    assert all(0 < count for count in doubled.values())  # they did overlap
    assert 22 == len(venue.paths)
    assert {"connector/public-0.a", "connector/public-0.b", "connector/market-0.a"} == {ln.src for ln in run.log.lines}
    assert {"connector started"} == {line.lost.reason for line in run.log.lines if line.lost is not None}
    assert [] == run.log.codes


async def test_streams_are_added_and_given_up_on_the_living_sockets() -> None:
    """What a new wish needs is subscribed without a reconnect; readiness follows what is held."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        run.subject.want("position", "ETHUSDT", Tier.HELD)
        await until(lambda: len(run.log.frames("ethusdt@depth@100ms")) > 3, "the new book")
        await until(lambda: run.subject.ready, "every stream of the held symbol")
        assert ["ETHUSDT"] == run.log.held
        run.subject.want("position", "ETHUSDT", None)
        await until(lambda: not any("eth" in s for names in venue.subscribed.values() for s in names), "the end of it")
        assert run.subject.proven
    told = [line.lost.stream for line in run.log.lines if line.lost is not None and line.lost.reason == "subscribed"]

    assert 5 == len(told)
    assert 2 == len(venue.paths)
    assert [] == run.log.codes
    assert [] == run.log.refused


async def test_a_lost_connection_is_opened_again_and_the_hole_is_marked() -> None:
    """A lost line of the book stands between the last frame before and the first one after."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        socket = next(s for s in venue.sockets if s.request is not None and "public" in s.request.path)
        socket.transport.abort()
        before = len(run.log.frames("btcusdt@depth@100ms"))
        await until(lambda: len(run.log.frames("btcusdt@depth@100ms")) > before + 5, "frames after the loss")
        book = [line for line in run.log.lines if line.src.startswith("connector/public-0")]
    incarnations = list(dict.fromkeys(line.inc for line in book))
    second = [line for line in book if line.inc == incarnations[1]]
    lost = [line.n for line in second if line.lost is not None]
    first_depth = next(line.n for line in second if b"depth" in bytes(line.frame))

    assert 2 == len(incarnations)
    assert first_depth - 1 in lost
    assert 2 == len(lost)
    assert ["connection_lost"] == run.log.codes


async def test_twenty_faults_on_sockets_leave_no_hole_unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resets, closes by the venue and bad frames: between two numbers of a stream that do not follow stands a mark."""
    monkeypatch.setattr("connectors.binance_futures.rollover.FIRST_DELAY_MS", 100)  # a venue's patience is not tried
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        for number in range(20):
            await until(lambda: len(venue.subscribed) == 2 and run.subject.proven, "both sockets")
            socket = list(venue.subscribed)[number % 2]
            match number % 4:
                case 0 | 1:
                    socket.transport.abort()
                case 2:
                    await socket.close()
                case _:
                    await socket.send(f'{{"stream":"{venue.subscribed[socket][0]}","data":{{"cut')
            for rollover in run.subject.rollovers:
                rollover._backoff.healthy()
            await asyncio.sleep(0.05)
        await until(lambda: len(venue.subscribed) == 2 and run.subject.proven, "both sockets at the end")
        before = venue.sent
        await until(lambda: venue.sent > before + 200, "frames behind the last hole")
    marked: dict[str, bool] = {}
    last: dict[str, int] = {}
    unmarked, holes = [], 0
    for line in run.log.lines:
        if line.lost is not None:
            marked[line.lost.stream] = True
            continue
        frame = json.loads(bytes(line.frame))
        stream, number = frame["stream"], frame["data"]["id"]
        if stream in last and number > last[stream] + 1:
            holes += 1
            unmarked += [] if marked.get(stream) else [(stream, number)]
        marked[stream] = False
        last[stream] = max(number, last.get(stream, 0))

    assert [] == unmarked
    assert holes > 20
    assert 5 == len(run.log.refused)


async def test_a_frame_of_ten_megabytes_is_quarantined_and_the_connection_lives() -> None:
    """All its bytes are kept; the frames behind it arrive."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        huge = '{"stream":"btcusdt@bookTicker","data":"' + "x" * 10_000_000 + '"}'
        await venue.sockets[0].send(huge)
        await until(lambda: bool(run.log.refused), "quarantine")
        before = venue.sent
        await until(lambda: venue.sent > before + 20, "more frames")

    assert huge.encode() == b"".join(record.payload for record in run.log.refused)
    assert 2 == len(venue.paths)


async def test_a_refused_subscription_is_an_alert_and_another_attempt() -> None:
    """Venue sheet 1.4: an error reply with a code and a text."""
    venue = Venue()
    accept = venue.answer
    venue.answer = lambda asked: json.dumps({"error": {"code": 2, "msg": "Invalid request: too many"}, "id": 1})
    async with running(venue) as run:
        await until(lambda: any(code == "control_refused" for code, _ in run.log.alerts), "the alert")
        venue.answer = accept
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)

    assert any("Invalid request: too many" in text for _, text in run.log.alerts)


async def test_an_expired_listen_key_leads_to_a_new_key_and_every_symbol_is_told() -> None:
    """The event does not close the socket: a new connection with a new key stands before the old one goes."""
    venue = Venue()
    fetched: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        fetched.append(f"key{len(fetched)}")
        return httpx.Response(200, json={"listenKey": fetched[-1]})

    keys = ListenKeys(rest_url="http://venue", api_key="k", transport=httpx.MockTransport(answer))
    async with running(venue, keys=keys) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        private = next(s for s in venue.sockets if s.request is not None and "private" in s.request.path)
        await private.send('{"e":"ORDER_TRADE_UPDATE","o":{"s":"BTCUSDT"}}')
        await private.send('{"e":"listenKeyExpired","listenKey":"key0"}')
        told = lambda: [line.lost.reason for line in run.log.lines if line.lost and line.lost.stream == "user"]  # noqa: E731
        await until(lambda: len(told()) == 3, "both user streams again")
        await until(lambda: len([p for p in venue.paths if "private" in p]) == 4, "four connections in all")

    assert ["connector started", "listen key expired", "listen key expired"] == told()
    assert 2 == len(run.log.accounted)
    assert ["BTCUSDT"] == run.log.held


async def test_one_of_two_user_streams_may_die_without_a_hole_and_both_may_not() -> None:
    """The pair covers each other: only the moment without either is told to the symbols."""
    venue = Venue()
    keys = ListenKeys(
        rest_url="http://venue",
        api_key="k",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"listenKey": "key"})),
    )

    def private() -> list[ServerConnection]:
        return [s for s in venue.sockets if s.request is not None and "private" in s.request.path]

    def told() -> list[str]:
        return [line.lost.reason for line in run.log.lines if line.lost and line.lost.stream == "user"]

    async with running(venue, keys=keys) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        await until(lambda: run.subject.proven and len(private()) == 2, "both")
        private()[0].transport.abort()
        await until(lambda: len(private()) == 3 and run.subject.proven, "the first one again")
        assert ["connector started"] == told()
        for socket in private()[1:]:
            socket.transport.abort()
        await until(lambda: len(told()) >= 2, "the hole of both")

    assert "user" in {line.lost.stream for line in run.log.lines if line.lost}


async def test_an_order_without_an_event_replaces_the_user_streams() -> None:
    """Pain 13: both answer pings and bring nothing; the venue's own answer says that something happened."""
    venue = Venue()
    keys = ListenKeys(
        rest_url="http://venue",
        api_key="k",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"listenKey": "key"})),
    )
    async with running(venue, keys=keys) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        run.subject.watchdog.taken("heard", "BTCUSDT", run.subject._now_ms())
        private = next(s for s in venue.sockets if s.request is not None and "private" in s.request.path)
        await private.send('{"e":"ORDER_TRADE_UPDATE","o":{"s":"BTCUSDT","c":"heard"}}')
        run.subject.watchdog.taken("unheard", "BTCUSDT", run.subject._now_ms() - 10_000)
        reasons = lambda: [line.lost.reason for line in run.log.lines if line.lost and line.lost.stream == "user"]  # noqa: E731
        await until(lambda: "orders without an event" in reasons(), "the word to the symbols")

    assert ["user_stream_silent"] == run.log.codes
    assert "unheard (BTCUSDT)" in next(text for code, text in run.log.alerts if code == "user_stream_silent")


async def test_a_venue_that_is_away_is_asked_again() -> None:
    """Connection refused is told and retried; a wrong API key too, without the key in any text."""
    venue = Venue()
    keys = ListenKeys(
        rest_url="http://venue",
        api_key="the-key",
        transport=httpx.MockTransport(
            lambda request: httpx.Response(401, json={"code": -2015, "msg": "Invalid API-key"})
        ),
    )
    async with running(venue, keys=keys) as run:
        await until(lambda: any("Invalid API-key" in text for _, text in run.log.alerts), "the alert")

    assert not any("the-key" in text for _, text in run.log.alerts)
    assert not run.ready.is_set()


async def test_a_process_that_stood_still_does_not_blame_its_streams() -> None:
    """After a freeze what waits in the sockets is read first: an alert, and the same connections."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        await until(lambda: len(run.log.frames("btcusdt@markPrice@1s")) > 20, "a known rate of every stream")
        time.sleep(4)  # noqa: ASYNC251  # the freeze: nothing of this process runs
        await until(lambda: bool(run.log.alerts), "the alert")
        before = venue.sent
        await until(lambda: venue.sent > before + 500, "frames for a while")

    assert {"connector_frozen"} == {code for code, _ in run.log.alerts}
    assert 2 == len(venue.paths)


async def test_a_reader_that_is_behind_is_seen() -> None:
    """The library keeps unread frames where we look for them (its version is pinned)."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        connection = next(iter(run.subject._connections.values()))
        assert not connection.behind
        for _ in range(READ_AHEAD[1] + 1):
            connection.socket.recv_messages.frames.put(SimpleNamespace(opcode=1, data=b"{}", fin=True))
        assert connection.behind
        connection.socket.recv_messages.frames.queue.clear()


def keys_of(answer: Callable[[httpx.Request], httpx.Response] | None = None) -> ListenKeys:
    transport = httpx.MockTransport(answer or (lambda request: httpx.Response(200, json={"listenKey": "key"})))
    return ListenKeys(rest_url="http://venue", api_key="k", transport=transport)


def private_sockets(venue: Venue) -> list[ServerConnection]:
    return [s for s in venue.sockets if s.request is not None and "private" in s.request.path]


async def test_a_connection_that_the_venue_says_it_will_close_is_replaced_before() -> None:
    """Make before break for a shutdown that is announced; of the market and of the user stream, without a hole."""
    venue = Venue()
    async with running(venue, keys=keys_of()) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        await until(lambda: run.subject.proven, "both user streams")
        public = run.subject.rollovers[0]
        first = public.serving
        market = next(s for s in venue.sockets if s.request is not None and "public" in s.request.path)
        await market.send('{"e":"serverShutdown","E":1795595786144}')
        await private_sockets(venue)[0].send('{"e":"serverShutdown","E":1795595786144}')
        await until(lambda: public.serving is not first and public.live, "the successor")
        await until(lambda: len(private_sockets(venue)) == 3, "the other user stream")
        await until(lambda: run.subject.proven, "all of it")
    found = run.log.frames("btcusdt@bookTicker")

    assert set(range(1, max(found) + 1)) == set(found)
    assert {"connector started"} == {line.lost.reason for line in run.log.lines if line.lost is not None}
    assert ["server_shutdown", "server_shutdown"] == run.log.codes
    assert [] == run.log.refused


async def test_a_connection_that_brings_bad_bytes_is_judged() -> None:
    """A few are quarantined; ten, and another connection takes its place."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        public = run.subject.rollovers[0]
        first = public.serving
        socket = next(s for s in venue.sockets if s.request is not None and "public" in s.request.path)
        for number in range(SPOILT_FRAMES):
            assert public.serving is first
            await socket.send(b"\xff" if number % 2 else b"[" * 5_000)
        await until(lambda: public.serving is not first and public.live, "the successor")

    assert SPOILT_FRAMES == len(run.log.refused)
    assert ["connection_spoilt"] == run.log.codes


async def test_a_user_stream_without_pongs_does_not_stand() -> None:
    """Half dead, it is live by its state for a minute: held symbols are told to read the venue, nothing is ready."""
    venue = Venue()
    async with running(venue, keys=keys_of()) as run:
        subject = run.subject
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        subject.want("position", "BTCUSDT", Tier.HELD)
        await until(lambda: subject.ready and subject.proven, "everything")
        subject._fallback_ms = 100
        subject._dial = lambda url, route: serve(venue.handle, "256.0.0.1", 0)  # nobody gets in any more: OSError

        def deaf() -> bool:
            for connection in subject._connections.values():
                if isinstance(connection.intake, UserIntake):
                    connection.life_ms = subject._now_ms() - DEAD_AFTER_MS - 1
            return "no user stream stands" in {line.lost.reason for line in run.log.lines if line.lost}

        await until(deaf, "the word to the held symbol")
        assert not subject.ready

    assert {"BTCUSDT"} == {ln.sym for ln in run.log.lines if ln.lost and ln.lost.reason == "no user stream stands"}


async def test_a_user_stream_that_never_came_to_stand_is_told_too() -> None:
    """The key is refused from the start: positions of an earlier process are read by REST all the same."""
    venue = Venue()
    keys = keys_of(lambda request: httpx.Response(401, json={"code": -2015, "msg": "Invalid API-key"}))
    async with running(venue, keys=keys) as run:
        run.subject._fallback_ms = 200
        run.subject.want("position", "BTCUSDT", Tier.HELD)
        told = lambda: [line for line in run.log.lines if line.lost and line.lost.stream == "user"]  # noqa: E731
        await until(lambda: len(told()) >= 2, "the word, again and again")
        assert not run.subject.ready

    assert not run.ready.is_set()


async def test_a_successor_that_was_opened_with_a_dead_key_is_replaced_when_it_serves() -> None:
    """The key ends while a roll-over is under way: the one that comes to serve would be deaf for ever."""
    venue = Venue()
    fetched: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        fetched.append("old" if len(fetched) < 3 else "new")
        return httpx.Response(200, json={"listenKey": fetched[-1]})

    async with running(venue, keys=keys_of(answer)) as run:
        subject = run.subject
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        await until(lambda: subject.proven and len(private_sockets(venue)) == 2, "both")
        first = next(r for r in subject.rollovers if r.group.name == "user-0")
        first.replace(subject._now_ms(), "age")
        await until(lambda: len(fetched) == 3, "the successor has its key")
        subject._key_gone("old", "listen key expired")
        users = lambda: [c for c in subject._connections.values() if isinstance(c.intake, UserIntake)]  # noqa: E731
        await until(lambda: {c.key for c in users() if c.session.state is State.LIVE} == {"new"}, "the new key")
        await until(lambda: len(users()) == 2, "the end of the others")

    assert "listen key expired" in {line.lost.reason for line in run.log.lines if line.lost}
    assert {"new"} == set(fetched[3:])


async def test_what_a_held_symbol_needs_is_missing_until_it_flows() -> None:
    """Also before its streams are on any socket, and when a whole route of it has none."""
    venue = Venue()
    async with running(venue) as run:
        await asyncio.wait_for(run.ready.wait(), PATIENCE_SECONDS)
        run.subject.subscriptions.want("position", "XRPUSDT", Tier.HELD)
        assert not run.subject.ready
        assert [f"xrpusdt@{kind}" for kind in PER_SYMBOL] == run.subject.missing(["XRPUSDT"])
        assert [] == run.subject.missing(["BTCUSDT"])
        run.subject._moved = True
        await until(lambda: run.subject.ready, "all of it")


async def test_a_redirect_to_nowhere_is_an_attempt_that_failed() -> None:
    """Not the end of the process."""
    log = KeptLog()
    subject = Connector(
        ws_url="http://127.0.0.1:1",
        subscriptions=Subscriptions(["BTCUSDT"]),
        publisher=log,  # type: ignore[arg-type]  # only what is used of it
        incarnation="i",
        draw=lambda: 0.0,
    )
    task = asyncio.create_task(subject.run())
    await until(lambda: "connection_lost" in log.codes, "the alert")
    subject.stop()
    await asyncio.wait_for(task, PATIENCE_SECONDS)

    assert any("InvalidURI" in text for _, text in log.alerts)


async def test_what_runs_beside_ends_the_connector_when_it_fails() -> None:
    """Reading the topics ended in silence: whatever was held later was not known."""

    async def broken() -> None:
        raise ValueError("not read any more")

    venue = Venue()
    with pytest.raises(ValueError, match="not read any more"):
        async with running(venue) as run:
            run.subject.beside(broken())
            await until(run.task.done, "the end")
