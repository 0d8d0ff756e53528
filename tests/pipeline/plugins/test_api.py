"""Tests of what the author of a plug-in sees: units of people in, answers checked, mistakes told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.plugin_answers import EXIT, FACTOR, KINDS, SIGNAL, SaysClose, SaysFactor, SaysSignal, SaysTighten
from pipeline.core.units import E8
from pipeline.plugins.api import Close, Factor, Misuse, Plugin, Signal, Tighten, answer_of, view_of
from pipeline.plugins.testing import call, make_position, make_view
from tests.plugin_views import view

DOCS = Path(__file__).parents[3] / "docs" / "plugins.md"
NUMBERS = st.integers() | st.floats() | st.text() | st.none() | st.booleans()


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_view_is_in_the_units_of_people(side: Side) -> None:
    """Ticks of 0.1 become USDT, lots of 0.001 coins, thousandths points."""
    seen = view_of(view(side=side))

    assert (10.2, pytest.approx(10.1), pytest.approx(10.3), 0.1) == (seen.price, seen.bid, seen.ask, seen.tick)
    assert (12.5, 0.9, 40.0, 1.0) == (seen.score, seen.coverage, seen.factors["T"].value, seen.factors["T"].quality)
    assert [10.0, 10.1, 10.2] == [pytest.approx(bar.close) for bar in seen.bars]
    assert seen.position is not None
    assert ("long" if side is Side.BUY else "short", 1.0, 10.0, 0.5) == (
        seen.position.side,
        seen.position.size,
        seen.position.entry,
        seen.position.risk,
    )
    assert 0.4 * side.sign == pytest.approx(seen.position.gain_r(seen.price))


@pytest.mark.parametrize(
    ("kind", "said", "answer"),
    [
        (FACTOR, Factor(-12.3456, 0.5, "w"), SaysFactor(-12_346, 500, "w")),
        (FACTOR, Factor(100), SaysFactor(100_000)),
        (SIGNAL, Signal("short", "a\nb"), SaysSignal(long=False, why="a b")),
        (EXIT, Close(), SaysClose()),
        (EXIT, Tighten(0.1), SaysTighten(E8(10_000_000))),
    ],
)
def test_answers_become_integers(kind: str, said: Any, answer: Any) -> None:
    """Halves away from zero, so that a mirrored market gives a mirrored answer."""
    assert answer == answer_of(kind, said)


@given(kind=st.sampled_from(KINDS), number=NUMBERS, other=NUMBERS)
def test_whatever_is_returned_is_an_answer_or_a_misuse(kind: str, number: Any, other: Any) -> None:
    """No value of any type ends in another exception."""
    for said in (number, Factor(number, other), Signal(number, other), Close(number), Tighten(number, other)):
        try:
            answer_of(kind, said)
        except Misuse as misuse:
            assert "allowed: " in str(misuse)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "exits"}, "allowed: 'factor', 'signal', 'exit'"),
        ({"version": 1}, 'allowed: a text such as "1"'),
        ({"evaluate": 5}, "allowed: a function of (view, parameters)"),
    ],
)
def test_a_plug_in_that_is_none_says_what_is_allowed(fields: dict[str, Any], words: str) -> None:
    """When its module is loaded."""
    with pytest.raises(Misuse, match=re.escape(words)):
        Plugin(**({"kind": "exit", "version": "1", "evaluate": lambda view, parameters: None} | fields))


def test_the_plug_in_of_the_documentation_runs() -> None:
    """The Python of docs/plugins.md, as it stands there."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(blocks[0], names)

    quiet = make_view([100.0] * 48, position=make_position("long", entry=100.0, risk=2.0, bars=40))
    assert Close("nothing after 40 bars") == call(names["plugin"], quiet)
    assert None is call(names["plugin"], quiet, patience_bars=41)
