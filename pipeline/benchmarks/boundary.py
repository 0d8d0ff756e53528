"""
The only place that measures the five-minute boundary: every symbol's bar closes at once while positions are guarded.

The whole pipeline runs as in ``latency``: a real Kafka, the simulated exchange with a synthetic market of 200 symbols,
the connector, one worker per role. Five positions ride a rising market, so that each mark price frame moves their
stops; books, quotes and trades of all symbols stream on. At a full five minutes the exchange closes 200 bars; marks of
the same instant and of the second that follows want stop moves while the factors of 200 symbols are due.

A closed bar only makes a symbol due (``core.scores``): its vector is computed on a tick line that names it, a few a
tick, so an order is never queued behind more than that. ``scored_last_ms`` says when the last symbol's scores of the
bar were computed, in log time after the bar's close, and ``turns_largest`` how many a tick line named at most.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pipeline.benchmarks.latency import Load, Sample, configuration, pair, stages
from pipeline.benchmarks.report import Figure, Measured, Options, figure, quantile
from pipeline.benchmarks.whole import Market, Progress, Whole, open_positions, whole_pipeline
from pipeline.console.log_access import Log, Record, open_log
from pipeline.core.bars import BAR_MS
from pipeline.demo.fleet import PartFailed
from pipeline.wire import lines, records
from pipeline.wire.topics import ATTEMPTS, FACTORS, INPUTS, INTENTS

MS_NS: Final = 1_000_000
WINDOW_MS: Final = 1_200  # the boundary second: from the first closed bar to the marks of the next full second
BEFORE_MS: Final = 100  # marks of the boundary's own instant may be received before the bars
RATCHET_MS: Final = 900
CLOSED: Final = b'"x":true'
KLINE: Final = b"@kline_5m"


class Boundary(msgspec.Struct, frozen=True):
    """One full five minutes: its bars in the log, the orders of its second, and when its scores were there."""

    close_ms: int
    bars: int
    spread_ms: float  # from the first bar's receipt to the last one's
    orders: list[Sample]
    behind_bars: int  # how many of them stand behind a bar of the same partition and boundary
    scored: int
    scored_last_ms: int
    turns_largest: int


async def measure(load_: Load, *, boundaries: int, progress: Progress) -> tuple[list[Boundary], list[Sample], Any]:
    """Run the pipeline over *boundaries* closes; returns them, the orders of all other seconds, and the memory."""
    market = Market(load_.symbols, load_.rate, load_.mark_interval_ms, weight_limit=24_000)
    async with whole_pipeline(
        market, configuration=lambda symbols: configuration(load_, symbols), progress=progress
    ) as whole:
        held = await open_positions(whole, load_.positions)
        closes = await _ride(whole, held, boundaries)
        memory = whole.memory_mb()
        async with open_log(whole.settings) as log:
            found, others = await _read(log, closes)
        return found, others, memory


async def _ride(whole: Whole, held: list[str], boundaries: int) -> list[int]:
    """Let the market rise over the next closes of bars; returns their times (venue ms)."""
    now_ms = time.time_ns() // MS_NS
    first = now_ms // BAR_MS * BAR_MS + BAR_MS
    if first - now_ms < 20_000:
        first += BAR_MS  # the path must have begun
    closes = [first + number * BAR_MS for number in range(boundaries)]
    seconds = (closes[-1] - now_ms) // 1_000 + 60
    for symbol in held:
        path = [{"seconds": seconds, "drift_bps": 8 * seconds, "volatility_bps": 0.5}]
        await whole.exchange.run_path(symbol, path)
    while (left := closes[-1] + 5_000 - time.time_ns() // MS_NS) > 0:
        whole.fleet.check()
        whole.progress(f"{left // 1_000} s to the last of {boundaries} closes")
        await asyncio.sleep(min(10.0, left / 1_000))
    return closes


async def _read(log: Log, closes: list[int]) -> tuple[list[Boundary], list[Sample]]:
    """Put together what the log holds of each close, and the orders of all other seconds for comparison."""
    inputs = await log.read(INPUTS)
    bodies = {(record.partition, record.offset): record.value for record in inputs}
    intents = [records.decode_intent(record.value) for record in await log.read(INTENTS)]
    attempts = [records.decode_attempt(record.value) for record in await log.read(ATTEMPTS)]
    published = [records.decode_factors(record.value) for record in await log.read(FACTORS)]
    seen = {intent.id: 0 for intent in intents}
    found = []
    for close_ms in closes:
        bars = closed_bars(inputs, close_ms)
        mine = [intent for intent in intents if _within(bodies, intent, close_ms)]
        found.append(boundary(close_ms, bars, bodies, mine, attempts, published))
    rest = [intent for intent in intents if not any(_within(bodies, intent, close_ms) for close_ms in closes)]
    return found, pair(bodies, rest, attempts, seen)


def boundary(  # noqa: PLR0917 - what the topics hold, in the order in which it is read
    close_ms: int,
    bars: Mapping[tuple[int, int, int], int],
    bodies: Mapping[tuple[int, int], bytes],
    intents: Iterable[records.IntentRecord],
    attempts: list[records.AttemptRecord],
    published: Iterable[records.FactorsRecord],
) -> Boundary:
    """One close: *bars* are the places (partition, offset, line) of its closed bars with the ns of their receipt."""
    scored: dict[str, int] = {}  # symbol → ms after the close; the price may publish it again later
    for record in published:
        if record.scores.bar_close_ms == close_ms:
            scored[record.symbol] = min(scored.get(record.symbol, BAR_MS), record.at_ms - close_ms)
    orders: list[Sample] = []
    behind = 0
    for intent in intents:
        road = pair(bodies, [intent], attempts, {intent.id: 0})
        orders += road
        place = _place(intent.cause)
        behind += bool(road) and any(bar[0] == place[0] and bar < place for bar in bars)
    times = list(bars.values())
    return Boundary(
        close_ms=close_ms,
        bars=len(bars),
        spread_ms=(max(times) - min(times)) / MS_NS if times else 0.0,
        orders=orders,
        behind_bars=behind,
        scored=len(scored),
        scored_last_ms=max(scored.values(), default=0),
        turns_largest=max((_turns(body, close_ms) for body in bodies.values()), default=0),
    )


def closed_bars(inputs: Iterable[Record], close_ms: int) -> dict[tuple[int, int, int], int]:
    """Place and time of receipt (ns) of each closed 5m bar that ended at *close_ms*."""
    mark = b'"t":%d,' % (close_ms - BAR_MS)
    found = {}
    for record in inputs:
        if mark not in record.value:
            continue
        for number, raw in enumerate(lines.split(record.value)):
            if KLINE in raw and CLOSED in raw and mark in raw:
                found[record.partition, record.offset, number] = lines.decode(raw).at
    return found


def _place(cause: str) -> tuple[int, int, int]:
    partition, offset, number = (int(text) for text in cause.split("/"))
    return partition, offset, number


def _within(bodies: Mapping[tuple[int, int], bytes], intent: records.IntentRecord, close_ms: int) -> bool:
    """True when the line that caused *intent* was received in the second of the close."""
    partition, offset, number = _place(intent.cause)
    body = bodies.get((partition, offset))
    if body is None:
        return False
    at_ms = lines.decode(lines.split(body)[number]).at / MS_NS
    return close_ms - BEFORE_MS <= at_ms <= close_ms + WINDOW_MS


def _turns(body: bytes, close_ms: int) -> int:
    """How many symbols the tick lines of a record name at most, within ten seconds of the close."""
    if b'"turns"' not in body:
        return 0
    most = 0
    for raw in lines.split(body):
        if b'"turns"' in raw:
            line = lines.decode(raw)
            if 0 <= line.at // MS_NS - close_ms < 10_000:
                most = max(most, len(line.turns))
    return most


def _each(values: Iterable[float]) -> str:
    """One value for each close, for people."""
    return " / ".join(map(str, values))


def boundary_benchmark(options: Options) -> Measured:
    """The benchmark: two closes of 200 symbols and five positions; quick: one close of a dozen symbols."""
    load_ = Load(symbols=200, rate=1.0, positions=5, ratchet_ms=RATCHET_MS)
    if options.quick:
        load_ = msgspec.structs.replace(load_, symbols=12, positions=2)
    closes = 1 if options.quick else 2

    def say(text: str) -> None:
        print(f"boundary: {text}", file=sys.stderr, flush=True)

    found, others, memory = asyncio.run(measure(load_, boundaries=closes, progress=say))
    orders = [sample for one in found for sample in one.orders]
    if not orders:
        raise PartFailed("no order went the whole road in the second of a close")
    road, calm = stages(orders)["frame_to_wire"], stages(others)["frame_to_wire"] or [0.0]
    figures: dict[str, Figure] = {
        "frame_to_wire_p99_ms": figure([quantile(road, 0.99)], "ms", must=30.0, aim=10.0),
        "frame_to_wire_p50_ms": figure([quantile(road, 0.5)], "ms"),
        "other_seconds_p99_ms": figure([quantile(calm, 0.99)], "ms"),
        "other_seconds_p50_ms": figure([quantile(calm, 0.5)], "ms"),
        "scored_last_ms": figure([one.scored_last_ms for one in found], "ms", must=1_000.0),
        **{f"memory_{name}_mb": figure([value], "MB") for name, value in memory.items()},
        "worker_rss_mb": figure([memory["decide"]], "MB", must=250.0, aim=150.0),
    }
    return Measured(
        figures,
        {
            "symbols": load_.symbols,
            "positions": load_.positions,
            "closes": len(found),
            "bars": _each([one.bars for one in found]),
            "bars_received_within_ms": _each([round(one.spread_ms, 1) for one in found]),
            "orders": _each([len(one.orders) for one in found]),
            "orders_behind_bars": _each([one.behind_bars for one in found]),
            "symbols_scored": _each([one.scored for one in found]),
            "turns_largest": _each([one.turns_largest for one in found]),
            "orders_of_other_seconds": len(others),
        },
    )
