"""
The only place that keeps what seeds of virtual chaos showed in a file: a long run can be broken off and gone on with.

The first line names the code and the transport; what another code showed says nothing about this one and is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

Seen = TypeVar("Seen", bound=msgspec.Struct)
ROOT = Path(__file__).resolve().parents[2]
CODE = ("pipeline", "connectors/exchange_simulator")


class _Head(msgspec.Struct, frozen=True):
    code: str
    transport: str


def code_name(root: Path = ROOT) -> str:
    """A digest of every source file that a run may execute."""
    digest = blake2b(digest_size=16)
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Kept(Generic[Seen]):
    """What is in *path* of this code, by seed; ``add`` appends to it. *kind* has a field ``seed``."""

    def __init__(self, path: Path, kind: type[Seen], *, transport: str, code: str) -> None:
        self._path = path
        self.known: dict[int, Seen] = {}
        head = _Head(code, transport)
        lines = path.read_bytes().splitlines() if path.exists() else []
        if not lines or lines[0] != msgspec.json.encode(head):
            path.write_bytes(msgspec.json.encode(head) + b"\n")
            return
        for line in lines[1:]:
            try:
                seen = msgspec.json.decode(line, type=kind)
            except msgspec.DecodeError:
                continue  # the run was broken off while it wrote this line
            self.known[seen.seed] = seen  # type: ignore[attr-defined]

    def add(self, every: Sequence[Seen]) -> None:
        """Append what some seeds showed."""
        with self._path.open("ab") as file:
            for seen in every:
                file.write(msgspec.json.encode(seen) + b"\n")
