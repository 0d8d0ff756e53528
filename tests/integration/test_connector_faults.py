"""
The only place for the connector's promises under faults, small: virtual time, the simulator's venue, the real fold.

The long versions: ``python -m tests.connectors.binance_futures.faults``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from connectors.binance_futures.routing import Route
from connectors.binance_futures.session import State
from connectors.binance_futures.subscriptions import Tier
from pipeline.core.book import BookStatus
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.virtual.clock import VirtualLoop, run, silence
from pipeline.wire.topics import partition_of
from tests.connectors.binance_futures import broker_away, faults, frame_fuzz
from tests.connectors.binance_futures.virtual_feed import Feed


def played(scene: Callable[[Feed], Coroutine[Any, Any, None]], *, seed: int = 1, **options: Any) -> Feed:
    """Run *scene* on a feed that is proven."""

    async def work(loop: VirtualLoop) -> Feed:
        feed = Feed(loop, seed, **options)
        await feed.start()
        await scene(feed)
        await feed.stop()
        return feed

    with silence():
        return run(work)


@pytest.mark.parametrize("seed", [2, 5])
def test_roll_overs_and_faults_lose_nothing_double_nothing_and_mark_every_hole(seed: int) -> None:
    """Every frame that the venue sent on a connection it did not cut is in the log; a repeat has no effect at all."""
    result = faults.play(seed, roll_overs=10, faults=10)

    assert {} == faults.wrong(result)
    assert result.duplicates > 50
    assert result.owed > 2_000


def test_the_judge_notices_what_it_must() -> None:
    """A connector that marks no hole, and a fold that takes every repeat, are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connectors.binance_futures.rollover.Rollover._mark_hole", lambda *_: None)
        assert "unmarked" in faults.wrong(faults.play(2, roll_overs=4, faults=10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.core.market._is_old", lambda *_: False)
        assert "effects" in faults.wrong(faults.play(2, roll_overs=10, faults=4))


def test_two_processes_side_by_side_have_the_effect_of_one() -> None:
    """Hot/hot: another process writes every frame too, of every kind; what one of them loses the other has."""

    async def scene(feed: Feed) -> None:
        publisher, connector = feed.process("hot")
        await publisher.start()
        running = asyncio.create_task(connector.run())
        await feed.until(lambda: connector.proven, 20)
        for _ in range(12):
            feed.trade()
            faults.disconnect(feed)
            await asyncio.sleep(6)
        await feed.until(lambda: connector.proven and feed.connector.proven, 60)
        feed.venue.resting = True
        await asyncio.sleep(2)
        connector.stop()
        await running
        assert await publisher.flush(10)

    feed = played(scene, seed=4)
    result = feed.judge()

    assert ([], [], [], []) == (result.missed, result.effects, result.halted, result.positions)
    assert [] == result.books
    assert result.duplicates > 1_000
    assert {"connector/hot-public-0.a", "connector/public-0.a"} <= feed.sources()


def test_a_muted_stream_is_noticed_within_three_seconds() -> None:
    """Of the kinds that come in real time; the time from the last frame to the alert."""
    noticed: dict[str, int] = {}

    async def scene(feed: Feed) -> None:
        await asyncio.sleep(20)
        for stream in ("btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@markPrice@1s"):
            for socket in feed.venue.sockets:
                if stream in socket.streams:
                    socket.muted.add(stream)
            at_ms, before = feed.clock.now_ms(), len(feed.alerts)
            await feed.until(lambda before=before: len(feed.alerts) > before, 10)
            told_ms, code, text = feed.alerts[-1]
            assert ("stream_silent", True) == (code, stream in text)
            noticed[stream] = told_ms - at_ms
            await asyncio.sleep(90)

    feed = played(scene, rate=10.0)

    assert 3 == len(noticed)
    assert max(noticed.values()) <= 3_000
    assert [] == feed.judge().missed


def test_a_wrong_route_is_noticed_within_ten_seconds() -> None:
    """Accepted, subscribed, silent (venue sheet 1.3): given up, and tried again until it flows."""
    noticed: list[int] = []

    async def scene(feed: Feed) -> None:
        feed.venue.deaf_until = feed.loop.time() + 5
        next(s for s in feed.venue.sockets if s.route is Route.PUBLIC).cut("moved")
        await feed.until(lambda: any(socket.deaf and socket.streams for socket in feed.venue.sockets), 10)
        at_ms = feed.clock.now_ms()
        await feed.until(lambda: "no frame of any stream" in feed.alerts[-1][2], 20)
        noticed.append(feed.alerts[-1][0] - at_ms)
        await feed.until(lambda: feed.connector.proven, 30)

    played(scene)

    assert noticed[0] <= 10_000


def test_fifty_books_broken_at_once_are_whole_within_a_minute() -> None:
    """Each symbol asks for itself; nobody's book is dropped for another's gap, and the weight stays in its share."""
    symbols = tuple(f"S{number:02}USDT" for number in range(50))
    taken: list[float] = []
    spent: list[int] = []

    def state(feed: Feed, symbol: str) -> Any:
        return feed.folds[partition_of(symbol)].states.get(symbol)

    def whole(feed: Feed) -> int:
        return sum(state(feed, s) is not None and state(feed, s).book.status is BookStatus.SYNCED for s in symbols)

    async def scene(feed: Feed) -> None:
        await feed.until(lambda: whole(feed) == 50, 120)
        await asyncio.sleep(90)  # the snapshots of the start are out of the minute
        resyncs = {symbol: state(feed, symbol).book.resyncs for symbol in symbols}
        began = feed.loop.time()
        for socket in [socket for socket in feed.venue.sockets if socket.route is Route.PUBLIC]:
            socket.cut("reset by peer")
        await feed.until(lambda: all(state(feed, s).book.resyncs > resyncs[s] for s in symbols), 20)
        await feed.until(lambda: whole(feed) == 50, 60)
        taken.append(feed.loop.time() - began)
        spent.append(sum(weight for at_ms, weight in feed.spent if at_ms >= feed.clock.now_ms() - 60_000))

    played(scene, symbols=symbols, rate=1.0)

    assert taken[0] <= 60
    assert 500 <= spent[0] <= 600


def test_five_hundred_symbols_come_and_go_on_living_sockets() -> None:
    """A shortlist that grows by 300 needs new streams, no socket that stood is opened again, 200 streams a socket."""

    async def scene(feed: Feed) -> None:
        opened = feed.venue.opened
        for number in range(2, 500):
            feed.connector.want("scanner", f"S{number:03}USDT", Tier.SHORTLISTED if number < 251 else Tier.UNIVERSE)
        await asyncio.sleep(5)
        market = [s for s in feed.venue.sockets if s.route is not Route.PRIVATE]
        assert all(len(socket.streams) <= 200 for socket in market)
        streams = sum(len(socket.streams) for socket in market)
        assert 2 + 500 * 4 + 250 + 1 == streams
        assert feed.venue.opened - opened == len(market) - 2
        for number in range(2, 500):
            feed.connector.want("scanner", f"S{number:03}USDT", None)
        await asyncio.sleep(15)
        rest = [s for s in feed.venue.sockets if s.route is not Route.PRIVATE]
        assert 12 == sum(len(socket.streams) for socket in rest)
        assert State.LIVE is feed.connector.rollovers[0].serving.state

    played(scene)


def test_frames_of_any_kind_vanish_nowhere_and_halt_nobody() -> None:
    """Honest ones with one field changed, cut, doubled, bytes that are nothing; the long version takes 200,000."""
    counted = frame_fuzz.fuzz(3_000, seed=7)

    assert counted["quarantined"] > 500
    assert counted["lines"] > 500


async def test_without_a_broker_memory_stays_bounded_and_what_gives_way_is_told_exactly(tmp_path: Path) -> None:
    """Held symbols and user events lose nothing; the numbers that are missing are those that lost lines count."""
    bound = 2 * 1024 * 1024
    async with EmbeddedKafka(directory=tmp_path, profile="demo") as kafka:
        await ensure_topics(kafka.bootstrap, broker_away.PREFIX)
        result = await broker_away.flood(kafka, how="stop", seconds=2, rate=8_000, max_bytes=bound, symbols=40)

    assert {} == broker_away.faults_of(result, bound)
    assert result.given_way > 1_000
    assert result.events > 10
