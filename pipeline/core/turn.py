"""
The only place for what one line leads to while it is being folded: outputs with their ids, rules and causes.

``step`` must know the ids of its own outputs (a position is named by the intent that opened it), so ids are given out
here, in order, from the line's position and the symbol's log identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.commands import Alert, Note, Output
from pipeline.core.events import Stamp
from pipeline.core.identity import cause, output_id
from pipeline.core.instruments import Instrument
from pipeline.core.positions import Position
from pipeline.core.state import SymbolState

if TYPE_CHECKING:
    from pipeline.core.exits.view import Seen


class Turn:
    """The folding of one line for one symbol. ``now`` is log time in ms, already advanced by the line."""

    __slots__ = ("causes", "ids", "now", "outputs", "rules", "seen", "stamp", "state")

    def __init__(self, state: SymbolState, stamp: Stamp) -> None:
        self.state = state
        self.stamp = stamp
        self.now = state.log_ms
        self.outputs: list[Output] = []
        self.ids: list[str] = []
        self.rules: list[str] = []
        self.causes: list[str] = []
        self.seen: Seen | None = None  # what the factors say, as the exit rules read it once (``exits.view``)

    @property
    def cause(self) -> str:
        """The position of the line."""
        stamp = self.stamp
        return cause(partition=stamp.partition, offset=stamp.offset, line=stamp.line)

    @property
    def next_id(self) -> str:
        """The id that the next output will get."""
        stamp = self.stamp
        return output_id(
            log_identity=self.state.log_identity,
            partition=stamp.partition,
            offset=stamp.offset,
            line=stamp.line,
            tag=self.state.tag,
            ordinal=len(self.outputs),
        )

    def emit(self, output: Output, *, rule: str = "") -> str:
        """Add an output and return its id; *rule* names what asked for it."""
        name = self.next_id
        self.outputs.append(output)
        self.ids.append(name)
        if rule and rule not in self.rules:
            self.rules.append(rule)
        return name

    def note(self, code: str, text: str) -> None:
        """Record a transition that asks for nothing."""
        self.emit(Note(code=code, text=text))

    def alert(self, code: str, severity: str, text: str) -> None:
        """Tell people."""
        self.emit(Alert(code=code, severity=severity, text=text))

    def rest_on(self, place: Stamp | str | None) -> None:
        """Name another line that the decision rests on, by stamp or as written."""
        if place is None:
            return
        if isinstance(place, Stamp):
            place = cause(partition=place.partition, offset=place.offset, line=place.line)
        if place and place not in self.causes:
            self.causes.append(place)

    @property
    def instrument(self) -> Instrument:
        """The symbol's instrument; asserts that it is known (nothing is folded in ticks before it is)."""
        instrument = self.state.instrument
        assert instrument is not None, self.state.symbol
        return instrument

    @property
    def position(self) -> Position:
        """The symbol's position; asserts that there is one."""
        position = self.state.position
        assert position is not None, self.state.symbol
        return position
