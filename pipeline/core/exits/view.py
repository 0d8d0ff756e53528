"""
The only place where exit rules learn what the factors say: the newest values, or that there is none.

A factor that is not ready, or whose quality is below one half, says nothing (None): no rule may fire on a made-up
number. Values count thousandths of a point, as ``SymbolState.scores`` keeps them; E takes its coverage for its quality.
Liquidations count from the hour on after which Q is ready: their past cannot be read, so its quality grows for a day,
and the domain (4.14) lets it speak with less.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.scores import Scores
from pipeline.core.turn import Turn

LEAST_QUALITY_PERMILLE: Final = 500


class Seen(msgspec.Struct, frozen=True, gc=False):
    """
    What the factors say now. ``score`` is E, ``trend`` T, ``delta`` C, ``liquidity`` L, ``flow_z`` the z of the order
    flow; in thousandths, None while unknown. ``regime`` is O's label, empty while unknown.

    ``bar_ms`` is the close of the newest bar that was scored (0: none). ``cascade`` is −1 while longs are liquidated
    downwards, +1 upwards, 0 otherwise. Swings are in ticks with the close of the bar that confirmed them, 0: none.
    """

    bar_ms: int = 0
    score: int | None = None
    trend: int | None = None
    delta: int | None = None
    liquidity: int | None = None
    flow_z: int | None = None
    regime: str = ""
    cascade: int = 0
    exhausted: bool = False
    swing_low: int = 0
    swing_low_ms: int = 0
    swing_high: int = 0
    swing_high_ms: int = 0


NOTHING: Final = Seen()


def seen(turn: Turn) -> Seen:
    """What the factors say on this event; read once (``evaluate`` forgets it before it begins)."""
    known = turn.seen
    if known is None:
        scores = turn.state.scores
        known = turn.seen = NOTHING if scores is None else _of(scores)
    return known


def _of(scores: Scores) -> Seen:
    liquidations = scores.factors["Q"].ready
    interest = _known(scores, "O")
    return Seen(
        bar_ms=scores.bar_close_ms,
        score=scores.score if scores.coverage >= LEAST_QUALITY_PERMILLE else None,
        trend=_value(scores, "T"),
        delta=_value(scores, "C"),
        liquidity=_value(scores, "L"),
        flow_z=scores.ofi_z if scores.ofi_ready else None,
        regime=scores.regime if interest else "",
        cascade=(int(scores.cascade_up) - int(scores.cascade_down)) if liquidations else 0,
        exhausted=scores.exhausted and liquidations,
        swing_low=scores.swing_low,
        swing_low_ms=scores.swing_low_ms,
        swing_high=scores.swing_high,
        swing_high_ms=scores.swing_high_ms,
    )


def _known(scores: Scores, letter: str) -> bool:
    factor = scores.factors[letter]
    return factor.ready and factor.quality >= LEAST_QUALITY_PERMILLE


def _value(scores: Scores, letter: str) -> int | None:
    return scores.factors[letter].value if _known(scores, letter) else None
