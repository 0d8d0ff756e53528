"""Tests of calling plug-ins again: a pure one agrees with the log, one that is not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.audit.sources import Entry
from pipeline.core.commands import AskPlugins, Decision
from pipeline.core.events import Side
from pipeline.core.plugin_answers import PluginAnswered, SaysFailed, SaysNothing
from pipeline.core.policies import PluginRow
from pipeline.core.units import Milliseconds
from pipeline.plugins.host import Host
from pipeline.plugins.verify import collect, verify
from pipeline.wire import lines, records
from pipeline.wire.topics import DECISIONS, INPUTS
from tests.pipeline.plugins import bad
from tests.plugin_views import view

ROW = PluginRow("good", "exit", "1", budget_ms=Milliseconds(5_000))
DRAWS = "import random\n" + bad.HEAD + "def evaluate(view, parameters):\n    return Close(str(random.random()))\n"


def entry(topic: str, value: bytes) -> Entry:
    return Entry(topic=topic, partition=3, offset=1, append_ms=5, key=b"", value=value)


async def log(directory: Path, *names: str) -> list[Entry]:
    """A log in which each id of *names* was asked and answered by the plug-in at hand."""
    host = Host([ROW], directory)
    entries = []
    for name in names:
        said = await host.ask("good", name, view(side=Side.BUY))
        entries += [question(name), answer(said)]
    await host.stop()
    return entries


def question(name: str) -> Entry:
    asked = AskPlugins(names=["good"], due_ms=Milliseconds(9), view=view(side=Side.BUY))
    decision = Decision(
        symbol="BTCUSDT", partition=3, offset=1, line=0, log_ms=Milliseconds(5), fold="f", rules=[], causes=[],
        ids=[name], outputs=[asked], chain="",
    )  # fmt: skip
    return entry(DECISIONS.name, records.encode(decision))


def answer(said: PluginAnswered) -> Entry:
    line = lines.encode(lines.Line(at=5, src="plugins/0", inc="a", n=1, sym="BTCUSDT", plugin=said))
    return entry(INPUTS.name, lines.join([b'{"at":1,"plugin":', line]))  # beside a torn line that looks like one


async def test_a_pure_one_agrees(tmp_path: Path) -> None:
    """Each answer once, however often its line stands in the log."""
    entries = await log(bad.write(tmp_path, "good"), "a", "b")
    found = await verify(collect(entries + entries), Host([ROW], tmp_path))

    assert (2, []) == (found["good"].compared, found["good"].differences)


async def test_one_that_draws_lots_is_named(tmp_path: Path) -> None:
    """With symbol, question and both answers."""
    source = DRAWS + bad.TAIL.format(kind="exit")
    entries = await log(bad.write(tmp_path, "good", module=source), "a")
    found = await verify(collect(entries), Host([ROW], tmp_path))

    assert ["a"] == [one.ask for one in found["good"].differences]


@pytest.mark.parametrize("name", ["failures", "other_code", "unasked"])
async def test_what_cannot_be_compared_is_counted(tmp_path: Path, name: str) -> None:
    """A failure may be the machine's, other code is another function, a question may be older than the log."""
    bad.write(tmp_path, "good")
    said = {
        "failures": PluginAnswered("a", "good", "1", "x", SaysFailed("took more")),
        "other_code": PluginAnswered("a", "good", "1", "x", SaysNothing()),
        "unasked": PluginAnswered("b", "good", "1", "x", SaysNothing()),
    }[name]
    found = await verify(collect([question("a"), answer(said)]), Host([ROW], tmp_path))

    assert (0, 1) == (found["good"].compared, getattr(found["good"], name))
