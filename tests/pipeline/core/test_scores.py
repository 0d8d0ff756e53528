"""The only place for tests of the scores: quantised, mirrored with the market, computed when due and not before."""

from __future__ import annotations

import math

import msgspec
import pytest

from pipeline.core import factor_set, factor_values
from pipeline.core.factor_set import FactorState
from pipeline.core.factor_values import values
from pipeline.core.factors.parameters import DEFAULT
from pipeline.core.scores import FactorScore, Scores, is_due, refreshed, scores_of, whole
from tests.factor_market import PRICE, START_MS, fold_all, mirrored, quote, walk

BARS = walk(180, seed=71)


def computed(factors: FactorState) -> Scores:
    """The scores at the last close."""
    now_ms = factors.bar_close_ms
    return scores_of(values(factors, now_ms=now_ms), factors, parameters=DEFAULT)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, 0),
        (12.3456, 12_346),
        (-12.3456, -12_346),
        (0.0005, 1),
        (-0.0005, -1),
        (math.nan, 0),
        (math.inf, 0),
        (-math.inf, 0),
        (1e300, 0),
    ],
)
def test_numbers_are_quantised_alike_on_both_sides_and_nonsense_is_nothing(x: float, expected: int) -> None:
    """Halves go away from zero; what is no number becomes 0 and never an error."""
    assert expected == whole(x)


def test_a_mirrored_market_has_exactly_mirrored_scores() -> None:
    """Every directional factor and E change sign to the unit; the swings are reflected."""
    one, other = computed(fold_all(BARS)), computed(fold_all(mirrored(BARS)))

    assert [-one.value(letter) for letter in "TMSVC"] == [other.value(letter) for letter in "TMSVC"]
    assert (-one.score, -one.direction) == (other.score, other.direction)
    assert (one.odds_long, one.odds_short) == (other.odds_short, other.odds_long)
    assert (2 * PRICE - one.swing_low, one.swing_low_ms) == (other.swing_high, other.swing_high_ms)
    assert (one.atr_5m_milliticks, one.atr_1h_milliticks) == (other.atr_5m_milliticks, other.atr_1h_milliticks)


def test_scores_survive_bytes() -> None:
    """They live in the state: what is read back is what was written."""
    found = computed(fold_all(BARS))

    assert found == msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Scores)


def test_the_scores_say_what_the_vector_says() -> None:
    """Values in 1/1000 of a point, quality in per mille, swings at the bar that confirmed them."""
    factors = fold_all(BARS)
    vector, found = values(factors, now_ms=factors.bar_close_ms), computed(factors)
    pivots = {pivot.high: pivot for pivot in factors.bars.structure.pivots}

    for letter, factor in vector.factors.items():
        assert abs(factor.value * 1_000 - found.factors[letter].value) <= 0.5
        assert factor.ready == found.factors[letter].ready == found.ready(letter)
    assert factors.bars.prices.anchor + pivots[True].price == found.swing_high
    assert START_MS + pivots[True].confirmed * 300_000 == found.swing_high_ms


def test_a_hole_leaves_no_levels_behind() -> None:
    """After a jump of the bars the swings and ranges of the past are not offered any more."""
    factors = fold_all(BARS)
    factors.hole = "bars are missing"
    found = computed(factors)

    assert (0, 0, 0, 0) == (found.swing_high, found.swing_low, found.atr_5m_milliticks, found.highest_day)
    assert not any(found.ready(letter) for letter in "TMSVC")


def test_a_symbol_is_due_after_a_closed_bar_and_when_its_scores_grew_old() -> None:
    """Not before."""
    factors = fold_all(BARS)
    now_ms = factors.bar_close_ms
    known = computed(factors)
    due = [
        is_due(None, factors, now_ms=now_ms, serve_ms=60_000),
        is_due(known, factors, now_ms=now_ms + 59_999, serve_ms=60_000),
        is_due(known, factors, now_ms=now_ms + 60_000, serve_ms=60_000),
    ]
    factors.versions.bar += 1

    assert [True, False, True] == due
    assert is_due(known, factors, now_ms=now_ms, serve_ms=60_000)


def test_open_interest_that_comes_while_o_is_missing_or_old_makes_its_symbol_due() -> None:
    """A newly shortlisted symbol is judged by what was read of it at once; later polls wait for the next turn."""
    factors = fold_all(BARS)
    now_ms = factors.bar_close_ms
    known = computed(factors)
    stale, good = (
        msgspec.structs.replace(
            known, factors=known.factors | {"O": FactorScore(value=1, quality=quality, ready=True, as_of_ms=now_ms)}
        )
        for quality in (899, 900)
    )
    assert not known.factors["O"].ready
    factors.versions.interest += 1

    assert [True, True, False] == [
        is_due(scores, factors, now_ms=now_ms, serve_ms=60_000) for scores in (known, stale, good)
    ]


def test_unchanged_inputs_keep_the_vector_and_renew_the_companions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn with the same input versions computes nothing but OBI, OFI, lean and flow."""
    factors = fold_all(BARS)
    now_ms = factors.bar_close_ms
    known = refreshed(None, factors, now_ms=now_ms, parameters=DEFAULT)
    factor_set.on_quote(factors, quote(PRICE, PRICE + 1, bid_lots=30, ask_lots=10, at_ms=now_ms), now_ms=now_ms)
    monkeypatch.setattr(factor_values, "values", None)
    found = refreshed(known, factors, now_ms=now_ms + 200, parameters=DEFAULT)

    assert (known.factors, now_ms + 200) == (found.factors, found.at_ms)
    assert found.lean_millibps > 0
