"""The only place for the test of the market whose factors are measured: nothing is skipped in what is timed."""

from __future__ import annotations

from pipeline.benchmarks.factors import market
from pipeline.core.factor_values import values


def test_every_factor_of_the_measured_market_is_ready() -> None:
    """All eleven have a value: a missing one would make the figure look better than it is."""
    state, now_ms = market(400)

    assert [] == [letter for letter, factor in values(state, now_ms=now_ms).factors.items() if not factor.ready]
