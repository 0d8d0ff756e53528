"""
The only place for the switch file: who may send to the venue from this machine, and in which trading state.

One small file beside the executor's data, ``switch.json``, written whole (temporary file, fsync, rename). The executor
claims it, ``perpguard kill`` seizes it; both raise its epoch. It works with Kafka and the pipeline dead, and it stays:
a state other than active outlives every restart and ends by ``resume`` only (domain 6.1).

* A living ``kill`` holds a shared flock on ``switch.lock``; the kernel lets go of it when the process dies, so a killed
  kill blocks nobody. Locks for single writes are waited for a moment only: a process frozen within one must not stop a
  kill, and a file that is replaced whole is never half written.
* The executor asks ``permission()`` before each request. That is one ``stat`` unless the file has changed. What an
  executor has written within the pause between this look and the socket is refused by the venue, as with its lease:
  the timestamp is older than the look (``execution.lease``, rule 5). ``kill`` waits that long before it says flat.
* A file that cannot be read means HALTED: entries stop, reducing goes on.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import IO, Final

import msgspec

from pipeline.core.events import TradingMode
from pipeline.core.units import Milliseconds

FILE: Final = "switch.json"
LOCK: Final = "switch.lock"
GUARD: Final = "switch.guard"
GUARD_SECONDS: Final = 0.2
KILL: Final = "kill-"  # holders that begin so are kills
UNREADABLE: Final = "the switch file cannot be read"


class SwitchState(msgspec.Struct, frozen=True):
    """What the file says; ``holder`` is the executor or kill that wrote last, "" after a kill has ended."""

    epoch: int = 0
    mode: TradingMode = TradingMode.ACTIVE
    holder: str = ""
    reason: str = ""
    at_ms: Milliseconds = Milliseconds(0)


class Permission(Enum):
    """What the asker may send now."""

    ALL = "all"
    REDUCE = "reduce"  # nothing that can add to a position
    NOTHING = "nothing"


class StillKilling(Exception):
    """A kill is running on this machine; its name is the argument."""


_decoder: Final = msgspec.json.Decoder(SwitchState)


class Switch:
    """The switch of one data directory, as the process *name* sees it."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._path = directory / FILE
        self.name = name
        self._stamp: tuple[int, int, int] | None = (-1, -1, -1)
        self.state = SwitchState()
        self._instead = ""  # the holder whose place could not be taken because the disk refuses writes
        self._lock: IO[bytes] | None = None

    # ---- reading

    def look(self) -> SwitchState:
        """The state, read again only if the file is another one than last time."""
        stamp = _stamp_of(self._path)
        if stamp != self._stamp:
            self.state = self._read()
            self._stamp = stamp
        return self.state

    def permission(self) -> Permission:
        """What this process may send now; a file that nobody holds (a kill has ended) binds by its state alone."""
        state = self.look()
        if state.holder not in (self.name, "", self._instead):
            return Permission.NOTHING
        return Permission.ALL if state.mode is TradingMode.ACTIVE else Permission.REDUCE

    def killing(self) -> bool:
        """True while a living kill holds the file."""
        if not self.look().holder.startswith(KILL):
            return False
        try:
            with (self._directory / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no such directory any more: nobody can hold anything there
            return False
        return False

    def _read(self) -> SwitchState:
        try:
            return _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            return SwitchState()
        except (OSError, msgspec.DecodeError) as error:
            # The epoch goes on from the clock, so that it still grows whatever stood there.
            now = Milliseconds(time.time_ns() // 1_000_000)
            return SwitchState(now, TradingMode.HALTED, "", f"{UNREADABLE}: {error}", now)

    # ---- writing

    def claim(self) -> bool:
        """
        Take the file over for this executor, its state as it was; False while a kill holds it.

        Raises OSError if it cannot be written (disk full): the state binds as if it had been taken, and protecting goes
        on. The lease in the log says which of two executors acts.
        """
        if self.killing():
            return False
        try:
            with self._writing():
                state = self.look()
                self._write(msgspec.structs.replace(state, epoch=state.epoch + 1, holder=self.name))
        except OSError:
            holder = self.look().holder
            self._instead = "" if self.killing() else holder
            raise
        return True

    def seize(self, mode: TradingMode, reason: str) -> SwitchState:
        """Take the file from whoever holds it and set the state; held until ``release`` or the end of the process."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self._directory / LOCK).open("ab")
        _lock_soon(self._lock, fcntl.LOCK_SH)  # only a look of ``killing`` can be in the way, for microseconds
        with self._writing():
            before = self.look()
            stricter = mode if _STRICTNESS[mode] >= _STRICTNESS[before.mode] else before.mode
            self._write(SwitchState(before.epoch + 1, stricter, self.name, reason, _now()))
        return self.state

    def release(self) -> None:
        """End of a kill: the state stays, the executor may reduce again."""
        with self._writing():
            state = self.look()
            if state.holder == self.name:
                self._write(msgspec.structs.replace(state, epoch=state.epoch + 1, holder="", at_ms=_now()))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def resume(self, reason: str) -> SwitchState:
        """Set the state to active again, for whoever holds the file. Raises StillKilling."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._writing():
            if self.killing():
                raise StillKilling(self.state.holder)
            state = self.look()
            holder = "" if state.holder.startswith(KILL) else state.holder
            self._write(SwitchState(state.epoch + 1, TradingMode.ACTIVE, holder, reason, _now()))
        return self.state

    def _write(self, state: SwitchState) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self.state, self._stamp = state, _stamp_of(self._path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time, except that nobody waits longer than a moment for one that is frozen."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / GUARD).open("ab") as guard:
            _lock_soon(guard, fcntl.LOCK_EX)
            yield


_STRICTNESS: Final = {TradingMode.ACTIVE: 0, TradingMode.REDUCE_ONLY: 1, TradingMode.HALTED: 2}


def _lock_soon(file: IO[bytes], kind: int) -> None:
    """Take a flock, or go on without it after a moment."""
    until = time.monotonic() + GUARD_SECONDS
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return
            time.sleep(0.005)
        else:
            return


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError:
        return (-2, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _now() -> Milliseconds:
    return Milliseconds(time.time_ns() // 1_000_000)
