"""The HTTP client: signs the bytes it sends, and knows whether a lost request can have been executed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import httpx
import pytest

from pipeline.binance import requests
from pipeline.binance.connections import Reply, Written
from pipeline.binance.errors import NoAnswer, NotWritten
from pipeline.binance.rest import RestClient, sign
from pipeline.core.events import Side
from tests.pipeline.binance.test_requests import BTC

SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"  # the venue's own example


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
            "&timestamp=1591702613943",
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC"
            "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
            "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
        ),
        (
            "batchOrders=%5B%7B%22type%22%3A%22LIMIT%22%2C%22timeInForce%22%3A%22GTC%22%2C%22symbol%22%3A%22BTCUSDT%22"
            "%2C%22side%22%3A%22BUY%22%2C%22price%22%3A%2210001%22%2C%22quantity%22%3A%220.001%22%7D%5D"
            "&recvWindow=5000&timestamp=1591702613943",
            "f9989392bce641701caf36bd26cd450a5dfe55cf28491470af9ba96483ecb538",
        ),
    ],
)
def test_the_venues_own_vectors(payload: str, signature: str) -> None:
    """HMAC-SHA256 as in venue sheet 6.1."""
    assert signature == sign(SECRET.encode(), payload)


class Told:
    """A venue in the place of connections: reads the written head as a request, answers what it is told to."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    async def exchange(self, method: bytes, target: bytes, fields: bytes, written: Written) -> Reply:
        """Answer at once."""
        headers = [(name, value) for name, _, value in (line.partition(b": ") for line in fields.splitlines())]
        host = dict(headers)[b"host"]
        url = httpx.URL(scheme="http", netloc=host, raw_path=target)
        response = self._answer(httpx.Request(method.decode(), url, headers=headers))
        written.stamp()
        return Reply(response.status_code, [(n.lower(), v) for n, v in response.headers.raw], response.content)

    async def aclose(self) -> None:
        """Nothing is held."""


def client(url: str, carrier: Told | None = None) -> RestClient:
    """A client with the example's secret and a clock that stands."""
    return RestClient(url, api_key="key", api_secret=SECRET, now_ms=lambda: 1_000, carrier=carrier)


async def test_what_is_signed_is_what_is_sent() -> None:
    """The signature is last and covers exactly the bytes before it."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"orderId": 1}, headers={"X-MBX-USED-WEIGHT-1M": "17"})

    rest = client("http://venue.test", Told(answer))
    order = requests.entry(BTC, client_id="x:/_-.1", side=Side.BUY, lots=10, limit=838_602)
    got = await rest.send(order, timestamp_ms=1_790_771_372_031, receive_window_ms=1_000)
    await rest.close()

    query = seen[0].url.query.decode()
    payload, _, signature = query.rpartition("&signature=")
    assert sign(SECRET.encode(), payload) == signature
    assert ["recvWindow", "timestamp", "signature"] == [name for name, _ in parse_qsl(query)][-3:]
    assert ("POST", "/fapi/v1/order", b"") == (seen[0].method, seen[0].url.path, seen[0].content)
    assert "key" == seen[0].headers["x-mbx-apikey"]
    assert 17 == got.count("x-mbx-used-weight-1m")


async def test_public_reads_carry_no_key() -> None:
    """What needs no key does not get it."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    rest = client("http://venue.test", Told(answer))
    await rest.send(requests.depth("BTCUSDT"))
    await rest.close()

    assert "x-mbx-apikey" not in seen[0].headers
    assert b"symbol=BTCUSDT&limit=1000" == seen[0].url.query


@asynccontextmanager
async def server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A raw server on a free port."""
    running = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]
    async with running:
        yield f"http://127.0.0.1:{port}"


async def test_a_refused_connection_wrote_nothing() -> None:
    """Nobody listens: provably not executed."""
    async with server(lambda reader, writer: asyncio.sleep(0)) as url:
        pass
    rest = client(url)
    with pytest.raises(NotWritten):
        await rest.send(requests.server_time())
    await rest.close()


async def test_a_connection_cut_after_the_request_is_in_doubt() -> None:
    """The venue read the request and the socket broke: it may have been executed."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with server(cut) as url:
        rest = client(url)
        with pytest.raises(NoAnswer):
            await rest.send(requests.server_time())
        await rest.close()


async def test_silence_is_in_doubt() -> None:
    """No answer within the time given: it may have been executed."""
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.close()

    async with server(silent) as url:
        rest = client(url)
        with pytest.raises(NoAnswer):
            await rest.send(requests.server_time(), timeout_ms=50)
        release.set()
        await rest.close()


async def test_reads_that_hang_do_not_hold_up_an_order() -> None:
    """However many reads wait for their answers, a stop finds a connection."""
    release = asyncio.Event()

    async def answers_orders_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"POST"):
            await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with server(answers_orders_only) as url:
        rest = client(url)
        reads = [asyncio.create_task(rest.send(requests.server_time(), timeout_ms=60_000)) for _ in range(50)]
        await asyncio.sleep(0)
        stop = requests.far_rail(BTC, client_id="x", position_side=Side.BUY, trigger=1)
        answer = await rest.send(stop, timeout_ms=5_000)
        release.set()
        await asyncio.gather(*reads)
        await rest.close()

    assert 200 == answer.status


async def test_half_an_answer_is_in_doubt() -> None:
    """A body cut in the middle is no answer."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"orderId"')
        await writer.drain()
        writer.close()

    async with server(half) as url:
        rest = client(url)
        with pytest.raises(NoAnswer):
            await rest.send(requests.server_time())
        await rest.close()


async def test_the_venues_clock_is_read() -> None:
    """The offset is the venue's time less the middle of the round trip."""
    rest = client("http://venue.test", Told(lambda _: httpx.Response(200, json={"serverTime": 2_270})))
    await rest.synchronise()
    await rest.close()

    assert 1_270 == rest.server_ahead_ms
