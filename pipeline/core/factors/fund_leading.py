"""
The only place for regulator F, fund leading (domain 4.11): money moves before price is good, chasing is bad.

money = 0.6·tanh(z_C/2) + 0.4·tanh(max(0, x_o)/2)·tanh(z_C/0.5); price = tanh(x_p/2). **F = 100·tanh(money − price)**,
−100 … 100. For a side, F_al = side·F gives the multiplier 1 + 0.15·tanh(F_al/40) ∈ [0.85, 1.15] of the odds; below −70
it is 0.60 and there is no entry. Not ready: 1. (A plain sgn(z_C) made F jump 37–69 points at zero [sim].)
"""

from __future__ import annotations

import msgspec

from pipeline.core.factors.factor import Factor, give, missing
from pipeline.core.numerics import tanh


class FundLeadingParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.11."""

    delta_part: float = 0.6
    delta_scale: float = 2.0
    interest_part: float = 0.4
    interest_scale: float = 2.0
    sign_scale: float = 0.5
    price_scale: float = 2.0
    multiplier_part: float = 0.15
    multiplier_scale: float = 40.0
    veto_below: float = -70.0
    veto_multiplier: float = 0.60


def score(*, z: float, interest: float, price: float, parameters: FundLeadingParameters) -> float:
    """F from z_C, x_o and x_p."""
    money = parameters.delta_part * tanh(z / parameters.delta_scale)
    money += (
        parameters.interest_part
        * tanh(max(0.0, interest) / parameters.interest_scale)
        * tanh(z / parameters.sign_scale)
    )
    return 100.0 * tanh(money - tanh(price / parameters.price_scale))


def multiplier(aligned: float, parameters: FundLeadingParameters) -> float:
    """The multiplier of the odds for F_al = side·F."""
    if aligned < parameters.veto_below:
        return parameters.veto_multiplier
    return 1.0 + parameters.multiplier_part * tanh(aligned / parameters.multiplier_scale)


def factor(
    delta: Factor, interest: Factor, parameters: FundLeadingParameters, *, version: tuple[int, ...], now_ms: int
) -> Factor:
    """F out of C and O: as good as the worse of them, missing when one is."""
    asof_ms = min(delta.asof_ms, interest.asof_ms)
    until = min(delta.steady_until_ms, interest.steady_until_ms)
    if not (delta.ready and interest.ready):
        lacking = " and ".join(name for name, each in (("C", delta), ("O", interest)) if not each.ready)
        return missing(f"{lacking} missing", asof_ms=asof_ms, version=version, steady_until_ms=until)
    value = score(
        z=float(delta.detail["z"]),
        interest=float(interest.detail["x_o"]),
        price=float(interest.detail["x_p"]),
        parameters=parameters,
    )
    return give(value, min(delta.quality, interest.quality), asof_ms, version, {}, until)
