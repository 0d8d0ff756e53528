"""
The only place that measures the executor by itself: intent acknowledged in Kafka → order bytes with the kernel.

Real on this machine: a Kafka with the benchmark's JVM, the simulated exchange and one execute worker, each in a process
of its own. Open positions get stop moves; each is one order placed and one cancelled. The load is open loop: a move is
sent when its time has come, whatever became of the one before. The clock starts at the acknowledgement of the intent's
produce and ends at ``AttemptEnded.written_ns``. Then the same positions are moved as fast as the answers come
(``requests_per_second``), which says what the executor can do, not what a venue allows.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from pipeline.benchmarks.report import Measured, Options, figure, quantile
from pipeline.binance.answers import instrument_of
from pipeline.core.commands import Intent, MoveStop, OpenBracket
from pipeline.core.events import Leg, Side, Verdict
from pipeline.core.identity import output_id, symbol_tag
from pipeline.core.instruments import Instrument
from pipeline.core.units import ONE_E8, Lots, Milliseconds, Ticks, parse_e8
from pipeline.demo.exchange import Exchange
from pipeline.demo.fleet import Fleet, PartFailed, free_port, json_line, perpguard
from pipeline.demo.stage import environment_of, worker_command
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import Settings, load
from pipeline.streaming.clients import client_arguments
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.records import AttemptEnded, IntentRecord, decode_attempt, encode
from pipeline.wire.topics import ATTEMPTS, INTENTS

OPEN_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 10.0
CONFIRM_SECONDS: Final = 3.0
NANOSECONDS_PER_MS: Final = 1_000_000
NOTIONAL_E8: Final = 200 * ONE_E8

Progress = Callable[[str], None]


class Load(msgspec.Struct, frozen=True):
    """``moves`` at ``per_second`` over ``positions``; then ``burst_seconds`` as fast as it goes."""

    positions: int = 20
    moves: int = 2_000
    per_second: float = 40.0
    burst_seconds: float = 5.0


class Held(msgspec.Struct):
    """One position: its id, its size and its stop."""

    instrument: Instrument
    position: str = ""
    lots: int = 0
    stop: int = 0

    @property
    def symbol(self) -> str:
        """Its symbol."""
        return self.instrument.symbol


class Bench:
    """Writes intents and reads what the executor journalled."""

    def __init__(self, settings: Settings, identity: str, fleet: Fleet) -> None:
        self._settings = settings
        self._identity = identity
        self._fleet = fleet
        self._count = 0
        arguments = client_arguments(settings)
        self._producer = AIOKafkaProducer(**arguments, acks="all", enable_idempotence=True, linger_ms=0)
        self._consumer = AIOKafkaConsumer(**arguments, auto_offset_reset="earliest", fetch_max_wait_ms=20)
        self._reader: asyncio.Task[None] | None = None
        self.acknowledged_ns: dict[str, int] = {}
        self.written: dict[str, AttemptEnded] = {}
        self.ended: dict[str, asyncio.Future[AttemptEnded]] = {}
        self.requests = 0

    async def start(self) -> None:
        """Connect and follow ``attempts``."""
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign([TopicPartition(ATTEMPTS.named(self._settings.prefix), 0)])
        self._reader = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.cancel()
        await self._consumer.stop()
        await self._producer.stop()

    async def _read(self) -> None:
        async for message in self._consumer:
            record = decode_attempt(message.value)
            if not isinstance(record, AttemptEnded):
                continue
            self.requests += 1
            intent = record.outcome.intent
            if record.written_ns:
                self.written.setdefault(intent, record)
            future = self.ended.get(intent)
            if future is not None and not future.done() and record.outcome.verdict is not Verdict.CANCELLED:
                future.set_result(record)

    async def send(self, symbol: str, body: Intent) -> str:
        """Write one intent; returns its id when Kafka has acknowledged it."""
        self._count += 1
        intent = output_id(
            log_identity=self._identity,
            partition=0,
            offset=self._count,
            line=0,
            tag=symbol_tag(symbol),
            ordinal=0,
        )
        self.ended[intent] = asyncio.get_running_loop().create_future()
        record = IntentRecord(
            id=intent,
            symbol=symbol,
            cause=f"0/{self._count}/0",
            at_ms=Milliseconds(time.time_ns() // NANOSECONDS_PER_MS),
            fold="bench",
            intent=body,
        )
        topic = INTENTS.named(self._settings.prefix)
        await self._producer.send_and_wait(topic, encode(record), key=symbol.encode())
        self.acknowledged_ns[intent] = time.time_ns()
        return intent

    async def open(self, held: Held, exchange: Exchange) -> None:
        """Open a long; raises PartFailed when the executor does not accept it in time."""
        deadline = time.monotonic() + OPEN_SECONDS
        while time.monotonic() < deadline:
            self._fleet.check()
            price_e8 = parse_e8(f"{await exchange.mid_price(held.symbol):.8f}")
            price = price_e8 // held.instrument.tick_e8
            held.lots = max(1, NOTIONAL_E8 * ONE_E8 // (price_e8 * held.instrument.step_e8))
            held.stop = price * 90 // 100
            bracket = OpenBracket(
                side=Side.BUY,
                lots=Lots(held.lots),
                limit=Ticks(price * 101 // 100),
                far_trigger=Ticks(price * 85 // 100),
                working_trigger=Ticks(held.stop),
                expires_ms=Milliseconds(0),
            )
            intent = await self.send(held.symbol, bracket)
            try:
                ended = await asyncio.wait_for(self.ended[intent], CONFIRM_SECONDS)
            except TimeoutError:
                continue
            if ended.outcome.verdict is Verdict.ACCEPTED and ended.outcome.filled_lots:
                held.position = intent
                return
        raise PartFailed(f"{held.symbol} was not opened: {self._fleet.parts['execute'].last_words()}")

    async def move(self, held: Held) -> str:
        """State a tighter stop."""
        held.stop += 1
        move = MoveStop(held.position, Leg.WORKING, Side.BUY, Ticks(held.stop), Lots(held.lots))
        return await self.send(held.symbol, move)


async def instruments(rest_url: str) -> list[Instrument]:
    """What the exchange trades, by name."""
    async with httpx.AsyncClient(base_url=rest_url) as client:
        body = (await client.get("/fapi/v1/exchangeInfo")).content
    rows = msgspec.json.decode(body, type=dict[str, msgspec.Raw])["symbols"]
    found = [instrument_of(raw) for raw in msgspec.json.decode(rows, type=list[msgspec.Raw])]
    return sorted(found, key=lambda instrument: instrument.symbol)


class Road(msgspec.Struct, frozen=True):
    """The parts of one move's way in ms: to the executor, until its record is durable, until its bytes are written."""

    read: float
    journalled: float
    written: float

    @property
    def total(self) -> float:
        """From the acknowledgement of the intent to the bytes on the wire."""
        return self.read + self.journalled + self.written


def road_of(acknowledged_ns: int, ended: AttemptEnded) -> Road:
    """What the stamps of a move say."""
    return Road(
        (ended.intent_read_ns - acknowledged_ns) / NANOSECONDS_PER_MS,
        (ended.journalled_ns - ended.intent_read_ns) / NANOSECONDS_PER_MS,
        (ended.written_ns - ended.journalled_ns) / NANOSECONDS_PER_MS,
    )


async def measure(load_: Load, *, progress: Progress) -> tuple[list[Road], float, float]:
    """Returns the road of each move, requests per second at most, and the memory of the worker in MB."""
    directory = Path(tempfile.mkdtemp(prefix="perpguard-executor-"))
    fleet = Fleet(directory, {})
    kafka = EmbeddedKafka(directory=directory / "kafka", profile="bench", progress=progress)
    exchange: Exchange | None = None
    bench: Bench | None = None
    try:
        await asyncio.to_thread(kafka.start)
        simulator = fleet.start("simulator", perpguard(*_simulator_arguments(load_)))
        urls = await json_line(simulator, "rest")
        exchange = Exchange(urls["rest"])
        held = [Held(instrument) for instrument in (await instruments(urls["rest"]))[: load_.positions]]
        symbols = [one.symbol for one in held]
        fleet.environment |= environment_of(directory, tuple(symbols), kafka.bootstrap, urls)
        fleet.environment["PERPGUARD_CONFIG"] = _configuration(directory, symbols)
        identity = await ensure_topics(kafka.bootstrap, fleet.environment["PERPGUARD_PREFIX"])
        settings = load(fleet.environment)
        fleet.start("execute", worker_command(), PERPGUARD_ROLE="execute", PERPGUARD_METRICS_PORT=str(free_port()))
        bench = Bench(settings, identity, fleet)
        await bench.start()
        for one in held:
            await bench.open(one, exchange)
        progress(f"{len(held)} positions are open")
        moves = await _open_loop(bench, held, load_)
        progress(f"{len(moves)} moves were sent")
        rate = await _burst(bench, held, load_)
        fleet.note_memory()
        roads = [
            road_of(bench.acknowledged_ns[intent], bench.written[intent]) for intent in moves if intent in bench.written
        ]
        return roads, rate, fleet.parts["execute"].memory_mb
    finally:
        if bench is not None:
            await bench.stop()
        fleet.stop()
        await asyncio.to_thread(kafka.stop)
        if exchange is not None:
            await exchange.close()


async def _open_loop(bench: Bench, held: list[Held], load_: Load) -> list[str]:
    """Send every move at its intended time; returns the ids of those that were sent."""
    start = time.monotonic() + 0.5
    tasks = []
    for number in range(load_.moves):
        await asyncio.sleep(max(0.0, start + number / load_.per_second - time.monotonic()))
        tasks.append(asyncio.create_task(bench.move(held[number % len(held)])))
    intents = list(await asyncio.gather(*tasks))
    await asyncio.wait([bench.ended[intent] for intent in intents[-len(held) :]], timeout=ANSWER_SECONDS)
    return intents


async def _burst(bench: Bench, held: list[Held], load_: Load) -> float:
    """Move every position again as soon as its last move has ended, for some seconds; requests a second."""
    before, start = bench.requests, time.monotonic()

    async def drive(one: Held) -> None:
        while time.monotonic() - start < load_.burst_seconds:
            intent = await bench.move(one)
            await asyncio.wait([bench.ended[intent]], timeout=ANSWER_SECONDS)

    await asyncio.gather(*(drive(one) for one in held))
    return (bench.requests - before) / (time.monotonic() - start)


def _simulator_arguments(load_: Load) -> list[str]:
    # The venue's own limits would hold the load at 20 orders a second; the executor reads them from exchangeInfo.
    return [
        "simulator", "--json", "--port", "0", "--symbols", str(load_.positions), "--rate", "1",
        "--wallet", "1000000", "--order-limit", "600000", "--weight-limit", "600000",
    ]  # fmt: skip


def _configuration(directory: Path, symbols: list[str]) -> str:
    path = directory / "config.json"
    limits = {
        "symbols": symbols,
        "max_notional_usdt": 10_000,
        "max_positions": len(symbols),
        "entries_per_minute": 600,
        "moves_per_minute": 1_200,
    }
    body = {"symbols": symbols, "performance": {"max_positions": len(symbols)}, "limits": limits}
    path.write_text(json.dumps(body))
    return str(path)


def executor(options: Options) -> Measured:
    """The benchmark: one run of ``Load`` a repetition (one small run when quick)."""
    load_ = Load(positions=2, moves=20, per_second=20.0, burst_seconds=0.5) if options.quick else Load()
    p50s: list[float] = []
    p99s: list[float] = []
    parts: dict[str, list[float]] = {"read": [], "journalled": [], "written": []}
    rates: list[float] = []
    memory: list[float] = []
    orders = 0

    def say(text: str) -> None:
        print(f"executor: {text}", file=sys.stderr, flush=True)

    for _ in range(1 if options.quick else min(options.repetitions, 3)):
        roads, rate, megabytes = asyncio.run(measure(load_, progress=say))
        if not roads:
            raise PartFailed("no move reached the wire")
        times = [road.total for road in roads]
        for name, values in parts.items():
            values.append(quantile([getattr(road, name) for road in roads], 0.5))
        p50s.append(quantile(times, 0.5))
        p99s.append(quantile(times, 0.99))
        rates.append(rate)
        memory.append(megabytes)
        orders += len(times)
    return Measured(
        {
            "intent_to_wire_p50_ms": figure(p50s, "ms", must=3.0, aim=2.0),
            "intent_to_wire_p99_ms": figure(p99s, "ms", must=10.0, aim=6.0),
            "acknowledged_to_read_p50_ms": figure(parts["read"], "ms"),
            "read_to_journalled_p50_ms": figure(parts["journalled"], "ms"),
            "journalled_to_wire_p50_ms": figure(parts["written"], "ms"),
            "requests_per_second": figure(rates, "1/s"),
            "memory_execute_mb": figure(memory, "MB"),
        },
        {
            "orders": orders,
            "positions": load_.positions,
            "moves_per_second": load_.per_second,
            "processes": "kafka, simulator, execute",
        },
    )
