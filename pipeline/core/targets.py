"""
The only place for where the targets of a position lie: the ladder of its steps, and how they follow the market.

A ladder is data: steps of (distance as a share of the first target's, share of the entered quantity). The nearest step
rests as a reduce-only LIMIT, the last one is a conditional close of everything that is left; a step between them is
stated when the one before it has filled, so that the reduce-only budget never holds more than one step (domain 6.7).
Everything is integer and pure; ``guard`` states what follows.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.events import Side
from pipeline.core.policies import LadderStep, Policy
from pipeline.core.positions import Position, Step

MILLI: Final = 1_000
BPS: Final = 10_000
# O's label for a trend that new money carries, by the position's sign; and those of money that leaves (domain 4.6).
BUILD_UP_WITH: Final = {1: "up_up", -1: "dn_up"}
LEAVING: Final = ("up_dn", "dn_dn")
COMING: Final = ("up_up", "dn_up")


class TargetView(msgspec.Struct, frozen=True):
    """What the dynamic target sees on a closed bar; prices in E8, scores in thousandths, None and 0: not known."""

    side: Side
    entry_e8: int
    risk_e8: int
    price_e8: int
    atr_1h_e8: int
    score: int | None
    trend: int | None
    regime: str


def planned_ladder(
    policy: Policy, *, first: int, last: int, steps: tuple[LadderStep, ...] = (), tick_floor: int = 1
) -> list[Step]:
    """
    The steps of an entry whose targets lie *first* and *last* ticks away. Without *steps* there are two: the first
    takes ``first_target_share_permille``, the last the rest.

    A step never lies nearer than the one before it; the last one always takes what is left.
    """
    if not steps:
        share = policy.first_target_share_permille
        return [Step(first, share), Step(max(last, first), MILLI - share)]
    ladder: list[Step] = []
    nearest, left = tick_floor, MILLI
    for step in steps:
        nearest = max(nearest, first * step.distance_permille // MILLI)
        share = min(step.share_permille, left)
        ladder.append(Step(nearest, share))
        left -= share
    ladder[-1].share_permille += left
    return ladder


def place_ladder(position: Position, *, entry_ticks: int) -> None:
    """Put every step at its distance, as the dynamic target scales it, from *entry_ticks* (signed by the side)."""
    sign = position.side.sign
    for number, step in enumerate(position.ladder):
        distance = step.distance * position.target_permille // MILLI
        if number == 0 and position.target_cap:
            distance = min(distance, position.target_cap)
        step.price = (entry_ticks + distance) * sign
    current = min(position.step, len(position.ladder) - 1)
    position.target = position.ladder[current].price
    position.last_target = position.ladder[-1].price


def wanted_permille(position: Position, view: TargetView, policy: Policy) -> int:
    """
    The share of the planned distance that the market speaks for: extended when new money carries the trend, shortened
    when money leaves, never compounding (domain 6.4). Unknown factors leave it as planned.

    What holds is not taken back by a wobble around the same threshold (docs/adr/0015): a shortened target waits for
    money that comes in, or for as many bars as ``note_money`` says; an extended one stays while T and E are at least
    ``target_keep_permille`` of what extends it.
    """
    if view.regime in LEAVING:
        return policy.target_shorten_permille
    sign = view.side.sign
    keeps = policy.target_keep_permille if position.target_permille > MILLI else MILLI
    if (
        view.regime == BUILD_UP_WITH[sign]
        and view.trend is not None
        and view.score is not None
        and view.trend * sign >= policy.target_extend_trend_points * keeps
        and view.score * sign >= policy.target_extend_points * keeps
    ):
        return policy.target_extend_permille
    return policy.target_shorten_permille if position.shortened_bars else MILLI


def note_money(position: Position, view: TargetView, policy: Policy) -> None:
    """Count a scored closed bar: for how many more the target stays shortened if no money comes in."""
    if view.regime in LEAVING:
        position.shortened_bars = policy.target_return_bars
    elif view.regime in COMING:
        position.shortened_bars = 0
    else:
        position.shortened_bars = max(0, position.shortened_bars - 1)


def moved_permille(position: Position, view: TargetView, policy: Policy, *, tick_e8: int) -> int | None:
    """
    The new share if the first target shall move, None if it stays: a change of at most 2 % of the price and of at most
    0.25 · R is none, and the target stays within [0.8 · R, 4.5 · A].
    """
    planned_e8 = position.ladder[0].distance * tick_e8
    if planned_e8 <= 0 or not view.atr_1h_e8 or not view.risk_e8:
        return None
    least = policy.target_least_r_permille * view.risk_e8 // MILLI
    most = max(policy.target_atr_max_permille * view.atr_1h_e8 // MILLI, least)
    wanted = wanted_permille(position, view, policy)
    distance_e8 = min(max(planned_e8 * wanted // MILLI, least), most) if wanted != MILLI else planned_e8
    change = abs(distance_e8 - planned_e8 * position.target_permille // MILLI)
    far_enough = (
        change * BPS > policy.target_move_bps * view.price_e8
        or change * MILLI > policy.target_move_r_permille * view.risk_e8
    )
    permille = distance_e8 * MILLI // planned_e8
    return permille if far_enough and permille != position.target_permille else None


def may_trail(position: Position, score: int | None, policy: Policy) -> bool:
    """After the first target the last one may give way to the trailing stop: side · E ≥ 40 (domain 6.4)."""
    if not position.first_target_done or position.single_target or position.target_trails or score is None:
        return False
    return score * position.side.sign >= policy.trail_after_target_points * MILLI


def step_lots(position: Position, number: int) -> int:
    """What step *number* takes of the entered quantity."""
    return position.entered * position.ladder[number].share_permille // MILLI
