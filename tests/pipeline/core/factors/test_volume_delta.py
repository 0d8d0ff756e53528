"""The only place for tests of factor C and its tape: test vector, absorption, what is missing, trades between bars."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import factor_set
from pipeline.core.bars import BAR_MS
from pipeline.core.events import Bar, Trade
from pipeline.core.factor_set import FactorState
from pipeline.core.factor_values import values
from pipeline.core.factors.price import Prices
from pipeline.core.factors.volume_delta import Tape, VolumeDeltaParameters, new, score
from pipeline.core.statistics import Window
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.factor_market import START_MS, STEP_E8, TICK_E8, fold, fold_all, walk
from tests.factor_market import new as new_state

PARAMETERS = VolumeDeltaParameters()


def test_vector() -> None:
    """Domain 8.4: z 1.5, R² .35 give 53.988."""
    actual = score(z=1.5, determination=0.35, absorbed=False, parameters=PARAMETERS)

    assert 53.988 == pytest.approx(actual, abs=5e-4)


@given(st.floats(-10, 10), st.floats(0, 1), st.booleans())
def test_bounds_and_mirror(z: float, determination: float, absorbed: bool) -> None:
    """C stays within ±100 and turns its sign with z, to the bit."""
    value = score(z=z, determination=determination, absorbed=absorbed, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(z=-z, determination=determination, absorbed=absorbed, parameters=PARAMETERS)


@pytest.mark.parametrize(
    ("change", "z", "expected"),
    [(-2.0, 1.005, True), (-2.0, 0.995, False), (-1.005, 2.0, True), (-0.995, 2.0, False), (2.0, 2.0, False)],
)
def test_absorption_is_flow_against_price(change: float, z: float, expected: bool) -> None:
    """Buyers without effect: D above 0, the price falls by more than a deviation, the flow is more than usual."""
    state = new(PARAMETERS)
    prices = Prices(closes=Window(size=13), change=change, change_score=change, change_known=True)
    for _ in range(200):
        state.add(prices, quote=100.0, delta=10.0, tape_differs=False, parameters=PARAMETERS)
    state.moments.mean = 0.1 - z * state.moments.deviation
    state.add(prices, quote=100.0, delta=10.0, tape_differs=False, parameters=PARAMETERS)

    assert expected == state.absorbed


def test_twelve_bars_without_volume_are_missing() -> None:
    """D does not exist then: quality 0, and nothing enters its mean."""
    bars = walk(140, seed=41)
    state = fold_all(bars)
    count = state.bars.delta.moments.count
    silent = [
        msgspec.structs.replace(
            bar, open_ms=Milliseconds(bar.open_ms + 140 * BAR_MS), quote_volume=E8(0), taker_quote=E8(0)
        )
        for bar in bars[:13]
    ]
    for bar in silent:
        factor_set.on_closed_bar(state, bar, ranges=(50.0, 200.0), now_ms=bar.open_ms + BAR_MS)
    factor = values(state, now_ms=state.bar_close_ms).factors["C"]

    assert (0.0, "no volume in 12 bars") == (factor.quality, factor.detail["missing"])
    assert count + 11 == state.bars.delta.moments.count


# --------------------------------------------------------------------------------------------------------------- tape


def _trade(number: int, at_ms: int, *, lots: int = 1_000, sold: bool = False) -> Trade:
    return Trade(number, Ticks(600_000), Lots(lots), sold, Milliseconds(at_ms))


def _quote(lots: int) -> float:
    return 600_000 * TICK_E8 / ONE_E8 * lots * STEP_E8 / ONE_E8


def _closing(state: FactorState, *, quote: float, bought: float) -> float:
    """Quality of C after the next bar closes with these volumes."""
    last = walk(200, seed=42)[199]
    bar = msgspec.structs.replace(
        last,
        open_ms=Milliseconds(state.bar_open_ms + BAR_MS),
        quote_volume=E8(round(quote * ONE_E8)),
        taker_quote=E8(round(bought * ONE_E8)),
    )
    factor_set.on_closed_bar(state, bar, ranges=(50.0, 200.0), now_ms=bar.open_ms + BAR_MS)
    return values(state, now_ms=state.bar_close_ms).factors["C"].quality


def _taped(trades: list[tuple[int, int, bool]]) -> FactorState:
    """199 bars, then trades (id, lots, sold) in the bar that forms, after one in the bar before."""
    state = new_state()
    bars: list[Bar] = walk(199, seed=42)
    for _ in fold(state, bars):
        pass
    start = state.bar_close_ms
    factor_set.on_trade(state, _trade(9, start - 1), now_ms=start - 1)
    for step, (number, lots, sold) in enumerate(trades):
        factor_set.on_trade(state, _trade(number, start + step, lots=lots, sold=sold), now_ms=start + step)
    return state


@pytest.mark.parametrize(
    ("trades", "quote", "bought", "differs"),
    [
        ([(10, 3_000, False), (11, 1_000, True)], 4_000, 3_000, False),  # the same
        ([(10, 3_000, False), (11, 1_000, True)], 4_015, 3_010, False),  # 0.4 % off
        ([(10, 3_000, False), (11, 1_000, True)], 4_040, 3_000, True),  # 1 % missing
        ([(10, 3_000, False), (11, 1_000, True)], 4_000, 2_000, True),  # the sides differ
        ([(10, 3_000, False), (12, 1_000, True)], 8_000, 3_000, False),  # an id was skipped: nothing to compare
        ([(12, 3_000, False)], 8_000, 3_000, False),  # skipped at the bar's beginning
        ([(10, 3_000, False), (10, 3_000, False), (11, 1_000, True)], 4_000, 3_000, False),  # a repeat counts once
    ],
)
def test_a_whole_tape_is_compared_with_the_kline(
    trades: list[tuple[int, int, bool]], quote: int, bought: int, differs: bool
) -> None:
    """More than 0.5 % apart, C keeps the kline's numbers at quality 0.8."""
    quality = _closing(_taped(trades), quote=_quote(quote), bought=_quote(bought))
    untouched = _closing(_taped([]), quote=_quote(quote), bought=_quote(bought))

    assert pytest.approx(untouched * (0.8 if differs else 1.0)) == quality


def test_the_flow_fades() -> None:
    """Signed volume halves and halves again over 10 s and 60 s."""
    tape = Tape()
    tape.add(trade_id=1, quote=100.0, seller_aggressed=False, trade_ms=START_MS, now_ms=START_MS)
    tape.add(trade_id=2, quote=300.0, seller_aggressed=True, trade_ms=START_MS, now_ms=START_MS)

    assert [-200.0, pytest.approx(-200.0 * 0.36787944117144233)] == [
        tape.flow_10s.at(START_MS),
        tape.flow_10s.at(START_MS + 10_000),
    ]
    assert pytest.approx(-200.0 * 0.36787944117144233) == tape.flow_60s.at(START_MS + 60_000)
