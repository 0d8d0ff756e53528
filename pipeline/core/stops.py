"""
The only place for the dynamic stop: its candidates and the ratchet that lets it only tighten (domain 6.4).

Levels are in E8 until the last step rounds them to the tick, away from the price. Everything is written for a long
position and mirrored by the sign: a level times the sign is the larger the tighter.
"""

from __future__ import annotations

from collections.abc import Callable
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
    bars: int = 0  # closed 5m bars since the first fill
    swing_e8: int = 0  # last swing against the position that was confirmed after the entry
    score: int | None = None  # side · E now, thousandths of a point
    bar_score: int | None = None  # side · E on the newest scored bar


class Candidate(msgspec.Struct, frozen=True):
    """A level the stop could take, in E8; ``wall_id`` names the wall that it leans on (S_w)."""

    basis: Basis
    level_e8: int
    wall_id: int = 0


class StopMove(msgspec.Struct, frozen=True):
    """The stop tightens to ``trigger`` (ticks); the last two name the wall that it leans on and the level it gave."""

    basis: Basis
    trigger: int
    level_e8: int = 0
    wall_id: int = 0


class Kept(msgspec.Struct, frozen=True):
    """The stop stays, and by which step of the ratchet."""

    step: str


def candidates(view: StopView, policy: Policy) -> list[Candidate]:
    """
    Every enabled candidate but S0, which the current stop already is, and S_w, which needs the book (``exits.walls``).

    Each row of ``CANDIDATES`` is one line of domain 6.4; what it needs and is not known leaves it out.
    """
    found: list[Candidate] = []
    for basis, level_of in CANDIDATES:
        level = level_of(view, policy)
        if level:
            found.append(Candidate(basis, level))
    return found


def gain_e8(view: StopView) -> int:
    """MFE as a distance."""
    return max(0, (view.best_mark_e8 - view.entry_e8) * view.side.sign)


def price_of(view: StopView) -> int:
    """x of the domain: the middle, or the mark while there is no fresh quote."""
    return view.mid_e8 or view.mark_e8


def breakeven(view: StopView, policy: Policy) -> int:
    """S_be = e + round-trip fees + 2 ticks: in as taker, out by a market stop."""
    fees = view.entry_e8 * 2 * policy.taker_fee_e8 // ONE_E8
    return view.entry_e8 + view.side.sign * (fees + BREAKEVEN_TICKS * view.tick_e8)


def _breakeven(view: StopView, policy: Policy) -> int:
    """S_be once TP1 has filled or MFE ≥ 1 R."""
    if view.first_target_done or gain_e8(view) * 1_000 >= policy.breakeven_at_r_permille * view.risk_e8:
        return breakeven(view, policy)
    return 0


def _chandelier(view: StopView, policy: Policy) -> int:
    """S_ch = HH − k · A with k by the best gain."""
    gain = gain_e8(view) * 1_000
    if not view.atr_1h_e8 or gain < policy.chandelier_from_r_permille * view.risk_e8:
        return 0
    for from_r_permille, factor_permille in CHANDELIER_FACTORS:
        if gain >= from_r_permille * view.risk_e8:
            return view.best_mark_e8 - view.side.sign * (factor_permille * view.atr_1h_e8 // 1_000)
    return 0


def _swing(view: StopView, policy: Policy) -> int:
    """S_sw = last swing confirmed after the entry − 0.25 · a, only if side · E > 0 or the level lies above S_be."""
    if not view.swing_e8 or not view.atr_5m_e8:
        return 0
    sign = view.side.sign
    level = view.swing_e8 - sign * (policy.swing_clearance_atr5m_permille * view.atr_5m_e8 // 1_000)
    if (view.score is not None and view.score > 0) or (level - breakeven(view, policy)) * sign > 0:
        return level
    return 0


def _factors(view: StopView, policy: Policy) -> int:
    """S_f = x − 0.8 · A while side · E ≤ −15 on the newest closed bar."""
    if not view.atr_1h_e8 or view.bar_score is None or view.bar_score > -policy.factor_stop_points * 1_000:
        return 0
    return price_of(view) - view.side.sign * (policy.factor_stop_atr_permille * view.atr_1h_e8 // 1_000)


def _time(view: StopView, policy: Policy) -> int:
    """S_time = x − 0.8 · R when 72 bars are over and MFE < 1 R."""
    if view.bars < policy.time_stop_bars or gain_e8(view) * 1_000 >= policy.time_stop_gain_r_permille * view.risk_e8:
        return 0
    return price_of(view) - view.side.sign * (policy.time_stop_r_permille * view.risk_e8 // 1_000)


CANDIDATES: Final[tuple[tuple[Basis, Callable[[StopView, Policy], int]], ...]] = (
    (Basis.BREAKEVEN, _breakeven),
    (Basis.CHANDELIER, _chandelier),
    (Basis.SWING, _swing),
    (Basis.FACTORS, _factors),
    (Basis.TIME, _time),
)


def ratchet(
    view: StopView,
    policy: Policy,
    *,
    now: int,
    changes: list[int],
    forced: bool = False,
    extra: tuple[Candidate, ...] = (),
) -> StopMove | Kept:
    """
    The steps of domain 6.4 in their order.

    ``changes`` are the log times of earlier moves; ``forced`` is an X-rule, which bypasses steps 3 and 4; ``extra`` are
    candidates that follow from more than the view. The result never loosens the stop.
    """
    sign = view.side.sign
    current = view.stop * view.tick_e8 * sign
    best = max((*candidates(view, policy), *extra), key=lambda c: c.level_e8 * sign, default=None)
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
    return StopMove(
        basis=best.basis,
        trigger=trigger,
        level_e8=best.level_e8 if best.wall_id else 0,
        wall_id=best.wall_id,
    )


def through(side: Side, *, trigger_e8: int, mark_e8: int) -> bool:
    """True when the working price has reached a stop of a position of *side* (venue sheet 6.5)."""
    return mark_e8 * side.sign <= trigger_e8 * side.sign


def tighter(side: Side, one: int, other: int) -> int:
    """The tighter of two stop levels; 0 stands for none."""
    if not one or not other:
        return one or other
    return one if one * side.sign >= other * side.sign else other
