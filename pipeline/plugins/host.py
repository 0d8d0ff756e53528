"""
The only place that keeps the processes of plug-ins: one each, one call at a time, ended when it overruns its budget.

Whatever a plug-in does, ``Host.ask`` returns an answer: what it said, or ``SaysFailed`` with one line for people. A
plug-in never waits for another: each has its own process and its own queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from pipeline.core.plugin_answers import Answer, PluginAnswered, SaysFailed
from pipeline.core.plugin_views import PluginView
from pipeline.core.policies import PluginRow
from pipeline.plugins.child import HEAD, MAX_FRAME, Call, Hello, frame

LOAD_SECONDS: Final = 15.0
STRIKES: Final = 3  # overruns or ends in a row after which the process is not started again
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
_decode_hello = msgspec.msgpack.Decoder(Hello).decode


class _Ended(Exception):
    """The child is gone or no longer makes sense; the text says how."""


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of our environment a plug-in sees: nothing of ours, so no key, no broker, no address."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PERPGUARD_")}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONHASHSEED": "0"}


class Child:
    """One plug-in in its process. ``row`` is the configuration's."""

    def __init__(self, row: PluginRow, directory: Path) -> None:
        self.row = row
        self.hello = Hello()
        self.starts = 0
        self.out_of_order = ""  # why it is not started any more
        self._directory = directory
        self._strikes = 0
        self._process: asyncio.subprocess.Process | None = None
        self.queue = asyncio.Lock()  # those who wait for their call, in their order
        self._turn = asyncio.Lock()
        self._coming: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process number while it runs."""
        return None if self._process is None else self._process.pid

    async def ready(self) -> None:
        """Start it if need be, so that the first call finds it warm; what is wrong with it the first call says."""
        async with self._turn:
            if not self.out_of_order:
                with contextlib.suppress(_Ended):
                    await self._start()

    async def ask(self, view: PluginView) -> Answer:
        """One call: the answer, or why there is none."""
        async with self._turn:
            if self.out_of_order:
                return SaysFailed(self.out_of_order)
            try:
                await self._start()
                if self.hello.problem:
                    self.out_of_order = self.hello.problem  # it would be the same after another start
                    return SaysFailed(self.hello.problem)
                answer = await self._call(view)
            except _Ended as ended:
                return await self._strike(str(ended))
            self._strikes = 0
            return answer

    async def stop(self) -> None:
        """End the process."""
        if self._coming is not None:
            self._coming.cancel()
        await self._end()

    async def _start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        await self._end()
        self.starts += 1
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pipeline.plugins.child",
            self.row.name,
            str(self._directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(os.environ),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                self.hello = _decode_hello(await self._read())
        except TimeoutError as error:
            raise _Ended(f"was not loaded within {LOAD_SECONDS:.0f} s") from error
        except msgspec.DecodeError as error:
            raise _Ended(f"introduced itself with what is no word: {error}") from error
        self.hello = msgspec.structs.replace(self.hello, problem=self.hello.problem or mismatch(self.row, self.hello))

    async def _call(self, view: PluginView) -> Answer:
        assert self._process is not None and self._process.stdin is not None
        row = self.row
        call = Call(view=view, parameters=dict(row.parameters), budget_ms=row.budget_ms)
        try:
            async with asyncio.timeout(row.budget_ms / 1_000):
                self._process.stdin.write(frame(call))
                await self._process.stdin.drain()
                answer: Answer = _decode_answer(await self._read())
                return answer
        except TimeoutError as error:
            raise _Ended(overrun(row)) from error
        except msgspec.DecodeError as error:
            raise _Ended(f"wrote what is no answer: {error}") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _Ended("ended its process") from error

    async def _read(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        try:
            (length,) = HEAD.unpack(await self._process.stdout.readexactly(HEAD.size))
            if length > MAX_FRAME:
                raise _Ended("wrote what is no answer into the pipe")
            return await self._process.stdout.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise _Ended("ended its process") from error

    async def _strike(self, why: str) -> Answer:
        """End what is left of it and begin a new one beside the road; after ``STRIKES`` in a row no more."""
        await self._end()
        self._strikes += 1
        if self._strikes >= STRIKES:
            self.out_of_order = f"{why}, {STRIKES} times in a row: the host does not start it again"
        else:
            self._coming = asyncio.get_running_loop().create_task(self.ready())
        return SaysFailed(why)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()


def overrun(row: PluginRow) -> str:
    """What is said of a call that took too long."""
    return f"took more than its {row.budget_ms} ms (budget_ms) and was ended"


def mismatch(row: PluginRow, hello: Hello) -> str:
    """What of the configuration does not fit the plug-in, empty when all does. The version the core judges."""
    if hello.kind != row.kind:
        return f"is of the kind {hello.kind!r}, the configuration says {row.kind!r}"
    unknown = [name for name, _ in row.parameters if name not in hello.parameters]
    if unknown:
        knows = ", ".join(hello.parameters) or "none"
        return f"knows no parameter {', '.join(map(repr, unknown))}; allowed: {knows}"
    return ""


class Host:
    """The plug-ins of a configuration."""

    def __init__(self, rows: Sequence[PluginRow], directory: Path) -> None:
        self.children = {row.name: Child(row, directory) for row in rows}

    async def start(self) -> None:
        """Start them all."""
        await asyncio.gather(*(child.ready() for child in self.children.values()))

    async def stop(self) -> None:
        """End them all."""
        await asyncio.gather(*(child.stop() for child in self.children.values()))

    async def ask(self, name: str, ask: str, view: PluginView) -> PluginAnswered:
        """What plug-in *name* says to the question *ask*."""
        child = self.children[name]
        answer = await child.ask(view)
        version = child.hello.version or child.row.version
        return PluginAnswered(ask=ask, name=name, version=version, code=child.hello.code, answer=answer)
