"""The only place for tests of first levels and quantity: the domain's vectors, the bounds, and what is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Quote, Side
from pipeline.core.level_factors import NONE, LevelFactors
from pipeline.core.liquidation_map import Bracket
from pipeline.core.policies import Policy
from pipeline.core.sizing import Plan, Refused, Wanted, plan_entry, stop_distance_e8, target_distance_e8
from pipeline.core.units import ONE_E8, Lots, Milliseconds, Ticks
from tests.sessions.script import INSTRUMENT

POLICY = Policy()


def quote(bid: int = 49_999, ask: int = 50_001) -> Quote:
    """A best bid and ask."""
    return Quote(
        update_id=1, bid=Ticks(bid), bid_lots=Lots(9), ask=Ticks(ask), ask_lots=Lots(9), event_ms=Milliseconds(0)
    )


def plan(
    *,
    side: Side = Side.BUY,
    lots: int = 100,
    atr: int = 800,
    bid: int = 49_999,
    ask: int = 50_001,
    factors: LevelFactors = NONE,
    **levels: int,
) -> Plan | Refused:
    """A plan at the touch with A = *atr* USDT."""
    wanted = Wanted(
        side=side,
        lots=lots,
        notional_e8=levels.get("notional", 0) * ONE_E8,
        stop=levels.get("stop", 0),
        target=levels.get("target", 0),
        last_target=levels.get("last_target", 0),
    )
    return plan_entry(
        wanted, quote=quote(bid, ask), instrument=INSTRUMENT, policy=POLICY, atr_e8=atr * ONE_E8, factors=factors
    )


def reason(found: Plan | Refused) -> str:
    """Why there is no entry."""
    assert isinstance(found, Refused), found
    return found.reason


def test_vector_of_the_stop() -> None:
    """Domain 8.4: 50000, ATR 800, factors .7 .85 .9 1 → raw .9639 → clip 1.2 → 49,040."""
    distance = stop_distance_e8(POLICY, atr_e8=800 * ONE_E8, factors=(700, 850, 900, 1_000))

    assert 49_040 * ONE_E8 == 50_000 * ONE_E8 - distance


def test_vector_of_the_target() -> None:
    """Domain 8.4: factors 1.2 1.4 1.25 → raw 5.25 → 4.5 → TP1 53,600; with the basis against it 53,240."""
    factors = (1_200, 1_400, 1_250)
    plain = target_distance_e8(POLICY, atr_e8=800 * ONE_E8, factors=factors)
    against = target_distance_e8(POLICY, atr_e8=800 * ONE_E8, factors=factors, basis_against=True)

    assert (53_600, 53_240) == (50_000 + plain // ONE_E8, 50_000 + against // ONE_E8)
    assert 55_400 == 50_000 + plain // ONE_E8 * POLICY.last_target_permille // 1_000


def test_the_tables_without_factors() -> None:
    """D = 1.8 A, TP1 = 2.5 A, TP2 = 1.5 × TP1, far rail 1.25 × D, limit 10 bps beyond the touch."""
    found = plan()

    assert isinstance(found, Plan)
    assert (1_440, 2_000, 3_000) == (found.stop_distance, found.target_distance, found.last_target_distance)
    assert (50_001 - 1_440, 50_001 - 1_800, 50_001 + 50) == (found.stop, found.far, found.limit)


def test_multipliers_of_the_factors_enter_the_levels() -> None:
    """M_sl = clip(1.8 · .7 · .85) = 1.2 A after the clip, M_tp = clip(2.5 · 1.2 · 1.4) = 4.2 A less a tenth (basis)."""
    found = plan(factors=LevelFactors(stop=(700, 850), target=(1_200, 1_400), basis_against=True))

    assert isinstance(found, Plan)
    assert (960, 3_024) == (found.stop_distance, found.target_distance)


def test_a_swing_level_draws_the_stop_near_and_never_further() -> None:
    """D = softmin(1440, 1000, 80): a swing 900 ticks behind with 100 of clearance; one far behind changes nothing."""
    near = plan(factors=LevelFactors(swing=49_101, swing_clearance=100))
    far = plan(factors=LevelFactors(swing=40_001, swing_clearance=100))
    passed = plan(factors=LevelFactors(swing=51_001, swing_clearance=100))

    assert isinstance(near, Plan) and isinstance(far, Plan) and isinstance(passed, Plan)
    assert (1_000, 1_440, 1_440) == (near.stop_distance, far.stop_distance, passed.stop_distance)


def test_levels_by_hand_know_no_factors() -> None:
    """A stop and a target that a person named stay where they are."""
    found = plan(stop=49_501, target=50_701, factors=LevelFactors(stop=(700,), target=(800,), swing=49_800))

    assert isinstance(found, Plan)
    assert (500, 700) == (found.stop_distance, found.target_distance)


def test_a_weak_trend_and_a_thin_book_are_no_entry() -> None:
    """M_sl 1.8 · 1.1 against M_tp 2.5 · 0.9: TP1 would be nearer than 1.2 · D (domain 6.2)."""
    assert "1.2 times" in reason(plan(factors=LevelFactors(stop=(1_100,), target=(900,))))


@given(st.integers(1, 5_000), st.integers(1, 200), st.integers(10, 1_000), st.integers(0, 3_000))
def test_a_short_is_the_mirror_image_of_a_long(atr: int, spread: int, lots: int, swing: int) -> None:
    """The same distances on the other side of the touch."""
    below = LevelFactors(swing=50_000 - swing, swing_clearance=7)
    above = LevelFactors(swing=50_000 + swing, swing_clearance=7)
    long = plan(atr=atr, lots=lots, bid=50_000 - spread, ask=50_000, factors=below)
    short = plan(side=Side.SELL, atr=atr, lots=lots, bid=50_000, ask=50_000 + spread, factors=above)

    if isinstance(long, Refused):
        assert isinstance(short, Refused)
        assert long.reason == short.reason
        return
    assert isinstance(short, Plan)
    assert long.stop_distance == short.stop_distance
    for name in ("stop", "far", "limit"):
        assert 50_000 - getattr(long, name) == getattr(short, name) - 50_000


@given(st.integers(1, 20_000), st.integers(1, 400))
def test_the_stop_distance_keeps_its_bounds(atr: int, spread: int) -> None:
    """D ≥ max(0.6 A, 0.35 %, 8 ticks, 3 spreads) and ≤ 6 %, or no entry."""
    found = plan(atr=atr, bid=50_000 - spread, ask=50_000)

    if isinstance(found, Plan):
        least = max(0.6 * atr, 50_000 * 0.0035, 8, 3 * spread)
        assert least <= found.stop_distance <= 3_000
        assert found.target_distance >= 1.2 * found.stop_distance


def test_levels_by_hand_win_over_the_tables() -> None:
    """An explicit stop and targets are taken as they are, also while the bars are not ready."""
    found = plan(atr=0, stop=49_501, target=50_701, last_target=51_001)

    assert isinstance(found, Plan)
    assert (49_501, 500, 700, 1_000) == (
        found.stop,
        found.stop_distance,
        found.target_distance,
        found.last_target_distance,
    )


def test_a_stop_by_hand_alone_takes_the_tables_ratio_for_the_target() -> None:
    """2.5 / 1.8 of the stop distance."""
    found = plan(stop=49_001)

    assert isinstance(found, Plan)
    assert 1_000 * 2_500 // 1_800 == found.target_distance


@pytest.mark.parametrize(
    ("levels", "word"),
    [
        ({"stop": 50_100}, "wrong side"),
        ({"stop": 49_990}, "nearer than"),
        ({"stop": 40_000}, "farther than"),
        ({"stop": 49_501, "target": 49_900}, "wrong side"),
        ({"stop": 49_501, "target": 50_100}, "1.2 times"),
        ({"stop": 49_501, "target": 50_701, "last_target": 50_650}, "nearer than the first"),
        ({"lots": 0, "notional": 1}, "minimum"),
        ({"lots": 70_000}, "market lot maximum"),
        ({"lots": 0}, "minimum"),
        ({"atr": 0}, "bars are not ready"),
        ({"atr": 6_000}, "cross"),
        ({"bid": 48_000}, "cross"),
    ],
)
def test_what_is_refused_says_why(levels: dict[str, int], word: str) -> None:
    """A person can act on the reason."""
    assert word in reason(plan(side=Side.BUY, **levels))


def test_the_notional_is_rounded_down_to_the_step() -> None:
    """1,000 USDT at 50,001 are 19.99 steps of 0.001: 19."""
    found = plan(lots=0, notional=1_000)

    assert isinstance(found, Plan)
    assert 19 == found.lots


def test_a_notional_below_the_venues_minimum_is_refused() -> None:
    """MIN_NOTIONAL holds for entries."""
    poor = msgspec.structs.replace(INSTRUMENT, min_notional_e8=100 * ONE_E8)
    found = plan_entry(
        Wanted(side=Side.BUY, lots=1, notional_e8=0), quote=quote(), instrument=poor, policy=POLICY, atr_e8=800 * ONE_E8
    )

    assert "notional" in reason(found)


def test_levels_beyond_the_price_filter_are_refused() -> None:
    """PRICE_FILTER's ends hold for every level of the plan."""
    low = msgspec.structs.replace(INSTRUMENT, min_price_ticks=49_000)
    high = msgspec.structs.replace(INSTRUMENT, max_price_ticks=51_000)
    wanted = Wanted(side=Side.BUY, lots=100, notional_e8=0)

    for instrument, word in ((low, "lowest"), (high, "highest")):
        found = plan_entry(wanted, quote=quote(), instrument=instrument, policy=POLICY, atr_e8=800 * ONE_E8)
        assert word in reason(found)


def test_leverage_is_what_the_allocated_margin_needs_and_no_more_than_allowed() -> None:
    """max(1, ceil(notional / allocated margin)): 5,000 USDT on 2,000 are 3; a typed quantity gets 5 at most."""

    def leverage(*, lots: int, margin: int, most: int = 5) -> int:
        wanted = Wanted(side=Side.BUY, lots=lots, notional_e8=0, margin_e8=margin * ONE_E8, most_leverage=most)
        found = plan_entry(wanted, quote=quote(), instrument=INSTRUMENT, policy=POLICY, atr_e8=800 * ONE_E8)
        assert isinstance(found, Plan)
        return found.leverage

    assert 3 == leverage(lots=100, margin=2_000)
    assert 1 == leverage(lots=100, margin=50_000)
    assert 5 == leverage(lots=100, margin=100)
    assert 0 == leverage(lots=100, margin=0)
    assert 0 == leverage(lots=100, margin=2_000, most=0)


def test_a_size_by_risk_never_needs_more_than_the_largest_leverage() -> None:
    """1,000 USDT of margin at 5 carry 99 steps of 0.001 at 50,001, whatever the risk would allow."""
    wanted = Wanted(
        side=Side.BUY,
        lots=0,
        notional_e8=100_000 * ONE_E8,
        risk_e8=10_000 * ONE_E8,
        margin_e8=1_000 * ONE_E8,
        most_leverage=5,
    )
    found = plan_entry(wanted, quote=quote(), instrument=INSTRUMENT, policy=POLICY, atr_e8=800 * ONE_E8)

    assert isinstance(found, Plan)
    assert (99, 5) == (found.lots, found.leverage)


def test_a_thin_bracket_lowers_the_leverage_until_the_far_rail_stays_inside_liquidation() -> None:
    """1.25 D = 1,800 of 50,001 must be at most 0.7 · (1/leverage − m): 5 at 2.5 %, 3 at 25 %; beyond the caps: none."""

    def found(maintenance_ppm: int, *, cap: int = 1_000_000, allowed: int = 5) -> Plan | Refused:
        wanted = Wanted(side=Side.BUY, lots=100, notional_e8=0, margin_e8=100 * ONE_E8, most_leverage=5)
        return plan_entry(
            wanted,
            quote=quote(),
            instrument=INSTRUMENT,
            policy=POLICY,
            atr_e8=800 * ONE_E8,
            brackets=[Bracket(allowed, cap * ONE_E8, maintenance_ppm)],
        )

    plans = [found(25_000), found(250_000), found(25_000, allowed=2)]
    assert [5, 3, 2] == [plan.leverage for plan in plans if isinstance(plan, Plan)]
    assert "largest leverage bracket" in reason(found(25_000, cap=1_000))
    assert "0.7 of the distance" in reason(found(980_000))
