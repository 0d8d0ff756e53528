"""The only place for tests of the composite: its test vectors, symmetry, what is missing, what may not be entered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.composite import (
    Composite,
    CompositeParameters,
    compose,
    origin_score,
    probability,
    published,
)
from pipeline.core.factors.factor import Factor, missing
from pipeline.core.factors.parameters import DEFAULT, weights

PARAMETERS = CompositeParameters()
VECTOR = {"T": 31.6, "M": 44, "S": 70, "V": 65, "C": 54, "O": 30, "B": -50, "Q": -34, "L": 82, "I": 45}
LETTERS = (*VECTOR, "F")
SCORES = st.dictionaries(st.sampled_from(LETTERS), st.tuples(st.floats(-100, 100), st.floats(0.01, 1)))


def _factors(values: dict[str, tuple[float, float]]) -> dict[str, Factor]:
    return {
        letter: Factor(*values[letter], True, 7, (1,), {})
        if letter in values
        else missing("not told", asof_ms=7, version=(1,))
        for letter in LETTERS
    }


def _compose(factors: dict[str, Factor]) -> Composite:
    return compose(factors, weights(DEFAULT), PARAMETERS, DEFAULT.fund_leading)


def test_vector() -> None:
    """Domain 8.4: E_dir 28.577, adj .3933, E 30.263, P_up .71257."""
    found = _compose(_factors({letter: (float(value), 1.0) for letter, value in VECTOR.items()}))

    assert 28.577 == pytest.approx(found.direction, abs=5e-4)
    assert 0.3933 == pytest.approx(found.adjustment, abs=5e-5)
    assert 30.263 == pytest.approx(found.score, abs=5e-4)
    assert 0.71257 == pytest.approx(found.odds_up, abs=5e-6)
    assert (1.0, True) == (found.coverage, found.tradable)
    assert found.odds_up == found.long  # F is missing: its multiplier is 1


@pytest.mark.parametrize(("p", "expected"), [(0.55, 6.69), (0.62, 16.32), (0.75, 36.62)])
def test_vector_of_the_logistic(p: float, expected: float) -> None:
    """Domain 8.4: kappa 3 gives P .55 / .62 / .75 at E 6.69 / 16.32 / 36.62."""
    assert p == pytest.approx(probability(expected, 1.0, PARAMETERS), abs=1e-4)


@given(SCORES)
def test_a_mirrored_market_swaps_long_and_short(values: dict[str, tuple[float, float]]) -> None:
    """Negating every directional score and F swaps the odds to the bit and leaves coverage and quality alone."""
    turned = {letter: (value if letter in "LI" else -value, quality) for letter, (value, quality) in values.items()}
    here, there = _compose(_factors(values)), _compose(_factors(turned))

    assert (here.long, here.short) == (there.short, there.long)
    assert -here.score == there.score
    assert (here.coverage, here.adjustment) == (there.coverage, there.adjustment)


@given(SCORES)
def test_bounds(values: dict[str, tuple[float, float]]) -> None:
    """E_dir within ±100, E within 15 % more, adj within ±1 (L and I are 0 … 100), odds within 0 and 1."""
    values = {letter: (abs(v) if letter in "LI" else v, q) for letter, (v, q) in values.items()}
    found = _compose(_factors(values))

    assert abs(found.direction) <= 100.0 + 1e-9
    assert abs(found.adjustment) <= 1.0 + 1e-9
    assert abs(found.score) <= 115.0 + 1e-9
    assert 0.0 < min(found.long, found.short) <= max(found.long, found.short) < 1.0
    assert 0.0 <= found.coverage <= 1.0


@given(st.sampled_from([letter for letter in VECTOR if letter not in "LI"]))
def test_a_missing_factor_drops_out_of_both_sides(letter: str) -> None:
    """Without one factor E_dir is the mean of the others, whatever its last value was."""
    values = {name: (float(value), 1.0) for name, value in VECTOR.items() if name != letter}
    rest = {name: weight for name, weight in weights(DEFAULT).items() if name in values and name not in "LI"}
    expected = sum(weight * VECTOR[name] for name, weight in rest.items()) / sum(rest.values())
    found = _compose(_factors(values))

    assert expected == pytest.approx(found.direction)
    assert sum(rest.values()) / 130 == pytest.approx(found.coverage)


@pytest.mark.parametrize(("letters", "expected"), [("TMSVC", True), ("TMSV", False), ("", False)])
def test_below_sixty_percent_coverage_nothing_is_tradable(letters: str, expected: bool) -> None:
    """T M S V C cover 85 of 130, T M S V only 65; with nothing at all E is 0, not an error."""
    found = _compose(_factors(dict.fromkeys(letters, (50.0, 1.0))))

    assert expected == found.tradable
    assert letters or (0.0, 0.5) == (found.score, found.odds_up)


def test_money_that_does_not_lead_is_a_veto() -> None:
    """F at −80 forbids the long side and multiplies its odds by 0.60^1.5; the short side gets its bonus."""
    found = _compose(_factors({"F": (-80.0, 1.0)}))

    assert {"long": ["chases: money does not lead"], "short": []} == found.vetoes
    assert probability(0.0, 0.60, PARAMETERS) == found.long
    assert 0.5 < found.short


def test_extreme_carry_and_crowded_interest_are_vetoes() -> None:
    """The side that pays gets 0.85 of its odds; crowding blocks both sides."""
    factors = _factors({"B": (-60.0, 1.0), "O": (20.0, 1.0)})
    factors["B"].detail["carry_extreme"] = 1
    plain = _compose(factors)
    factors["O"].detail["blocks_entries"] = True
    crowded = _compose(factors)

    assert {"long": ["pays an extreme carry"], "short": []} == plain.vetoes
    assert 0.85 * plain.odds_up == plain.long
    assert {
        "long": ["pays an extreme carry", "open interest is crowded"],
        "short": ["open interest is crowded"],
    } == crowded.vetoes


def test_the_origins_score_is_the_plain_sum() -> None:
    """All ten by weight over 160, for comparison only."""
    factors = _factors({letter: (float(value), 1.0) for letter, value in VECTOR.items()})
    expected = sum(weights(DEFAULT)[letter] * value for letter, value in VECTOR.items()) / 160

    assert expected == pytest.approx(origin_score(factors, weights(DEFAULT)))


@pytest.mark.parametrize(
    ("before", "score", "expected"),
    [
        (0.0, 20.0, 6.0),
        (0.0, 90.0, 15.0),
        (50.0, -90.0, 35.0),
        (2.0, -9.0, 0.0),  # would turn, but the score itself is too small for a new sign
        (2.0, -10.0, pytest.approx(-1.6)),
        (0.0, -9.0, pytest.approx(-2.7)),
    ],
)
def test_a_published_score_moves_slowly(before: float, score: float, expected: float) -> None:
    """0.3 of the way, at most 15 a bar, and no flicker around zero (domain 3.4)."""
    assert expected == published(before, score)
