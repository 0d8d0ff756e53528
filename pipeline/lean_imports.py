"""
The only place that keeps what a worker never uses out of its start: modules that libraries load only if they are there.

A killed executor must cover a position within 5 s (P3), and most of its start is imports. structlog loads rich to
colour tracebacks that a worker writes as JSON, httpx loads rich, pygments and click for a command line of its own:
0.2 s of 1.5 s CPU, three times that on a busy machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let imports in the body find that *names* are not installed; modules loaded before stay as they are."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # None is how Python is told that there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
