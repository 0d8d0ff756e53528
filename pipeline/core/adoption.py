"""
The only place where a position that nobody here opened becomes one that the exit rules watch (domain 6.7, adopted).

Two owners never share a stop. The stop on the venue, rail (a), is the executor's (``execution.adoption``) or the
owner's own, from before and ever after: decide neither states nor moves nor sweeps it. What decide owns is the
judgement: X3 to X19 as for any position, and a level of its own that only tightens (the same ratchet); when the mark
passes that level the position is closed at market (row LEVEL). With decide away, the far stop still rests.

It is taken in only once the executor has done its part: a complete read shows the quantity and a stop that covers it,
and the quantity has stood for longer than late words about an entry of ours may take. R is the distance from the entry
to that stop, or from the mark where the stop lies beyond the entry already. Targets are its owner's business.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.commands import Alert
from pipeline.core.events import Leg, OpenAlgoOrder, Reconciled, Side
from pipeline.core.feeds import INSTRUMENT, USER, mark_fresh
from pipeline.core.orders import OrderStatus
from pipeline.core.positions import Order, Position, Stage
from pipeline.core.targets import place_ladder, planned_ladder
from pipeline.core.turn import Turn
from pipeline.core.units import format_e8

ADOPT_AFTER_MS: Final = 5_000  # as long as an entry of ours may be unheard of
CONDITIONAL_STOPS: Final = ("STOP_MARKET", "STOP")


def covering_stop(row: OpenAlgoOrder, side: Side) -> bool:
    """True for a live stop that closes (a part of) a position of *side*, whoever placed it."""
    return (
        row.order_type in CONDITIONAL_STOPS
        and row.side is side.opposite
        and row.status == "NEW"
        and (row.close_position or row.reduce_only)
    )


def take_in(turn: Turn, event: Reconciled) -> None:
    """Adopt the foreign position of a complete read, if it is time; otherwise nothing happens."""
    state = turn.state
    foreign, mark = state.foreign, state.mark
    if foreign is None or foreign.lots != event.lots or turn.now - foreign.since_ms < ADOPT_AFTER_MS:
        return
    if state.instrument is None or INSTRUMENT in state.feeds or USER in state.feeds:
        return
    if mark is None or not mark_fresh(state) or event.entry_price <= 0:
        return
    side = Side.BUY if event.lots > 0 else Side.SELL
    sign, instrument = side.sign, turn.instrument
    stops = [row for row in event.algo_orders if covering_stop(row, side)]
    whole = [row for row in stops if row.close_position]
    lots = abs(event.lots)
    if not whole and sum(row.lots for row in stops) < lots:
        return
    stop = max((row.trigger for row in whole or stops), key=lambda trigger: trigger * sign)
    stop_e8 = instrument.price_e8(stop)
    base_e8 = event.entry_price if (event.entry_price - stop_e8) * sign > 0 else mark.mark
    risk_e8 = (base_e8 - stop_e8) * sign
    if risk_e8 <= 0:
        return  # the mark is through the stop: the venue is closing it
    text = (
        f"{instrument.quantity_text(lots)} {side.value} at {format_e8(event.entry_price)} opened elsewhere: the exit "
        f"rules watch it from now on; the stop at {instrument.price_text(stop)} stays its owner's"
    )
    name = turn.emit(Alert(code="position_taken_in", severity="warning", text=text), rule="position_taken_in")
    distance = max(1, risk_e8 // instrument.tick_e8)
    target = distance * state.policy.target_atr_permille // state.policy.stop_atr_permille
    last = target * state.policy.last_target_permille // 1_000
    position = state.position = Position(
        id=name,
        admission="",
        side=side,
        planned_lots=lots,
        limit=0,
        stop=stop,
        far=stop,
        stop_distance=distance,
        target_distance=target,
        last_target_distance=last,
        asked_ms=turn.now,
        causes=[turn.cause],
        stage=Stage.OPEN,
        entered=lots,
        adopted=True,
        adopted_ms=event.event_ms,
        fill_ms=event.event_ms,
        entry_ended=True,
        entry_ended_ms=turn.now,
        frozen=True,
        entry_e8=event.entry_price,
        venue_entry_e8=event.entry_price,
        risk_e8=risk_e8,
        initial_stop=stop,
        proven_stop=stop,
        best_mark_e8=mark.mark,
        worst_mark_e8=mark.mark,
        opened_ms=turn.now,
        audit_ms=turn.now,
        ladder=planned_ladder(state.policy, first=target, last=last, steps=()),
        hand_close=foreign.hand_close,
        hand_cause=foreign.hand_cause,
    )
    place_ladder(position, entry_ticks=event.entry_price * sign // instrument.tick_e8)
    for row in stops:
        know_stop(position, row, now=turn.now)
    state.foreign = None
    state.wake_ms = 0
    turn.rest_on(state.mark_stamp)


def know_stop(position: Position, row: OpenAlgoOrder, *, now: int) -> None:
    """Remember a stop that is not decide's: it covers, and its end is understood; nothing is asked for it."""
    position.orders[row.client_id] = Order(
        client_id=row.client_id,
        intent="",
        leg=Leg.FAR if row.close_position else Leg.WORKING,
        status=OrderStatus.LIVE,
        trigger=row.trigger,
        lots=0 if row.close_position else row.lots,
        algo_id=row.algo_id,
        since_ms=now,
    )
