"""
The only place that scores: the accumulators of one symbol become its factors, their composite, the fast companions.

A factor is computed again when one of its input versions has changed, or when its quality has begun to fall (domain
4.13). The cache decides nothing and is not stored: with or without it, the same state gives the same values.
"""

from __future__ import annotations

import msgspec

from pipeline.core import composite
from pipeline.core.bars import BAR_MS
from pipeline.core.events import Bar
from pipeline.core.factor_set import BarFactors, FactorState, bar_fault
from pipeline.core.factors import (
    basis,
    fund_leading,
    independence,
    liquidations,
    liquidity,
    momentum,
    open_interest,
    structure,
    trend,
    volume,
    volume_delta,
)
from pipeline.core.factors.factor import Factor, missing
from pipeline.core.factors.parameters import DEFAULT, FactorParameters, weights


class Companions(msgspec.Struct, frozen=True):
    """What gates and exits read beside the factors: imbalance, microprice, order flow, tape (domain 4.7, 4.5)."""

    obi: float
    lean_bps: float
    ofi: float
    ofi_z: float
    ofi_ready: bool
    flow_10s: float
    flow_60s: float


class FactorVector(msgspec.Struct, frozen=True):
    """All factors of a symbol at one moment, by letter, and what they say together."""

    at_ms: int
    factors: dict[str, Factor]
    composite: composite.Composite


def companions(state: FactorState, *, now_ms: int) -> Companions:
    """The fast companions at *now_ms*; cheap, so not cached."""
    return Companions(
        obi=state.liquidity.imbalance.value,
        lean_bps=state.flow.lean_bps,
        ofi=state.flow.flow(now_ms),
        ofi_z=state.flow.z,
        ofi_ready=state.flow.moments.ready,
        flow_10s=state.tape.flow_10s.at(now_ms),
        flow_60s=state.tape.flow_60s.at(now_ms),
    )


def provisional(
    state: FactorState, forming: Bar, *, now_ms: int, parameters: FactorParameters = DEFAULT
) -> dict[str, Factor]:
    """
    T M V C as they would stand if the forming bar closed now; the committed state is not touched (domain 3.1).

    Worth calling when the mid has moved 0.1 % since the last call, or once a second. The true ranges are the committed
    ones.
    """
    if state.hole or bar_fault(forming) or forming.open_ms != state.bar_open_ms + BAR_MS:
        return {}
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(state.bars), type=BarFactors)
    prices = copy.prices
    copy.add(forming, a=prices.a, hour_range=prices.hour_range, tape_differs=False, parameters=parameters)
    asof_ms, version = now_ms, state.versions.bar
    age = parameters.ages.bar
    return {
        "T": trend.factor(copy.trend, prices, parameters.trend, age, version=version, asof_ms=asof_ms, now_ms=now_ms),
        "M": momentum.factor(
            copy.momentum, prices, parameters.momentum, age, version=version, asof_ms=asof_ms, now_ms=now_ms
        ),
        "V": volume.factor(
            copy.volume, prices, parameters.volume, age, version=version, asof_ms=asof_ms, now_ms=now_ms
        ),
        "C": volume_delta.factor(
            copy.delta, parameters.volume_delta, age, version=version, asof_ms=asof_ms, now_ms=now_ms
        ),
    }


class FactorCache:
    """
    The last values of one symbol, valid while their input versions are and no quality has begun to move.

    Give one to each symbol; forget it whenever the state is replaced (``clear``).
    """

    __slots__ = ("_key", "_parameters", "_until_ms", "_vector")

    def __init__(self) -> None:
        self._vector: FactorVector | None = None
        self._key: tuple[int, ...] = ()
        self._until_ms = -1
        self._parameters: FactorParameters | None = None

    def clear(self) -> None:
        """Forget everything."""
        self._vector = None

    def values(self, state: FactorState, *, now_ms: int, parameters: FactorParameters = DEFAULT) -> FactorVector:
        """All factors and the composite at *now_ms*."""
        versions = state.versions
        key = (
            versions.bar,
            versions.mark,
            versions.depth,
            versions.interest,
            versions.liquidation,
            versions.reference,
        )
        known = self._vector
        if (
            known is not None
            and key == self._key
            and known.at_ms <= now_ms <= self._until_ms
            and parameters is self._parameters
        ):
            return known
        before = known.factors if known is not None and parameters is self._parameters else {}
        factors = _factors(state, before, now_ms=now_ms, parameters=parameters)
        vector = FactorVector(
            at_ms=now_ms,
            factors=factors,
            composite=composite.compose(factors, weights(parameters), parameters.composite, parameters.fund_leading),
        )
        self._vector, self._key, self._parameters = vector, key, parameters
        self._until_ms = min(now_ms + parameters.serve_ms, *(f.steady_until_ms for f in factors.values()))
        return vector


def values(state: FactorState, *, now_ms: int, parameters: FactorParameters = DEFAULT) -> FactorVector:
    """All factors and the composite at *now_ms*, computed afresh."""
    return FactorCache().values(state, now_ms=now_ms, parameters=parameters)


def _factors(
    state: FactorState, before: dict[str, Factor], *, now_ms: int, parameters: FactorParameters
) -> dict[str, Factor]:
    """Each factor: the one of *before* while its versions are the same and it is steady, else computed."""
    v = state.versions
    ages = parameters.ages
    bars, prices = state.bars, state.bars.prices
    close_ms = state.bar_close_ms

    def kept(letter: str, version: tuple[int, ...]) -> Factor | None:
        known = before.get(letter)
        if known is not None and known.input_version == version and now_ms <= known.steady_until_ms:
            return known
        return None

    found: dict[str, Factor] = {}
    bar_version = (v.bar,)
    if state.hole:
        for letter in "TMSVC":
            found[letter] = missing(state.hole, asof_ms=close_ms, version=(v.bar, -1))
    else:
        when = {"version": v.bar, "asof_ms": close_ms, "now_ms": now_ms}
        found["T"] = kept("T", bar_version) or trend.factor(bars.trend, prices, parameters.trend, ages.bar, **when)
        found["M"] = kept("M", bar_version) or momentum.factor(
            bars.momentum, prices, parameters.momentum, ages.bar, **when
        )
        found["S"] = kept("S", bar_version) or structure.factor(
            bars.structure, prices, parameters.structure, ages.bar, **when
        )
        found["V"] = kept("V", bar_version) or volume.factor(bars.volume, prices, parameters.volume, ages.bar, **when)
        found["C"] = kept("C", bar_version) or volume_delta.factor(
            bars.delta, parameters.volume_delta, ages.bar, **when
        )
    version: tuple[int, ...] = (v.bar, v.interest, int(bool(state.hole)))
    if state.hole:
        found["O"] = missing(state.hole, asof_ms=close_ms, version=version)
    else:
        found["O"] = kept("O", version) or open_interest.factor(
            state.interest,
            prices,
            parameters.open_interest,
            ages.open_interest_polls,
            version=version,
            now_ms=now_ms,
        )
    version = (v.mark, state.basis.moments.count, state.basis.interval_hours)
    found["B"] = kept("B", version) or basis.factor(
        state.basis, parameters.basis, ages.mark, version=version, now_ms=now_ms
    )
    version = (v.liquidation, v.bar)
    found["Q"] = kept("Q", version) or liquidations.factor(
        state.liquidations, parameters.liquidations, ages.liquidations, a=prices.a, version=version, now_ms=now_ms
    )
    version = (v.depth,)
    found["L"] = kept("L", version) or liquidity.factor(state.liquidity, ages.quote, version=version, now_ms=now_ms)
    version = (v.bar, v.reference)
    found["I"] = kept("I", version) or independence.factor(
        state.independence, state.symbol, parameters.independence, ages.bar, version=version, now_ms=now_ms
    )
    version = (v.bar, v.interest, int(bool(state.hole)))
    found["F"] = kept("F", version) or fund_leading.factor(
        found["C"], found["O"], parameters.fund_leading, version=version, now_ms=now_ms
    )
    return found
