"""
The only place where the demo starts, kills and stops the processes of the pipeline.

Each is a process of its own, as in production, with its settings from the environment alone and its output in a file.
The fleet never outlives the demo: whatever ends it, SIGKILL included, every process is ended (a shell watches a pipe
that only the demo holds, as for the embedded Kafka).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.embedded_kafka import WATCHED

STOP_SECONDS: Final = 10.0
START_SECONDS: Final = 30.0
TAIL_LINES: Final = 12


class PartFailed(Exception):
    """A process ended that should run, or did not come up; the text holds its last words."""


class Part:
    """One process: its name, how it is started, where it writes."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log_file = directory / f"{name}.log"
        self.starts = 0
        self.memory_mb = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process number while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it (again); its output is appended to its log file."""
        assert self.pid is None, f"{self.name} runs already"
        self.starts += 1
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", WATCHED, self.name, *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for the demo, which stops its parts in order
            )

    def check(self) -> None:
        """Do nothing while it runs; raises PartFailed when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise PartFailed(f"{self.name} ended with code {self._process.returncode}: {self.last_words()}")

    def kill(self) -> None:
        """SIGKILL, as a crash would end it; returns when it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        _dismiss_watch(self._process)
        self._process = None

    @property
    def returncode(self) -> int | None:
        """The code of a process that has ended by itself; None while it runs, or when we ended it."""
        return None if self._process is None else self._process.poll()

    def revive(self) -> None:
        """Start a process again that has ended by itself, as a cluster would."""
        assert self.returncode is not None, f"{self.name} has not ended by itself"
        self._process = None
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: it is there and does nothing, as on a machine that stalls."""
        self._tell(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on and does not know that time has passed."""
        self._tell(signal.SIGCONT)

    def _tell(self, number: signal.Signals) -> None:
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return at once."""
        self._remember_memory()
        self._tell(signal.SIGTERM)

    def wait_stopped(self, deadline: float) -> bool:
        """Wait until it is gone, by SIGKILL after *deadline* (monotonic); True when it went by itself."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            _dismiss_watch(self._process)
            self._process = None

    def last_words(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        return "(no log)"

    def note_memory(self) -> None:
        """Remember the highest resident memory so far (VmHWM, over all its lives)."""
        self._remember_memory()

    def _remember_memory(self) -> None:
        if self.pid is not None:
            self.memory_mb = max(self.memory_mb, peak_memory_mb(self.pid))


def _dismiss_watch(process: subprocess.Popen[bytes]) -> None:
    """Tell the shell that watches this process to end, or it would kill whoever gets the number next."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has gone already
        process.stdin.write(b"done\n")
        process.stdin.close()


def peak_memory_mb(pid: int) -> float:
    """VmHWM of a process in MB; 0 when the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0


class Fleet:
    """All parts of one demo, in the order in which they were started; they are stopped in the reverse one."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = dict(environment)
        self.parts: dict[str, Part] = {}

    def start(self, name: str, command: Sequence[str], **environment: str) -> Part:
        """Start a part with the common environment and its own additions."""
        part = Part(name, command, os.environ | self.environment | environment, self.directory)
        self.parts[name] = part
        part.start()
        return part

    def check(self) -> None:
        """Raise PartFailed when any part has ended by itself."""
        for part in self.parts.values():
            part.check()

    def note_memory(self) -> None:
        """Remember the memory of every part."""
        for part in self.parts.values():
            part.note_memory()

    def stop(self, *names: str) -> list[str]:
        """SIGTERM to the named parts (all without names), last started first; returns those that had to be killed."""
        chosen = [part for part in reversed(self.parts.values()) if not names or part.name in names]
        for part in chosen:
            part.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        return [part.name for part in chosen if not part.wait_stopped(deadline)]


def python(*arguments: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *arguments]


def perpguard(*arguments: str) -> list[str]:
    """A command of ours, run by this interpreter (the console script need not be on the path)."""
    return python("-c", "from pipeline.cli import main; main(prog_name='perpguard')", *arguments)


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def json_line(part: Part, key: str) -> dict[str, Any]:  # Any: JSON
    """Wait for the line of JSON with *key* that a part prints when it is ready; raises PartFailed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        part.check()
        with contextlib.suppress(OSError):
            for line in part.log_file.read_text(errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict) and key in found:
                        return found
        await asyncio.sleep(0.05)
    raise PartFailed(f"{part.name} was not ready within {START_SECONDS:.0f} s: {part.last_words()}")
