"""Tests of telling people what plug-ins have said: each answer with its place, and what followed from it."""

from __future__ import annotations

from pipeline.audit.sources import Entry
from pipeline.core.commands import Alert, Decision, Note, Output
from pipeline.core.plugin_answers import Answer, PluginAnswered, SaysClose, SaysFailed, SaysNothing
from pipeline.core.units import Milliseconds
from pipeline.plugins.said import said
from pipeline.wire import lines, records
from pipeline.wire.topics import DECISIONS, INPUTS


def answers(offset: int, *given: Answer) -> Entry:
    made = [
        lines.encode(
            lines.Line(
                at=5, src="plugins/0", inc="a", n=n, sym="BTCUSDT", plugin=PluginAnswered("a", "calm", "1", "c", one)
            )
        )
        for n, one in enumerate(given, start=1)
    ]
    value = lines.join([b'{"at":1,"plugin":', *made])  # a torn line before them
    return Entry(topic=INPUTS.name, partition=3, offset=offset, append_ms=1_000 + offset, key=b"", value=value)


def decided(offset: int, line: int, *outputs: Output, rules: tuple[str, ...] = ()) -> Entry:
    decision = Decision(
        symbol="BTCUSDT", partition=3, offset=offset, line=line, log_ms=Milliseconds(5), fold="f", rules=list(rules),
        causes=[], ids=["i"] * len(outputs), outputs=list(outputs), chain="",
    )  # fmt: skip
    value = records.encode(decision)
    return Entry(topic=DECISIONS.name, partition=3, offset=9, append_ms=5, key=b"", value=value)


def test_each_answer_is_told_with_what_followed() -> None:
    """A close that closed, a shadow that would have, one that failed, one that said nothing."""
    rows = said([
        decided(2, 1, Note("plugin_shadow", "calm 1 would close")),
        answers(2, SaysClose("enough"), SaysNothing()),
        answers(1, SaysClose("enough")),
        decided(1, 1, Note("position_closing", "by PLUGIN"), rules=("PLUGIN",)),
        answers(3, SaysFailed("raised KeyError")),
        decided(3, 1, Alert("plugin_off", "warning", "switched off")),
    ])  # fmt: skip

    assert [
        ("3/1/1", "close: enough", "the position is closed"),
        ("3/2/1", "close: enough", "shadow: calm 1 would close"),
        ("3/2/2", "say nothing", ""),
        ("3/3/1", "fail: raised KeyError", "off: switched off"),
    ] == [(row.place, row.says, row.followed) for row in rows]
