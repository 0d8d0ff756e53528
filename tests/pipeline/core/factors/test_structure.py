"""The only place for tests of factor S: its test vector, pivots as a plain zigzag finds them, levels, no repaint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Bar
from pipeline.core.factor_values import values
from pipeline.core.factors.price import Prices
from pipeline.core.factors.structure import Pivot, StructureParameters, beyond, breakout, new, room, score, sequence
from pipeline.core.statistics import Window
from tests.factor_market import fold, fold_all, mirrored, walk
from tests.factor_market import new as new_state

PARAMETERS = StructureParameters()


def test_vector() -> None:
    """Domain 8.4: seq 1, brk .4 give 70."""
    assert 70.0 == pytest.approx(score(seq=1.0, brk=0.4, parameters=PARAMETERS))


@given(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.floats(-1, 1))
def test_bounds_and_mirror(seq: float, brk: float) -> None:
    """S stays within ±100 and turns its sign with its parts, to the bit."""
    value = score(seq=seq, brk=brk, parameters=PARAMETERS)

    assert abs(value) <= 100.0
    assert -value == score(seq=-seq, brk=-brk, parameters=PARAMETERS)


def naive_pivots(bars: list[Bar], ranges: list[float]) -> list[tuple[bool, int, int, int]]:
    """The zigzag by looking back over whole runs: (high, price, bar, confirming bar)."""
    found: list[tuple[bool, int, int, int]] = []
    start, direction = 0, 0
    for now in range(len(bars)):
        if ranges[now] <= 0.0:
            start = now + 1
            continue
        run = range(start, now + 1)
        reach = 3 * ranges[now] - 1e-6
        top = max(run, key=lambda i: (bars[i].high, -i))
        bottom = min(run, key=lambda i: (bars[i].low, i))
        falls = direction >= 0 and bars[top].high - bars[now].low >= reach
        rises = direction <= 0 and bars[now].high - bars[bottom].low >= reach
        if falls and rises:
            older = (bottom - top) or (bars[now].open - bars[now].close)
            falls, rises = older > 0, older < 0
        if falls:
            found.append((True, bars[top].high, top + 1, now + 1))
            direction, start = -1, now
        elif rises:
            found.append((False, bars[bottom].low, bottom + 1, now + 1))
            direction, start = 1, now
    return found


@pytest.mark.parametrize("seed", range(6))
def test_pivots_are_those_of_a_plain_zigzag_and_never_repainted(seed: int) -> None:
    """At every bar the pivots are those found from the history so far: what comes later changes none of them."""
    bars = walk(240, seed=seed)
    state = new_state()
    seen: list[Pivot] = []
    ranges: list[float] = []
    for _ in fold(state, bars):
        ranges.append(state.bars.prices.a)
        seen += [pivot for pivot in state.bars.structure.pivots if pivot not in seen]
    expected = naive_pivots(bars, ranges)

    assert len(expected) >= 4
    assert expected == [(p.high, state.bars.prices.anchor + int(p.price), p.bar, p.confirmed) for p in seen]
    assert [p.high for p in seen] == [seen[0].high ^ bool(index % 2) for index in range(len(seen))]


@pytest.mark.parametrize("seed", range(6))
def test_a_mirrored_market_has_mirrored_pivots(seed: int) -> None:
    """Highs become lows at the same bars, and S turns its sign to the bit."""
    bars = walk(240, seed=seed)
    here, there = fold_all(bars), fold_all(mirrored(bars))
    now_ms = here.bar_close_ms

    assert [(p.high, p.price, p.bar, p.confirmed) for p in here.bars.structure.pivots] == [
        (not p.high, -p.price, p.bar, p.confirmed) for p in there.bars.structure.pivots
    ]
    assert values(here, now_ms=now_ms).factors["S"].value == -values(there, now_ms=now_ms).factors["S"].value


def _structure(highs: list[float], lows: list[float]) -> object:
    structure = new(PARAMETERS)
    structure.highs, structure.lows = highs, lows
    return structure


@pytest.mark.parametrize(
    ("highs", "lows", "expected"),
    [
        ([10.0, 12.0], [5.0, 6.0], 1.0),
        ([12.0, 10.0], [6.0, 5.0], -1.0),
        ([10.0, 12.0], [6.0, 5.0], 0.0),
        ([10.0, 10.0], [5.0, 6.0], 0.5),
    ],
)
def test_sequence(highs: list[float], lows: list[float], expected: float) -> None:
    """Higher highs and higher lows are +1, lower ones −1, mixed ones 0, an equal one counts half."""
    assert expected == sequence(_structure(highs, lows))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("close", "expected"), [(12.0, 0.0), (12.5, 0.5), (20.0, 1.0), (5.0, 0.0), (4.9, pytest.approx(-0.1)), (0.0, -1.0)]
)
def test_breakout(close: float, expected: float) -> None:
    """A close beyond the last swing counts up to half a true range."""
    assert expected == breakout(_structure([10.0, 12.0], [6.0, 5.0]), close, 2.0, PARAMETERS)  # type: ignore[arg-type]


def test_it_is_missing_until_two_highs_and_two_lows_are_confirmed() -> None:
    """Before that its detail says how many there are."""
    bars = walk(240, seed=1)
    state = new_state()
    for _ in fold(state, bars):
        structure = state.bars.structure
        factor = values(state, now_ms=state.bar_close_ms).factors["S"]
        assert factor.ready == (len(structure.highs) == 2 and len(structure.lows) == 2)
        if not factor.ready:
            expected = f"{len(structure.highs)} highs and {len(structure.lows)} lows of 2 confirmed"
            assert expected == factor.detail["missing"]


def test_levels_and_room_are_those_of_the_chart() -> None:
    """Swings and day extremes in ticks of the symbol; room is the distance to the nearest one ahead in units of A."""
    bars = walk(400, seed=2)
    state = fold_all(bars)
    detail = values(state, now_ms=state.bar_close_ms).factors["S"].detail
    anchor, prices = state.bars.prices.anchor, state.bars.prices
    levels = [anchor + state.bars.structure.highs[1], float(detail["high_288"])]
    above = [level - bars[-1].close for level in levels if level > bars[-1].close]

    assert max(bar.high for bar in bars[-288:]) == detail["high_288"]
    assert min(bar.low for bar in bars[-288:]) == detail["low_288"]
    assert pytest.approx(min(above) / prices.hour_range) == detail["room_up"]


def test_without_a_level_ahead_room_is_not_known() -> None:
    """A close at the highest price of all has no number for its room above."""
    structure = new(PARAMETERS)
    prices = Prices(closes=Window(size=13), bars=1, close=10.0, high=10.0, low=5.0, a=2.0, hour_range=4.0)
    structure.add(prices, PARAMETERS)

    assert [None, 1.25] == [room(structure, prices, 1), room(structure, prices, -1)]


@pytest.mark.parametrize(
    ("opened", "close", "expected"), [(10.0, 13.0, True), (10.0, 12.9, False), (10.0, 3.9, True), (10.0, 4.1, False)]
)
def test_beyond_a_level_in_the_direction_of_the_body(opened: float, close: float, expected: bool) -> None:
    """A rising bar must stand beyond the last high, a falling one beyond the last low."""
    structure = _structure([12.0], [5.0])
    prices = Prices(closes=Window(size=13), bars=2, open=opened, close=close, a=4.0)

    assert expected == beyond(structure, prices, 1.0)  # type: ignore[arg-type]
