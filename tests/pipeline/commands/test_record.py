"""The only place for the tests of ``perpguard record`` as a person meets it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from pipeline.commands.record import record
from tests.simulator import simulator_process


def test_what_is_recorded_from_a_venue_is_verified(tmp_path: Path) -> None:
    """Three seconds of the simulator: every stream has frames, nothing is missing, exit code 0."""
    with simulator_process("--port", "0", "--symbols", "BTCUSDT,ETHUSDT") as simulator:
        made = CliRunner().invoke(
            record,
            [
                str(tmp_path),
                "--seconds",
                "3",
                "--symbols",
                "BTCUSDT,ETHUSDT",
                "--ws-url",
                simulator.ws,
                "--rest-url",
                simulator.rest,
            ],
        )
    told = CliRunner().invoke(record, [str(tmp_path), "--verify"])

    assert 0 == made.exit_code, made.output
    assert "recording 2 symbols" in made.output
    assert 0 == told.exit_code, told.output
    assert "0 running numbers missing" in told.output
    assert all(f"{symbol}@bookTicker" in told.output for symbol in ("btcusdt", "ethusdt"))


def test_an_empty_directory_holds_no_recording(tmp_path: Path) -> None:
    """Exit code 4."""
    assert 4 == CliRunner().invoke(record, [str(tmp_path), "--verify"]).exit_code
