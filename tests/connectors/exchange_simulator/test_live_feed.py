"""A simulator in front of another one: real frames and answers come through, orders stay, an outage is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import websockets

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.live_feed import KEYED, PROXIED, LiveFeed, greet, live_routes
from connectors.exchange_simulator.live_market import LiveError, LiveMarket
from connectors.exchange_simulator.server import Clock, Simulator
from connectors.exchange_simulator.venue import VenueSettings
from tests.simulator import SignedClient, simulator_inside, until

SYMBOLS = ["BTCUSDT", "SOLUSDT"]


@contextlib.asynccontextmanager
async def proxy_of(upstream: Simulator) -> AsyncIterator[tuple[Simulator, LiveMarket]]:
    """A live proxy on another simulator, ready when every book is known."""
    urls = upstream.urls()
    found = await greet(urls["rest"], SYMBOLS)
    market = LiveMarket(found.rows, name=urls["rest"])
    running = Simulator(
        found.rows,
        VenueSettings(recorded=True, marks_given=True),
        make_source=lambda start_ms: market,
        clock=Clock(found.offset_ms),
        live=LiveFeed(urls["rest"], urls["ws"], market, SYMBOLS),
    )
    await running.start()
    try:
        await until(lambda: not market.unsynced() and all(market.connected.values()))
        await until(lambda: all(one.book.best_bid is not None for one in running.venue.markets.values()))
        yield running, market
    finally:
        await running.stop()


async def read(url: str, streams: list[str], count: int) -> list[dict[str, Any]]:
    """Frames of one socket."""
    async with websockets.connect(f"{url}/market/stream?streams={'/'.join(streams)}") as socket, asyncio.timeout(15):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def test_clients_read_the_upstreams_frames_unchanged() -> None:
    """Candles, trades, tickers of the same time are the same frames on both sockets; nothing is made here."""
    streams = ["btcusdt@aggTrade", "btcusdt@kline_1m", "solusdt@markPrice@1s", "!miniTicker@arr"]
    async with simulator_inside(symbols=SYMBOLS) as upstream, proxy_of(upstream) as (proxy, _):
        ours, theirs = await asyncio.gather(
            read(proxy.urls()["ws"], streams, 40), read(upstream.urls()["ws"], streams, 60)
        )
        common = [frame for frame in ours if frame in theirs]
        assert {frame["stream"] for frame in common} == set(streams)
        # Only the edges of the two spans differ.
        first = theirs.index(common[0])
        assert common == [frame for frame in theirs[first:] if frame in ours]
        assert len(common) > 25


async def test_orders_stay_here_and_fill_at_the_upstreams_prices() -> None:
    """A MARKET order fills at the upstream's touch; the upstream sees no order, no key, only public GETs."""
    async with simulator_inside(symbols=SYMBOLS, scenario="demo") as upstream, proxy_of(upstream) as (proxy, _):
        async with SignedClient(proxy.urls()["rest"]) as client:
            status, _ = await client.call(
                "POST", "/fapi/v1/order", symbol="SOLUSDT", side="BUY", type="MARKET", quantity="1"
            )
            assert 200 == status
            _, fills = await client.call("GET", "/fapi/v1/userTrades", symbol="SOLUSDT")
            row = upstream.venue.markets["SOLUSDT"].row
            ask = upstream.venue.markets["SOLUSDT"].book.best_ask
            assert ask is not None
            assert abs(float(fills[0]["price"]) - ask * row.tick_e8 / 1e8) < 1
            # A stop by mark price triggers when the upstream's market falls.
            status, _ = await client.call(
                "POST", "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="SOLUSDT", side="SELL", type="STOP_MARKET",
                triggerPrice=f"{float(fills[0]['price']) * 0.997:.2f}", closePosition="true", workingType="MARK_PRICE",
            )  # fmt: skip
            assert 200 == status
            fall = {"symbol": "SOLUSDT", "segments": [{"seconds": 1, "drift_bps": -100}]}
            async with SignedClient(upstream.urls()["rest"]) as admin:
                await admin.admin("POST", "path", fall)
            position = proxy.venue.account.position(proxy.venue.markets["SOLUSDT"].row)
            await until(lambda: position.lots == 0)
        asked = [line for line in upstream.venue.ledger.lines if line["kind"] == "request"]
        assert {"GET"} == {line["method"] for line in asked}
        assert not upstream.venue.trading.orders


async def test_public_answers_are_the_upstreams_and_limits_are_ours() -> None:
    """klines, depth, statistics equal; exchangeInfo lists what is simulated; weights are charged here."""
    async with (
        simulator_inside(symbols=[*SYMBOLS, "ETHUSDT"], begin="admin") as upstream,
        proxy_of_quiet(upstream) as proxy,
        SignedClient(proxy.urls()["rest"]) as client,
    ):
        async with SignedClient(upstream.urls()["rest"]) as direct:
            for path, params in (
                ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "5m", "limit": 5}),
                ("/fapi/v1/fundingInfo", {}),
                ("/futures/data/openInterestHist", {"symbol": "BTCUSDT", "period": "5m"}),
                ("/fapi/v1/klines", {"symbol": "ETHUSDT", "interval": "1h", "limit": 2}),
                ("/fapi/v1/klines", {"symbol": "NOUSDT", "interval": "1h"}),
                ("/fapi/v1/constituents", {"symbol": "BTCUSDT"}),
            ):
                assert await direct.get(path, **params) == await client.get(path, **params)
        _, info = await client.get("/fapi/v1/exchangeInfo")
        assert set(SYMBOLS) == {row["symbol"] for row in info["symbols"]}
        assert int(client.headers["X-MBX-USED-WEIGHT-1M"]) >= 5
        status, refused = await client.keyed("GET", "/fapi/v1/historicalTrades?symbol=BTCUSDT")
        assert (400, -1020) == (status, refused["code"])


@contextlib.asynccontextmanager
async def proxy_of_quiet(upstream: Simulator) -> AsyncIterator[Simulator]:
    """A proxy whose upstream's market stands still: nothing is awaited."""
    urls = upstream.urls()
    found = await greet(urls["rest"], SYMBOLS)
    market = LiveMarket(found.rows, name="quiet")
    running = Simulator(
        found.rows,
        VenueSettings(recorded=True, marks_given=True),
        make_source=lambda start_ms: market,
        live=LiveFeed(urls["rest"], urls["ws"], market, SYMBOLS),
    )
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def test_an_outage_empties_the_books_and_heals() -> None:
    """Cut sockets: no fills from stale books, REST says -1001 when the venue is gone, then everything comes back."""
    async with (
        simulator_inside(symbols=SYMBOLS) as upstream,
        proxy_of(upstream) as (proxy, market),
        SignedClient(proxy.urls()["rest"]) as client,
    ):
        upstream.disconnect(None)
        await until(lambda: proxy.venue.markets["BTCUSDT"].book.best_bid is None)
        status, refused = await client.call(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
        )
        assert (400, True) == (status, refused["code"] < 0)
        await until(lambda: not market.unsynced() and proxy.venue.markets["BTCUSDT"].book.best_bid is not None)
        status, _ = await client.call(
            "POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01"
        )
        assert 200 == status
        await upstream.stop()
        status, body = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m")
        assert (503, -1001) == (status, body["code"])
        assert 200 == (await client.call("GET", "/fapi/v3/positionRisk"))[0]


async def test_faults_hit_what_is_passed_on_too() -> None:
    """A cut list of the upstream's candles; a refused one is not asked for there."""
    async with (
        simulator_inside(symbols=SYMBOLS, begin="admin") as upstream,
        proxy_of_quiet(upstream) as proxy,
        SignedClient(proxy.urls()["rest"]) as client,
    ):
        await client.admin("POST", "faults", [{"action": "incomplete_list", "match": {"path": "/fapi/v1/klines"}}])
        _, rows = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="5m", limit=10)
        assert 5 == len(rows)


async def test_a_venue_that_cannot_be_reached_is_told_at_the_start() -> None:
    """No answer, and a symbol that is not listed."""
    with pytest.raises(LiveError, match="does not answer as the venue does"):
        await greet("http://127.0.0.1:9", SYMBOLS)
    async with simulator_inside(symbols=SYMBOLS) as upstream:
        with pytest.raises(LiveError, match="lists no XRPUSDT"):
            await greet(upstream.urls()["rest"], ["XRPUSDT"])


def test_only_public_gets_are_passed_on() -> None:
    """Whatever needs a key or changes something is answered here."""
    table = live_routes(ROUTES)
    passed = {key for key in ROUTES if table[key].handler is not ROUTES[key].handler} - set(KEYED)
    assert {PROXIED} == {table[key].handler(None, {}, 0) for key in passed}  # type: ignore[arg-type]
    assert ("GET", "/fapi/v1/klines") in passed
    assert {"GET"} == {method for method, _ in passed}
    assert {"NONE"} == {ROUTES[key].security for key in passed}
