"""The only place for tests of the factors' parameters: the domain's weights, and nonsense named at load."""

from __future__ import annotations

import math

import msgspec
import pytest

from pipeline.core.factors.factor import Age, Ages
from pipeline.core.factors.parameters import DEFAULT, FactorParameters, problems, weights


def test_the_defaults_are_those_of_the_domain_and_sound() -> None:
    """T M S V C O B Q weigh 130, with L and I 160."""
    assert {
        "T": 25, "M": 15, "S": 10, "V": 15, "C": 20, "O": 20, "B": 15, "Q": 10, "L": 20, "I": 10
    } == weights(DEFAULT)  # fmt: skip
    assert [] == problems(DEFAULT)


def _changed(part: str, **values: object) -> FactorParameters:
    return msgspec.structs.replace(DEFAULT, **{part: msgspec.structs.replace(getattr(DEFAULT, part), **values)})


@pytest.mark.parametrize(
    ("part", "key", "value", "named"),
    [
        ("trend", "weight", 26.0, "sum to 131"),
        ("liquidity", "weight", 21.0, "sum to 161"),
        ("trend", "weight", -25.0, "a weight is negative"),
        ("trend", "slope_scale", 0.0, "trend.slope_scale is 0"),
        ("volume", "score_floor", math.nan, "volume.score_floor is no number"),
        ("volume", "score_floor", math.inf, "volume.score_floor is no number"),
        ("liquidity", "smoothing_ms", -1, "liquidity.smoothing_ms is -1"),
        ("trend", "fast", 60, "trend.fast is not below trend.slow"),
        ("open_interest", "crowded_at", 1.6, "open_interest.crowded_at is not below"),
        ("basis", "sign", 0.5, "basis.sign is neither"),
        ("ages", "mark", Age(15_000, 3_000), "ages.mark: the soft age is not below the hard one"),
    ],
)
def test_nonsense_is_named_by_its_key(part: str, key: str, value: object, named: str) -> None:
    """Weights that do not sum, thresholds out of order, what is no number or not positive."""
    assert any(named in problem for problem in problems(_changed(part, **{key: value})))


def test_the_parameters_are_written_and_read_back() -> None:
    """They stand in the configuration and in its digest: the same bytes for the same values."""
    data = msgspec.json.encode(DEFAULT)

    assert DEFAULT == msgspec.json.decode(data, type=FactorParameters)
    assert Ages() == msgspec.json.decode(b"{}", type=FactorParameters).ages
