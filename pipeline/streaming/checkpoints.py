"""
The only place that decides what a checkpoint round holds, and in which order it becomes durable.

A round belongs to one partition and is taken between two records. Its states and its manifest are written to one
table, hence one changelog partition, hence in this order. Rolling: a round writes at most ``STATES_PER_ROUND`` states,
the longest unwritten first; its manifest says where folding must start again so that nothing is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from pipeline.streaming.guard import Position
from pipeline.wire.records import Manifest

ROUND_MS: Final = 1_000
ROUND_RECORDS: Final = 2_000
# A write costs Faust's loop 0.3 ms, whatever its size, and folding again costs 10 µs a line: 25 symbols a partition are
# written in six seconds, and a kill folds those six seconds again in a fraction of one.
STATES_PER_ROUND: Final = 4
MANIFEST_KEY: Final = "manifest"


class Step(Enum):
    """What a round does; each step ends when its effect is durable."""

    OUTPUTS = "wait for the acknowledgement of every output so far"
    STATES = "write the states"
    MANIFEST = "write the manifest"
    CHANGELOG = "wait for the acknowledgement of these writes"
    ACKNOWLEDGE = "acknowledge the covered records to Kafka"


# Never the other way round (architecture section 3, point 4): a state that is durable before its outputs would lose
# them in a crash, an acknowledged record whose state is not durable would be lost itself.
ORDER_OF_DURABILITY: Final = (Step.OUTPUTS, Step.STATES, Step.MANIFEST, Step.CHANGELOG, Step.ACKNOWLEDGE)


class Plan(msgspec.Struct, frozen=True):
    """One round: the states to write, then the manifest; records below ``manifest.next_offset`` are covered."""

    keys: tuple[str, ...]
    manifest: Manifest


class Ledger:
    """
    What is stored of one partition, and when the next round is due.

    Rounds keep to a grid of ``ROUND_MS`` that begins *phase_ms* late: partitions with different phases never take
    theirs together, and none drifts to the moment of a second in which the venue sends the mark prices of all symbols.
    """

    def __init__(self, stored: Mapping[str, Position], *, now_ms: int, phase_ms: int = 0) -> None:
        self._stored = dict(stored)
        self._due_ms = now_ms + ROUND_MS + phase_ms
        self._records = 0

    def count(self) -> None:
        """One more record was applied."""
        self._records += 1

    def due(self, *, now_ms: int) -> bool:
        """True when a round should be taken: something was applied and a second or 2,000 records have passed."""
        return self._records > 0 and (now_ms >= self._due_ms or self._records >= ROUND_RECORDS)

    def plan(
        self,
        *,
        applied: Mapping[str, Position],
        next_offset: int,
        log_identity: str,
        fold: str,
        partition: int,
        now_ms: int,
        clean: bool = False,
    ) -> Plan:
        """
        Take a round: *applied* is the position of every state in memory, *next_offset* the first record not applied.

        A clean round writes every changed state. Others write those never written, then the longest unwritten.
        """
        changed = [key for key, position in applied.items() if self._stored.get(key) != position]
        fresh = [key for key in changed if key not in self._stored]
        older = sorted((key for key in changed if key in self._stored), key=self._stored.__getitem__)
        room = len(older) if clean else max(STATES_PER_ROUND - len(fresh), 1)
        keys = (*fresh, *older[:room])
        waiting = older[room:]
        start = min([next_offset, *(self._stored[key][0] + 1 for key in waiting)])
        manifest = Manifest(
            log_identity=log_identity,
            fold=fold,
            partition=partition,
            next_offset=start,
            applied={key: applied[key] if key not in waiting else self._stored[key] for key in applied},
            clean=clean,
        )
        self._stored.update((key, applied[key]) for key in keys)
        if now_ms >= self._due_ms:
            self._due_ms += (now_ms - self._due_ms) // ROUND_MS * ROUND_MS + ROUND_MS
        self._records = 0
        return Plan(keys, manifest)
