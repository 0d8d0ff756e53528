"""Walls and bands before an entry: never a looser risk, never a larger quantity, and a veto where nothing is left."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.entry_walls import Ground, Shaped, shape
from pipeline.core.events import Lots, Quote, Side, Ticks
from pipeline.core.policies import Policy
from pipeline.core.sizing import Plan, Refused
from pipeline.core.units import ONE_E8, Milliseconds
from pipeline.core.wall_rules import Zone, ZoneKind
from tests.sessions.script import INSTRUMENT

MIDDLE = 50_000


def ground(side: Side, **changes: object) -> Ground:
    plain = Ground(
        side=side,
        quote=Quote(1, Ticks(MIDDLE - 1), Lots(5), Ticks(MIDDLE + 1), Lots(5), Milliseconds(0)),
        instrument=INSTRUMENT,
        policy=Policy(),
        atr_5m_e8=120 * ONE_E8,  # bf is 18, whatever three bps of the price are
        atr_1h_e8=100 * ONE_E8,
    )
    return msgspec.structs.replace(plain, **changes)  # type: ignore[arg-type]


def plan(side: Side) -> Plan:
    """D = 180, TP1 = 250, TP2 = 375 from the touch."""
    touch = MIDDLE + side.sign
    return Plan(
        lots=100,
        limit=touch + side.sign * 50,
        stop=touch - side.sign * 180,
        far=touch - side.sign * 225,
        stop_distance=180,
        target_distance=250,
        last_target_distance=375,
    )


def zone(side: Side, low: int, high: int, *, kind: str, strength: int = 800) -> Zone:
    """A zone between two offsets from the touch in favour of *side*; *kind*: wall_behind, wall_ahead, own, other."""
    kinds = {
        "wall_behind": (ZoneKind.BID_WALL, ZoneKind.ASK_WALL),
        "wall_ahead": (ZoneKind.ASK_WALL, ZoneKind.BID_WALL),
        "own": (ZoneKind.LONGS, ZoneKind.SHORTS),
        "other": (ZoneKind.SHORTS, ZoneKind.LONGS),
    }
    ends = sorted((MIDDLE + side.sign * (1 + offset)) * ONE_E8 for offset in (low, high))
    modelled = kind in ("own", "other")
    return Zone(kinds[kind][side is Side.SELL], 7, ends[0], ends[1], strength, 1, 1, modelled=modelled)


def shaped(side: Side, *zones: Zone, own_stop: bool = False, own_target: bool = False) -> Shaped | Refused:
    return shape(plan(side), list(zones), ground(side), own_stop=own_stop, own_target=own_target)


@given(st.sampled_from(Side))
def test_without_zones_or_ranges_nothing_is_shaped(side: Side) -> None:
    """What is not known changes no level."""
    wall = zone(side, -120, -115, kind="wall_behind")

    assert Shaped(plan(side)) == shaped(side)
    assert Shaped(plan(side)) == shape(plan(side), [wall], ground(side, atr_5m_e8=0), own_stop=False, own_target=False)


@given(st.sampled_from(Side))
def test_a_stop_goes_behind_a_near_wall_and_names_it(side: Side) -> None:
    """W2: 18 behind the far edge; nearer than planned, so the quantity stays."""
    found = shaped(side, zone(side, -146, -140, kind="wall_behind"))

    assert isinstance(found, Shaped)
    assert (164, 100, 7) == (found.plan.stop_distance, found.plan.lots, found.wall_id)
    assert found.plan.stop == MIDDLE + side.sign * (1 - 164)
    assert found.plan.far == MIDDLE + side.sign * (1 - 205)


@given(st.sampled_from(Side))
def test_a_stop_that_moves_away_keeps_its_risk(side: Side) -> None:
    """W2 at 1.1 of the distance: a tenth less quantity."""
    found = shaped(side, zone(side, -180, -170, kind="wall_behind"))

    assert isinstance(found, Shaped)
    assert (198, 90) == (found.plan.stop_distance, found.plan.lots)


@given(st.sampled_from(Side))
def test_a_stop_inside_a_band_leaves_it(side: Side) -> None:
    """W3: to its near edge when enough distance is left (D ≥ 0.8 of the least), else beyond it with less quantity."""
    near = shaped(side, zone(side, -185, -175, kind="own"))
    wide = shaped(side, zone(side, -190, -100, kind="own"))

    assert isinstance(near, Shaped)
    assert isinstance(wide, Shaped)
    assert (157, 100) == (near.plan.stop_distance, near.plan.lots)
    assert (208, 86) == (wide.plan.stop_distance, wide.plan.lots)


@given(st.sampled_from(Side))
def test_a_target_goes_in_front_of_what_opposes_it_or_there_is_no_entry(side: Side) -> None:
    """W1: capped at 240 − 18; too near for 1.2 · D; before 0.8 R a veto; a band of the model is said to be one."""
    capped = shaped(side, zone(side, 240, 246, kind="wall_ahead"))
    nearer = shaped(side, zone(side, 220, 226, kind="wall_ahead"))
    veto = shaped(side, zone(side, 120, 126, kind="other"))

    assert isinstance(capped, Shaped)
    assert 222 == capped.plan.target_distance
    assert isinstance(nearer, Refused)
    assert "1.2 times" in nearer.reason
    assert isinstance(veto, Refused)
    assert "a model" in veto.reason


@given(st.sampled_from(Side))
def test_levels_that_a_person_named_stay(side: Side) -> None:
    """A stop and a target by hand are nobody else's."""
    zones = (zone(side, -146, -140, kind="wall_behind"), zone(side, 120, 126, kind="wall_ahead"))

    assert Shaped(plan(side)) == shaped(side, *zones, own_stop=True, own_target=True)


ZONES = st.lists(
    st.tuples(
        st.sampled_from(["wall_behind", "wall_ahead", "own", "other"]),
        st.integers(-260, 300),
        st.integers(0, 60),
        st.integers(0, 1_000),
    ),
    max_size=6,
)


@given(ZONES)
def test_whatever_stands_there_risk_and_quantity_never_grow_and_both_sides_agree(
    rows: list[tuple[str, int, int, int]],
) -> None:
    """Loss at the stop at most what was planned; the bounds of D hold; the short is the mirror image."""
    long, short = (
        shaped(side, *(zone(side, low, low + wide, kind=kind, strength=power) for kind, low, wide, power in rows))
        for side in (Side.BUY, Side.SELL)
    )

    if isinstance(long, Refused) or isinstance(short, Refused):
        assert long == short
        return
    assert long.plan.lots <= 100
    assert long.plan.lots * long.plan.stop_distance <= 100 * 180
    assert 800 * ground(Side.BUY).least <= 1_000 * long.plan.stop_distance <= 1_250 * 216
    assert long.plan.target_distance * 1_000 >= 1_200 * long.plan.stop_distance
    assert (long.plan.lots, long.plan.stop_distance, long.plan.target_distance, long.wall_id) == (
        short.plan.lots,
        short.plan.stop_distance,
        short.plan.target_distance,
        short.wall_id,
    )
