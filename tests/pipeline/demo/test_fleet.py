"""Tests of the demo's processes: their output, their deaths, their ends."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet, PartFailed, free_port, json_line, peak_memory_mb, perpguard, python

ROOT = Path(__file__).parents[3]
TALKS = 'import sys, time\nprint(\'{"other": 1}\')\nprint(\'{"rest": "url"}\', flush=True)\ntime.sleep(60)'
TICKS = "import time\nprint('{\"up\":1}')\nwhile True:\n    print(1, flush=True)\n    time.sleep(0.01)"
IGNORES = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
STUBBORN = IGNORES + "print('{\"up\":1}', flush=True)\ntime.sleep(60)"


async def test_a_part_says_when_it_is_ready(tmp_path: Path) -> None:
    """The line of JSON with the wanted key is found among others; output stands in the part's file."""
    fleet = Fleet(tmp_path, {"PERPGUARD_PREFIX": "x."})
    part = fleet.start("talker", python("-c", TALKS))
    try:
        assert {"rest": "url"} == await json_line(part, "rest")
        fleet.check()
        fleet.note_memory()
        assert part.memory_mb > 1
    finally:
        assert [] == fleet.stop()
    assert part.pid is None
    assert "other" in part.log_file.read_text()


async def test_a_part_that_ends_by_itself_is_named_with_its_last_words(tmp_path: Path) -> None:
    """An unexpected end is told with the code and the end of the log, while waiting and by a check."""
    fleet = Fleet(tmp_path, {})
    part = fleet.start("dying", python("-c", "import sys\nprint('last words')\nsys.exit(3)"))

    with pytest.raises(PartFailed, match="dying ended with code 3: last words"):
        await json_line(part, "rest")
    with pytest.raises(PartFailed):
        fleet.check()
    assert [] == fleet.stop()


async def test_a_part_that_hangs_is_killed_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who ignores SIGTERM is ended by SIGKILL and remembered."""
    monkeypatch.setattr("pipeline.demo.fleet.STOP_SECONDS", 0.5)
    fleet = Fleet(tmp_path, {})
    await json_line(fleet.start("stubborn", python("-c", STUBBORN)), "up")

    assert ["stubborn"] == await asyncio.to_thread(fleet.stop)


async def test_a_killed_part_starts_again(tmp_path: Path) -> None:
    """SIGKILL returns when the process is gone; a new life appends to the same file."""
    fleet = Fleet(tmp_path, {})
    part = fleet.start("talker", python("-c", TALKS))
    await json_line(part, "rest")
    first = part.pid
    part.kill()
    part.start()
    try:
        assert part.pid not in (None, first)
        assert 2 == part.starts
    finally:
        fleet.stop()


PARENT = """
import sys, time
from pathlib import Path
from pipeline.demo.fleet import Fleet, python
fleet = Fleet(Path(sys.argv[1]), {})
part = fleet.start("child", python("-c", "import time; time.sleep(600)"))
print(part.pid, flush=True)
time.sleep(600)
"""


async def test_no_part_outlives_the_demo(tmp_path: Path) -> None:
    """When the demo itself dies by SIGKILL, its parts are ended too."""
    parent = await asyncio.create_subprocess_exec(
        *python("-c", PARENT, str(tmp_path)), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(20):
        while _runs(child):  # noqa: ASYNC110 - the life of another process has no event
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_small_tools() -> None:
    """A free port is one, memory of nobody is nothing, commands run by this interpreter."""
    assert 0 < free_port() < 65_536
    assert 0.0 == peak_memory_mb(2**22 + 1)
    assert peak_memory_mb(os.getpid()) > 1
    assert "demo" in perpguard("demo")


async def test_a_frozen_part_does_nothing_until_it_is_thawed(tmp_path: Path) -> None:
    """SIGSTOP leaves the process there; SIGCONT lets it go on."""
    fleet = Fleet(tmp_path, {})
    part = fleet.start("ticking", python("-c", TICKS))
    try:
        await json_line(part, "up")
        part.freeze()
        await _until(lambda: _state(part.pid) == "T")
        frozen = part.log_file.stat().st_size
        await asyncio.sleep(0.1)
        assert frozen == part.log_file.stat().st_size
        part.thaw()
        await _until(lambda: part.log_file.stat().st_size > frozen)
    finally:
        assert [] == fleet.stop()


async def test_a_part_that_ended_by_itself_is_revived(tmp_path: Path) -> None:
    """Its code is told until then; one that we killed has none."""
    fleet = Fleet(tmp_path, {})
    part = fleet.start("dying", python("-c", "import sys\nsys.exit(3)"))
    await _until(lambda: part.returncode is not None)
    assert part.returncode == 3
    part.revive()
    assert part.starts == 2
    part.kill()

    assert part.returncode is None


async def _until(met: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "not within its time"
        await asyncio.sleep(0.01)


def _state(pid: int | None) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
