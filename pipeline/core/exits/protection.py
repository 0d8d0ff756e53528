"""
The only place for the rules that protect: what the venue says, rails that are missing or fail, kill switch, a person's
order, lost sight (X0b, X1, X2, X3, X4).

No configuration switches any of them off but the alert about a mark that has left the middle.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.data_requests import ask
from pipeline.core.events import TradingMode
from pipeline.core.exits.acts import close
from pipeline.core.exits.rule import Fired, closable
from pipeline.core.feeds import USER, age_ms, mark_fresh, quote_fresh
from pipeline.core.orders import FIRING, RESTING, OrderStatus
from pipeline.core.positions import (
    RAIL_LEGS,
    STOP_OUTCOME,
    Position,
    Stage,
    adopt_quantity,
    protected,
    rail_at_work,
    settled_dispute,
)
from pipeline.core.stops import through
from pipeline.core.turn import Turn

READ_FRESH_MS: Final = 1_000  # X1: the read must be at least this much younger than the loss of protection
# How the account's reason for HALTED begins → how the trade is told to have ended (X3).
HALTS: Final = (("X3 day loss", "day_loss"), ("X3 margin", "margin"), ("drawdown", "drawdown"))


# ------------------------------------------------------------------------------------------- X0b: adopt and resize


def reduced_by_others(turn: Turn) -> Fired | None:
    """X0b: the venue holds another quantity than our orders explain, and some is left."""
    settled = settled_dispute(turn.position, now=turn.now)
    if settled is None or settled <= 0:
        return None
    return Fired("the venue's quantity differs from what our orders explain")


def adopt(turn: Turn, rule: str, fired: Fired) -> None:
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


# ------------------------------------------------------------------------------------------------- closing rules


def unprotected(turn: Turn) -> Fired | None:
    """X1: no proven stop for 2 s, and a fresh complete read shows no cover."""
    position = turn.position
    if position.adopted:
        return None  # whether a stop is put back that its owner took away is the executor's policy
    if position.unprotected_ms < 0 or position.read_covered or not closable(turn):
        return None
    if turn.now - position.unprotected_ms <= turn.state.policy.unprotected_close_ms:
        return None
    if position.audit_ms < position.unprotected_ms + READ_FRESH_MS:
        return None
    return Fired("no live stop for too long, proven by a complete read", "emergency")


def rail_failed(turn: Turn) -> Fired | None:
    """X2: a rail was refused by the engine, expired, finished with quantity left, stuck, or passed by unnoticed."""
    position = turn.position
    if position.adopted or not closable(turn):
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


def killed(turn: Turn) -> Fired | None:
    """
    X3: the trading state HALTED closes everything. Kill switch, day loss and margin ratio all arrive as that state: the
    account judges its own figures (two readings of two sources) and says in the reason what it was.
    """
    state = turn.state
    if state.mode is not TradingMode.HALTED or not closable(turn):
        return None
    outcome = next((word for begin, word in HALTS if state.mode_reason.startswith(begin)), "killed")
    return Fired(f"trading is halted: {state.mode_reason}", outcome)


def level_passed(turn: Turn) -> Fired | None:
    """LEVEL: the mark is through the level that decide keeps for a position whose stop on the venue is not its own."""
    state, position = turn.state, turn.position
    if not position.adopted or position.left_alone or not position.stop_moves:
        return None
    if state.mark is None or not mark_fresh(state):
        return None
    trigger_e8 = turn.instrument.price_e8(position.stop)
    if not closable(turn) or not through(position.side, trigger_e8=trigger_e8, mark_e8=state.mark.mark):
        return None
    return Fired(f"the mark is through {turn.instrument.price_text(position.stop)}", STOP_OUTCOME[position.basis])


def closed_by_hand(turn: Turn) -> Fired | None:
    """A person asked to close."""
    position = turn.position
    if not position.hand_close or not closable(turn):
        return None
    return Fired(position.hand_close, "closed_by_hand")


def close_by_hand(turn: Turn, rule: str, fired: Fired) -> None:
    """Close, and name the line in which the person asked."""
    turn.rest_on(turn.position.hand_cause)
    close(turn, rule, fired)


# ------------------------------------------------------------------------------------------------ X4: lost sight


def blind_reason(turn: Turn) -> str:
    """
    Why a position cannot be judged now, empty while it can: no mark price (stream or REST) for 30 s, or the user stream
    down for 60 s and not reconciled.
    """
    state, policy = turn.state, turn.state.policy
    stamp = state.mark_stamp
    if stamp is None or age_ms(state, stamp.at_ms) > policy.x4_blind_ms:
        return "no mark price, neither streamed nor read"
    lost = turn.position.user_lost_ms
    if lost and turn.now - lost > policy.x4_user_ms:
        return "the user stream is down and no read has replaced it"
    return ""


def lost_sight(turn: Turn) -> Fired | None:
    """X4: blind while something is open. It never closes: a proven rail is the exit while nobody can see."""
    position = turn.position
    if position.lots <= 0 or position.blind_ms:
        return None
    reason = blind_reason(turn)
    return Fired(reason) if reason else None


def degrade(turn: Turn, rule: str, fired: Fired) -> None:
    """DEGRADED: people are told, entries are closed (``feeds``), the rails stay."""
    turn.position.blind_ms = turn.now
    turn.position.prove_ms = 0
    turn.alert("degraded", "critical", f"{rule}: {fired.why}; nothing is closed for it, the stops on the venue stay")


def sight_returned(turn: Turn) -> Fired | None:
    """X4, the way back: mark and user data are good again."""
    if not turn.position.blind_ms or blind_reason(turn) or not mark_fresh(turn.state):
        return None
    return Fired("mark price and user data are back")


def prove_rails(turn: Turn, rule: str, fired: Fired) -> None:
    """Before any rule judges again, a read that is newer than the return must prove the rails."""
    position = turn.position
    position.blind_ms = 0
    position.prove_ms = turn.now
    turn.note("sight_returned", f"{rule}: {fired.why}; the rails are proven first")
    ask(turn, "audit")


def watch_sight(turn: Turn, position: Position) -> bool:
    """
    Follow the user stream's health and the proof of the rails; True while rules that judge the market may run.
    """
    if USER in turn.state.feeds:
        position.user_lost_ms = position.user_lost_ms or turn.now
    elif position.user_lost_ms:
        position.user_lost_ms = 0
    if position.blind_ms or position.prove_ms:
        position.holdings = {}  # what was being confirmed is broken off: nobody has seen it hold
    if position.prove_ms:
        if position.audit_ms <= position.prove_ms or not protected(position):
            ask(turn, "audit")
            return False
        position.prove_ms = 0
        turn.note("rails_proven", "the rules run again")
    return not position.blind_ms


# --------------------------------------------------------------------------------------- mark and middle lie apart


def apart(turn: Turn) -> Fired | None:
    """abs(mark − mid) > 0.5 · R: the stop works by a price that is not the one at which it would fill."""
    state, position = turn.state, turn.position
    quote, mark = state.quote, state.mark
    if quote is None or mark is None or not position.risk_e8:
        return None
    twice = 2 * mark.mark - (quote.bid + quote.ask) * turn.instrument.tick_e8
    if abs(twice) * 500 <= state.policy.apart_r_permille * position.risk_e8 or not quote_fresh(state):
        return None
    return Fired("the mark price and the middle of the book lie more than half of R apart")


def tell_apart(turn: Turn, rule: str, fired: Fired) -> None:
    """Entries of the symbol are closed while it lasts (it holds a position); people are told once."""
    turn.alert("mark_apart", "warning", f"{rule}: {fired.why}")
