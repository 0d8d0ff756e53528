"""The only place for tests of the turn: ids in order, each rule and cause once."""

from __future__ import annotations

import pytest

from pipeline.core.commands import Note
from pipeline.core.events import Stamp
from pipeline.core.state import new_state
from pipeline.core.turn import Turn
from pipeline.core.units import Milliseconds


def turn() -> Turn:
    """The turn of line 3/17/2."""
    return Turn(new_state("BTCUSDT", log_identity="abcdefg"), Stamp(3, 17, 2, Milliseconds(5), Milliseconds(5)))


def test_outputs_get_ids_in_order_and_the_next_id_is_known_before() -> None:
    """A position is named by the intent that opens it: the name is needed before the output is."""
    made = turn()
    first = made.next_id

    assert first == made.emit(Note(code="a", text=""), rule="X6")
    assert made.next_id != first
    made.emit(Note(code="b", text=""), rule="X6")
    assert (2, ["X6"]) == (len(set(made.ids)), made.rules)


def test_causes_are_named_once() -> None:
    """By stamp or as written."""
    made = turn()
    made.rest_on(Stamp(3, 16, 0, Milliseconds(1), Milliseconds(1)))
    made.rest_on("3/16/0")
    made.rest_on(None)
    made.rest_on("")

    assert (["3/16/0"], "3/17/2") == (made.causes, made.cause)


def test_what_is_not_there_is_a_broken_promise() -> None:
    """Instrument and position are asserted, never assumed."""
    with pytest.raises(AssertionError):
        _ = turn().instrument
    with pytest.raises(AssertionError):
        _ = turn().position
