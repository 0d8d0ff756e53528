"""
The only place that measures the scanner: how long after the bars of 200 symbols every one of them is ranked, by whom.

The whole pipeline runs as in ``boundary``, with nothing held. The exchange ends a bar of every symbol on request; a
reader of the log keeps the ranking as ``perpguard scan`` makes it (``reporting.ranking_view``) and notes the instant
in which every symbol's word and factors of that bar are in it, ranked and turned into rows. The clock starts at the
receipt of the first closed bar (socket-read stamp). The exchange counts the REST requests between the two.

``command_s`` is the program ``perpguard scan --json`` behind the last close, from its start to its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import msgspec

from pipeline.benchmarks.boundary import closed_bars
from pipeline.benchmarks.latency import Load, configuration
from pipeline.benchmarks.report import Figure, Measured, Options, figure, quantile
from pipeline.benchmarks.whole import Market, Progress, Whole, wait_until_warm, whole_pipeline
from pipeline.console.log_access import Record, open_log
from pipeline.demo.fleet import PartFailed, perpguard
from pipeline.reporting.ranking_view import RankingView
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, FACTORS, INPUTS, TIERS, Topic

MS_NS: Final = 1_000_000
AHEAD_MS: Final = 250  # from the request to the close: the exchange's step and the count before it
CLOSE_SECONDS: Final = 10.0  # longest wait for a ranking
BETWEEN_SECONDS: Final = 8.0  # what follows from a ranking (history of newly shortlisted) is asked for and answered
FIRST_SECONDS: Final = 90.0


class Close(msgspec.Struct, frozen=True):
    """One close: when its ranking was complete (ns), and what was asked of the exchange meanwhile."""

    close_ms: int
    complete_ns: int
    rest: dict[str, int]


class Follower:
    """The ranking as a reader of the log has it, told record by record."""

    def __init__(self) -> None:
        self._view = RankingView()
        self._words: dict[str, int] = {}  # symbol → close of the newest bar that a signal spoke of
        self._scores: dict[str, int] = {}
        self.ranked: dict[int, int] = {}  # close of a bar → ns at which every symbol was ranked by it

    def take(self, topic: Topic, record: Record, symbols: int) -> None:
        """Take one record of a topic; *symbols* is how many must speak."""
        if topic is FACTORS:
            self._view.take_factors(record.value)
            told = records.decode_factors(record.value)
            self._note(self._scores, told.symbol, told.scores.bar_close_ms, symbols)
        elif topic is TIERS:
            self._view.take_tiers(record.value)
        elif b'"type":"signal"' in record.value:
            self._view.take_account(record.value)
            word = records.decode_account(record.value)
            if isinstance(word, records.SignalReported):
                self._note(self._words, word.symbol, word.report.bar_ms, symbols)

    def _note(self, known: dict[str, int], symbol: str, close_ms: int, symbols: int) -> None:
        if known.get(symbol) == close_ms:
            return
        known[symbol] = close_ms
        whole = all(len(told) == symbols and min(told.values()) == close_ms for told in (self._words, self._scores))
        if whole and close_ms not in self.ranked and len(self._view.rows()) == symbols:
            self.ranked[close_ms] = time.time_ns()


async def measure(symbols: int, *, closes: int, progress: Progress) -> tuple[dict[str, Any], dict[str, float]]:
    """Run the pipeline over so many closes; returns what was found and the memory of each process."""
    load_ = Load(symbols=symbols, rate=1.0, positions=1)
    market = Market(symbols, load_.rate, load_.mark_interval_ms, weight_limit=24_000)
    async with whole_pipeline(
        market, configuration=lambda names: configuration(load_, names), progress=progress
    ) as whole:
        await wait_until_warm(whole)
        follower = Follower()
        following = asyncio.get_running_loop().create_task(_follow(whole, follower, symbols))
        try:
            found = [await _close(whole, follower, seconds=FIRST_SECONDS)]  # the first one asks for much history
            progress("the first close is ranked")
            await wait_until_warm(whole)
            for number in range(closes):
                found.append(await _close(whole, follower, seconds=CLOSE_SECONDS))
                progress(f"{closes - number - 1} closes to come")
                await asyncio.sleep(BETWEEN_SECONDS)
        finally:
            following.cancel()
        command = await _command(whole)
        memory = whole.memory_mb()
        async with open_log(whole.settings) as log:
            bars = closed_bars(await log.read(INPUTS))
            tiers = [records.decode_tiers(record.value) for record in await log.read(TIERS)]
    return judged(found[1:], bars, tiers) | command, memory


async def _follow(whole: Whole, follower: Follower, symbols: int) -> None:
    async with open_log(whole.settings) as log:
        async for topic, record in log.follow((FACTORS, ACCOUNT, TIERS), since_ms=time.time_ns() // MS_NS):
            follower.take(topic, record, symbols)


async def _close(whole: Whole, follower: Follower, *, seconds: float) -> Close:
    """End the bars and wait for their ranking. Raises PartFailed when it does not come."""
    whole.fleet.check()
    before, known = await _requests(whole), set(follower.ranked)
    await whole.exchange.end_bars(phase_ms=(time.time_ns() // MS_NS + AHEAD_MS) % 1_000)
    deadline = time.monotonic() + seconds
    while not (new := set(follower.ranked) - known):
        if time.monotonic() > deadline:
            raise PartFailed(f"not every symbol was ranked within {seconds:.0f} s of its bar")
        await asyncio.sleep(0.005)
    after = await _requests(whole)
    close_ms = max(new)
    rest = {path: count - before.get(path, 0) for path, count in after.items() if count > before.get(path, 0)}
    return Close(close_ms, follower.ranked[close_ms], rest)


async def _requests(whole: Whole) -> dict[str, int]:
    found: dict[str, int] = (await whole.exchange.summary())["requests"]
    return found


async def _command(whole: Whole) -> dict[str, Any]:
    """Run ``perpguard scan --json`` and look at what it printed."""
    before = await _requests(whole)
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *perpguard("scan", "--json"), env=whole.fleet.environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    seconds = time.monotonic() - started
    if process.returncode:
        raise PartFailed(f"perpguard scan ended with {process.returncode}")
    rows = json.loads(printed)["ranking"]
    after = await _requests(whole)
    return {
        "command_s": seconds,
        "command_rows": len(rows),
        "command_bars": len({row["bar_ms"] for row in rows}),
        "command_rest": sum(after.values()) - sum(before.values()),
    }


def judged(found: list[Close], bars: dict[int, dict[Any, int]], tiers: list[records.Tiers]) -> dict[str, Any]:
    """Each close from the receipt of its first and of its last bar; *tiers* tell when the shortlist was told on."""
    first, last, told = [], [], []
    for close in found:
        times = bars[close.close_ms].values()
        first.append((close.complete_ns - min(times)) / MS_NS)
        last.append((close.complete_ns - max(times)) / MS_NS)
        begin_ms = min(times) // MS_NS
        told += [one.at_ms - begin_ms for one in tiers if begin_ms <= one.at_ms < begin_ms + 3_000][:1]
    return {
        "first": first,
        "last": last,
        "told": told,
        "rest": [sum(close.rest.values()) for close in found],
        "paths": sorted({path for close in found for path in close.rest}),
        "bars": min(len(bars[close.close_ms]) for close in found),
    }


def scan_benchmark(options: Options) -> Measured:
    """The benchmark: twelve closes of 200 symbols; quick: one of a dozen."""
    symbols, closes = (12, 1) if options.quick else (200, 12)

    def say(text: str) -> None:
        print(f"scan: {text}", file=sys.stderr, flush=True)

    found, memory = asyncio.run(measure(symbols, closes=closes, progress=say))
    figures: dict[str, Figure] = {
        "bar_to_ranking_max_ms": figure([max(found["first"])], "ms", must=1_000.0),
        "bar_to_ranking_ms": figure(found["first"], "ms"),
        "last_bar_to_ranking_ms": figure(found["last"], "ms"),
        "bar_to_ranking_p90_ms": figure([quantile(found["first"], 0.9)], "ms"),
        "rest_requests": figure([max(found["rest"])], "", must=0.0),
        "command_s": figure([found["command_s"]], "s"),
        "command_rest_requests": figure([found["command_rest"]], "", must=0.0),
        **({"bar_to_shortlist_ms": figure(found["told"], "ms")} if found["told"] else {}),
        **{f"memory_{name}_mb": figure([value], "MB") for name, value in memory.items()},
    }
    return Measured(
        figures,
        {
            "symbols": symbols,
            "closes": closes,
            "bars_least": found["bars"],
            "rest_paths": " ".join(found["paths"]) or "none",
            "command_rows": found["command_rows"],
            "command_bars": found["command_bars"],
            "shortlists_told": len(found["told"]),
        },
    )
