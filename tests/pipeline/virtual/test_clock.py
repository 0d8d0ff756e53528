"""Virtual time: it jumps to the next timer, keeps the order of instants, and says when nobody will ever wake."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline.virtual.clock import BEHIND, START_MS, Stuck, VirtualClock, VirtualLoop, run, silence


def test_hours_pass_without_waiting() -> None:
    """Sleeping costs no real time, and both clocks show what passed."""

    async def sleep(loop: VirtualLoop) -> tuple[float, int, int]:
        clock = VirtualClock(loop, ahead_ms=250)
        boot_ms = clock.boot_ms()
        await asyncio.sleep(36_000)
        return loop.time(), clock.now_ms(), clock.boot_ms() - boot_ms

    began = time.process_time()

    assert (36_000.0, START_MS + 36_000_250, 36_000_000) == run(sleep)
    assert time.process_time() - began < 5.0


def test_timers_ring_in_their_order() -> None:
    """What comes ``BEHIND`` another comes after it; everything of an earlier instant comes before."""

    async def ring(loop: VirtualLoop) -> list[int]:
        rung: list[int] = []
        for number in (3, 1, 2):
            loop.call_at(1.0 + number * BEHIND, rung.append, number)
        loop.call_at(0.5, rung.append, 0)
        await asyncio.sleep(2)
        return rung

    assert [0, 1, 2, 3] == run(ring)


def test_a_loop_in_which_nobody_will_wake_says_so() -> None:
    """No ready task and no timer: an error instead of a hang."""

    async def wait(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(wait)


def test_a_timeout_and_a_thread_work_as_on_a_real_loop() -> None:
    """``asyncio.timeout`` fires, ``asyncio.to_thread`` returns the result or raises the exception."""

    async def main(_: VirtualLoop) -> tuple[bool, int, str]:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(5)
        except TimeoutError:
            fired = True
        answer = await asyncio.to_thread(lambda: 42)
        try:
            await asyncio.to_thread(int, "x")
        except ValueError as error:
            return fired, answer, type(error).__name__
        return fired, answer, ""

    with silence():
        assert (True, 42, "ValueError") == run(main)
