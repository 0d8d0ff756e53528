"""Tests of ``perpguard config``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands.config import config
from pipeline.configuration import reference

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERPGUARD_CONFIG", "PERPGUARD_SYMBOLS", "PERPGUARD_API_SECRET"):
        monkeypatch.delenv(name, raising=False)


def test_the_shipped_file_is_usable() -> None:
    """The design document's configuration passes, is printed key by key, and warns about openInterest."""
    answer = CliRunner().invoke(config, ["check", str(ROOT / "config" / "optimized_execution.json")])

    assert 0 == answer.exit_code
    assert "rate_limit.daily_budget = 10000" in answer.stdout
    assert '"openInterest" is served by the REST poller' in answer.stderr


def test_every_problem_is_printed_and_counted(tmp_path: Path) -> None:
    """A bad file ends with code 2 and all its problems, for people and for programs."""
    file = tmp_path / "c.json"
    file.write_text('{"polling": {"enabled": "no"}, "surprise": 1}')

    words = CliRunner().invoke(config, ["check", str(file)])
    listed = CliRunner().invoke(config, ["check", str(file), "--json"])

    assert (2, 2) == (words.exit_code, listed.exit_code)
    assert "2 problems" in words.stderr
    assert [False, 2] == [json.loads(listed.stdout)["ok"], len(json.loads(listed.stdout)["problems"])]


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret shows only whether it is set."""
    monkeypatch.setenv("PERPGUARD_API_SECRET", "hidden-text")

    answer = CliRunner().invoke(config, ["check", "--json"])

    assert "hidden-text" not in answer.output
    assert "set" == json.loads(answer.stdout)["settings"]["api_secret"]


def test_keys_prints_the_reference() -> None:
    """The table of keys is the documentation's text."""
    assert reference() == CliRunner().invoke(config, ["keys"]).stdout
