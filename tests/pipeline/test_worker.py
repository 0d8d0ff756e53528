"""A worker is put together from its environment alone, and loads only what its role needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import load

PROGRAM = "import pipeline, sys; app = pipeline.app; print(app.conf.id, 'httpx' in sys.modules, sorted(app.tables))"


def started(directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Ask the package for its app, as ``faust -A pipeline`` does."""
    settings = {"PERPGUARD_PREFIX": "test.", "PERPGUARD_DATA_DIRECTORY": str(directory)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | settings | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("decide", "test.decide False ['books', 'checkpoints', 'factors', 'positions', 'prices']"),
        ("account", "test.account False ['account']"),
        ("execute", "test.execute True []"),
        ("all", "test.decide True ['books', 'checkpoints', 'factors', 'positions', 'prices']"),
    ],
)
def test_role_decides_what_is_loaded(role: str, expected: str, tmp_path: Path) -> None:
    """One app id per role; only who sends orders loads the HTTP client; ``all`` is led by decide."""
    done = started(tmp_path, PERPGUARD_ROLE=role)

    assert expected == done.stdout.strip(), done.stderr[-2_000:]


def test_wrong_environment_is_named_and_nothing_starts(tmp_path: Path) -> None:
    """Every problem is one line; the exit code is not 0."""
    done = started(tmp_path, PERPGUARD_ROLE="both", PERPGUARD_BROKERS="nowhere")

    assert 0 != done.returncode
    assert "PERPGUARD_ROLE" in done.stderr and "PERPGUARD_BROKERS" in done.stderr
    assert "Traceback" not in done.stderr


def test_role_of_another_program_is_refused(tmp_path: Path) -> None:
    """The connector is no Faust worker: a worker started with its role would run and do nothing."""
    done = started(tmp_path, PERPGUARD_ROLE="connector")

    assert 0 != done.returncode
    assert "PERPGUARD_ROLE" in done.stderr and "decide" in done.stderr


def test_settings_of_the_defaults_name_a_role() -> None:
    """Without any environment the role is ``all``."""
    assert "all" == load({}).role
