"""
The only place that measures the road of P7: market frame received → intent in Kafka → order bytes on the wire.

Everything is real and on this machine: a Kafka with the benchmark's JVM, the simulated exchange with a synthetic market
of many symbols, the connector, and one worker per role. Open positions ride a rising market, so that mark price frames
make the guard tighten stops; each move is one order placed and one cancelled. The load is open loop: the exchange
sends when its clock says so, whatever the pipeline does.

Two rides: one whose mark prices come evenly over the second, which gives the figures with bounds, and a shorter one
whose mark prices of all symbols come in one instant, so that every position moves its stop in that instant.

The clock starts at the connector's stamp, taken when the socket was read and before anything was parsed (the line's
``at``), and ends when the kernel had the whole request (``AttemptEnded.written_ns``). "Intent in Kafka" is the end of
the millisecond in which the broker appended it (its log append time, which a consumer could not have read before).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer

from pipeline.benchmarks.report import Figure, Measured, Options, figure, quantile
from pipeline.benchmarks.whole import Market, Progress, Whole, open_positions, wait_until_warm, whole_pipeline
from pipeline.console.log_access import Log, open_log
from pipeline.demo.fleet import PartFailed
from pipeline.streaming.clients import client_arguments
from pipeline.wire import lines, records
from pipeline.wire.topics import ATTEMPTS, INPUTS, INTENTS

NANOSECONDS_PER_MS: Final = 1_000_000
WARM_UP_PER_MINUTE: Final = 2_400
STOP: Final = 0.995
RISE_SECONDS: Final = 600
RISE_BPS: Final = 5_000
BETWEEN_SECONDS: Final = 3.0  # the second ride starts with moves of its own
CAUSE_MS: Final = 10_000  # the oldest cause of an intent that is looked for


class Load(msgspec.Struct, frozen=True):
    """
    What the run is like: symbols, steps per second and symbol, positions that ride, orders to be seen.

    Five positions are the design's; each may move its stop at every mark price. The venue allows 1,200 orders a
    minute, so ``positions`` / ``ratchet_ms`` stays below 20 moves a second.
    """

    symbols: int = 200
    rate: float = 3.0
    positions: int = 5
    ratchet_ms: int = 500
    orders: int = 2_000
    burst_orders: int = 300
    mark_interval_ms: int = 1_000


class Sample(msgspec.Struct, frozen=True):
    """One order on its road; times in ns of this machine's clock, 0 where a stage was not seen."""

    received: int
    seen: int
    taken: int
    journalled: int
    written: int


def configuration(load_: Load, symbols: list[str]) -> dict[str, Any]:  # Any: JSON
    """The configuration of the run: slots and limits for many positions, stops that may move often."""
    return {
        "symbols": symbols,
        "performance": {"max_positions": load_.positions},
        "limits": {
            "symbols": symbols,
            "max_notional_usdt": 1_000,
            "max_positions": load_.positions,
            "entries_per_minute": 600,
            "moves_per_minute": 1_200,
        },
        # A warm start: 200 books and histories are 400 requests, minutes of the design budget's 60 a minute.
        "rate_limit": {"rest_api_per_minute": WARM_UP_PER_MINUTE},
        # Every mark price that rises moves a stop: otherwise 2,000 orders would take a quarter of an hour.
        "policy": {
            "ratchet_interval_ms": load_.ratchet_ms,
            "ratchet_per_minute": 60,
            "ratchet_min_gain_r_permille": 10,
            "ratchet_min_gain_atr5m_permille": 10,
            "ratchet_min_gain_ticks": 1,
        },
    }


class Rides(msgspec.Struct, frozen=True):
    """What was measured: the orders of both rides on their road, the peak memory of each process, the load."""

    even: list[Sample]
    burst: list[Sample]
    memory_mb: dict[str, float]
    load: dict[str, float]


async def measure(load_: Load, *, progress: Progress) -> Rides:
    """Run the whole pipeline under *load_*, warm."""
    market = Market(load_.symbols, load_.rate, load_.mark_interval_ms, weight_limit=24_000, spread_marks=True)
    async with whole_pipeline(
        market, configuration=lambda symbols: configuration(load_, symbols), progress=progress
    ) as whole:
        held = await open_positions(whole, load_.positions, stop=STOP)
        await wait_until_warm(whole)
        even_ms = time.time_ns() // NANOSECONDS_PER_MS
        await _ride(whole, held, load_, orders=load_.orders)
        even_end_ms = time.time_ns() // NANOSECONDS_PER_MS
        await whole.exchange.spread_marks(False)
        await asyncio.sleep(BETWEEN_SECONDS)
        burst_ms = time.time_ns() // NANOSECONDS_PER_MS
        await _ride(whole, held, load_, orders=load_.burst_orders)
        burst_end_ms = time.time_ns() // NANOSECONDS_PER_MS  # reading the log disturbs what still goes on
        memory = whole.memory_mb()
        async with open_log(whole.settings) as log:
            even, load = await _samples(log, even_ms, even_end_ms)
            burst, _ = await _samples(log, burst_ms, burst_end_ms)
        return Rides(even, burst, memory, load)


async def _ride(whole: Whole, held: list[str], load_: Load, *, orders: int) -> None:
    """Let the market rise until enough orders went out."""
    settings = whole.settings
    consumer = AIOKafkaConsumer(
        ATTEMPTS.named(settings.prefix),
        **client_arguments(settings),
        auto_offset_reset="latest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        await consumer.seek_to_end()
        seen, started = 0, time.monotonic()
        said, rising_until = started, started
        deadline = started + 120 + orders / load_.positions
        while seen < orders and time.monotonic() < deadline:
            whole.fleet.check()
            if time.monotonic() > rising_until:
                for symbol in held:
                    await whole.exchange.run_path(
                        symbol, [{"seconds": RISE_SECONDS, "drift_bps": RISE_BPS, "volatility_bps": 0.5}]
                    )
                rising_until = time.monotonic() + RISE_SECONDS
            batches = await consumer.getmany(timeout_ms=250)
            seen += sum(
                b'"type":"attempt"' in record.value and b'"action":"place"' in record.value
                for batch in batches.values()
                for record in batch
            )
            if time.monotonic() - said > 5:
                said = time.monotonic()
                whole.progress(f"{seen} of {orders} orders")
    finally:
        await consumer.stop()


async def _samples(log: Log, since_ms: int, until_ms: int) -> tuple[list[Sample], dict[str, float]]:
    """Read what a ride left in the log; returns the orders on their road and the load that was there."""
    inputs = [record for record in await log.read(INPUTS, since_ms=since_ms - CAUSE_MS) if record.append_ms < until_ms]
    intents = [
        (records.decode_intent(record.value), record.append_ms)
        for record in await log.read(INTENTS, since_ms=since_ms)
        if record.append_ms < until_ms
    ]
    samples = pair(
        {(record.partition, record.offset): record.value for record in inputs},
        [intent for intent, _ in intents],
        [records.decode_attempt(record.value) for record in await log.read(ATTEMPTS, since_ms=since_ms)],
        {intent.id: (append_ms + 1) * NANOSECONDS_PER_MS for intent, append_ms in intents},
    )
    times = sorted(record.append_ms for record in inputs)
    seconds = (times[-1] - times[0]) / 1_000 if len(times) > 1 else 1.0
    line_count = sum(len(lines.split(record.value)) for record in inputs)
    return samples, {
        "records_per_second": round(len(inputs) / seconds, 1),
        "lines_per_second": round(line_count / seconds, 1),
    }


def pair(
    inputs: Mapping[tuple[int, int], bytes],
    intents: Iterable[records.IntentRecord],
    attempts: Iterable[records.AttemptRecord],
    seen: Mapping[str, int],
) -> list[Sample]:
    """Put each intent that a frame caused together with its line and its first request that was written."""
    written: dict[str, records.AttemptEnded] = {}
    for entry in attempts:
        if isinstance(entry, records.AttemptEnded) and entry.written_ns:
            written.setdefault(entry.outcome.intent, entry)
    samples = []
    for intent in intents:
        ended = written.get(intent.id)
        partition, offset, number = (int(text) for text in intent.cause.split("/"))
        record = inputs.get((partition, offset))
        if ended is None or record is None or intent.id not in seen:
            continue
        line = lines.decode(lines.split(record)[number])
        if line.frame:
            samples.append(
                Sample(line.at, seen[intent.id], ended.intent_read_ns, ended.journalled_ns, ended.written_ns)
            )
    return samples


def stages(samples: list[Sample]) -> dict[str, list[float]]:
    """The time in ms that every order spent in each stage, and on the whole road."""
    spans = {
        "frame_to_intent": [s.seen - s.received for s in samples],
        "frame_to_executor": [s.taken - s.received for s in samples],
        "executor_to_journal": [s.journalled - s.taken for s in samples],
        "journal_to_wire": [s.written - s.journalled for s in samples],
        "frame_to_wire": [s.written - s.received for s in samples],
    }
    return {name: [value / NANOSECONDS_PER_MS for value in values] for name, values in spans.items()}


# Figure → (stage, share, must, aim): architecture section 8; the stages in between have no bound of their own.
FIGURES: Final[dict[str, tuple[str, float, float | None, float | None]]] = {
    "frame_to_intent_p50_ms": ("frame_to_intent", 0.5, 5.0, 2.5),
    "frame_to_intent_p99_ms": ("frame_to_intent", 0.99, 15.0, 6.0),
    "frame_to_wire_p50_ms": ("frame_to_wire", 0.5, 8.0, 4.0),
    "frame_to_wire_p99_ms": ("frame_to_wire", 0.99, 30.0, 10.0),
    "stage_frame_to_executor_p50_ms": ("frame_to_executor", 0.5, None, None),
    "stage_frame_to_executor_p99_ms": ("frame_to_executor", 0.99, None, None),
    "stage_executor_to_journal_p50_ms": ("executor_to_journal", 0.5, None, None),
    "stage_executor_to_journal_p99_ms": ("executor_to_journal", 0.99, None, None),
    "stage_journal_to_wire_p50_ms": ("journal_to_wire", 0.5, None, None),
    "stage_journal_to_wire_p99_ms": ("journal_to_wire", 0.99, None, None),
}


# The same figures when all mark prices come in one instant: no bound speaks of them, users meet them.
BURST_FIGURES: Final[dict[str, tuple[str, float]]] = {
    "burst_frame_to_intent_p50_ms": ("frame_to_intent", 0.5),
    "burst_frame_to_intent_p99_ms": ("frame_to_intent", 0.99),
    "burst_frame_to_wire_p50_ms": ("frame_to_wire", 0.5),
    "burst_frame_to_wire_p99_ms": ("frame_to_wire", 0.99),
}


def latency(options: Options) -> Measured:
    """The benchmark: one run of ``Load`` (a small one when quick), its percentiles and the memory of each process."""
    load_ = Load(symbols=8, positions=3, orders=20, burst_orders=10) if options.quick else Load()

    def say(text: str) -> None:
        print(f"latency: {text}", file=sys.stderr, flush=True)

    rides = asyncio.run(measure(load_, progress=say))
    if not rides.even or not rides.burst:
        raise PartFailed("no order went the whole road")
    spans, burst_spans = stages(rides.even), stages(rides.burst)
    figures: dict[str, Figure] = {
        name: figure([quantile(spans[stage], share)], "ms", must=must, aim=aim)
        for name, (stage, share, must, aim) in FIGURES.items()
    }
    figures |= {
        name: figure([quantile(burst_spans[stage], share)], "ms") for name, (stage, share) in BURST_FIGURES.items()
    }
    figures |= {f"memory_{name}_mb": figure([value], "MB") for name, value in rides.memory_mb.items()}
    return Measured(
        figures,
        {
            "orders": len(rides.even),
            "burst_orders": len(rides.burst),
            "symbols": load_.symbols,
            "positions": load_.positions,
            "steps_per_second_and_symbol": load_.rate,
            "records_per_second": rides.load["records_per_second"],
            "lines_per_second": rides.load["lines_per_second"],
            "rest_api_per_minute": WARM_UP_PER_MINUTE,
            "weight_limit_of_the_exchange": 24_000,
            "mark_prices": "evenly over the second; burst_…: of all symbols in one instant",
            "processes": "kafka, connector, decide, account, execute; the simulator at nice 10",
        },
    )
