"""The only place where the tests of the audit get a log from: whole positions, as entries of a source."""

from __future__ import annotations

from functools import lru_cache

from pipeline.audit.replay import Replay, Result
from pipeline.audit.sources import Entry
from pipeline.benchmarks.life import ENDINGS, Life
from pipeline.core.events import Side
from pipeline.wire.outputs import records_of, seal_record
from pipeline.wire.topics import ANCHORS, DECISIONS, INPUTS, partition_of

SYMBOL = "BTCUSDT"
PARTITION = partition_of(SYMBOL)
IDENTITY = "abcdefg"
FOLD = "f"


@lru_cache(maxsize=1)
def life() -> Life:
    """Every way to end, of either side: over a thousand decisions of every exit rule, sealed to the last record."""
    grown = Life(fold=FOLD)
    for ending in ENDINGS:
        for side in Side:
            grown.live_and_die(side, ending)
    last = grown.fold.seal()
    assert last is not None
    grown.seals.append(last)
    return grown


def entries() -> list[Entry]:
    """The log of ``life`` as a source gives it: seals, decisions, inputs."""
    return list(_entries())


@lru_cache(maxsize=1)
def _entries() -> list[Entry]:
    grown = life()
    said = [("anchors", seal_record(seal).value) for seal in grown.seals]
    said += [(DECISIONS.name, records_of(decision, IDENTITY)[-1].value) for decision in grown.decisions]
    rows = []
    counts: dict[str, int] = {}
    for topic, value in said:
        offset = counts[topic] = counts.get(topic, -1) + 1
        rows.append(Entry(topic, PARTITION, offset, 0, b"", value))
    rows += [
        Entry(INPUTS.name, PARTITION, offset, record.append_ms, None, record.value)
        for offset, record in enumerate(grown.records)
    ]
    assert ANCHORS.name == "anchors"
    return rows


def replayed(rows: list[Entry], **changes: object) -> Result:
    """The verdict over a log."""
    arguments: dict[str, object] = {"log_identity": IDENTITY, "fold": FOLD, "universe": {SYMBOL}}
    run = Replay(**(arguments | changes))  # type: ignore[arg-type]
    for row in rows:
        run.feed(row)
    return run.finish()
