"""
The only place that names the version of the fold: a digest over the code that decides and the configuration.

Manifests, intents and decisions carry it (architecture 2.3). Two workers with one digest decide alike; a worker takes
over the manifest of another digest only when it is clean. The digest is over source bytes, so a changed comment is
another fold: that is one refusal too many now and then, never one too few.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent.parent
# What a decision can depend on: the whole core, the road from a line to an event, and the shape of the records.
DECIDING: Final = (
    "core/**/*.py",
    "binance/payloads.py",
    "binance/numbers.py",
    "binance/answers.py",
    "binance/decode.py",
    "binance/fold.py",
    "binance/line_events.py",
    "binance/account_fold.py",
    "wire/lines.py",
    "wire/records.py",
    "wire/topics.py",
)


def deciding_files(package: Path = PACKAGE) -> list[Path]:
    """Every source file that the digest covers, in the order of their names."""
    return sorted(path for pattern in DECIDING for path in package.glob(pattern))


def fold_digest(configuration: bytes, *, package: Path = PACKAGE) -> str:
    """16 hex digits over the deciding sources and *configuration* (``settings.config_digest``, plug-ins)."""
    return digest_of(
        [(str(path.relative_to(package)), path.read_bytes()) for path in deciding_files(package)], configuration
    )


def digest_of(sources: Iterable[tuple[str, bytes]], configuration: bytes) -> str:
    """The digest of named sources: each part is written with its length, so no two lists can give the same bytes."""
    hasher = blake2b(digest_size=8)
    for name, body in [*sources, ("", configuration)]:
        hasher.update(b"%d:%b%d:%b" % (len(name.encode()), name.encode(), len(body), body))
    return hasher.hexdigest()
