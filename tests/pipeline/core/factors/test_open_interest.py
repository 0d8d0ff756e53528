"""The only place for tests of factor O: test vector, labels, jumps, crowding, what is missing and how it ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import factor_set
from pipeline.core.bars import BAR_MS
from pipeline.core.events import OpenInterest
from pipeline.core.factor_values import values
from pipeline.core.factors.factor import Age
from pipeline.core.factors.open_interest import OpenInterestParameters, age_of, label, new, score
from pipeline.core.units import Lots, Milliseconds
from tests.factor_market import START_MS, fold_all, interests, walk

PARAMETERS = OpenInterestParameters()
AGE = Age(600_000, 1_500_000)


@pytest.mark.parametrize(("interest", "expected"), [(0.8, 30.395), (-0.8, 16.111)])
def test_vector(interest: float, expected: float) -> None:
    """Domain 8.4: x_p 1.2 with x_o .8 / −.8 give 30.395 / 16.111."""
    actual = score(price=1.2, interest=interest, crowded=False, parameters=PARAMETERS)

    assert expected == pytest.approx(actual, abs=5e-4)


@given(st.floats(-30, 30), st.floats(-30, 30), st.booleans())
def test_bounds_and_mirror(price: float, interest: float, crowded: bool) -> None:
    """O stays within ±100 and turns its sign with the price, to the bit."""
    value = score(price=price, interest=interest, crowded=crowded, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(price=-price, interest=interest, crowded=crowded, parameters=PARAMETERS)


@pytest.mark.parametrize(
    ("price", "interest", "expected"),
    [
        (0.3, 0.3, "up_up"),
        (0.3, -0.3, "up_dn"),
        (-0.3, 0.3, "dn_up"),
        (-0.3, -0.3, "dn_dn"),
        (0.25, 9.0, "flat"),
        (9.0, -0.25, "flat"),
    ],
)
def test_label(price: float, interest: float, expected: str) -> None:
    """Four quadrants with a dead band of 0.25 on both axes."""
    assert expected == label(price=price, interest=interest, parameters=PARAMETERS)


@pytest.mark.parametrize(
    ("polls", "believed"),
    [
        ([100, 129], [100, 129]),
        ([100, 131, 135], [100, 100, 135]),  # confirmed by the next poll
        ([100, 131, 100], [100, 100, 100]),  # forgotten
        ([100, 500, 200, 210], [100, 100, 100, 210]),  # the second jump is another one
        ([100, 60, 62], [100, 100, 62]),
    ],
)
def test_a_jump_waits_for_its_confirmation(polls: list[int], believed: list[int]) -> None:
    """More than 30 % in one poll is held for one poll."""
    interest = new(PARAMETERS)
    seen = []
    for poll in polls:
        interest.poll(float(poll), now_ms=START_MS, poll_ms=60_000, parameters=PARAMETERS)
        seen.append(interest.lots)

    assert believed == seen


def test_crowding_is_against_the_average_before_the_bar() -> None:
    """Above 1.3 × the score is damped, above 1.5 × entries are blocked."""
    bars = walk(130, seed=51)
    details = []
    for last in (1.0, 1.31, 1.51):
        told = [1_000_000] * 129 + [int(1_000_000 * last)]
        if last > 1.3:
            told[128] = 1_290_000  # in two steps, so that no jump is held back
        state = fold_all(bars, interest=told)
        details.append(values(state, now_ms=state.bar_close_ms).factors["O"].detail)

    assert [(False, False), (True, False), (True, True)] == [(d["crowded"], d["blocks_entries"]) for d in details]


def test_it_ages_with_the_polls() -> None:
    """Whole for two polls, gone after five; a symbol polled less often ages more slowly."""
    bars = walk(400, seed=52)
    state = fold_all(bars, interest=interests(400, seed=53))
    asof = state.interest.at_ms

    assert [1.0, 0.5, 0.0] == [
        pytest.approx(values(state, now_ms=asof + polls * 300_000 // 2).factors["O"].quality) for polls in (4, 7, 10)
    ]
    assert Age(150_000, 375_000) == age_of(new(PARAMETERS), Age(2, 5))


def test_nothing_stands_in_for_missing_open_interest() -> None:
    """Without polls, or with one that is too old at a close, the factor is missing."""
    bars = walk(130, seed=54)
    never = values(fold_all(bars), now_ms=bars[-1].open_ms + BAR_MS).factors["O"]
    state = fold_all(bars, interest=interests(130, seed=55))
    state.interest.add(now_ms=state.bar_close_ms + 1_500_000, age=AGE)

    assert ["no open interest now and 12 bars ago"] * 2 == [
        never.detail["missing"],
        values(state, now_ms=state.bar_close_ms).factors["O"].detail["missing"],
    ]


def test_nonsense_is_refused() -> None:
    """Zero, negative and absurd quantities change nothing and are counted."""
    state = fold_all(walk(3, seed=56))
    for lots in (0, -5, 1 << 60):
        factor_set.on_open_interest(state, OpenInterest(Lots(lots), Milliseconds(1)), now_ms=START_MS)

    assert (3, 0.0) == (state.refused["open_interest"], state.interest.lots)
