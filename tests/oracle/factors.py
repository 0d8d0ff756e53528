"""The only place for the oracle's factors that are told from a symbol's own bars: T M S V C O F, and E.

Domain section 4, from whole arrays. Each factor comes as :class:`Factor`: NaN where there is no value, quality 0 where
it is not ready. Quality here is what the bars define (samples, floors); ages of inputs are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.oracle.machinery import (
    Array,
    Bars,
    Mask,
    atr,
    atr_hour,
    efficiency_ratio,
    ema,
    empty,
    ew,
    ew_z,
    line_through,
    padded,
    ready_after,
    rolling_max,
    rolling_min,
    rolling_ols,
    rolling_sum,
    shifted,
    windows,
)

WEIGHTS = {"T": 25, "M": 15, "S": 10, "V": 15, "C": 20, "O": 20, "B": 15, "Q": 10}
QUALITY_WEIGHTS = {"L": 20, "I": 10}
DIRECTIONAL_WEIGHT = 130


class Factor(NamedTuple):
    """One factor over all bars; *detail* holds the named values its definition speaks of."""

    value: Array
    ready: Mask
    quality: Array
    detail: dict[str, Array]


def after(bars: int, size: int) -> Mask:
    """Bars that have *bars* bars behind them, themselves among them."""
    return np.arange(size) >= bars - 1


def factor_of(value: Array, ready: Mask, quality: Array | float = 1.0, **detail: Array) -> Factor:
    """A factor that is usable where it is ready and has a value; elsewhere its quality is 0."""
    usable = np.asarray(ready & ~np.isnan(value))
    return Factor(value, usable, np.where(usable, quality, 0.0), detail)


# --- T: trend (4.1) -------------------------------------------------------------------------------------------------


def trend_score(u: Array, g: Array, ratio: Array) -> Array:
    """T from slope u, average distance g (both in ATR) and efficiency ratio (domain 4.1)."""
    return np.asarray((60 * np.tanh(u / 0.30) + 40 * np.tanh(g / 3.0)) * (0.5 + 0.5 * np.minimum(1.0, ratio / 0.40)))


def trend(bars: Bars) -> Factor:
    """
    T (domain 4.1): detail u, g, er, label (1 up, −1 down, 0 flat); ready after 120 bars.

    Where the ATR stands at its floor, T = 0 with quality 0.5.
    """
    a = atr(bars)
    u = rolling_ols(bars.close, 24).slope / a.value
    g = (ema(bars.close, 20) - ema(bars.close, 60)) / a.value
    ratio = efficiency_ratio(bars.close)
    value = np.where(a.floored, 0.0, trend_score(u, g, ratio))
    label = np.where((u > 0.15) & (g > 0), 1.0, np.where((u < -0.15) & (g < 0), -1.0, 0.0))
    return factor_of(value, after(120, len(bars)), np.where(a.floored, 0.5, 1.0), u=u, g=g, er=ratio, label=label)


# --- M: momentum (4.2) ----------------------------------------------------------------------------------------------


def momentum_score(v1: Array, v0: Array) -> Array:
    """M from the speeds of the last six bars and of the six before (domain 4.2)."""
    return np.asarray(60 * np.tanh(v1 / 0.34) + 40 * np.tanh((v1 - v0) / 0.33))


def momentum(bars: Bars) -> Factor:
    """M (domain 4.2): detail v1, v0, both in the current ATR; ready after 40 bars; ATR at floor → 0, quality 0.5."""
    a = atr(bars)
    average = ema(bars.close, 12)
    v1 = (average - shifted(average, 6)) / (6 * a.value)
    v0 = (shifted(average, 6) - shifted(average, 12)) / (6 * a.value)
    value = np.where(a.floored, 0.0, momentum_score(v1, v0))
    return factor_of(value, after(40, len(bars)), np.where(a.floored, 0.5, 1.0), v1=v1, v0=v0)


# --- S: structure (4.3) ---------------------------------------------------------------------------------------------


class Pivot(NamedTuple):
    """A swing: side 1 for a high, −1 for a low; *bar* is where it stood, *confirmed* the bar that made it known."""

    side: int
    price: float
    bar: int
    confirmed: int


def pivots(bars: Bars) -> list[Pivot]:
    """
    Streaming zigzag (domain 4.3): an extreme is confirmed when price comes back 3·a from it, with a of that bar.

    It begins on the first bar with an ATR and looks for both sides until one is confirmed. A bar first extends the
    running extreme, then may confirm it (exactly 3·a is enough); at most one pivot a bar; afterwards the other side
    runs from that bar. Should the first bar to confirm anything confirm both, the older extreme counts, and on a tie
    the bar's body decides.
    """
    a = atr(bars).value
    found: list[Pivot] = []
    looking = 0  # 1: for a high, −1: for a low, 0: for either
    top, bottom = (-np.inf, 0), (np.inf, 0)
    for i in range(len(bars)):
        if np.isnan(a[i]):
            continue
        # At its floor 3·a is six ticks, which rounding must not turn into a little more.
        retrace = 3 * float(a[i]) - 1e-6 * bars.tick
        high, low = float(bars.high[i]), float(bars.low[i])
        if looking >= 0 and high > top[0]:
            top = (high, i)
        if looking <= 0 and low < bottom[0]:
            bottom = (low, i)
        tops = looking >= 0 and top[0] - low >= retrace
        bottoms = looking <= 0 and high - bottom[0] >= retrace
        if tops and bottoms:
            tops = top[1] < bottom[1] or (top[1] == bottom[1] and bars.close[i] <= bars.open[i])
            bottoms = not tops
        if tops:
            found.append(Pivot(1, top[0], top[1], i))
            looking, bottom = -1, (low, i)
        elif bottoms:
            found.append(Pivot(-1, bottom[0], bottom[1], i))
            looking, top = 1, (high, i)
    return found


class Swings(NamedTuple):
    """The last two swing highs and lows known at each bar (2 is the newer)."""

    h1: Array
    h2: Array
    l1: Array
    l2: Array


def swings(bars: Bars) -> Swings:
    """Spread the pivots over the bars, each from its confirm bar on: nothing is repainted (domain 4.3)."""
    out = Swings(*(empty(len(bars)) for _ in range(4)))
    known = {1: (np.nan, np.nan), -1: (np.nan, np.nan)}
    confirmed = {pivot.confirmed: pivot for pivot in pivots(bars)}
    for i in range(len(bars)):
        if i in confirmed:
            pivot = confirmed[i]
            known[pivot.side] = (known[pivot.side][1], pivot.price)
        (out.h1[i], out.h2[i]), (out.l1[i], out.l2[i]) = known[1], known[-1]
    return out


def structure_score(sequence: Array, breaks: Array) -> Array:
    """S from the sequence of swings and the break beyond the last (domain 4.3)."""
    return 50 * sequence + 50 * breaks


def structure(bars: Bars) -> Factor:
    """
    S (domain 4.3): ready with two highs and two lows.

    Detail: seq, brk, swing_high, swing_low, high_288 and low_288 (this bar among them), room_long and room_short (in
    ATR 1h, to the nearest of swing and 288-bar extreme that lies ahead; infinite when none does).
    """
    a, hour = atr(bars).value, atr_hour(bars).value
    swing = swings(bars)
    sequence = 0.5 * np.sign(swing.h2 - swing.h1) + 0.5 * np.sign(swing.l2 - swing.l1)
    breaks = np.clip((bars.close - swing.h2) / (0.5 * a), 0, 1) - np.clip((swing.l2 - bars.close) / (0.5 * a), 0, 1)
    top, bottom = rolling_max(bars.high, 288), rolling_min(bars.low, 288)
    return factor_of(
        structure_score(sequence, breaks),
        np.full(len(bars), True),
        seq=sequence,
        brk=breaks,
        swing_high=swing.h2,
        swing_low=swing.l2,
        high_288=top,
        low_288=bottom,
        room_long=_nearest(swing.h2 - bars.close, top - bars.close) / hour,
        room_short=_nearest(bars.close - swing.l2, bars.close - bottom) / hour,
    )


def _nearest(*distances: Array) -> Array:
    ahead = np.stack([np.where(distance > 0, distance, np.inf) for distance in distances])
    return np.asarray(ahead.min(axis=0))


# --- V: volume and trigger (4.4) ------------------------------------------------------------------------------------


def trigger_score(body: Array, relative: Array, breakout: npt.ArrayLike) -> Array:
    """Trigger strength ts: 0 unless abs(body) ≥ 0.6 and relative volume ≥ 1.5 (domain 4.4)."""
    size = np.abs(body)
    strength = size / 0.8 * np.minimum(1.5, relative / 2) / 1.5 * np.where(breakout, 1.3, 1.0)
    return np.where((size >= 0.6) & (relative >= 1.5), np.minimum(1.0, strength), 0.0)


def volume_score(z: Array, body: Array, ts: Array) -> Array:
    """V from volume z, body and trigger (domain 4.4)."""
    return 60 * np.tanh(np.maximum(0.0, z) / 2) * body + 40 * ts * np.sign(body)


def volume(bars: Bars) -> Factor:
    """
    V (domain 4.4): z of ln(q+1) over n = 288, ready with the z (96 bars), quality samples/288; no slot of day.

    A breakout is a close at least 0.25·a beyond the last swing high (body up) or swing low (body down). When the 20
    bars before had no volume at all there is no trigger. Detail: z, body, rv, breakout, ts.
    """
    scored = ew_z(np.log(bars.quote + 1), 288, 0.15)
    # In whole ticks, so that a body of 3 in 5 is 0.6 exactly and triggers.
    body = np.round((bars.close - bars.open) / bars.tick) / np.maximum(np.round((bars.high - bars.low) / bars.tick), 1)
    prior = shifted(rolling_sum(bars.quote, 20) / 20, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(prior > 0, bars.quote / prior, np.where(np.isnan(prior), np.nan, 0.0))
    a, swing = atr(bars).value, swings(bars)
    above, below = bars.close >= swing.h2 + 0.25 * a, bars.close <= swing.l2 - 0.25 * a
    breakout = np.where(body > 0, above, below)
    ts = trigger_score(body, relative, breakout)
    value = np.where(bars.quote == 0, 0.0, volume_score(scored.z, body, ts))
    return factor_of(
        value, scored.ready, scored.quality, z=scored.z, body=body, rv=relative, breakout=breakout.astype(float), ts=ts
    )


# --- C: cumulative volume delta (4.5) -------------------------------------------------------------------------------


def price_move(bars: Bars) -> Array:
    """x_p = (c − c₋₁₂)/(0.68·a·sqrt(12)) (domain 4.6)."""
    return np.asarray((bars.close - shifted(bars.close, 12)) / (0.68 * atr(bars).value * np.sqrt(12)))


def delta_score(z: Array, r_squared: Array) -> Array:
    """C before absorption (domain 4.5)."""
    return 100 * np.tanh(z / 2) * (0.7 + 0.3 * np.minimum(1.0, r_squared / 0.7))


def volume_delta(bars: Bars) -> Factor:
    """
    C (domain 4.5): detail d, z, r2, absorption; ready with the z: 96 values of D, the first of them at bar 11.

    R² is of the 12 running sums of delta inside the window. Twelve bars without volume: C = 0 with quality 0, and D,
    which does not exist then, does not enter its statistics.
    """
    delta = 2 * bars.taker_quote - bars.quote
    total = rolling_sum(bars.quote, 12)
    with np.errstate(invalid="ignore", divide="ignore"):
        d = np.where(total > 0, rolling_sum(delta, 12) / total, np.nan)
    scored = ew_z(d, 288, 0.01)
    r_squared = padded(line_through(np.cumsum(windows(delta, 12), axis=1)).r_squared, 12)
    x_p = price_move(bars)
    absorbed = (np.sign(d) != np.sign(x_p)) & (np.abs(scored.z) > 1) & (np.abs(x_p) > 1)
    value = delta_score(scored.z, r_squared) * np.where(absorbed, 0.7, 1.0)
    silent = total == 0
    return Factor(
        np.where(silent, 0.0, value),
        scored.ready,
        scored.quality,
        {"d": d, "z": scored.z, "r2": r_squared, "absorption": absorbed.astype(float)},
    )


# --- O: open interest (4.6) -----------------------------------------------------------------------------------------


def confirmed_polls(contracts: Array) -> Array:
    """
    Open interest as believed after each poll: a jump of more than 30 % is held back until the next poll (domain 4.6).

    The next poll confirms it when it lies within 30 % of the jump; else it is judged against the last believed value.
    """
    out = empty(len(contracts))
    believed, held = np.nan, np.nan
    for i, poll in enumerate(contracts.tolist()):
        if np.isnan(believed) or abs(poll / believed - 1) <= 0.30 or abs(poll / held - 1) <= 0.30:
            believed, held = poll, np.nan
        else:
            held = poll
        out[i] = believed
    return out


REGIMES = ("flat", "up_up", "up_dn", "dn_up", "dn_dn")
BAND = 0.25


def open_interest_score(x_p: Array, x_o: Array) -> Array:
    """O before crowding (domain 4.6)."""
    return 100 * np.tanh(x_p / 2) * (0.3 + 0.7 * np.maximum(0.0, np.tanh(x_o / 2)))


def regime(x_p: Array, x_o: Array) -> Array:
    """Number of the label in REGIMES: price first, open interest second, dead band 0.25 on both (domain 4.6)."""
    up, down = x_p > BAND, x_p < -BAND
    more, less = x_o > BAND, x_o < -BAND
    return np.select([up & more, up & less, down & more, down & less], [1.0, 2.0, 3.0, 4.0], 0.0)


def open_interest(bars: Bars, contracts: Array) -> Factor:
    """
    O (domain 4.6) from the open interest in contracts at each bar's close (NaN: missing); ready as a z of n = 288.

    The deviation of OI/OI₋₁₂ − 1 is the EW standard deviation before this bar, floor 0.002; x_o is not clipped. The
    7-day average is the EW mean of n = 2016 before this bar. Detail: x_p, x_o, crowded (1 above 1.3×, 2 above 1.5×,
    which blocks entries), regime (number in REGIMES).
    """
    growth = contracts / shifted(contracts, 12) - 1
    past = ew(growth, 288)
    x_o = growth / np.maximum(np.sqrt(past.variance_before), 0.002)
    x_p = price_move(bars)
    week = ew(contracts, 2016).mean_before
    crowded = np.where(contracts > 1.5 * week, 2.0, np.where(contracts > 1.3 * week, 1.0, 0.0))
    value = open_interest_score(x_p, x_o) * np.where(crowded > 0, 0.85, 1.0)
    return factor_of(
        value,
        past.samples >= ready_after(288),
        np.minimum(1.0, past.samples / 288),
        x_p=x_p,
        x_o=x_o,
        crowded=crowded,
        regime=regime(x_p, x_o),
    )


# --- F: fund leading (4.11) -----------------------------------------------------------------------------------------


def fund_score(z_c: Array, x_o: Array, x_p: Array) -> Array:
    """F = 100·tanh(money − price) (domain 4.11)."""
    money = 0.6 * np.tanh(z_c / 2) + 0.4 * np.tanh(np.maximum(0.0, x_o) / 2) * np.tanh(z_c / 0.5)
    return 100 * np.tanh(money - np.tanh(x_p / 2))


def fund_leading(delta: Factor, interest: Factor) -> Factor:
    """F (domain 4.11) from the factors C and O; ready when both are."""
    x_o, x_p = interest.detail["x_o"], interest.detail["x_p"]
    return factor_of(fund_score(delta.detail["z"], x_o, x_p), delta.ready & interest.ready)


def fund_multiplier(fund: Array, ready: npt.ArrayLike, side: int) -> tuple[Array, Mask]:
    """Return (mult, vetoed) for a side: 0.85..1.15, 0.60 with no entry below −70, 1 where F is not ready."""
    aligned = side * fund
    vetoed = np.asarray(ready) & (aligned < -70)
    mult = np.where(vetoed, 0.60, 1 + 0.15 * np.tanh(aligned / 40))
    return np.where(np.asarray(ready), mult, 1.0), np.asarray(vetoed)


# --- the composite (4.12) -------------------------------------------------------------------------------------------


class Composite(NamedTuple):
    """E of the domain with its parts; NaN where no directional factor has quality."""

    coverage: Array
    direction: Array
    adjustment: Array
    e: Array
    p_up: Array


def composite(factors: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]) -> Composite:
    """E, P_up, coverage and adj (domain 4.12) from letter → (value, quality); a missing letter has quality 0."""

    def told(letter: str) -> tuple[Array, Array]:
        value, quality = factors.get(letter, (0.0, 0.0))
        weight = np.asarray(quality, dtype=np.float64)
        return np.where(weight > 0, np.asarray(value, dtype=np.float64), 0.0), weight

    total, weighted = np.float64(0) + np.zeros(()), np.zeros(())
    for letter, weight in WEIGHTS.items():
        value, quality = told(letter)
        total = total + weight * quality
        weighted = weighted + weight * quality * value
    with np.errstate(invalid="ignore", divide="ignore"):
        direction = np.where(total > 0, weighted / total, np.nan)
    above, below = np.zeros(()), np.zeros(())
    for letter, weight in QUALITY_WEIGHTS.items():
        value, quality = told(letter)
        above = above + weight * quality * (2 * value - 100)
        below = below + weight * quality
    with np.errstate(invalid="ignore", divide="ignore"):
        adjustment = np.where(below > 0, above / below / 100, 0.0)
    e = direction * (1 + 0.15 * adjustment)
    return Composite(total / DIRECTIONAL_WEIGHT, direction, adjustment, e, probability_up(e))


def probability_up(e: npt.ArrayLike) -> Array:
    """P_up = 1/(1+exp(−3E/100)) (domain 4.12)."""
    return np.asarray(1 / (1 + np.exp(-3 * np.asarray(e, dtype=np.float64) / 100)))


def probability(e: npt.ArrayLike, side: int, mult: npt.ArrayLike = 1.0) -> Array:
    """P for a side: P_up or 1 − P_up, then logit P += 1.5·ln(mult) (domain 4.12)."""
    p_up = probability_up(e)
    p = p_up if side > 0 else 1 - p_up
    logit = np.log(p / (1 - p)) + 1.5 * np.log(mult)
    return np.asarray(1 / (1 + np.exp(-logit)))


def strength(p: npt.ArrayLike, side: int, delta: npt.ArrayLike, volume_: npt.ArrayLike, oi: npt.ArrayLike) -> Array:
    """Signal strength 0..100 of a side from P, C, V and O (domain 5)."""
    ahead = [np.maximum(0.0, side * np.asarray(value)) for value in (delta, volume_, oi)]
    return np.asarray(40 * np.clip((np.asarray(p) - 0.60) / 0.15, 0, 1) + 20 * sum(ahead) / 100)
