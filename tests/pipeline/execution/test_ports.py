"""The machine's clocks: Unix time and time since boot, neither of which runs back."""

from __future__ import annotations

import time

from pipeline.execution.ports import SystemClock


def test_unix_time_starts_at_the_wall_clock_and_follows_the_boot_clock() -> None:
    """Both clocks advance by the same amount, whatever happens to the wall clock meanwhile."""
    clock = SystemClock()
    before = (clock.now_ms(), clock.boot_ms())
    distance = before[0] - before[1]
    after = (clock.now_ms(), clock.boot_ms())

    assert abs(time.time_ns() // 1_000_000 - before[0]) < 60_000
    assert abs((after[0] - after[1]) - distance) <= 1
    assert after >= before
