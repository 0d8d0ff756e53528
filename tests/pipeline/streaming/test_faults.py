"""Anything unexpected in the shell ends the process with code 70, and runs nothing on the way out."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from pipeline.streaming.faults import EXIT_CODE, fatal

PROGRAM = """
import atexit
from pipeline.streaming.faults import fatal
atexit.register(print, "cleaned up")
with fatal("the test"):
    raise ValueError("broken")
print("went on")
"""


def test_exception_ends_the_process_at_once() -> None:
    """Exit code 70, the reason in the log, no clean-up and nothing behind it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert EXIT_CODE == done.returncode
    assert "broken" in done.stdout + done.stderr
    assert "cleaned up" not in done.stdout and "went on" not in done.stdout


def test_cancellation_is_a_normal_stop() -> None:
    """A task that is cancelled leaves the body as any other."""
    with pytest.raises(asyncio.CancelledError), fatal("the test"):
        raise asyncio.CancelledError
