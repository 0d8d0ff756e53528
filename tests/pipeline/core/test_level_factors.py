"""The only place for tests of what factors do to the first levels: every row of table 1.4, the swing, the mirror."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.level_factors import NONE, level_factors, soft_minimum
from pipeline.core.scores import FactorScore
from tests.core_scores import LETTERS, scores

QUIET = {"odds_long": 500_000, "odds_short": 500_000}


def stop(side: Side = Side.BUY, *, strength: int = 0, **changes: Any) -> tuple[int, ...]:
    """The four multipliers of the stop: signal, trend, liquidity, independence."""
    return level_factors(scores(**(QUIET | changes)), side, strength=strength).stop


def target(side: Side = Side.BUY, *, strength: int = 0, **changes: Any) -> tuple[int, ...]:
    """The three multipliers of the target: signal, trend, open interest."""
    return level_factors(scores(**(QUIET | changes)), side, strength=strength).target


def test_without_scores_nothing_is_multiplied() -> None:
    """The tables stand by themselves."""
    assert level_factors(None, Side.BUY, strength=0) == NONE


@pytest.mark.parametrize(
    ("strength", "stop_is", "target_is"),
    [(90_000, 700, 1_200), (89_999, 850, 1_100), (70_000, 850, 1_100), (69_999, 1_000, 1_000)],
)
def test_signal_is_half_of_strength_and_odds(strength: int, stop_is: int, target_is: int) -> None:
    """(strength + 100 P) / 2 with P = 0.7: 80 and 70 are the thresholds."""
    known = scores(odds_long=700_000, odds_short=300_000)
    found = level_factors(known, Side.BUY, strength=strength)

    assert (stop_is, target_is) == (found.stop[0], found.target[0])


@pytest.mark.parametrize(
    ("trend", "stop_is", "target_is"),
    [
        (80, 850, 1_400),
        (-80, 850, 1_400),
        (79, 850, 1_250),
        (70, 850, 1_250),
        (69, 950, 1_100),
        (50, 950, 1_100),
        (49, 1_000, 900),
        (0, 1_000, 900),
    ],
)
def test_rows_of_the_trend(trend: int, stop_is: int, target_is: int) -> None:
    """abs(T): a trend that runs needs less room and goes further; none takes a tenth off the target."""
    values = {"T": trend * 1_000}

    assert (stop_is, target_is) == (stop(values=values)[1], target(values=values)[1])


@pytest.mark.parametrize(("liquidity", "is_now"), [(90, 900), (80, 1_000), (60, 1_100), (59, 1_400), (0, 1_400)])
def test_rows_of_liquidity(liquidity: int, is_now: int) -> None:
    """The thinner the book, the wider the stop."""
    assert is_now == stop(values={"L": liquidity * 1_000})[2]


@pytest.mark.parametrize(
    ("independence", "market", "long", "short"),
    [
        (60, "down", 1_000, 1_000),
        (40, "down", 1_050, 1_050),
        (39, "down", 1_200, 1_100),
        (39, "up", 1_100, 1_200),
        (39, "flat", 1_100, 1_100),
        (39, "", 1_100, 1_100),
    ],
)
def test_rows_of_independence(independence: int, market: str, long: int, short: int) -> None:
    """A symbol that follows Bitcoin gets more room, most against Bitcoin's trend."""
    known = {"values": {"I": independence * 1_000}, "market_trend": market}

    assert (long, short) == (stop(Side.BUY, **known)[3], stop(Side.SELL, **known)[3])


@pytest.mark.parametrize(
    ("regime", "interest", "long", "short"),
    [
        ("up_up", 71, 1_250, 1_000),
        ("up_up", 70, 1_000, 1_000),
        ("dn_up", -71, 1_000, 1_250),
        ("up_dn", 40, 800, 800),
        ("dn_dn", -40, 800, 800),
        ("flat", 80, 1_000, 1_000),
    ],
)
def test_rows_of_open_interest(regime: str, interest: int, long: int, short: int) -> None:
    """A build-up of the trade's own side carries the target; covering and unwinding shorten it for both."""
    known = {"values": {"O": interest * 1_000}, "regime": regime}

    assert (long, short) == (target(Side.BUY, **known)[2], target(Side.SELL, **known)[2])


def test_what_is_missing_multiplies_by_one() -> None:
    """A missing factor never becomes a number, neither the best row's nor the worst's."""
    nothing = msgspec.structs.replace(
        scores(basis_millibps=90_000, swing_low=40_000, regime="", **QUIET),
        factors={letter: FactorScore(value=0, quality=0, ready=False, as_of_ms=0) for letter in LETTERS},
    )
    found = level_factors(nothing, Side.BUY, strength=0)

    assert ((1_000,) * 4, (1_000,) * 3) == (found.stop, found.target)
    assert (False, 0) == (found.basis_against, found.swing)


def test_the_basis_is_against_the_side_that_pays_for_it() -> None:
    """A perpetual more than 50 bps above its index is against a long alone."""
    known = scores(values={"B": -50_000}, basis_millibps=50_001)

    assert [True, False] == [level_factors(known, side, strength=0).basis_against for side in Side]


@pytest.mark.parametrize(("second", "is_now"), [(18_000, 17_306_853), (10_000, 9_999_665)])
def test_vectors_of_the_soft_minimum(second: int, is_now: int) -> None:
    """Domain 8.4: softmin(1.8, 1.8, .1) = 1.73069, softmin(1.0, 1.8, .1) = .99997; here in ticks of 0.0001."""
    assert is_now == soft_minimum(18_000, second, 1_000)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**5))
def test_the_soft_minimum_lies_just_below_the_minimum(first: int, second: int, width: int) -> None:
    """It is symmetric, never above the smaller one, and below it by at most t · ln 2; without width it is that one."""
    found = soft_minimum(first, second, width)
    least = min(first, second) * 1_000

    assert found == soft_minimum(second, first, width)
    assert least - 1_000 * width * math.log(2) - 1 <= found <= least
    if not width:
        assert least == found
