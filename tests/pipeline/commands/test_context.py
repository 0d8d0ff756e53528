"""Tests of what the operator's commands share."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.commands.context import Failed, finish, run, settings_or_exit, verdict
from pipeline.commands.exit_codes import ExitCode
from pipeline.console.log_access import Unreachable


def test_wrong_settings_end_with_every_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem of the environment stands on its own line of stderr, and the code is 2."""
    monkeypatch.setenv("PERPGUARD_ROLE", "boss")
    monkeypatch.setenv("PERPGUARD_METRICS_PORT", "x")

    @click.command()
    def command() -> None:
        settings_or_exit(None)

    answer = CliRunner().invoke(command)

    assert 2 == answer.exit_code
    assert ["PERPGUARD_ROLE", "PERPGUARD_METRICS_PORT"] == [line.split(":")[0] for line in answer.stderr.splitlines()]


def test_what_cannot_be_reached_is_code_three() -> None:
    """An unreachable log becomes one line and exit code 3."""

    async def work() -> None:
        raise Unreachable("no Kafka")

    with pytest.raises(Failed, match="no Kafka") as caught:
        run(work())

    assert 3 == caught.value.exit_code


@pytest.mark.parametrize(("as_json", "output"), [(True, '{"a": 1}'), (False, "words")])
def test_the_result_is_words_or_json(as_json: bool, output: str) -> None:
    """One form or the other, and the code that was given."""

    @click.command()
    def command() -> None:
        finish({"a": 1}, "words", as_json=as_json, code=ExitCode.NOT_FOUND)

    answer = CliRunner().invoke(command)

    assert (4, output) == (answer.exit_code, answer.output.strip())


@pytest.mark.parametrize(("accepted", "code"), [(True, 0), (False, 1), (None, 5)])
def test_an_answer_is_a_code(accepted: Any, code: int) -> None:
    """Accepted, refused, and no answer have codes of their own."""
    assert code == verdict(json.loads(json.dumps({"accepted": accepted})))
