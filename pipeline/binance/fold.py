"""
The only place where records of ``inputs`` become decisions: one partition, all its symbols, whatever bytes come.

``PartitionFold`` owns the states of one partition. It reads lines, checks who wrote them, drops repeats, reports holes,
decodes frames and answers, and lets ``core.engine`` conclude. It does no I/O and reads no clock; the streaming runner
and the replay drive it alike.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from pipeline.core.commands import Decision
from pipeline.core.state import SymbolState
from pipeline.wire.records import Anchor, Manifest, QuarantineRecord, SegmentSealed


class Applied(msgspec.Struct):
    """
    What one record led to, in the order of its lines. ``sealed`` is set now and then (``PartitionFold.seal``).

    ``decisions`` go out by ``wire.outputs.records_of``, ``quarantined`` to ``quarantine``, ``sealed`` to ``anchors``.
    """

    decisions: list[Decision]
    quarantined: list[QuarantineRecord]
    sealed: SegmentSealed | None = None


class PartitionFold:
    """
    The fold of one partition. Life: ``resume(manifest)`` and ``load_state`` for each stored symbol, then
    ``apply_record`` for each record from ``next_offset`` on, without holes (the continuity guard holds them).

    ``dirty`` names the symbols that changed since ``take_dirty``. A checkpoint round is: ``seal()`` and its record,
    acknowledgement of all outputs, ``take_dirty()`` with ``encode_state`` of each, ``manifest()``.
    """

    def __init__(self, *, partition: int, log_identity: str, fold: str, universe: Container[str]) -> None:
        self.partition = partition
        self.log_identity = log_identity
        self.fold = fold
        self.states: dict[str, SymbolState] = {}
        self.next_offset = 0
        self.dirty: dict[str, None] = {}
        self._universe = universe

    def apply_record(self, *, offset: int, append_ms: int, value: bytes) -> Applied:
        """Fold one record; never raises for bad input. *append_ms* is the record's LogAppendTime."""
        raise AssertionError("skeleton")

    def encode_state(self, symbol: str) -> bytes:
        """The stored form of a symbol's state (table ``checkpoints``)."""
        raise AssertionError("skeleton")

    def load_state(self, symbol: str, data: bytes) -> tuple[int, int]:
        """Take a stored state; returns the (offset, line) it has applied. Raises msgspec.DecodeError."""
        raise AssertionError("skeleton")

    def resume(self, manifest: Manifest) -> int:
        """
        Go on behind *manifest*, once the states are loaded: returns and sets ``next_offset``.

        A stored state older than the manifest says (a frozen worker that woke up and wrote late) moves the start back
        to that state's own position; every other symbol skips what it has applied.
        """
        raise AssertionError("skeleton")

    def take_dirty(self) -> list[str]:
        """Symbols whose state changed since the last call, in the order of their first change."""
        raise AssertionError("skeleton")

    def manifest(self, *, clean: bool = False) -> Manifest:
        """The manifest of everything applied so far."""
        raise AssertionError("skeleton")

    def seal(self) -> SegmentSealed | None:
        """The digests of the records since the last seal, None when there are none; ask before each manifest."""
        raise AssertionError("skeleton")

    def anchor(self, *, at_ms: int) -> Anchor:
        """All states with their digests and the manifest (topic ``anchors``, hourly)."""
        raise AssertionError("skeleton")
