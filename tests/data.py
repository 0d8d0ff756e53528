"""The only place where tests find recorded market data: ``PERPGUARD_DATA``, else ``../shared/data`` beside the repo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def directory() -> Path:
    """Return the directory of recordings, whether it exists or not."""
    configured = os.environ.get("PERPGUARD_DATA")
    return Path(configured) if configured else REPOSITORY.parent / "shared" / "data"


def require(path: str) -> Path:
    """
    Return the recording at *path* below the data directory, or skip the test and say what was missing.

    The recordings are too large for the repository; a run without them must show which tests it went without.
    """
    found = directory() / path
    if not found.exists():
        pytest.skip(f"no recording at {found}: set PERPGUARD_DATA to the directory that holds {path}")
    return found
