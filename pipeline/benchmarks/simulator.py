"""The only place for the figures of the simulated exchange: frames and orders a second, acknowledgement, memory, speed.

The exchange runs in its own process and is met over loopback by one client per figure, as a bot would meet it; only the
virtual clock is measured inside this process.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode, urlsplit

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.instruments import default_instrument, default_symbols
from connectors.exchange_simulator.scenarios import CALM
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET, sign
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import Venue, VenueSettings
from pipeline.benchmarks.report import Figure, Measured, Options, figure, peak_memory_mb, quantile

START_MS: Final = 1_790_771_372_000
# Steps a second and symbol of the sparse market that virtual time is promised for (clarifications section 1).
SPARSE_RATE: Final = 1.0
STREAMS: Final = ("bookTicker", "aggTrade", "depth@100ms", "markPrice@1s")


@contextmanager
def _exchange(*options: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """A simulator in its own process: the process, its host and port."""
    command = [sys.executable, "-m", "pipeline.cli", "simulator", "--json", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        address = urlsplit(urls["rest"])
        assert address.hostname is not None and address.port is not None
        yield process, address.hostname, address.port
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def virtual_factor(seconds: int) -> float:
    """Exchange seconds a CPU second of one core, five symbols, nobody listening."""
    rows = [default_instrument(name) for name in default_symbols(5)]
    venue = Venue(rows, VenueSettings(), routes=ROUTES, start_ms=START_MS, wanted=lambda stream: False)
    source = SyntheticMarket(rows, seed=1, scenario=CALM, rate=SPARSE_RATE, start_ms=START_MS)
    exchange = Exchange(venue, source)
    begin = time.process_time()
    while exchange.advance(START_MS + seconds * 1_000):
        exchange.drain()
    return seconds / (time.process_time() - begin)


async def frames_per_second(host: str, port: int, *, seconds: float) -> float:
    """Text frames one client reads; frames are counted by their headers, not decoded."""
    reader, writer = await asyncio.open_connection(host, port, limit=8 * 1024 * 1024)
    names = "/".join(f"{name.lower()}@bookTicker" for name in default_symbols(20))
    writer.write(
        f"GET /public/stream?streams={names} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1.0)
    count, begin = 0, time.perf_counter()
    buffered = b""
    while time.perf_counter() - begin < seconds:
        buffered += await reader.read(1 << 20)
        at = 0
        while at + 4 <= len(buffered):
            size = buffered[at + 1]
            head = 2 if size < 126 else 4
            size = size if size < 126 else int.from_bytes(buffered[at + 2 : at + 4], "big")
            if at + head + size > len(buffered):
                break
            at += head + size
            count += 1
        buffered = buffered[at:]
    elapsed = time.perf_counter() - begin
    writer.close()
    return count / elapsed


async def _order_connection(host: str, port: int, count: int, delays: list[float], name: str) -> None:
    """Limit orders and their cancels in turn on one connection, each after the answer to the one before."""
    reader, writer = await asyncio.open_connection(host, port)
    for index in range(count):
        client_id = f"{name}-{index // 2}"
        params = {"symbol": "BTCUSDT", "timestamp": str(int(time.time() * 1_000))}
        if index % 2 == 0:
            params |= {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": "80500.00",
                       "newClientOrderId": client_id}  # fmt: skip
        else:
            params["origClientOrderId"] = client_id
        query = urlencode(params)
        path = f"/fapi/v1/order?{query}&signature={sign(DEFAULT_SECRET, query)}"
        verb = "POST" if index % 2 == 0 else "DELETE"
        begin = time.perf_counter()
        writer.write(f"{verb} {path} HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: {DEFAULT_KEY}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        delays.append((time.perf_counter() - begin) * 1_000)
        assert b" 200 " in head[:20], body
    writer.close()


async def orders_per_second(host: str, port: int, *, count: int, connections: int) -> tuple[float, list[float]]:
    """Order requests (places and cancels) a second over keep-alive connections, and each one's delay in ms."""
    delays: list[float] = []
    begin = time.perf_counter()
    await asyncio.gather(
        *(_order_connection(host, port, count // connections, delays, f"b{index}") for index in range(connections))
    )
    return len(delays) / (time.perf_counter() - begin), delays


def simulator(options: Options) -> Measured:
    """`perpguard bench simulator`."""
    runs = range(options.repetitions)
    seconds = 1.0 if options.quick else 5.0
    count = 400 if options.quick else 4_000
    unlimited = ("--weight-limit", "1000000000", "--order-limit", "1000000000")
    factors = [virtual_factor(120 if options.quick else 1_800) for _ in runs]
    with _exchange("--symbols", "20", "--rate", "8000") as (_, host, port):
        frames = [asyncio.run(frames_per_second(host, port, seconds=seconds)) for _ in runs]
    with _exchange("--symbols", "1", "--rate", "1", *unlimited) as (_, host, port):
        single = [asyncio.run(orders_per_second(host, port, count=count // 2, connections=1)) for _ in runs]
        many = [asyncio.run(orders_per_second(host, port, count=count, connections=8)) for _ in runs]
    with _exchange("--symbols", "200", "--rate", "1") as (process, host, port):
        asyncio.run(frames_per_second(host, port, seconds=seconds))
        memory = peak_memory_mb(process.pid)
    figures: dict[str, Figure] = {
        "frames": figure(frames, "1/s", must=50_000),
        "orders": figure([run[0] for run in many], "1/s", must=2_000),
        "acknowledgement_p50": figure([quantile(sorted(run[1]), 0.5) for run in single], "ms", must=1.0),
        "acknowledgement_p99": figure([quantile(sorted(run[1]), 0.99) for run in single], "ms"),
        "memory_200_symbols": figure([memory], "MB", must=300),
        "virtual_time": figure(factors, "×", must=1_000),
    }
    return Measured(figures=figures, conditions={"orders": count, "streams": "bookTicker of 20 symbols"})
