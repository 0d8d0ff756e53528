"""The oracle's factors keep to their bounds, are ready when said, mirror with price, and know nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.oracle import beyond, factors, levels
from tests.oracle.everything import every_factor
from tests.oracle.factors import Factor
from tests.oracle.machinery import Array, Bars, atr
from tests.oracle.markets import market, recorded

SEEDS = range(4)
DAYS = 4


def mirrored(bars: Bars) -> Bars:
    """The same bars with price turned upside down about a price on the grid, and takers' sides exchanged."""
    decimals = round(-np.log10(bars.tick))
    about = 2 * bars.high.max()

    def turned(prices: Array) -> Array:
        return np.asarray(np.round(about - prices, decimals))

    return replace(
        bars,
        open=turned(bars.open),
        high=turned(bars.low),
        low=turned(bars.high),
        close=turned(bars.close),
        taker_volume=bars.volume - bars.taker_volume,
        taker_quote=bars.quote - bars.taker_quote,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_bounds(seed: int) -> None:
    """Directional factors stay within ±100, I within 0..100, quality within 0..1 and 0 exactly where not ready."""
    for letter, factor in every_factor(market(seed, DAYS)).items():
        usable = factor.value[factor.ready]
        assert len(usable) > 500, letter
        assert (np.abs(usable) <= 100 + 1e-9).all(), letter
        assert letter != "I" or (usable >= 0).all()
        assert (factor.quality[~factor.ready] == 0).all(), letter
        assert ((factor.quality >= 0) & (factor.quality <= 1)).all(), letter


def test_ready_when_the_domain_says() -> None:
    """Without gaps: T after 120 bars, M 40, V 96, C 11 + 96, O 12 + 96, B 288, Q 12, I 100 returns, F with C and O."""
    made = market(seed=0, days=2)
    bars = replace(made.bars, quote=made.bars.quote + 1.0)  # no silent stretch in front of C
    found = every_factor(replace(made, bars=bars, contracts=np.nan_to_num(made.contracts, nan=1e6), eth=made.btc + 1.0))
    first = {letter: int(np.argmax(factor.ready)) + 1 for letter, factor in found.items() if letter != "S"}

    assert {"T": 120, "M": 40, "V": 96, "C": 107, "O": 108, "B": 288, "Q": 12, "I": 101, "F": 108} == first


@pytest.mark.parametrize("seed", SEEDS)
def test_price_upside_down_negates_the_scores(seed: int) -> None:
    """T, M, S, V, C, O and F of a mirrored market are the negated ones (domain 4.12, symmetry)."""
    made = market(seed, DAYS)
    there = every_factor(made)
    back = every_factor(replace(made, bars=mirrored(made.bars)))

    for letter in "TMSVCOF":
        both = there[letter].ready & back[letter].ready
        assert there[letter].ready.sum() == both.sum(), letter
        assert np.allclose(there[letter].value[both], -back[letter].value[both], rtol=0, atol=1e-6), letter


@pytest.mark.parametrize("seed", SEEDS)
def test_no_look_ahead(seed: int) -> None:
    """A factor of the first half of a market is that of the whole market up to there."""
    made = market(seed, DAYS)
    half = len(made.bars) // 2
    cut = {name: value[:half] if name != "tick" else value for name, value in vars(made.bars).items()}
    events = made.events
    before = events.time_ms < made.bars.open_ms[half]
    first = replace(
        made,
        bars=Bars(**cut),
        contracts=made.contracts[:half],
        btc=made.btc[:half],
        eth=made.eth[:half],
        rate=made.rate[:half],
        events=type(events)(*(field[before] for field in events)),
    )

    for letter, factor in every_factor(first).items():
        assert np.array_equal(factor.value, whole_of(seed)[letter].value[:half], equal_nan=True), letter


def whole_of(seed: int) -> dict[str, Factor]:
    """The factors of a whole market, computed once a seed."""
    if seed not in _KEPT:
        _KEPT[seed] = every_factor(market(seed, DAYS))
    return _KEPT[seed]


_KEPT: dict[int, dict[str, Factor]] = {}


def test_pivots_alternate_and_are_known_only_later() -> None:
    """Highs and lows take turns, each confirmed 3·a away from it, not before the bar it stood on."""
    bars = market(seed=1, days=20).bars
    a = atr(bars).value
    found = factors.pivots(bars)

    assert len(found) > 100
    assert all(first.side == -second.side for first, second in pairwise(found))
    for pivot in found:
        confirming = bars.low[pivot.confirmed] if pivot.side > 0 else bars.high[pivot.confirmed]
        assert pivot.bar <= pivot.confirmed
        assert pivot.side * (pivot.price - confirming) >= 3 * a[pivot.confirmed] - 1e-9


def test_mirrored_scores_swap_the_sides() -> None:
    """Negating every directional score, and F, swaps P of long and short exactly (domain 4.12)."""
    scores = {"T": 31.6, "M": 44.0, "S": 70.0, "V": 65.0, "C": 54.0, "O": 30.0, "B": -50.0, "Q": -34.0}
    qualities = {"L": (82.0, 0.9), "I": (45.0, 1.0)}
    there = factors.composite({**{name: (value, 0.8) for name, value in scores.items()}, **qualities})
    back = factors.composite({**{name: (-value, 0.8) for name, value in scores.items()}, **qualities})
    fund = np.array([37.0])

    for side in (1, -1):
        with_fund, _ = factors.fund_multiplier(fund, True, side)
        against, _ = factors.fund_multiplier(-fund, True, -side)
        assert factors.probability(there.e, side, with_fund) == pytest.approx(
            factors.probability(back.e, -side, against), rel=1e-12
        )


def test_a_missing_factor_drops_out() -> None:
    """Without quality a factor is in neither sum; with all of one score, E_dir is that score whatever is missing."""
    everything = dict.fromkeys("TMSVCOBQ", (40.0, 1.0))
    without = {**everything, "O": (-100.0, 0.0), "L": (0.0, 0.0)}
    result = factors.composite(without)

    assert 40.0 == pytest.approx(float(result.direction))
    assert 110 / 130 == float(result.coverage)
    assert 0.0 == result.adjustment
    assert np.isnan(factors.composite({}).e)


def test_fund_leading_forbids_chasing() -> None:
    """F below −70 for a side vetoes it with 0.60; for the other side it is at most 1.15; not ready, nothing happens."""
    fund = np.array([-80.0])

    assert ([0.6], [True]) == tuple(map(list, factors.fund_multiplier(fund, True, 1)))
    assert 1.0 < factors.fund_multiplier(fund, True, -1)[0][0] <= 1.15
    assert ([1.0], [False]) == tuple(map(list, factors.fund_multiplier(fund, False, 1)))


def test_repeated_forced_orders_count_once() -> None:
    """(T, side, q) identifies a forced order; ap·z is its notional, p·q where ap is missing."""
    found = beyond.liquidations(
        np.array([1, 1, 1, 2]),
        np.array([True, True, False, True]),
        average=np.array([10.0, 10.0, 10.0, 0.0]),
        filled=np.array([2.0, 2.0, 2.0, 0.0]),
        price=np.array([9.0, 9.0, 9.0, 9.0]),
        quantity=np.array([2.0, 2.0, 2.0, 3.0]),
    )

    assert ([1, 1, 2], [-1, 1, -1], [20.0, 20.0, 27.0]) == tuple(map(list, found))


def test_decayed_sums_are_sums() -> None:
    """The running sum equals the sum written out; an event counts from its own time on."""
    times, amounts = np.array([1_000, 2_000, 400_000]), np.array([5.0, 7.0, 11.0])
    at_ms = np.array([500, 1_000, 300_000, 600_000])
    expected = [
        sum(amount * np.exp(-(at - time) / 300_000) for time, amount in zip(times, amounts, strict=True) if time <= at)
        for at in at_ms
    ]

    assert expected == pytest.approx(list(beyond.decayed_sum(times, amounts, at_ms)), rel=1e-12)


def test_a_spent_cascade_is_told() -> None:
    """Ten minutes after one order its decayed total is 14 % of the peak, but the peak is forgotten just then."""
    events = beyond.Liquidations(np.array([0]), np.array([-1]), np.array([1e6]))
    at_ms = np.array([0, 300_000, 400_000, 599_999, 600_000])
    price, extreme, a = np.full(5, 101.0), np.full(5, 100.0), np.full(5, 2.0)

    assert [False, False, True, True, False] == list(beyond.exhausted(events, at_ms, price, extreme, a))
    assert not beyond.exhausted(events, at_ms, price, extreme, 1.01 * a).any()


def test_a_jump_of_open_interest_waits_for_the_next_poll() -> None:
    """A jump over 30 % counts one poll later if it stays, and not at all if it goes."""
    found = factors.confirmed_polls(np.array([100.0, 129.0, 200.0, 205.0, 100.0, 200.0, np.nan, 210.0]))

    assert [100.0, 129.0, 129.0, 205.0, 205.0, 200.0, 200.0, 210.0] == list(found)


def test_a_copy_is_not_independent() -> None:
    """A symbol that moves as BTC does has I near 0; one that moves by itself has I near 100."""
    random = np.random.default_rng(5)
    btc, eth, own = (100 * np.exp(random.normal(0, 0.001, 2000).cumsum()) for _ in range(3))

    assert beyond.independence(btc**1.5, btc, eth).value[-1] < 1
    assert beyond.independence(btc**1.5, btc).value[-1] < 1e-6
    assert beyond.independence(own, btc, eth).value[-1] > 95


def test_on_recorded_days() -> None:
    """On ten recorded days the scores are as wide as domain 8.1 says of noise, within a third: the scales are right."""
    bars = recorded("ETHUSDT")
    wide = {
        letter: value.value[value.ready].std()
        for letter, value in (("T", factors.trend(bars)), ("M", factors.momentum(bars)), ("S", factors.structure(bars)))
    }

    assert {"T": 34, "M": 36, "S": 51} == pytest.approx(wide, rel=1 / 3)
    assert len(bars) == 2880
    assert levels.ticks_away(1, bars.close[-1], bars.tick) * bars.tick == pytest.approx(bars.close[-1])
