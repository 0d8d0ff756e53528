"""Plug-ins in virtual time: a backtest asks them, their answers decide, and its second fold needs none of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    if view.bar_close_ms // 300_000 % 2 == 0:
        return Signal("long", f"{len(view.bars)} bars")

plugin = Plugin(kind="signal", version="1", evaluate=evaluate)
"""


SAYS = """
from pipeline.plugins.api import Factor, Plugin

def evaluate(view, parameters):
    return Factor(parameters["value"])

plugin = Plugin(kind="factor", version="1", evaluate=evaluate, parameters={"value": 0})
"""


def played(
    directory: Path, *rows: dict[str, object], every_ms: int = 60_000, days: float = DAYS, **policy: int
) -> Trace:
    """Seven minutes of candles with an entry every so often (0: none by hand) and these plug-ins."""
    bad.write(directory, "hasty", module=HASTY)
    bad.write(directory, "eager", module=EAGER)
    bad.write(directory, "says", module=SAYS)
    bad.write(directory, "loops", "raises")
    configuration = directory / "configuration.json"
    plugins = [{"version": "1", "kind": "exit", "budget_ms": 2_000} | row for row in rows]
    configuration.write_text(json.dumps({"plugins": plugins, "policy": policy}))
    market = of_klines("BTCUSDT", require("dcatpstrategy-klines") / "1m/BTCUSDT.csv.gz", days=days)
    environ = {"PERPGUARD_SYMBOLS": "BTCUSDT", "PERPGUARD_ROLE": "all", "PERPGUARD_PLUGIN_DIRECTORY": str(directory)}
    return play(market, load(environ, configuration), entries=EntryRule(every_ms=every_ms))


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


@pytest.mark.parametrize(("value", "opened"), [(30, True), (-30, False)])
def test_a_signal_opens_through_the_gates_and_a_factor_holds_it_back(tmp_path: Path, value: int, opened: bool) -> None:
    """Nobody asks by hand and built-in signals are off: what opens is the plug-in's, unless another one gates it."""
    trace = played(
        tmp_path,
        {"name": "eager", "kind": "signal"},
        {"name": "says", "kind": "factor", "parameters": {"value": value}, "least": 10},
        every_ms=0,
        days=2.5 * DAYS,  # the first entry of a symbol may come too late: its margin is set up first
        gate_room_atr_permille=0,
    )

    assert (True, "", []) == (trace.equal, trace.difference, trace.faults)
    assert opened == ("entry_used" in trace.rules)
    assert opened == bool(trace.trades)
