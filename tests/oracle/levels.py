"""The only place for the oracle's price levels of a position: first stop and targets, stop candidates, the ratchet.

Domain sections "1.4" (tables), 6.2 and 6.4. Side is 1 for long, −1 for short; prices and distances in quote units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Rows of (at least, multiplier), tried from the top; the last one is for everything else.
STOP_SIGNAL = ((80, 0.70), (70, 0.85), (-np.inf, 1.0))
STOP_TREND = ((70, 0.85), (50, 0.95), (-np.inf, 1.0))
STOP_LIQUIDITY = ((90, 0.90), (80, 1.0), (60, 1.1), (-np.inf, 1.4))
STOP_INDEPENDENCE = ((60, 1.0), (40, 1.05))
TARGET_SIGNAL = ((80, 1.2), (70, 1.1), (-np.inf, 1.0))
TARGET_TREND = ((80, 1.4), (70, 1.25), (50, 1.1), (-np.inf, 0.9))


def _row(table: Sequence[tuple[float, float]], value: float) -> float:
    return next(multiplier for least, multiplier in table if value >= least)


def stop_factors(
    signal: float, trend: float, liquidity: float | None, independence: float | None, *, against_btc: bool
) -> tuple[float, float, float, float]:
    """The four stop multipliers of table 1.4; a missing L or I drops out as 1.0. signal = (strength+100P)/2."""
    if independence is None:
        by_independence = 1.0
    elif independence >= 40:
        by_independence = _row(STOP_INDEPENDENCE, independence)
    else:
        by_independence = 1.2 if against_btc else 1.1
    by_liquidity = 1.0 if liquidity is None else _row(STOP_LIQUIDITY, liquidity)
    return _row(STOP_SIGNAL, signal), _row(STOP_TREND, abs(trend)), by_liquidity, by_independence


def target_factors(signal: float, trend: float, regime: str, oi: float) -> tuple[float, float, float]:
    """The three target multipliers of table 1.4; *regime* is a label like ``up_up``, *oi* the factor O."""
    if (regime == "up_up" and oi > 70) or (regime == "dn_up" and oi < -70):
        by_regime = 1.25
    else:
        by_regime = 0.8 if regime in ("up_dn", "dn_dn") else 1.0
    return _row(TARGET_SIGNAL, signal), _row(TARGET_TREND, abs(trend)), by_regime


def stop_multiple(factors: Sequence[float]) -> float:
    """M_sl = clip(1.8 · product, 1.2, 3.0), in ATR 1h."""
    return float(np.clip(1.8 * np.prod(factors), 1.2, 3.0))


def target_multiple(factors: Sequence[float]) -> float:
    """M_tp = clip(2.5 · product, 1.5, 4.5), in ATR 1h."""
    return float(np.clip(2.5 * np.prod(factors), 1.5, 4.5))


def soft_min(p: float, q: float, t: float) -> float:
    """−t·ln(e^(−p/t) + e^(−q/t)), the smaller taken out first so that nothing overflows (domain 6.2)."""
    return min(p, q) - t * float(np.log1p(np.exp(-abs(p - q) / t)))


class Levels(NamedTuple):
    """First levels of a position: distances from entry, prices, and why there is no entry ("" when there is one)."""

    distance: float
    target_distance: float
    stop: float
    target: float
    last_target: float
    refused: str


def first_levels(
    *,
    side: int,
    entry: float,
    stop_multiple: float,
    target_multiple: float,
    atr5: float,
    atr1h: float,
    tick: float,
    spread: float,
    swing: float | None = None,
    liquidation_distance: float | None = None,
    basis: float = 0.0,
) -> Levels:
    """
    Stop and targets before rounding and before walls (domain 6.2).

    *swing* is the swing low of a long, the swing high of a short; *liquidation_distance* in quote units from entry
    (None: no such bound); *basis* in bps, "against" a side when its sign is the side's. Bounds come last.
    """
    distance = stop_multiple * atr1h
    if swing is not None:
        distance = soft_min(distance, side * (entry - swing) + 0.25 * atr5, 0.1 * atr1h)
    lower = max(0.6 * atr1h, 0.0035 * entry, 8 * tick, 3 * spread)
    upper = min(0.06 * entry, np.inf if liquidation_distance is None else 0.56 * liquidation_distance)
    distance = min(max(distance, lower), upper)
    target = target_multiple * atr1h * (0.9 if side * basis > 50 else 1.0)
    refused = "bounds cross" if lower > upper else "target too near" if target < 1.2 * distance else ""
    return Levels(
        distance=distance,
        target_distance=target,
        stop=entry - side * distance,
        target=entry + side * target,
        last_target=entry + side * 1.5 * target,
        refused=refused,
    )


def liquidation_price(price: float, leverage: float, maintenance: float, side: int) -> float:
    """Estimated liquidation: long p(1 − 1/t)/(1 − m), short p(1 + 1/t)/(1 + m) (domain 6.6)."""
    return price * (1 - side / leverage) / (1 - side * maintenance)


class Mark(NamedTuple):
    """One mark price with what the stop looks at then: mid, spread and both ATRs, in quote units; time in ms."""

    time_ms: int
    mark: float
    mid: float
    spread: float
    atr5: float
    atr1h: float


class Step(NamedTuple):
    """Where the stop stands after a mark (in ticks), what each candidate wanted, and why it stayed ("" when moved)."""

    stop_ticks: int
    breakeven: float | None
    chandelier: float | None
    kept_because: str


# Chandelier: MFE in R from → ATR 1h multiples (domain 6.4); inactive below the last row.
CHANDELIER = ((4.0, 1.0), (2.5, 1.5), (1.5, 2.0))
MOVES_PER_MINUTE = 6
BETWEEN_MOVES_MS = 5_000
# Prices on the grid meet limits exactly; what rounding leaves of "exactly" is far below this part of an R or a tick.
EXACT = 1e-6


def breakeven(side: int, entry: float, fee_rate: float, tick: float) -> float:
    """S_be = e + round-trip fees + 2 ticks (domain 6.4); the round trip is two takes at the entry's price."""
    return entry + side * (2 * fee_rate * entry + 2 * tick)


def chandelier(side: int, best: float, excursion: float, atr1h: float) -> float | None:
    """S_ch = HH − k·A by MFE (in R): 2.0 from 1.5, 1.5 from 2.5, 1.0 from 4 (domain 6.4)."""
    for least, multiple in CHANDELIER:
        if excursion >= least - EXACT:
            return best - side * multiple * atr1h
    return None


def ticks_away(side: int, price: float, tick: float) -> int:
    """Round a stop to the tick away from price: down for a long, up for a short; a millionth of a tick is rounding."""
    exact = price / tick
    return int(np.floor(exact + EXACT)) if side > 0 else int(np.ceil(exact - EXACT))


def ratchet(
    marks: Sequence[Mark],
    *,
    side: int,
    entry: float,
    initial_stop: float,
    tick: float,
    fee_rate: float,
    first_target_filled_ms: int | None = None,
) -> list[Step]:
    """
    The stop after each mark from S0, S_be and S_ch by rules 1–5 of domain 6.4; e, R and S0 are frozen.

    S0 is rounded away from price first, and R measured from it as given. A target filled at a mark's time counts for
    that mark. The first placement is no change: the first move needs no 5 s. At most 6 moves in any (t − 60 s, t].
    The limit of 30 moves a minute an account is not here: it needs the other positions.
    """
    risk = abs(entry - initial_stop)
    stop = ticks_away(side, initial_stop, tick)
    best, moves, out = -np.inf * side, list[int](), list[Step]()
    for now in marks:
        best = max(best, now.mark) if side > 0 else min(best, now.mark)
        excursion = side * (best - entry) / risk
        filled = first_target_filled_ms is not None and now.time_ms >= first_target_filled_ms
        even = breakeven(side, entry, fee_rate, tick) if filled or excursion >= 1.0 - EXACT else None
        trail = chandelier(side, best, excursion, now.atr1h)
        # Everything below is in "higher is tighter" terms of a long; a short is mirrored by the sign.
        current = side * stop * tick
        wanted = max([side * price for price in (even, trail) if price is not None], default=-np.inf)
        nearest = min(side * now.mark, side * now.mid) - max(0.5 * now.atr5, 5 * tick, 2 * now.spread)
        clamped = min(wanted, nearest)
        gain = clamped - current
        recent = [moved for moved in moves if moved > now.time_ms - 60_000]
        if wanted <= current + EXACT * tick:
            why = "no tighter candidate"
        elif gain <= EXACT * tick:
            why = "clamped"
        elif gain < max(0.15 * risk, 0.25 * now.atr5, 4 * tick) - EXACT * tick:
            why = "gain too small"
        elif moves and now.time_ms - moves[-1] < BETWEEN_MOVES_MS:
            why = "too soon"
        elif len(recent) >= MOVES_PER_MINUTE:
            why = "too many"
        else:
            why = ""
            stop = ticks_away(side, side * clamped, tick)
            moves.append(now.time_ms)
        out.append(Step(stop, even, trail, why))
    return out
