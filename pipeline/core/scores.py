"""
The only place for what decisions read of the factors: ``Scores``, whole numbers taken of them, and when they are due.

Floats estimate and integers decide (architecture 2.3): a factor vector is computed in floats and quantised here, once,
towards the nearest with halves away from zero, so that a mirrored market gives exactly mirrored scores. ``Scores`` live
in the symbol's state; exits, walls and signals read nothing else of the factors.

When: a closed bar only makes a symbol *due*. A tick line names the symbols whose turn it is (``Ticked.compute``), so
the deferral stands in the log; a symbol with a position has its turn at every tick. A turn computes the vector when an
input version changed or a quality began to move, else only the fast companions are taken anew.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline.core import factor_values
from pipeline.core.bars import BAR_MS
from pipeline.core.factor_set import FactorState
from pipeline.core.factor_values import FactorVector
from pipeline.core.factors.factor import Factor
from pipeline.core.factors.parameters import FactorParameters

MILLI: Final = 1_000
MILLION: Final = 1_000_000
GOOD: Final = 900  # per mille of quality
_LARGEST: Final = 1e15  # beyond it nothing we estimate is a measure of anything


class FactorScore(msgspec.Struct, frozen=True, gc=False):
    """One factor: ``value`` in 1/1000 of a point, ``quality`` in per mille (0: missing, the value means nothing)."""

    value: int
    quality: int
    ready: bool
    as_of_ms: int


class Scores(msgspec.Struct, frozen=True):
    """
    What all factors of a symbol said at log time ``at_ms``. Integers: points in 1/1000, ticks in 1/1000 where the name
    says ``milliticks``, bps in 1/1000, odds in 1/1,000,000, coverage and imbalance in per mille.

    ``bar_close_ms`` is the close of the newest bar they speak of, 0 before the first: a rule about closed bars counts
    one when it advances. Flags and labels of a missing factor are False, 0 or empty. ``companions`` (OBI, OFI, lean,
    spread, impact, flow) are as of ``at_ms``. ``key`` and ``until_ms`` say when the vector must be computed again.
    """

    at_ms: int
    bar_close_ms: int
    factors: dict[str, FactorScore]
    score: int  # E of domain 4.12
    direction: int  # E_dir, before quality
    coverage: int
    tradable: bool
    odds_up: int  # P_up by E alone
    odds_long: int  # with the multiplier of F and the carry
    odds_short: int
    vetoes_long: tuple[str, ...]
    vetoes_short: tuple[str, ...]
    regime: str  # up_up, up_dn, dn_up, dn_dn, flat; empty while O is missing
    trend: str  # up, down, flat; empty while T is missing
    market_trend: str  # the same of Bitcoin, empty while it is not known or two bars old
    crowded: bool
    blocks_entries: bool  # open interest above 1.5 × its average
    carry_extreme: int  # +1 longs pay, −1 shorts pay, 0 not extreme
    cascade_up: bool
    cascade_down: bool
    exhausted: bool
    absorption: bool
    atr_5m_milliticks: int  # a, 0 while not known
    atr_1h_milliticks: int  # A, 0 while not known
    swing_high: int  # ticks of the last confirmed high and low, 0: none
    swing_low: int
    swing_high_ms: int  # close of the bar that confirmed it
    swing_low_ms: int
    highest_day: int  # extremes of 288 bars in ticks, 0: none
    lowest_day: int
    basis_millibps: int
    funding_8h_e8: int
    obi: int  # per mille, positive: bids outweigh
    ofi_z: int  # 1/1000 of a deviation
    ofi_ready: bool
    lean_millibps: int
    spread_millibps: int
    impact_millibps: int  # of 100,000 USDT on the worse side
    flow_10s: int  # signed taker flow, USDT
    flow_60s: int
    key: tuple[int, ...]
    until_ms: int

    def value(self, letter: str) -> int:
        """A factor in 1/1000 of a point, 0 while it is missing."""
        found = self.factors[letter]
        return found.value if found.ready else 0

    def ready(self, letter: str) -> bool:
        """True when the factor has something to say."""
        return self.factors[letter].ready


class Shown(msgspec.Struct, frozen=True, gc=False):
    """What the scores stood on when they were last published (topic ``factors``)."""

    at_ms: int
    bar_close_ms: int
    price_e8: int


def is_news(shown: Shown | None, found: Scores, *, price_e8: int, moved_bps: int) -> bool:
    """True when scores are to be published: a bar has closed, or the price moved by *moved_bps* (design document)."""
    if shown is None or found.bar_close_ms != shown.bar_close_ms:
        return True
    return abs(price_e8 - shown.price_e8) * 10_000 >= moved_bps * shown.price_e8 and price_e8 != shown.price_e8


def whole(x: float, unit: int = MILLI) -> int:
    """*x* in parts of *unit*, halves away from zero; 0 for what is no number or beyond all measure."""
    scaled = x * unit
    if not -_LARGEST < scaled < _LARGEST:
        return 0
    return int(scaled + 0.5) if scaled >= 0.0 else -int(0.5 - scaled)


def key_of(factors: FactorState) -> tuple[int, ...]:
    """The input versions of a vector."""
    v = factors.versions
    return (v.bar, v.mark, v.depth, v.interest, v.liquidation, v.reference)


class _Memory:
    """The vector computed last. A memory of results only: whether it is found changes no value."""

    __slots__ = ("at", "vector")

    def __init__(self) -> None:
        self.at: tuple[FactorState, int, tuple[int, ...], FactorParameters] | None = None
        self.vector: FactorVector | None = None


_memory: Final = _Memory()


def vector_of(factors: FactorState, *, now_ms: int, parameters: FactorParameters) -> FactorVector:
    """The factor vector at *now_ms*; who publishes what was just scored gets it without computing it again."""
    key = key_of(factors)
    at, vector = _memory.at, _memory.vector
    if at is not None and vector is not None and at[0] is factors and at[1:3] == (now_ms, key) and at[3] is parameters:
        return vector
    vector = factor_values.values(factors, now_ms=now_ms, parameters=parameters)
    _memory.at, _memory.vector = (factors, now_ms, key, parameters), vector
    return vector


def is_due(known: Scores | None, factors: FactorState, *, now_ms: int, serve_ms: int) -> bool:
    """
    True when a symbol without a position wants a turn: a bar closed, a hole opened, the scores grew old, or open
    interest came while O had little to say (a newly shortlisted symbol is read at once and is to be judged by it).
    """
    if known is None or known.key[0] != factors.versions.bar or now_ms - known.at_ms >= serve_ms:
        return True
    return known.key[3] != factors.versions.interest and known.factors["O"].quality < GOOD


def refreshed(known: Scores | None, factors: FactorState, *, now_ms: int, parameters: FactorParameters) -> Scores:
    """The scores at *now_ms*: of a new vector when one is due, else the known ones with the companions of now."""
    if known is not None and known.key == key_of(factors) and known.at_ms <= now_ms <= known.until_ms:
        return msgspec.structs.replace(known, at_ms=now_ms, **_companions(factors, now_ms=now_ms))
    vector = vector_of(factors, now_ms=now_ms, parameters=parameters)
    return scores_of(vector, factors, parameters=parameters)


def scores_of(vector: FactorVector, factors: FactorState, *, parameters: FactorParameters) -> Scores:
    """Quantise a vector that was computed of *factors*."""
    found, said = vector.factors, vector.composite
    details = {letter: factor.detail if factor.ready else {} for letter, factor in found.items()}
    prices, structure = factors.bars.prices, factors.bars.structure
    broken = bool(factors.hole)
    swings = {
        pivot.high: (prices.anchor + int(pivot.price), factors.bar_close_ms - (prices.bars - pivot.confirmed) * BAR_MS)
        for pivot in ([] if broken else structure.pivots)  # the newest of each kind stays
    }
    none = (0, 0)
    return Scores(
        at_ms=vector.at_ms,
        bar_close_ms=factors.bar_close_ms,
        factors={letter: _factor_score(factor) for letter, factor in found.items()},
        score=whole(said.score),
        direction=whole(said.direction),
        coverage=whole(said.coverage),
        tradable=said.tradable,
        odds_up=whole(said.odds_up, MILLION),
        odds_long=whole(said.long, MILLION),
        odds_short=whole(said.short, MILLION),
        vetoes_long=tuple(said.vetoes["long"]),
        vetoes_short=tuple(said.vetoes["short"]),
        regime=str(details["O"].get("label", "")),
        trend=str(details["T"].get("label", "")),
        market_trend=_market_trend(factors),
        crowded=bool(details["O"].get("crowded", False)),
        blocks_entries=bool(details["O"].get("blocks_entries", False)),
        carry_extreme=int(details["B"].get("carry_extreme", 0)),
        cascade_up=bool(details["Q"].get("cascade_up", False)),
        cascade_down=bool(details["Q"].get("cascade_down", False)),
        exhausted=bool(details["Q"].get("exhausted", False)),
        absorption=bool(details["C"].get("absorption", False)),
        atr_5m_milliticks=0 if broken else whole(prices.a),
        atr_1h_milliticks=0 if broken else whole(prices.hour_range),
        swing_high=swings.get(True, none)[0],
        swing_high_ms=swings.get(True, none)[1],
        swing_low=swings.get(False, none)[0],
        swing_low_ms=swings.get(False, none)[1],
        highest_day=prices.anchor + structure.extremes.high if prices.bars and not broken else 0,
        lowest_day=prices.anchor + structure.extremes.low if prices.bars and not broken else 0,
        basis_millibps=whole(float(details["B"].get("basis_bps", 0.0))),
        funding_8h_e8=whole(factors.basis.rate, 100 * MILLION) if factors.basis.at_ms else 0,
        key=key_of(factors),
        until_ms=min(vector.at_ms + parameters.serve_ms, *(factor.steady_until_ms for factor in found.values())),
        **_companions(factors, now_ms=vector.at_ms),
    )


def _market_trend(factors: FactorState) -> str:
    market = factors.independence
    return market.market_trend if market.market_trend_ms >= factors.bar_open_ms - BAR_MS else ""


def _factor_score(factor: Factor) -> FactorScore:
    return FactorScore(
        value=whole(factor.value), quality=whole(factor.quality), ready=factor.ready, as_of_ms=factor.asof_ms
    )


def _companions(factors: FactorState, *, now_ms: int) -> dict[str, Any]:  # Any: fields of Scores
    fast, shown = factor_values.companions(factors, now_ms=now_ms), factors.liquidity
    seen = not shown.fault
    return {
        "obi": whole(fast.obi) if seen else 0,
        "ofi_z": whole(fast.ofi_z) if fast.ofi_ready else 0,
        "ofi_ready": fast.ofi_ready,
        "lean_millibps": whole(fast.lean_bps),
        "spread_millibps": whole(shown.spread_bps) if seen else 0,
        "impact_millibps": whole(shown.impact_bps) if seen else 0,
        "flow_10s": whole(fast.flow_10s, 1),
        "flow_60s": whole(fast.flow_60s, 1),
    }
