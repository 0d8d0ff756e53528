"""
The only place where time runs faster in real processes: one clock that several of them share, and who moves it.

``python -m pipeline.hastened FILE SLOT -m MODULE [ARGUMENT]…`` (or ``-c CODE``) is a Python whose ``time`` and event
loop follow the clock in FILE. Processes, sockets, Kafka and files are what they always are; only hours pass in minutes.
The pacer moves the clock in small steps, and takes the next one when every process has been through a turn of its event
loop since the last: on a machine that is slow, busy or frozen, time waits for the work instead of running away from it.

What is not shown in hastened time is how long things take: a road that takes a millisecond looks *pace* times as long.
Rules in real time are nowhere read from here; ``perf_counter`` stays the machine's. Records carry the time of who sends
them (topics with CreateTime), for the broker's own clock runs as ever.
"""

from __future__ import annotations

import asyncio
import atexit
import mmap
import runpy
import selectors
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

SLOTS: Final = 16
NOW: Final = 0
PACE: Final = 1
FIRST_SLOT: Final = 2
WORD: Final = 8
SIZE: Final = (FIRST_SLOT + SLOTS) * WORD
STEP_SECONDS: Final = 0.001  # of the machine, between two moves of the clock
MOST_NS: Final = 100_000_000  # of the shared clock in one move, whatever the machine did meanwhile
NANOSECONDS: Final = 1_000_000_000
SHORTEST_WAIT: Final = 0.0005
SHARED: Final = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)
EXECUTABLE: Final = "pipeline.hastened"

_sleep, _monotonic_ns = time.sleep, time.monotonic_ns  # the machine's own


class SharedClock:
    """
    The words of the file: now in Unix nanoseconds, the pace, and a counter for each process.

    A counter is odd while its process waits in its event loop, even while it works, 0 without a process.
    """

    def __init__(self, path: Path) -> None:
        """Open the clock in *path*, which ``make`` has written."""
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        self._words = memoryview(self._map).cast("q")

    @classmethod
    def make(cls, path: Path, *, now_ns: int) -> SharedClock:
        """A new clock that stands at *now_ns*."""
        path.write_bytes(bytes(SIZE))
        clock = cls(path)
        clock._words[NOW] = now_ns
        clock.set_pace(1.0)
        return clock

    def now_ns(self) -> int:
        """Unix nanoseconds."""
        return self._words[NOW]

    @property
    def pace(self) -> float:
        """How many seconds may pass in one of the machine's."""
        return self._words[PACE] / 1_000

    def set_pace(self, pace: float) -> None:
        """From now on time may run so fast."""
        self._words[PACE] = round(pace * 1_000)

    def move(self, by_ns: int) -> None:
        """Let time pass; only one pacer may."""
        self._words[NOW] += by_ns

    def turn(self, slot: int) -> None:
        """The process in *slot* enters or leaves the wait of its event loop."""
        self._words[FIRST_SLOT + slot] += 1

    def take(self, slot: int) -> None:
        """A process has *slot* from now on; it works."""
        self._words[FIRST_SLOT + slot] = 2

    def free(self, slot: int) -> None:
        """Nobody has *slot* any more: nobody waits for it."""
        self._words[FIRST_SLOT + slot] = 0

    def turns(self) -> list[int]:
        """The counter of every slot."""
        return self._words[FIRST_SLOT : FIRST_SLOT + SLOTS].tolist()


class Pacer:
    """Moves a shared clock in a thread of its own until it is stopped."""

    def __init__(self, clock: SharedClock) -> None:
        self.clock = clock
        self.held_seconds = 0.0  # of the machine: time stood still because a process was at work
        self.waiting_for: list[int] = []
        self._seen = [0] * SLOTS
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def start(self) -> None:
        """Let time pass."""
        self._thread.start()

    def stop(self) -> None:
        """Let it stand still."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        last_ns = _monotonic_ns()
        while not self._ending.is_set():
            _sleep(STEP_SECONDS)
            now_ns = _monotonic_ns()
            passed_ns, last_ns = now_ns - last_ns, now_ns
            if not self.step(passed_ns):
                self.held_seconds += passed_ns / NANOSECONDS

    def step(self, passed_ns: int) -> bool:
        """Move the clock for *passed_ns* of the machine, unless a process has not had a turn; False: it waits."""
        turns = self.clock.turns()
        self.waiting_for = [
            slot
            for slot, (turn, seen) in enumerate(zip(turns, self._seen, strict=True))
            if turn and turn % 2 == 0 and turn == seen
        ]
        if self.waiting_for:
            return False
        self._seen = turns
        self.clock.move(min(MOST_NS, int(passed_ns * self.clock.pace)))
        return True


# ------------------------------------------------------------------------------------------- in a hastened process


def install(clock: SharedClock, slot: int | None) -> None:
    """
    From now on this process lives in the time of *clock*; the main thread's event loop counts its turns in *slot*.

    Must be called before anything that takes functions out of ``time`` is imported.
    """
    now_ns = clock.now_ns
    waiting = _told_waiting(clock, slot)

    def seconds() -> float:
        return now_ns() / NANOSECONDS

    def sleep(length: float) -> None:
        until = now_ns() + int(length * NANOSECONDS)
        with waiting():
            while (rest := until - now_ns()) > 0:
                _sleep(max(SHORTEST_WAIT, rest / NANOSECONDS / clock.pace))

    for name in ("time", "monotonic"):
        setattr(time, name, seconds)
    for name in ("time_ns", "monotonic_ns"):
        setattr(time, name, now_ns)
    of_thread, of_thread_ns = time.clock_gettime, time.clock_gettime_ns  # time that the processor was used
    time.clock_gettime = lambda which: seconds() if which in SHARED else of_thread(which)
    time.clock_gettime_ns = lambda which: now_ns() if which in SHARED else of_thread_ns(which)
    time.sleep = sleep  # type: ignore[assignment]
    _hasten_waits(clock, waiting)
    _without_uvloop()
    if slot is not None:
        clock.take(slot)
        atexit.register(clock.free, slot)


def _told_waiting(clock: SharedClock, slot: int | None) -> Callable[[], AbstractContextManager[None]]:
    """In its body the process waits: time need not wait for it. Of the main thread alone; others are not seen."""
    main = threading.main_thread().ident

    @contextmanager
    def waiting() -> Iterator[None]:
        if slot is None or threading.get_ident() != main:
            yield
            return
        clock.turn(slot)
        try:
            yield
        finally:
            clock.turn(slot)

    return waiting


def _hasten_waits(clock: SharedClock, waiting: Callable[[], AbstractContextManager[None]]) -> None:
    """An event loop waits for the shared clock, and tells when."""
    select = selectors.EpollSelector.select

    def waited(self: selectors.EpollSelector, timeout: float | None) -> list[Any]:  # Any: (key, events)
        if timeout is None or timeout <= 0:
            return select(self, timeout)
        until = clock.now_ns() + int(timeout * NANOSECONDS)
        while True:
            found = select(self, max(SHORTEST_WAIT, timeout / clock.pace))
            rest = until - clock.now_ns()
            if found or rest <= 0:
                return found
            timeout = rest / NANOSECONDS

    def told(self: selectors.EpollSelector, timeout: float | None = None) -> list[Any]:  # Any: (key, events)
        with waiting():
            return waited(self, timeout)

    selectors.EpollSelector.select = told  # type: ignore[method-assign,assignment]


def _without_uvloop() -> None:
    """Its loop waits in C for the machine's clock: Python's own takes its place."""
    stand_in = types.ModuleType("uvloop")
    for name, value in {
        "run": asyncio.run,
        "new_event_loop": asyncio.new_event_loop,
        "EventLoopPolicy": asyncio.DefaultEventLoopPolicy,
        "Loop": asyncio.SelectorEventLoop,
    }.items():
        setattr(stand_in, name, value)
    sys.modules["uvloop"] = stand_in


def stamp_records(now_ns: Callable[[], int]) -> None:
    """Kafka's client stamps a record in C; here it gets the shared time from its sender."""
    from aiokafka.producer.message_accumulator import BatchBuilder  # noqa: PLC0415 - after the clock is in

    append = BatchBuilder.append

    def stamped(self: Any, *, timestamp: int | None, key: Any, value: Any, headers: Sequence[Any] = ()) -> Any:
        at_ms = now_ns() // 1_000_000 if timestamp is None else timestamp
        return append(self, timestamp=at_ms, key=key, value=value, headers=list(headers))

    BatchBuilder.append = stamped


def hastened(command: Sequence[str], path: Path, slot: int | None) -> list[str]:
    """
    A command of this interpreter (``python -m …`` or ``python -c …``) in the time of the clock at *path*.

    Without a *slot* nobody waits for the process.
    """
    python, *rest = command
    return [python, "-m", EXECUTABLE, str(path), "-" if slot is None else str(slot), *rest]


def main(arguments: Sequence[str]) -> None:
    """Run what the arguments name as ``python`` would."""
    path, slot, how, what, *rest = arguments
    clock = SharedClock(Path(path))
    install(clock, None if slot == "-" else int(slot))
    stamp_records(clock.now_ns)
    sys.argv = [what if how == "-m" else how, *rest]
    sys.path.insert(0, "")
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})


if __name__ == "__main__":
    main(sys.argv[1:])
