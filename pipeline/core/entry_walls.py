"""
The only place where walls and liquidation bands shape an entry before it is sent: rules W1 to W3 of domain 6.6.

Levels that a person named stay where they were named. A stop that moves away keeps its risk: the quantity is cut in the
same measure, and nothing is ever made larger.
"""

from __future__ import annotations

import msgspec

from pipeline.core.events import Quote, Side
from pipeline.core.instruments import Instrument
from pipeline.core.policies import Policy
from pipeline.core.sizing import STOP_ATR_FLOOR_PERMILLE, STOP_SPREADS, Plan, Refused
from pipeline.core.wall_rules import (
    KEPT_DISTANCE_PERMILLE,
    Capped,
    TooNear,
    Zone,
    stop_behind_wall,
    stop_off_liquidations,
    target_cap,
    wall_buffer_e8,
)

MILLI = 1_000


class Shaped(msgspec.Struct, frozen=True):
    """An entry as the zones leave it; ``wall_id`` and ``wall_e8`` name the wall that its stop leans on (0: none)."""

    plan: Plan
    wall_id: int = 0
    wall_e8: int = 0


class Ground(msgspec.Struct, frozen=True):
    """What the levels stand on: market, grid and policy; ranges in E8, 0 while not known (then nothing is shaped)."""

    side: Side
    quote: Quote
    instrument: Instrument
    policy: Policy
    atr_5m_e8: int
    atr_1h_e8: int

    @property
    def touch(self) -> int:
        """The price an entry meets first, ticks."""
        return self.quote.ask if self.side is Side.BUY else self.quote.bid

    @property
    def least(self) -> int:
        """The lower bounds of D in ticks (domain 6.2)."""
        return max(
            -(-self.touch * self.policy.stop_min_bps // 10_000),
            self.policy.stop_min_ticks,
            STOP_SPREADS * (self.quote.ask - self.quote.bid),
            -(-STOP_ATR_FLOOR_PERMILLE * self.atr_1h_e8 // (MILLI * self.instrument.tick_e8)),
        )

    @property
    def buffer_e8(self) -> int:
        """bf of domain 6.6."""
        tick = self.instrument.tick_e8
        return wall_buffer_e8(atr_5m_e8=self.atr_5m_e8, tick_e8=tick, price_e8=self.touch * tick)


def shape(plan: Plan, zones: list[Zone], ground: Ground, *, own_stop: bool, own_target: bool) -> Shaped | Refused:
    """
    The entry in front of *zones*: the stop behind a wall (W2) and out of a liquidation band (W3), the first target in
    front of what opposes it (W1); or why there is none. *own_stop* and *own_target*: a person named them.
    """
    shaped = Shaped(plan)
    if not zones or not ground.atr_5m_e8:
        return shaped
    if not own_stop:
        shaped = _stop_out_of_bands(_stop_behind_wall(shaped, zones, ground), zones, ground)
        if shaped.plan.lots < max(1, ground.instrument.min_lots):
            return Refused("the stop belongs behind a wall, and at that distance the quantity is below the minimum")
    return shaped if own_target else _target_in_front(shaped, zones, ground)


def _stop_behind_wall(shaped: Shaped, zones: list[Zone], ground: Ground) -> Shaped:
    """W2."""
    tick = ground.instrument.tick_e8
    found = stop_behind_wall(
        zones,
        side=ground.side,
        from_e8=ground.touch * tick,
        distance_e8=shaped.plan.stop_distance * tick,
        buffer_e8=ground.buffer_e8,
    )
    if found is None:
        return shaped
    moved = _with_stop(shaped.plan, found.level_e8, ground)
    return shaped if moved is None else Shaped(moved, wall_id=found.zone.id, wall_e8=found.level_e8)


def _stop_out_of_bands(shaped: Shaped, zones: list[Zone], ground: Ground) -> Shaped:
    """W3."""
    tick = ground.instrument.tick_e8
    found = stop_off_liquidations(
        zones,
        side=ground.side,
        entry_e8=ground.touch * tick,
        stop_e8=shaped.plan.stop * tick,
        least_distance_e8=ground.least * tick,
        buffer_e8=ground.buffer_e8,
        initial=True,
    )
    moved = None if found is None else _with_stop(shaped.plan, found.level_e8, ground)
    return shaped if moved is None else Shaped(moved)


def _with_stop(plan: Plan, level_e8: int, ground: Ground) -> Plan | None:
    """
    The plan with its stop at *level_e8*, rounded away from the price; None when less than 0.8 of the least distance
    remains (W3's own measure, taken for W2 too) or more than the largest is asked for.
    """
    sign, tick, touch = ground.side.sign, ground.instrument.tick_e8, ground.touch
    distance = touch * sign - level_e8 * sign // tick
    if (
        distance * MILLI < KEPT_DISTANCE_PERMILLE * ground.least
        or distance > touch * ground.policy.stop_max_bps // 10_000
    ):
        return None
    far = touch - sign * -(-distance * ground.policy.far_rail_permille // MILLI)
    if min(touch - sign * distance, far) < ground.instrument.min_price_ticks:
        return None
    lots = plan.lots if distance <= plan.stop_distance else plan.lots * plan.stop_distance // distance
    return msgspec.structs.replace(plan, lots=lots, stop=touch - sign * distance, far=far, stop_distance=distance)


def _target_in_front(shaped: Shaped, zones: list[Zone], ground: Ground) -> Shaped | Refused:
    """W1: the nearest opposing zone caps TP1; what is left must be worth the risk (TP1 ≥ 1.2 · D)."""
    plan, sign, tick = shaped.plan, ground.side.sign, ground.instrument.tick_e8
    entry = ground.touch * tick
    found = target_cap(
        zones,
        side=ground.side,
        entry_e8=entry,
        risk_e8=plan.stop_distance * tick,
        target_e8=entry + sign * plan.target_distance * tick,
        buffer_e8=ground.buffer_e8,
    )
    first = plan.target_distance
    match found:
        case TooNear(zone=zone):
            return Refused(f"{_words(zone)} stands before 0.8 R ahead")
        case Capped(level_e8=level, zone=zone):
            first = (level - entry) * sign // tick
            if first * MILLI < plan.stop_distance * ground.policy.target_min_permille_of_stop:
                return Refused(
                    f"in front of {_words(zone)} the first target is nearer than 1.2 times the stop distance"
                )
        case None:
            if first * MILLI < plan.stop_distance * ground.policy.target_min_permille_of_stop:
                return Refused("behind the wall the stop is too far for the first target")
    return msgspec.structs.replace(shaped, plan=msgspec.structs.replace(plan, target_distance=first))


def _words(zone: Zone) -> str:
    return "a band of estimated liquidations (a model)" if zone.modelled else "a wall of the book"
