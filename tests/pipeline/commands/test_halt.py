"""Tests of ``perpguard halt``."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from pipeline.commands.halt import halt
from pipeline.embedded_kafka import EmbeddedKafka
from tests.account_desk import environment
from tests.desk_thread import desk_thread


def test_halt_is_left_by_resume_only(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Halting works, reduce-only cannot soften it, resume ends it."""
    runner = CliRunner(env=environment(kafka.bootstrap, "halt.") | {"PERPGUARD_DATA_DIRECTORY": str(tmp_path)})
    with desk_thread(kafka.bootstrap, "halt."):
        halted = runner.invoke(halt, ["--reason", "test", "--json"])
        softened = runner.invoke(halt, ["--reduce-only"])
        resumed = runner.invoke(halt, ["--resume"])
        reduced = runner.invoke(halt, ["--reduce-only"])

    assert (0, 1, 0, 0) == (halted.exit_code, softened.exit_code, resumed.exit_code, reduced.exit_code)
    assert "halted" == json.loads(halted.output)["mode"]
    assert "only a resume ends" in softened.output
    assert "trading is active, it was halted" in resumed.output


def test_both_ways_at_once_is_wrong_use() -> None:
    """--resume and --reduce-only exclude each other."""
    assert 2 == CliRunner().invoke(halt, ["--resume", "--reduce-only"]).exit_code
