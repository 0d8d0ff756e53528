"""Plug-ins in virtual time: a backtest asks them, their answers decide, and its second fold needs none of them."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.backtest.markets import of_klines
from pipeline.backtest.run import EntryRule, Trace, play
from pipeline.settings import load
from tests.data import require
from tests.pipeline.plugins import bad

DAYS = 0.005  # seven minutes
HASTY = """
from pipeline.plugins.api import Close, Plugin

def evaluate(view, parameters):
    if view.position is not None and view.at_ms - view.position.opened_ms > 1_000 * parameters["seconds"]:
        return Close("time is up")

plugin = Plugin(kind="exit", version="1", evaluate=evaluate, parameters={"seconds": 20})
"""
EAGER = """
from pipeline.plugins.api import Plugin, Signal

def evaluate(view, parameters):
    return Signal("long", f"{len(view.bars)} bars")

plugin = Plugin(kind="signal", version="1", evaluate=evaluate)
"""


def played(directory: Path, *rows: dict[str, object]) -> Trace:
    """Seven minutes of candles with an entry a minute and these plug-ins."""
    bad.write(directory, "hasty", module=HASTY)
    bad.write(directory, "eager", module=EAGER)
    bad.write(directory, "loops", "raises")
    configuration = directory / "configuration.json"
    configuration.write_text(json.dumps({"plugins": [{"version": "1", "kind": "exit"} | row for row in rows]}))
    market = of_klines("BTCUSDT", require("dcatpstrategy-klines") / "1m/BTCUSDT.csv.gz", days=DAYS)
    environ = {"PERPGUARD_SYMBOLS": "BTCUSDT", "PERPGUARD_ROLE": "all", "PERPGUARD_PLUGIN_DIRECTORY": str(directory)}
    return play(market, load(environ, configuration), entries=EntryRule(every_ms=60_000))


def test_a_backtest_asks_plug_ins(tmp_path: Path) -> None:
    """One closes what the entry rule opens, two misbehave; all of it is folded again and equal."""
    trace = played(
        tmp_path,
        {"name": "hasty"},
        {"name": "loops", "budget_ms": 100},
        {"name": "raises"},
        {"name": "eager", "kind": "signal"},
    )

    assert (True, "", []) == (trace.equal, trace.difference, trace.faults)
    assert {"PLUGIN"} <= {trade.reason for _, trade in trace.trades}
    assert trace.notes["plugin_signal"] >= 1
    assert trace.flat
