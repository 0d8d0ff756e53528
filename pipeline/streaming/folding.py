"""The only place for what the runner asks of a fold: decide and account give it, tests give a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from pipeline.streaming.guard import Position
from pipeline.wire.outputs import Outgoing
from pipeline.wire.records import Manifest


class View(msgspec.Struct, frozen=True):
    """One row of a view table (``prices``, ``books``, ``factors``, ``positions``); ``value`` None removes it."""

    table: str
    key: str
    value: bytes | None


class Folding(Protocol):
    """
    The fold of one partition in memory. Everything is synchronous and happens between two records.

    ``fold`` is the digest of the code and configuration that decide (manifests and decisions carry it).
    """

    fold: str

    def restore(self, key: str, image: bytes) -> Position:
        """Take over a stored state, return the position it has applied; raises msgspec.DecodeError for other bytes."""
        ...

    def apply(self, *, offset: int, append_ms: int, value: bytes) -> list[Outgoing]:
        """Fold one record and return what it led to, in the order it must be written; never raises for its content."""
        ...

    def presses(self, value: bytes) -> bool:
        """Whether a record of this content should be folded before those of other partitions."""
        ...

    def start(self, offset: int) -> None:
        """The states are restored; the next record will be the one at *offset*."""
        ...

    def declare_gap(self, *, offset: int, lost: int) -> list[Outgoing]:
        """*lost* records before *offset* are gone from the log: close entries and ask for everything anew."""
        ...

    def applied(self) -> Mapping[str, Position]:
        """The position of every state."""
        ...

    def image(self, key: str) -> bytes:
        """The bytes of a state as they are stored."""
        ...

    def seal(self) -> list[Outgoing]:
        """Records that must be in the log before a manifest that covers everything applied so far."""
        ...

    def anchor(self, manifest: Manifest, *, at_ms: int) -> list[Outgoing]:
        """All states as a record where a replay may start (hourly)."""
        ...

    def views(self, *, now_ms: int) -> Iterable[View]:
        """The rows of the view tables that are due (architecture 2.3)."""
        ...


MakeFolding = Callable[[int, str], Folding]  # (partition, log identity) → an empty fold
