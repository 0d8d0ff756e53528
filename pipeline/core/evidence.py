"""
The only place that folds what is told about our own orders and position: user stream, outcomes, complete reads.

Three roads race each other and each may come twice, late or not at all. Orders advance by the table in ``orders``,
quantities by cumulative fills (``positions``); what cannot be explained is adopted from the venue or told to people.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.adoption import covering_stop, know_stop, take_in
from pipeline.core.commands import Sweep
from pipeline.core.data_requests import answered
from pipeline.core.events import (
    AlgoUpdated,
    CloseRequested,
    Leg,
    OrderUpdated,
    PositionUpdated,
    Reconciled,
    RequestEnded,
    Verdict,
)
from pipeline.core.feeds import INSTRUMENT, USER, heal
from pipeline.core.guard import DOUBT_MS, RESTATE_MS, hurry
from pipeline.core.identity import client_id, intent_of, leg_of
from pipeline.core.orders import (
    ENDED,
    FIRING,
    Evidence,
    OrderStatus,
    evidence_of_algo,
    evidence_of_order,
    evidence_of_outcome,
)
from pipeline.core.positions import (
    RAIL_LEGS,
    SECOND_READ_MS,
    Order,
    Position,
    Stage,
    book_trade,
    count_external,
    count_fill,
    learn,
    order_of,
    protected,
    state_quantity,
)
from pipeline.core.state import ForeignPosition
from pipeline.core.stops import through
from pipeline.core.turn import Turn

WOULD_TRIGGER: Final = (-2021, -4142)  # venue sheet 5.4: the price is through the level already
NOT_TRADABLE: Final = (-4140, -4141, -1122, -1016)  # X17: the symbol is closed, or the service is
ONE_EXISTS: Final = -4130  # a closePosition stop of this side exists: read it, adopt it
UNHEARD_MS: Final = 5_000  # an entry may be ended by two complete reads only when its time to be sent is long over
KEPT_FILLS: Final = 64


def order_updated(turn: Turn, event: OrderUpdated) -> None:
    """ORDER_TRADE_UPDATE: authoritative for fills, whatever came before."""
    position, order = _find(turn, event.client_id, order_id=event.order_id)
    if position is None or order is None:
        if event.fill_lots:
            _foreign_fill(turn, event)
        return
    order.order_id = event.order_id or order.order_id
    if event.lots and not order.lots:
        order.lots = event.lots
    new = count_fill(position, order, filled=event.filled_lots, event_ms=event.event_ms)
    if event.fill_lots and event.trade_id:
        book_trade(
            position,
            order,
            trade_id=event.trade_id,
            lots=event.fill_lots,
            price_e8=event.fill_price,
            fee_e8=event.fee,
            realised_e8=event.realised,
        )
    evidence = evidence_of_order(execution=event.execution, status=event.status)
    if evidence is None:
        turn.note("order_status_unknown", f"{event.client_id}: {event.execution} {event.status}")
    else:
        _learn(turn, position, order, evidence)
    if new:
        _quantity_changed(turn, position, order, new)


def algo_updated(turn: Turn, event: AlgoUpdated) -> None:
    """ALGO_UPDATE: the life of a conditional order; maps the id of the order it becomes (pain 4)."""
    position, order = _find(turn, event.client_id, order_id=event.order_id)
    if position is None or order is None:
        return  # a foreign conditional order: never touched, counted by the audit
    order.algo_id = event.algo_id
    order.order_id = event.order_id or order.order_id
    order.trigger = event.trigger or order.trigger
    if not event.close_position:
        order.lots = event.lots or order.lots
    evidence = evidence_of_algo(event.status)
    if evidence is None:
        turn.note("order_status_unknown", f"{event.client_id}: algo {event.status}")
        return
    _learn(turn, position, order, evidence, reason=event.reason)


def request_ended(turn: Turn, event: RequestEnded) -> None:
    """The executor's outcome; idempotent, and never more authoritative than the user stream about fills."""
    name = event.client_id or client_id(intent=event.intent, leg=event.leg, attempt=0)
    position = _holder(turn, intent_of(name) or event.intent) or _by_id(turn, event.position)
    if event.verdict is Verdict.REJECTED and event.code in NOT_TRADABLE:
        _not_tradable(turn, event.code)
    if position is None:
        return
    order = order_of(position, name, intent=intent_of(name) or event.intent, leg=event.leg, now=turn.now)
    order.order_id = event.order_id or order.order_id
    wish = position.wishes.get(event.leg.value)
    order.trigger = order.trigger or event.trigger
    order.lots = order.lots or event.lots
    if wish is not None and wish.intent == order.intent:
        order.trigger = order.trigger or wish.trigger
        if event.leg in (Leg.WORKING, Leg.TARGET):
            order.lots = order.lots or max(0, wish.lots)
    order.average = event.average_price or order.average
    new = count_fill(position, order, filled=event.filled_lots, event_ms=event.venue_ms)
    before = order.status
    _learn(turn, position, order, evidence_of_outcome(event.verdict, status=event.status))
    if new:
        _quantity_changed(turn, position, order, new)
    if position is turn.state.position and order.status is not before:
        _after_outcome(turn, position, order, event)


def _not_tradable(turn: Turn, code: int) -> None:
    """X17: the venue takes no orders for the symbol. Entries close until exchangeInfo says otherwise; stops stay."""
    state = turn.state
    if INSTRUMENT not in state.feeds:
        turn.alert("not_tradable", "critical", f"the venue refuses orders ({code}): entries closed, the stops stay")
        turn.rules.append("X17")
    state.feeds[INSTRUMENT] = f"the venue refuses orders ({code})"
    state.wake_ms = 0


def _after_outcome(turn: Turn, position: Position, order: Order, event: RequestEnded) -> None:
    """What a failed or doubtful placement leads to; a success is proof and needs nothing."""
    if order.status in (OrderStatus.REJECTED, OrderStatus.ABSENT, OrderStatus.REFUSED) and event.leg is Leg.ENTRY:
        turn.note("entry_refused", f"{event.verdict.value} {event.code} {event.message}".strip())
        return
    wish = position.wishes.get(event.leg.value)
    if wish is None or wish.intent != order.intent:
        return  # about a level that is no longer wanted
    match event.verdict:
        case Verdict.REJECTED if event.code in WOULD_TRIGGER:
            _price_was_through(turn, position, event)
        case Verdict.REJECTED if event.code == ONE_EXISTS:
            turn.note("far_rail_exists", "−4130: the venue has a closePosition stop already; a complete read follows")
            position.audit_ms = 0
            hurry(turn, event.leg, wait_ms=RESTATE_MS)
        case Verdict.REJECTED | Verdict.REFUSED:
            turn.note(
                "placement_failed", f"{event.leg.name} {event.verdict.value} {event.code} {event.message}".strip()
            )
            hurry(turn, event.leg, wait_ms=RESTATE_MS)
        case Verdict.ABSENT:
            hurry(turn, event.leg, wait_ms=0 if wish.tries == 0 else RESTATE_MS)
        case Verdict.IN_DOUBT:
            if event.leg in RAIL_LEGS:
                hurry(turn, event.leg, wait_ms=DOUBT_MS)
        case Verdict.ACCEPTED | Verdict.CANCELLED | Verdict.GONE:
            pass


def _price_was_through(turn: Turn, position: Position, event: RequestEnded) -> None:
    """
    −2021 (pain 21). On the first rails the stop level is passed: X2 closes. On a mere move the old stop still rests:
    keep it, clamp again, close only if the price is still through after 1 s. On TP2 the target is reached: X7's close.
    """
    if event.leg is Leg.LAST_TARGET:
        position.target_through = True
        return
    if event.leg not in RAIL_LEGS:
        hurry(turn, event.leg, wait_ms=RESTATE_MS)
        return
    wish = position.wishes[event.leg.value]
    if not position.proven_stop:
        position.price_through = True
        return
    position.refused_level = wish.trigger
    position.refused_ms = turn.now
    turn.note("stop_refused", f"{event.leg.name} −2021: the old level stays")
    if event.leg is Leg.WORKING:
        position.stop = position.proven_stop
        wish.trigger = position.proven_stop
        hurry(turn, event.leg, wait_ms=RESTATE_MS)
    else:
        hurry(turn, event.leg, wait_ms=RESTATE_MS)


def position_updated(turn: Turn, event: PositionUpdated) -> None:
    """The symbol's row of ACCOUNT_UPDATE."""
    position = turn.state.position
    if position is None:
        _foreign_quantity(turn, event.lots, event.event_ms)
        return
    if event.entry_price and event.event_ms >= position.fill_ms:
        position.venue_entry_e8 = event.entry_price
    _stated(turn, position, lots=event.lots, event_ms=event.event_ms, from_read=False)


def reconciled(turn: Turn, event: Reconciled) -> None:
    """A complete read of the venue: proves or disproves orders, and states the quantity (two reads for a change)."""
    state = turn.state
    answered(state, "audit")
    heal(state, USER)
    position = state.position
    _sweep_orphans(turn, event)
    if position is None:
        _foreign_quantity(turn, event.lots, event.event_ms)
        take_in(turn, event)
        state.wake_ms = 0
        return
    if event.entry_price and event.event_ms >= position.fill_ms:
        position.venue_entry_e8 = event.entry_price
    _stated(turn, position, lots=event.lots, event_ms=event.event_ms, from_read=True)
    _read_orders(turn, position, event)
    _end_unheard_entry(turn, position, event)
    position.read_covered = _covers(position, event)
    position.audit_ms = turn.now
    state.wake_ms = 0


def close_requested(turn: Turn, event: CloseRequested) -> None:
    """
    A person asked to close. What the venue shows and no position explains is closed once it is taken in; without either
    there is nothing to do (account asks every symbol).
    """
    asked = turn.state.position or turn.state.foreign
    if asked is None:
        return
    asked.hand_close = event.reason or "closed by hand"
    asked.hand_cause = turn.cause


def watch_marks(turn: Turn) -> None:
    """Follow the mark price: MFE and MAE since the first fill, rails it has passed, a refused level it has left."""
    state, position = turn.state, turn.position
    mark = state.mark
    if mark is None or position.lots <= 0:
        return
    price, sign = mark.mark, position.side.sign
    if not position.best_mark_e8 or (price - position.best_mark_e8) * sign > 0:
        position.best_mark_e8 = price
    if not position.worst_mark_e8 or (price - position.worst_mark_e8) * sign < 0:
        position.worst_mark_e8 = price
    instrument = turn.instrument
    for order in position.orders.values():
        if order.leg not in RAIL_LEGS or not order.trigger:
            continue
        if order.status is not OrderStatus.LIVE or not through(
            position.side, trigger_e8=instrument.price_e8(order.trigger), mark_e8=price
        ):
            order.through_ms = 0
        elif not order.through_ms:
            order.through_ms = turn.now
    level = position.refused_level
    if level and not through(position.side, trigger_e8=instrument.price_e8(level), mark_e8=price):
        position.refused_level = 0


# ----------------------------------------------------------------------------------------------------- finding


def _holder(turn: Turn, intent: str | None) -> Position | None:
    """The position, open or lately closed, that an intent of ours belongs to."""
    if intent is None:
        return None
    state = turn.state
    if state.position is not None and intent in state.position.intents:
        return state.position
    for position in reversed(state.ended):
        if intent in position.intents:
            return position
    return None


def _by_id(turn: Turn, name: str) -> Position | None:
    """The position named by an outcome: the executor may act on its own (protect first, close while decide is away)."""
    state = turn.state
    if state.position is not None and state.position.id == name:
        return state.position
    return next((position for position in reversed(state.ended) if position.id == name), None)


def _find(turn: Turn, client: str, *, order_id: int) -> tuple[Position | None, Order | None]:
    """The order a venue event is about: by our client id, else by the id it got when it was triggered (pain 4)."""
    intent = intent_of(client)
    position = _holder(turn, intent)
    if position is not None and intent is not None:
        return position, order_of(position, client, intent=intent, leg=leg_of(client), now=turn.now)
    for candidate in [turn.state.position, *turn.state.ended]:
        if candidate is None:
            continue
        known = candidate.orders.get(client)
        if known is not None:
            return candidate, known
        if order_id:
            for order in candidate.orders.values():
                if order.order_id == order_id:
                    return candidate, order
    return None, None


def _learn(turn: Turn, position: Position, order: Order, evidence: Evidence, *, reason: str = "") -> None:
    before = order.status
    if not learn(order, evidence, now=turn.now):
        turn.alert(
            "order_contradiction", "warning", f"{order.client_id} is {order.status.value}, told {evidence.value}"
        )
        return
    if order.status is before:
        return
    order.missing_ms = -1
    failed = order.status in (OrderStatus.REJECTED, OrderStatus.EXPIRED) and evidence is not Evidence.OUTCOME_REJECTED
    if failed and order.leg in RAIL_LEGS and (before in FIRING or not protected(position)):
        order.fault = f"{order.status.value} {reason}".strip()  # it did not do its work when it was needed (X2)


def _quantity_changed(turn: Turn, position: Position, order: Order, new: int) -> None:
    """Note a fill, bring a position back whose end was wrong, start its clock at the first fill."""
    state = turn.state
    text = f"{order.leg.name} filled {turn.instrument.quantity_text(new)}, open {position.lots}"
    if position is not state.position:
        _late_fill(turn, position, order, new)
        return
    if not position.opened_ms:
        position.opened_ms = turn.now
        position.causes.append(turn.cause)
    if position.stage is Stage.PENDING and position.lots > 0:
        position.stage = Stage.OPEN
        state.wake_ms = 0
    if position.lots <= 0:
        position.flat_ms = turn.now
    turn.note("fill", text)


def _late_fill(turn: Turn, position: Position, order: Order, new: int) -> None:
    """
    A fill of a position that had ended. An entry that fills after all makes it live again, unless another position has
    taken the symbol: then the fill is that one's external change. A late exit fill changes the venue's quantity, which
    the venue will state.
    """
    state = turn.state
    if order.leg is Leg.ENTRY and state.position is None and not position.opened_ms:
        state.ended.remove(position)
        state.position = position
        position.stage = Stage.OPEN
        position.opened_ms = turn.now
        position.causes.append(turn.cause)
        for wish in position.wishes.values():
            wish.next_ms = 0
        state.wake_ms = 0
        turn.alert("late_fill", "critical", f"{order.client_id} filled after its end; the position is guarded again")
        return
    turn.alert("late_fill", "critical", f"{order.client_id} filled {new} lots after its position was closed")
    if state.position is not None:
        same = position.side is state.position.side
        opens = order.leg is Leg.ENTRY
        count_external(state.position, new if same is opens else -new)


def _foreign_fill(turn: Turn, event: OrderUpdated) -> None:
    """X0b: an order that is not ours (or ADL, liquidation, settlement) changed the quantity; each trade once."""
    state = turn.state
    position = state.position
    name = f"{event.order_id}:{event.trade_id}"
    if position is None or not position.opened_ms or name in state.unknown_fills:
        return
    state.unknown_fills.append(name)
    del state.unknown_fills[:-KEPT_FILLS]
    change = event.fill_lots if event.side is position.side else -event.fill_lots
    if event.event_ms <= position.adopted_ms:
        return  # a statement that was adopted contains it already
    count_external(position, change)
    dispute = position.dispute
    if dispute is not None:
        if event.event_ms > dispute.event_ms:
            dispute.lots += change
        if dispute.lots == position.lots:
            position.dispute = None
    position.fill_ms = max(position.fill_ms, event.event_ms)
    if position.lots <= 0:
        position.flat_ms = turn.now
    turn.rules.append("X0b")
    turn.alert("foreign_fill", "warning", f"{event.client_id} changed the position by {change} lots")


# --------------------------------------------------------------------------------------------- statements and reads


def _stated(turn: Turn, position: Position, *, lots: int, event_ms: int, from_read: bool) -> None:
    signed = lots * position.side.sign
    state_quantity(position, lots=signed, event_ms=event_ms, now=turn.now, from_read=from_read)


def _foreign_quantity(turn: Turn, lots: int, event_ms: int) -> None:
    """A quantity without a position of ours: entries close, people are told when it lasts (``engine`` ticks)."""
    state = turn.state
    if event_ms < state.stated_ms or (state.ended and event_ms < state.ended[-1].fill_ms):
        return
    state.stated_ms = event_ms
    if not lots:
        if state.foreign is not None:
            state.foreign = None
            turn.note("foreign_position_gone", "the venue says flat")
        return
    if state.foreign is None:
        state.foreign = ForeignPosition(lots=lots, since_ms=turn.now)
        state.wake_ms = 0
    state.foreign.lots = lots


def _read_orders(turn: Turn, position: Position, event: Reconciled) -> None:
    """Hold every order of the position against the read; two reads ≥ 1 s apart must miss it (pains 2 and 11)."""
    _adopt_foreign_stops(turn, position, event)
    shown = {row.client_id: row.trigger for row in event.algo_orders}
    shown.update((row.client_id, row.price) for row in event.orders)
    for row in event.algo_orders:
        known = position.orders.get(row.client_id)
        if known is not None and not row.close_position:
            known.lots = row.lots or known.lots
    for order in position.orders.values():
        if order.status in ENDED and order.client_id not in shown:
            continue
        if order.client_id in shown:
            order.trigger = order.trigger or shown[order.client_id]
            _learn(turn, position, order, Evidence.READ_OPEN)
            order.missing_ms = -1
        elif order.missing_ms < 0:
            order.missing_ms = turn.now
        elif turn.now - order.missing_ms >= SECOND_READ_MS:
            _learn(turn, position, order, Evidence.READ_MISSING)
    for row in event.algo_orders:  # rails of ours that no outcome has told of yet
        intent = intent_of(row.client_id)
        if intent in position.intents and row.client_id not in position.orders:
            order = order_of(position, row.client_id, intent=intent, leg=leg_of(row.client_id), now=turn.now)
            order.trigger, order.lots = row.trigger, 0 if row.close_position else row.lots
            _learn(turn, position, order, Evidence.READ_OPEN)


def _adopt_foreign_stops(turn: Turn, position: Position, event: Reconciled) -> None:
    """
    A closePosition stop that somebody else placed covers like rail (a): it is read, adopted and left alone. Of a
    position opened elsewhere every stop is somebody else's.
    """
    for row in event.algo_orders:
        ours = not position.adopted and (intent_of(row.client_id) is not None or not row.close_position)
        if ours or row.client_id in position.orders or not covering_stop(row, position.side):
            continue
        know_stop(position, row, now=turn.now)
        turn.note("foreign_stop_adopted", row.client_id)


def _covers(position: Position, event: Reconciled) -> bool:
    """True when the stops of the read cover the open quantity, whoever placed them."""
    rows = [row for row in event.algo_orders if covering_stop(row, position.side)]
    return any(row.close_position for row in rows) or sum(row.lots for row in rows) >= position.lots


def _end_unheard_entry(turn: Turn, position: Position, event: Reconciled) -> None:
    """
    End an entry by evidence of absence: long after it could have been sent, two complete reads ≥ 1 s apart show neither
    the order nor a quantity that disagrees (domain 6.7; a timer alone never ends an order).
    """
    if position.entry_ended or turn.now - position.asked_ms < UNHEARD_MS or position.dispute is not None:
        return
    open_ids = [row.client_id for row in event.orders]
    if any(intent_of(name) == position.id for name in open_ids):
        position.entry_missing_ms = -1
    elif position.entry_missing_ms < 0:
        position.entry_missing_ms = turn.now
    elif turn.now - position.entry_missing_ms >= SECOND_READ_MS:
        position.entry_ended = True
        position.entry_ended_ms = turn.now
        turn.note("entry_ended_by_reads", "two complete reads show no entry order and an agreed quantity")


def _sweep_orphans(turn: Turn, event: Reconciled) -> None:
    """Orders of a position that is over still rest: sweep them again (pain 6); foreign ones are never touched."""
    state = turn.state
    swept: list[str] = []
    names = [order.client_id for order in event.orders] + [order.client_id for order in event.algo_orders]
    for name in names:
        holder = _holder(turn, intent_of(name))
        if holder is None or holder is state.position or holder.id in swept:
            continue
        swept.append(holder.id)
        turn.emit(Sweep(position=holder.id), rule="orphans")
