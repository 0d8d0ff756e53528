"""The only place for tests of ``perpguard scenarios``: table, JSON and exit codes from verdicts."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pipeline.backtest.scenarios import Verdict
from pipeline.commands import scenarios as command

GOOD = Verdict(
    scenario="trend",
    positions=1,
    by_signal=1,
    reasons=["S_ch (trailing_stop)"],
    expected="S_ch (trailing_stop)",
    naked_ms=4,
    equal=True,
    explained=True,
    lines=10,
    decisions=3,
    failed=[],
    story="a story",
)


def test_promises_that_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every promise holds: exit code 0; JSON says so; --story prints the story."""
    monkeypatch.setattr(command, "carry_out", lambda name, *, seed, say: GOOD)
    told = CliRunner().invoke(command.scenarios, ["trend", "--story"])
    plain = CliRunner().invoke(command.scenarios, ["trend", "--json"])

    assert (0, 0) == (told.exit_code, plain.exit_code)
    assert "a story" in told.output
    assert [True] == [row["holds"] for row in json.loads(plain.output)]


def test_promise_that_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not hold is named, and the exit code is 1."""
    bad = Verdict(**{name: getattr(GOOD, name) for name in GOOD.__struct_fields__} | {"failed": ["naked for 9 s"]})
    monkeypatch.setattr(command, "carry_out", lambda name, *, seed, say: bad)
    told = CliRunner().invoke(command.scenarios, ["trend"])

    assert 1 == told.exit_code
    assert "trend: naked for 9 s" in told.output


def test_unknown_situation() -> None:
    """A name that is none is refused with those that are."""
    told = CliRunner().invoke(command.scenarios, ["flood"])

    assert 2 == told.exit_code
    assert "wall-pulled" in told.output
