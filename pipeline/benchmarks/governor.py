"""
The only place that measures the governor: what one decision costs, and how long an exit waits in a flood of others.

In process, no socket. A decision is admit, observe and release with windows that are filled as in a busy minute. The
flood is 1,000 background requests (entries and data) that wait in the executor's own lanes while exits come.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from pipeline.benchmarks.report import Measured, Options, figure, quantile
from pipeline.core import rate_limits
from pipeline.core.rate_limits import Admit, Budget, Cost, Lane, Window
from pipeline.execution.lanes import Lanes
from pipeline.execution.ports import SystemClock

FLOOD: Final = 1_000
EXITS: Final = 200
DECISIONS: Final = 20_000
START_MS: Final = 1_790_771_372_000
STEP_MS: Final = 50  # the 20 orders a second that the venue sustains: 1,200 entries in the minute's window
EXIT: Final = Cost(Lane.PROTECT, 0, 1)


def decision_us(count: int) -> list[float]:
    """What each decision of a busy minute took, in µs."""
    window = Window(Budget())
    times = []
    for number in range(count):
        now = START_MS + number * STEP_MS
        began = time.perf_counter_ns()
        verdict = rate_limits.admit(window, EXIT, now)
        rate_limits.observe(window, now, weight=1, orders_10s=1, orders_1m=1)
        rate_limits.release(window, EXIT)
        times.append((time.perf_counter_ns() - began) / 1_000)
        assert isinstance(verdict, Admit) or number >= Budget().orders_per_minute, "the sustained rate is allowed"
    return times


async def flooded_ms(flood: int, exits: int) -> list[float]:
    """How long each of *exits* waited for the governor while *flood* background requests stood in its lanes."""
    lanes = Lanes(Window(Budget()), SystemClock())
    kinds = (Cost(Lane.ENTRY, 0, 1), Cost(Lane.DATA, 5))
    waiting = [asyncio.create_task(lanes.admission(kinds[number % 2])) for number in range(flood)]
    await asyncio.sleep(0)
    times = []
    for _ in range(exits):
        began = time.perf_counter_ns()
        await lanes.admission(EXIT)
        times.append((time.perf_counter_ns() - began) / 1_000_000)
        lanes.release(EXIT)
        await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return times


def governor(options: Options) -> Measured:
    """The benchmark."""
    rounds = 1 if options.quick else options.repetitions
    decisions = [decision_us(DECISIONS // 20 if options.quick else DECISIONS) for _ in range(rounds)]
    waits = [asyncio.run(flooded_ms(FLOOD, EXITS)) for _ in range(rounds)]
    return Measured(
        {
            "decision_p50_us": figure([quantile(times, 0.5) for times in decisions], "us", must=5.0),
            "decision_p99_us": figure([quantile(times, 0.99) for times in decisions], "us"),
            "exit_waits_p99_ms": figure([quantile(times, 0.99) for times in waits], "ms", must=1.0),
            "exit_waits_max_ms": figure([max(times) for times in waits], "ms"),
        },
        {"flood": FLOOD, "exits": EXITS, "decisions": len(decisions[0])},
    )
