"""The only place where tests get plain scores from, for rules that read them: neutral, with the fields they ask for."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.scores import FactorScore, Scores

LETTERS = ("T", "M", "S", "V", "C", "O", "B", "Q", "L", "I", "F")
NEUTRAL = Scores(
    at_ms=0,
    bar_close_ms=0,
    factors={letter: FactorScore(value=0, quality=1_000, ready=True, as_of_ms=0) for letter in LETTERS},
    score=0,
    direction=0,
    coverage=1_000,
    tradable=True,
    odds_up=500_000,
    odds_long=500_000,
    odds_short=500_000,
    vetoes_long=(),
    vetoes_short=(),
    regime="flat",
    trend="flat",
    market_trend="flat",
    crowded=False,
    blocks_entries=False,
    carry_extreme=0,
    cascade_up=False,
    cascade_down=False,
    exhausted=False,
    absorption=False,
    atr_5m_milliticks=0,
    atr_1h_milliticks=0,
    swing_high=0,
    swing_low=0,
    swing_high_ms=0,
    swing_low_ms=0,
    highest_day=0,
    lowest_day=0,
    basis_millibps=0,
    funding_8h_e8=0,
    obi=0,
    ofi_z=0,
    ofi_ready=True,
    lean_millibps=0,
    spread_millibps=0,
    impact_millibps=0,
    flow_10s=0,
    flow_60s=0,
    key=(0, 0, 0, 0, 0, 0),
    until_ms=1 << 62,
)


def scores(*, values: dict[str, int] | None = None, **changes: Any) -> Scores:  # Any: fields of Scores
    """Neutral scores with *values* (letter → 1/1000 points) and any other field *changed*."""
    factors = dict(NEUTRAL.factors)
    for letter, value in (values or {}).items():
        factors[letter] = msgspec.structs.replace(factors[letter], value=value)
    return msgspec.structs.replace(NEUTRAL, factors=factors, **changes)
