"""
The only place that keeps the venue's orders in line with what a position wants: both rails and the targets.

Decide states levels and quantities (``Wish``); the executor places. Something stated is stated again, under a new
intent, when nothing proves it in time, with growing waits: the other rail covers meanwhile, and reduce-only orders
cannot turn a position round. The rails of an entry are the bracket's; decide takes over when the entry has ended.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.commands import CancelLeg, MoveStop, PlaceTarget
from pipeline.core.data_requests import ask
from pipeline.core.events import Leg, TradingMode
from pipeline.core.orders import ENDED, RESTING
from pipeline.core.positions import RAIL_LEGS, Basis, Position, Stage, Wish, protected, proven_rail, rail_at_work
from pipeline.core.stops import tighter
from pipeline.core.targets import planned_ladder, step_lots
from pipeline.core.turn import Turn
from pipeline.core.units import Lots, Ticks

BRACKET_GRACE_MS: Final = 700  # the executor's own 500 ms for the rails of a first fill (domain 6.7), and the road back
RESTATE_MS: Final = 1_000  # a stated rail without proof is stated again after this, doubling
RESTATE_LONGEST_MS: Final = 30_000
DOUBT_MS: Final = 300  # domain 6.7: a rail never waits for doubt, another goes out under a new id
SINGLE_TARGET_BELOW: Final = 2  # times the minimum quantity: below that there is one target
TARGET_TRIES: Final = 4
ORDERS_KEPT: Final = 64
ORDERS_KEPT_MS: Final = 600_000


def keep_rails(turn: Turn) -> None:
    """State whatever rail differs from what is wanted, and watch over protection. Called after every event."""
    position = turn.position
    if position.lots <= 0:
        return
    _note_proof(position)
    _watch(turn, position)
    if position.adopted:
        return  # its stops are the executor's or its owner's (core.adoption)
    policy = turn.state.policy
    if rail_at_work(position, now=turn.now, stuck_ms=policy.rail_stuck_ms, done_ms=policy.rail_through_ms):
        return  # the stop is being executed: another one beside it would only be refused (−2021)
    _keep_working(turn, position)
    _keep_far(turn, position)


def _note_proof(position: Position) -> None:
    for order in proven_rail(position, Leg.WORKING):
        if order.intent:
            position.proven_stop = tighter(position.side, position.proven_stop, order.trigger)


def _watch(turn: Turn, position: Position) -> None:
    """Run the clock of UNPROTECTED and ask for a complete read while protection is not proven."""
    if protected(position):
        if position.unprotected_ms >= 0:
            position.unprotected_ms = -1
            if position.unprotected_told:
                position.unprotected_told = False
                turn.note("protected", "live stops cover the open quantity")
        return
    if position.unprotected_ms < 0:
        position.unprotected_ms = turn.now
        return
    if turn.now - position.unprotected_ms >= BRACKET_GRACE_MS:
        if not position.unprotected_told:
            position.unprotected_told = True
            turn.alert("unprotected", "critical", "no proven live stop covers the open quantity")
        ask(turn, "audit")


def _keep_working(turn: Turn, position: Position) -> None:
    wish = position.wishes[Leg.WORKING.value]
    lots = position.lots
    covered = sum(
        order.lots - order.filled
        for order in proven_rail(position, Leg.WORKING)
        if tighter(position.side, order.trigger, wish.trigger) == order.trigger
    )
    if position.stage is Stage.CLOSING or not position.entry_ended:
        # while closing the quantity falls by itself; while entering the executor sizes the rail: only a hole counts
        due = not protected(position) and turn.now >= _due_ms(turn, wish)
    elif wish.trigger != position.stop:
        due = True
    elif wish.lots < 0:
        if covered == lots:
            wish.lots = lots
            return
        due = turn.now >= _due_ms(turn, wish)
    elif wish.lots != lots:
        due = True
    elif covered >= lots:
        wish.tries = 0
        return
    else:
        due = turn.now >= wish.next_ms
    if due:
        state_rail(turn, Leg.WORKING, trigger=position.stop, lots=lots)


def _due_ms(turn: Turn, wish: Wish) -> int:
    """When a rail that was stated may be stated again; the bracket's rails get their time from the first fill on."""
    if not wish.next_ms:
        wish.next_ms = turn.now + BRACKET_GRACE_MS
    return wish.next_ms


def _keep_far(turn: Turn, position: Position) -> None:
    wish = position.wishes[Leg.FAR.value]
    resting = proven_rail(position, Leg.FAR)
    if wish.trigger == position.far:
        if resting:
            wish.tries = 0
            return
        if turn.now < _due_ms(turn, wish):
            return
    state_rail(turn, Leg.FAR, trigger=position.far, lots=0)


def state_rail(turn: Turn, leg: Leg, *, trigger: int, lots: int) -> None:
    """State the wanted level and quantity of a rail under a new intent."""
    position = turn.position
    known = position.wishes[leg.value]
    same = known.trigger == trigger and known.lots == lots
    tries = known.tries + 1 if same else 0
    name = turn.emit(
        MoveStop(
            position=position.id,
            leg=leg,
            side=position.side,
            trigger=Ticks(trigger),
            lots=Lots(lots),
            ratchet=leg is Leg.WORKING and not position.stop_forced and _rests_at_another_level(position, trigger),
        ),
        rule="rail_again" if same else "rail_moved",
    )
    position.intents[name] = leg
    position.wishes[leg.value] = Wish(
        intent=name,
        trigger=trigger,
        lots=lots,
        at_ms=turn.now,
        next_ms=turn.now + min(RESTATE_MS << min(tries, 5), RESTATE_LONGEST_MS),
        tries=tries,
    )
    position.bases[name] = position.far_basis if leg is Leg.FAR else position.basis
    _forget_old_rails(turn, position)
    for place in position.causes:
        turn.rest_on(place)
    turn.rest_on(turn.state.mark_stamp)


def _rests_at_another_level(position: Position, trigger: int) -> bool:
    """True when live working stops cover everything at a level that is not *trigger*: refusing the move is harmless."""
    resting = [order for order in proven_rail(position, Leg.WORKING) if order.trigger != trigger]
    return sum(order.lots - order.filled for order in resting) >= position.lots


def _forget_old_rails(turn: Turn, position: Position) -> None:
    """
    Bound what is remembered: rails that ended without a fill long ago go, with their intents, so that late evidence
    about one of them finds nothing rather than a fresh order.
    """
    if len(position.orders) <= ORDERS_KEPT:
        return
    wanted = {wish.intent for wish in position.wishes.values()}
    for order in list(position.orders.values()):
        old = order.status in ENDED and turn.now - order.since_ms >= ORDERS_KEPT_MS
        if old and order.leg in RAIL_LEGS and not order.filled and order.intent not in wanted:
            del position.orders[order.client_id]
            if order.intent != position.id:
                position.intents.pop(order.intent, None)
                position.bases.pop(order.intent, None)


def hurry(turn: Turn, leg: Leg, *, wait_ms: int) -> None:
    """A placement of *leg* failed or is in doubt: it may be stated again that soon (growing with each try)."""
    position = turn.position
    wish = position.wishes.get(leg.value)
    if wish is not None:
        wish.next_ms = turn.now + (wait_ms << min(wish.tries, 6))


def move_stop(turn: Turn, *, trigger: int, basis: Basis, forced: bool = False) -> None:
    """Tighten the wanted level of the working rail; ``keep_rails`` states it."""
    position = turn.position
    assert tighter(position.side, trigger, position.stop) == trigger, (position.stop, trigger)
    position.previous_stop, position.previous_basis = position.stop, position.basis
    position.stop = trigger
    position.basis = basis
    position.stop_moves += 1
    position.stop_forced = forced
    position.stop_changes.append(turn.now)
    del position.stop_changes[:-20]


# ---------------------------------------------------------------------------------------------------- targets


def keep_targets(turn: Turn) -> None:
    """State the targets once the entry is frozen, and again when one ended without effect."""
    state = turn.state
    position = turn.position
    if not position.frozen or (position.stage is not Stage.OPEN and position.stage is not Stage.PARTIAL):
        return
    if position.adopted or position.lots <= 0 or state.mode is TradingMode.HALTED or position.leave_rule:
        return  # a gentle leave has taken the first target's place (X8)
    minimum = max(1, turn.instrument.min_lots)
    if not position.targets_asked:
        position.targets_asked = True
        first = step_lots(position, 0)
        position.single_target = position.entered < SINGLE_TARGET_BELOW * minimum or first < minimum
    if position.single_target:
        # one target takes everything at the nearest level: the position is too small to be divided
        _keep_target(turn, Leg.LAST_TARGET, price=position.target, lots=0)
        return
    last = len(position.ladder) - 1
    while 0 < position.step < last and step_lots(position, position.step) < minimum:
        next_step(position)  # too small a step in the middle leaves its quantity to the last one
    if position.step < last:
        wanted = min(step_lots(position, position.step), position.lots // 2 + _filled(position))
        if wanted >= minimum:
            _keep_target(turn, Leg.TARGET, price=position.target, lots=wanted)
    if not position.target_trails:
        _keep_target(turn, Leg.LAST_TARGET, price=position.last_target, lots=0)


def steps_of_two_targets(turn: Turn, position: Position) -> None:
    """A position that was stored before there were ladders: its two targets become the steps."""
    position.ladder = planned_ladder(
        turn.state.policy, first=position.target_distance, last=position.last_target_distance
    )
    position.ladder[0].price, position.ladder[1].price = position.target, position.last_target
    position.step = int(position.first_target_done)
    known = position.wishes.get(Leg.TARGET.value)
    position.step_intents = [] if known is None or position.step else [known.intent]


def next_step(position: Position) -> None:
    """The step at hand is done: the one behind it is the nearest now (the last one rests already)."""
    position.step += 1
    position.step_intents = []
    position.wishes.pop(Leg.TARGET.value, None)
    position.target = position.ladder[min(position.step, len(position.ladder) - 1)].price


def give_last_target_up(turn: Turn) -> None:
    """The trailing stop takes the place of the last target (domain 6.4)."""
    position = turn.position
    position.target_trails = True
    turn.emit(CancelLeg(position=position.id, leg=Leg.LAST_TARGET), rule="target_trails")
    position.wishes.pop(Leg.LAST_TARGET.value, None)


def _filled(position: Position) -> int:
    """What the step at hand has taken so far."""
    known = position.step_intents
    return sum(o.filled for o in position.orders.values() if o.leg is Leg.TARGET and o.intent in known)


def _keep_target(turn: Turn, leg: Leg, *, price: int, lots: int) -> None:
    position = turn.position
    wish = position.wishes.get(leg.value)
    if wish is None:
        _state_target(turn, leg, price=price, lots=lots, tries=0)
        return
    orders = [order for order in position.orders.values() if order.leg is leg and order.intent == wish.intent]
    left = lots
    if leg is Leg.TARGET:
        left = lots - _filled(position)
        shrunk = wish.lots > left + sum(order.filled for order in orders)
        if left <= 0:
            if shrunk:
                turn.emit(CancelLeg(position=position.id, leg=leg), rule="target_shrinks")
                wish.lots = 0
            return
        if shrunk:  # the position became smaller by something else than this target
            turn.emit(CancelLeg(position=position.id, leg=leg), rule="target_shrinks")
            _state_target(turn, leg, price=price, lots=left, tries=0)
            return
    if wish.trigger != price:  # the target moves: its orders give way
        _state_target(turn, leg, price=price, lots=left, tries=0)
        return
    if any(order.status in RESTING or order.filled for order in orders):
        return  # tries stand: a target that the venue keeps cutting is not placed for ever
    if orders and all(order.status in ENDED for order in orders) and turn.now >= wish.next_ms:
        if wish.tries + 1 < TARGET_TRIES:
            _state_target(turn, leg, price=price, lots=left, tries=wish.tries + 1)
        elif wish.tries + 1 == TARGET_TRIES:
            wish.tries += 1
            turn.alert("target_missing", "warning", f"target {leg.name} could not be placed; the stops stay")


def _state_target(turn: Turn, leg: Leg, *, price: int, lots: int, tries: int) -> None:
    position = turn.position
    name = turn.emit(
        PlaceTarget(position=position.id, leg=leg, side=position.side, price=Ticks(price), lots=Lots(lots)),
        rule="target_placed",
    )
    position.intents[name] = leg
    if leg is Leg.TARGET:
        position.step_intents.append(name)
    position.wishes[leg.value] = Wish(
        intent=name,
        trigger=price,
        lots=lots,
        at_ms=turn.now,
        next_ms=turn.now + min(RESTATE_MS << tries, RESTATE_LONGEST_MS),
        tries=tries,
    )
