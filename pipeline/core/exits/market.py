"""
The only place for the rules about the market itself: an adverse cascade, liquidity that collapses, an instrument that
ends (X5, X11, X17), and the order that rests too long before it fills (X16).
"""

from __future__ import annotations

from typing import Final

from pipeline.core.commands import CancelLeg
from pipeline.core.events import Leg
from pipeline.core.exits.acts import depth_slice, reduce, tradable
from pipeline.core.exits.rule import Fired, closable, judged
from pipeline.core.exits.view import seen
from pipeline.core.orders import RESTING
from pipeline.core.positions import Position, best_gain_e8
from pipeline.core.turn import Turn

MILLI: Final = 1_000
BPS: Final = 10_000
MARKS_KEPT: Final = 256


def remember_mark(position: Position, *, mark_e8: int, now: int, window_ms: int) -> None:
    """Keep the marks of the last *window_ms*: what X5 measures a move by."""
    times, marks = position.marks_ms, position.marks_e8
    times.append(now)
    marks.append(mark_e8)
    old = max(0, len(times) - MARKS_KEPT)
    while now - times[old] > window_ms:
        old += 1
    if old:
        del times[:old], marks[:old]


def adverse_cascade(turn: Turn) -> Fired | None:
    """X5: liquidations cascade against the position, the mark moved ≥ 1.0 · a against it within 60 s, MFE < 1 R."""
    scores = turn.state.scores
    if scores is None or not (scores.cascade_up or scores.cascade_down):
        return None
    position, policy = turn.position, turn.state.policy
    sign = position.side.sign
    if seen(turn).cascade * sign >= 0 or not judged(position) or not turn.state.bars.ready:
        return None
    if best_gain_e8(position) * MILLI >= policy.x5_below_r_permille * position.risk_e8:
        return None
    recent = [mark * sign for mark in position.marks_e8]
    if not recent:
        return None
    moved = max(recent) - recent[-1]
    a = turn.state.bars.five_minutes.e8(turn.instrument.tick_e8)
    if moved * MILLI < policy.x5_move_atr5m_permille * a:
        return None
    return Fired("liquidations cascade against the position and the mark runs with them", "cascade")


# ------------------------------------------------------------------------------------------------ X11: liquidity


def impact_permyriad(turn: Turn) -> tuple[int, int] | None:
    """
    What closing the rest at market would cost against the middle, as a fraction (cost, middle) of whole numbers; None
    while the book is not whole. A book too short to fill it costs what its last level costs: a lower bound.
    """
    book, position = turn.state.book, turn.position
    if not book.whole or not book.bid_prices or not book.ask_prices:
        return None
    long = position.side.sign > 0
    middle = book.bid_prices[-1] + book.ask_prices[0]  # twice the middle
    prices = reversed(book.bid_prices) if long else iter(book.ask_prices)
    levels = book.bids if long else book.asks
    left, paid, price = position.lots, 0, 0
    for price in prices:
        taken = levels[price]
        if taken >= left:
            paid += price * left
            left = 0
            break
        paid += price * taken
        left -= taken
    paid += price * left
    return abs(middle * position.lots - 2 * paid), middle * position.lots


def liquidity_collapsed(turn: Turn) -> Fired | None:
    """X11: L < 40, or closing the rest would move the price by more than 20 bps; once until it has recovered."""
    position, policy = turn.position, turn.state.policy
    if position.thin or not judged(position):
        return None
    liquidity = seen(turn).liquidity
    if liquidity is not None and liquidity < policy.x11_liquidity_points * MILLI:
        return Fired(f"liquidity is {liquidity // MILLI} of 100")
    cost = impact_permyriad(turn)
    if cost is not None and cost[0] * BPS > policy.x11_impact_bps * cost[1]:
        return Fired(f"closing the rest would cost {cost[0] * BPS // cost[1]} bps")
    return None


def reduce_in_slices(turn: Turn, rule: str, fired: Fired) -> None:
    """Half of what is open, in slices of at most a quarter of what rests on the best five levels; the stop stays."""
    position = turn.position
    position.thin = True
    lots = position.lots * turn.state.policy.x11_share_permille // MILLI
    reduce(turn, rule, fired, lots=lots, slice_lots=depth_slice(turn))


def liquidity_returned(turn: Turn) -> Fired | None:
    """X11, armed again: L ≥ 60."""
    if not turn.position.thin:
        return None
    liquidity = seen(turn).liquidity
    if liquidity is None or liquidity < turn.state.policy.x11_rearm_points * MILLI:
        return None
    return Fired(f"liquidity is {liquidity // MILLI} of 100 again")


def arm_again(turn: Turn, rule: str, fired: Fired) -> None:
    """The episode is over."""
    turn.position.thin = False
    turn.note("liquidity_back", f"{rule}: {fired.why}")


# ------------------------------------------------------------------------------------- X16: an entry that rests


def entry_rests(turn: Turn) -> Fired | None:
    """
    X16: the entry order is known to rest and has not filled for 300 s. (Entries are LIMIT IOC, which the venue ends by
    itself; the signal's own end is the bracket's ``expires_ms``, which the executor refuses as stale.)
    """
    position = turn.position
    if position.entry_ended or turn.now - position.asked_ms < turn.state.policy.x16_resting_ms:
        return None
    for order in position.orders.values():
        if order.leg is Leg.ENTRY and order.status in RESTING:
            return Fired("the entry has rested too long without filling")
    return None


def cancel_entry(turn: Turn, rule: str, fired: Fired) -> None:
    """Cancel the rest of the entry; nothing follows it before its end is confirmed with its final quantity."""
    turn.emit(CancelLeg(position=turn.position.id, leg=Leg.ENTRY), rule=rule)
    turn.note("entry_cancelled", fired.why)


# -------------------------------------------------------------------------------------------- X17: the contract ends


def delivery_near(turn: Turn) -> Fired | None:
    """X17: the contract is delivered within the hour and can still be traded."""
    delivery = turn.instrument.delivery_ms
    if not delivery or delivery - turn.now > turn.state.policy.x17_before_delivery_ms:
        return None
    if not closable(turn) or not tradable(turn):
        return None
    return Fired("the contract is delivered soon", "instrument")
