"""
The only place that asks plug-ins without a loop: for virtual time, in which a call takes no time, and the caller waits.

The same process, budget and words as ``plugins.host``; an overrun is measured by the machine's clock, and its answer
stands in the log like any other.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from pipeline.core.plugin_answers import Answer, PluginAnswered, SaysFailed
from pipeline.core.plugin_views import PluginView
from pipeline.core.policies import PluginRow
from pipeline.plugins.child import HEAD, MAX_FRAME, Call, Hello, frame
from pipeline.plugins.host import LOAD_SECONDS, STRIKES, child_environment, mismatch, overrun

CHUNK: Final = 1 << 16
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
_decode_hello = msgspec.msgpack.Decoder(Hello).decode


class _Ended(Exception):
    """The child is gone or no longer makes sense; the text says how."""


class _Child:
    """One plug-in in its process."""

    def __init__(self, row: PluginRow, directory: Path) -> None:
        self.row = row
        self.hello = Hello()
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._strikes = 0
        self._off = ""

    def ask(self, view: PluginView) -> Answer:
        if self._off:
            return SaysFailed(self._off)
        try:
            self._start()
            if self.hello.problem:
                self._off = self.hello.problem
                return SaysFailed(self._off)
            call = Call(view=view, parameters=dict(self.row.parameters), budget_ms=self.row.budget_ms)
            body = self._talk(frame(call), self.row.budget_ms / 1_000, overrun(self.row))
            answer: Answer = _decode_answer(body)
        except (_Ended, msgspec.DecodeError) as error:
            self.stop()
            self._strikes += 1
            why = str(error) if isinstance(error, _Ended) else f"wrote what is no answer: {error}"
            self._off = f"{why}, {STRIKES} times in a row" if self._strikes >= STRIKES else ""
            return SaysFailed(why)
        self._strikes = 0
        return answer

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.plugins.child", self.row.name, str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(os.environ),
            start_new_session=True,
        )
        hello = _decode_hello(self._talk(b"", LOAD_SECONDS, f"was not loaded within {LOAD_SECONDS:.0f} s"))
        self.hello = msgspec.structs.replace(hello, problem=hello.problem or mismatch(self.row, hello))

    def _talk(self, said: bytes, seconds: float, late: str) -> bytes:
        """Write a call and read one frame; raises _Ended with *late* when it takes longer."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # what it left behind is read all the same
            process.stdin.write(said)
            process.stdin.flush()
        deadline = time.monotonic() + seconds
        found = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if len(found) >= HEAD.size:
                    (length,) = HEAD.unpack_from(found)
                    if length > MAX_FRAME:
                        raise _Ended("wrote what is no answer into the pipe")
                    if len(found) >= HEAD.size + length:
                        return found[HEAD.size : HEAD.size + length]
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _Ended(late)
                chunk = os.read(process.stdout.fileno(), CHUNK)
                if not chunk:
                    raise _Ended("ended its process")
                found += chunk

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class BlockingHost:
    """The plug-ins of a configuration, asked one after the other."""

    def __init__(self, rows: Sequence[PluginRow], directory: Path) -> None:
        self._children = {row.name: _Child(row, directory) for row in rows}

    def ask(self, name: str, ask: str, view: PluginView) -> PluginAnswered:
        """What plug-in *name* says to the question *ask*; whatever it does, there is an answer."""
        child = self._children[name]
        answer = child.ask(view)
        version = child.hello.version or child.row.version
        return PluginAnswered(ask=ask, name=name, version=version, code=child.hello.code, answer=answer)

    def stop(self) -> None:
        """End their processes."""
        for child in self._children.values():
            child.stop()
