"""Tests of asking without a loop: the same answers as the host's, an overrun is ended, nothing is left running."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.events import Side
from pipeline.core.plugin_answers import SaysClose, SaysFailed
from pipeline.core.policies import PluginRow
from pipeline.core.units import Milliseconds
from pipeline.plugins.blocking import BlockingHost
from pipeline.plugins.host import Host
from tests.pipeline.plugins import bad
from tests.plugin_views import view

SHOWN = view(side=Side.BUY)


def row(name: str, budget_ms: int = 5_000) -> PluginRow:
    return PluginRow(name, "exit", "1", budget_ms=Milliseconds(budget_ms), deadline_ms=Milliseconds(60_000))


@pytest.mark.parametrize("name", ["good", "raises", "dies", "returns_text", "absent"])
async def test_it_says_what_the_host_says(tmp_path: Path, name: str) -> None:
    """Answer, version, code and words are the same."""
    directory = bad.write(tmp_path, *({name} - {"absent"}))
    blocking, host = BlockingHost([row(name)], directory), Host([row(name)], directory)
    expected = await host.ask(name, "a", SHOWN)
    found = blocking.ask(name, "a", SHOWN)
    await host.stop()
    blocking.stop()

    assert expected == found


def test_an_overrun_is_ended_and_after_three_it_stays_so(tmp_path: Path) -> None:
    """A looping plug-in costs a backtest three budgets."""
    blocking = BlockingHost([row("loops", 100), row("good")], bad.write(tmp_path, "loops", "good"))
    answers = [blocking.ask("loops", str(n), SHOWN).answer for n in range(50)]

    assert SaysFailed("took more than its 100 ms (budget_ms) and was ended") == answers[0]
    assert SaysFailed("took more than its 100 ms (budget_ms) and was ended, 3 times in a row") == answers[-1]
    assert SaysClose("enough") == blocking.ask("good", "a", SHOWN).answer
    blocking.stop()
