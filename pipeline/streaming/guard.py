"""
The only place that decides whether a record may be folded: the continuity guard (architecture section 3, point 2).

Rules, pure and without a clock:

1. ``inputs`` is neither compacted nor transactional, so its offsets are dense and a partition has exactly one next
   offset. A lower one is skipped and acknowledged, a higher one is dropped without an acknowledgement and the next one
   is asked for again. Faust's order of delivery is not trusted: stock Faust skipped a record after a rebalance.
2. Records already fetched when we ask again still arrive, and each would be one more reason to ask; asking restarts
   the fetch. So after asking the guard waits for ``PATIENCE_MS`` before it asks once more.
3. Before the first record the manifest is held against the log (``where_to_start``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.wire.records import Manifest

PATIENCE_MS = 250
Position = tuple[int, int]  # (offset, line)

# ------------------------------------------------------------------------------------------------------- verdicts


class Apply(msgspec.Struct, frozen=True):
    """It is the next one: fold it."""


class Skip(msgspec.Struct, frozen=True):
    """It was folded before: acknowledge it and go on."""


class Drop(msgspec.Struct, frozen=True):
    """It came too early and the next one was asked for already: do not acknowledge it."""


class SeekTo(msgspec.Struct, frozen=True):
    """It came too early: do not acknowledge it, ask for *offset*."""

    offset: int


Verdict = Apply | Skip | Drop | SeekTo


class Continuity:
    """The next offset of one partition, and what was asked for."""

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self._asked_ms: int | None = None

    def judge(self, offset: int, *, now_ms: int) -> Verdict:
        """
        Say what to do with the record at *offset*; ``Apply`` advances the next offset.

        *now_ms* is any clock that only runs forward.
        """
        if offset < self.next_offset:
            return Skip()
        if offset == self.next_offset:
            self.next_offset += 1
            self._asked_ms = None
            return Apply()
        if self._asked_ms is not None and now_ms - self._asked_ms < PATIENCE_MS:
            return Drop()
        self._asked_ms = now_ms
        return SeekTo(self.next_offset)


# ------------------------------------------------------------------------------------------------ where to start


class StartAt(msgspec.Struct, frozen=True):
    """Fold from *offset*; with *lost* > 0 so many records are gone from the log and every symbol must resync."""

    offset: int
    lost: int = 0


class Refused(msgspec.Struct, frozen=True):
    """The partition must not be folded: *code* is the alert's and the runbook's name."""

    code: str
    reason: str


def where_to_start(
    manifest: Manifest | None,
    stored: Mapping[str, Position | None],
    *,
    log_identity: str,
    fold: str,
    begin: int,
    end: int,
) -> StartAt | Refused:
    """
    Hold the manifest against the log ``begin <= offset < end`` and say where to start.

    *stored* is the position each state of the manifest has applied (None: the state is missing). The group's committed
    offset is no part of this: it is only a hint.
    """
    if manifest is None:
        return StartAt(begin)
    if manifest.log_identity != log_identity:
        return Refused(
            "log_identity_changed",
            f"the states belong to log {manifest.log_identity}, the topics now are log {log_identity}",
        )
    if manifest.next_offset > end:
        return Refused("log_truncated", f"the states have applied up to {manifest.next_offset}, the log ends at {end}")
    if manifest.fold != fold and not manifest.clean:
        return Refused(
            "fold_changed_unclean",
            f"fold {manifest.fold} did not stop cleanly, and this is fold {fold}: let the old one finish first",
        )
    start = manifest.next_offset
    for symbol, (offset, line) in manifest.applied.items():
        position = stored.get(symbol)
        if position is None:
            start = min(start, begin)  # nothing of it is left: from the first line there is
        elif position < (offset, line):
            start = min(start, position[0] + 1)  # a frozen worker woke up and wrote an older state
    if manifest.fold != fold and start < manifest.next_offset:
        return Refused("fold_changed_unclean", f"a state of fold {manifest.fold} is older than its clean stop")
    if start < begin:
        return StartAt(begin, lost=begin - start)
    return StartAt(start)
