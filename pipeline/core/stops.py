"""
The only place for the dynamic stop: its candidates and the ratchet that lets it only tighten (domain 6.4).

Levels are in E8 until the last step rounds them to the tick, away from the price. Everything is written for a long
position and mirrored by the sign: a level times the sign is the larger the tighter.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.events import Side
from pipeline.core.policies import Policy
from pipeline.core.positions import Basis
from pipeline.core.units import ONE_E8

# S_ch = HH − k · A: k by the best gain in R (domain 6.4), all in permille; inactive below 1.5 R.
CHANDELIER_FACTORS: Final = ((4_000, 1_000), (2_500, 1_500), (1_500, 2_000))
BREAKEVEN_TICKS: Final = 2
CLEARANCE_SPREADS: Final = 2
MINUTE_MS: Final = 60_000


class StopView(msgspec.Struct, frozen=True):
    """
    What the ratchet sees of a position and its market. ``stop`` in ticks, prices and ranges in E8.

    0 stands for "not known" in ``mid_e8``, ``atr_5m_e8`` and ``atr_1h_e8``: what needs them is left out, never guessed.
    """

    side: Side
    stop: int
    entry_e8: int
    risk_e8: int
    best_mark_e8: int
    mark_e8: int
    mid_e8: int
    spread_e8: int
    atr_5m_e8: int
    atr_1h_e8: int
    tick_e8: int
    first_target_done: bool


class Candidate(msgspec.Struct, frozen=True):
    """A level the stop could take, in E8."""

    basis: Basis
    level_e8: int


class StopMove(msgspec.Struct, frozen=True):
    """The stop tightens to ``trigger`` (ticks)."""

    basis: Basis
    trigger: int


class Kept(msgspec.Struct, frozen=True):
    """The stop stays, and by which step of the ratchet."""

    step: str


def candidates(view: StopView, policy: Policy) -> list[Candidate]:
    """Every enabled candidate but S0, which the current stop already is."""
    sign = view.side.sign
    gain = max(0, (view.best_mark_e8 - view.entry_e8) * sign)
    found: list[Candidate] = []
    if view.first_target_done or gain * 1_000 >= policy.breakeven_at_r_permille * view.risk_e8:
        fees = view.entry_e8 * 2 * policy.taker_fee_e8 // ONE_E8  # in as taker, out by a market stop
        found.append(
            Candidate(Basis.BREAKEVEN, view.entry_e8 + sign * (fees + BREAKEVEN_TICKS * view.tick_e8)),
        )
    if view.atr_1h_e8 and gain * 1_000 >= policy.chandelier_from_r_permille * view.risk_e8:
        for from_r_permille, factor_permille in CHANDELIER_FACTORS:
            if gain * 1_000 >= from_r_permille * view.risk_e8:
                level = view.best_mark_e8 - sign * (factor_permille * view.atr_1h_e8 // 1_000)
                found.append(Candidate(Basis.CHANDELIER, level))
                break
    return found


def ratchet(
    view: StopView,
    policy: Policy,
    *,
    now: int,
    changes: list[int],
    forced: bool = False,
) -> StopMove | Kept:
    """
    The steps of domain 6.4 in their order.

    ``changes`` are the log times of earlier moves; ``forced`` is an X-rule, which bypasses steps 3 and 4. The result
    never loosens the stop.
    """
    sign = view.side.sign
    current = view.stop * view.tick_e8 * sign
    best = max(candidates(view, policy), key=lambda c: c.level_e8 * sign, default=None)
    if best is None or best.level_e8 * sign <= current:
        return Kept("1 monotone")
    near = min(view.mark_e8 * sign, view.mid_e8 * sign) if view.mid_e8 else view.mark_e8 * sign
    clearance = max(
        policy.ratchet_clearance_atr5m_permille * view.atr_5m_e8 // 1_000,
        policy.ratchet_clearance_ticks * view.tick_e8,
        CLEARANCE_SPREADS * view.spread_e8,
    )
    level = min(best.level_e8 * sign, near - clearance)
    if level <= current:
        return Kept("2 clearance")
    if not forced:
        least = max(
            policy.ratchet_min_gain_r_permille * view.risk_e8 // 1_000,
            policy.ratchet_min_gain_atr5m_permille * view.atr_5m_e8 // 1_000,
            policy.ratchet_min_gain_ticks * view.tick_e8,
        )
        if level - current < least:
            return Kept("3 gain too small")
        if changes and now - changes[-1] < policy.ratchet_interval_ms:
            return Kept("4 too soon")
        if sum(1 for at in changes if now - at < MINUTE_MS) >= policy.ratchet_per_minute:
            return Kept("4 too many")
    trigger = level // view.tick_e8 * sign  # 5: floor of the signed level is away from the price on both sides
    if trigger * sign <= view.stop * sign:
        return Kept("5 rounded away")
    return StopMove(basis=best.basis, trigger=trigger)


def through(side: Side, *, trigger_e8: int, mark_e8: int) -> bool:
    """True when the working price has reached a stop of a position of *side* (venue sheet 6.5)."""
    return mark_e8 * side.sign <= trigger_e8 * side.sign


def tighter(side: Side, one: int, other: int) -> int:
    """The tighter of two stop levels; 0 stands for none."""
    if not one or not other:
        return one or other
    return one if one * side.sign >= other * side.sign else other
