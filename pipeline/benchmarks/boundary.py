"""
The only place that measures the five-minute boundary: every symbol's bar closes at once while positions are guarded.

The whole pipeline runs as in ``latency``: a real Kafka, the simulated exchange with a synthetic market of 200 symbols,
the connector, one worker per role. Five positions, three of them in the partition with most symbols, ride a rising
market, so that every mark price moves their stops; books, quotes and trades of all symbols stream on. The exchange ends
a bar of every symbol every four seconds instead of every five minutes (``POST /admin/bars``), for a p99 needs many
closes. The mark prices of the five come 40 to 100 ms after the 200 bars; those of the others as in ``latency``, first
evenly over the second, then (burst) all in one instant, 100 ms after the bars.

A closed bar only makes a symbol due (``core.scores``): its vector is computed on a tick line that names it, a few a
tick, so an order is never queued behind more than that. Orders of seconds without a close, and those of a close that
stand behind such a tick line of their partition, are told apart. ``scored_last`` is when the last symbol's scores of
the bar were computed, in log time after the first bar was received; ``turns_largest`` how many a tick named at most.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from pipeline.benchmarks.latency import STOP, Load, Sample, configuration, pair, stages
from pipeline.benchmarks.report import Figure, Measured, Options, figure, quantile
from pipeline.benchmarks.whole import Market, Progress, Whole, open_positions, wait_until_warm, whole_pipeline
from pipeline.console.log_access import Log, Record, open_log
from pipeline.core.bars import BAR_MS
from pipeline.demo.exchange import open_episodes
from pipeline.demo.fleet import PartFailed
from pipeline.wire import lines, records
from pipeline.wire.topics import ATTEMPTS, FACTORS, INPUTS, INTENTS, partition_of

MS_NS: Final = 1_000_000
SECOND_NS: Final = 1_000 * MS_NS
RATCHET_MS: Final = 900
BETWEEN_SECONDS: Final = 4.0  # from one close to the next
RISE_BPS: Final = 8  # a second
LEAD_SECONDS: Final = 40  # the trailing stop takes over when price is some ATR beyond the entry
LEAD_BPS: Final = 1_000
MOVES_BEFORE: Final = 5
MOVES_SECONDS: Final = 120.0  # how long the first moves are waited for
CLOSE_PHASE_MS: Final = 900  # of the second; marks that are not spread come at its end
FIRST_MS, LAST_MS, STEP_MS = 40, 100, 10  # when the marks of held symbols come after the bars
KLINE: Final = b"@kline_5m"
CLOSED: Final = b'"x":true'
OPENED: Final = re.compile(rb'"k":\{"t":(\d+)')
# Rules that speak of bars or factors would end positions: here an hour of bars is 48 seconds.
OFF: Final = ("X8", "X9", "X10", "X14", "X15")
STAGES: Final = ("frame_to_intent", "frame_to_executor", "executor_to_journal", "journal_to_wire", "frame_to_wire")
ENDS: Final = (STAGES[0], STAGES[-1])

Place = tuple[int, int, int]  # partition, offset, line


class Order(NamedTuple):
    """A stop move on its road, and the place of the line that caused it."""

    place: Place
    sample: Sample


class Turns(NamedTuple):
    """A tick line that names symbols to be scored."""

    place: Place
    at_ns: int
    named: int


class Boundary(msgspec.Struct, frozen=True):
    """One close: its bars in the log, the orders of its second, and when its scores were there."""

    close_ms: int
    bars: int
    spread_ms: float  # from the first bar's receipt to the last one's
    orders: list[Sample]
    behind_bars: int  # how many of them stand behind a bar of the same partition and close
    behind_turns: list[Sample]  # those that stand behind a tick line of their partition that asked for scores
    scored: int
    scored_last_ms: int
    turns_largest: int


class Found(msgspec.Struct, frozen=True):
    """What one ride showed: its closes, and the orders of all other seconds."""

    closes: list[Boundary]
    others: list[Sample]

    @property
    def orders(self) -> list[Sample]:
        """The orders of all seconds of a close."""
        return [sample for close in self.closes for sample in close.orders]


async def measure(
    load_: Load, *, closes: int, burst_closes: int, progress: Progress
) -> tuple[Found, Found, dict[str, float]]:
    """Run the pipeline over so many closes, spread marks first; returns both rides and the memory of each process."""
    market = Market(load_.symbols, load_.rate, load_.mark_interval_ms, weight_limit=24_000, spread_marks=True)
    async with whole_pipeline(
        market, configuration=lambda symbols: _configuration(load_, symbols), progress=progress
    ) as whole:
        await wait_until_warm(whole)  # else symbol after symbol is refused while its history is read
        held = await open_positions(whole, load_.positions, stop=STOP, first=ordered(whole.symbols))
        await wait_until_warm(whole)
        seconds = round((closes + burst_closes) * BETWEEN_SECONDS + MOVES_SECONDS)
        path = [
            {"seconds": LEAD_SECONDS, "drift_bps": LEAD_BPS, "volatility_bps": 0.5},
            {"seconds": seconds, "drift_bps": RISE_BPS * seconds, "volatility_bps": 0.5},
        ]
        for symbol in held:
            await whole.exchange.run_path(symbol, path)
        await whole.exchange.spread_marks(True, phases(held))
        await _wait_for_moves(whole)
        even = await _ride(whole, closes)
        await whole.exchange.spread_marks(False)
        burst = await _ride(whole, burst_closes)
        memory = whole.memory_mb()
        async with open_log(whole.settings) as log:
            return await _read(log, even), await _read(log, burst), memory


def _configuration(load_: Load, symbols: list[str]) -> dict[str, Any]:  # Any: JSON
    plain = configuration(load_, symbols)
    return plain | {"policy": plain["policy"] | {"disabled_exits": list(OFF)}}


def ordered(symbols: Iterable[str]) -> list[str]:
    """The symbols, one of the partition with most of them and one of the others in turn: half the exits stand there."""
    symbols = sorted(symbols)
    fullest = Counter(map(partition_of, symbols)).most_common(1)[0][0]
    inside = [symbol for symbol in symbols if partition_of(symbol) == fullest]
    outside = [symbol for symbol in symbols if partition_of(symbol) != fullest]
    both = [symbol for pair_ in zip(inside, outside, strict=False) for symbol in pair_]
    return [*both, *sorted({*symbols} - {*both})]


def phases(held: Sequence[str]) -> dict[str, int]:
    """When in the second the mark price of each held symbol comes: one after the other, within 100 ms of the bars."""
    span = (LAST_MS - FIRST_MS) // max(len(held) - 1, 1)
    return {
        symbol: (CLOSE_PHASE_MS + FIRST_MS + number * span // STEP_MS * STEP_MS) % 1_000
        for number, symbol in enumerate(held)
    }


async def _wait_for_moves(whole: Whole) -> None:
    """Wait until the stop of every position moves. Raises PartFailed."""
    deadline = time.monotonic() + MOVES_SECONDS
    before = {episode["symbol"]: len(episode["tightest"]) for episode in open_episodes(await whole.exchange.summary())}
    while time.monotonic() < deadline:
        await asyncio.sleep(2.0)
        whole.fleet.check()
        moves = {
            episode["symbol"]: len(episode["tightest"]) - before.get(episode["symbol"], 0)
            for episode in open_episodes(await whole.exchange.summary())
        }
        whole.progress(f"moves so far: {moves}")
        if min(moves.values(), default=0) >= MOVES_BEFORE:
            return
    raise PartFailed(f"not every stop moved within {MOVES_SECONDS:.0f} s: {moves}")


async def _ride(whole: Whole, closes: int) -> tuple[int, int]:
    """Let so many bars close; returns from when to when (wall ms)."""
    began_ms = time.time_ns() // MS_NS
    for number in range(closes):
        whole.fleet.check()
        if number % 5 == 0:
            whole.progress(f"{closes - number} closes to come")
        await whole.exchange.end_bars(phase_ms=CLOSE_PHASE_MS)
        await asyncio.sleep(BETWEEN_SECONDS)
    return began_ms, time.time_ns() // MS_NS


async def _read(log: Log, ride: tuple[int, int]) -> Found:
    """Put together what the log holds of each close of a ride, and the orders of all other seconds for comparison."""
    since_ms, until_ms = ride
    inputs = [record for record in await log.read(INPUTS, since_ms=since_ms) if record.append_ms < until_ms]
    intents = [
        (records.decode_intent(record.value), record.append_ms)
        for record in await log.read(INTENTS, since_ms=since_ms)
        if record.append_ms < until_ms
    ]
    attempts = [records.decode_attempt(record.value) for record in await log.read(ATTEMPTS, since_ms=since_ms)]
    published = [records.decode_factors(record.value) for record in await log.read(FACTORS, since_ms=since_ms)]
    bodies = {(record.partition, record.offset): record.value for record in inputs}
    return judge(closed_bars(inputs), orders_of(bodies, intents, attempts), published, turns_of(inputs))


def judge(
    bars: Mapping[int, Mapping[Place, int]],
    orders: Sequence[Order],
    published: Sequence[records.FactorsRecord],
    turns: Sequence[Turns],
) -> Found:
    """Every order to the second of a close or to the rest."""
    closes, taken = [], set()
    for close_ms, places in sorted(bars.items()):
        begin = min(places.values())
        mine = [order for order in orders if begin <= order.sample.received < begin + SECOND_NS]
        taken |= {order.place for order in mine}
        closes.append(boundary(close_ms, places, mine, published, turns))
    return Found(closes, [order.sample for order in orders if order.place not in taken])


def boundary(
    close_ms: int,
    bars: Mapping[Place, int],
    orders: Sequence[Order],
    published: Iterable[records.FactorsRecord],
    turns: Iterable[Turns],
) -> Boundary:
    """One close: *bars* are the places of its closed bars, with the ns of their receipt; *orders* are of its second."""
    begin, end = min(bars.values()), max(bars.values())
    scored: dict[str, int] = {}  # symbol → ms after the close; the price may publish it again later
    for record in published:
        if record.scores.bar_close_ms == close_ms:
            scored[record.symbol] = min(scored.get(record.symbol, BAR_MS), record.at_ms - begin // MS_NS)
    mine = [turn for turn in turns if turn.named and 0 <= turn.at_ns - begin < 2 * SECOND_NS]
    return Boundary(
        close_ms=close_ms,
        bars=len(bars),
        spread_ms=(end - begin) / MS_NS,
        orders=[order.sample for order in orders],
        behind_bars=sum(any(bar[0] == order.place[0] and bar < order.place for bar in bars) for order in orders),
        behind_turns=[
            order.sample
            for order in orders
            if any(turn.place[0] == order.place[0] and turn.place < order.place for turn in mine)
        ],
        scored=len(scored),
        scored_last_ms=max(scored.values(), default=0),
        turns_largest=max((turn.named for turn in mine), default=0),
    )


def closed_bars(inputs: Iterable[Record]) -> dict[int, dict[Place, int]]:
    """Close (venue ms) → place and time of receipt (ns) of each closed 5m bar that ended then."""
    found: dict[int, dict[Place, int]] = {}
    for record in inputs:
        if CLOSED not in record.value:
            continue
        for number, raw in enumerate(lines.split(record.value)):
            opened = OPENED.search(raw) if KLINE in raw and CLOSED in raw else None
            if opened is not None:
                bars = found.setdefault(int(opened[1]) + BAR_MS, {})
                bars[record.partition, record.offset, number] = lines.decode(raw).at
    return found


def turns_of(inputs: Iterable[Record]) -> list[Turns]:
    """The tick lines that name symbols."""
    found = []
    for record in inputs:
        if b'"turns"' not in record.value:
            continue
        for number, raw in enumerate(lines.split(record.value)):
            if b'"turns"' in raw:
                line = lines.decode(raw)
                found.append(Turns((record.partition, record.offset, number), line.at, len(line.turns)))
    return found


def orders_of(
    bodies: Mapping[tuple[int, int], bytes],
    intents: Iterable[tuple[records.IntentRecord, int]],
    attempts: Iterable[records.AttemptRecord],
) -> list[Order]:
    """The orders that went the whole road; with each intent comes the ms of its append."""
    by_intent: dict[str, list[records.AttemptRecord]] = {}
    for entry in attempts:
        if isinstance(entry, records.AttemptEnded):
            by_intent.setdefault(entry.outcome.intent, []).append(entry)
    found = []
    for intent, append_ms in intents:
        seen = {intent.id: (append_ms + 1) * MS_NS}
        for sample in pair(bodies, [intent], by_intent.get(intent.id, []), seen):
            partition, offset, number = (int(text) for text in intent.cause.split("/"))
            found.append(Order((partition, offset, number), sample))
    return found


def _roads(name: str, samples: list[Sample], *, must: bool = False, shown: Sequence[str] = ENDS) -> dict[str, Figure]:
    """The percentiles of the whole road and of its stages; nothing without an order."""
    if not samples:
        return {}
    found = {}
    for stage, times in stages(samples).items():
        if stage not in shown:
            continue
        whole = must and stage == "frame_to_wire"
        found[f"{name}{stage}_p50_ms"] = figure([quantile(times, 0.5)], "ms")
        found[f"{name}{stage}_p99_ms"] = figure(
            [quantile(times, 0.99)], "ms", must=30.0 if whole else None, aim=10.0 if whole else None
        )
    return found


def boundary_benchmark(options: Options) -> Measured:
    """The benchmark: 44 + 20 closes of 200 symbols and five positions; quick: 2 + 1 closes of a dozen symbols."""
    load_ = Load(symbols=200, rate=1.0, positions=5, ratchet_ms=RATCHET_MS)
    closes, burst_closes = 44, 20
    if options.quick:
        load_ = msgspec.structs.replace(load_, symbols=12, positions=2)
        closes, burst_closes = 2, 1

    def say(text: str) -> None:
        print(f"boundary: {text}", file=sys.stderr, flush=True)

    even, burst, memory = asyncio.run(measure(load_, closes=closes, burst_closes=burst_closes, progress=say))
    if not even.orders:
        raise PartFailed("no order went the whole road in the second of a close")
    scored_last = [close.scored_last_ms for close in (*even.closes, *burst.closes)]
    figures: dict[str, Figure] = {
        **_roads("", even.orders, must=True, shown=STAGES),
        **_roads("other_seconds_", even.others, shown=STAGES),
        **_roads("behind_turns_", [sample for close in even.closes for sample in close.behind_turns]),
        **_roads("burst_", burst.orders),
        **_roads("burst_other_seconds_", burst.others),
        "scored_last_ms": figure(scored_last, "ms"),
        "scored_last_max_ms": figure([max(scored_last)], "ms"),
        **{f"memory_{name}_mb": figure([value], "MB") for name, value in memory.items()},
        "worker_rss_mb": figure([memory["decide"]], "MB", must=250.0, aim=150.0),
    }
    return Measured(figures, _conditions(load_, even, burst))


def _conditions(load_: Load, even: Found, burst: Found) -> dict[str, str | int | float | bool]:
    every = [*even.closes, *burst.closes]
    return {
        "symbols": load_.symbols,
        "positions": load_.positions,
        "closes": len(even.closes),
        "burst_closes": len(burst.closes),
        "seconds_between_closes": BETWEEN_SECONDS,
        "bars_least": min(close.bars for close in every),
        "bars_received_within_ms": round(max(close.spread_ms for close in every), 1),
        "orders": len(even.orders),
        "orders_behind_bars": sum(close.behind_bars for close in even.closes),
        "orders_behind_turns": sum(len(close.behind_turns) for close in even.closes),
        "orders_of_other_seconds": len(even.others),
        "burst_orders": len(burst.orders),
        "symbols_scored_least": min(close.scored for close in every),
        "turns_largest": max(close.turns_largest for close in every),
        "exit_rules_off": " ".join(OFF),
        "mark_prices": "held: 40 to 100 ms after the bars; others evenly over the second; burst_…: all in one instant",
    }
