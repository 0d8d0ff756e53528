"""
The only place where the exit rules are asked: what ends or tightens a position, one outranking another.

All rules are evaluated on each event that may concern them; **the first closing one in the order of ``RULES`` wins; if
none closes, every tightening applies** (domain 6.3: a tightening must not hide a close further down). "No exit" is a
result of the rules, never of an exception.
"""

from __future__ import annotations

from pipeline.core.bars import BAR_MS
from pipeline.core.events import PositionOverridden
from pipeline.core.exits.acts import ask_close, keep_closing, stop_view, tighten
from pipeline.core.exits.market import remember_mark
from pipeline.core.exits.protection import watch_sight
from pipeline.core.exits.rule import ExitRule, Fired, confirm
from pipeline.core.exits.table import RULES
from pipeline.core.exits.targeting import follow_market
from pipeline.core.exits.view import seen
from pipeline.core.positions import Position, worst_loss_e8
from pipeline.core.turn import Turn

__all__ = [
    "RULES",
    "ExitRule",
    "Fired",
    "ask_close",
    "evaluate",
    "keep_closing",
    "note_mark",
    "overridden",
    "stop_view",
    "tighten",
]


def evaluate(turn: Turn) -> None:
    """Apply the rules to the symbol's position once."""
    state = turn.state
    position = state.position
    if position is None:
        return
    turn.seen = None
    sees = watch_sight(turn, position)
    bar_ms = _unjudged_bar(turn, position) if sees else 0
    early = _early(turn, position)
    switched_off = (*state.policy.disabled_exits, *position.disabled_exits)
    tightenings: list[tuple[ExitRule, Fired]] = []
    for rule in RULES:
        if not rule.vital and (rule.id in switched_off or position.left_alone):
            continue
        if not (rule.blind or sees) or (position.leave_rule and not rule.pre_empts):
            continue
        fired = confirm(turn, rule, bar_ms=bar_ms)
        if fired is None or (early and rule.suppressed_early):
            continue
        if rule.closes:
            turn.rules.append(rule.id)
            rule.act(turn, rule.id, fired)
            return
        tightenings.append((rule, fired))
    for rule, fired in tightenings:
        turn.rules.append(rule.id)
        rule.act(turn, rule.id, fired)
    if bar_ms:
        follow_market(turn)


def overridden(turn: Turn, event: PositionOverridden) -> None:
    """Take a person's wish for this position; without one there is nothing to wish for."""
    position = turn.state.position
    if position is None:
        return
    if event.pin_stop is not None:
        position.stop_pinned = event.pin_stop
    if event.leave_alone is not None:
        position.left_alone = event.leave_alone
    if event.disabled_exits is not None:
        position.disabled_exits = event.disabled_exits
    off = ", ".join(position.disabled_exits) or "none"
    turn.note(
        "position_overridden",
        f"{event.command}: stop pinned {position.stop_pinned}, left alone {position.left_alone}, rules off {off}",
    )


def note_mark(turn: Turn) -> None:
    """Remember the mark price that has just come, for the rules that measure its moves."""
    position, mark = turn.position, turn.state.mark
    if mark is not None and position.lots > 0:
        remember_mark(position, mark_e8=mark.mark, now=turn.now, window_ms=turn.state.policy.x5_window_ms)


def _unjudged_bar(turn: Turn, position: Position) -> int:
    """The close of the newest scored bar if the rules have not judged it yet, else 0; from now on they have."""
    factors = seen(turn)
    if factors.bar_ms <= position.judged_bar_ms:
        return 0
    position.judged_bar_ms = factors.bar_ms
    position.bar_score = None if factors.score is None else factors.score * position.side.sign
    if not position.opened_ms or factors.bar_ms <= position.opened_ms:
        return 0  # it closed before the first fill: nothing of it belongs to this position
    return factors.bar_ms


def _early(turn: Turn, position: Position) -> bool:
    """X8 to X15 are suppressed for the first closed bars unless MAE ≥ 0.7 R (domain 6.3)."""
    policy = turn.state.policy
    if position.bars >= policy.early_bars or turn.now - position.opened_ms >= policy.early_bars * BAR_MS:
        return False
    return worst_loss_e8(position) * 1_000 < policy.early_loss_r_permille * position.risk_e8 or not position.risk_e8
