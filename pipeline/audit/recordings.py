"""
The only place that makes a log of a recording: the lines of ``perpguard record`` as records that a replay folds.

A recording has what the connector and a reader of snapshots wrote; there is no worker in it. So there are no decisions
to compare, and the ticks by which time passes are made here, at whole quarters of a second of receive time, the same
for the same files. What the fold then says (books, bars, scores) is what decide would have known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from connectors.binance_futures.recorder import line_files, whole_lines
from pipeline.audit.sources import Entry, SourceError
from pipeline.wire import lines
from pipeline.wire.topics import INPUT_PARTITIONS, INPUTS, partition_of

TICK_NS: Final = 250_000_000
PAUSE_NS: Final = 60_000_000_000
RECORD_LINES: Final = 200
TURNS: Final = 4  # symbols a tick and partition whose scores are computed
TICKER: Final = "decide/recording"


def is_recording(path: Path) -> bool:
    """True for a directory that ``perpguard record`` wrote."""
    return path.is_dir() and bool(line_files(path))


class RecordingSource:
    """The log of a recording, read as ``DumpSource`` is. Raises SourceError for a directory without lines."""

    def __init__(self, directory: Path) -> None:
        self._files = line_files(directory) if directory.is_dir() else []
        if not self._files:
            raise SourceError(f"no recording (lines-*.jsonl.gz) in {directory}")
        self.log_identity = f"recording {self._files[0].name.split('-')[1].split('.')[0]}"
        self.symbols = self._symbols()

    def _symbols(self) -> frozenset[str]:
        return frozenset(lines.decode(raw).sym for path in self._files for raw in whole_lines(path, []))

    def entries(self, partitions: Iterable[int] = range(INPUT_PARTITIONS)) -> Iterator[Entry]:
        """The records in the order of receiving, a tick of every partition in use between them."""
        wanted = frozenset(partitions)
        used: dict[int, list[str]] = {}
        for symbol in sorted(self.symbols):
            used.setdefault(partition_of(symbol), []).append(symbol)
        writers = {number: _Writer(number, used[number]) for number in sorted(used) if number in wanted}
        due = 0
        for path in self._files:
            for raw in whole_lines(path, []):
                line = lines.decode(raw)
                if not due:
                    due = line.at - line.at % TICK_NS + TICK_NS
                if line.at - due > PAUSE_NS:  # nobody recorded: time did not pass in small steps
                    due = line.at - line.at % TICK_NS
                while line.at >= due:
                    for writer in writers.values():
                        yield from writer.tick(due)
                    due += TICK_NS
                if (found := writers.get(partition_of(line.sym))) is not None:
                    yield from found.add(raw, line.at)
        for writer in writers.values():
            yield from writer.tick(due)


class _Writer:
    """The records of one partition."""

    def __init__(self, partition: int, symbols: list[str]) -> None:
        self._partition = partition
        self._symbols = symbols
        self._waiting: list[bytes] = []
        self._offset = self._ticks = 0

    def add(self, line: bytes, at_ns: int) -> Iterator[Entry]:
        self._waiting.append(line)
        if len(self._waiting) >= RECORD_LINES:
            yield self._record(at_ns)

    def tick(self, at_ns: int) -> Iterator[Entry]:
        """What waits, then a tick, in one record."""
        first = self._ticks * TURNS
        self._ticks += 1
        count = min(TURNS, len(self._symbols))
        turns = tuple(self._symbols[(first + place) % len(self._symbols)] for place in range(count))
        line = lines.Line(
            at=at_ns, src=TICKER, inc="1", n=self._ticks, sym=lines.EVERY_SYMBOL, tick=at_ns // 1_000_000, turns=turns
        )
        self._waiting.append(lines.encode(line))
        yield self._record(at_ns)

    def _record(self, at_ns: int) -> Entry:
        value = lines.join(self._waiting)
        self._waiting.clear()
        self._offset += 1
        return Entry(INPUTS.name, self._partition, self._offset - 1, at_ns // 1_000_000, None, value)
