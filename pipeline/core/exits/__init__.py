"""
The only place where the exit rules are asked: what ends or tightens a position, one outranking another.

All rules are evaluated on each event that may concern them; **the first closing one in the order of ``RULES`` wins; if
none closes, every tightening applies** (domain 6.3: a tightening must not hide a close further down). "No exit" is a
result of the rules, never of an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pipeline.core.bars import BAR_MS
from pipeline.core.events import PositionOverridden
from pipeline.core.exits.acts import ask_close, keep_closing, stop_view, tighten
from pipeline.core.exits.market import remember_mark
from pipeline.core.exits.protection import watch_sight
from pipeline.core.exits.rule import ExitRule, Fired, Phase, Unit, confirm, confirm_for, phase_of
from pipeline.core.exits.table import RULES
from pipeline.core.exits.targeting import follow_market
from pipeline.core.exits.view import seen
from pipeline.core.guard import steps_of_two_targets
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

# A row to ask: its condition, itself, the key of what it remembers ("" nothing), whether it counts bars or marks.
_Asked: TypeAlias = tuple[Callable[[Turn], Fired | None], ExitRule, str, bool]


# Which rows are asked, by everything that decides it; remembered, because the walk is on every event's road. Derived
# from the table alone: it holds nothing of any symbol.
_walks: dict[tuple[object, ...], tuple[_Asked, ...]] = {}
_walks_of: tuple[ExitRule, ...] = ()
MOST_WALKS: Final = 256


def evaluate(turn: Turn) -> None:
    """Apply the rules to the symbol's position once."""
    position = turn.state.position
    if position is None:
        return
    turn.seen = None
    if not position.ladder:
        steps_of_two_targets(turn, position)
    sees = watch_sight(turn, position)
    bar_ms = _unjudged_bar(turn, position) if sees else 0
    policy = turn.state.policy
    key = (
        phase_of(position),
        sees,
        bar_ms > 0,
        position.leave_rule != "",
        position.left_alone,
        policy.disabled_exits,
        position.disabled_exits,
    )
    walk = _walks.get(key) if _walks_of is RULES else None
    if walk is None:
        walk = _walk(key)
    early = _early(turn, position)
    tightenings: list[tuple[ExitRule, Fired]] = []
    holdings = position.holdings
    for fires, rule, memory, counts in walk:
        if counts:
            fired = confirm(turn, rule, bar_ms=bar_ms)
        else:
            fired = fires(turn)
            if memory and (fired is not None or memory in holdings):
                fired = confirm_for(turn, rule, fired, at=turn.now)
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


def _walk(key: tuple[Phase, bool, bool, bool, bool, tuple[str, ...], tuple[str, ...]]) -> tuple[_Asked, ...]:
    """The rows that may fire in that situation, in the table's order."""
    global _walks_of  # noqa: PLW0603  a memory of the table, forgotten with it
    if _walks_of is not RULES or len(_walks) >= MOST_WALKS:
        _walks.clear()
        _walks_of = RULES
    phase, sees, scored, leaving, left_alone, *off = key
    walk = tuple(
        (
            rule.fires,
            rule,
            "" if rule.confirmation is None else rule.key or rule.id,
            rule.confirmation is not None and rule.confirmation.unit is not Unit.TIME,
        )
        for rule in RULES
        if phase in rule.phases
        and (rule.vital or not (left_alone or rule.id in off[0] or rule.id in off[1]))
        and (sees or rule.blind)
        and not (leaving and not rule.pre_empts)
        and (scored or rule.confirmation is None or rule.confirmation.unit is not Unit.BARS)
    )
    _walks[key] = walk
    return walk


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
    position.holdings = {}  # what was being confirmed begins anew under the new wish
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
    scores = turn.state.scores
    if scores is None or scores.bar_close_ms <= position.judged_bar_ms:
        return 0
    position.judged_bar_ms = scores.bar_close_ms
    score = seen(turn).score
    position.bar_score = None if score is None else score * position.side.sign
    if not position.opened_ms or scores.bar_close_ms <= position.opened_ms:
        return 0  # it closed before the first fill: nothing of it belongs to this position
    return scores.bar_close_ms


def _early(turn: Turn, position: Position) -> bool:
    """X8 to X15 are suppressed for the first closed bars unless MAE ≥ 0.7 R (domain 6.3)."""
    policy = turn.state.policy
    if position.bars >= policy.early_bars or turn.now - position.opened_ms >= policy.early_bars * BAR_MS:
        return False
    return worst_loss_e8(position) * 1_000 < policy.early_loss_r_permille * position.risk_e8 or not position.risk_e8
