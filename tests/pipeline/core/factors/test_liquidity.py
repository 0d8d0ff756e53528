"""The only place for tests of factor L and OBI: vectors, coverage, books that cannot be, the levels it reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.book import Book, apply_diff, apply_snapshot
from pipeline.core.events import DepthDiff, DepthSnapshot, Level
from pipeline.core.factors.factor import Age
from pipeline.core.factors.liquidity import (
    LiquidityParameters,
    factor,
    imbalance,
    impact,
    levels_of,
    new,
    score,
)
from pipeline.core.units import Milliseconds

PARAMETERS = LiquidityParameters()
QUOTES = Age(1_000, 5_000)
NOW_MS = 1_000_000
SIZES = st.lists(st.integers(1, 10**6), min_size=1, max_size=30)


def test_vector() -> None:
    """Domain 8.4: spread 3, depth 600k, impact 2 bps, balanced give 83.65."""
    actual = score(spread_bps=3.0, depth=600_000.0, impact_bps=2.0, fills=True, lean=0.0, parameters=PARAMETERS)

    assert 83.65 == pytest.approx(actual)


def test_vector_of_the_average_price() -> None:
    """Domain 8.4: asks 50010×1, 50020×15, N 100k, mid 50005 give 50014.9985 and 1.9995 bps."""
    bps, filled = impact([(50_010, 1), (50_020, 15)], 100_000.0, mid=50_005.0, tick=1.0, lot=1.0)

    assert filled
    assert 1.9995 == pytest.approx(bps, abs=5e-5)
    assert 50_014.9985 == pytest.approx(50_005.0 * (1 + bps / 1e4), abs=5e-5)


@given(st.floats(0, 1e4), st.floats(0, 1e9), st.floats(0, 1e5), st.booleans(), st.floats(-1, 1))
def test_bounds(spread: float, depth: float, bps: float, fills: bool, lean: float) -> None:
    """L stays within 0 and 100 and does not know a direction."""
    value = score(spread_bps=spread, depth=depth, impact_bps=bps, fills=fills, lean=lean, parameters=PARAMETERS)

    assert 0.0 <= value <= 100.0 + 1e-9
    assert value == score(
        spread_bps=spread, depth=depth, impact_bps=bps, fills=fills, lean=-lean, parameters=PARAMETERS
    )


@given(SIZES, SIZES)
def test_imbalance_is_bounded_and_mirrored(bids: list[int], asks: list[int]) -> None:
    """Swapping the sides turns the sign, to the bit."""
    here = [(1_000 - k, lots) for k, lots in enumerate(bids)]
    there = [(1_001 + k, lots) for k, lots in enumerate(asks)]
    value = imbalance(here, there, PARAMETERS)

    assert -1.0 <= value <= 1.0
    assert -value == imbalance(there, here, PARAMETERS)


@pytest.mark.parametrize(("lean", "expected"), [(0.29, 10.0), (-0.3, 7.0), (0.49, 7.0), (0.5, 4.0), (-1.0, 4.0)])
def test_a_leaning_book_is_worth_less(lean: float, expected: float) -> None:
    """100, 70 or 40 with a weight of a tenth."""
    actual = score(spread_bps=99.0, depth=0.0, impact_bps=1e6, fills=True, lean=lean, parameters=PARAMETERS)

    assert pytest.approx(expected) == actual


def test_a_book_that_cannot_fill_gives_a_lower_bound_and_no_score_for_it() -> None:
    """The average of what is there is told, marked as a bound, and Si is 0."""
    state = new(PARAMETERS)
    state.add([(10_000, 1)], [(10_001, 1)], whole=True, tick=1.0, lot=1.0, now_ms=NOW_MS, parameters=PARAMETERS)
    filled = score(
        spread_bps=state.spread_bps, depth=state.depth, impact_bps=0.0, fills=False, lean=0.0, parameters=PARAMETERS
    )

    assert state.impact_is_bound
    assert filled == state.score.value


@pytest.mark.parametrize(
    ("bids", "asks", "reason"),
    [
        ([], [(11, 1)], "a side of the book is empty"),
        ([(10, 1)], [], "a side of the book is empty"),
        ([(11, 1)], [(11, 1)], "the book is crossed"),
        ([(12, 1)], [(11, 1)], "the book is crossed"),
        ([(10, 0)], [(11, 1)], "the book holds a level that cannot be"),
        ([(10, 1), (0, 1)], [(11, 1)], "the book holds a level that cannot be"),
    ],
)
def test_a_book_that_cannot_be_is_missing(bids: list[Level], asks: list[Level], reason: str) -> None:
    """Quality 0 with the reason, until a true book comes."""
    state = new(PARAMETERS)
    state.add(bids, asks, whole=True, tick=1.0, lot=1.0, now_ms=NOW_MS, parameters=PARAMETERS)
    found = factor(state, QUOTES, version=(1,), now_ms=NOW_MS)
    state.add([(10, 1)], [(11, 1)], whole=True, tick=1.0, lot=1.0, now_ms=NOW_MS, parameters=PARAMETERS)

    assert (0.0, reason) == (found.quality, found.detail["missing"])
    assert factor(state, QUOTES, version=(2,), now_ms=NOW_MS).ready


def test_twenty_levels_of_a_fine_tick_cover_next_to_nothing() -> None:
    """Quality is the share of ±10 bps that is shown; the depth is only a lower bound."""
    state = new(PARAMETERS)
    bids = [(600_000 - k, 100) for k in range(20)]
    asks = [(600_001 + k, 100) for k in range(20)]
    state.add(bids, asks, whole=False, tick=0.1, lot=0.001, now_ms=NOW_MS, parameters=PARAMETERS)

    assert pytest.approx(19.5 / 600_000.5 * 1e3) == factor(state, QUOTES, version=(1,), now_ms=NOW_MS).quality


def test_it_is_measured_at_most_twice_a_second() -> None:
    """500 ms after a measure the next one is due; a broken one is due at once."""
    state = new(PARAMETERS)
    assert state.wants(NOW_MS, PARAMETERS)
    state.add([(10, 1)], [(11, 1)], whole=True, tick=1.0, lot=1.0, now_ms=NOW_MS, parameters=PARAMETERS)

    assert [False, True] == [state.wants(NOW_MS + ms, PARAMETERS) for ms in (499, 500)]


def _book(bids: list[Level], asks: list[Level]) -> Book:
    book = Book()
    apply_diff(book, DepthDiff(1, 2, 0, [], [], Milliseconds(1)))
    apply_snapshot(book, DepthSnapshot(2, bids, asks, Milliseconds(1)))
    return book


def test_the_levels_it_reads_are_those_it_needs() -> None:
    """±10 bps, at least 20 levels, and as many as the notional takes."""
    bids = [(100_000 - 10 * k, 5) for k in range(100)]
    asks = [(100_010 + 10 * k, 5) for k in range(100)]
    near = levels_of(_book(bids, asks), tick=1.0, lot=1.0, notional=100.0)
    few = levels_of(_book(bids[:3], asks[:3]), tick=1.0, lot=1.0, notional=100.0)
    coarse = [(1_000 - k, 1) for k in range(90)]
    deep = levels_of(_book(coarse, [(1_001 + k, 1) for k in range(90)]), tick=1.0, lot=1.0, notional=50_000.0)

    assert (bids[:20], asks[:20]) == near
    assert (bids[:3], asks[:3]) == few
    assert sum(price * lots for price, lots in deep[0][:-1]) < 50_000 <= sum(price * lots for price, lots in deep[0])


def test_all_levels_within_ten_basis_points_are_read() -> None:
    """A fine tick has more than 20 levels within ±10 bps: all of them count."""
    bids = [(100_000 - k, 5) for k in range(300)]
    asks = [(100_002 + k, 5) for k in range(300)]
    found_bids, found_asks = levels_of(_book(bids, asks), tick=1.0, lot=1.0, notional=100.0)

    assert [99_901, 100_101] == [found_bids[-1][0], found_asks[-1][0]]
