"""Ladders and where targets lie: always rising, always the whole, never compounding."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.policies import LadderStep, Policy
from pipeline.core.targets import TargetView, moved_permille, note_money, place_ladder, planned_ladder, wanted_permille
from pipeline.core.units import ONE_E8
from tests.sessions.story import Story

STEPS = st.lists(
    st.builds(LadderStep, distance_permille=st.integers(0, 5_000), share_permille=st.integers(0, 1_000)),
    min_size=2,
    max_size=10,
).map(tuple)


@given(STEPS, st.integers(1, 100_000))
def test_a_ladder_rises_and_takes_the_whole(steps: tuple[LadderStep, ...], first: int) -> None:
    """Whatever was written: no step nearer than the one before, shares come to the whole."""
    ladder = planned_ladder(Policy(), first=first, last=2 * first, steps=steps)

    distances = [step.distance for step in ladder]
    assert distances == sorted(distances)
    assert 1_000 == sum(step.share_permille for step in ladder)
    assert all(step.share_permille >= 0 for step in ladder)


def test_without_steps_there_are_two() -> None:
    """Half at the first target, the rest at the last."""
    assert [(250, 500), (375, 500)] == [
        (step.distance, step.share_permille) for step in planned_ladder(Policy(), first=250, last=375)
    ]


@given(STEPS, st.sampled_from(Side), st.integers(100, 3_000), st.integers(0, 400))
def test_placed_steps_lie_in_favour_and_in_order(
    steps: tuple[LadderStep, ...], side: Side, permille: int, cap: int
) -> None:
    """From e outwards, for both sides, whatever the market scales or a wall caps."""
    story = Story(side)
    position = story.position
    position.ladder = planned_ladder(Policy(), first=250, last=375, steps=steps)
    position.target_permille, position.target_cap = permille, cap
    place_ladder(position, entry_ticks=50_000 * side.sign)

    offsets = [(step.price - 50_000) * side.sign for step in position.ladder]
    assert offsets == sorted(offsets)
    assert min(offsets) >= 0
    assert position.target == position.ladder[0].price
    if cap:
        assert offsets[0] <= cap


def view(**changes: object) -> TargetView:
    plain = TargetView(
        side=Side.BUY,
        entry_e8=50_000 * ONE_E8,
        risk_e8=180 * ONE_E8,
        price_e8=50_000 * ONE_E8,
        atr_1h_e8=100 * ONE_E8,
        score=0,
        trend=0,
        regime="flat",
    )
    return msgspec.structs.replace(plain, **changes)  # type: ignore[arg-type]


def test_unknown_factors_leave_the_plan() -> None:
    """Extending needs to know T and E."""
    policy, position = Policy(), Story(Side.BUY).position
    assert 1_250 == wanted_permille(position, view(regime="up_up", trend=70_000, score=50_000), policy)
    for silent in ({"trend": None}, {"score": None}, {"regime": ""}):
        said = {"regime": "up_up", "trend": 70_000, "score": 50_000} | silent
        assert 1_000 == wanted_permille(position, view(**said), policy)


@given(
    st.integers(100, 3_000),
    st.sampled_from(["up_up", "up_dn", "dn_up", "dn_dn", "flat", ""]),
    st.integers(-100_000, 100_000),
    st.integers(-100_000, 100_000),
    st.integers(1, 400),
    st.integers(0, 600),
)
def test_a_moved_target_never_compounds_and_stays_in_its_bounds(  # noqa: PLR0917
    before: int, regime: str, trend: int, score: int, risk: int, atr: int
) -> None:
    """From wherever it lies, one look puts it where the plan says, within [0.8 · R, 4.5 · A]; a second look rests."""
    position = Story(Side.BUY).position
    position.target_permille = before
    seen = view(regime=regime, trend=trend, score=score, risk_e8=risk * ONE_E8, atr_1h_e8=atr * ONE_E8)
    moved = moved_permille(position, seen, Policy(), tick_e8=ONE_E8)
    if moved is None:
        return
    position.target_permille = moved
    planned = position.ladder[0].distance * ONE_E8
    least, most = 800 * risk * ONE_E8 // 1_000, max(4_500 * atr * ONE_E8 // 1_000, 800 * risk * ONE_E8 // 1_000)

    assert None is moved_permille(position, seen, Policy(), tick_e8=ONE_E8)
    assert moved == 1_000 or least * 1_000 // planned <= moved <= most * 1_000 // planned


def test_a_shortened_target_waits_for_money_that_comes_in_or_for_a_calm_hour() -> None:
    """A label that wobbles around its dead band moves nothing to and fro (docs/adr/0015)."""
    policy, position = Policy(), Story(Side.BUY).position

    def wanted(regime: str) -> int:
        seen = view(regime=regime)
        note_money(position, seen, policy)
        return wanted_permille(position, seen, policy)

    assert [800, 800, 800, 1_000] == [wanted(regime) for regime in ("up_dn", "flat", "dn_dn", "up_up")]
    assert [800, *[800] * 11, 1_000] == [wanted(regime) for regime in ("dn_dn", *["flat"] * 12)]
    assert [1_000, 1_000] == [wanted(regime) for regime in ("", "dn_up")]


def test_an_extended_target_stays_while_trend_and_score_nearly_hold() -> None:
    """Nine tenths of what extended it keep it, nothing less; money that leaves shortens it at once."""
    policy, position = Policy(), Story(Side.BUY).position
    near, less = {"trend": 63_000, "score": 45_000}, {"trend": 63_000, "score": 44_999}
    assert 1_000 == wanted_permille(position, view(regime="up_up", **near), policy)
    position.target_permille = 1_250
    assert 1_250 == wanted_permille(position, view(regime="up_up", **near), policy)
    assert 1_000 == wanted_permille(position, view(regime="up_up", **less), policy)
    assert 1_000 == wanted_permille(position, view(regime="flat", **near), policy)
    assert 800 == wanted_permille(position, view(regime="up_dn", **near), policy)
