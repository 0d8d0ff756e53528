"""
The only place for virtual time: an event loop that never waits, and the clocks that follow it.

Whenever nothing is ready the loop jumps to its next timer, so hours pass in seconds and the same calls give the same
order. Time is counted in whole microseconds; a loop that has neither work nor timer is stuck for ever and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

import structlog

from pipeline.virtual.processes import current, task_factory

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

START_MS: Final = 1_790_771_372_000  # 2026-09-30T12:02:52Z: an instant like any other
BOOTED_MS: Final = 1_000_000
THREAD_SECONDS: Final = 0.002  # a small file written and synchronised to the disk
MICROSECONDS: Final = 1_000_000
BEHIND: Final = 2.0 / MICROSECONDS  # timers of one instant have no order: what must come later comes this much later


class Stuck(Exception):
    """Nothing is ready and no timer runs: whoever is awaited will never come."""


class _Jump:
    """Stands where an event loop has its selector: instead of waiting, time passes."""

    def __init__(self, passed: Callable[[float | None], None]) -> None:
        self._passed = passed

    def select(self, timeout: float | None = None) -> list[Any]:  # Any: a selector's events; there are none
        self._passed(timeout)
        return []

    def close(self) -> None:
        """Nothing was opened."""


class VirtualLoop(asyncio.BaseEventLoop):
    """
    A loop whose ``time()`` starts at 0 and jumps; no sockets, threads or signals.

    Work for threads (``run_in_executor``, ``asyncio.to_thread``) is done ``THREAD_SECONDS`` later, unless the process
    that asked for it is dead by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._microseconds = 0
        self._selector = _Jump(self._pass)
        self._clock_resolution = 1.0 / MICROSECONDS
        self.set_task_factory(task_factory)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._microseconds / MICROSECONDS

    @property
    def passed_us(self) -> int:
        """Virtual microseconds since the loop was made."""
        return self._microseconds

    def _pass(self, timeout: float | None) -> None:
        if timeout is None:
            raise Stuck(f"at {self.time():.6f} s")
        # Rounded up: a timer between two microseconds must not be looked at for ever.
        self._microseconds += max(0, -int(-timeout * MICROSECONDS // 1))

    def _process_events(self, event_list: list[Any]) -> None:
        """No selector, no events."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, nobody is to be woken."""

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Arguments]], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:  # Any: no executor is ever used
        """Do the work a little later."""
        future: asyncio.Future[Result] = self.create_future()
        process = current()

        def work() -> None:
            if future.done() or (process is not None and process.dead):
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - a thread's exception belongs to whoever awaits it
                future.set_exception(error)

        self.call_later(THREAD_SECONDS, work)
        return future


class VirtualClock:
    """
    The clocks of one machine: ``execution.ports.Clock`` and the nanoseconds of the log's writers.

    *ahead_ms* is how far its wall clock is off; it does not touch the time since boot.
    """

    def __init__(self, loop: VirtualLoop, *, ahead_ms: int = 0) -> None:
        self._loop = loop
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        """Unix time in ms."""
        return START_MS + self.ahead_ms + self._loop.passed_us // 1_000

    def now_ns(self) -> int:
        """Unix time in ns."""
        return (START_MS + self.ahead_ms) * 1_000_000 + self._loop.passed_us * 1_000

    def boot_ms(self) -> int:
        """Time since boot in ms."""
        return BOOTED_MS + self._loop.passed_us // 1_000


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """
    Run ``work(loop)`` in a loop of its own until it returns; whatever it left running is ended.

    Raises Stuck when everything waits for something that cannot come.
    """
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work(loop))
    finally:
        _end(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _end(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))


def _drop(*_: Any) -> Any:  # Any: a structlog processor
    raise structlog.DropEvent


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No log lines meanwhile: thousands of runs would write millions of them. What counts is in the log of Kafka."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        processors=[_drop],
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
