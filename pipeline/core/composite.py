"""
The only place where factors become one number: coverage, E and P (domain 4.12), and the published score (domain 3.4).

coverage = sum_D w·q / 130 over T M S V C O B Q; below 0.60 the symbol is not tradable. E_dir = sum_D w·q·s / sum_D w·q.
adj = (20·q_L·(2L − 100) + 10·q_I·(2I − 100)) / (20·q_L + 10·q_I) / 100 ∈ [−1, 1], 0 when both are missing.
**E = E_dir·(1 + 0.15·adj)**: quality scales conviction, never direction. The odds of a side are
logit P = 3·side·E/100 + 1.5·ln(mult of F for that side), so that negating every directional score and F swaps P_long
and P_short to the bit; × 0.85 for the side that pays an extreme carry. P is a score until it is calibrated.

Missing factors drop out of numerator and denominator. ``origin_score`` (sum of all ten w·s / 160) is for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.core.factors.factor import Factor
from pipeline.core.factors.fund_leading import FundLeadingParameters, multiplier
from pipeline.core.numerics import clip, exp, ln, total

DIRECTIONAL: Final = ("T", "M", "S", "V", "C", "O", "B", "Q")


class CompositeParameters(msgspec.Struct, frozen=True):
    """Numbers of domain 4.12."""

    least_coverage: float = 0.60
    quality_part: float = 0.15
    slope: float = 3.0
    multiplier_power: float = 1.5
    carry_factor: float = 0.85


class Composite(msgspec.Struct, frozen=True):
    """
    What all factors say together.

    ``direction`` is E_dir, ``score`` E. ``vetoes`` maps "long"/"short" to why no entry may be made on that side.
    """

    coverage: float
    direction: float
    adjustment: float
    score: float
    odds_up: float
    long: float
    short: float
    tradable: bool
    vetoes: dict[str, list[str]]


def compose(
    factors: Mapping[str, Factor],
    weights: Mapping[str, float],
    parameters: CompositeParameters,
    fund_leading: FundLeadingParameters,
) -> Composite:
    """The composite of *factors* by letter; every letter of T M S V C O B Q L I F must be there, missing or not."""
    known = whole = lean = 0.0
    for letter in DIRECTIONAL:
        factor = factors[letter]
        share = weights[letter] * factor.quality
        whole += weights[letter]
        known += share
        lean += share * factor.value
    direction = lean / known if known > 0.0 else 0.0
    adjustment = _adjustment(factors, weights)
    score = direction * (1.0 + parameters.quality_part * adjustment)
    coverage = known / whole
    flow = factors["F"]
    carry = factors["B"].detail.get("carry_extreme", 0) if factors["B"].ready else 0
    odds: dict[int, float] = {}
    vetoes: dict[str, list[str]] = {}
    for side, name in ((1, "long"), (-1, "short")):
        aligned = side * flow.value
        mult = multiplier(aligned, fund_leading) if flow.ready else 1.0
        p = probability(side * score, mult, parameters)
        reasons = []
        if flow.ready and aligned < fund_leading.veto_below:
            reasons.append("chases: money does not lead")
        if carry == side:
            p *= parameters.carry_factor
            reasons.append("pays an extreme carry")
        if factors["O"].detail.get("blocks_entries", False):
            reasons.append("open interest is crowded")
        odds[side] = p
        vetoes[name] = reasons
    return Composite(
        coverage=coverage,
        direction=direction,
        adjustment=adjustment,
        score=score,
        odds_up=probability(score, 1.0, parameters),
        long=odds[1],
        short=odds[-1],
        tradable=coverage >= parameters.least_coverage,
        vetoes=vetoes,
    )


def _adjustment(factors: Mapping[str, Factor], weights: Mapping[str, float]) -> float:
    share = lean = 0.0
    for letter in ("L", "I"):
        part = weights[letter] * factors[letter].quality
        share += part
        lean += part * (2.0 * factors[letter].value - 100.0)
    return lean / share / 100.0 if share > 0.0 else 0.0


def probability(score: float, mult: float, parameters: CompositeParameters) -> float:
    """P of the side that *score* speaks for (E of a long, −E of a short), with the multiplier of F."""
    logit = parameters.slope * score / 100.0
    if mult != 1.0:
        logit += parameters.multiplier_power * ln(mult)
    return 1.0 / (1.0 + exp(-logit))


def origin_score(factors: Mapping[str, Factor], weights: Mapping[str, float]) -> float:
    """The origin's sum, missing factors as 0: for comparison only, nothing decides on it."""
    letters = (*DIRECTIONAL, "L", "I")
    all_weights = total(weights[letter] for letter in letters)
    return total(weights[letter] * factors[letter].value for letter in letters if factors[letter].ready) / all_weights


PUBLISHED_SHARE: Final = 0.3
PUBLISHED_STEP: Final = 15.0
PUBLISHED_TURN: Final = 10.0


def published(before: float, score: float) -> float:
    """
    The next published score (domain 3.4): 0.3 of the way, at most ±15 a bar, for messages and never for exits.

    The sign may change only when the score itself stands at 10 or more on the other side; until then it waits at 0.
    """
    after = before + clip(PUBLISHED_SHARE * (score - before), -PUBLISHED_STEP, PUBLISHED_STEP)
    if before * after < 0.0 and abs(score) < PUBLISHED_TURN:
        return 0.0
    return after
