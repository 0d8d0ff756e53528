"""Tests of ``perpguard demo``'s report; the demo itself is played by tests/integration/test_demo.py."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from pipeline.commands.demo import demo, show
from pipeline.demo.promises import Promise
from pipeline.demo.run import Outcome
from pipeline.reporting.trades_report import report_of
from tests.pipeline.reporting.test_trades_report import episode, trade

RESULT = {
    "ok": False,
    "latency_ms": {"samples": 2, "frame_to_intent_p50_ms": 3.1},
    "rest": {"requests_per_minute": 8.0, "weight_per_minute": 40.0},
    "memory_mb": {"decide": 95.0},
    "seconds": 61.5,
}


@pytest.mark.parametrize("kept", [True, False])
def test_the_report_names_every_broken_promise(kept: bool) -> None:
    """Trades, promises with what was seen or what broke them, figures, and where the log lies."""
    held, broken = Promise("P1", "equal", [], "9 lines"), Promise("P3", "never naked", ["BTCUSDT for 9000 ms"], "worst")
    report = report_of([trade("p")], instruments={}, episodes=[episode("BTCUSDT", 37)])
    out = io.StringIO()
    outcome = Outcome([held, broken], report, RESULT, Path("/somewhere"), kept)
    show(outcome, Console(file=out, width=150))
    text = out.getvalue()

    for word in (
        "37 ms",
        "9 lines",
        "BTCUSDT for 9000 ms",
        "1 of 2 promises are broken",
        "8.0 requests",
        "decide 95",
        "load average",
    ):
        assert word in text, word
    assert kept == ("perpguard kafka --directory /somewhere/kafka" in text)
    assert not outcome.ok


@pytest.mark.parametrize("arguments", [["--speed", "0"], ["--recording", "/nowhere.gz"], ["--seed", "x"]])
def test_wrong_use_starts_nothing(arguments: list[str]) -> None:
    """Impossible options are refused with exit code 2."""
    assert 2 == CliRunner().invoke(demo, arguments).exit_code
