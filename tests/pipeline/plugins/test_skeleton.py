"""Tests of what `perpguard plugin new` writes: it works as it stands, and nothing is overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.events import Side
from pipeline.core.plugin_answers import KINDS, SaysFailed
from pipeline.core.policies import PluginRow
from pipeline.core.units import Milliseconds
from pipeline.plugins import skeleton
from pipeline.plugins.api import Misuse
from pipeline.plugins.host import Host
from tests.plugin_views import view

ROOT = Path(__file__).parents[3]


async def test_every_kind_loads_and_answers(tmp_path: Path) -> None:
    """Written, found, loaded and asked without a line of its author's."""
    for kind in KINDS:
        skeleton.write(f"my_{kind}", kind, tmp_path)
    rows = [PluginRow(f"my_{kind}", kind, "1", budget_ms=Milliseconds(10_000)) for kind in KINDS]
    host = Host(rows, tmp_path)
    answers = [await host.ask(row.name, "a", view(closes=tuple(range(100, 130)), side=Side.BUY)) for row in rows]
    await host.stop()

    assert [] == [said for said in answers if isinstance(said.answer, SaysFailed) or said.version != "1"]


def test_its_tests_pass_and_its_code_is_clean(tmp_path: Path) -> None:
    """Pytest on the three folders together, ruff on what was written."""
    for kind in KINDS:
        skeleton.write(f"my_{kind}", kind, tmp_path)
    tried = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    linted = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--select",
            "E,F,W,B,UP",
            "--line-length",
            "120",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == tried.returncode, tried.stdout
    assert 0 == linted.returncode, linted.stdout


@pytest.mark.parametrize("name", ["", "My", "json", "class", "a-b", "../x", "pipeline", "x" * 41, "1st"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    """It becomes a module: it must be a name, and hide none that is there."""
    with pytest.raises(Misuse, match="allowed: "):
        skeleton.write(name, "exit", tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that is there stays as it is."""
    skeleton.write("mine", "exit", tmp_path)
    (tmp_path / "mine" / "mine.py").write_text("# work of weeks\n")
    with pytest.raises(Misuse, match="is there already"):
        skeleton.write("mine", "factor", tmp_path)

    assert "# work of weeks\n" == (tmp_path / "mine" / "mine.py").read_text()
