"""
The only place for what the factors do to the first levels: the multipliers of domain table 1.4 and the swing level.

Rows are read top down; the first whose threshold is reached counts. A factor that is missing, or of a quality below
one half, multiplies by one: it never becomes a number (domain 3.3). Everything mirrors with the side. Ours: the row of
open interest asks for a build-up of the trade's **own** side (one against it is no reason to aim further), and
independence below 40 counts as "with Bitcoin" unless Bitcoin's trend is known to oppose the trade.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.events import Side
from pipeline.core.numerics import exp, ln
from pipeline.core.scores import MILLI, Scores

ONE: Final = 1_000  # permille
LEAST_QUALITY_PERMILLE: Final = 500
BASIS_AGAINST_MILLIBPS: Final = 50_000
SWING_CLEARANCE_PERMILLE: Final = 250  # of a: the stop belongs a quarter of it behind the swing level
SOFTNESS_PERMILLE: Final = 100  # of A: width of the soft minimum

Rows = tuple[tuple[int, int], ...]  # (threshold in points, multiplier in permille), highest first

SIGNAL_STOP: Final[Rows] = ((80, 700), (70, 850))
TREND_STOP: Final[Rows] = ((70, 850), (50, 950))
LIQUIDITY_STOP: Final[Rows] = ((90, 900), (80, ONE), (60, 1_100), (-1_000, 1_400))
INDEPENDENCE_STOP: Final[Rows] = ((60, ONE), (40, 1_050))
DEPENDENT: Final = 1_100
DEPENDENT_AGAINST: Final = 1_200
SIGNAL_TARGET: Final[Rows] = ((80, 1_200), (70, 1_100))
TREND_TARGET: Final[Rows] = ((80, 1_400), (70, 1_250), (50, 1_100), (-1_000, 900))
BUILD_UP: Final = {Side.BUY: "up_up", Side.SELL: "dn_up"}
BUILD_UP_POINTS: Final = 70
BUILD_UP_TARGET: Final = 1_250
COVERING: Final = ("up_dn", "dn_dn")
COVERING_TARGET: Final = 800
TREND_AGAINST: Final = {Side.BUY: "down", Side.SELL: "up"}


class LevelFactors(msgspec.Struct, frozen=True):
    """
    Multipliers of stop and target in permille, whether the basis is more than 50 bps against the trade, and the swing
    level behind it in ticks (0: none) with its clearance.
    """

    stop: tuple[int, ...] = ()
    target: tuple[int, ...] = ()
    basis_against: bool = False
    swing: int = 0
    swing_clearance: int = 0


NONE: Final = LevelFactors()


def level_factors(scores: Scores | None, side: Side, *, strength: int) -> LevelFactors:
    """What *scores* say about the first levels on *side*; ``strength`` of domain section 5 in 1/1000 point."""
    if scores is None:
        return NONE
    odds = scores.odds_long if side is Side.BUY else scores.odds_short
    signal = (strength + odds // 10) // 2  # (strength + 100 P) / 2 in 1/1000 point
    trend = abs(scores.value("T")) if _known(scores, "T") else None
    liquidity = scores.value("L") if _known(scores, "L") else None
    swing = scores.swing_low if side is Side.BUY else scores.swing_high
    return LevelFactors(
        stop=(
            _row(SIGNAL_STOP, signal),
            _row(TREND_STOP, trend),
            _row(LIQUIDITY_STOP, liquidity),
            _alone(scores, side),
        ),
        target=(_row(SIGNAL_TARGET, signal), _row(TREND_TARGET, trend), _interest(scores, side)),
        basis_against=_known(scores, "B") and side.sign * scores.basis_millibps > BASIS_AGAINST_MILLIBPS,
        swing=swing if _known(scores, "S") else 0,
        swing_clearance=-(-SWING_CLEARANCE_PERMILLE * scores.atr_5m_milliticks // (1_000 * MILLI)),
    )


def soft_minimum(first: int, second: int, width: int) -> int:
    """
    −t·ln(e^(−p/t) + e^(−q/t)) for distances in ticks, in 1/1000 tick; the plain minimum when *width* is 0.

    Written around the smaller one, so that nothing overflows: min − t·ln(1 + e^(−|p − q|/t)).
    """
    least, apart = min(first, second), abs(first - second)
    if width <= 0:
        return least * MILLI
    soft = width * ln(1.0 + exp(-min(apart / width, 700.0)))
    return least * MILLI - int(soft * MILLI + 0.5)


def _known(scores: Scores, letter: str) -> bool:
    factor = scores.factors[letter]
    return factor.ready and factor.quality >= LEAST_QUALITY_PERMILLE


def _row(rows: Rows, thousandths: int | None) -> int:
    """The multiplier of the first row that is reached; one for what is missing, or reaches none."""
    if thousandths is None:
        return ONE
    return next((multiplier for points, multiplier in rows if thousandths >= points * MILLI), ONE)


def _alone(scores: Scores, side: Side) -> int:
    """Independence I: a symbol that follows Bitcoin needs more room, the more so against Bitcoin's trend."""
    if not _known(scores, "I"):
        return ONE
    independence = scores.value("I")
    if independence >= INDEPENDENCE_STOP[-1][0] * MILLI:
        return _row(INDEPENDENCE_STOP, independence)
    return DEPENDENT_AGAINST if scores.market_trend == TREND_AGAINST[side] else DEPENDENT


def _interest(scores: Scores, side: Side) -> int:
    """Open interest: new positions on our side carry the target, covering and unwinding shorten it."""
    if not _known(scores, "O"):
        return ONE
    if scores.regime in COVERING:
        return COVERING_TARGET
    strong = side.sign * scores.value("O") > BUILD_UP_POINTS * MILLI
    return BUILD_UP_TARGET if scores.regime == BUILD_UP[side] and strong else ONE
