"""
The only place for what a rule that has fired does: close, leave gently, reduce, tighten the stop.

A close is asked for once and again only when nothing comes of it; the stops stay until the venue says zero. While the
venue does not trade the contract nothing is asked for at all (X17): the stops stay, the close follows by itself.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.commands import CancelLeg, ClosePosition, PlaceTarget, ReducePosition
from pipeline.core.events import Leg
from pipeline.core.exits.rule import Fired
from pipeline.core.exits.view import seen
from pipeline.core.feeds import INSTRUMENT, mark_fresh, quote_fresh
from pipeline.core.guard import move_stop
from pipeline.core.orders import ENDED
from pipeline.core.policies import Policy
from pipeline.core.positions import Basis, Position, Stage, best_mark_of
from pipeline.core.sizing import STOP_ATR_FLOOR_PERMILLE, STOP_SPREADS
from pipeline.core.stops import Candidate, StopMove, StopView, price_of, ratchet
from pipeline.core.turn import Turn
from pipeline.core.units import E8, Lots, Ticks
from pipeline.core.wall_rules import stop_behind_wall, stop_off_liquidations, wall_buffer_e8
from pipeline.core.wall_watch import zones_of

CLOSE_AGAIN_MS: Final = 15_000  # a close without effect is asked for again under a new intent (reduce-only: harmless)
DEPTH_LEVELS: Final = 5  # X11: a slice is at most a share of what rests on these
BPS: Final = 10_000


# ---------------------------------------------------------------------------------------------------------- close


def tradable(turn: Turn) -> bool:
    """True while the venue takes orders for the contract, as far as it has told (X17)."""
    return turn.instrument.trading and INSTRUMENT not in turn.state.feeds


def close(turn: Turn, rule: str, fired: Fired) -> None:
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
    if not tradable(turn):
        position.close_next_ms = 0
        turn.note("close_waits", f"the venue says status {turn.instrument.status}; the stops stay")
        return
    name = turn.emit(
        ClosePosition(
            position=position.id,
            side=position.side,
            lots=Lots(position.lots * position.side.sign),
            reason=position.close_rule,
            risk=E8(_at_risk_e8(turn, position)),
        ),
        rule=position.close_rule,
    )
    position.intents[name] = Leg.CLOSE
    position.close_intent = name
    position.close_next_ms = turn.now + (CLOSE_AGAIN_MS << min(position.close_tries, 3))
    position.close_tries += 1
    _rest_on_all(turn, position)


def _at_risk_e8(turn: Turn, position: Position) -> int:
    """What is lost from the mark to the far rail, 0 while no mark is known."""
    mark, instrument = turn.state.mark, turn.instrument
    if mark is None or not position.far:
        return 0
    distance = (mark.mark - instrument.price_e8(position.far)) * position.side.sign
    return max(0, instrument.notional_e8(lots=position.lots, price_e8=distance)) if distance > 0 else 0


def keep_closing(turn: Turn) -> None:
    """
    A close that has shown no effect for long is asked for again under a new intent; one that waited for the venue to
    trade again goes out now; a gentle leave whose time is over becomes a market close.
    """
    position = turn.position
    if position.leave_rule and position.stage is not Stage.CLOSING and position.lots > 0:
        _keep_leaving(turn, position)
    if position.stage is not Stage.CLOSING or position.lots <= 0 or turn.now < position.close_next_ms:
        return
    if not tradable(turn):
        return
    if position.close_tries:
        turn.alert("close_again", "critical", "the position is still open; the close is asked for again")
    ask_close(turn)


# --------------------------------------------------------------------------------------------------- leave gently


def leave(turn: Turn, rule: str, fired: Fired) -> None:
    """
    X8: rest the whole quantity at the touch for a while if the spread is small and the stop far, else close at once.

    The target gives its place to it (one reduce-only LIMIT at a time); every rule above X8 pre-empts it.
    """
    state, position, policy = turn.state, turn.position, turn.state.policy
    quote, mark = state.quote, state.mark
    if position.adopted:
        close(turn, rule, fired)
        return
    if quote is None or mark is None or not quote_fresh(state) or not mark_fresh(state) or not policy.x8_maker_ms:
        close(turn, rule, fired)
        return
    sign, instrument = position.side.sign, turn.instrument
    room = (mark.mark - instrument.price_e8(position.stop)) * sign
    narrow = (quote.ask - quote.bid) * 2 * BPS <= policy.x8_maker_spread_bps * (quote.ask + quote.bid)
    if not narrow or room * 1_000 < policy.x8_maker_room_r_permille * position.risk_e8:
        close(turn, rule, fired)
        return
    touch = quote.ask if sign > 0 else quote.bid
    turn.note("position_leaving", f"by {rule}: {fired.why}; resting at {instrument.price_text(touch)} first")
    turn.emit(CancelLeg(position=position.id, leg=Leg.TARGET), rule=rule)
    name = turn.emit(
        PlaceTarget(
            position=position.id, leg=Leg.TARGET, side=position.side, price=Ticks(touch), lots=Lots(position.lots)
        ),
        rule=rule,
    )
    position.intents[name] = Leg.TARGET
    position.leave_rule, position.leave_outcome, position.leave_intent = rule, fired.outcome, name
    position.leave_until_ms = turn.now + policy.x8_maker_ms
    _rest_on_all(turn, position)


def _keep_leaving(turn: Turn, position: Position) -> None:
    order = next((o for o in position.orders.values() if o.intent == position.leave_intent), None)
    ended = order is not None and order.status in ENDED
    if not ended and turn.now < position.leave_until_ms:
        return
    why = "the resting close ended unfilled" if ended else "the resting close was not filled in time"
    rule, outcome = position.leave_rule, position.leave_outcome
    turn.rules.append(rule)
    close(turn, rule, Fired(why, outcome))


# --------------------------------------------------------------------------------------------------------- reduce


def reduce(turn: Turn, rule: str, fired: Fired, *, lots: int, slice_lots: int = 0) -> bool:
    """
    Ask for *lots* to be closed at market, in slices of at most *slice_lots* (0: by the venue's limit alone).

    Rails are stated for the rest when the fills come (new before old); the targets shrink with it. Returns False, with
    a note, when so little is open that a part of it is below the venue's minimum.
    """
    position, instrument = turn.position, turn.instrument
    least = max(1, instrument.min_lots)
    if position.adopted:
        turn.note("not_divided", f"{rule}: {fired.why}; a part of a position opened elsewhere is its owner's to take")
        return False
    if lots < least or position.lots - lots < least:
        turn.note("not_divisible", f"{rule}: {position.lots} lots are too few to take a part")
        return False
    name = turn.emit(
        ReducePosition(
            position=position.id,
            side=position.side,
            lots=Lots(lots),
            slice_lots=Lots(max(least, min(slice_lots or lots, lots))),
            reason=rule,
        ),
        rule=rule,
    )
    position.intents[name] = Leg.CLOSE
    position.reductions[name] = rule
    turn.note("position_reduced", f"by {rule}: {fired.why}; {instrument.quantity_text(lots)} of {position.lots} lots")
    _rest_on_all(turn, position)
    return True


def depth_slice(turn: Turn) -> int:
    """X11: the largest slice, a share of what rests on the best five levels that a close would hit; 0: unknown."""
    state, policy = turn.state, turn.state.policy
    long = turn.position.side.sign > 0
    if state.book.whole:
        book = state.book
        prices = book.bid_prices[-DEPTH_LEVELS:] if long else book.ask_prices[:DEPTH_LEVELS]
        levels = book.bids if long else book.asks
        resting = 0
        for price in prices:
            resting += levels[price]
    elif state.quote is not None and quote_fresh(state):
        resting = state.quote.bid_lots if long else state.quote.ask_lots
    else:
        return 0
    return resting * policy.x11_slice_depth_permille // 1_000


# -------------------------------------------------------------------------------------------------------- tighten


def tighten(turn: Turn, *, forced: bool = False, extra: tuple[Candidate, ...] = ()) -> None:
    """
    Run the ratchet of domain 6.4 on what is known now; needs a fresh mark and a frozen R. *extra* are levels that a
    rule asks for on this event alone. A pinned stop stays where its owner has pinned it.
    """
    state, position = turn.state, turn.position
    if not position.frozen or position.lots <= 0 or state.mark is None or not mark_fresh(state):
        return
    if position.stage is Stage.CLOSING or position.stop_pinned:
        return
    view = stop_view(turn)
    if state.walls is not None or state.liquidations is not None:
        extra = (*extra, *_wall_candidates(turn, position, view))
    move = ratchet(view, state.policy, now=turn.now, changes=position.stop_changes, forced=forced, extra=extra)
    if isinstance(move, StopMove):
        move_stop(turn, trigger=move.trigger, basis=move.basis, forced=forced)
        position.wall_id = move.wall_id if move.basis is Basis.WALL else 0
        position.wall_e8 = move.level_e8 if move.basis is Basis.WALL else 0
        turn.rules.append(move.basis.value)


def _wall_candidates(turn: Turn, position: Position, view: StopView) -> list[Candidate]:
    """S_w: behind a wall that stands 0.6 to 1.2 R below the price (W2), and out of a liquidation band (W3)."""
    zones = zones_of(turn.state)
    if not zones or not view.atr_5m_e8:
        return []
    found: list[Candidate] = []
    price = price_of(view)
    buffer = wall_buffer_e8(atr_5m_e8=view.atr_5m_e8, tick_e8=view.tick_e8, price_e8=price)
    behind = stop_behind_wall(
        [zone for zone in zones if zone.modelled or zone.id not in position.walls_lost],
        side=position.side,
        from_e8=price,
        distance_e8=position.risk_e8,
        buffer_e8=buffer,
        leaning_e8=position.wall_e8,
        atr_5m_e8=view.atr_5m_e8,
    )
    if behind is not None:
        found.append(Candidate(Basis.WALL, behind.level_e8, behind.zone.id))
    shift = stop_off_liquidations(
        zones,
        side=position.side,
        entry_e8=position.entry_e8,
        stop_e8=position.stop * view.tick_e8,
        least_distance_e8=_least_distance_e8(view, turn.state.policy),
        buffer_e8=buffer,
        initial=False,
    )
    if shift is not None and shift.tightens:
        found.append(Candidate(Basis.WALL, shift.level_e8))
    return found


def _least_distance_e8(view: StopView, policy: Policy) -> int:
    """The lower bounds of D (domain 6.2)."""
    return max(
        STOP_ATR_FLOOR_PERMILLE * view.atr_1h_e8 // 1_000,
        policy.stop_min_bps * price_of(view) // BPS,
        policy.stop_min_ticks * view.tick_e8,
        STOP_SPREADS * view.spread_e8,
    )


def price_e8(turn: Turn) -> int:
    """x of the domain: the middle of a fresh quote, else the mark."""
    state = turn.state
    quote = state.quote
    if quote is not None and quote_fresh(state):
        return (quote.bid + quote.ask) * turn.instrument.tick_e8 // 2
    return state.mark.mark if state.mark is not None else 0


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
    factors = seen(turn)
    long = position.side.sign > 0
    swing, swing_ms = (factors.swing_low, factors.swing_low_ms) if long else (factors.swing_high, factors.swing_high_ms)
    return StopView(
        side=position.side,
        stop=position.stop,
        entry_e8=position.entry_e8,
        risk_e8=position.risk_e8,
        best_mark_e8=best_mark_of(position),
        mark_e8=state.mark.mark,
        mid_e8=mid,
        spread_e8=spread,
        atr_5m_e8=state.bars.five_minutes.e8(instrument.tick_e8) if ready else 0,
        atr_1h_e8=state.bars.one_hour.e8(instrument.tick_e8) if ready else 0,
        tick_e8=instrument.tick_e8,
        first_target_done=position.first_target_done,
        bars=position.bars,
        swing_e8=instrument.price_e8(swing) if swing and swing_ms > position.opened_ms else 0,
        score=None if factors.score is None else factors.score * position.side.sign,
        bar_score=position.bar_score,
    )


def _rest_on_all(turn: Turn, position: Position) -> None:
    for place in position.causes:
        turn.rest_on(place)
    turn.rest_on(turn.state.mark_stamp)
