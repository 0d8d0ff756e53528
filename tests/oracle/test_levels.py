"""The oracle's stops: bounds of first levels, long and short alike, and a ratchet that only ever tightens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.oracle.levels import Mark, first_levels, ratchet, stop_factors, target_factors

ENTRY, TICK, FEE = 50_000.0, 0.1, 0.0005


def marks_of(prices: list[float], *, every_ms: int = 10_000) -> list[Mark]:
    """Marks with mid = mark, spread of a tick, ATR 5m 100 and ATR 1h 400."""
    return [Mark(1_000_000 + i * every_ms, price, price, TICK, 100.0, 400.0) for i, price in enumerate(prices)]


def walk(seed: int) -> list[float]:
    """A walk of a few R about the entry, on the grid."""
    random = np.random.default_rng(seed)
    return [round(float(price), 1) for price in ENTRY + random.normal(8, 90, 300).cumsum()]


def test_tables_hold_their_bounds() -> None:
    """Every row of table 1.4 begins at its own figure."""
    assert (0.70, 0.85, 0.90, 1.0) == stop_factors(80, -70, 90, 60, against_btc=False)
    assert (0.85, 0.95, 1.0, 1.05) == stop_factors(79.9, 69.9, 89.9, 59.9, against_btc=True)
    assert (1.0, 1.0, 1.1, 1.2) == stop_factors(69.9, 49.9, 79.9, 39.9, against_btc=True)
    assert (1.0, 1.0, 1.4, 1.1) == stop_factors(0, 0, 59.9, 0, against_btc=False)
    assert (1.2, 1.4, 1.25) == target_factors(80, 80, "up_up", 71)
    assert (1.1, 1.25, 1.0) == target_factors(70, -70, "up_up", 70)
    assert (1.0, 1.1, 1.25) == target_factors(69, 50, "dn_up", -71)
    assert (1.0, 0.9, 0.8) == target_factors(0, 0, "dn_dn", 0)


@pytest.mark.parametrize("swing", [None, 49_500.0, 48_000.0, 50_100.0])
def test_first_stop_keeps_its_bounds(swing: float | None) -> None:
    """D lies within its bounds wherever the swing is, and a short's levels are a long's, mirrored."""
    found = {}
    for side in (1, -1):
        found[side] = first_levels(
            side=side,
            entry=ENTRY,
            stop_multiple=1.8,
            target_multiple=3.0,
            atr5=100,
            atr1h=400,
            tick=TICK,
            spread=0.5,
            swing=None if swing is None else ENTRY + side * (swing - ENTRY),
            basis=side * 60,
        )

    assert 0.6 * 400 <= found[1].distance <= 0.06 * ENTRY
    assert found[1].distance == pytest.approx(found[-1].distance)
    assert found[1].stop - ENTRY == pytest.approx(ENTRY - found[-1].stop)
    assert 0.9 * 3.0 * 400 == pytest.approx(found[1].target_distance)
    assert 1.5 * (found[1].target - ENTRY) == pytest.approx(ENTRY - found[-1].last_target)


def test_liquidation_too_near_is_no_entry() -> None:
    """The stop stays within 0.56 of the way to liquidation; when its least distance is more, there is no entry."""

    def found(liquidation: float) -> str:
        return first_levels(
            side=1,
            entry=ENTRY,
            stop_multiple=1.2,
            target_multiple=3.0,
            atr5=100,
            atr1h=400,
            tick=TICK,
            spread=0.1,
            liquidation_distance=liquidation,
        ).refused

    assert ("", "bounds cross") == (found(2_500), found(400))


@pytest.mark.parametrize("seed", range(20))
def test_ratchet_only_tightens_and_mirrors(seed: int) -> None:
    """The stop never loosens, keeps its distance from price when it moves, and a short's is a long's upside down."""
    prices = walk(seed)
    upside_down = [round(2 * ENTRY - price, 1) for price in prices]
    long = ratchet(marks_of(prices), side=1, entry=ENTRY, initial_stop=49_500.0, tick=TICK, fee_rate=FEE)
    short = ratchet(marks_of(upside_down), side=-1, entry=ENTRY, initial_stop=50_500.0, tick=TICK, fee_rate=FEE)
    stops = [step.stop_ticks for step in long]

    assert stops == sorted(stops)
    assert [2 * round(ENTRY / TICK) - ticks for ticks in stops] == [step.stop_ticks for step in short]
    for price, before, after in zip(prices[1:], stops, stops[1:], strict=False):
        assert after == before or after * TICK <= price - 50.0 + 1e-6


def test_ratchet_steps_of_a_rising_price() -> None:
    """Nothing below 1R; then breakeven; from 1.5R the chandelier, by 2.0, 1.5 and 1.0 ATR 1h."""
    prices = [50_200.0, 50_499.0, 50_500.0, 50_800.0, 51_300.0, 52_100.0]
    steps = ratchet(marks_of(prices), side=1, entry=ENTRY, initial_stop=49_500.0, tick=TICK, fee_rate=FEE)

    assert [495_000, 495_000, 500_502, 500_502, 507_000, 517_000] == [step.stop_ticks for step in steps]
    assert [None, None, None, 50_000.0, 50_700.0, 51_700.0] == [step.chandelier for step in steps]


def test_ratchet_waits() -> None:
    """A second move waits 5 s, a small gain is left, and six moves a minute are the most."""
    rising = [50_500.0 + 200 * i for i in range(40)]
    steps = ratchet(
        marks_of(rising, every_ms=1_000), side=1, entry=ENTRY, initial_stop=49_500.0, tick=TICK, fee_rate=FEE
    )
    quick = ratchet(
        marks_of(rising, every_ms=5_000), side=1, entry=ENTRY, initial_stop=49_500.0, tick=TICK, fee_rate=FEE
    )
    moved = [i for i, step in enumerate(steps) if not step.kept_because]

    assert all(second - first >= 5 for first, second in pairwise(moved))
    assert "too soon" in {step.kept_because for step in steps}
    assert "too many" in {step.kept_because for step in quick}
    for end in range(len(quick)):
        assert 6 >= sum(not step.kept_because for step in quick[max(0, end - 11) : end + 1])


def test_first_target_brings_breakeven() -> None:
    """Once TP1 is filled the stop goes to breakeven below 1R as well, as far as the clamp lets it."""
    steps = ratchet(
        marks_of([50_300.0, 50_300.0, 50_060.0]),
        side=1,
        entry=ENTRY,
        initial_stop=49_500.0,
        tick=TICK,
        fee_rate=FEE,
        first_target_filled_ms=1_010_000,
    )

    assert [495_000, 500_502, 500_502] == [step.stop_ticks for step in steps]
