"""
The only place for the figures of the connector: frames a second into Kafka, latency it adds, memory with 200 symbols.

A feed process serves the venue's routes on real sockets: as fast as they are read (throughput), or open loop at a fixed
rate with the intended send time inside each frame (latency). The connector's own objects run in this process, against a
real Kafka in a third. A frame counts when the broker has acknowledged its record.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import re
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from connectors.binance_futures.client import Connector
from connectors.binance_futures.publisher import COMPRESSION, Publisher
from connectors.binance_futures.routing import ALL_MARKET_STREAMS
from connectors.binance_futures.subscriptions import Subscriptions, plan
from pipeline.benchmarks.report import Figure, Measured, Options
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import INPUTS, Topic

SYMBOLS: Final = 200
MANY_SYMBOLS: Final = 500
FRAMES: Final = 400_000
LATENCY_SECONDS: Final = 8.0
RATES: Final = (1_000, 20_000)
BLOB_FRAMES: Final = 2_000
PREFIX: Final = "bench."
DEPTH_LEVELS: Final = 34  # each side: the mean of the hftbacktest recording
# Weights within a socket; about the mix of a liquid symbol.
MIX: Final = {"bookTicker": 12, "depth@100ms": 3, "aggTrade": 5, "markPrice@1s": 1, "kline_5m": 1}
_SENT: Final = re.compile(rb'"sent":(\d{19})')

# ------------------------------------------------------------------------------------------------- the feed process


def _payload(stream: str, number: int) -> bytes:
    """The data object of one frame, in the venue's form and size."""
    symbol, _, kind = stream.partition("@")
    head: dict[str, Any] = {"E": 1790771372110, "T": 1790771372108, "s": symbol.upper(), "st": 1}  # Any: JSON values
    if kind == "bookTicker":
        body = {"e": kind, "u": number, **head, "b": "83860.10", "B": "4.217", "a": "83860.20", "A": "1.903"}
    elif kind != "depth@100ms":
        body = {
            "e": kind.partition("@")[0],
            **head,
            "a": number,
            "p": "83860.20",
            "q": "0.012",
            "f": number,
            "l": number,
            "m": False,
        }
    else:
        levels = [["83860.10", "4.217"]] * DEPTH_LEVELS
        body = {"e": "depthUpdate", **head, "U": number, "u": number, "pu": number, "b": levels, "a": levels}
    return json.dumps(body, separators=(",", ":")).encode()


def framed(payload: bytes) -> bytes:
    """An unmasked WebSocket text frame."""
    if len(payload) < 126:
        return b"\x81" + bytes((len(payload),)) + payload
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def mixed(streams: list[str], seed: int) -> list[str]:
    """``BLOB_FRAMES`` streams in the proportions of ``MIX``, symbols evenly, each stream at least once."""
    fed = [stream for stream in streams if not stream.startswith("!")]
    weights = [MIX[stream.partition("@")[2]] for stream in fed]
    return fed + random.Random(seed).choices(fed, weights, k=BLOB_FRAMES - len(fed))


class _Feed:
    """Serves SUBSCRIBE, then frames: *rate* 0 floods *frames* of them, else that many a second over all sockets."""

    def __init__(self, *, sockets: int, rate: int, frames: int) -> None:
        self._sockets = sockets
        self._rate = rate
        self._frames = frames

    async def serve(self, told: Connection) -> None:
        async with serve(self._handle, "127.0.0.1", 0, compression=None) as server:
            told.send(next(iter(server.sockets)).getsockname()[1])
            await asyncio.get_running_loop().create_future()

    async def _handle(self, connection: ServerConnection) -> None:
        streams: list[str] = []
        feeding: asyncio.Task[None] | None = None
        async for message in connection:
            asked = json.loads(message)
            streams += asked["params"]
            await connection.send(json.dumps({"result": None, "id": asked["id"]}))
            if feeding is not None:
                feeding.cancel()
            feeding = asyncio.create_task(self._feed(connection, list(streams)))
        if feeding is not None:
            feeding.cancel()

    async def _feed(self, connection: ServerConnection, streams: list[str]) -> None:
        await asyncio.sleep(1.0)  # all subscriptions of all sockets have come
        order = mixed(streams, seed=len(streams))
        if self._rate:
            await self._pace(connection, order)
        else:
            await self._flood(connection, order)

    async def _flood(self, connection: ServerConnection, order: list[str]) -> None:
        frames = [
            framed(b'{"stream":"%b","data":%b}' % (stream.encode(), _payload(stream, 9_912_345_678_901)))
            for stream in order
        ]
        blob, left = b"".join(frames), self._frames // self._sockets
        while left > 0 and not connection.transport.is_closing():
            connection.transport.write(blob if left >= BLOB_FRAMES else b"".join(frames[:left]))
            left -= BLOB_FRAMES
            while connection.transport.get_write_buffer_size() > 1 << 20:  # noqa: ASYNC110  # no drain is offered here
                await asyncio.sleep(0.001)

    async def _pace(self, connection: ServerConnection, order: list[str]) -> None:
        """Open loop: what is due is sent, late or not, and carries the time at which it was due."""
        templates = [
            (b'{"stream":"%b","data":{"sent":' % stream.encode(), b"," + _payload(stream, 9_912_345_678_901)[1:] + b"}")
            for stream in order
        ]
        gap_ns = 1_000_000_000 * self._sockets // self._rate
        due, number = time.time_ns(), 0
        while True:
            now = time.time_ns()
            burst = []
            while due <= now:
                before, after = templates[number % BLOB_FRAMES]
                burst.append(framed(b"%b%d%b" % (before, due, after)))
                number += 1
                due += gap_ns
            if connection.transport.is_closing():
                return
            if burst:
                connection.transport.write(b"".join(burst))
            await asyncio.sleep(max(0.0, (due - time.time_ns()) / 1e9))


def _feed_process(told: Connection, sockets: int, rate: int, frames: int) -> None:
    uvloop.run(_Feed(sockets=sockets, rate=rate, frames=frames).serve(told))


# --------------------------------------------------------------------------------------------------- measuring


class MeasuringPublisher(Publisher):
    """Counts acknowledged lines, and how old the intended send times in them are at the acknowledgement."""

    lines = 0
    last_ns = 0
    ages_ms: list[float]

    async def _produce(self, topic: Topic, values: list[bytes], partition: int) -> None:
        await super()._produce(topic, values, partition)
        if topic is not INPUTS:
            return
        self.last_ns = time.time_ns()
        for value in values:
            self.lines += value.count(b"\n") + 1
            self.ages_ms += [(self.last_ns - int(sent)) / 1e6 for sent in _SENT.findall(value)]


def _names(symbols: int) -> list[str]:
    return [f"S{number:03}USDT" for number in range(symbols)]


async def _run(
    brokers: str,
    *,
    rate: int,
    frames: int,
    seconds: float,
    compression: str | None = COMPRESSION,
    symbols: int = SYMBOLS,
) -> dict[str, float]:
    """One run of the connector against a feed of its own; returns what was seen."""
    subscriptions = Subscriptions(_names(symbols))
    groups = tuple(subscriptions.groups)
    here, there = multiprocessing.Pipe()
    feed = multiprocessing.get_context("spawn").Process(
        target=_feed_process, args=(there, len(groups), rate, frames), daemon=True
    )
    feed.start()
    port = await asyncio.to_thread(here.recv)
    publisher = MeasuringPublisher(
        arguments={"bootstrap_servers": brokers}, prefix=PREFIX, incarnation="bench", compression=compression
    )
    publisher.ages_ms = []
    await publisher.start()
    connector = Connector(
        ws_url=f"ws://127.0.0.1:{port}",
        subscriptions=subscriptions,
        publisher=publisher,
        incarnation="bench",
        draw=random.random,
    )
    running = asyncio.create_task(connector.run())
    try:
        if rate:
            await asyncio.sleep(3.0)  # connections, caches and the broker are warm
            publisher.ages_ms.clear()
            await asyncio.sleep(seconds)
            ages = sorted(publisher.ages_ms)
            return {
                "p50_ms": ages[len(ages) // 2],
                "p99_ms": ages[len(ages) * 99 // 100],
                "frames_per_second": len(ages) / seconds,
            }
        # Lost lines say that the connector has started: one of each stream, of all-market ones to each symbol.
        streams = [stream for group in groups for stream in group.streams if stream not in ALL_MARKET_STREAMS]
        told = len(streams) + len(ALL_MARKET_STREAMS) * symbols
        return await _throughput(publisher, frames // len(groups) * len(groups) + told)
    finally:
        connector.stop()
        await running
        await publisher.flush(5)
        await publisher.stop()
        feed.terminate()
        await asyncio.to_thread(feed.join)


async def _throughput(publisher: MeasuringPublisher, expected: int) -> dict[str, float]:
    while publisher.lines == 0:  # noqa: ASYNC110  # counters have no event
        await asyncio.sleep(0.001)
    began_ns, began_cpu = time.time_ns(), time.process_time()
    first = publisher.lines
    deadline = time.monotonic() + 120
    while publisher.lines + publisher.batcher.given_way < expected and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    seconds = (publisher.last_ns - began_ns) / 1e9
    done = publisher.lines - first
    return {
        "frames_per_second": done / seconds,
        "frames_per_cpu_second": done / (time.process_time() - began_cpu),
        "given_way": float(publisher.batcher.given_way),
        "acknowledged": float(publisher.lines),
        "lines_per_record": publisher.lines / max(1, publisher.acknowledged_records),
    }


def loopback_p50_us(rounds: int = 2_000) -> float:
    """The control: a byte there and back over a loopback TCP connection between two threads."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        peer, _ = listener.accept()
        with peer:
            while data := peer.recv(1):
                peer.sendall(data)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    taken = []
    with socket.create_connection(listener.getsockname()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            started = time.perf_counter_ns()
            client.sendall(b"x")
            client.recv(1)
            taken.append((time.perf_counter_ns() - started) / 1e3)
    thread.join(1)
    listener.close()
    return statistics.median(taken)


def _figure(runs: list[float], unit: str, must: float | None, aim: float | None) -> dict[str, Any]:  # Any: JSON
    return {
        "value": round(statistics.median(runs), 3),
        "unit": unit,
        "must": must,
        "aim": aim,
        "runs": [round(run, 3) for run in runs],
    }


def run(
    *,
    repetitions: int = 3,
    frames: int = FRAMES,
    seconds: float = LATENCY_SECONDS,
    symbols: int = SYMBOLS,
    rates: tuple[int, ...] = RATES,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # Any: the JSON of architecture section 7
    """Measure everything; takes about two minutes with the defaults."""
    control = {"loopback_p50_us_before": round(loopback_p50_us(), 2)}
    flood: list[dict[str, float]] = []
    paced: dict[int, list[dict[str, float]]] = {rate: [] for rate in rates}
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedKafka(directory=Path(directory), profile="bench") as kafka,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(ensure_topics(kafka.bootstrap, PREFIX))
        for number in range(repetitions):
            progress(f"connector: run {number + 1} of {repetitions}")
            flood.append(runner.run(_run(kafka.bootstrap, rate=0, frames=frames, seconds=0, symbols=symbols)))
            for rate in rates:
                pace = _run(kafka.bootstrap, rate=rate, frames=0, seconds=seconds, symbols=symbols)
                paced[rate].append(runner.run(pace))
    control["loopback_p50_us_after"] = round(loopback_p50_us(), 2)
    totals: Counter[str] = Counter()
    for result in flood:
        totals.update({"given_way": int(result["given_way"]), "acknowledged": int(result["acknowledged"])})
    return {
        "name": "connector",
        "figures": {
            "frames_per_second": _figure([r["frames_per_second"] for r in flood], "frames/s", 50_000, 120_000),
            "frames_per_cpu_second": _figure([r["frames_per_cpu_second"] for r in flood], "frames/s", None, None),
            "lines_per_record": _figure([r["lines_per_record"] for r in flood], "lines", None, None),
            **{
                f"added_{name}_at_{rate // 1_000}k": _figure([r[name] for r in paced[rate]], "ms", None, None)
                for rate in rates
                for name in ("p50_ms", "p99_ms")
            },
            "rss_mb": _figure([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024], "MB", 120, None),
        },
        "control": control,
        "conditions": {
            "symbols": symbols,
            "sockets": len(plan(_names(symbols))),
            "frames": frames,
            "mix": MIX,
            "depth_levels_each_side": DEPTH_LEVELS,
            "latency": "intended send time in the feed → record acknowledged by Kafka, every frame counted",
            "kafka": "embedded, bench profile, one node",
            "given_way": totals["given_way"],
            "acknowledged": totals["acknowledged"],
        },
    }


def connector(options: Options, *, symbols: int = SYMBOLS, rates: tuple[int, ...] = RATES) -> Measured:
    """``perpguard bench connector``."""
    small = {"frames": 20_000, "seconds": 1.0} if options.quick else {}
    result = run(repetitions=options.repetitions, symbols=symbols, rates=rates, **small)  # type: ignore[arg-type]  # two types
    figures = {name: Figure(**figure) for name, figure in result["figures"].items()}
    plain = {name: value for name, value in result["conditions"].items() if not isinstance(value, dict)}
    mix = " ".join(f"{kind} {weight}" for kind, weight in MIX.items())
    return Measured(figures=figures, conditions=plain | {"mix": mix})


def connector_500(options: Options) -> Measured:
    """
    ``perpguard bench connector_500``: the same with 500 symbols, of which the first 200 have a book. Not at 1,000 a
    second: their mark prices alone are 500, so that most streams would rightly count as silent.
    """
    return connector(options, symbols=MANY_SYMBOLS, rates=RATES[1:])


if __name__ == "__main__":
    print(json.dumps(run(progress=print), indent=2))
