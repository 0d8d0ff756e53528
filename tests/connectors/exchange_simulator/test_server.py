"""A running simulator: its clock, its beginnings, its ledger file, and a client that follows the sync procedure."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.scenarios import CALM
from connectors.exchange_simulator.server import Clock, LedgerFile, Simulator
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import VenueSettings
from tests.connectors.exchange_simulator.socket_fuzz import fuzz
from tests.simulator import SignedClient, simulator_inside


def test_the_clock_is_the_hosts_plus_an_offset() -> None:
    """Milliseconds, cut, plus the offset."""
    assert 1_500 + 70 == Clock(70, read=lambda: 1.5009).now_ms()


def test_a_clock_put_back_is_seen_at_once_and_never_runs_backwards() -> None:
    """Clients see the new offset; the engine goes on at half speed until both agree, then at full speed."""
    host = [100.0]
    clock = Clock(read=lambda: host[0])
    assert 100_000 == clock.now_ms()
    clock.offset_ms = 10_000
    assert (110_000, 0) == (clock.now_ms(), clock.skew_ms())
    clock.offset_ms = 0
    seen = []
    for _ in range(4):
        host[0] += 8.0
        seen.append((clock.now_ms(), clock.now_ms() + clock.skew_ms()))
    assert [(114_000, 108_000), (118_000, 116_000), (124_000, 124_000), (132_000, 132_000)] == seen


async def test_a_socket_client_that_syncs_as_documented_ends_with_the_served_book() -> None:
    """Real sockets and REST: buffer, snapshot, bridge, chain; equal to the venue's own book at the same id."""
    async with simulator_inside(rate=40) as running, SignedClient(running.urls()["rest"]) as client:
        async with connect(f"{running.urls()['ws']}/public/ws/ethusdt@depth@100ms") as socket:
            first = json.loads(await socket.recv())
            snapshot = (await client.get("/fapi/v1/depth", symbol="ETHUSDT", limit=1000))[1]
            book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
            diffs: list[dict[str, Any]] = [first]
            async with asyncio.timeout(10):
                while len(diffs) < 25:
                    diffs.append(json.loads(await socket.recv()))
        used = [diff for diff in diffs if diff["u"] >= snapshot["lastUpdateId"]]
        assert used[0]["U"] <= snapshot["lastUpdateId"] <= used[0]["u"]
        for index, diff in enumerate(used):
            assert index == 0 or diff["pu"] == used[index - 1]["u"]
            for side in ("b", "a"):
                for price, quantity in diff[side]:
                    book[side].pop(price, None)
                    if float(quantity):
                        book[side][price] = quantity
        best_bid, best_ask = max(map(float, book["b"])), min(map(float, book["a"]))
        assert best_bid < best_ask
        assert len(book["b"]) > 100


@pytest.mark.parametrize("begin", ["admin", "subscription"])
async def test_a_market_may_wait_for_the_admin_or_its_first_reader(begin: str) -> None:
    """Until then no source step happens, but books, marks and candles are there."""
    async with simulator_inside(begin=begin) as running, SignedClient(running.urls()["rest"]) as client:
        depth = (await client.get("/fapi/v1/depth", symbol="BTCUSDT", limit=5))[1]
        assert depth["bids"] and depth["asks"]
        assert 0 == running.exchange.market_events
        async with connect(f"{running.urls()['ws']}/public/ws/btcusdt@bookTicker") as socket:
            if begin == "admin":
                await client.admin("POST", "start")
            async with asyncio.timeout(5):
                assert "bookTicker" == json.loads(await socket.recv())["e"]


async def test_the_ledger_file_is_complete_after_the_stop() -> None:
    """Every line of memory is in the file as JSON, in order."""
    file = io.BytesIO()
    rows = [default_instrument("BTCUSDT")]
    running = Simulator(
        rows,
        VenueSettings(),
        make_source=lambda start_ms: SyntheticMarket(rows, seed=1, scenario=CALM, rate=5, start_ms=start_ms),
        ledger_file=LedgerFile(file),
    )
    await running.start()
    async with SignedClient(running.urls()["rest"]) as client:
        await client.call("POST", "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010")
    await running.stop()
    lines = [json.loads(line) for line in file.getvalue().splitlines()]

    assert running.venue.ledger.lines == lines
    assert {"order", "fill", "request"} <= {line["kind"] for line in lines}
    assert list(range(len(lines))) == [line["n"] for line in lines]


async def test_a_clock_off_by_five_seconds_refuses_stale_requests() -> None:
    """The exchange's clock is ahead: a request by the host's clock is −1021, one by /time is accepted."""
    async with simulator_inside(offset_ms=5_500) as running, SignedClient(running.urls()["rest"]) as client:
        assert -1021 == (await client.call("GET", "/fapi/v3/balance"))[1]["code"]
        now = (await client.get("/fapi/v1/time"))[1]["serverTime"]
        assert 200 == (await client.call("GET", "/fapi/v3/balance", timestamp=now))[0]


async def test_rubbish_on_the_port_harms_nobody() -> None:
    """Random bytes, half requests and broken handshakes: no answer of 500, and the next request is served."""
    random = Prng(99)
    starts = [
        b"",
        b"GET /fapi/v1/time HTTP/1.1\r\n",
        b"POST /fapi/v1/order HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        b"GET /public/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    ]
    async with simulator_inside(begin="admin") as running, SignedClient(running.urls()["rest"]) as client:
        for index in range(120):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            noise = bytes(random.below(256) for _ in range(random.below(200)))
            writer.write(starts[index % len(starts)] + noise + b"\r\n\r\n")
            writer.write_eof()
            async with asyncio.timeout(5):
                answer = await reader.read()
            assert not answer.startswith(b"HTTP/1.1 5") and not answer.startswith(b"HTTP/1.0 5"), answer
            writer.close()
        assert (200, {}) == await client.get("/fapi/v1/ping")
        assert [] == (await client.admin("GET", "status"))["sockets"]


async def test_malformed_requests_and_frames_over_real_sockets_harm_nothing() -> None:
    """No answer of 500, no crash, no task left, the market goes on; more than half are whole but for one field."""
    report = await fuzz(2_000)
    assert report.sent == 2_000
    assert report.mutated > 1_000
    assert report.answers["2xx"] and report.answers["4xx"]
