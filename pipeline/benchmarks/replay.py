"""The only place for ``bench replay``: lines folded again from raw records on one core, without Kafka."""

from __future__ import annotations

import time
from typing import Final

from pipeline.benchmarks.inputs import InputRecord, Inputs, best_available
from pipeline.benchmarks.report import Figure, Measured, Options, figure, peak_memory_mb
from pipeline.binance.fold import PartitionFold
from pipeline.core.commands import Decision
from pipeline.wire.records import encode

LINES_PER_RECORD: Final = 8  # what ack-clocked batching makes at a few hundred lines a second


def replay(options: Options) -> Measured:
    """
    Fold a whole run of recorded lines, decisions encoded as they would be compared; must 30,000, aim 100,000 lines/s.
    """
    source = best_available(quick=options.quick)
    records = source.records(LINES_PER_RECORD)
    runs: list[float] = []
    alone: list[float] = []
    decisions: list[Decision] = []
    for _ in range(options.repetitions):
        busy = time.process_time()
        seconds, decisions = fold_once(source, records)
        alone.append(len(source.lines) / (time.process_time() - busy))
        runs.append(len(source.lines) / seconds)
    figures: dict[str, Figure] = {
        "lines_per_second": figure(runs, "lines/s", must=30_000, aim=100_000),
        "lines_per_cpu_second": figure(alone, "lines/s"),  # what other processes on the machine take away left out
    }
    return Measured(
        figures=figures,
        conditions={
            "source": source.name,
            "lines": len(source.lines),
            "lines_per_record": LINES_PER_RECORD,
            "decisions": len(decisions),
            "peak_memory_mb": peak_memory_mb(),
        },
    )


def fold_once(source: Inputs, records: list[InputRecord]) -> tuple[float, list[Decision]]:
    """Fold every record in a new fold; returns the seconds it took and the decisions."""
    fold = PartitionFold(partition=source.partition, log_identity="0000000", fold="bench", universe={source.symbol})
    decisions: list[Decision] = []
    started = time.perf_counter()
    for offset, record in enumerate(records):
        applied = fold.apply_record(offset=offset, append_ms=record.append_ms, value=record.value)
        for decision in applied.decisions:
            encode(decision)
            decisions.append(decision)
    return time.perf_counter() - started, decisions
