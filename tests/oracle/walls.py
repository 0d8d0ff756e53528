"""The only place for the oracle's walls and liquidation map: domain 6.5 rules 1 to 4, 6.6, in plain numpy.

A book side is an array of (price, quantity) rows in quote and base units. One call judges one second of a whole history
naively: nothing is carried but what the domain says is smoothed or counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.oracle.machinery import Array


class Buckets(NamedTuple):
    """Notional per bucket from the touch outwards; *index* is floor(price / width)."""

    index: Array
    notional: Array


def bucket_width(mid: float, tick: float, atr_hour: float | None) -> float:
    """max(tick, 3/5/10 bps of mid) for 1h ATR % < 1 / < 3 / >= 3 (5 when it is not known), in whole ticks (rule 1)."""
    share = None if atr_hour is None else atr_hour / mid * 100
    bps = 5 if share is None else 3 if share < 1 else 5 if share < 3 else 10
    return max(1, np.floor(mid / tick * bps / 1e4 + 1e-9)) * tick


def buckets(side: Array, *, sign: int, width: float, tick: float, mid: float, percent: float = 2.0) -> Buckets:
    """Whole buckets from that of the best price to that of mid ± 2 % (rule 1); *sign* +1 for bids."""
    ticks = np.rint(side[:, 0] / tick).astype(np.int64)
    step = round(width / tick)
    index = ticks // step
    bound = mid * (1 - sign * percent / 100) / tick
    last = int((np.ceil(bound - 1e-6) if sign > 0 else np.floor(bound + 1e-6)) // step)
    touch = int(index.max() if sign > 0 else index.min())
    order = np.arange(touch, last - sign, -sign)
    notional = np.array([(side[index == i, 0] * side[index == i, 1]).sum() for i in order])
    return Buckets(order, notional)


class Baseline(NamedTuple):
    """Smoothed median and MAD of ln(1 + N)."""

    median: float
    deviation: float


def baseline(history: list[Array], times_ms: list[int], tau_s: float = 60.0) -> Baseline:
    """
    Median and MAD over the buckets from the third on, EW with tau 60 s (rule 2).

    *history* holds the notionals of each second, nearest bucket first; those that are not known are NaN.
    """
    median = deviation = np.nan
    before = 0
    for notional, at in zip(history, times_ms, strict=True):
        logs = np.log1p(notional[2:])
        logs = logs[~np.isnan(logs)]
        middle = float(np.median(logs))
        spread = float(np.median(np.abs(logs - middle)))
        if np.isnan(median):
            median, deviation = middle, spread
        else:
            a = 1 - np.exp(-(at - before) / 1e3 / tau_s)
            median, deviation = median + a * (middle - median), deviation + a * (spread - deviation)
        before = at
    return Baseline(median, deviation)


def score(notional: Array, base: Baseline) -> Array:
    """z = (ln(1 + N) − med)/(1.4826·MAD + 0.1) (rule 3)."""
    return (np.log1p(notional) - base.median) / (1.4826 * base.deviation + 0.1)


def candidates(notional: Array, base: Baseline, *, own: float, day: float) -> Array:
    """z >= 3 and N >= max(5·median, 5·own notional, 0.0002·24h quote volume) (rule 3)."""
    least = max(5 * np.expm1(base.median), 5 * own, 0.0002 * day)
    return (score(notional, base) >= 3) & (notional >= least)


def strength(z: float, age_s: float, pulls: int, *, iceberg: bool = False) -> float:
    """min(1, z/6)·min(1, age/60 s)·(1 − pulls/(pulls + 2)), + 0.2 for an iceberg, at most 1 (rule 6)."""
    return min(1.0, min(1, z / 6) * min(1, age_s / 60) * (1 - pulls / (pulls + 2)) + 0.2 * iceberg)


# ------------------------------------------------------------------------------------------ estimated map (6.6)

TIERS = np.array([5, 10, 25, 50, 100])
AGGRESSIVE = np.array([0.15, 0.30, 0.30, 0.17, 0.08])
PASSIVE = np.array([0.40, 0.35, 0.17, 0.06, 0.02])


class MapBar(NamedTuple):
    """One closed bar and the open interest (base units) after it."""

    low: float
    high: float
    close: float
    volume: float
    quote: float
    taker_quote: float
    open_interest: float


def liquidation_price(price: float, leverage: Array, maintenance: Array, side: int) -> Array:
    """p(1 − 1/t)/(1 − m) for longs (+1), p(1 + 1/t)/(1 + m) for shorts (−1)."""
    return price * (1 - side / leverage) / (1 - side * maintenance)


def liquidation_map(bars: list[MapBar], maintenance: Array) -> dict[int, dict[int, float]]:
    """
    Mass (USDT) by 10 bps log bucket for longs (+1) and shorts (−1) after *bars* (no hole).

    Per bar: halve by 24 h, empty what the range passed, shrink or add.
    """
    masses: dict[int, dict[int, float]] = {1: {}, -1: {}}
    for before, bar in zip([None, *bars[:-1]], bars, strict=True):
        for kept in masses.values():
            for bucket in list(kept):
                kept[bucket] *= 0.5 ** (300 / 86_400)
                if np.floor(np.log(bar.low) / 0.001) <= bucket <= np.floor(np.log(bar.high) / 0.001):
                    del kept[bucket]
        if before is None:
            continue
        grown = bar.open_interest - before.open_interest
        if grown < 0:
            for kept in masses.values():
                for bucket in kept:
                    kept[bucket] *= 1 - abs(grown) / before.open_interest
        elif grown > 0:
            price = bar.quote / bar.volume
            bought = bar.taker_quote / bar.quote
            for side, share in ((1, bought), (-1, 1 - bought)):
                at = liquidation_price(price, TIERS, maintenance, side)
                right = (price - at) * side > 0
                aggressive = AGGRESSIVE * right / AGGRESSIVE[right].sum()
                passive = PASSIVE * right / PASSIVE[right].sum()
                added = grown * price * (share * aggressive + (1 - share) * passive)
                for bucket, mass in zip(np.floor(np.log(at) / 0.001).astype(int), added, strict=True):
                    if mass > 0:
                        masses[side][int(bucket)] = masses[side].get(int(bucket), 0.0) + float(mass)
    return masses


def heavy_buckets(masses: dict[int, float], *, side: int, close: float, open_interest: float) -> list[int]:
    """Mass >= mean + 2σ of non-empty buckets and >= 1.5 % of open interest, 0.3 to 5 % away (6.6)."""
    sizes = np.array(list(masses.values()))
    if not len(sizes):
        return []
    least = max(sizes.mean() + 2 * sizes.std(), 0.015 * open_interest * close)
    away = {b: (1 - np.exp((b + 0.5) * 0.001) / close) * side for b in masses}
    return sorted(b for b, mass in masses.items() if mass >= least and 0.003 <= away[b] <= 0.05)
