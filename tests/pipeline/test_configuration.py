"""The only place for what the strict configuration file accepts and how it answers what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.configuration import (
    KEYS,
    ConfigurationError,
    accept,
    contradictions,
    defaults,
    factor_overrides,
    flatten,
    nested,
    read_json,
    reference,
)
from pipeline.core.factors.parameters import parameters_of

ROOT = Path(__file__).parents[2]
DESIGN_KEYS = {
    "data_source.primary",
    "data_source.fallback",
    "data_source.ws_streams",
    "polling.enabled",
    "polling.fallback_interval_sec",
    "cache.enabled",
    "cache.factor_cache_ttl_sec",
    "cache.data_cache_ttl_sec",
    "rate_limit.rest_api_per_minute",
    "rate_limit.safety_margin",
    "rate_limit.daily_budget",
    "performance.max_positions",
    "performance.target_latency_ms",
    "performance.recompute_threshold",
}


def test_the_design_documents_file_is_the_default() -> None:
    """The shipped file has exactly the design document's keys, and says what stands without any file."""
    document = read_json((ROOT / "config" / "optimized_execution.json").read_text(), "file")
    found = {f"{section}.{name}" for section, body in document.items() for name in body}

    assert found == DESIGN_KEYS
    assert flatten(document) == (defaults(), [])


def test_the_full_file_names_every_key() -> None:
    """The documented full configuration holds every key of the table, each at its default."""
    document = read_json((ROOT / "config" / "full_configuration.json").read_text(), "file")
    values, problems = flatten(document)

    assert problems == []
    assert nested(values) == document
    assert nested({**defaults(), "limits.symbols": values["symbols"], "limits.max_positions": 5}) == document


def test_the_reference_page_is_the_table() -> None:
    """docs/configuration.md is what ``perpguard config keys`` prints."""
    assert reference() == (ROOT / "docs" / "configuration.md").read_text()


def test_every_problem_is_named_at_once() -> None:
    """An unknown key, a wrong type and a value out of range in one file give one line each, with what is allowed."""
    document = {
        "rate_limit": {"rest_api_per_minut": 60, "safety_margin": "a quarter"},
        "polling": {"enabled": 1},
        "performance": 5,
        "surprise": [],
    }

    assert flatten(document)[1] == [
        "rate_limit.rest_api_per_minut: found 60, but there is no such key; allowed here: rest_api_per_minute, "
        'safety_margin, daily_budget; did you mean "rest_api_per_minute"?',
        'rate_limit.safety_margin: found "a quarter"; allowed: a number above 0 and at most 1',
        "polling.enabled: found 1; allowed: true or false",
        "performance: found 5; allowed: an object with the keys max_positions, target_latency_ms, recompute_threshold",
        "surprise: found [], but there is no such key; allowed here: data_source, polling, cache, rate_limit, "
        "performance, symbols, limits, risk, policy, factors, plugins",
    ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"polling": {"enabled": true, "enabled": false}}', '"enabled" stands there twice'),
        ('{"polling": // why\n {}}', "comments are not allowed"),
        ('{"a": NaN}', "found NaN"),
        ("", "line 1"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: str, part: str) -> None:
    """Keys that stand twice, comments, NaN and an empty file are refused with the place."""
    with pytest.raises(ConfigurationError) as caught:
        read_json(text, "file.json")

    assert part in str(caught.value)


def test_contradicting_values_are_refused() -> None:
    """Two values that turn a rule into its opposite are refused, although each is allowed alone."""
    values = defaults() | {
        "policy.stop_atr_min_permille": 2_000,
        "policy.far_rail_permille": 900,
        "limits.max_positions": 3,
    }

    assert contradictions(values) == [
        "policy.stop_atr_min_permille: found 2000; allowed: at most policy.stop_atr_permille (1800)",
        "performance.max_positions: found 5; allowed: at most limits.max_positions (3)",
        "policy.far_rail_permille: found 900; allowed: at least 1001, because the far rail lies beyond the working "
        "stop",
    ]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(KEYS), JSON_VALUES)
def test_a_value_is_taken_or_named(key: Any, value: Any) -> None:
    """Any JSON value at any key is taken as it is, or answered by one line with the path and what is allowed."""
    section, dot, name = key.path.partition(".")
    document = {section: {name: value}} if dot else {section: value}
    values, problems = flatten(document)

    if problems:
        assert len(problems) == 1
        assert problems[0].startswith(f"{key.path}: found ")
        assert "; allowed: " in problems[0]
        assert values == defaults()
    else:
        assert json.dumps(value) == json.dumps(values[key.path])


def test_exactly_what_is_not_vital_may_be_switched_off() -> None:
    """The table of exit rules says it; a protecting rule is refused rather than accepted without effect."""
    values = dict(defaults())

    assert [] == accept(values, "policy.disabled_exits", ["X15"])
    assert ["X6"] == [word for word in ("X6",) if accept(values, "policy.disabled_exits", [word])]


def step(distance: int, share: int) -> dict[str, int]:
    """One step of a ladder as the file writes it."""
    return {"distance_permille": distance, "share_permille": share}


@pytest.mark.parametrize(
    ("ladder", "good"),
    [
        ([], True),
        ([step(800, 300), step(1_600, 700)], True),
        ([step(1_000, 1_000)], False),
        ([step(1_000, 500), step(1_000, 500)], False),
        ([step(1_600, 300), step(800, 700)], False),
        ([step(800, 501), step(1_600, 499)], False),
        ([step(800, 300), step(1_600, 600)], False),
        ([step(800, 1_000), step(1_600, 0)], False),
        ([step(0, 300), step(1_600, 700)], False),
        ([{"distance_permille": 800}, step(1_600, 700)], False),
        ("half", False),
    ],
)
def test_a_ladder_rises_and_takes_the_whole(ladder: object, good: bool) -> None:
    """Anything else is refused with what is allowed, alone or inside a template."""
    values = dict(defaults())

    assert good == (not accept(values, "policy.ladder", ladder))
    assert good == (not accept(values, "policy.templates", [{"name": "patient", "ladder": ladder}]))


@pytest.mark.parametrize(
    "templates",
    [
        [{}],
        [{"name": ""}],
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a", "disabled_exits": ["X3"]}],
        [{"name": "a", "x": 1}],
    ],
)
def test_a_template_has_a_name_of_its_own_and_only_what_templates_have(templates: object) -> None:
    """Twice the same name, a rule that protects, a key nobody knows: refused."""
    assert accept(dict(defaults()), "policy.templates", templates)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trend.weight": 26}, "sum to 131"),
        ({"trend.weight": -25, "volume.weight": 65}, "a weight is negative"),
        ({"trend.fast": 60}, "trend.fast is not below trend.slow"),
        ({"ages.mark.soft_ms": 15_000}, "ages.mark: the soft age is not below the hard one"),
        ({"basis.sign": 0.5}, "basis.sign is neither"),
        ({"trend.slope_scale": 0}, "trend.slope_scale is 0"),
    ],
)
def test_factor_parameters_that_contradict_each_other_are_named(changes: dict[str, float], named: str) -> None:
    """Weights that do not sum, thresholds out of order, what must be positive."""
    values, problems = flatten({"factors": changes})

    assert [] == problems
    assert any(named in problem and problem.startswith("factors:") for problem in contradictions(values))


@pytest.mark.parametrize("value", ["25", None, True, 1e12, [25]])
def test_a_factor_parameter_is_a_number_of_a_sane_size(value: Any) -> None:
    """Each is named by its own path."""
    assert ["factors.trend.weight"] == [
        problem.partition(":")[0] for problem in flatten({"factors": {"trend.weight": value}})[1]
    ]


def test_what_differs_of_the_factors_travels_and_what_does_not_stays_home() -> None:
    """The policy carries overrides alone; the life of a value is the design document's key of the cache."""
    changes = {"factors": {"trend.weight": 20, "momentum.weight": 20}, "cache": {"factor_cache_ttl_sec": 30}}
    values, _ = flatten(changes)
    overrides = factor_overrides(values)

    assert () == factor_overrides(defaults())
    assert (("trend.weight", 20.0), ("momentum.weight", 20.0), ("serve_ms", 30_000.0)) == overrides
    assert [] == contradictions(values)
    assert 20.0 == parameters_of(overrides).trend.weight
    assert (30_000, int) == (parameters_of(overrides).serve_ms, type(parameters_of(overrides).serve_ms))
