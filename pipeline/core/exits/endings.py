"""
The only place for how a position ends in the books: the venue says flat, a target, a stop or a close has filled (X0a,
X6, X7), what is reported then and how the symbol becomes free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipeline.core.commands import ReportTrade, Sweep
from pipeline.core.entries import put_away
from pipeline.core.events import Leg
from pipeline.core.exits.acts import tighten
from pipeline.core.exits.rule import Fired, closable
from pipeline.core.guard import next_step
from pipeline.core.orders import OrderStatus
from pipeline.core.positions import (
    RAIL_LEGS,
    STOP_OUTCOME,
    Order,
    Position,
    Stage,
    adopt_quantity,
    entry_price_e8,
    settled_dispute,
)
from pipeline.core.state import ForeignPosition
from pipeline.core.stops import tighter
from pipeline.core.turn import Turn
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks, format_e8

TARGET_LEGS: Final = (Leg.TARGET, Leg.LAST_TARGET)
UNBOOKED_WAIT_MS: Final = 1_000  # flat is told, but not yet by the trades that carry the money

# Rule of a partial close → how the trade is told to have ended if that fill was the last one.
REDUCED_OUTCOME: Final = {"X9": "flow", "X11": "liquidity", "X19": "wall", "X18": "cascade"}


def venue_says_flat(turn: Turn) -> Fired | None:
    """X0a: ACCOUNT_UPDATE or two complete reads say flat, or a foreign fill took the rest; nothing of ours explains."""
    position = turn.position
    settled = settled_dispute(position, now=turn.now)
    if settled is not None and settled <= 0 and position.opened_ms:
        return Fired("the venue says flat and no order of ours explains it", "external")
    if position.opened_ms and position.lots <= 0 and not position.last_exit:
        return Fired("orders that are not ours took the rest", "external")
    return None


def _flat_by_own_order(turn: Turn, wanted: Callable[[Order], bool]) -> Order | None:
    position = turn.position
    if not position.opened_ms or position.lots > 0 or not position.entry_ended:
        return None
    order = position.orders.get(position.last_exit)
    if order is None or not wanted(order):
        return None
    if position.exit_booked < position.left and turn.now - position.flat_ms < UNBOOKED_WAIT_MS:
        return None  # a reply told the fill first; the trade with its price and fee is on the way
    return order


def _leaving(position: Position, order: Order) -> bool:
    return bool(position.leave_intent) and order.intent == position.leave_intent


def last_target_filled(turn: Turn) -> Fired | None:
    """X7: TP2 filled (or the single target of a small position, or TP1 of one that was halved by others)."""
    position = turn.position
    order = _flat_by_own_order(turn, lambda o: o.leg in TARGET_LEGS and not _leaving(position, o))
    return Fired(f"{order.leg.name} filled", "target") if order is not None else None


def stopped_out(turn: Turn) -> Fired | None:
    """A rail filled: the stop did its work; the outcome is what the level followed from."""
    order = _flat_by_own_order(turn, lambda o: o.leg in RAIL_LEGS)
    return Fired(f"{order.leg.name} filled", STOP_OUTCOME[order.basis]) if order is not None else None


def closed_by_order(turn: Turn) -> Fired | None:
    """A close of ours filled, at market or at rest: the trade ends by the rule that asked for it."""
    position = turn.position
    order = _flat_by_own_order(turn, lambda o: o.leg is Leg.CLOSE or _leaving(position, o))
    if order is None:
        return None
    if position.close_outcome:
        return Fired("the close filled", position.close_outcome)
    if _leaving(position, order):
        return Fired("the resting close filled", position.leave_outcome)
    rule = position.reductions.get(order.intent, "")
    return Fired("the close filled", REDUCED_OUTCOME.get(rule, "emergency"))


def finish(turn: Turn, rule: str, fired: Fired) -> None:
    """CLOSED: sweep (entries and targets first, stops last: the executor's order), report, free the symbol."""
    state, position, instrument = turn.state, turn.position, turn.instrument
    dispute = settled_dispute(position, now=turn.now)
    beyond = position.lots if dispute is None else dispute  # below zero: somebody has turned the position round
    if dispute is not None:
        adopt_quantity(position, 0)
    entry = position.entry_e8 or entry_price_e8(position) or position.venue_entry_e8
    mark = state.mark.mark if state.mark is not None else entry
    realised = position.realised_e8
    money, lots = position.exit_money, position.exit_booked
    for price, unbooked in _unbooked(position, mark_e8=mark):
        realised += (price - entry) * position.side.sign * unbooked * instrument.step_e8 // ONE_E8
        money, lots = money + price * unbooked, lots + unbooked
        turn.note("trade_valued", f"{instrument.quantity_text(unbooked)} without a trade at {format_e8(price)}")
    reason, outcome = _told(position, rule, fired)
    position.stage = Stage.CLOSED
    turn.emit(Sweep(position=position.id), rule=rule)
    turn.emit(
        ReportTrade(
            position=position.id,
            side=position.side,
            lots=Lots(position.entered),
            entry_price=E8(entry),
            exit_price=E8(money // lots if lots else mark),
            opened_ms=Milliseconds(position.opened_ms),
            closed_ms=Milliseconds(turn.now),
            realised=E8(realised),
            fees=E8(position.fees_e8),
            initial_stop=Ticks(position.initial_stop),
            last_stop=Ticks(position.stop),
            stop_moves=position.stop_moves,
            reason=reason,
            outcome=outcome,
        )
    )
    turn.note("position_closed", fired.why)
    for place in position.causes:
        turn.rest_on(place)
    put_away(turn, position)
    state.position = None
    if beyond < 0:
        state.foreign = ForeignPosition(lots=beyond * position.side.sign, since_ms=turn.now)
    state.wake_ms = 0


def _unbooked(position: Position, *, mark_e8: int) -> list[tuple[int, int]]:
    """What left without a trade that tells its price: (price in E8, lots), at the average of the reply or at mark."""
    parts: list[tuple[int, int]] = []
    rest = position.entered - position.exit_booked
    for order in position.orders.values():
        if order.leg is not Leg.ENTRY and order.average and order.filled > order.booked and rest > 0:
            lots = min(order.filled - order.booked, rest)
            parts.append((order.average, lots))
            rest -= lots
    if rest > 0:
        parts.append((mark_e8, rest))
    return parts


def _told(position: Position, rule: str, fired: Fired) -> tuple[str, str]:
    """
    The rule that ended the trade, and its outcome. For a stop the reason is what its level followed from (domain 6.4),
    for a close that filled or a flat venue while closing the rule that asked for it.
    """
    closing = position.stage is Stage.CLOSING and rule in {"X0a", "FLAT"}
    outcome = position.close_outcome if closing and position.close_outcome else fired.outcome
    if closing and position.close_rule:
        return position.close_rule, outcome
    order = position.orders.get(position.last_exit)
    if rule == "STOP" and order is not None:
        return order.basis.value, outcome
    if rule == "FLAT" and order is not None:
        asked = position.leave_rule if _leaving(position, order) else position.reductions.get(order.intent, "")
        return asked or rule, outcome
    return rule, outcome


# ---------------------------------------------------------------------------------------------------------- targets


def target_passed(turn: Turn) -> Fired | None:
    """X7 without its order: TP2 was refused because the price is beyond it (−2021), so the target is reached."""
    if not turn.position.target_through or not closable(turn):
        return None
    return Fired("the price is beyond the last target already (−2021)", "target")


def first_target_filled(turn: Turn) -> Fired | None:
    """X6: all of TP1 filled (or of the next step of a longer ladder)."""
    position = turn.position
    known = position.step_intents
    if not known or position.lots <= 0 or not position.frozen:
        return None
    for order in position.orders.values():
        if order.intent in known and order.status is OrderStatus.FILLED and order.leg is Leg.TARGET:
            return Fired("the first target is filled" if not position.step else f"target {position.step + 1} is filled")
    return None


def to_breakeven(turn: Turn, rule: str, fired: Fired) -> None:
    """
    PARTIAL: the stop goes to the breakeven rule past steps 3 and 4, rail (a) moves once to the level before that move
    (if the stop stood at breakeven already, to the level before it, so that the rails never share one).
    """
    position = turn.position
    next_step(position)
    if position.first_target_done:
        turn.note("target", f"{rule}: {fired.why}")
        return
    stood, followed = position.stop, position.basis
    position.first_target_done = True
    if position.stage is Stage.OPEN:
        position.stage = Stage.PARTIAL
    turn.note("first_target", f"{fired.why}; stop to breakeven, far rail to the old stop")
    tighten(turn, forced=True)
    if position.stop == stood:
        stood, followed = position.previous_stop, position.previous_basis
    if tighter(position.side, position.far, stood) != position.far:
        position.far, position.far_basis = stood, followed
