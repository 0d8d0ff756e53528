"""
The only place that calls plug-ins again with the views of the log and compares with what they answered.

`perpguard replay --verify` needs no plug-in, for answers are inputs. This asks the other question: whether a plug-in is
the pure function that it should be, and still the same one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.audit.sources import Entry
from pipeline.core.commands import AskPlugins
from pipeline.core.plugin_answers import PluginAnswered, SaysFailed
from pipeline.core.plugin_views import PluginView
from pipeline.plugins.host import Host
from pipeline.wire import lines
from pipeline.wire.records import decode_decision
from pipeline.wire.topics import DECISIONS, INPUTS


class Difference(msgspec.Struct, frozen=True):
    """One answer that is another now."""

    name: str
    ask: str
    symbol: str
    recorded: str
    now: str


class Verified(msgspec.Struct):
    """
    How often a plug-in was called again. ``other_code`` counts answers of code that is not the one at hand,
    ``failures`` recorded failures (a time-out depends on the machine, so they are not compared), ``unasked`` answers
    whose question is not in the log.
    """

    compared: int = 0
    other_code: int = 0
    failures: int = 0
    unasked: int = 0
    differences: list[Difference] = msgspec.field(default_factory=list)


class Collected(msgspec.Struct):
    """Questions by id and answers, each once, in the order of the log."""

    asks: dict[str, PluginView] = msgspec.field(default_factory=dict)
    answers: dict[tuple[str, str], PluginAnswered] = msgspec.field(default_factory=dict)

    def feed(self, entry: Entry) -> None:
        """Take what concerns plug-ins out of one record of the log."""
        if entry.topic == DECISIONS.name:
            if b'"ask_plugins"' in entry.value:
                decision = decode_decision(entry.value)
                for name, output in zip(decision.ids, decision.outputs, strict=True):
                    if isinstance(output, AskPlugins):
                        self.asks[name] = output.view
        elif entry.topic == INPUTS.name and b'"plugin":' in entry.value:
            for raw in lines.split(entry.value):
                if b'"plugin":' in raw:
                    self._line(raw)

    def _line(self, raw: bytes) -> None:
        try:
            said = lines.decode(raw).plugin
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # the fold has quarantined it
        if said is not None:
            self.answers.setdefault((said.name, said.ask), said)


def collect(entries: Iterable[Entry]) -> Collected:
    """Everything about plug-ins in *entries*."""
    found = Collected()
    for entry in entries:
        found.feed(entry)
    return found


async def verify(collected: Collected, host: Host) -> dict[str, Verified]:
    """Call each plug-in of *host* with every recorded view and compare; one row a plug-in that answered."""
    found: dict[str, Verified] = {}
    await host.start()
    try:
        for (name, ask), recorded in collected.answers.items():
            row = found.setdefault(name, Verified())
            view = collected.asks.get(ask)
            child = host.children.get(name)
            if view is None:
                row.unasked += 1
            elif isinstance(recorded.answer, SaysFailed):
                row.failures += 1
            elif child is None or child.hello.code != recorded.code:
                row.other_code += 1
            else:
                row.compared += 1
                again = await host.ask(name, ask, view)
                if again.answer != recorded.answer:
                    row.differences.append(
                        Difference(name, ask, view.symbol, _text(recorded.answer), _text(again.answer))
                    )
    finally:
        await host.stop()
    return found


def _text(answer: object) -> str:
    return msgspec.json.encode(answer).decode()
