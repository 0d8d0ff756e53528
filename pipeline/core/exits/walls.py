"""
The only place for the rules about walls and liquidation bands: the wall behind the stop is lost, a cascade carries the
price through the target, a wall appears ahead (X12, X18, X19), and the stop and target that follow from zones (W1 to
W3 of domain 6.6).

What a wall is, and what each zone means in prices, is told by ``wall_watch`` and ``wall_rules``. The liquidation map is
a model; what follows from it alone is said to.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.exits.acts import price_e8, reduce, stop_view, tighten
from pipeline.core.exits.factors import tighten_to_factors
from pipeline.core.exits.rule import Fired, closable, judged
from pipeline.core.exits.view import seen
from pipeline.core.positions import Basis, Position, best_mark_of
from pipeline.core.stops import Candidate, candidates
from pipeline.core.turn import Turn
from pipeline.core.wall_rules import (
    Capped,
    CascadeEnd,
    CascadeTrail,
    TooNear,
    Zone,
    opposing_wall,
    target_cap,
    target_in_cascade,
    wall_buffer_e8,
    wall_moved,
)
from pipeline.core.wall_watch import wall_lost, zones_of

MILLI: Final = 1_000


# ------------------------------------------------------------------------------------- X12: the wall behind the stop


def wall_broken(turn: Turn) -> Fired | None:
    """X12: the wall that the stop leans on was pulled, or eaten and the price stands beyond it."""
    position = turn.position
    if not position.wall_id or not judged(position):
        return None
    lost = wall_lost(turn.state, position.wall_id)
    return None if lost is None else Fired(lost.why)


def leave_wall(turn: Turn, rule: str, fired: Fired) -> None:
    """No candidate may lean on it again; the stop goes behind the next structure, else to price − 0.6 · a."""
    position, state = turn.position, turn.state
    position.walls_lost.append(position.wall_id)
    del position.walls_lost[:-16]
    position.wall_id, position.wall_e8 = 0, 0
    turn.note("wall_lost", f"{rule}: {fired.why}")
    if state.mark is None or not state.bars.ready:
        return
    sign, tick = position.side.sign, turn.instrument.tick_e8
    view = stop_view(turn)
    structure = any(
        row.level_e8 * sign > position.stop * tick * sign
        for row in candidates(view, state.policy)
        if row.basis is Basis.SWING
    )
    distance = state.policy.x12_stop_atr5m_permille * view.atr_5m_e8 // MILLI
    extra = () if structure else (Candidate(Basis.WALL, price_e8(turn) - sign * distance),)
    tighten(turn, forced=True, extra=extra)


# -------------------------------------------------------------------------------------- X18: carried by a cascade


def _cascade(turn: Turn) -> CascadeTrail | CascadeEnd | None:
    state, position = turn.state, turn.position
    factors = seen(turn)
    if not position.first_target_done or not judged(position) or state.mark is None or not state.bars.ready:
        return None
    if not position.cascade_trail and factors.cascade != position.side.sign:
        return None
    tick = turn.instrument.tick_e8
    return target_in_cascade(
        [] if position.cascade_trail else zones_of(state),
        side=position.side,
        mark_e8=state.mark.mark,
        target_e8=position.ladder[0].price * tick,
        cascade=factors.cascade,
        exhausted=factors.exhausted,
        first_target_done=position.first_target_done,
        best_mark_e8=best_mark_of(position),
        atr_1h_e8=state.bars.one_hour.e8(tick),
        running=position.cascade_trail,
    )


def cascade_exhausted(turn: Turn) -> Fired | None:
    """X18, the end: the cascade that carried the price is exhausted."""
    if not isinstance(_cascade(turn), CascadeEnd) or not closable(turn):
        return None
    return Fired("the cascade that carried the price is exhausted", "cascade_ended")


def carried_by_cascade(turn: Turn) -> Fired | None:
    """X18 (W4): TP1 was reached inside a band of estimated liquidations of the other side while they cascade."""
    trail = _cascade(turn)
    return Fired("carried by liquidations of the other side (model)") if isinstance(trail, CascadeTrail) else None


def trail_cascade(turn: Turn, rule: str, fired: Fired) -> None:
    """Trail at 0.5 · A; the first move goes past steps 3 and 4, those after it do not."""
    position = turn.position
    trail = _cascade(turn)
    assert isinstance(trail, CascadeTrail)
    begins = not position.cascade_trail
    if begins:
        position.cascade_trail = True
        turn.note("cascade_trail", f"{rule}: {fired.why}")
    tighten(turn, forced=begins, extra=(Candidate(Basis.WALL, trail.level_e8),))


# ------------------------------------------------------------------------------------------- X19: a wall ahead


def wall_ahead(turn: Turn) -> Fired | None:
    """X19 (W5): a new strong opposing wall close ahead of a position in profit; once."""
    state, position = turn.state, turn.position
    if position.wall_reduced or state.walls is None or state.mark is None or not judged(position):
        return None
    zone = opposing_wall(
        zones_of(state),
        side=position.side,
        mark_e8=state.mark.mark,
        entry_e8=position.entry_e8,
        risk_e8=position.risk_e8,
        best_mark_e8=best_mark_of(position),
        opened_ms=position.opened_ms,
    )
    if zone is None:
        return None
    return Fired(f"a wall of strength {zone.strength_permille} ‰ stands close ahead")


def take_quarter(turn: Turn, rule: str, fired: Fired) -> None:
    """Close a quarter once; a position too small to be divided is tightened to S_f instead."""
    position, policy = turn.position, turn.state.policy
    position.wall_reduced = True
    if not reduce(turn, rule, fired, lots=position.lots * policy.x19_share_permille // MILLI):
        tighten_to_factors(turn)


# --------------------------------------------------------------------------------------------------- W1: the target


def cap_target(turn: Turn, position: Position) -> bool:
    """
    W1 in trade: TP1 goes in front of the nearest opposing zone, and back when that is gone; returns True when it moves.

    A zone that leaves too little is told and changes nothing; one that moved by no more than 0.25 · a neither.
    """
    state, tick, sign = turn.state, turn.instrument.tick_e8, position.side.sign
    zones = zones_of(state)
    planned = position.ladder[0].distance * position.target_permille // MILLI * tick
    wanted = 0
    if zones and state.bars.ready:
        a = state.bars.five_minutes.e8(tick)
        found = target_cap(
            zones,
            side=position.side,
            entry_e8=position.entry_e8,
            risk_e8=position.risk_e8,
            target_e8=position.entry_e8 + sign * planned,
            buffer_e8=wall_buffer_e8(atr_5m_e8=a, tick_e8=tick, price_e8=price_e8(turn)),
        )
        match found:
            case Capped(level_e8=level):
                wanted = (level - position.entry_e8) * sign // tick
                known = position.target_cap
                if known and not wall_moved(known * tick, wanted * tick, atr_5m_e8=a):
                    wanted = known
            case TooNear(zone=zone):
                wanted = position.target_cap
                _tell_near(turn, position, zone)
            case None:
                pass
    if wanted == position.target_cap:
        return False
    position.target_cap = wanted
    return True


def _tell_near(turn: Turn, position: Position, zone: Zone) -> None:
    if position.near_wall_id != zone.id:
        position.near_wall_id = zone.id
        kind = "estimated liquidations (model)" if zone.modelled else "a wall"
        turn.note("target_behind_wall", f"{kind} before 0.8 R: the first target stays")
