"""The lines of benchmarks are lines of ours: the fold takes every one, made up or recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.benchmarks import inputs
from pipeline.benchmarks.inputs import CONNECTOR, LineWriter, batches
from pipeline.binance.fold import PartitionFold
from pipeline.core.state import SymbolState
from pipeline.wire import lines
from tests.data import require


def folded(source: inputs.Inputs) -> SymbolState:
    fold = PartitionFold(partition=source.partition, log_identity="abcdefg", fold="f", universe={source.symbol})
    for offset, record in enumerate(source.records(7)):
        applied = fold.apply_record(offset=offset, append_ms=record.append_ms, value=record.value)
        assert [] == applied.quarantined
    assert len(source.lines) == fold.lines
    return fold.states[source.symbol]


def test_made_up_frames_keep_a_whole_book() -> None:
    """Diffs chain, nothing crosses, and the same seed gives the same bytes."""
    source = inputs.synthetic(3_000)

    state = folded(source)

    assert state.book.whole
    assert {} == state.feeds
    assert source.lines == inputs.synthetic(3_000).lines != inputs.synthetic(3_000, seed=2).lines
    assert 68 == max(frame.count(b'],["') + 2 for frame in source.frames)


def test_a_recording_begins_with_its_instrument() -> None:
    """Frames stand in the lines untouched; the REST answer is an answer line."""
    source = inputs.recording(require(inputs.RECORDING), limit=300)

    state = folded(source)

    assert state.book.whole
    assert 299 == len(source.frames)
    assert source.frames[0] in source.lines[1][1]


def test_a_writer_numbers_each_source_for_itself() -> None:
    """Numbers count per source and symbol, and start anew with an incarnation."""
    writer = LineWriter()
    for symbol in ("A", "A", "B"):
        writer.frame(symbol, 5, b"{}")
    writer.restart("2")
    writer.frame("A", 6, b"{}")

    read = [lines.decode(line) for _, line in writer.rows]
    assert [(1, "1"), (2, "1"), (1, "1"), (1, "2")] == [(line.n, line.inc) for line in read]
    assert {CONNECTOR} == {line.src for line in read}
    assert [3, 1] == [len(lines.split(record.value)) for record in batches(writer.rows, 3)]


def test_without_recordings_frames_are_made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the name says so."""
    monkeypatch.setenv("PERPGUARD_DATA", str(tmp_path))

    assert "synthetic seed 1" == inputs.best_available(quick=True).name
