"""What the imports made is out of the collector's sight, and a whole walk is rare."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import gc
from pipeline import collector
before = gc.get_freeze_count()
collector.settle()
print(before, gc.get_freeze_count() > 1_000, gc.get_threshold() == (collector.YOUNG, collector.MIDDLE, collector.OLD))
"""


def test_a_process_that_settled_walks_only_what_came_later() -> None:
    """In a process of its own: the collector of the tests stays as it is."""
    said = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout

    assert "0 True True" == said.strip()
