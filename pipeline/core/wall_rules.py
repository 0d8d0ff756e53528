"""
The only place for what walls and liquidation bands mean for a position: rules W1 to W5 of domain 6.6.

Pure functions of zones and of a position's prices, all in E8; nothing here knows a state. Everything is written for a
long position and mirrored by the sign. A zone of kind LONGS or SHORTS comes from the estimated map, which is a model:
it may shape a stop and a target, and is said to be one (``modelled``) wherever people read of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from pipeline.core.events import Side

BUFFER_ATR_PERMILLE: Final = 150
BUFFER_TICKS: Final = 3
BUFFER_BPS: Final = 3
CAP_FROM_PERMILLE: Final = 500  # W1: from e + 0.5 R …
CAP_LEAST_PERMILLE: Final = 800  # … and never nearer than 0.8 R
LEAN_PERMILLE: Final = (600, 1_200)  # W2: share of the planned distance
LEAN_STRENGTH: Final = 500
MOVED_ATR_PERMILLE: Final = 250
KEPT_DISTANCE_PERMILLE: Final = 800  # W3: of the least distance
MORE_RISK_PERMILLE: Final = 1_250
TRAIL_ATR_PERMILLE: Final = 500  # W4
AHEAD_PERMILLE: Final = 300  # W5
AHEAD_STRENGTH: Final = 700
AHEAD_GAIN_PERMILLE: Final = 700


class ZoneKind(StrEnum):
    """Walls of the book; LONGS and SHORTS: where the model expects liquidations of longs (below) and shorts (above)."""

    BID_WALL = "bid_wall"
    ASK_WALL = "ask_wall"
    LONGS = "longs"
    SHORTS = "shorts"


class Zone(msgspec.Struct, frozen=True):
    """A stretch of prices, E8, both ends included; times in log ms."""

    kind: ZoneKind
    id: int
    low_e8: int
    high_e8: int
    strength_permille: int
    since_ms: int
    confirmed_ms: int
    modelled: bool


class Capped(msgspec.Struct, frozen=True):
    """W1: the target belongs in front of the zone."""

    level_e8: int
    zone: Zone


class TooNear(msgspec.Struct, frozen=True):
    """W1: in front of the zone the target would be below 0.8 R: no entry; in trade the target stays."""

    level_e8: int
    zone: Zone


class WallStop(msgspec.Struct, frozen=True):
    """W2: the level behind a wall (S_w)."""

    level_e8: int
    zone: Zone


class StopShift(msgspec.Struct, frozen=True):
    """W3: the stop belongs out of the band; ``size_permille`` of the planned size keeps the risk."""

    level_e8: int
    zone: Zone
    size_permille: int
    tightens: bool


class CascadeTrail(msgspec.Struct, frozen=True):
    """W4: trail at this level."""

    level_e8: int
    zone: Zone | None


class CascadeEnd(msgspec.Struct, frozen=True):
    """W4: the cascade is exhausted, close."""

    zone: Zone | None


def opposing_kinds(side: Side) -> tuple[ZoneKind, ZoneKind]:
    """What stands in the way of a position of *side*: the wall, and the liquidations of the other side."""
    return (ZoneKind.ASK_WALL, ZoneKind.SHORTS) if side is Side.BUY else (ZoneKind.BID_WALL, ZoneKind.LONGS)


def leaning_kinds(side: Side) -> tuple[ZoneKind, ZoneKind]:
    """What stands behind a position of *side*: the wall, and the liquidations of its own side."""
    return opposing_kinds(side.opposite)


def wall_buffer_e8(*, atr_5m_e8: int, tick_e8: int, price_e8: int) -> int:
    """bf = max(0.15·a, 3 ticks, 3 bps)."""
    return max(
        BUFFER_ATR_PERMILLE * atr_5m_e8 // 1_000,
        BUFFER_TICKS * tick_e8,
        BUFFER_BPS * price_e8 // 10_000,
    )


def target_cap(
    zones: list[Zone], *, side: Side, entry_e8: int, risk_e8: int, target_e8: int, buffer_e8: int
) -> Capped | TooNear | None:
    """
    W1: the nearest opposing zone between e + 0.5 R and TP1 caps the target at its near edge − bf.

    TooNear if that is below 0.8 R: a veto before the entry, no change in trade.
    """
    sign, kinds = side.sign, opposing_kinds(side)
    first, last = entry_e8 * sign * 1_000 + CAP_FROM_PERMILLE * risk_e8, target_e8 * sign * 1_000
    inside = [zone for zone in zones if zone.kind in kinds and first <= _lower(zone, side) * sign * 1_000 <= last]
    if not inside:
        return None
    zone = min(inside, key=lambda z: _lower(z, side) * sign)
    level = _lower(zone, side) - sign * buffer_e8
    if (level - entry_e8) * sign * 1_000 < CAP_LEAST_PERMILLE * risk_e8:
        return TooNear(level, zone)
    return Capped(level, zone)


def stop_behind_wall(
    zones: list[Zone],
    *,
    side: Side,
    from_e8: int,
    distance_e8: int,
    buffer_e8: int,
    leaning_e8: int = 0,
    atr_5m_e8: int = 0,
) -> WallStop | None:
    """
    W2: behind the strongest wall (>= 0.5) that puts the stop at 0.6 to 1.2 of the planned distance.

    *from_e8* is the entry at placement, the price in trade. *leaning_e8*: the level behind the wall leant on so far (0:
    none); a wall that moved by no more than 0.25·a changes nothing.
    """
    sign, (kind, _) = side.sign, leaning_kinds(side)
    low, high = LEAN_PERMILLE
    best: WallStop | None = None
    for zone in zones:
        if zone.kind is not kind or zone.strength_permille < LEAN_STRENGTH:
            continue
        level = _lower(zone, side) - sign * buffer_e8
        away = (from_e8 - level) * sign * 1_000
        if not low * distance_e8 <= away <= high * distance_e8:
            continue
        if best is None or _preferred(zone, side) > _preferred(best.zone, side):
            best = WallStop(level, zone)
    if best is None or (leaning_e8 and not wall_moved(leaning_e8, best.level_e8, atr_5m_e8=atr_5m_e8)):
        return None
    return best


def _preferred(zone: Zone, side: Side) -> tuple[int, int]:
    """The stronger, then the one that is nearer to the price."""
    return zone.strength_permille, _lower(zone, side) * side.sign


def wall_moved(before_e8: int, after_e8: int, *, atr_5m_e8: int) -> bool:
    """A wall elsewhere is acted upon only when it moved by more than 0.25·a (it is confirmed anyway)."""
    return abs(after_e8 - before_e8) * 1_000 > MOVED_ATR_PERMILLE * atr_5m_e8


def stop_off_liquidations(
    zones: list[Zone],
    *,
    side: Side,
    entry_e8: int,
    stop_e8: int,
    least_distance_e8: int,
    buffer_e8: int,
    initial: bool,
) -> StopShift | None:
    """
    W3: a stop inside a band of its own side's liquidations leaves it.

    To the near edge + bf if 0.8 of the least distance remains; else, at the initial placement only, to the far edge
    − bf if risk grows by at most a quarter, with less size.
    """
    sign, (_, kind) = side.sign, leaning_kinds(side)
    for zone in zones:
        if zone.kind is not kind or not zone.low_e8 <= stop_e8 <= zone.high_e8:
            continue
        tight = _upper(zone, side) + sign * buffer_e8
        if (entry_e8 - tight) * sign * 1_000 >= KEPT_DISTANCE_PERMILLE * least_distance_e8:
            return StopShift(tight, zone, 1_000, tightens=True)
        loose = _lower(zone, side) - sign * buffer_e8
        before, after = (entry_e8 - stop_e8) * sign, (entry_e8 - loose) * sign
        if initial and 0 < before and after * 1_000 <= MORE_RISK_PERMILLE * before:
            return StopShift(loose, zone, before * 1_000 // after, tightens=False)
        return None
    return None


def target_in_cascade(
    zones: list[Zone],
    *,
    side: Side,
    mark_e8: int,
    target_e8: int,
    cascade: int,
    exhausted: bool,
    first_target_done: bool,
    best_mark_e8: int,
    atr_1h_e8: int,
    running: bool = False,
) -> CascadeTrail | CascadeEnd | None:
    """
    W4 (X18): TP1 reached inside a band of the other side's liquidations while they cascade (*cascade* +1 up, −1 down).

    Begins once half is closed (*first_target_done*); from then on the caller says *running*, because the price empties
    the band it is in. Trails at 0.5·A behind the best mark until *exhausted*, then closes.
    """
    sign = side.sign
    zone = next(
        (z for z in zones if z.kind is opposing_kinds(side)[1] and z.low_e8 <= target_e8 <= z.high_e8),
        None,
    )
    begins = zone is not None and cascade == sign and first_target_done and mark_e8 * sign >= target_e8 * sign
    if not running and not begins:
        return None
    if exhausted:
        return CascadeEnd(zone)
    return CascadeTrail(best_mark_e8 - sign * (TRAIL_ATR_PERMILLE * atr_1h_e8 // 1_000), zone)


def opposing_wall(
    zones: list[Zone],
    *,
    side: Side,
    mark_e8: int,
    entry_e8: int,
    risk_e8: int,
    best_mark_e8: int,
    opened_ms: int,
) -> Zone | None:
    """W5 (X19): a wall of at least 0.7 confirmed since the position opened, within 0.3 R ahead, once MFE is 0.7 R."""
    sign, (kind, _) = side.sign, opposing_kinds(side)
    if (best_mark_e8 - entry_e8) * sign * 1_000 < AHEAD_GAIN_PERMILLE * risk_e8:
        return None
    for zone in zones:
        if zone.kind is not kind or zone.strength_permille < AHEAD_STRENGTH or zone.confirmed_ms <= opened_ms:
            continue
        ahead = (_lower(zone, side) - mark_e8) * sign * 1_000
        if 0 <= ahead <= AHEAD_PERMILLE * risk_e8:
            return zone
    return None


def _lower(zone: Zone, side: Side) -> int:
    """As a long sees it (a short: the upper): of a zone ahead the edge met first, of one behind the edge met last."""
    return zone.low_e8 if side is Side.BUY else zone.high_e8


def _upper(zone: Zone, side: Side) -> int:
    return zone.high_e8 if side is Side.BUY else zone.low_e8
