"""The only place for tests of ``perpguard scenarios``: table, JSON and exit codes from verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from pipeline.backtest.processes import Played
from pipeline.backtest.scenarios import Verdict
from pipeline.commands import scenarios as command
from pipeline.demo.fleet import PartFailed
from pipeline.demo.view import View

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


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On processes what the machine needed is told too; progress goes elsewhere than the JSON."""
    played = Played(
        verdict=GOOD,
        machine_seconds=40.0,
        market_seconds=560.0,
        worst_lag_seconds=0.4,
        held_seconds=9.0,
        naked_by_episode=[20],
        explained=["a story"],
        memory_mb={"decide": 90.0},
    )

    async def play_all(
        names: list[str], view: View, *, on_played: Callable[[Played], None], **_: object
    ) -> list[Played]:
        on_played(played)
        return [played for _ in names]

    monkeypatch.setattr(command, "play_all", play_all)
    told = CliRunner().invoke(command.scenarios, ["trend", "--processes"])
    plain = CliRunner().invoke(command.scenarios, ["trend", "--processes", "--json"])

    assert (0, 0) == (told.exit_code, plain.exit_code)
    assert "trend: 560 s of market in 40 s, 10 lines and 3 decisions replayed" in told.output
    assert [(560.0, [20])] == [(row["market_seconds"], row["naked_ms_by_position"]) for row in json.loads(plain.stdout)]


def test_processes_that_cannot_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends by itself is told with its last words, and the exit code is 3."""

    async def play_all(names: list[str], view: View, **_: object) -> list[Played]:
        raise PartFailed("decide ended with code 1: no such table")

    monkeypatch.setattr(command, "play_all", play_all)
    told = CliRunner().invoke(command.scenarios, ["trend", "--processes"])

    assert 3 == told.exit_code
    assert "no such table" in told.output


def test_unknown_situation() -> None:
    """A name that is none is refused with those that are."""
    told = CliRunner().invoke(command.scenarios, ["flood"])

    assert 2 == told.exit_code
    assert "wall-pulled" in told.output
