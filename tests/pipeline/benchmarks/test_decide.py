"""The benchmark's log is the recording under several symbols, spread over the partitions."""

from __future__ import annotations

import os

from pipeline.benchmarks.decide import APPLIED, SYMBOLS, _cpu_seconds, _renamed
from pipeline.benchmarks.inputs import synthetic
from pipeline.wire import lines
from pipeline.wire.topics import partition_of


def test_lines_stand_under_another_symbol() -> None:
    """Line, stream name and frame agree on the symbol, and nothing of the old one is left."""
    rows = _renamed(synthetic(50).lines, "BTCUSDT", "LINKUSDT")

    assert {"LINKUSDT"} == {lines.decode(line).sym for _, line in rows}
    assert not any(b"BTCUSDT" in line or b"btcusdt" in line for _, line in rows)


def test_symbols_use_most_partitions() -> None:
    """A log in one partition would measure one partition."""
    assert len({partition_of(symbol) for symbol in SYMBOLS}) >= 5


def test_progress_is_read_from_the_metrics() -> None:
    """The counter of applied records, in the exposition's own words."""
    text = b'# HELP x\nperpguard_records_total{role="decide",verdict="applied"} 208.0\n'
    match = APPLIED.search(text)

    assert match is not None and 208.0 == float(match.group(1))


def test_own_process_has_used_some_cpu() -> None:
    """The share of a core comes from the operating system's own account."""
    assert _cpu_seconds(os.getpid()) > 0
