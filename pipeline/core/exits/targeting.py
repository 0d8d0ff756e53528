"""
The only place where targets follow the market: moved on scored closed bars before TP1, given up for trailing after it.

Where a target lies is ``core.targets``' question; ``guard`` states what is decided here.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.exits.acts import price_e8
from pipeline.core.exits.view import seen
from pipeline.core.exits.walls import cap_target
from pipeline.core.guard import give_last_target_up
from pipeline.core.positions import Position
from pipeline.core.targets import TargetView, may_trail, moved_permille, note_money, place_ladder
from pipeline.core.turn import Turn

MILLI: Final = 1_000


def follow_market(turn: Turn) -> None:
    """On a newly scored closed bar: move the first target, or let the stop trail instead of the last one."""
    state, position = turn.state, turn.position
    if not position.frozen or position.lots <= 0 or position.leave_rule or position.left_alone or position.adopted:
        return
    factors = seen(turn)
    if position.first_target_done:
        if may_trail(position, factors.score, state.policy):
            give_last_target_up(turn)
            turn.note("target_trails", "the composite carries on: the trailing stop takes the last target's place")
        return
    tick = turn.instrument.tick_e8
    view = TargetView(
        side=position.side,
        entry_e8=position.entry_e8,
        risk_e8=position.risk_e8,
        price_e8=price_e8(turn),
        atr_1h_e8=state.bars.one_hour.e8(tick) if state.bars.ready else 0,
        score=factors.score,
        trend=factors.trend,
        regime=factors.regime,
    )
    note_money(position, view, state.policy)
    permille = moved_permille(position, view, state.policy, tick_e8=tick)
    if permille is not None:
        position.target_permille = permille
    if cap_target(turn, position) or permille is not None:
        put(turn, position)
        target = turn.instrument.price_text(position.target)
        capped = ", in front of a wall" if position.target_cap else ""
        turn.note("targets_moved", f"the first to {target}, {position.target_permille} ‰ of the plan{capped}")


def put(turn: Turn, position: Position) -> None:
    """Place the ladder anew from e; the guard moves the orders."""
    sign = position.side.sign
    place_ladder(position, entry_ticks=position.entry_e8 * sign // turn.instrument.tick_e8)
