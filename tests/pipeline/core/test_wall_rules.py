"""The only place for tests of rules W1 to W5: each as the domain says it, and mirrored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.wall_rules import (
    Capped,
    CascadeEnd,
    CascadeTrail,
    StopShift,
    TooNear,
    WallStop,
    Zone,
    ZoneKind,
    opposing_wall,
    stop_behind_wall,
    stop_off_liquidations,
    target_cap,
    target_in_cascade,
    wall_buffer_e8,
)

ENTRY = 50_000
MIRROR = {
    ZoneKind.BID_WALL: ZoneKind.ASK_WALL,
    ZoneKind.ASK_WALL: ZoneKind.BID_WALL,
    ZoneKind.LONGS: ZoneKind.SHORTS,
    ZoneKind.SHORTS: ZoneKind.LONGS,
}


def zone(kind: ZoneKind, low: int, high: int, *, strength: int = 800, confirmed: int = 2_000) -> Zone:
    """A zone; prices here are whole numbers, whatever they count in."""
    return Zone(
        kind=kind,
        id=7,
        low_e8=low,
        high_e8=high,
        strength_permille=strength,
        since_ms=1_000,
        confirmed_ms=confirmed,
        modelled=kind in (ZoneKind.LONGS, ZoneKind.SHORTS),
    )


def mirrored(zones: list[Zone]) -> list[Zone]:
    """The same zones on the other side of the entry."""
    return [
        Zone(
            kind=MIRROR[z.kind],
            id=z.id,
            low_e8=2 * ENTRY - z.high_e8,
            high_e8=2 * ENTRY - z.low_e8,
            strength_permille=z.strength_permille,
            since_ms=z.since_ms,
            confirmed_ms=z.confirmed_ms,
            modelled=z.modelled,
        )
        for z in zones
    ]


def test_buffer_is_the_largest_of_three() -> None:
    """bf = max(0.15·a, 3 ticks, 3 bps)."""
    assert 150 == wall_buffer_e8(atr_5m_e8=1_000, tick_e8=10, price_e8=ENTRY)
    assert 300 == wall_buffer_e8(atr_5m_e8=1_000, tick_e8=100, price_e8=ENTRY)
    assert 15 == wall_buffer_e8(atr_5m_e8=0, tick_e8=1, price_e8=ENTRY)


def test_target_stands_before_the_wall() -> None:
    """W1: a wall between e + 0.5 R and TP1 caps the target at its near edge − bf; the nearest counts."""
    zones = [zone(ZoneKind.SHORTS, 51_500, 51_600), zone(ZoneKind.ASK_WALL, 51_200, 51_250)]
    capped = target_cap(zones, side=Side.BUY, entry_e8=ENTRY, risk_e8=1_000, target_e8=52_000, buffer_e8=100)

    assert Capped(51_100, zones[1]) == capped


@pytest.mark.parametrize("low", [50_499, 52_001])
def test_wall_elsewhere_caps_nothing(low: int) -> None:
    """W1: before e + 0.5 R, or beyond TP1, a wall is no matter; bid walls never are."""
    zones = [zone(ZoneKind.ASK_WALL, low, low + 10), zone(ZoneKind.BID_WALL, 51_000, 51_010)]

    assert None is target_cap(zones, side=Side.BUY, entry_e8=ENTRY, risk_e8=1_000, target_e8=52_000, buffer_e8=100)


def test_target_below_four_fifths_is_too_near() -> None:
    """W1: 0.8 R is the least: 800 is capped, 799 is a veto."""
    for near, wanted in ((50_900, Capped), (50_899, TooNear)):
        zones = [zone(ZoneKind.ASK_WALL, near, near + 50)]
        told = target_cap(zones, side=Side.BUY, entry_e8=ENTRY, risk_e8=1_000, target_e8=52_000, buffer_e8=100)

        assert isinstance(told, wanted)


def test_stop_leans_on_a_wall() -> None:
    """W2: behind the strongest bid wall that leaves 0.6 to 1.2 of the distance; weak ones carry nothing."""
    near, strong = zone(ZoneKind.BID_WALL, 49_400, 49_410, strength=500), zone(ZoneKind.BID_WALL, 49_000, 49_050)
    weak = zone(ZoneKind.BID_WALL, 49_200, 49_250, strength=499)

    def stop(*zones: Zone) -> WallStop | None:
        return stop_behind_wall(list(zones), side=Side.BUY, from_e8=ENTRY, distance_e8=1_000, buffer_e8=100)

    assert WallStop(48_900, strong) == stop(near, strong, weak)
    assert WallStop(49_300, near) == stop(near, weak)
    assert None is stop(weak)
    assert None is stop(zone(ZoneKind.BID_WALL, 49_501, 49_510))  # 0.599 of the distance
    assert None is stop(zone(ZoneKind.BID_WALL, 48_899, 48_910))  # 1.201


def test_wall_that_moved_little_moves_no_stop() -> None:
    """W2: a move of at most 0.25·a is none."""
    zones = [zone(ZoneKind.BID_WALL, 49_300, 49_310)]
    for atr, wanted in ((400, None), (399, 49_200)):
        told = stop_behind_wall(
            zones,
            side=Side.BUY,
            from_e8=ENTRY,
            distance_e8=1_000,
            buffer_e8=100,
            leaning_e8=49_100,
            atr_5m_e8=atr,
        )
        assert wanted == (told.level_e8 if told is not None else None)


def test_stop_leaves_a_band_of_liquidations() -> None:
    """W3: to the near edge + bf while 0.8 of the least distance remains; else behind it with less size, or not."""
    band = zone(ZoneKind.LONGS, 48_900, 49_100)

    def stop(**changes: object) -> StopShift | None:
        told: dict[str, object] = {"entry_e8": ENTRY, "stop_e8": 49_000, "least_distance_e8": 1_000} | changes
        return stop_off_liquidations([band], side=Side.BUY, buffer_e8=100, **told)  # type: ignore[arg-type]

    assert StopShift(49_200, band, 1_000, tightens=True) == stop(initial=True)
    assert StopShift(48_800, band, 833, tightens=False) == stop(initial=True, least_distance_e8=1_001)
    assert None is stop(initial=False, least_distance_e8=1_001)
    assert None is stop(initial=True, stop_e8=49_101)
    assert None is stop(initial=True, stop_e8=49_050, least_distance_e8=1_001)  # risk would grow by 26 %


def test_target_in_a_cascade_trails_and_ends() -> None:
    """W4: TP1 in a short band while shorts are swept, half closed: trail at 0.5·A, close once exhausted."""
    band = zone(ZoneKind.SHORTS, 50_950, 51_100)

    def told(*zones: Zone, **changes: object) -> CascadeTrail | CascadeEnd | None:
        usual: dict[str, object] = {
            "mark_e8": 51_000,
            "target_e8": 51_000,
            "cascade": 1,
            "exhausted": False,
            "first_target_done": True,
            "best_mark_e8": 51_050,
            "atr_1h_e8": 400,
        }
        return target_in_cascade(list(zones), side=Side.BUY, **(usual | changes))  # type: ignore[arg-type]

    assert CascadeTrail(50_850, band) == told(band)
    assert None is told()
    assert None is told(band, cascade=-1)
    assert None is told(band, first_target_done=False)
    assert None is told(band, mark_e8=50_999)
    assert CascadeTrail(50_850, None) == told(running=True, cascade=0)
    assert CascadeEnd(None) == told(running=True, exhausted=True)


def test_new_opposing_wall_ahead() -> None:
    """W5: strong, confirmed since the opening, within 0.3 R ahead, once MFE is 0.7 R."""
    wall = zone(ZoneKind.ASK_WALL, 51_000, 51_050, strength=700)

    def told(one: Zone = wall, **changes: int) -> Zone | None:
        usual = {"mark_e8": 50_700, "risk_e8": 1_000, "best_mark_e8": 50_700, "opened_ms": 1_999}
        return opposing_wall([one], side=Side.BUY, entry_e8=ENTRY, **(usual | changes))

    assert wall is told()
    assert None is told(mark_e8=50_699)
    assert None is told(best_mark_e8=50_699)
    assert None is told(opened_ms=2_000)
    assert None is told(zone(ZoneKind.ASK_WALL, 51_000, 51_050, strength=699))
    assert None is told(zone(ZoneKind.SHORTS, 51_000, 51_050))


KINDS = st.sampled_from(list(ZoneKind))
ZONES = st.lists(
    st.builds(
        lambda kind, low, size, strength, confirmed: zone(
            kind, low, low + size, strength=strength, confirmed=confirmed
        ),
        KINDS,
        st.integers(48_000, 52_000),
        st.integers(0, 400),
        st.integers(0, 1_000),
        st.integers(0, 4_000),
    ),
    max_size=5,
)


def _level(told: object) -> int | None:
    level = getattr(told, "level_e8", None)
    return level if level is None or isinstance(level, int) else None


@given(zones=ZONES, risk=st.integers(1, 2_000), buffer=st.integers(0, 300), mark=st.integers(48_000, 52_000))
def test_mirrored_market_gives_mirrored_rules(zones: list[Zone], risk: int, buffer: int, mark: int) -> None:
    """Every rule of a short in the mirrored market says the mirrored thing."""
    other = mirrored(zones)
    m = 2 * ENTRY - mark
    pairs = [
        (
            target_cap(z, side=s, entry_e8=ENTRY, risk_e8=risk, target_e8=ENTRY + s.sign * 1_500, buffer_e8=buffer),
            stop_behind_wall(z, side=s, from_e8=p, distance_e8=risk, buffer_e8=buffer),
            stop_off_liquidations(
                z,
                side=s,
                entry_e8=ENTRY,
                stop_e8=ENTRY - s.sign * risk,
                least_distance_e8=risk,
                buffer_e8=buffer,
                initial=True,
            ),
            opposing_wall(z, side=s, mark_e8=p, entry_e8=ENTRY, risk_e8=risk, best_mark_e8=p, opened_ms=1_000),
        )
        for z, s, p in ((zones, Side.BUY, mark), (other, Side.SELL, m))
    ]
    for long, short in zip(*pairs, strict=True):
        assert type(long) is type(short)
        if isinstance(long, Zone) and isinstance(short, Zone):
            assert long.low_e8 == 2 * ENTRY - short.high_e8
        elif long is not None:
            level = _level(short)
            assert level is not None
            assert _level(long) == 2 * ENTRY - level
