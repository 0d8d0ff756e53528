"""Tests of the child's side of the pipe: it introduces itself, answers each call, ends with its host."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.core.events import Side
from pipeline.core.plugin_answers import Answer, SaysClose, SaysFailed
from pipeline.plugins.child import HEAD, Call, Hello, frame, serve
from tests.pipeline.plugins import bad
from tests.plugin_views import view

CALL = Call(view=view(side=Side.BUY), parameters={"bars": 5.0}, budget_ms=60_000)


def spoken(directory: Path, name: str, *calls: Call) -> tuple[Hello, list[Any]]:
    """What the child writes when it gets these calls and then the end of its input."""
    answers = io.BytesIO()
    serve(name, directory, io.BytesIO(b"".join(frame(call) for call in calls)), answers)
    answers.seek(0)
    bodies = []
    while head := answers.read(HEAD.size):
        bodies.append(answers.read(HEAD.unpack(head)[0]))
    return msgspec.msgpack.decode(bodies[0], type=Hello), [msgspec.msgpack.decode(b, type=Answer) for b in bodies[1:]]


def test_each_call_has_its_answer(tmp_path: Path) -> None:
    """Hello first, with kind, version, code and parameters; then one answer a call."""
    hello, answers = spoken(bad.write(tmp_path, "good"), "good", CALL, CALL)

    assert ("exit", "1", {"bars": 3.0}, "") == (hello.kind, hello.version, hello.parameters, hello.problem)
    assert [SaysClose("enough")] * 2 == answers


def test_a_raise_is_an_answer_and_the_next_call_is_served(tmp_path: Path) -> None:
    """The line names type, words and place."""
    _, answers = spoken(bad.write(tmp_path, "raises"), "raises", CALL, CALL)

    assert [SaysFailed("raised ZeroDivisionError: division by zero at raises.py:4")] * 2 == answers


@pytest.mark.parametrize("name", ["absent", "sleeps"])
def test_one_that_cannot_be_loaded_introduces_itself_with_its_problem_and_ends(tmp_path: Path, name: str) -> None:
    """No call is read after that."""
    hello, answers = spoken(bad.write(tmp_path, "sleeps", module="import absent_module_of_nobody"), name, CALL)

    assert hello.problem
    assert [] == answers
