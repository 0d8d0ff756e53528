"""Tests of the desk between topics and plug-ins: everybody named answers, floods are bounded, old questions dropped."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.commands import AskPlugins
from pipeline.core.events import Side
from pipeline.core.plugin_answers import PluginAnswered, SaysClose, SaysFailed
from pipeline.core.policies import PluginRow
from pipeline.core.units import Milliseconds
from pipeline.plugins.host import Host
from pipeline.plugins.service import WAITING, Desk
from pipeline.wire.plugin_asks import PluginAsk
from tests.pipeline.plugins import bad
from tests.plugin_views import view


def row(name: str, *, budget_ms: int = 5_000) -> PluginRow:
    return PluginRow(name, "exit", "1", budget_ms=Milliseconds(budget_ms), deadline_ms=Milliseconds(60_000))


def asked(number: int, *names: str) -> PluginAsk:
    question = AskPlugins(names=list(names), due_ms=Milliseconds(9), view=view(side=Side.BUY))
    return PluginAsk(id=f"abc.{number}", symbol="BTCUSDT", at_ms=Milliseconds(5), asked=question)


class Wire:
    """Keeps what is published; its clock stands still until a test moves it."""

    def __init__(self) -> None:
        self.said: list[PluginAnswered] = []
        self.now = 0.0

    async def publish(self, symbol: str, said: PluginAnswered) -> None:
        assert "BTCUSDT" == symbol
        self.said.append(said)


async def test_everybody_named_answers_with_the_id_of_the_question(tmp_path: Path) -> None:
    """A good and a raising one; a name that this host does not know is left to whoever knows it."""
    host = Host([row("good"), row("raises")], bad.write(tmp_path, "good", "raises"))
    wire = Wire()
    desk = Desk(host, wire.publish)
    desk.take(asked(1, "good", "raises", "of_another_host"))
    await desk.idle()
    await host.stop()

    answers = {said.name: said for said in wire.said}
    assert {"good", "raises"} == set(answers)
    assert {"abc.1"} == {said.ask for said in wire.said}
    assert isinstance(answers["good"].answer, SaysClose) and isinstance(answers["raises"].answer, SaysFailed)
    assert (2, 1, 1) == (desk.answered, desk.failed, desk.dropped)


async def test_a_flood_of_questions_is_bounded_and_old_ones_are_dropped(tmp_path: Path) -> None:
    """So many wait and no more; those whose deadline has passed while they waited are not asked any more."""
    host = Host([row("good")], bad.write(tmp_path, "good"))
    wire = Wire()
    desk = Desk(host, wire.publish, now=lambda: wire.now)
    for number in range(WAITING + 50):
        desk.take(asked(number, "good"))
    assert 50 == desk.dropped
    wire.now = 61.0
    await desk.idle()
    await host.stop()

    assert len(wire.said) <= 1
    assert WAITING + 50 == desk.dropped + desk.answered
