"""The only place for the small fold that the integration tests run instead of the real one: it counts and sums lines.

A line is ``<symbol> <number>``. Each fifth line of a symbol leads to an intent whose id is its place in the log and
whose value is a chain over everything the symbol has seen: a line missed, repeated or swapped shows in every later one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from pipeline.streaming.folding import View
from pipeline.streaming.guard import Position
from pipeline.wire import topics
from pipeline.wire.outputs import Outgoing
from pipeline.wire.records import Manifest

EVERY = 5


class Counted(msgspec.Struct):
    """State of one symbol."""

    applied: Position = (-1, -1)
    lines: int = 0
    chain: bytes = b""


class Intent(msgspec.Struct, frozen=True):
    """What a fifth line leads to."""

    id: str
    chain: bytes


class CountingFold:
    """A ``Folding`` of one partition."""

    def __init__(self, partition: int, log_identity: str) -> None:
        self.fold = os.environ.get("COUNTING_FOLD", "counting-1")
        self._poison = os.environ.get("COUNTING_POISON", "").encode()
        self._partition = partition
        self._log_identity = log_identity
        self._states: dict[str, Counted] = {}

    def restore(self, key: str, image: bytes) -> Position:
        """Take over a stored state."""
        self._states[key] = msgspec.msgpack.decode(image, type=Counted)
        return self._states[key].applied

    def presses(self, value: bytes) -> bool:
        """One state: nothing overtakes."""
        return False

    def start(self, offset: int) -> None:
        """Nothing is kept beside the states."""

    def apply(self, *, offset: int, append_ms: int, value: bytes) -> list[Outgoing]:
        """Fold the lines of one record."""
        outputs = []
        for number, line in enumerate(value.split(b"\n")):
            symbol = line.split(b" ", 1)[0].decode()
            if symbol == "*":
                continue  # ticks
            if line == self._poison:
                raise ValueError("poison")
            state = self._states.setdefault(symbol, Counted())
            if (offset, number) <= state.applied:
                continue
            state.applied = (offset, number)
            state.lines += 1
            state.chain = blake2b(state.chain + line, digest_size=16).digest()
            if state.lines % EVERY == 0:
                intent = Intent(id=f"{self._log_identity}.{self._partition}.{offset}.{number}", chain=state.chain)
                outputs.append(
                    Outgoing(
                        topic=topics.INTENTS, partition=None, key=symbol.encode(), value=msgspec.json.encode(intent)
                    )
                )
        return outputs

    def declare_gap(self, *, offset: int, lost: int) -> list[Outgoing]:
        """Say so."""
        intent = Intent(id=f"gap.{self._partition}.{offset}.{lost}", chain=b"")
        return [Outgoing(topic=topics.INTENTS, partition=None, key=b"gap", value=msgspec.json.encode(intent))]

    def applied(self) -> Mapping[str, Position]:
        """The position of every symbol."""
        return {symbol: state.applied for symbol, state in self._states.items()}

    def image(self, key: str) -> bytes:
        """The stored form."""
        return msgspec.msgpack.encode(self._states[key])

    def seal(self) -> list[Outgoing]:
        """Nothing to seal."""
        return []

    def anchor(self, manifest: Manifest, *, at_ms: int) -> list[Outgoing]:
        """No anchors."""
        return []

    def views(self, *, now_ms: int) -> Iterable[View]:
        """No views."""
        return ()
