"""The only place for all the factors of one market together, each given what it needs of the market.

What a market does not say is settled here: prints of funding count as 8 h rates, basis is smoothed over the marks.
"""

from __future__ import annotations

from tests.oracle import beyond, factors
from tests.oracle.factors import Composite, Factor
from tests.oracle.machinery import BAR_MS
from tests.oracle.markets import Market


def every_factor(of: Market) -> dict[str, Factor]:
    """Every factor of a market that is told per bar, by letter; L, which is told per book, is in ``flow``."""
    told = of.events
    events = beyond.liquidations(
        told.time_ms, told.sold, average=told.average, filled=told.filled, price=told.price, quantity=told.quantity
    )
    delta, interest = factors.volume_delta(of.bars), factors.open_interest(of.bars, of.contracts)
    deviation = beyond.deviation_of_prints(
        of.funding.time_ms,
        beyond.eight_hour_rate(of.funding.rate, of.interval_hours),
        of.bars.open_ms + BAR_MS,
    )
    basis = beyond.basis_at_bars(of.mark_ms, of.mid, of.index, of.bars)
    return {
        "T": factors.trend(of.bars),
        "M": factors.momentum(of.bars),
        "S": factors.structure(of.bars),
        "V": factors.volume(of.bars),
        "C": delta,
        "O": interest,
        "B": beyond.basis_and_funding(basis, of.rate, deviation, interval_hours=of.interval_hours),
        "Q": beyond.liquidation_pressure(of.bars, events),
        "I": beyond.independence(of.bars.close, of.btc, of.eth),
        "F": factors.fund_leading(delta, interest),
    }


def composite_of(found: dict[str, Factor]) -> Composite:
    """E of every bar from what :func:`every_factor` gave, without L."""
    return factors.composite({letter: (factor.value, factor.quality) for letter, factor in found.items()})
