"""The only place that tells people what plug-ins have said, and what the core made of it, out of the log."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.audit.sources import Entry
from pipeline.core.commands import Alert, Decision, Note, ReportSignal
from pipeline.core.identity import cause
from pipeline.core.plugin_answers import words
from pipeline.wire import lines
from pipeline.wire.records import decode_decision
from pipeline.wire.topics import DECISIONS, INPUTS


class Row(msgspec.Struct, frozen=True):
    """One answer: when (append time), where it stands, who, what, and what followed ("" nothing that is told)."""

    at_ms: int
    place: str
    symbol: str
    name: str
    says: str
    followed: str


class Said:
    """Gathers answers and the decisions of their lines; entries may come in any order."""

    def __init__(self) -> None:
        self._answers: dict[str, Row] = {}
        self._decisions: dict[str, str] = {}

    def feed(self, entry: Entry) -> None:
        """Take what concerns plug-ins out of one record of the log."""
        if entry.topic == INPUTS.name and b'"plugin":' in entry.value:
            for number, raw in enumerate(lines.split(entry.value)):
                if b'"plugin":' in raw:
                    self._line(entry, number, raw)
        elif entry.topic == DECISIONS.name and b"plugin" in entry.value.lower():
            decision = decode_decision(entry.value)
            place = cause(partition=decision.partition, offset=decision.offset, line=decision.line)
            self._decisions[place] = _followed(decision)

    def _line(self, entry: Entry, number: int, raw: bytes) -> None:
        try:
            line = lines.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # the fold has quarantined it
        if line.plugin is None:
            return
        place = cause(partition=entry.partition, offset=entry.offset, line=number)
        self._answers[place] = Row(
            at_ms=entry.append_ms,
            place=place,
            symbol=line.sym,
            name=line.plugin.name,
            says=words(line.plugin.answer),
            followed="",
        )

    def rows(self) -> list[Row]:
        """Every answer in the order of time."""
        found = [
            msgspec.structs.replace(row, followed=self._decisions.get(place, ""))
            for place, row in self._answers.items()
        ]
        return sorted(found, key=lambda row: (row.at_ms, row.place))


def said(entries: Iterable[Entry]) -> list[Row]:
    """What plug-ins have said in *entries*."""
    gathered = Said()
    for entry in entries:
        gathered.feed(entry)
    return gathered.rows()


def _followed(decision: Decision) -> str:
    told = []
    if "PLUGIN" in decision.rules:
        told.append("the position is closed")
    for output in decision.outputs:
        if isinstance(output, Note | Alert) and output.code.startswith("plugin_") and output.code != "plugin_factor":
            told.append(f"{output.code.removeprefix('plugin_')}: {output.text}")
        elif isinstance(output, ReportSignal) and output.source:
            refused = f"gates refuse: {', '.join(output.refused)}" if output.refused else "told to the account"
            told.append(refused)
    return "; ".join(told)
