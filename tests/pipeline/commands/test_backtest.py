"""The only place for tests of ``perpguard backtest``: options, report in three forms, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from pipeline.commands.backtest import backtest
from tests.data import require

KLINES = "dcatpstrategy-klines/1m"


def test_candles_give_table_json_and_page(tmp_path: Path) -> None:
    """Five minutes of candles: a table, JSON and one HTML file; exit code 0 says that the proof holds."""
    arguments = ["--klines", str(require(KLINES)), "--symbol", "ETHUSDT", "--days", "0.0035", "--enter-every", "1"]
    files = ["--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    result = CliRunner().invoke(backtest, arguments + files)

    assert 0 == result.exit_code, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["equal"]
    assert ["ETHUSDT"] == [row["symbol"] for row in report["symbols"]]
    assert report["symbols"][0]["proof"]["chain"][:16] in result.output
    assert "made up: order book" in result.output
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")


def test_one_source_must_be_said() -> None:
    """None, or two, is a mistake of usage."""
    for arguments in ([], ["--klines", ".", "--recording", "."]):
        result = CliRunner().invoke(backtest, arguments)
        assert 2 == result.exit_code
        assert "say one of" in result.output


def test_symbol_that_is_not_there(tmp_path: Path) -> None:
    """What is there is told."""
    (tmp_path / "BTCUSDT.csv.gz").write_bytes(b"")
    result = CliRunner().invoke(backtest, ["--klines", str(tmp_path), "--symbol", "XRPUSDT"])

    assert 2 == result.exit_code
    assert "not there: XRPUSDT; there is: BTCUSDT" in result.output


def test_file_that_cannot_be_played(tmp_path: Path) -> None:
    """One line that says why."""
    (tmp_path / "BTCUSDT.csv.gz").write_bytes(b"no gzip")
    result = CliRunner().invoke(backtest, ["--klines", str(tmp_path)])

    assert 2 == result.exit_code
    assert "BTCUSDT.csv.gz" in result.output
