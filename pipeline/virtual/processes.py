"""
The only place that makes tasks of one event loop behave as processes: killed, frozen, woken, at any await point.

A task created while a process runs belongs to it (by context variable). Each step of a task passes ``_Watched.send``:
a killed process runs not one instruction more, no ``finally`` included; a frozen one stands at its await points until
it is woken, and finds everything that happened meanwhile. The end of each step is an await point: it is counted, and a
``Trap`` may spring at one.
"""

from __future__ import annotations

import asyncio
import dis
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final

_CURRENT: Final[ContextVar[Process | None]] = ContextVar("process", default=None)

Site = tuple[str, str, int]  # (file, function, ordinal) of an await point: the how-manieth of its function, by lines


class Process:
    """
    One process: alive until it is killed; ``steps`` counts its await points.

    *trap*, while it is set, is called at each await point with the sites of ``watched``; it may kill or freeze.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.steps = 0
        self.trap: Callable[[list[Site]], None] | None = None
        self.watched: Watch | None = None
        self._thawed: asyncio.Event | None = None
        self._on_death: list[Callable[[], None]] = []
        self._tasks: list[_Watched] = []

    @property
    def frozen(self) -> bool:
        """It stands still."""
        return self._thawed is not None

    def spawn(self, work: Coroutine[Any, Any, None], name: str = "") -> asyncio.Task[None]:
        """Run *work* in this process."""
        token = _CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work, name=f"{self.name}: {name}")
        finally:
            _CURRENT.reset(token)

    def on_death(self, work: Callable[[], None]) -> None:
        """Call *work* when the process is killed: the world notices (a socket closes, a lease of a session ends)."""
        self._on_death.append(work)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs again."""
        if self.dead:
            return
        self.dead = True
        self.trap = None
        if self._thawed is not None:
            self._thawed.set()
        for work in self._on_death:
            work()

    def freeze(self) -> None:
        """SIGSTOP."""
        if self._thawed is None:
            self._thawed = asyncio.Event()

    def thaw(self) -> None:
        """SIGCONT."""
        thawed, self._thawed = self._thawed, None
        if thawed is not None:
            thawed.set()

    def bury(self) -> None:
        """Close what a killed process left suspended; call once nothing it could reach is looked at any more."""
        for watched in self._tasks:
            watched.bury()
        self._tasks.clear()


def current() -> Process | None:
    """The process whose instruction runs now; None for the world itself."""
    return _CURRENT.get()


class Watch:
    """The await points of some modules: ``sites`` lists them all, ``where`` tells at which a suspended task stands."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._names: dict[tuple[str, str, int], Site] = {}  # (path, function, line) →
        self._files: frozenset[str] = frozenset()
        for module in modules:
            assert module.__file__ is not None
            path = Path(module.__file__)
            self._files |= {module.__file__}
            found: dict[str, dict[int, None]] = {}
            for function, line in _sites(compile(path.read_bytes(), module.__file__, "exec")):
                found.setdefault(function, {})[line] = None
            for function, known in found.items():
                for ordinal, line in enumerate(sorted(known)):
                    site = (f"{path.parent.name}/{path.name}", function, ordinal)
                    self._names[module.__file__, function, line] = site
        self.sites: tuple[Site, ...] = tuple(sorted(self._names.values()))

    def where(self, inner: Any) -> list[Site]:  # Any: a coroutine, or what it awaits
        """Every await point of these modules at which a suspended coroutine stands, outermost first."""
        found: list[Site] = []
        while inner is not None:
            frame = getattr(inner, "cr_frame", None)
            if frame is not None and frame.f_code.co_filename in self._files:
                code = frame.f_code
                site = self._names.get((code.co_filename, code.co_qualname, frame.f_lineno))
                if site is not None:
                    found.append(site)
            inner = getattr(inner, "cr_await", None)
        return found


def _sites(code: CodeType) -> Iterator[tuple[str, int]]:
    """Function and line of every await point of a code object and those inside it."""
    if code.co_flags & inspect.CO_COROUTINE:
        for instruction in dis.get_instructions(code):
            if instruction.opname == "YIELD_VALUE" and instruction.positions is not None:
                line = instruction.positions.lineno
                if line is not None:
                    yield (code.co_qualname, line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _sites(constant)


class _Watched(Coroutine[Any, Any, Any]):
    """A coroutine of a process; what is sent into it while the process stands waits for its waking."""

    __slots__ = ("_inner", "_process", "_stalled")

    def __init__(self, inner: Coroutine[Any, Any, Any], process: Process) -> None:
        self._inner = inner
        self._process = process
        self._stalled: Generator[Any, None, Any] | None = None

    def send(self, value: Any) -> Any:  # Any: asyncio sends None and gets futures
        process = self._process
        if process.dead:
            raise asyncio.CancelledError
        if process._thawed is not None or self._stalled is not None:
            return self._stall(None)
        found = self._inner.send(value)
        process.steps += 1
        if process.trap is not None and process.watched is not None:
            sites = process.watched.where(self._inner)
            if sites:
                process.trap(sites)
        return found

    def throw(
        self,
        typ: Any,
        val: BaseException | object | None = None,
        tb: TracebackType | None = None,
    ) -> Any:  # Any: as Coroutine has it
        error = typ if isinstance(typ, BaseException) else typ()
        if self._process.dead:
            raise asyncio.CancelledError
        if self._process._thawed is not None or self._stalled is not None:
            return self._stall(error)
        found = self._inner.throw(error)
        self._process.steps += 1
        return found

    def _stall(self, error: BaseException | None) -> Any:  # Any: the future to wait for
        """Stand until the process is woken, then go on with what was to be sent or thrown."""
        if self._stalled is None:
            self._stalled = self._wait(error)
        try:
            return self._stalled.send(None)
        except StopIteration as ended:
            self._stalled = None
            thrown: BaseException | None = ended.value
            return self.send(None) if thrown is None else self.throw(thrown)

    def _wait(self, error: BaseException | None) -> Generator[Any, None, BaseException | None]:
        while (thawed := self._process._thawed) is not None:
            try:
                yield from thawed.wait().__await__()
            except asyncio.CancelledError as cancelled:
                error = cancelled
        return error

    def close(self) -> None:
        self._inner.close()

    def bury(self) -> None:
        """End a suspended coroutine without caring for what it says."""
        try:
            self._inner.close()
        except (RuntimeError, asyncio.CancelledError):
            return  # it tried to go on: it is dead

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


def task_factory(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:  # Any: the loop's own
    """Tasks of a process are watched; set it on the loop before the first process starts."""
    process = _CURRENT.get()
    if process is not None and isinstance(coro, Coroutine):
        watched = _Watched(coro, process)
        process._tasks.append(watched)
        coro = watched
    return asyncio.Task(coro, loop=loop, **options)
