"""The only place for the oracle's factors that look beyond a symbol's own bars: B (index, funding), Q (forced), I.

Domain sections 4.8 to 4.10, from whole arrays; :class:`~tests.oracle.factors.Factor` per closed bar.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.oracle.factors import Factor, after, factor_of
from tests.oracle.machinery import (
    BAR_MS,
    Array,
    Bars,
    Integers,
    Mask,
    ew,
    ew_irregular,
    ew_z,
    sampled,
    shifted,
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
    return factor_of(value, scored.ready, quality, z=scored.z, f8=f8, x=x, carry_extreme=extreme.astype(float))


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


def exhausted(events: Liquidations, at_ms: Integers, price: Array, extreme: Array, atr5: Array) -> Mask:
    """
    Where a cascade is spent (domain 4.9): less than 30 % of the 10-minute peak left, price at least 0.5·a off extreme.

    The peak is that of the decayed total of both sides just after each event of the last 600 s; *extreme* is the lowest
    (cascade down) or highest price the caller has seen since the cascade began.
    """
    peaks = decayed_sum(events.time_ms, events.notional, events.time_ms)
    now = decayed_sum(events.time_ms, events.notional, at_ms)
    out = np.zeros(len(at_ms), dtype=np.bool_)
    for i, at in enumerate(at_ms.tolist()):
        recent = peaks[(events.time_ms > at - 600_000) & (events.time_ms <= at)]
        spent = bool(len(recent)) and now[i] < 0.30 * recent.max()
        out[i] = spent and abs(price[i] - extreme[i]) >= 0.5 * atr5[i]
    return out


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
    return factor_of(
        liquidation_score(lean, zi),
        after(12, len(bars)),
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
    return factor_of(100 * (1 - r2), enough & moving, r2=r2, beta_btc=beta_btc, beta_eth=beta_eth)


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
