"""The only place for tests of factor I: bounds, regressors, alignment of three streams of bars, what is omitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.bars import BAR_MS
from pipeline.core.factors.factor import Age, Factor
from pipeline.core.factors.independence import Independence, IndependenceParameters, factor, new

PARAMETERS = IndependenceParameters()
AGE = Age(310_000, 620_000)
START_MS = 1_000_000_200_000


def _closes(count: int, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    common, other = rng.normal(0, 1e-3, count), rng.normal(0, 1e-3, count)
    own = rng.normal(0, 1e-3, count)
    moves = {"own": 0.8 * common + own, "bitcoin": common, "ether": 0.7 * common + 0.5 * other}
    return {name: [float(x) for x in 100 * np.exp(np.cumsum(move))] for name, move in moves.items()}


def _fold(closes: dict[str, list[float]], order: tuple[str, ...] = ("own", "bitcoin", "ether")) -> Independence:
    state = new(PARAMETERS)
    for index in range(len(closes["own"])):
        for name in order:
            close = closes[name][index]
            if close:
                state.add(getattr(state, name), START_MS + index * BAR_MS, close)
    return state


def _factor(state: Independence, symbol: str = "SOLUSDT") -> Factor:
    return factor(state, symbol, PARAMETERS, AGE, version=(1,), now_ms=state.single_ms + BAR_MS)


@pytest.mark.parametrize(
    "order", [("bitcoin", "own", "ether"), ("ether", "bitcoin", "own"), ("own", "ether", "bitcoin")]
)
def test_the_order_in_which_bars_arrive_changes_nothing(order: tuple[str, ...]) -> None:
    """Whatever comes last completes the bar: the same bits in any order."""
    closes = _closes(150, 1)

    assert _factor(_fold(closes)) == _factor(_fold(closes, order))


@given(st.integers(0, 10_000))
def test_bounds(seed: int) -> None:
    """Between 0 and 100 whatever the markets do."""
    found = _factor(_fold(_closes(110, seed)))

    assert 0.0 <= found.value <= 100.0
    assert found.ready


def test_a_copy_of_bitcoin_is_not_independent_and_noise_is() -> None:
    """The ends of the scale."""
    closes = _closes(600, 3)
    copy = _factor(_fold({**closes, "own": closes["bitcoin"]}))
    noise = _factor(_fold({**closes, "own": _closes(600, 4)["own"]}))

    assert copy.value < 1.0
    assert 90.0 < noise.value


def test_it_is_omitted_for_bitcoin_and_ether_is_told_by_bitcoin_alone() -> None:
    """BTC has nothing to be independent of; ETH is not regressed on itself."""
    state = _fold(_closes(150, 5))

    assert "omitted for BTC itself" == _factor(state, "BTCUSDT").detail["missing"]
    assert "beta_eth" not in _factor(state, "ETHUSDT").detail
    assert "beta_eth" in _factor(state).detail


def test_without_ether_one_regressor_is_left() -> None:
    """ETH that has been missing for two bars is not used; for one bar it may be on its way."""
    closes = _closes(150, 6)
    for gone, both in ((1, True), (2, False)):
        ether = closes["ether"][:-gone] + [0.0] * gone
        assert both == ("beta_eth" in _factor(_fold({**closes, "ether": ether})).detail)


def test_too_few_aligned_bars_and_no_variance_are_omitted() -> None:
    """100 returns on common bars are wanted, and a market that moves."""
    few = _factor(_fold(_closes(100, 7)))
    flat = _fold({name: [100.0] * 150 for name in ("own", "bitcoin", "ether")})

    assert ["99 of 100 aligned bars", "no variance"] == [few.detail["missing"], _factor(flat).detail["missing"]]


def test_a_hole_gives_no_return() -> None:
    """The close after a missing bar is not compared with the one before it; an older bar changes nothing."""
    closes = _closes(150, 8)
    state = _fold(closes)
    count = state.single.count
    at = START_MS + 151 * BAR_MS
    for series in (state.own, state.bitcoin):
        state.add(series, at, 500.0)
        state.add(series, START_MS, 1.0)
    held = state.single.count
    for series in (state.own, state.bitcoin):
        state.add(series, at + BAR_MS, 501.0)

    assert (count, count + 1) == (held, state.single.count)
