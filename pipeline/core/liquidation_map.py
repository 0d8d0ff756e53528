"""
The only place for where leveraged positions were, and may be, liquidated: realised clusters and an estimated map (6.6).

**Realised** (a sample): notional of forced orders by 10 bps log-price buckets, half-life 30 min. A cluster holds at
least max(100,000 USDT, 5 × the mean of the other non-empty ones: with itself in the mean, fewer than six buckets could
never show one). It tells where forced flow was absorbed; exhaustion only.

**Estimated map: a model, never a fact.** Per closed bar in which open interest grew by dOI, n = dOI·VWAP (USDT),
s = taker buys / volume: each new contract opens one long and one short. Long mass is n·s with the aggressive leverage
mix and n·(1 − s) with the passive one, short mass n·(1 − s) aggressive and n·s passive. Liquidation prices of tier t
(leverage) with maintenance rate m: p(1 − 1/t)/(1 − m) for longs, p(1 + 1/t)/(1 + m) for shorts. A tier above the
symbol's maximum, or whose price lies on the wrong side of p, is left out and the mix renormalised. Order per bar: fade
(half-life 24 h), empty what the bar's range has passed, then shrink by |dOI|/OI or add. Fading and shrinking are one
global factor, O(1).

A band is a run of buckets with at least mean + 2σ of its side's non-empty ones and 1.5 % of open interest each, 0.3 to
5 % from the close. Mixes are assumptions (domain 6.6). Masses are estimates; bands leave as integers, once a bar.

Of ours: when the last closed bar is not the one before, nothing is known of the open interest between, and the bar only
fades and empties. ``strength`` is mass against 5 % of open interest.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.events import Bar, Side
from pipeline.core.instruments import Instrument
from pipeline.core.numerics import exp, ln, total
from pipeline.core.units import ONE_E8

BUCKET: Final = 0.001  # 10 bps of log price
LN2: Final = 0.6931471805599453
MAP_HALF_LIFE_MS: Final = 86_400_000
REALISED_HALF_LIFE_MS: Final = 1_800_000
CLUSTER_USDT: Final = 100_000.0
CLUSTER_TIMES_MEAN: Final = 5.0
BAND_SIGMAS: Final = 2.0
BAND_SHARE: Final = 0.015
FULL_SHARE: Final = 0.05
NEAREST: Final = 0.003
FARTHEST: Final = 0.05
SMALLEST_USDT: Final = 1.0
SMALLEST_SCALE: Final = 1e-9


class Tier(msgspec.Struct, frozen=True):
    """One leverage of the mix: shares of aggressive and passive openers, maintenance rate m."""

    leverage: int
    aggressive: float
    passive: float
    maintenance: float


# Shares of domain 6.6. Rates for when no brackets were read: the two of test vector 8.4, the others between.
TIERS: Final = (
    Tier(5, 0.15, 0.40, 0.050),
    Tier(10, 0.30, 0.35, 0.025),
    Tier(25, 0.30, 0.17, 0.010),
    Tier(50, 0.17, 0.06, 0.010),
    Tier(100, 0.08, 0.02, 0.005),
)


class Bracket(msgspec.Struct, frozen=True):
    """One row of leverageBracket: leverage allowed up to a notional (E8), its maintenance rate in millionths."""

    leverage: int
    cap_e8: int
    maintenance_ppm: int


class MassBand(msgspec.Struct, frozen=True):
    """A run of heavy buckets of the map. ``side`` BUY: liquidations of longs. ``id`` is its lowest bucket."""

    id: int
    side: Side
    low_e8: int
    high_e8: int
    mass_e8: int
    strength_permille: int
    since_ms: int


class Cluster(msgspec.Struct, frozen=True):
    """A bucket where much was liquidated. ``side`` BUY: longs were."""

    side: Side
    low_e8: int
    high_e8: int
    notional_e8: int


class LiquidationMap(msgspec.Struct):
    """
    What is remembered of one symbol. Buckets are floor(ln(price in USDT) / 0.001), masses USDT / scale.

    ``open_interest_e8`` is a quantity (lots × step), so that another lot size changes nothing.
    """

    bar_open_ms: int = 0
    open_interest_e8: int = 0
    open_interest_ms: int = 0
    scale: float = 1.0
    longs: dict[int, float] = msgspec.field(default_factory=dict)
    shorts: dict[int, float] = msgspec.field(default_factory=dict)
    bands: list[MassBand] = msgspec.field(default_factory=list)
    realised_ms: int = 0
    realised_longs: dict[int, float] = msgspec.field(default_factory=dict)
    realised_shorts: dict[int, float] = msgspec.field(default_factory=dict)


def tiers_of(brackets: Sequence[Bracket], *, maximum: int, tiers: Sequence[Tier] = TIERS) -> tuple[Tier, ...]:
    """The tiers a symbol allows, each with the rate of the largest bracket that still allows its leverage."""
    found = []
    for tier in tiers:
        rates = [bracket.maintenance_ppm for bracket in brackets if bracket.leverage >= tier.leverage]
        if tier.leverage <= maximum:
            rate = max(rates) / 1_000_000 if rates else tier.maintenance
            found.append(msgspec.structs.replace(tier, maintenance=rate))
    return tuple(found)


def long_price(price: float, tier: Tier) -> float:
    """Where a long of the tier is liquidated (test vector 8.4: 10×, 2.5 % → 0.92308 e)."""
    return price * (1.0 - 1.0 / tier.leverage) / (1.0 - tier.maintenance)


def short_price(price: float, tier: Tier) -> float:
    """Where a short of the tier is liquidated."""
    return price * (1.0 + 1.0 / tier.leverage) / (1.0 + tier.maintenance)


def bucket_of(price: float) -> int:
    """The log bucket of a price in USDT."""
    index = ln(price) / BUCKET
    whole = int(index)
    return whole - 1 if index < whole else whole


def edge_e8(bucket: int) -> int:
    """Lower edge of a bucket in E8."""
    return int(exp(bucket * BUCKET) * ONE_E8 + 0.5)


def fold_bar(
    known: LiquidationMap,
    bar: Bar,
    instrument: Instrument,
    *,
    open_interest_lots: int,
    open_interest_ms: int,
    tiers: Sequence[Tier] = TIERS,
) -> None:
    """Fold the next closed bar with the open interest polled last (lots; 0: never); O(range + tiers + buckets)."""
    if bar.open_ms <= known.bar_open_ms:
        return
    elapsed = bar.open_ms - known.bar_open_ms if known.bar_open_ms else BAR_MS
    follows = elapsed == BAR_MS and known.bar_open_ms > 0
    known.bar_open_ms = bar.open_ms
    tick = instrument.tick_e8 / ONE_E8
    known.scale *= exp(-LN2 * elapsed / MAP_HALF_LIFE_MS)
    for bucket in range(bucket_of(bar.low * tick), bucket_of(bar.high * tick) + 1):
        known.longs.pop(bucket, None)
        known.shorts.pop(bucket, None)
    now_e8 = open_interest_lots * instrument.step_e8
    before_e8, before_ms = known.open_interest_e8, known.open_interest_ms
    known.open_interest_e8, known.open_interest_ms = now_e8, open_interest_ms
    if follows and before_e8 and now_e8 and open_interest_ms > before_ms:
        if now_e8 < before_e8:
            known.scale *= 1.0 - (before_e8 - now_e8) / before_e8
        elif now_e8 > before_e8 and bar.lots > 0 and bar.quote_volume > 0:
            _add(known, bar, instrument, grown=(now_e8 - before_e8) / ONE_E8, tiers=tiers)
    if known.scale < SMALLEST_SCALE:
        _rebase(known)
    close = bar.close * tick
    known.bands = [
        band
        for side, masses in ((Side.BUY, known.longs), (Side.SELL, known.shorts))
        for band in _bands(known, side, masses, close=close, close_ms=bar.open_ms + BAR_MS)
    ]


def on_liquidation(known: LiquidationMap, *, side: Side, price_e8: int, notional_e8: int, now_ms: int) -> None:
    """Count one forced order; *side* is the order's: SELL liquidates a long."""
    if price_e8 <= 0 or notional_e8 <= 0:
        return
    _fade_realised(known, now_ms)
    masses = known.realised_longs if side is Side.SELL else known.realised_shorts
    bucket = bucket_of(price_e8 / ONE_E8)
    masses[bucket] = masses.get(bucket, 0.0) + notional_e8 / ONE_E8


def clusters(known: LiquidationMap, *, now_ms: int) -> list[Cluster]:
    """The realised clusters at *now_ms*, longs first, by price."""
    fade = exp(-LN2 * max(0, now_ms - known.realised_ms) / REALISED_HALF_LIFE_MS)
    found = []
    for side, masses in ((Side.BUY, known.realised_longs), (Side.SELL, known.realised_shorts)):
        everything, others = total(masses.values()), max(1, len(masses) - 1)
        for bucket in sorted(masses):
            mass = masses[bucket]
            if mass * fade >= CLUSTER_USDT and mass >= CLUSTER_TIMES_MEAN * (everything - mass) / others:
                found.append(Cluster(side, edge_e8(bucket), edge_e8(bucket + 1), int(mass * fade * ONE_E8)))
    return found


def _fade_realised(known: LiquidationMap, now_ms: int) -> None:
    elapsed = now_ms - known.realised_ms
    if elapsed <= 0:
        return
    fade = exp(-LN2 * elapsed / REALISED_HALF_LIFE_MS) if known.realised_ms else 1.0
    for masses in (known.realised_longs, known.realised_shorts):
        for bucket in list(masses):
            masses[bucket] *= fade
            if masses[bucket] < SMALLEST_USDT:
                del masses[bucket]
    known.realised_ms = now_ms


def _add(known: LiquidationMap, bar: Bar, instrument: Instrument, *, grown: float, tiers: Sequence[Tier]) -> None:
    """New contracts of this bar at its VWAP."""
    price = bar.quote_volume / (bar.lots * instrument.step_e8)
    notional = grown * price
    bought = min(1.0, max(0.0, bar.taker_quote / bar.quote_volume))
    for masses, sign, price_of, share in (
        (known.longs, 1, long_price, bought),
        (known.shorts, -1, short_price, 1.0 - bought),
    ):
        reached = [(tier, price_of(price, tier)) for tier in tiers]
        reached = [(tier, at) for tier, at in reached if (price - at) * sign > 0.0]
        aggressive = total(tier.aggressive for tier, _ in reached)
        passive = total(tier.passive for tier, _ in reached)
        for tier, at in reached:
            mass = notional * (share * tier.aggressive / aggressive + (1.0 - share) * tier.passive / passive)
            bucket = bucket_of(at)
            masses[bucket] = masses.get(bucket, 0.0) + mass / known.scale


def _rebase(known: LiquidationMap) -> None:
    """Bring the scale back to 1 and forget dust."""
    for masses in (known.longs, known.shorts):
        for bucket in list(masses):
            masses[bucket] *= known.scale
            if masses[bucket] < SMALLEST_USDT:
                del masses[bucket]
    known.scale = 1.0


def _bands(
    known: LiquidationMap, side: Side, masses: dict[int, float], *, close: float, close_ms: int
) -> list[MassBand]:
    open_interest = known.open_interest_e8 / ONE_E8 * close
    if not masses or open_interest <= 0.0:
        return []
    sizes = [mass * known.scale for mass in masses.values()]
    mean = total(sizes) / len(sizes)
    sigma = sqrt(total((size - mean) * (size - mean) for size in sizes) / len(sizes))
    least = max(mean + BAND_SIGMAS * sigma, BAND_SHARE * open_interest)
    heavy = []
    for bucket in sorted(masses):
        if masses[bucket] * known.scale < least:
            continue
        away = (1.0 - exp((bucket + 0.5) * BUCKET) / close) * side.sign
        if NEAREST <= away <= FARTHEST:
            heavy.append(bucket)
    runs: list[list[int]] = []
    for bucket in heavy:
        if runs and runs[-1][-1] == bucket - 1:
            runs[-1].append(bucket)
        else:
            runs.append([bucket])
    bands = []
    for run in runs:
        mass = total(masses[bucket] for bucket in run) * known.scale
        bands.append(
            MassBand(
                id=run[0],
                side=side,
                low_e8=edge_e8(run[0]),
                high_e8=edge_e8(run[-1] + 1),
                mass_e8=int(mass * ONE_E8),
                strength_permille=min(1_000, int(mass / open_interest / FULL_SHARE * 1_000.0)),
                since_ms=close_ms,
            )
        )
    return bands
