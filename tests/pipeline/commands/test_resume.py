"""Tests of ``perpguard resume``."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pipeline.commands.halt import halt
from pipeline.commands.resume import resume
from pipeline.core.events import TradingMode
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.execution.switch import KILL, Switch
from tests.account_desk import environment
from tests.desk_thread import desk_thread


def test_resume_is_the_way_out_of_every_halt(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The account becomes active and the switch file with it; a symbol is asked to go on, an unknown one is refused."""
    killer = Switch(tmp_path, f"{KILL}1")
    killer.seize(TradingMode.HALTED, "test")
    killer.release()
    env = environment(kafka.bootstrap, "resume.") | {"PERPGUARD_DATA_DIRECTORY": str(tmp_path)}
    runner = CliRunner(env=env)
    with desk_thread(kafka.bootstrap, "resume."):
        runner.invoke(halt, ["--reason", "test"])
        resumed = runner.invoke(resume, ["--reason", "looked"])
        symbol = runner.invoke(resume, ["BTCUSDT"])
        unknown = runner.invoke(resume, ["NOPEUSDT"])

    assert (0, 0, 1) == (resumed.exit_code, symbol.exit_code, unknown.exit_code)
    assert "trading is active, it was halted" in resumed.output
    assert "BTCUSDT was asked to go on" in symbol.output
    assert "unknown symbol 'NOPEUSDT'" in unknown.output
    assert TradingMode.ACTIVE is Switch(tmp_path, "test").look().mode


def test_nobody_resumes_while_a_kill_is_at_work(tmp_path: Path) -> None:
    """The kill holds the switch: a resume is refused before anybody hears of it."""
    killer = Switch(tmp_path, f"{KILL}1")
    killer.seize(TradingMode.HALTED, "test")
    env = environment("127.0.0.1:1", "resume.") | {"PERPGUARD_DATA_DIRECTORY": str(tmp_path)}
    refused = CliRunner(env=env).invoke(resume, [])
    killer.release()

    assert 1 == refused.exit_code
    assert "still at work" in refused.output
