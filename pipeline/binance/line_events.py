"""The only place that knows the kinds of lines: which one a line is, and the events that each but a frame becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pipeline.binance.answers import decode_answer
from pipeline.core.events import Event, Malformed, PolicySet, Stamp, Ticked, TradingMode, TradingStateSet
from pipeline.core.state import SymbolState
from pipeline.wire.lines import WRITERS, Line

KINDS: Final = tuple(name for name in WRITERS if name != "frame")


def kind_of(line: Line, frame: bytes) -> str:
    """The one kind of a line; empty when it has none or several. Nearly all are frames, so that is asked first."""
    if frame and (
        line.tick is None
        and line.outcome is None
        and line.answer is None
        and line.state is None
        and line.admission is None
        and line.close is None
        and line.lost is None
        and line.resume is None
        and line.override is None
        and line.reference is None
        and line.plugin is None
    ):
        return "frame"
    found = "frame" if frame else ""
    for kind in KINDS:
        if getattr(line, kind) is not None:
            if found:
                return ""
            found = kind
    return found


def why_refused(line: Line, kind: str) -> str:
    """What is wrong with a line whose kind, writer or numbers were not accepted."""
    if not kind:
        return "a line has exactly one kind"
    if kind not in WRITERS or line.src.partition("/")[0] not in WRITERS[kind]:
        return f"{kind}: may not be written by {line.src[:100]!r}"
    return f"at {line.at} or n {line.n} is out of range"


def _ticked(state: SymbolState, line: Line, _: Stamp) -> list[Event]:
    return [Ticked(compute=state.symbol in line.turns)]


def _trading_state(_: SymbolState, line: Line, __: Stamp) -> list[Event]:
    assert line.state is not None
    modes = {mode.value: mode for mode in TradingMode}
    mode = modes.get(line.state.mode)
    if mode is None:
        return [Malformed(stream="account", reason=f"state.mode: unknown trading state {line.state.mode[:40]!r}")]
    spoken = TradingStateSet(mode=mode, reason=line.state.reason, shortlisted=line.state.shortlisted)
    return [PolicySet(policy=line.state.policy), spoken]


def _answer(state: SymbolState, line: Line, stamp: Stamp) -> list[Event]:
    answer = line.answer
    assert answer is not None
    return [
        decode_answer(
            kind=answer.kind,
            raw=bytes(answer.body),
            request=answer.request,
            error=answer.error,
            symbol=state.symbol,
            instrument=state.instrument,
            at_ms=stamp.at_ms,
        )
    ]


def _as_it_is(kind: str) -> Callable[[SymbolState, Line, Stamp], list[Event]]:
    """Lines whose body is the event."""

    def body(_: SymbolState, line: Line, __: Stamp) -> list[Event]:
        event: Any = getattr(line, kind)  # Any: one of the event structs, by the schema of Line
        return [event]

    return body


EVENTS: Final[dict[str, Callable[[SymbolState, Line, Stamp], list[Event]]]] = {
    "tick": _ticked,
    "state": _trading_state,
    "answer": _answer,
    "outcome": _as_it_is("outcome"),
    "admission": _as_it_is("admission"),
    "close": _as_it_is("close"),
    "lost": _as_it_is("lost"),
    "resume": _as_it_is("resume"),
    "override": _as_it_is("override"),
    "reference": _as_it_is("reference"),
    "plugin": _as_it_is("plugin"),
}
FOR_EVERY_SYMBOL: Final = frozenset({"tick", "state", "lost", "close", "reference"})
