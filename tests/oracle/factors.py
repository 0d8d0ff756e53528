"""The only place for the oracle's factors that are told per closed bar: T M S V C O B Q I F, and the composite.

Domain section 4, from whole arrays. Each factor comes as :class:`Factor`: NaN where there is no value, quality 0 where
it is not ready. Quality here is what the bars define (samples, floors); ages of inputs are the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.oracle.machinery import (
    BAR_MS,
    Array,
    Bars,
    Integers,
    Mask,
    atr,
    atr_hour,
    efficiency_ratio,
    ema,
    empty,
    ew,
    ew_irregular,
    ew_z,
    line_through,
    padded,
    ready_after,
    rolling_max,
    rolling_min,
    rolling_ols,
    rolling_sum,
    sampled,
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


def _after(bars: int, size: int) -> Mask:
    """Bars that have *bars* bars behind them, themselves among them."""
    return np.arange(size) >= bars - 1


def _factor(value: Array, ready: Mask, quality: Array | float = 1.0, **detail: Array) -> Factor:
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
    return _factor(value, _after(120, len(bars)), np.where(a.floored, 0.5, 1.0), u=u, g=g, er=ratio, label=label)


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
    return _factor(value, _after(40, len(bars)), np.where(a.floored, 0.5, 1.0), v1=v1, v0=v0)


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
    return _factor(
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
    return _factor(
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
    return _factor(
        value,
        past.samples >= ready_after(288),
        np.minimum(1.0, past.samples / 288),
        x_p=x_p,
        x_o=x_o,
        crowded=crowded,
        regime=regime(x_p, x_o),
    )


# --- B: basis and funding (4.8) -------------------------------------------------------------------------------------


def basis_bps(mid: Array, index: Array) -> Array:
    """1e4·(mid/index − 1) (domain 4.8)."""
    return 1e4 * (mid / index - 1)


def basis_at_bars(times_ms: Integers, mid: Array, index: Array, bars: Bars) -> Array:
    """Basis smoothed with tau 60 s over irregular times, the last value at or before each bar's end (domain 4.8)."""
    return sampled(times_ms, ew_irregular(times_ms, basis_bps(mid, index), 60.0), bars.open_ms + BAR_MS)


def eight_hour_rate(rate: Array, interval_hours: npt.ArrayLike) -> Array:
    """f8 = r·8/interval (domain 4.8)."""
    return np.asarray(rate * 8 / np.asarray(interval_hours))


def deviation_of_prints(times_ms: Integers, rates: Array, at_ms: Integers) -> Array:
    """Population deviation of the last 30 funding prints (as f8) at or before each time; 0 with fewer than two."""
    known = np.searchsorted(times_ms, at_ms, side="right")
    return np.array([rates[max(0, k - 30) : k].std() if k > 1 else 0.0 for k in known], dtype=np.float64)


def basis_score(z: Array, f8: Array, deviation: Array, sign: int = -1) -> tuple[Array, Array]:
    """Return (x, B) from basis z, 8 h rate and the deviation of the prints (domain 4.8)."""
    x = 0.6 * z + 0.4 * (f8 - 0.0001) / np.maximum(deviation, 0.0001)
    shrunk = np.sign(x) * np.maximum(0.0, np.abs(x) - 0.5)
    return x, sign * 100 * np.tanh(shrunk / 2)


def basis_and_funding(
    basis: Array, rate: Array, deviation: Array, *, interval_hours: float | None = 8.0, sign: int = -1
) -> Factor:
    """
    B (domain 4.8) from the basis in bps and the running funding rate at each bar; ready as a z of n = 864 (288 bars).

    An unknown interval counts as 8 h and multiplies quality by 0.7. Without the optional window term. Detail: z, f8,
    x, carry_extreme (abs basis > 100 bps or abs f8 > 0.2 %).
    """
    f8 = eight_hour_rate(rate, interval_hours or 8.0)
    scored = ew_z(basis, 864, 2.0)
    x, value = basis_score(scored.z, f8, deviation, sign)
    extreme = (np.abs(basis) > 100) | (np.abs(f8) > 0.002)
    quality = scored.quality * (1.0 if interval_hours else 0.7)
    return _factor(value, scored.ready, quality, z=scored.z, f8=f8, x=x, carry_extreme=extreme.astype(float))


def funding_window(minutes: Array, f8: Array, price_30m: Array, interest_30m: Array) -> Array:
    """Optional term of B within 30 minutes of funding: only where f8, dP30m and dOI30m share a sign (domain 4.8)."""
    shared = (np.sign(f8) == np.sign(price_30m)) & (np.sign(f8) == np.sign(interest_30m)) & (np.abs(minutes) <= 30)
    return np.where(shared, -20 * np.exp(-((minutes / 10) ** 2)) * np.sign(f8), 0.0)


# --- Q: liquidations (4.9) ------------------------------------------------------------------------------------------


class Liquidations(NamedTuple):
    """Liquidations of one symbol in order of time: side −1 for a liquidated long (venue side SELL), 1 for a short."""

    time_ms: Integers
    side: Integers
    notional: Array


def liquidations(
    time_ms: Integers, sold: Mask, *, average: Array, filled: Array, price: Array, quantity: Array
) -> Liquidations:
    """
    Events of one symbol as venue fields T, S, ap, z, p, q: once per (T, side, q), notional ap·z (domain 4.9).

    p·q stands in where ap·z is 0 or missing.
    """
    seen: set[tuple[int, bool, float]] = set()
    kept = []
    for i in range(len(time_ms)):
        key = (int(time_ms[i]), bool(sold[i]), float(quantity[i]))
        if key not in seen:
            seen.add(key)
            kept.append(i)
    done = average * filled
    notional = np.where(done > 0, done, price * quantity)
    return Liquidations(time_ms[kept], np.where(sold[kept], -1, 1).astype(np.int64), notional[kept])


def decayed_sum(time_ms: Integers, amounts: Array, at_ms: Integers, tau_s: float = 300.0) -> Array:
    """Sum of amounts·exp(−age/tau) over the events at or before each time (domain 4.9); *at_ms* ascending."""
    out = np.zeros(len(at_ms))
    value, now, k = 0.0, int(at_ms[0]) if len(at_ms) else 0, 0
    for i, at in enumerate(at_ms.tolist()):
        value *= float(np.exp(-(at - now) / 1000.0 / tau_s))
        while k < len(time_ms) and time_ms[k] <= at:
            value += float(amounts[k] * np.exp(-(at - time_ms[k]) / 1000.0 / tau_s))
            k += 1
        out[i], now = value, at
    return out


def liquidation_lean(longs: Array, shorts: Array, scale: Array) -> Array:
    """LTI = (LS − LL)/(LS + LL + K) (domain 4.9)."""
    return (shorts - longs) / (shorts + longs + scale)


def liquidation_score(lean: Array, intensity: Array) -> Array:
    """Q from LTI and zI (domain 4.9)."""
    return 100 * lean * np.tanh(np.maximum(0.0, intensity) / 2)


def liquidation_pressure(
    bars: Bars, events: Liquidations, *, intensity: Literal["totals", "decayed"] = "totals"
) -> Factor:
    """
    Q (domain 4.9) at each bar's end (open + 300,000 ms), from the events with open ≤ T < end.

    zI: EW z (n = 288, floor 0.5) of the logarithm of the bar's total ("totals"), or of the decayed sums at its end
    ("decayed"); bars without an event have 0 and do not enter, nor has the first bar with one a past to differ from.
    K = max(50,000, 0.25 × the EW mean of n = 288 bar totals before this bar, empty bars counted). Ready after 12 bars
    ("after 1 h"), quality bars/288. Detail: ll, ls, k, lti, zi, cascade (−1 down, 1 up, 0 none).
    """
    end = bars.open_ms + BAR_MS
    # An event of exactly the bar's end belongs to the next bar.
    longs = decayed_sum(events.time_ms, np.where(events.side < 0, events.notional, 0.0), end - 1) * np.exp(-0.001 / 300)
    shorts = decayed_sum(events.time_ms, np.where(events.side > 0, events.notional, 0.0), end - 1) * np.exp(
        -0.001 / 300
    )
    totals = np.zeros(len(bars))
    place = np.searchsorted(bars.open_ms, events.time_ms, side="right") - 1
    inside = (place >= 0) & (events.time_ms < end[-1])
    np.add.at(totals, place[inside], events.notional[inside])
    measured = totals if intensity == "totals" else longs + shorts
    with np.errstate(divide="ignore"):
        z = ew_z(np.where(totals > 0, np.log(measured), np.nan), 288, 0.5).z
    zi = np.nan_to_num(z, nan=0.0)
    usual = ew(totals, 288).mean_before
    scale = np.maximum(50_000.0, np.nan_to_num(0.25 * usual, nan=0.0))
    lean = liquidation_lean(longs, shorts, scale)
    cascade = np.where((lean < -0.6) & (zi > 3), -1.0, np.where((lean > 0.6) & (zi > 3), 1.0, 0.0))
    count = np.arange(1, len(bars) + 1)
    return _factor(
        liquidation_score(lean, zi),
        _after(12, len(bars)),
        np.minimum(1.0, count / 288),
        ll=longs,
        ls=shorts,
        k=scale,
        lti=lean,
        zi=zi,
        cascade=cascade,
    )


# --- I: independence (4.10) -----------------------------------------------------------------------------------------


def independence(
    close: Array, btc: Array, eth: Array | None = None, *, r_squared: Literal["residual", "explained"] = "residual"
) -> Factor:
    """
    I (domain 4.10) from closes on the same open times (NaN: no bar there); *eth* None → regression on BTC only.

    EW covariances n = 288 after this bar's returns; only bars where all returns exist enter. Two regressors: ridge
    1e−3·trace on the diagonal; one: no ridge. R² is 1 − residual variance/variance ("residual"; they differ only by
    the ridge) or β·cov/variance ("explained"), within 0..1. Omitted below 100 aligned returns or with a zero variance.
    Detail: r2, beta_btc, beta_eth.
    """
    series = [close, btc] if eth is None else [close, btc, eth]
    returns = [np.log(values / shifted(values, 1)) for values in series]
    together = ~np.isnan(np.sum(returns, axis=0))
    covariance = _covariances([np.where(together, values, np.nan) for values in returns], 288)
    enough = together & (np.cumsum(together) >= 100)
    syy, sxx, sxy = covariance[0, 0], covariance[1, 1], covariance[0, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        if eth is None:
            beta_btc, beta_eth = sxy / sxx, np.zeros(len(close))
            fitted = beta_btc * sxx * beta_btc
            product = beta_btc * sxy
            moving = (syy > 0) & (sxx > 0)
        else:
            szz, sxz, szy = covariance[2, 2], covariance[1, 2], covariance[0, 2]
            ridge = 1e-3 * (sxx + szz)
            determinant = (sxx + ridge) * (szz + ridge) - sxz**2
            beta_btc = ((szz + ridge) * sxy - sxz * szy) / determinant
            beta_eth = ((sxx + ridge) * szy - sxz * sxy) / determinant
            fitted = beta_btc**2 * sxx + 2 * beta_btc * beta_eth * sxz + beta_eth**2 * szz
            product = beta_btc * sxy + beta_eth * szy
            moving = (syy > 0) & (sxx > 0) & (szz > 0)
        explained = 2 * product - fitted if r_squared == "residual" else product
        r2 = np.clip(explained / syy, 0.0, 1.0)
    return _factor(100 * (1 - r2), enough & moving, r2=r2, beta_btc=beta_btc, beta_eth=beta_eth)


def _covariances(series: list[Array], n: int) -> Array:
    """EW covariance matrix after each bar: S_xy = (1−a)(S_xy + a·dx·dy), the variance's rule for two series."""
    alpha = 2.0 / (n + 1)
    size = len(series[0])
    values = np.stack(series)
    out = np.full((len(series), len(series), size), np.nan)
    mean: Array | None = None
    current = np.zeros((len(series), len(series)))
    for i in range(size):
        now = values[:, i]
        if not np.isnan(now[0]):
            if mean is None:
                mean = now.copy()
            else:
                d = now - mean
                mean = mean + alpha * d
                current = (1 - alpha) * (current + alpha * np.outer(d, d))
        if mean is not None:
            out[:, :, i] = current
    return out


# --- F: fund leading (4.11) -----------------------------------------------------------------------------------------


def fund_score(z_c: Array, x_o: Array, x_p: Array) -> Array:
    """F = 100·tanh(money − price) (domain 4.11)."""
    money = 0.6 * np.tanh(z_c / 2) + 0.4 * np.tanh(np.maximum(0.0, x_o) / 2) * np.tanh(z_c / 0.5)
    return 100 * np.tanh(money - np.tanh(x_p / 2))


def fund_leading(delta: Factor, interest: Factor) -> Factor:
    """F (domain 4.11) from the factors C and O; ready when both are."""
    x_o, x_p = interest.detail["x_o"], interest.detail["x_p"]
    return _factor(fund_score(delta.detail["z"], x_o, x_p), delta.ready & interest.ready)


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
