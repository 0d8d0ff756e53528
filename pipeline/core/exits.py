"""
The only place for the exit rules: what ends or tightens a position, in the order in which one outranks another.

All rules are evaluated on each event that they read; **the first closing one in the order of ``RULES`` wins; if none
closes, every tightening applies** (domain 6.3: a tightening must not hide a close further down). A rule is a row: its
id, the domain's words, and a function that says whether it fires and why. "No exit" is a result of the rules, never of
an exception.

To add a rule, write its function and its row; ``Policy.disabled_exits`` may switch any row off but those marked vital.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.commands import ClosePosition, ReportTrade, Sweep
from pipeline.core.entries import put_away
from pipeline.core.events import Leg, TradingMode
from pipeline.core.feeds import mark_fresh, quote_fresh
from pipeline.core.guard import move_stop
from pipeline.core.orders import FIRING, RESTING, OrderStatus
from pipeline.core.positions import (
    RAIL_LEGS,
    Basis,
    Order,
    Position,
    Stage,
    adopt_quantity,
    entry_price_e8,
    rail_at_work,
    settled_dispute,
    worst_loss_e8,
)
from pipeline.core.stops import StopMove, StopView, ratchet, tighter
from pipeline.core.turn import Turn
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks, format_e8

TARGET_LEGS: Final = (Leg.TARGET, Leg.LAST_TARGET)
EARLY_BARS: Final = 2  # X8–X15 are suppressed for the first closed bars …
EARLY_LOSS_PERMILLE: Final = 700  # … unless MAE ≥ 0.7 R
UNBOOKED_WAIT_MS: Final = 1_000  # flat is told, but not yet by the trades that carry the money
CLOSE_AGAIN_MS: Final = 15_000  # a close without effect is asked for again under a new intent (reduce-only: harmless)
READ_FRESH_MS: Final = 1_000  # X1: the read must be at least this much younger than the loss of protection


class Fired(msgspec.Struct, frozen=True):
    """A rule fires: why (for people), and the outcome of the trade if it closes (``reporting.words.OUTCOMES``)."""

    why: str
    outcome: str = ""


class ExitRule(msgspec.Struct, frozen=True):
    """
    One row. ``act`` is what happens when the rule has won (closing) or fired (tightening).

    ``text`` is what people read (``explain``). ``suppressed_early`` keeps a rule silent for the first ``EARLY_BARS``
    closed bars unless MAE ≥ 0.7 R (domain 6.3: X8 to X15). ``vital`` rules protect: no configuration switches them off.
    """

    id: str
    text: str
    closes: bool
    fires: Callable[[Turn], Fired | None]
    act: Callable[[Turn, str, Fired], None]
    suppressed_early: bool = False
    vital: bool = True


def evaluate(turn: Turn) -> None:
    """Apply the rules to the symbol's position once."""
    state = turn.state
    position = state.position
    if position is None:
        return
    tightenings: list[tuple[ExitRule, Fired]] = []
    for rule in RULES:
        if not rule.vital and rule.id in state.policy.disabled_exits:
            continue
        if rule.suppressed_early and _early(turn, position):
            continue
        fired = rule.fires(turn)
        if fired is None:
            continue
        if rule.closes:
            turn.rules.append(rule.id)
            rule.act(turn, rule.id, fired)
            return
        tightenings.append((rule, fired))
    for rule, fired in tightenings:
        turn.rules.append(rule.id)
        rule.act(turn, rule.id, fired)


def _early(turn: Turn, position: Position) -> bool:
    if position.bars >= EARLY_BARS or turn.now - position.opened_ms >= EARLY_BARS * BAR_MS:
        return False
    return worst_loss_e8(position) * 1_000 < EARLY_LOSS_PERMILLE * position.risk_e8 or not position.risk_e8


# ------------------------------------------------------------------------------------------------ flat: X0a, X7


def _venue_says_flat(turn: Turn) -> Fired | None:
    """X0a: ACCOUNT_UPDATE or two complete reads say flat, or a foreign fill took the rest; nothing of ours explains."""
    position = turn.position
    settled = settled_dispute(position, now=turn.now)
    if settled is not None and settled <= 0 and position.opened_ms:
        return Fired("the venue says flat and no order of ours explains it", "external")
    if position.opened_ms and position.lots <= 0 and not position.last_exit:
        return Fired("orders that are not ours took the rest", "external")
    return None


def _flat_by_own_order(turn: Turn, leg_wanted: Callable[[Leg], bool]) -> Order | None:
    position = turn.position
    if not position.opened_ms or position.lots > 0 or not position.entry_ended:
        return None
    order = position.orders.get(position.last_exit)
    if order is None or not leg_wanted(order.leg):
        return None
    if position.exit_booked < position.left and turn.now - position.flat_ms < UNBOOKED_WAIT_MS:
        return None  # a reply told the fill first; the trade with its price and fee is on the way
    return order


def _last_target_filled(turn: Turn) -> Fired | None:
    """X7: TP2 filled (or the single target of a small position, or TP1 of one that was halved by others)."""
    order = _flat_by_own_order(turn, lambda leg: leg in TARGET_LEGS)
    return Fired(f"{order.leg.name} filled", "target") if order is not None else None


_STOP_OUTCOME: Final = {
    Basis.INITIAL: "hard_stop",
    Basis.BREAKEVEN: "breakeven_stop",
    Basis.CHANDELIER: "trailing_stop",
}


def _stopped_out(turn: Turn) -> Fired | None:
    """A rail filled: the stop did its work; the outcome is what the level followed from."""
    order = _flat_by_own_order(turn, lambda leg: leg in RAIL_LEGS)
    return Fired(f"{order.leg.name} filled", _STOP_OUTCOME[order.basis]) if order is not None else None


def _closed_by_order(turn: Turn) -> Fired | None:
    """A market close filled: the trade ends by the rule that asked for it."""
    order = _flat_by_own_order(turn, lambda leg: leg is Leg.CLOSE)
    if order is None:
        return None
    return Fired("the close filled", turn.position.close_outcome or "emergency")


def _finish(turn: Turn, rule: str, fired: Fired) -> None:
    """CLOSED: sweep (entries and targets first, stops last: the executor's order), report, free the symbol."""
    state, position, instrument = turn.state, turn.position, turn.instrument
    dispute = settled_dispute(position, now=turn.now)
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
    closing = position.stage is Stage.CLOSING and rule in {"X0a", "FLAT"}
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
            reason=position.close_rule if closing and position.close_rule else _reason(position, rule),
            outcome=position.close_outcome if closing and position.close_outcome else fired.outcome,
        )
    )
    turn.note("position_closed", fired.why)
    for place in position.causes:
        turn.rest_on(place)
    put_away(turn, position)
    state.position = None
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


def _reason(position: Position, rule: str) -> str:
    """The rule, or for a stop what its level followed from (domain 6.4: S0, S_be, S_ch)."""
    if rule != "STOP":
        return rule
    order = position.orders[position.last_exit]
    return order.basis.value


# ------------------------------------------------------------------------------------------- X0b: adopt and resize


def _reduced_by_others(turn: Turn) -> Fired | None:
    """X0b: the venue holds another quantity than our orders explain, and some is left."""
    settled = settled_dispute(turn.position, now=turn.now)
    if settled is None or settled <= 0:
        return None
    return Fired("the venue's quantity differs from what our orders explain")


def _adopt(turn: Turn, rule: str, fired: Fired) -> None:
    """Adopt the quantity; rails and targets follow it (``guard``), no stop is ever cancelled for it."""
    position = turn.position
    settled = settled_dispute(position, now=turn.now)
    assert settled is not None
    difference = adopt_quantity(position, settled)
    if not position.opened_ms:  # the fills of our entry are still unheard of, but the venue holds them
        position.opened_ms = turn.now
        position.stage = Stage.OPEN
    text = f"{turn.instrument.quantity_text(abs(difference))} {'more' if difference > 0 else 'less'}: {fired.why}"
    turn.alert("quantity_adopted", "warning", text)
    if rule not in turn.rules:
        turn.rules.append(rule)


# --------------------------------------------------------------------------------------------------- closing rules


def _closable(turn: Turn) -> bool:
    position = turn.position
    return position.lots > 0 and position.stage is not Stage.CLOSING


def _unprotected(turn: Turn) -> Fired | None:
    """X1: no proven stop for 2 s, and a fresh complete read shows no cover."""
    position = turn.position
    if not _closable(turn) or position.unprotected_ms < 0 or position.read_covered:
        return None
    if turn.now - position.unprotected_ms <= turn.state.policy.unprotected_close_ms:
        return None
    if position.audit_ms < position.unprotected_ms + READ_FRESH_MS:
        return None
    return Fired("no live stop for too long, proven by a complete read", "emergency")


def _rail_failed(turn: Turn) -> Fired | None:
    """X2: a rail was refused by the engine, expired, finished with quantity left, stuck, or passed by unnoticed."""
    position = turn.position
    if not _closable(turn):
        return None
    policy = turn.state.policy
    if position.price_through:
        return Fired("the price was already through the first rail (−2021)", "emergency")
    for order in position.orders.values():
        if order.leg not in RAIL_LEGS:
            continue
        # two rails passed at once: the venue fills one and refuses the other; the first gets its time
        if order.fault and not rail_at_work(
            position, now=turn.now, but=order, stuck_ms=policy.rail_stuck_ms, done_ms=policy.rail_through_ms
        ):
            return Fired(f"rail {order.leg.name} failed: {order.fault}", "emergency")
        waited = turn.now - order.since_ms
        if order.status in (OrderStatus.FINISHED, OrderStatus.FILLED) and waited >= policy.rail_through_ms:
            return Fired(f"rail {order.leg.name} is finished and quantity is left", "emergency")
        if order.status in FIRING and waited > policy.rail_stuck_ms:
            return Fired(f"rail {order.leg.name} is stuck in {order.status.value}", "emergency")
        if order.through_ms and order.status in RESTING and turn.now - order.through_ms >= policy.rail_through_ms:
            return Fired(f"the mark is through rail {order.leg.name} and it still rests", "emergency")
    if position.refused_level and turn.now - position.refused_ms >= policy.rail_through_ms:
        # −2021 on a ratchet move: only if the price is still through the wanted level after 1 s (domain 6.3);
        # ``evidence.watch_marks`` forgets the level once the mark has left it
        return Fired("the price stayed through a stop level that was refused (−2021)", "emergency")
    return None


def _killed(turn: Turn) -> Fired | None:
    """X3: the kill switch (trading state HALTED) closes everything; the other halves of X3 are account's."""
    if not _closable(turn) or turn.state.mode is not TradingMode.HALTED:
        return None
    return Fired(f"trading is halted: {turn.state.mode_reason}", "killed")


def _closed_by_hand(turn: Turn) -> Fired | None:
    """A person asked to close."""
    position = turn.position
    if not _closable(turn) or not position.hand_close:
        return None
    turn.rest_on(position.hand_cause)
    return Fired(position.hand_close, "closed_by_hand")


def _target_passed(turn: Turn) -> Fired | None:
    """X7 without its order: TP2 was refused because the price is beyond it (−2021), so the target is reached."""
    if not _closable(turn) or not turn.position.target_through:
        return None
    return Fired("the price is beyond the last target already (−2021)", "target")


def _time_is_up(turn: Turn) -> Fired | None:
    """X15: 96 closed bars when not trailing, 288 always."""
    position = turn.position
    if not _closable(turn) or not position.opened_ms:
        return None
    policy = turn.state.policy
    by_clock = (turn.now - position.opened_ms) // BAR_MS  # the absolute limit holds without any bar
    if max(position.bars, by_clock) >= policy.time_limit_absolute_bars:
        return Fired(f"{policy.time_limit_absolute_bars} bars are over", "time")
    if position.bars >= policy.time_limit_bars and not position.trailing:
        return Fired(f"{policy.time_limit_bars} bars are over and the stop does not trail", "time")
    return None


def _close(turn: Turn, rule: str, fired: Fired) -> None:
    """CLOSING: ask for the market close; the stops stay until the venue says zero."""
    position = turn.position
    turn.note("position_closing", f"{position.stage.value} by {rule}: {fired.why}")
    position.stage = Stage.CLOSING
    position.close_rule = rule
    position.close_outcome = fired.outcome
    if rule in {"X1", "X2"}:
        turn.alert("watchdog_close", "critical", f"{rule}: {fired.why}")
    ask_close(turn)


def ask_close(turn: Turn) -> None:
    """Ask the executor to close what is open; the venue's quantity wins over ours."""
    position = turn.position
    name = turn.emit(
        ClosePosition(
            position=position.id,
            side=position.side,
            lots=Lots(position.lots * position.side.sign),
            reason=position.close_rule,
        ),
        rule=position.close_rule,
    )
    position.intents[name] = Leg.CLOSE
    position.close_intent = name
    position.close_next_ms = turn.now + (CLOSE_AGAIN_MS << min(position.close_tries, 3))
    position.close_tries += 1
    for place in position.causes:
        turn.rest_on(place)
    turn.rest_on(turn.state.mark_stamp)


def keep_closing(turn: Turn) -> None:
    """A close that has shown no effect for long is asked for again under a new intent."""
    position = turn.position
    if position.stage is Stage.CLOSING and position.lots > 0 and turn.now >= position.close_next_ms:
        turn.alert("close_again", "critical", "the position is still open; the close is asked for again")
        ask_close(turn)


# ------------------------------------------------------------------------------------------------------ tightening


def _first_target_filled(turn: Turn) -> Fired | None:
    """X6: all of TP1 filled."""
    position = turn.position
    if position.first_target_done or position.lots <= 0 or not position.frozen:
        return None
    for order in position.orders.values():
        if order.leg is Leg.TARGET and order.status is OrderStatus.FILLED:
            return Fired("the first target is filled")
    return None


def _to_breakeven(turn: Turn, rule: str, fired: Fired) -> None:
    """
    PARTIAL: the stop goes to the breakeven rule past steps 3 and 4, rail (a) moves once to the level before that move
    (if the stop stood at breakeven already, to the level before it, so that the rails never share one).
    """
    position = turn.position
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


def tighten(turn: Turn, *, forced: bool = False) -> None:
    """Run the ratchet of domain 6.4 on what is known now; needs a fresh mark and a frozen R."""
    state, position = turn.state, turn.position
    if not position.frozen or position.lots <= 0 or state.mark is None or not mark_fresh(state):
        return
    if position.stage is Stage.CLOSING:
        return
    view = stop_view(turn)
    move = ratchet(view, state.policy, now=turn.now, changes=position.stop_changes, forced=forced)
    if isinstance(move, StopMove):
        move_stop(turn, trigger=move.trigger, basis=move.basis)
        turn.rules.append(move.basis.value)


def stop_view(turn: Turn) -> StopView:
    """What the ratchet sees now; a stale quote or missing bars are left out."""
    state, position, instrument = turn.state, turn.position, turn.instrument
    assert state.mark is not None
    mid, spread = 0, 0
    quote = state.quote
    if quote is not None and quote_fresh(state):
        mid = (quote.bid + quote.ask) * instrument.tick_e8 // 2
        spread = (quote.ask - quote.bid) * instrument.tick_e8
    ready = state.bars.ready
    return StopView(
        side=position.side,
        stop=position.stop,
        entry_e8=position.entry_e8,
        risk_e8=position.risk_e8,
        best_mark_e8=position.best_mark_e8,
        mark_e8=state.mark.mark,
        mid_e8=mid,
        spread_e8=spread,
        atr_5m_e8=state.bars.five_minutes.e8(instrument.tick_e8) if ready else 0,
        atr_1h_e8=state.bars.one_hour.e8(instrument.tick_e8) if ready else 0,
        tick_e8=instrument.tick_e8,
        first_target_done=position.first_target_done,
    )


RULES: Final[tuple[ExitRule, ...]] = (
    ExitRule("X0a", "the venue says flat", closes=True, fires=_venue_says_flat, act=_finish),
    ExitRule("X0b", "reduced by somebody else: adopted", closes=False, fires=_reduced_by_others, act=_adopt),
    ExitRule("X1", "unprotected for too long, by a fresh complete read", closes=True, fires=_unprotected, act=_close),
    ExitRule("X2", "a rail failed", closes=True, fires=_rail_failed, act=_close),
    ExitRule("X3", "kill switch", closes=True, fires=_killed, act=_close),
    ExitRule("HAND", "a person asked to close", closes=True, fires=_closed_by_hand, act=_close),
    ExitRule("X6", "first target filled", closes=False, fires=_first_target_filled, act=_to_breakeven),
    ExitRule("X7", "last target filled", closes=True, fires=_last_target_filled, act=_finish),
    ExitRule("X7", "price beyond the last target when it is placed", closes=True, fires=_target_passed, act=_close),
    ExitRule("STOP", "a stop filled and nothing is left", closes=True, fires=_stopped_out, act=_finish),
    ExitRule("FLAT", "our close filled", closes=True, fires=_closed_by_order, act=_finish),
    ExitRule(
        "X15",
        "time limit",
        closes=True,
        fires=_time_is_up,
        act=_close,
        suppressed_early=True,
        vital=False,
    ),
)
