"""Tests of what a plug-in may answer: closed kinds, told apart in the bytes."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from pipeline.core.plugin_answers import (
    ALLOWED,
    KINDS,
    Answer,
    PluginAnswered,
    SaysClose,
    SaysFactor,
    SaysFailed,
    SaysNothing,
    SaysSignal,
    SaysTighten,
    words,
)
from pipeline.core.units import E8

EXAMPLES = [
    SaysNothing(),
    SaysFactor(-5),
    SaysSignal(long=True, why="w"),
    SaysClose("w"),
    SaysTighten(E8(7)),
    SaysFailed("raised"),
]


def test_every_answer_has_an_example_here_and_a_kind_that_may_give_it() -> None:
    """Nothing and a failure are everybody's."""
    kinds = {kind for allowed in ALLOWED.values() for kind in allowed}

    assert set(get_args(Answer)) == {type(example) for example in EXAMPLES} == kinds | {SaysNothing, SaysFailed}
    assert set(KINDS) == set(ALLOWED)


@pytest.mark.parametrize("said", EXAMPLES, ids=lambda said: type(said).__name__)
def test_an_answer_reads_back(said: Answer) -> None:
    """As the line of ``inputs`` carries it."""
    event = PluginAnswered(ask="a", name="n", version="1", code="c", answer=said)

    assert event == msgspec.json.decode(msgspec.json.encode(event), type=PluginAnswered)


@pytest.mark.parametrize("said", EXAMPLES, ids=lambda said: type(said).__name__)
def test_every_answer_has_words(said: Answer) -> None:
    """Of a bounded length, whatever the plug-in wrote."""
    long = msgspec.structs.replace(said, why="x" * 9_999) if hasattr(said, "why") else said

    assert 0 < len(words(said)) < 100
    assert len(words(long)) < 300
