"""The only place for what `perpguard plugin new` writes: a working plug-in of each kind, its test, its registration."""

from __future__ import annotations

import importlib.util
import json
import keyword
import textwrap
from pathlib import Path
from typing import Final

from pipeline.core.plugin_answers import EXIT, FACTOR, SIGNAL
from pipeline.plugin_rows import NAME, NAME_WORDS
from pipeline.plugins.api import Misuse
from pipeline.plugins.registry import GROUP

PROJECT: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "perpguard-plugin-{dashed}"
version = "1"
description = "{kind} plug-in of perpguard"
requires-python = ">=3.11"

# How perpguard finds it: in the plug-in directory as it stands, or after `pip install .`.
[project.entry-points."{group}"]
{name} = "{name}:plugin"

[tool.hatch.build.targets.wheel]
include = ["{name}.py"]
"""

HEAD: Final = '''\
"""{doc}

A pure function: the same view and parameters give the same answer. No clock, no random numbers, no files, no network;
what was true before is in ``view.bars`` and ``view.position``. See docs/plugins.md of perpguard.
"""

from __future__ import annotations

from pipeline.plugins.api import {names}, Parameters, Plugin, View

'''

BODIES: Final = {
    FACTOR: '''\

def evaluate(view: View, parameters: Parameters) -> Factor | None:
    """The move of the last bars, measured by their mean range: 100 points when it is ``ranges`` times as large."""
    bars = view.bars[-int(parameters["bars"]) :]
    if len(bars) < 2:
        return None  # nothing to say yet; never a made-up number
    mean_range = sum(bar.high - bar.low for bar in bars) / len(bars)
    if mean_range <= 0:
        return None
    points = 100 * (bars[-1].close - bars[0].close) / (mean_range * parameters["ranges"])
    return Factor(value=max(-100.0, min(100.0, points)), why=f"{len(bars)} bars")


plugin = Plugin(kind="factor", version="1", evaluate=evaluate, parameters={"bars": 12, "ranges": 4})
''',
    SIGNAL: '''\

def evaluate(view: View, parameters: Parameters) -> Signal | None:
    """Propose the side to which the price leaves the range of the last bars."""
    bars = view.bars[-int(parameters["bars"]) - 1 :]
    if len(bars) < int(parameters["bars"]) + 1 or view.position is not None:
        return None
    past, last = bars[:-1], bars[-1]
    if last.close > max(bar.high for bar in past):
        return Signal("long", why=f"close {last.close:g} above the range of {len(past)} bars")
    if last.close < min(bar.low for bar in past):
        return Signal("short", why=f"close {last.close:g} below the range of {len(past)} bars")
    return None


plugin = Plugin(kind="signal", version="1", evaluate=evaluate, parameters={"bars": 24})
''',
    EXIT: '''\

def evaluate(view: View, parameters: Parameters) -> Close | Tighten | None:
    """Close when the position has gained nothing for long; keep a share of a large gain by the stop."""
    position = view.position
    if position is None or position.risk <= 0 or view.price <= 0:
        return None
    gain = position.gain_r(view.price)
    if position.bars >= parameters["patience_bars"] and gain < parameters["least_r"]:
        return Close(why=f"{gain:.2f} R after {position.bars} bars")
    if position.best > 0 and position.gain_r(position.best) >= parameters["from_r"]:
        kept = position.entry + parameters["keep"] * (position.best - position.entry)
        return Tighten(kept, why=f"keep {parameters['keep']:g} of {position.gain_r(position.best):.2f} R")
    return None


plugin = Plugin(
    kind="exit",
    version="1",
    evaluate=evaluate,
    parameters={"patience_bars": 36, "least_r": 0.25, "from_r": 2, "keep": 0.5},
)
''',
}

DOCS: Final = {
    FACTOR: "A factor: how strong the last bars moved, from −100 (down) to 100 (up).",
    SIGNAL: "An entry signal: a breakout of the range of the last bars.",
    EXIT: "An exit rule: out of what goes nowhere, and half of a large gain is kept.",
}

NAMES: Final = {FACTOR: "Factor", SIGNAL: "Signal", EXIT: "Close, Tighten"}

TESTS: Final = {
    FACTOR: '''\
"""Tests of the factor: `python -m pytest` in this folder."""

from pipeline.plugins.testing import call, make_view

from {name} import plugin


def test_a_rise_speaks_for_the_long_and_a_fall_as_much_for_the_short() -> None:
    up = call(plugin, make_view([100 + 0.1 * n for n in range(20)]))
    down = call(plugin, make_view([100 - 0.1 * n for n in range(20)]))

    assert up.value > 50
    assert down.value < -50


def test_without_bars_it_says_nothing() -> None:
    assert call(plugin, make_view([100.0])) is None
''',
    SIGNAL: '''\
"""Tests of the signal: `python -m pytest` in this folder."""

from pipeline.plugins.testing import call, make_position, make_view

from {name} import plugin

QUIET = [100.0] * 30


def test_it_proposes_the_side_of_the_breakout() -> None:
    assert call(plugin, make_view([*QUIET, 101.0])).side == "long"
    assert call(plugin, make_view([*QUIET, 99.0])).side == "short"


def test_it_says_nothing_within_the_range_or_while_a_position_is_open() -> None:
    assert call(plugin, make_view(QUIET)) is None
    assert call(plugin, make_view([*QUIET, 101.0], position=make_position())) is None
''',
    EXIT: '''\
"""Tests of the exit rule: `python -m pytest` in this folder."""

import pytest

from pipeline.plugins.api import Close, Tighten
from pipeline.plugins.testing import call, make_position, make_view

from {name} import plugin


@pytest.mark.parametrize(("side", "sign"), [("long", 1), ("short", -1)])
def test_it_closes_what_goes_nowhere(side: str, sign: int) -> None:
    still = make_view([100.0] * 48, position=make_position(side, bars=40))
    moving = make_view([100.0 + sign * 3] * 48, position=make_position(side, bars=40))

    assert isinstance(call(plugin, still), Close)
    assert call(plugin, moving) is None


@pytest.mark.parametrize(("side", "sign"), [("long", 1), ("short", -1)])
def test_it_keeps_half_of_a_large_gain(side: str, sign: int) -> None:
    position = make_position(side, best=100.0 + sign * 5)
    said = call(plugin, make_view([100.0 + sign * 5] * 48, position=position))

    assert said == Tighten(100.0 + sign * 2.5, why="keep 0.5 of 2.50 R")
''',
}


def refuse(name: str) -> str:
    """Why a plug-in cannot be called so, empty when it can: its name becomes a module that Python imports."""
    if not NAME.fullmatch(name):
        return f"NAME: found {name!r}; allowed: {NAME_WORDS}"
    if keyword.iskeyword(name) or importlib.util.find_spec(name) is not None:
        return f"NAME: {name!r} is a word or a module of Python already, and would hide it; allowed: another name"
    return ""


def write(name: str, kind: str, directory: Path) -> list[Path]:
    """
    Write the folder *directory*/*name*; returns the files. Raises Misuse when it is there, or the name cannot be.

    Nothing is ever overwritten.
    """
    problem = refuse(name)
    if problem:
        raise Misuse(problem)
    folder = directory / name
    if folder.exists():
        raise Misuse(f"{folder} is there already; nothing was written")
    names = ", ".join(sorted([*NAMES[kind].split(", "), "Parameters", "Plugin", "View"]))
    head = HEAD.replace("{names}, Parameters, Plugin, View", names).replace("{doc}", DOCS[kind])
    texts = {
        "pyproject.toml": PROJECT.format(name=name, dashed=name.replace("_", "-"), kind=kind, group=GROUP),
        f"{name}.py": head + BODIES[kind],
        f"test_{name}.py": TESTS[kind].replace("{name}", name),
        "conftest.py": CONFTEST,
    }
    folder.mkdir(parents=True)
    paths = []
    for file_name, text in texts.items():
        path = folder / file_name
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


CONFTEST: Final = '''\
"""Lets the tests import the plug-in from this folder without installing it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
'''


def section(name: str, kind: str) -> str:
    """The lines of the configuration that switch the plug-in on, for people to copy."""
    row: dict[str, object] = {"name": name, "kind": kind, "version": "1", "shadow": True}
    return textwrap.indent(json.dumps({"plugins": [row]}, indent=2), "  ")
