"""
The only place for what a position is: its stages, its orders, its quantity and its money.

Stages go PENDING → OPEN → PARTIAL (first target filled) → CLOSING → CLOSED; UNPROTECTED, DEGRADED and HALTED lie over
them (domain 6.1) and are asked for by functions, not stored twice.

**Quantity.** Cumulative fills of our own orders make it, whichever road tells them first; repeating changes nothing.
What the venue states (ACCOUNT_UPDATE, complete reads) wins, but fills that explain a statement may come after it: a
statement that differs stands as a *dispute* for a moment, and only when nothing explains it the difference is
adopted as ``external`` (X0a, X0b; pains 10 and 11). Two reads at least 1 s apart must agree before a read alone may.

**Money** is booked from the trades of ORDER_TRADE_UPDATE, each trade id once. What no trade explains is valued at the
price of an outcome, or of the mark, and said to be so.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pipeline.core.events import Leg, Side
from pipeline.core.instruments import Instrument
from pipeline.core.orders import ENDED, FIRING, RESTING, Evidence, OrderStatus, advance
from pipeline.core.units import ONE_E8

RAIL_LEGS = (Leg.FAR, Leg.WORKING)
STATEMENT_GRACE_MS = 500  # fills of our own that explain an ACCOUNT_UPDATE come within this log time, else adopted
SECOND_READ_MS = 1_000  # pains 10: two equal reads at least this far apart


class Stage(StrEnum):
    """Where a position stands (domain 6.1)."""

    PENDING = "PENDING"
    OPEN = "OPEN"
    PARTIAL = "PARTIAL"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


class Basis(StrEnum):
    """What the wanted stop level follows from (domain 6.4)."""

    INITIAL = "S0"
    BREAKEVEN = "S_be"
    CHANDELIER = "S_ch"
    SWING = "S_sw"
    FACTORS = "S_f"
    WALL = "S_w"
    TIME = "S_time"
    PLUGIN = "S_pl"


# What a stop that ended a trade is called, by what its level followed from (``reporting.words.OUTCOMES``).
STOP_OUTCOME = {
    Basis.INITIAL: "hard_stop",
    Basis.BREAKEVEN: "breakeven_stop",
    Basis.CHANDELIER: "trailing_stop",
    Basis.SWING: "trailing_stop",
    Basis.FACTORS: "tightened_stop",
    Basis.WALL: "tightened_stop",
    Basis.TIME: "tightened_stop",
    Basis.PLUGIN: "tightened_stop",
}


class Order(msgspec.Struct):
    """
    One order of ours, or a foreign closePosition stop that was adopted as rail (−4130).

    ``trigger`` is the price of a TARGET; ``lots`` 0 means closePosition or not told. ``filled`` is cumulative and only
    grows; ``booked`` is the part of it that trades have explained. ``since_ms`` is the log time of the last change of
    status, ``through_ms`` since when the working price is through the trigger while it still rests (0: it is not).
    """

    client_id: str
    intent: str
    leg: Leg
    status: OrderStatus = OrderStatus.ASKED
    trigger: int = 0
    lots: int = 0
    filled: int = 0
    booked: int = 0
    money: int = 0  # Σ price (E8) × lots of the booked part
    average: int = 0  # E8, from an outcome; used for what is not booked
    trades: list[int] = msgspec.field(default_factory=list)
    order_id: int = 0
    algo_id: int = 0
    since_ms: int = 0
    through_ms: int = 0
    basis: Basis = Basis.INITIAL
    fault: str = ""  # the venue's word that this rail failed (X2)
    missing_ms: int = -1  # log time of the first complete read that did not show it


class Wish(msgspec.Struct):
    """
    The newest level and quantity that decide has stated for a leg.

    ``lots`` −1 means "whatever is filled" (the rails of the bracket, sized by the executor). ``next_ms`` is when it
    may be stated again if nothing proves it; ``tries`` counts that.
    """

    intent: str
    trigger: int
    lots: int
    at_ms: int
    next_ms: int
    tries: int = 0


class Dispute(msgspec.Struct):
    """The venue states another quantity (signed by the position) than our ledger since ``since_ms`` (log)."""

    lots: int
    event_ms: int
    since_ms: int
    from_read: bool
    confirmed: bool = False


class Holding(msgspec.Struct):
    """
    Since when, and for how many events of its kind, the condition of one exit rule has held without a break.

    Times as the rule counts them (log time, close of a bar, venue time of a mark); ``told`` once it has fired.
    """

    since_ms: int = 0
    last_ms: int = 0
    count: int = 0
    told: bool = False


class Step(msgspec.Struct):
    """
    One step of the take-profit ladder: its distance from e as planned, the share of the entered quantity that it takes,
    and its price in ticks (0 until e is frozen).
    """

    distance: int
    share_permille: int
    price: int = 0


class Position(msgspec.Struct):
    """
    Everything known about one position. Prices in ticks, ``*_e8`` in E8, times ``*_ms`` in log time, lots unsigned.

    ``stop`` is the wanted level of the working rail and never loosens but when the venue refused the move (−2021: the
    old one still rests). ``risk_e8`` is R, 0 until it is frozen (domain section 6).
    """

    id: str
    admission: str
    side: Side
    planned_lots: int
    limit: int
    stop: int
    far: int
    stop_distance: int
    target_distance: int
    last_target_distance: int
    asked_ms: int
    causes: list[str]
    stage: Stage = Stage.PENDING
    orders: dict[str, Order] = msgspec.field(default_factory=dict)
    intents: dict[str, Leg] = msgspec.field(default_factory=dict)
    bases: dict[str, Basis] = msgspec.field(default_factory=dict)  # what the level of a stated rail followed from
    wishes: dict[str, Wish] = msgspec.field(default_factory=dict)
    entered: int = 0
    left: int = 0
    external: int = 0
    adopted_ms: int = 0  # venue time of the statement that ``external`` was last adopted from
    fill_ms: int = 0  # venue time of the newest fill
    dispute: Dispute | None = None
    entry_ended: bool = False
    entry_ended_ms: int = 0
    frozen: bool = False
    entry_e8: int = 0
    venue_entry_e8: int = 0  # the venue's own average, for when no trade explains ours
    risk_e8: int = 0
    initial_stop: int = 0
    basis: Basis = Basis.INITIAL
    previous_stop: int = 0  # the level before the last move of the stop, and what it followed from
    previous_basis: Basis = Basis.INITIAL
    far_basis: Basis = Basis.INITIAL
    proven_stop: int = 0  # tightest working level that was ever proven to rest
    stop_moves: int = 0
    stop_forced: bool = False  # the last move was an X-rule's: no limit of moves holds it up
    stop_changes: list[int] = msgspec.field(default_factory=list)
    refused_level: int = 0
    refused_ms: int = 0
    best_mark_e8: int = 0
    worst_mark_e8: int = 0
    opened_ms: int = 0
    bars: int = 0
    target: int = 0
    last_target: int = 0
    first_target_done: bool = False
    targets_asked: bool = False
    single_target: bool = False
    unprotected_ms: int = -1
    unprotected_told: bool = False
    audit_ms: int = 0  # log time of the last complete read
    read_covered: bool = True
    close_rule: str = ""
    close_outcome: str = ""
    close_intent: str = ""
    close_next_ms: int = 0
    close_tries: int = 0
    hand_close: str = ""
    hand_cause: str = ""
    realised_e8: int = 0
    fees_e8: int = 0
    exit_booked: int = 0
    exit_money: int = 0
    flat_ms: int = 0  # log time when our ledger came to zero
    target_through: bool = False  # −2021 on TP2: the price is beyond the target
    entry_missing_ms: int = -1  # log time of the first complete read without the entry order
    price_through: bool = False  # −2021 on the first rails: the stop level was passed before they rested
    last_exit: str = ""  # client id of the newest order of ours that reduced
    reported_ms: int = 0
    reported: tuple[str, int, int] = ("", 0, 0)
    # what exit rules remember (core/exits); everything in log time
    holdings: dict[str, Holding] = msgspec.field(default_factory=dict)
    judged_bar_ms: int = 0  # close of the newest scored bar that the rules have judged
    bar_score: int | None = None  # side · E on it, thousandths of a point
    marks_ms: list[int] = msgspec.field(default_factory=list)  # when, and what, the marks of the last minute were (X5)
    marks_e8: list[int] = msgspec.field(default_factory=list)
    reductions: dict[str, str] = msgspec.field(default_factory=dict)  # intent of a partial close → its rule
    flow_reduced: bool = False  # X9 acts once
    thin: bool = False  # X11 has acted; armed again by its own row
    wall_reduced: bool = False  # X19 acts once
    cascade_trail: bool = False  # X18 has begun
    wall_id: int = 0  # the wall that the stop leans on (S_w), and the level it gave
    wall_e8: int = 0
    near_wall_id: int = 0  # a zone that leaves TP1 too little (W1): told once
    walls_lost: list[int] = msgspec.field(default_factory=list)  # walls that no candidate may lean on again
    blind_ms: int = 0  # X4: since when neither marks nor user data are good enough to judge by; 0: they are
    prove_ms: int = 0  # X4: sight came back then; the rails must be proven by a read that is newer
    user_lost_ms: int = 0
    leave_rule: str = ""  # X8: a gentle leave is under way
    leave_outcome: str = ""
    leave_intent: str = ""
    leave_until_ms: int = 0
    # what the owner wishes for this position (override or template)
    adopted: bool = False  # opened elsewhere (core.adoption): its stops on the venue are not decide's
    template: str = ""
    stop_pinned: bool = False
    left_alone: bool = False
    disabled_exits: tuple[str, ...] = ()
    ladder: list[Step] = msgspec.field(default_factory=list)
    target_permille: int = 1_000  # the first target's distance as a share of the planned one (dynamic target)
    shortened_bars: int = 0  # money left: for so many more scored bars the target stays shortened if none comes in
    target_cap: int = 0  # W1: the first target may lie no further than this from e, in ticks (0: no wall)
    target_trails: bool = False  # the last target was given up for the trailing stop
    step: int = 0  # steps of the ladder that have filled
    step_intents: list[str] = msgspec.field(default_factory=list)  # intents that stated the step at hand

    @property
    def lots(self) -> int:
        """Open quantity as we know it; negative would mean that somebody turned the position round."""
        return self.entered - self.left + self.external

    @property
    def trailing(self) -> bool:
        """True once the chandelier carries the stop, or the last target was given up for it (X15: "not trailing")."""
        return self.basis is Basis.CHANDELIER or self.target_trails

    @property
    def terminal_without_fill(self) -> bool:
        """The entry is over and nothing was ever filled."""
        return self.entry_ended and self.entered == 0


def order_of(position: Position, client_id: str, *, intent: str, leg: Leg, now: int) -> Order:
    """The order of that id, made known if evidence comes before any outcome."""
    order = position.orders.get(client_id)
    if order is None:
        basis = position.bases.get(intent, Basis.INITIAL)
        order = Order(client_id=client_id, intent=intent, leg=leg, since_ms=now, basis=basis)
        position.orders[client_id] = order
    return order


def learn(order: Order, evidence: Evidence, *, now: int) -> bool:
    """Advance the order's status; returns False when the evidence contradicts what is known."""
    after = advance(order.status, evidence)
    if after is None:
        return False
    if after is not order.status:
        order.status = after
        order.since_ms = now
    return True


def count_fill(position: Position, order: Order, *, filled: int, event_ms: int) -> int:
    """
    Take a cumulative fill into the quantity; returns what is new of it (0 for a repeat or an older figure).

    A dispute that stands was stated before or after this fill: if before, it moves with the fill. A fill that an
    adopted statement already contained takes the place of the ``external`` part.
    """
    new = filled - order.filled
    if new <= 0:
        return 0
    order.filled = filled
    explained = new if event_ms <= position.adopted_ms else 0  # by a statement that was adopted before it was explained
    if order.leg is Leg.ENTRY:
        position.entered += new
        position.external -= min(explained, max(0, position.external))
    else:
        position.left += new
        position.external += min(explained, max(0, -position.external))
        position.last_exit = order.client_id
    dispute = position.dispute
    if dispute is not None:
        if event_ms > dispute.event_ms:
            dispute.lots += new if order.leg is Leg.ENTRY else -new
        if dispute.lots == position.lots:
            position.dispute = None
    position.fill_ms = max(position.fill_ms, event_ms)
    return new


def book_trade(
    position: Position, order: Order, *, trade_id: int, lots: int, price_e8: int, fee_e8: int, realised_e8: int
) -> bool:
    """Book the money of one trade; returns False for a trade that is booked already."""
    if trade_id in order.trades:
        return False
    order.trades.append(trade_id)
    order.booked += lots
    order.money += price_e8 * lots
    position.fees_e8 += fee_e8
    if order.leg is not Leg.ENTRY:
        position.exit_booked += lots
        position.exit_money += price_e8 * lots
        position.realised_e8 += realised_e8
    return True


def entry_price_e8(position: Position) -> int:
    """Average entry price: from trades when they explain every lot, else from the reply; 0 while neither does."""
    money, lots = 0, 0
    for order in position.orders.values():
        if order.leg is not Leg.ENTRY or not order.filled:
            continue
        if order.booked >= order.filled:
            money += order.money
            lots += order.booked
        elif order.average:
            money += order.average * order.filled
            lots += order.filled
        else:
            return 0
    return money // lots if lots else 0


def state_quantity(position: Position, *, lots: int, event_ms: int, now: int, from_read: bool) -> None:
    """
    Hold the venue's statement (signed by the position) against the ledger.

    A statement older than our newest fill is history. One of the very millisecond may be of a part of that fill that
    arrives late (an order that takes several levels states each): like a read, it alone proves nothing. One that agrees
    ends a dispute.
    """
    if event_ms < position.fill_ms:
        return
    from_read = from_read or event_ms == position.fill_ms
    if lots == position.lots:
        position.dispute = None
        return
    dispute = position.dispute
    if dispute is not None and dispute.lots == lots:
        if from_read and now - dispute.since_ms >= SECOND_READ_MS:
            dispute.confirmed = True
        if not from_read and dispute.from_read:
            dispute.from_read = False
            dispute.since_ms = now
        return
    position.dispute = Dispute(lots=lots, event_ms=event_ms, since_ms=now, from_read=from_read)


def settled_dispute(position: Position, *, now: int) -> int | None:
    """The quantity to adopt from the venue now, None while nothing is in dispute or it may still be explained."""
    dispute = position.dispute
    if dispute is None:
        return None
    if dispute.from_read:
        return dispute.lots if dispute.confirmed else None
    return dispute.lots if now - dispute.since_ms >= STATEMENT_GRACE_MS else None


def adopt_quantity(position: Position, lots: int) -> int:
    """Make the venue's quantity ours; returns the difference."""
    difference = lots - position.lots
    if position.dispute is not None:
        position.adopted_ms = max(position.adopted_ms, position.dispute.event_ms)
    position.dispute = None
    count_external(position, difference)
    return difference


def count_external(position: Position, change: int) -> None:
    """Take a change that no order of ours made into the quantity."""
    position.external += change
    if change < 0:
        position.last_exit = ""


# ------------------------------------------------------------------------------------------------- protection


def proven_rail(position: Position, leg: Leg) -> list[Order]:
    """Orders of one rail that are proven to rest."""
    return [o for o in position.orders.values() if o.leg is leg and o.status in RESTING]


def protected(position: Position) -> bool:
    """
    True when proven live stops cover the open quantity; one rail is enough (domain 6.1). One that has just fired is at
    work and counts: whether it gets stuck is X2's question.
    """
    covered = 0
    for order in position.orders.values():
        if order.leg in RAIL_LEGS and (order.status in RESTING or order.status in FIRING):
            if order.leg is Leg.FAR:
                return True
            covered += order.lots - order.filled
    return covered >= position.lots


def rail_at_work(position: Position, *, now: int, but: Order | None = None, stuck_ms: int, done_ms: int) -> bool:
    """
    True while a rail (*but* not that one) is being executed: triggered for less than *stuck_ms*, or done for less than
    *done_ms*, so that its fills may still be on the way.
    """
    for order in position.orders.values():
        if order is but or order.leg not in RAIL_LEGS:
            continue
        waited = now - order.since_ms
        if order.status in FIRING and waited <= stuck_ms:
            return True
        if order.status in (OrderStatus.FINISHED, OrderStatus.FILLED) and waited < done_ms:
            return True
    return False


def entry_unanswered(position: Position) -> bool:
    """True while the entry may still fill."""
    return not position.entry_ended


def ended_entry(position: Position) -> bool:
    """True when every entry order known has ended, and at least one is known."""
    entries = [order for order in position.orders.values() if order.leg is Leg.ENTRY]
    return bool(entries) and all(order.status in ENDED for order in entries)


# ------------------------------------------------------------------------------------------------------ money


def open_pnl_e8(position: Position, instrument: Instrument, mark_e8: int) -> int:
    """Unrealised profit of the open quantity at mark, USDT in E8; 0 while the entry price is not known."""
    entry = position.entry_e8 or entry_price_e8(position)
    if not entry or not mark_e8:
        return 0
    return (mark_e8 - entry) * position.side.sign * position.lots * instrument.step_e8 // ONE_E8


def best_mark_of(position: Position) -> int:
    """The best mark since the first fill, the entry while none has come: 0 would be a price like any other."""
    return position.best_mark_e8 or position.entry_e8


def best_gain_e8(position: Position) -> int:
    """MFE as a distance in E8 (never negative)."""
    if not position.entry_e8 or not position.best_mark_e8:
        return 0
    return max(0, (position.best_mark_e8 - position.entry_e8) * position.side.sign)


def worst_loss_e8(position: Position) -> int:
    """MAE as a distance in E8 (never negative)."""
    if not position.entry_e8 or not position.worst_mark_e8:
        return 0
    return max(0, (position.entry_e8 - position.worst_mark_e8) * position.side.sign)
