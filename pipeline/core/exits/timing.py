"""The only place for the rules about time: funding that is due, no progress, a position too old (X13 to X15)."""

from __future__ import annotations

from typing import Final

from pipeline.core.bars import BAR_MS
from pipeline.core.exits.rule import Fired, closable, judged
from pipeline.core.exits.view import seen
from pipeline.core.positions import best_gain_e8, open_pnl_e8
from pipeline.core.turn import Turn
from pipeline.core.units import ONE_E8

MILLI: Final = 1_000
DAY_MS: Final = 86_400_000
RATE_OF_BPS: Final = ONE_E8 // 10_000


def funding_due(turn: Turn) -> Fired | None:
    """
    X13: less than 3 minutes to this symbol's settlement, this side pays, MFE < 0.5 R, and the payment is worth a taker
    fee: abs(r) ≥ max(0.10 %, 2 × taker), or it takes more than a quarter of the open profit at abs(r) ≥ 2 × taker.
    """
    state, position = turn.state, turn.position
    mark, policy = state.mark, state.policy
    if mark is None or not 0 < mark.next_funding_ms - turn.now < policy.x13_before_ms:
        return None
    rate = mark.funding_rate_e8 * position.side.sign  # positive: longs pay
    dear = policy.x13_taker_fees * policy.taker_fee_e8
    if rate < dear or not judged(position):
        return None
    if best_gain_e8(position) * MILLI >= policy.x13_gain_r_permille * position.risk_e8:
        return None
    profit = open_pnl_e8(position, turn.instrument, mark.mark)
    payment = turn.instrument.notional_e8(lots=position.lots, price_e8=mark.mark) * rate // ONE_E8
    eats = profit > 0 and payment * MILLI > policy.x13_profit_share_permille * profit
    if rate < policy.x13_rate_bps * RATE_OF_BPS and not eats:
        return None
    return Fired("funding is due and this side pays more than leaving costs", "funding")


def no_progress(turn: Turn) -> Fired | None:
    """X14: 48 closed bars, MFE < 0.5 R and side · E < 20."""
    position, policy = turn.position, turn.state.policy
    score = seen(turn).score
    if position.bars < policy.x14_bars or score is None or not judged(position):
        return None
    if best_gain_e8(position) * MILLI >= policy.x14_gain_r_permille * position.risk_e8:
        return None
    if score * position.side.sign >= policy.x14_points * MILLI:
        return None
    return Fired(f"{policy.x14_bars} bars without progress", "no_progress")


def time_is_up(turn: Turn) -> Fired | None:
    """X15: 96 closed bars when not trailing (48 of a coin listed lately)."""
    position, policy = turn.position, turn.state.policy
    limit = policy.time_limit_bars
    listed = turn.instrument.onboard_ms
    if listed and position.opened_ms - listed < policy.new_coin_days * DAY_MS:
        limit = min(limit, policy.time_limit_new_coin_bars)
    if position.bars < limit or position.trailing or not position.opened_ms or not closable(turn):
        return None
    return Fired(f"{limit} bars are over and the stop does not trail", "time")


def absolute_limit(turn: Turn) -> Fired | None:
    """X15: 288 bars, always; by the clock, so that it holds without any bar."""
    position = turn.position
    limit = turn.state.policy.time_limit_absolute_bars
    by_clock = (turn.now - position.opened_ms) // BAR_MS
    if max(position.bars, by_clock) < limit or not position.opened_ms or not closable(turn):
        return None
    return Fired(f"{limit} bars are over", "time")
