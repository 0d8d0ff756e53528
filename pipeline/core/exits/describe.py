"""
The only place that tells people the table of exit rules as a policy makes it: condition, confirmation, action, on or
off, and since which version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.core.exits import acts, endings, factors, market, protection, walls
from pipeline.core.exits.rule import ExitRule, Fired, Unit, amount_of
from pipeline.core.exits.table import RULES
from pipeline.core.plugin_answers import CLOSE_RULE
from pipeline.core.policies import Policy
from pipeline.core.turn import Turn

# What a rule does → how people say it.
ACTIONS: Final[dict[Callable[[Turn, str, Fired], None], str]] = {
    acts.close: "close at market",
    acts.leave: "close: at rest first if there is room, else at market",
    endings.finish: "closed: sweep, report",
    endings.to_breakeven: "stop to breakeven, far rail to the old stop",
    factors.take_half: "close a part once, then tighten",
    factors.tighten_to_half_risk: "tighten the stop",
    market.arm_again: "armed again",
    market.cancel_entry: "cancel the entry",
    market.reduce_in_slices: "close a part in slices",
    protection.adopt: "adopt the quantity, resize rails and targets",
    protection.close_by_hand: "close at market",
    protection.degrade: "alert; stops stay",
    protection.prove_rails: "read the venue, prove the rails",
    protection.tell_apart: "alert; entries closed",
    walls.leave_wall: "drop the level, tighten",
    walls.take_quarter: "close a part once, or tighten",
    walls.trail_cascade: "trail the stop",
}


class Row(msgspec.Struct, frozen=True):
    """One rule as a policy makes it. ``parameters`` are (field of the policy, its value)."""

    id: str
    condition: str
    confirmation: str
    action: str
    since: str
    on: bool
    may_be_off: bool
    parameters: tuple[tuple[str, int], ...]


def effective(policy: Policy) -> list[Row]:
    """The table in its order."""
    rows = [
        Row(
            id=rule.id,
            condition=rule.text,
            confirmation=_confirmation(rule, policy),
            action=ACTIONS[rule.act],
            since=rule.since,
            on=rule.vital or rule.id not in policy.disabled_exits,
            may_be_off=not rule.vital,
            parameters=tuple((name, getattr(policy, name)) for name in rule.parameters),
        )
        for rule in RULES
    ]
    return [*rows, _plugins(policy)]


def _plugins(policy: Policy) -> Row:
    """
    The row of the owner's own exit rules, below all others: no row of the table, for an answer asks, no event (it comes
    as a line of its own, ``core.plugins``).
    """
    asked = [row for row in policy.plugins if row.kind == "exit"]
    acting = [row for row in asked if not row.shadow]
    names = ", ".join(f"{row.name} {row.version}{' (shadow)' if row.shadow else ''}" for row in asked)
    return Row(
        id=CLOSE_RULE,
        condition=f"an exit plug-in says so: {names or 'none is configured'}",
        confirmation="at once",
        action="close at market, or tighten the stop",
        since="0.3",
        on=bool(acting),
        may_be_off=True,
        parameters=tuple(
            (f"{row.name}.{name}", getattr(row, name)) for row in asked for name in ("every_ms", "deadline_ms")
        ),
    )


def _confirmation(rule: ExitRule, policy: Policy) -> str:
    wanted = rule.confirmation
    if wanted is None:
        return "at once"
    amount = amount_of(policy, wanted)
    match wanted.unit:
        case Unit.TIME:
            return f"{amount / 1_000:g} s" if amount else "at once"
        case Unit.BARS:
            return f"{max(amount, 1)} closed bar{'s' if amount > 1 else ''}"
        case Unit.MARKS:
            return f"{max(amount, 1)} marks"
