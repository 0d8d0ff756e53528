"""Tests of ``perpguard plugin``: written, checked, and refused with words that teach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.commands.exit_codes import ExitCode
from pipeline.commands.plugin import plugin


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plug-in directory and a configuration of the test's own."""
    monkeypatch.setenv("PERPGUARD_PLUGIN_DIRECTORY", str(tmp_path / "plugins"))
    monkeypatch.setenv("PERPGUARD_CONFIG", str(tmp_path / "configuration.json"))
    (tmp_path / "configuration.json").write_text("{}")
    return tmp_path


def said(*arguments: str) -> Result:
    return CliRunner().invoke(plugin, arguments)


def configure(here: Path, **row: Any) -> None:
    standing = {"name": "mine", "kind": "exit", "version": "1", "budget_ms": 3_000}
    (here / "configuration.json").write_text(json.dumps({"plugins": [standing | row]}))


def test_a_new_plug_in_fits_the_row_that_is_printed(here: Path) -> None:
    """The printed section, copied into the configuration, passes `plugin check`."""
    written = said("new", "mine", "--kind", "signal")
    assert 0 == written.exit_code, written.output
    section = written.output[written.output.index("  {") : written.output.index("  (shadow")]
    (here / "configuration.json").write_text(section)
    checked = said("check", "--json")

    assert {"ok": True, "configured": ["mine"], "idle": [], "problems": []} == json.loads(checked.output)


def test_a_name_that_is_taken_is_refused(here: Path) -> None:
    """Exit code 2, and nothing is written twice."""
    assert 0 == said("new", "mine").exit_code
    again = said("new", "mine")

    assert int(ExitCode.USAGE) == again.exit_code
    assert "is there already; nothing was written" in again.output


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"version": "2"}, "calls itself version '1', the configuration says '2'"),
        ({"kind": "signal"}, "is of the kind 'exit', the configuration says 'signal'"),
        ({"parameters": {"patiense_bars": 5}}, "knows no parameter 'patiense_bars'; allowed: patience_bars, "),
        ({"name": "other"}, "no plug-in is called 'other'; there are: mine. `perpguard plugin new other` writes one"),
    ],
)
def test_what_does_not_fit_is_named(here: Path, row: dict[str, Any], words: str) -> None:
    """Exit code 1, before any worker runs."""
    said("new", "mine")
    configure(here, **row)
    checked = said("check")

    assert int(ExitCode.REFUSED) == checked.exit_code
    assert words in checked.output


def test_nothing_configured_is_said(here: Path) -> None:
    """`check` says so, `run` refuses, and both name the key."""
    said("new", "mine")
    checked, run = said("check"), said("run")

    assert "mine: there, but not in the configuration, so it is never asked" in checked.output
    assert int(ExitCode.USAGE) == run.exit_code
    assert "say which under `plugins`" in run.output


def test_an_archive_without_answers_does_not_verify(here: Path) -> None:
    """Exit code 3 for a place without dumps."""
    configure(here)

    assert int(ExitCode.UNREACHABLE) == said("verify", "--archive", str(here)).exit_code
