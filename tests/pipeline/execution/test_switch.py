"""Who may send from this machine, as files on a disk: claims, seizures, restarts, frozen and killed holders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.events import TradingMode
from pipeline.execution.switch import FILE, GUARD, Permission, StillKilling, Switch

ROOT = Path(__file__).resolve().parents[3]


def test_an_executor_claims_and_may_send_everything(tmp_path: Path) -> None:
    """On a fresh machine trading is active and the executor holds the file."""
    executor = Switch(tmp_path, "executor-1")

    assert executor.claim()
    assert Permission.ALL is executor.permission()
    assert (1, "executor-1") == (executor.state.epoch, executor.state.holder)


def test_a_kill_takes_everything_from_the_executor(tmp_path: Path) -> None:
    """Seized: the executor sends nothing; released: it may reduce, and nothing else, also after its restart."""
    executor, kill = Switch(tmp_path, "executor-1"), Switch(tmp_path, "kill-9")
    executor.claim()
    kill.seize(TradingMode.HALTED, "test")

    assert Permission.NOTHING is executor.permission()
    assert not executor.claim()
    kill.release()
    assert Permission.REDUCE is executor.permission()
    successor = Switch(tmp_path, "executor-2")
    assert successor.claim()
    assert (Permission.REDUCE, TradingMode.HALTED) == (successor.permission(), successor.state.mode)
    assert Permission.NOTHING is executor.permission()


def test_only_resume_makes_it_active_again(tmp_path: Path) -> None:
    """The state ends by resume; while a kill lives, resume is refused by its name."""
    executor, kill = Switch(tmp_path, "executor-1"), Switch(tmp_path, "kill-9")
    executor.claim()
    kill.seize(TradingMode.REDUCE_ONLY, "test")
    with pytest.raises(StillKilling, match="kill-9"):
        Switch(tmp_path, "resume").resume("too early")
    kill.release()
    Switch(tmp_path, "resume").resume("all is well")

    assert Permission.ALL is executor.permission()


def test_a_weaker_kill_does_not_lift_a_stronger_state(tmp_path: Path) -> None:
    """`kill --reduce-only` after `kill --close` leaves HALTED: only resume goes back."""
    first, second = Switch(tmp_path, "kill-1"), Switch(tmp_path, "kill-2")
    first.seize(TradingMode.HALTED, "close")
    first.release()

    assert TradingMode.HALTED is second.seize(TradingMode.REDUCE_ONLY, "reduce").mode
    second.release()


def test_epochs_only_grow(tmp_path: Path) -> None:
    """Whoever writes raises the epoch."""
    executor, kill = Switch(tmp_path, "executor-1"), Switch(tmp_path, "kill-9")
    seen = []
    for step in (
        executor.claim,
        lambda: kill.seize(TradingMode.HALTED, "x"),
        kill.release,
        executor.claim,
        lambda: executor.resume("y"),
    ):
        step()
        seen.append(Switch(tmp_path, "reader").look().epoch)

    assert [1, 2, 3, 4, 5] == seen


def test_a_file_nobody_can_read_means_halted(tmp_path: Path) -> None:
    """Half a file, another shape, no permission: entries stop, reducing goes on, a kill can write it anew."""
    executor = Switch(tmp_path, "executor-1")
    executor.claim()
    (tmp_path / FILE).write_bytes(b'{"epoch":')

    assert (Permission.REDUCE, TradingMode.HALTED) == (executor.permission(), executor.state.mode)
    kill = Switch(tmp_path, "kill-9")
    assert kill.seize(TradingMode.HALTED, "again").epoch > 1_000_000
    kill.release()


def _process(directory: Path, code: str) -> subprocess.Popen[bytes]:
    script = (
        "import sys, time, fcntl; from pathlib import Path; from pipeline.execution.switch import *;"
        f"d = Path({str(directory)!r}); {code}; print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert b"ready\n" == process.stdout.readline()
    return process


def test_a_killed_kill_blocks_nobody(tmp_path: Path) -> None:
    """SIGKILL within a kill: the kernel drops its lock, the executor takes the file again and may reduce."""
    executor = Switch(tmp_path, "executor-1")
    executor.claim()
    process = _process(tmp_path, "s = Switch(d, 'kill-7'); s.seize(TradingMode.HALTED, 'x')")
    try:
        assert executor.killing()
        assert not executor.claim()
    finally:
        process.kill()
        process.wait(5)
    assert executor.claim()
    assert Permission.REDUCE is executor.permission()


def test_a_process_frozen_while_it_writes_does_not_stop_a_kill(tmp_path: Path) -> None:
    """An executor stopped with the write lock in its hand: the kill waits a moment and goes on."""
    process = _process(tmp_path, f"g = (d / {GUARD!r}).open('ab'); fcntl.flock(g, fcntl.LOCK_EX)")
    try:
        os.kill(process.pid, signal.SIGSTOP)
        kill = Switch(tmp_path, "kill-9")
        assert TradingMode.HALTED is kill.seize(TradingMode.HALTED, "frozen").mode
        kill.release()
    finally:
        process.kill()
        process.wait(5)


def test_a_full_disk_stops_no_protection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of a dead executor cannot be replaced: its successor acts under the state that stands there."""
    Switch(tmp_path, "executor-1").claim()
    successor = Switch(tmp_path, "executor-2")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        successor.claim()

    assert Permission.ALL is successor.permission()
