"""
The only place that measures what the pipeline costs the venue: REST requests and weight a minute, from its own ledger.

Five positions are held on a calm market, so that no stop moves: what is left is the steady state (audits, open
interest, filters, listen key, the warm-up's data when symbols are many). The exchange counts, not we.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any, Final

import msgspec

from pipeline.benchmarks.report import Measured, Options, figure
from pipeline.benchmarks.whole import Market, Whole, open_positions, whole_pipeline
from pipeline.binance.requests import DATA_PATHS

POSITIONS: Final = 5
SETTLE_SECONDS: Final = 60.0
BENCHMARK_PATHS: Final = frozenset({"/fapi/v1/ticker/bookTicker"})  # this benchmark's own look at the price


class Minute(msgspec.Struct, frozen=True):
    """What one minute cost: requests, of these for data, weight."""

    requests: int
    data_requests: int
    weight: int


def configuration(symbols: list[str]) -> dict[str, Any]:  # Any: JSON
    """Five slots, as by default, on all symbols of the exchange."""
    return {"symbols": symbols, "limits": {"symbols": symbols, "entries_per_minute": 60}}


def per_minute(lines: list[dict[str, Any]], *, begin_ms: int, minutes: int) -> list[Minute]:  # Any: the ledger's JSON
    """Count the ledger's requests in whole minutes from *begin_ms* on, without this benchmark's own."""
    counted = [[0, 0, 0] for _ in range(minutes)]
    for line in lines:
        index = (int(line["at"]) - begin_ms) // 60_000
        path = str(line["path"])
        if not 0 <= index < minutes or path in BENCHMARK_PATHS:
            continue
        counted[index][0] += 1
        counted[index][1] += path in DATA_PATHS
        counted[index][2] += int(line["weight"])
    return [Minute(*counts) for counts in counted]


async def measure(symbols: int, minutes: int, settle_seconds: float) -> tuple[list[Minute], dict[str, float]]:
    """Hold five positions for *minutes* after the warm-up; returns each minute's cost and every memory."""

    def say(text: str) -> None:
        print(f"rest: {text}", file=sys.stderr, flush=True)

    async with whole_pipeline(Market(symbols=symbols, rate=1.0), configuration=configuration, progress=say) as whole:
        await open_positions(whole, POSITIONS)
        await _wait(whole, settle_seconds, "settling")
        begin_ms = int((await whole.exchange.summary())["now"])
        await _wait(whole, minutes * 60.0, "counting")
        requests = await whole.exchange.ledger("request")
        return per_minute(requests, begin_ms=begin_ms, minutes=minutes), whole.memory_mb()


async def _wait(whole: Whole, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        whole.fleet.check()
        whole.progress(f"{what}, {left:.0f} s left")
        await asyncio.sleep(min(10.0, left))


def rest(options: Options) -> Measured:
    """The benchmark: requests and weight a minute with five positions in steady state."""
    symbols, minutes, settle = (5, 1, 5.0) if options.quick else (5, 5, SETTLE_SECONDS)
    counted, memory = asyncio.run(measure(symbols, minutes, settle))
    figures = {
        "requests_per_minute": figure([m.requests for m in counted], "1/min", must=11, aim=None),
        "data_requests_per_minute": figure([m.data_requests for m in counted], "1/min", must=6.9, aim=None),
        "weight_per_minute": figure([m.weight for m in counted], "1/min"),
        "mean_requests_per_minute": figure([statistics.fmean(m.requests for m in counted)], "1/min", must=11, aim=None),
    }
    figures |= {f"memory_{name}_mb": figure([value], "MB") for name, value in memory.items()}
    return Measured(figures, {"positions": POSITIONS, "symbols": symbols, "minutes": minutes, "stop_moves": False})
