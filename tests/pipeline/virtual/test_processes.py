"""Processes of one loop: killed without a last word, frozen at an await point, trapped at the one that was named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType

from pipeline.execution import lease, sender
from pipeline.virtual.clock import VirtualLoop, run
from pipeline.virtual.processes import Process, Site, Watch
from tests.pipeline.virtual import test_processes


async def count(into: list[str], *, beats: int = 5) -> None:
    """Beat once a second, and have a last word."""
    try:
        for beat in range(beats):
            await asyncio.sleep(1)
            into.append(f"{beat}")
    finally:
        into.append("last word")


def ran(act: Callable[[VirtualLoop, Process, list[str]], Awaitable[None]]) -> list[str]:
    """What a counting process said while *act* happened to it."""
    said: list[str] = []

    async def main(loop: VirtualLoop) -> None:
        process = Process("counter")
        process.spawn(count(said))
        await act(loop, process, said)

    run(main)
    return said


def test_a_killed_process_runs_not_one_instruction_more() -> None:
    """Neither its next step nor its ``finally``: what it left is closed when it is buried."""

    async def kill(_: VirtualLoop, process: Process, said: list[str]) -> None:
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(10)
        assert ["0", "1"] == said
        process.bury()

    assert ["0", "1", "last word"] == ran(kill)


def test_a_frozen_process_goes_on_where_it_stood() -> None:
    """Its sleep ended meanwhile; it notices when it is woken, and its own time goes on from there."""

    async def freeze(loop: VirtualLoop, process: Process, said: list[str]) -> None:
        await asyncio.sleep(1.5)
        process.freeze()
        await asyncio.sleep(8)
        assert ["0"] == said
        process.thaw()
        await asyncio.sleep(0)
        await asyncio.sleep(0.0001)
        assert ["0", "1"] == said
        await asyncio.sleep(10)
        assert 19.0 < loop.time() < 20.0

    assert ["0", "1", "2", "3", "4", "last word"] == ran(freeze)


def test_a_cancelled_task_of_a_frozen_process_ends_when_it_is_woken() -> None:
    """The exception waits with it."""

    async def cancel(_: VirtualLoop, process: Process, said: list[str]) -> None:
        task = process.spawn(count(said, beats=1))
        await asyncio.sleep(0.5)
        process.freeze()
        task.cancel()
        await asyncio.sleep(1)
        assert [] == said
        process.thaw()
        await asyncio.sleep(0.1)
        assert task.cancelled()
        process.kill()

    assert ["0", "last word"] == sorted(ran(cancel))


def test_a_trap_springs_at_an_await_point_of_the_watched_modules() -> None:
    """The site is named by file, function and which await of the function it is."""
    watch = Watch([this_module()])
    sprung: list[list[Site]] = []

    async def trap(_: VirtualLoop, process: Process, said: list[str]) -> None:
        process.watched, process.trap = watch, sprung.append
        await asyncio.sleep(1.5)
        process.kill()

    ran(trap)

    assert [("virtual/test_processes.py", "count", 0)] == sprung[0]
    assert ("virtual/test_processes.py", "count", 0) in watch.sites


def this_module() -> ModuleType:
    """This file as a module."""
    return test_processes


def test_every_await_of_a_module_is_a_site() -> None:
    """The lease waits in four places, the sender writes ahead before it sends."""
    watch = Watch([lease, sender])
    functions = {function for _, function, _ in watch.sites}

    assert {"Lease.take", "Lease.renew", "Lease.give_up", "Sender._place_once", "Sender._exchange"} <= functions
    assert len(watch.sites) == len(set(watch.sites))
