"""
The only place that answers an admission: a bracket goes out, or the reason why not; and what follows from its end.

An entry is a LIMIT IOC bracket with both rails (domain 6.7); it expires one second after its cause. When it is
terminal, e, R and SL0 freeze once and the targets are stated.
"""

from __future__ import annotations

from typing import Final

from pipeline.core import signals
from pipeline.core.commands import AnswerAdmission, OpenBracket
from pipeline.core.entry_walls import Ground, Shaped, shape
from pipeline.core.events import EntryAdmitted, Leg
from pipeline.core.feeds import entry_blocks
from pipeline.core.policies import Template
from pipeline.core.positions import Position, Stage, Wish, ended_entry, entry_price_e8
from pipeline.core.sizing import Refused, Wanted, plan_entry
from pipeline.core.stops import tighter
from pipeline.core.targets import place_ladder, planned_ladder
from pipeline.core.turn import Turn
from pipeline.core.units import Lots, Milliseconds, Ticks, format_e8
from pipeline.core.wall_watch import zones_of

ENTRY_VALID_MS: Final = 1_000  # domain 5: an entry intent expires 1 s after its cause
PRICE_WAIT_MS: Final = 1_000  # how long the average entry price may be missing before the next best is taken
ENDED_KEPT: Final = 4  # closed positions whose late evidence is still understood
UNHEARD_ENTRY_MS: Final = 5_000  # an entry nobody has heard of for this long may be ended by two complete reads


def admitted(turn: Turn, event: EntryAdmitted) -> None:
    """Answer an admission: ``used`` with a bracket, or ``declined`` with every reason."""
    state = turn.state
    known = next((p for p in [state.position, *state.ended] if p and p.admission == event.admission), None)
    if known is not None:  # account asks again because our answer has not reached it
        open_now = known is state.position
        answer = AnswerAdmission(
            admission=event.admission,
            used=open_now,
            position=known.id,
            reason="" if open_now else "the position is closed",
        )
        turn.emit(answer, rule="entry_answered_again")
        return
    reasons = entry_blocks(state, needs_bars=not event.stop)
    if state.position is not None:
        reasons.append("the symbol already has a position")
    if event.signal and not reasons:
        reasons += signals.refusals(state, event.side)
    if turn.now > event.expires_ms:
        reasons.append("the admission has expired")
    if event.template and all(known.name != event.template for known in state.policy.templates):
        reasons.append(f"no template is named {event.template!r}")
    if reasons:
        _decline(turn, event.admission, "; ".join(reasons))
        return
    assert state.quote is not None
    bars = state.bars
    plan = plan_entry(
        Wanted(
            side=event.side,
            lots=event.lots,
            notional_e8=event.notional,
            stop=event.stop,
            target=event.target,
            last_target=event.last_target,
            risk_e8=event.risk,
            max_loss_e8=event.max_loss,
            liquidity_permille=event.liquidity,
            margin_e8=event.margin,
            most_leverage=event.most_leverage,
        ),
        quote=state.quote,
        instrument=turn.instrument,
        policy=state.policy,
        atr_e8=bars.one_hour.e8(turn.instrument.tick_e8) if bars.ready else 0,
        factors=signals.factors_of(state, event.side),
        brackets=state.brackets,
    )
    if isinstance(plan, Refused):
        _decline(turn, event.admission, plan.reason)
        return
    tick = turn.instrument.tick_e8
    shaped = shape(
        plan,
        zones_of(state),
        Ground(
            side=event.side,
            quote=state.quote,
            instrument=turn.instrument,
            policy=state.policy,
            atr_5m_e8=bars.five_minutes.e8(tick) if bars.ready else 0,
            atr_1h_e8=bars.one_hour.e8(tick) if bars.ready else 0,
        ),
        own_stop=bool(event.stop),
        own_target=bool(event.target),
    )
    if isinstance(shaped, Refused):
        _decline(turn, event.admission, shaped.reason)
        return
    _open(turn, event, shaped)


def _decline(turn: Turn, admission: str, reason: str) -> None:
    turn.emit(AnswerAdmission(admission=admission, used=False, position="", reason=reason), rule="entry_declined")


def _open(turn: Turn, event: EntryAdmitted, shaped: Shaped) -> None:
    state, plan = turn.state, shaped.plan
    name = turn.emit(
        OpenBracket(
            side=event.side,
            lots=Lots(plan.lots),
            limit=Ticks(plan.limit),
            far_trigger=Ticks(plan.far),
            working_trigger=Ticks(plan.stop),
            expires_ms=Milliseconds(turn.now + ENTRY_VALID_MS),
            leverage=plan.leverage,
        ),
        rule="entry_used",
    )
    turn.rest_on(state.quote_stamp)
    turn.rest_on(state.mark_stamp)
    turn.emit(AnswerAdmission(admission=event.admission, used=True, position=name, reason=""))
    policy = state.policy
    template = next((known for known in policy.templates if known.name == event.template), Template(name=""))
    state.position = Position(
        id=name,
        admission=event.admission,
        side=event.side,
        planned_lots=plan.lots,
        limit=plan.limit,
        stop=plan.stop,
        far=plan.far,
        stop_distance=plan.stop_distance,
        target_distance=plan.target_distance,
        last_target_distance=plan.last_target_distance,
        asked_ms=turn.now,
        causes=[turn.cause],
        template=template.name,
        stop_pinned=template.pin_stop,
        left_alone=template.leave_alone,
        disabled_exits=template.disabled_exits,
        ladder=planned_ladder(
            policy,
            first=plan.target_distance,
            last=plan.last_target_distance,
            steps=() if event.last_target else template.ladder or policy.ladder,
        ),
        intents={name: Leg.ENTRY},
        initial_stop=plan.stop,
        wall_id=shaped.wall_id,
        wall_e8=shaped.wall_e8,
        audit_ms=turn.now,
        wishes={
            Leg.FAR.value: Wish(intent=name, trigger=plan.far, lots=0, at_ms=turn.now, next_ms=0),
            Leg.WORKING.value: Wish(intent=name, trigger=plan.stop, lots=-1, at_ms=turn.now, next_ms=0),
        },
    )
    state.wake_ms = 0


def after_evidence(turn: Turn) -> None:
    """Notice that the entry has ended, drop a position that never was, freeze one that is."""
    position = turn.state.position
    if position is None:
        return
    if not position.entry_ended and ended_entry(position):
        position.entry_ended = True
        position.entry_ended_ms = turn.now
    if position.terminal_without_fill and position.lots <= 0 and position.dispute is None:
        never_was(turn, "the entry ended without a fill")
        return
    if position.entry_ended and not position.frozen and position.lots > 0:
        _freeze(turn, position)


def never_was(turn: Turn, reason: str) -> None:
    """Give the slot back: the bracket ended and nothing was filled."""
    state = turn.state
    position = turn.position
    position.stage = Stage.CLOSED
    for cause in position.causes:
        turn.rest_on(cause)
    turn.emit(
        AnswerAdmission(admission=position.admission, used=False, position=position.id, reason=reason),
        rule="entry_ended_empty",
    )
    put_away(turn, position)
    state.position = None
    state.wake_ms = 0


def put_away(turn: Turn, position: Position) -> None:
    """Keep a closed position for a while: late evidence must find what it belongs to."""
    ended = turn.state.ended
    ended.append(position)
    del ended[:-ENDED_KEPT]


def _freeze(turn: Turn, position: Position) -> None:
    """
    Freeze e, R and SL0 once, when the entry is terminal (domain section 6), and re-anchor: the distance is kept from
    e, but a stop that rests already is never loosened; a difference below the ratchet's least ticks is left alone.
    A fill beyond the planned price so keeps its distance to the stop: slippage leaves no excess risk to be cut.
    """
    instrument, policy = turn.instrument, turn.state.policy
    entry = entry_price_e8(position)
    if not entry:
        if turn.now - position.entry_ended_ms < PRICE_WAIT_MS:
            return
        entry = position.venue_entry_e8 or instrument.price_e8(position.limit)
        turn.note("entry_price_assumed", "no trade explains every lot; the venue's average or the limit is taken")
    sign = position.side.sign
    anchored = (entry * sign // instrument.tick_e8 - position.stop_distance) * sign
    if (anchored - position.stop) * sign >= policy.ratchet_min_gain_ticks:
        position.stop = tighter(position.side, anchored, position.stop)
        turn.note("stop_anchored", f"initial stop {instrument.price_text(position.stop)} follows the average entry")
    position.entry_e8 = entry
    position.initial_stop = position.stop
    position.risk_e8 = abs(entry - instrument.price_e8(position.stop))
    place_ladder(position, entry_ticks=entry * sign // instrument.tick_e8)
    position.frozen = True
    for cause in position.causes:
        turn.rest_on(cause)
    turn.note(
        "entry_frozen",
        f"{instrument.quantity_text(position.entered)} at {format_e8(entry)}, R {format_e8(position.risk_e8)}",
    )
