"""
The only place where the parameters and weights of all factors come together, and where nonsense in them is named.

The defaults are domain section 4's. Weights, signs and thresholds are hypotheses (domain 9.3): they live in the
configuration and are part of its digest, so that a change is a change of the fold.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from pipeline.core.composite import CompositeParameters
from pipeline.core.factors.basis import BasisParameters
from pipeline.core.factors.factor import Age, Ages
from pipeline.core.factors.fund_leading import FundLeadingParameters
from pipeline.core.factors.independence import IndependenceParameters
from pipeline.core.factors.liquidations import LiquidationsParameters
from pipeline.core.factors.liquidity import LiquidityParameters
from pipeline.core.factors.momentum import MomentumParameters
from pipeline.core.factors.open_interest import OpenInterestParameters
from pipeline.core.factors.order_flow import OrderFlowParameters
from pipeline.core.factors.price import PriceParameters
from pipeline.core.factors.structure import StructureParameters
from pipeline.core.factors.trend import TrendParameters
from pipeline.core.factors.volume import VolumeParameters
from pipeline.core.factors.volume_delta import VolumeDeltaParameters

DIRECTIONAL_WEIGHT: Final = 130.0  # T M S V C O B Q (domain 4)
ALL_WEIGHT: Final = 160.0  # with L and I


class FactorParameters(msgspec.Struct, frozen=True):
    """Everything that can change a factor or the composite."""

    ages: Ages = Ages()
    price: PriceParameters = PriceParameters()
    trend: TrendParameters = TrendParameters()
    momentum: MomentumParameters = MomentumParameters()
    structure: StructureParameters = StructureParameters()
    volume: VolumeParameters = VolumeParameters()
    volume_delta: VolumeDeltaParameters = VolumeDeltaParameters()
    open_interest: OpenInterestParameters = OpenInterestParameters()
    liquidity: LiquidityParameters = LiquidityParameters()
    order_flow: OrderFlowParameters = OrderFlowParameters()
    basis: BasisParameters = BasisParameters()
    liquidations: LiquidationsParameters = LiquidationsParameters()
    independence: IndependenceParameters = IndependenceParameters()
    fund_leading: FundLeadingParameters = FundLeadingParameters()
    composite: CompositeParameters = CompositeParameters()
    serve_ms: int = 60_000  # a cached vector is never served longer (domain 4.13)


DEFAULT: Final = FactorParameters()
Overrides = tuple[tuple[str, float], ...]  # (path of a parameter, its value)


def standing(part: msgspec.Struct = DEFAULT, path: str = "") -> dict[str, float]:
    """Every parameter by its path (``trend.weight``), in the order of the structs."""
    found: dict[str, float] = {}
    for name in part.__struct_fields__:
        value, here = getattr(part, name), f"{path}.{name}" if path else name
        found.update(standing(value, here) if isinstance(value, msgspec.Struct) else {here: value})
    return found


@lru_cache(maxsize=8)
def parameters_of(overrides: Overrides) -> FactorParameters:
    """The defaults with *overrides*; a path nobody knows breaks a promise (the configuration has checked it)."""
    found = DEFAULT
    for path, value in overrides:
        found = _replaced(found, path.split("."), value)
    return found


def _replaced(part: Any, path: list[str], value: float) -> Any:  # Any: a struct of parameters
    known = getattr(part, path[0])
    if len(path) > 1:
        return msgspec.structs.replace(part, **{path[0]: _replaced(known, path[1:], value)})
    assert isinstance(known, int | float), path
    return msgspec.structs.replace(part, **{path[0]: int(value) if isinstance(known, int) else float(value)})


def weights(parameters: FactorParameters) -> dict[str, float]:
    """Weight of each factor by its letter."""
    return {
        "T": parameters.trend.weight,
        "M": parameters.momentum.weight,
        "S": parameters.structure.weight,
        "V": parameters.volume.weight,
        "C": parameters.volume_delta.weight,
        "O": parameters.open_interest.weight,
        "B": parameters.basis.weight,
        "Q": parameters.liquidations.weight,
        "L": parameters.liquidity.weight,
        "I": parameters.independence.weight,
    }


def problems(parameters: FactorParameters) -> list[str]:
    """What is wrong with *parameters*, named by the key; empty when they can be used."""
    found = []
    each = weights(parameters)
    if any(weight < 0.0 for weight in each.values()):
        found.append("a weight is negative")
    directional = sum(weight for letter, weight in each.items() if letter not in "LI")
    if abs(directional - DIRECTIONAL_WEIGHT) > 1e-9:
        found.append(f"the weights of T M S V C O B Q sum to {directional:g}, not {DIRECTIONAL_WEIGHT:g}")
    if abs(sum(each.values()) - ALL_WEIGHT) > 1e-9:
        found.append(f"all weights sum to {sum(each.values()):g}, not {ALL_WEIGHT:g}")
    for path, value in _numbers("", parameters):
        if value != value or abs(value) == float("inf"):  # noqa: PLR0124  NaN differs from itself
            found.append(f"{path} is no number")
        elif value <= 0 and path not in _MAY_BE_ZERO_OR_LESS:
            found.append(f"{path} is {value:g}, it must be positive")
    for name in parameters.ages.__struct_fields__:
        age: Age = getattr(parameters.ages, name)
        if age.soft_ms >= age.hard_ms:
            found.append(f"ages.{name}: the soft age is not below the hard one")
    for path, low, high in _ORDERED:
        if _at(parameters, f"{path}.{low}") >= _at(parameters, f"{path}.{high}"):
            found.append(f"{path}.{low} is not below {path}.{high}")
    if abs(parameters.basis.sign) != 1.0:
        found.append("basis.sign is neither 1 nor −1")
    return found


_MAY_BE_ZERO_OR_LESS: Final = frozenset(
    {"basis.sign", "basis.neutral_rate", "basis.dead_zone", "fund_leading.veto_below", "independence.ridge"}
)
_ORDERED: Final = (
    ("trend", "fast", "slow"),
    ("trend", "line_bars", "warm_up"),
    ("trend", "slow", "warm_up"),
    ("momentum", "average", "warm_up"),
    ("open_interest", "crowded_at", "blocked_at"),
    ("liquidity", "imbalance_low", "imbalance_high"),
    ("liquidations", "ready_bars", "whole_bars"),
)


def _numbers(path: str, part: msgspec.Struct) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name in part.__struct_fields__:
        value = getattr(part, name)
        here = f"{path}.{name}" if path else name
        if isinstance(value, msgspec.Struct):
            found += _numbers(here, value)
        else:
            found.append((here, value))
    return [(where, value) for where, value in found if not where.endswith(".weight")]


def _at(parameters: FactorParameters, path: str) -> float:
    value: object = parameters
    for name in path.split("."):
        value = getattr(value, name)
    assert isinstance(value, int | float), path
    return float(value)
