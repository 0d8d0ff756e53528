"""Scenarios are read strictly; a mistake is named with its place and what is allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.scenarios import (
    BUILT_IN,
    DEMO,
    ScenarioError,
    check,
    parse_scenario,
    parse_segments,
)


def test_built_in_scenarios_are_valid_and_the_demo_ends_in_time() -> None:
    """Every built-in passes its own check; no demo path takes longer than 40 s; all three ends are there."""
    for scenario in BUILT_IN.values():
        check(scenario)
    for symbol in DEMO.symbols:
        assert sum(segment.seconds for segment in DEMO.path_of(symbol)) <= 40
    assert {"target", "trail", "stop"} <= DEMO.paths.keys()
    assert 3 == len(DEMO.symbols)


def test_a_scenario_is_read_from_json() -> None:
    """Symbols with a price, an ATR and a path by name or in place."""
    scenario = parse_scenario(
        json.dumps(
            {
                "name": "mine",
                "paths": {"up": [{"seconds": 5, "drift_bps": 50}]},
                "symbols": {
                    "BTCUSDT": {"price": "60000.0", "atr_bps": 80, "path": "up", "immediately": True},
                    "ETHUSDT": {"path": [{"seconds": 1}]},
                },
            }
        ).encode()
    )

    assert 50 == scenario.path_of("BTCUSDT")[0].drift_bps
    assert 1 == scenario.path_of("ETHUSDT")[0].seconds
    row = scenario.symbols["BTCUSDT"].adjusted(default_instrument("BTCUSDT"))
    assert (600_000, 80) == (row.price_e8 // row.tick_e8, row.atr_bps)
    assert -50 == scenario.path_of("BTCUSDT")[0].mirrored().drift_bps


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"idle": "sleep"}, "idle: 'sleep'"),
        ({"unknown": 1}, "unknown"),
        ({"paths": {"up": []}}, "paths.up: empty"),
        ({"paths": {"up": [{"seconds": 0}]}}, r"paths.up\[0\].seconds"),
        ({"paths": {"up": [{"seconds": 1, "drift_bps": 9_999}]}}, r"paths.up\[0\].drift_bps"),
        ({"symbols": {"A": {"path": "none"}}}, "symbols.A.path: no path 'none'"),
        ({"symbols": {"A": {"at_end": "stop"}}}, "symbols.A.at_end"),
        ({"symbols": {"A": {"path": [{"seconds": -1}]}}}, r"symbols.A.path\[0\]"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], words: str) -> None:
    """The text says where and what."""
    with pytest.raises(ScenarioError, match=words):
        parse_scenario(json.dumps({"name": "x"} | change).encode())


def test_paths_that_do_not_exist_say_which_do() -> None:
    """An unknown path name and a symbol without a path."""
    with pytest.raises(KeyError, match="only"):
        DEMO.path_of("BTCUSDT", "sideways")
    with pytest.raises(KeyError, match="gives XRPUSDT no path"):
        DEMO.path_of("XRPUSDT")
    with pytest.raises(ScenarioError, match="segments"):
        parse_segments([{"minutes": 3}])
    with pytest.raises(ScenarioError, match="range"):
        BUILT_IN["calm"].symbols.get("x") or parse_scenario(
            b'{"name":"x","symbols":{"BTCUSDT":{"price":"0.1"}}}'
        ).symbols["BTCUSDT"].adjusted(default_instrument("BTCUSDT"))
