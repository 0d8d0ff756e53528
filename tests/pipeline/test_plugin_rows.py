"""Tests of the section ``plugins`` of the configuration file: strict, and every problem teaches what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import plugin_rows
from pipeline.configuration import defaults, flatten
from pipeline.core.policies import PluginRow
from pipeline.settings import load

GOOD = {"name": "guard", "kind": "exit", "version": "1"}


def test_a_row_with_all_there_is() -> None:
    """Parameters are in the order of their names, so that two files that say the same are the same."""
    row = GOOD | {"kind": "factor", "parameters": {"b": 2, "a": 0.5}, "least": -5, "shadow": True, "bars": 9}

    assert [] == plugin_rows.problems([row])
    made = plugin_rows.row_of(row)
    assert PluginRow("guard", "factor", "1", (("a", 0.5), ("b", 2.0)), least=-5, shadow=True, bars=9) == made


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "plugins: found {}; allowed: a list"),
        ([5], "plugins[0]: found 5; allowed: an object"),
        ([{"name": "guard", "kind": "exit"}], "plugins[0].version: missing; allowed: the version"),
        ([GOOD | {"name": "Guard!"}], 'plugins[0].name: found "Guard!"; allowed: a small letter'),
        ([GOOD | {"kind": "exits"}], 'plugins[0].kind: found "exits"; allowed: "factor" or "signal" or "exit"'),
        ([GOOD | {"version": 1}], "plugins[0].version: found 1; allowed"),
        ([GOOD | {"budgetms": 1}], 'did you mean "budget_ms"?'),
        ([GOOD | {"parameters": {"x": "y"}}], 'plugins[0].parameters: found {"x": "y"}; allowed'),
        ([GOOD | {"parameters": {"x": float("nan")}}], "plugins[0].parameters"),
        ([GOOD | {"deadline_ms": True}], "plugins[0].deadline_ms: found true; allowed: an integer from 100"),
        ([GOOD | {"least": 5}], 'allowed: for a plug-in of the kind "factor" alone'),
        ([GOOD | {"budget_ms": 9_000}], "plugins[0].budget_ms: found 9000; allowed: at most plugins[0].deadline_ms"),
        ([GOOD, GOOD], 'plugins: found "guard" twice'),
        ([GOOD | {"name": f"g{n}"} for n in range(17)], "allowed: a list of at most 16"),
    ],
)
def test_every_problem_names_the_place_and_what_is_allowed(section: Any, words: str) -> None:
    """The file as a whole is refused with that line."""
    _, problems = flatten({"plugins": section})

    assert [] != [problem for problem in problems if words in problem], problems


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.sampled_from(sorted(plugin_rows.FIELDS)) | st.text(), x)))  # fmt: skip  # noqa: E501
def test_whatever_stands_there_is_judged(section: Any) -> None:
    """Never an exception: no problem, or words."""
    _, problems = flatten({"plugins": section})

    assert all(isinstance(problem, str) and problem.startswith("plugins") for problem in problems)


def test_a_plug_in_is_part_of_policy_and_digest(tmp_path: Any) -> None:
    """Version and parameters change the name of the configuration, and with it the name of the fold."""
    digests = set()
    for version in ("1", "2"):
        path = tmp_path / f"{version}.json"
        path.write_text(f'{{"plugins": [{{"name": "guard", "kind": "exit", "version": "{version}"}}]}}')
        settings = load({}, path)
        assert ("guard", version) == (settings.policy.plugins[0].name, settings.policy.plugins[0].version)
        digests.add(settings.config_digest)

    assert 2 == len(digests)
    assert [] == defaults()["plugins"]
