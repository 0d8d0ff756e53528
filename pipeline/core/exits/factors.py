"""
The only place for the rules about what the factors say of the direction: reversal, reversed flow, a broken regime (X8,
X9, X10). A factor that is missing or doubtful says nothing, and then none of them speaks.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.exits.acts import price_e8, reduce, tighten
from pipeline.core.exits.rule import Fired, judged
from pipeline.core.exits.view import seen
from pipeline.core.positions import Basis, best_gain_e8
from pipeline.core.stops import Candidate
from pipeline.core.turn import Turn

MILLI: Final = 1_000
# O's label that builds up against a position of that sign (domain 4.6, price first).
BUILD_UP_AGAINST: Final = {1: "dn_up", -1: "up_up"}


def _reversed_by(turn: Turn, points: int) -> Fired | None:
    position, score = turn.position, seen(turn).score
    if score is None or score * position.side.sign > -points * MILLI or not judged(position):
        return None
    return Fired(f"the composite is {score // MILLI} against the position", "reversal")


def strongly_reversed(turn: Turn) -> Fired | None:
    """X8: side · E ≤ −50 on one closed bar."""
    return _reversed_by(turn, turn.state.policy.x8_strong_points)


def reversed_twice(turn: Turn) -> Fired | None:
    """X8: side · E ≤ −30 on two closed bars."""
    return _reversed_by(turn, turn.state.policy.x8_points)


def flow_reversed(turn: Turn) -> Fired | None:
    """X9: MFE ≥ 1 R, side · C ≤ −60 and side · z of the order flow ≤ −2.5; once."""
    position, policy = turn.position, turn.state.policy
    if position.flow_reduced or not judged(position):
        return None
    if best_gain_e8(position) * MILLI < policy.x9_gain_r_permille * position.risk_e8:
        return None
    factors, sign = seen(turn), position.side.sign
    if factors.delta is None or factors.flow_z is None:
        return None
    if factors.delta * sign > -policy.x9_delta_points * MILLI or factors.flow_z * sign > -policy.x9_flow_z_permille:
        return None
    return Fired("volume delta and order flow turned against a position in profit")


def take_half(turn: Turn, rule: str, fired: Fired) -> None:
    """Close half of the remainder once, then tighten to S_f."""
    position, policy = turn.position, turn.state.policy
    position.flow_reduced = True
    reduce(turn, rule, fired, lots=position.lots * policy.x9_share_permille // MILLI)
    tighten_to_factors(turn)


def tighten_to_factors(turn: Turn) -> None:
    """S_f = x − 0.8 · A, past steps 3 and 4."""
    state, sign = turn.state, turn.position.side.sign
    if not state.bars.ready:
        return
    distance = state.policy.factor_stop_atr_permille * state.bars.one_hour.e8(turn.instrument.tick_e8) // MILLI
    tighten(turn, forced=True, extra=(Candidate(Basis.FACTORS, price_e8(turn) - sign * distance),))


def regime_broken(turn: Turn) -> Fired | None:
    """X10: open interest builds up against the position (two bars) and T points against it too."""
    position, factors = turn.position, seen(turn)
    sign = position.side.sign
    if factors.regime != BUILD_UP_AGAINST[sign] or factors.trend is None or factors.trend * sign >= 0:
        return None
    return Fired(f"open interest builds up against the position ({factors.regime})") if judged(position) else None


def regime_and_score_broken(turn: Turn) -> Fired | None:
    """X10, closing: the same and side · E ≤ −15."""
    score = seen(turn).score
    if score is None or score * turn.position.side.sign > -turn.state.policy.x10_close_points * MILLI:
        return None
    fired = regime_broken(turn)
    return None if fired is None else Fired(f"{fired.why} and the composite is {score // MILLI}", "regime")


def tighten_to_half_risk(turn: Turn, rule: str, fired: Fired) -> None:
    """X10: stop to 0.5 · R from the price (domain 6.4: S_f)."""
    position, policy = turn.position, turn.state.policy
    distance = policy.x10_stop_r_permille * position.risk_e8 // MILLI
    level = price_e8(turn) - position.side.sign * distance
    turn.note("regime_break", f"{rule}: {fired.why}")
    tighten(turn, forced=True, extra=(Candidate(Basis.FACTORS, level),))
