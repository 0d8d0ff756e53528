"""The only place for the oracle's factors that live between bars: liquidity L of one book, and what quotes tell.

Domain section 4.7. A book side is an array of (price, quantity) rows, best first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.oracle.machinery import Array, Integers, Mask, ew_z

RANKING_NOTIONAL = 100_000.0
LEVEL_WEIGHTS = np.exp(-0.3 * np.arange(20))


class Liquidity(NamedTuple):
    """L of one book with its parts; *coverage* is how much of ±10 bps the visible levels span."""

    value: float
    quality: float
    spread_bps: float
    depth: float
    impact_bps: float
    filled: bool
    imbalance: float
    coverage: float


def average_price(levels: Array, notional: float) -> tuple[float, bool]:
    """VWAP = N / sum(n_i/p_i) over the consumed levels; (of what there is, False) if the side cannot fill N (4.7)."""
    left, base = notional, 0.0
    for price, quantity in levels.tolist():
        taken = min(left, price * quantity)
        base += taken / price
        left -= taken
        if left <= 0:
            return notional / base, True
    return (notional - left) / base if base else np.nan, False


def impact_bps(bids: Array, asks: Array, notional: float) -> tuple[float, bool]:
    """bps = 1e4·abs(VWAP/mid − 1) of the worse side; not filled if either side cannot fill N (domain 4.7)."""
    mid = (bids[0, 0] + asks[0, 0]) / 2
    sides = [average_price(bids, notional), average_price(asks, notional)]
    return max(1e4 * abs(price / mid - 1) for price, _ in sides), all(filled for _, filled in sides)


def depth_within(levels: Array, mid: float, bps: float = 10.0) -> float:
    """Notional of a side within ±bps of mid, both ends included (domain 4.7)."""
    near = np.abs(levels[:, 0] / mid - 1) <= bps * 1e-4 * (1 + 1e-12)
    return float((levels[near, 0] * levels[near, 1]).sum())


def book_imbalance(bids: Array, asks: Array) -> float:
    """OBI = sum w_k(b_k − a_k)/sum w_k(b_k + a_k), w_k = exp(−0.3k) over 20 levels, absent ones empty (4.7)."""
    held = np.zeros((2, 20))
    held[0, : len(bids)] = bids[:20, 1]
    held[1, : len(asks)] = asks[:20, 1]
    return float((LEVEL_WEIGHTS * (held[0] - held[1])).sum() / (LEVEL_WEIGHTS * (held[0] + held[1])).sum())


def liquidity_score(spread_bps: float, depth: float, impact: float, filled: bool, imbalance: float) -> float:
    """L = 0.3Ss + 0.3Sd + 0.3Si + 0.1So (domain 4.7)."""
    by_spread = 100 * min(1.0, max(0.0, (10 - spread_bps) / 8))
    by_depth = 100 * min(1.0, depth / 1e6)
    by_impact = 100 * max(0.0, 1 - impact / 100) if filled else 0.0
    by_balance = 100 if abs(imbalance) < 0.3 else 70 if abs(imbalance) < 0.5 else 40
    return 0.3 * by_spread + 0.3 * by_depth + 0.3 * by_impact + 0.1 * by_balance


def liquidity(
    bids: Array,
    asks: Array,
    *,
    notional: float = RANKING_NOTIONAL,
    whole_book: bool = True,
    imbalance: float | None = None,
) -> Liquidity:
    """
    L of one book before smoothing (domain 4.7).

    *imbalance* is the smoothed OBI, if any, else the book's own. A book of few levels (``whole_book=False``) has
    quality min(1, span of the farthest level of the shorter side / 10 bps). Crossed or empty: quality 0.
    """
    if not len(bids) or not len(asks) or bids[0, 0] >= asks[0, 0]:
        return Liquidity(0.0, 0.0, np.nan, 0.0, np.nan, False, 0.0, 0.0)
    mid = float(bids[0, 0] + asks[0, 0]) / 2
    spread = 1e4 * float(asks[0, 0] - bids[0, 0]) / mid
    depth = min(depth_within(bids, mid), depth_within(asks, mid))
    impact, filled = impact_bps(bids, asks, notional)
    balance = book_imbalance(bids, asks) if imbalance is None else imbalance
    coverage = min(1e4 * abs(float(side[-1, 0]) / mid - 1) for side in (bids, asks)) / 10
    return Liquidity(
        value=liquidity_score(spread, depth, impact, filled, balance),
        quality=1.0 if whole_book else min(1.0, coverage),
        spread_bps=spread,
        depth=depth,
        impact_bps=impact,
        filled=filled,
        imbalance=balance,
        coverage=coverage,
    )


def microprice(bid: Array, bid_quantity: Array, ask: Array, ask_quantity: Array) -> Array:
    """(bid·askQty + ask·bidQty)/(bidQty + askQty) (domain 4.7)."""
    return (bid * ask_quantity + ask * bid_quantity) / (bid_quantity + ask_quantity)


def lean_bps(bid: Array, bid_quantity: Array, ask: Array, ask_quantity: Array) -> Array:
    """1e4(micro/mid − 1) (domain 4.7)."""
    return 1e4 * (microprice(bid, bid_quantity, ask, ask_quantity) / ((bid + ask) / 2) - 1)


def order_flow(bid: Array, bid_quantity: Array, ask: Array, ask_quantity: Array) -> Array:
    """OFI event of each quote against the one before it (domain 4.7); the first quote has none: 0."""
    out = np.zeros(len(bid))
    out[1:] = (
        np.where(bid[1:] >= bid[:-1], bid_quantity[1:], 0.0)
        - np.where(bid[1:] <= bid[:-1], bid_quantity[:-1], 0.0)
        - np.where(ask[1:] <= ask[:-1], ask_quantity[1:], 0.0)
        + np.where(ask[1:] >= ask[:-1], ask_quantity[:-1], 0.0)
    )
    return out


class Flow(NamedTuple):
    """Order flow at whole seconds: decayed events over average top depth, and its z."""

    value: Array
    z: Array
    ready: Mask
    quality: Array


def order_flow_seconds(
    times_ms: Integers, bid: Array, bid_quantity: Array, ask: Array, ask_quantity: Array, *, at_ms: Integers
) -> Flow:
    """
    OFI sampled at *at_ms* (one a second): events decayed with tau 10 s, divided by the average top depth (domain 4.7).

    Average top depth: (bidQty + askQty)/2 weighted by the same decay over the quotes seen. z: n = 600, ready after 200,
    floor 1e-9 (the domain names none); *quality* is samples/600.
    """
    events = order_flow(bid, bid_quantity, ask, ask_quantity)
    top = (bid_quantity + ask_quantity) / 2
    out = np.full(len(at_ms), np.nan)
    flow, depth, weight, now, k = 0.0, 0.0, 0.0, 0, 0
    for i, at in enumerate(at_ms.tolist()):
        while k < len(times_ms) and times_ms[k] <= at:
            fade = float(np.exp(-(times_ms[k] - now) / 10_000.0)) if k else 0.0
            flow = flow * fade + float(events[k])
            depth = depth * fade + float(top[k])
            weight = weight * fade + 1.0
            now, k = int(times_ms[k]), k + 1
        if weight:
            out[i] = flow * float(np.exp(-(at - now) / 10_000.0)) / (depth / weight)
    scored = ew_z(out, 600, 1e-9)
    return Flow(out, scored.z, scored.ready, scored.quality)
