"""Scale invariance: what a price is counted in, and how fine its grid is, changes no score and no level."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import engine
from pipeline.core.bars import BAR_MS
from pipeline.core.events import Bar, Bars, Event, InstrumentChanged, Liquidation, MarkPrice, Quote, Side, Trade
from pipeline.core.level_factors import LevelFactors
from pipeline.core.policies import Policy
from pipeline.core.scores import Scores
from pipeline.core.sizing import Plan, Refused, Wanted, plan_entry
from pipeline.core.units import ONE_E8, Lots, Milliseconds, Ticks
from tests.pipeline.core.test_factor_feed import INSTRUMENT
from tests.sessions.test_factors_whatever_comes import BARS, LIVE, WARM, Symbol, told

LETTERS = "TMSVCOBQLIF"
NAMES = ("open", "high", "low", "close")


def scores_of(*, price: int = 1, finer: int = 1) -> Scores:
    """
    The scores at the end of one market: every price times *price* (the grid with it, quantities divided by it, so that
    the money is the same), on a grid *finer* times as fine.
    """
    instrument = msgspec.structs.replace(
        INSTRUMENT,
        tick_e8=INSTRUMENT.tick_e8 * price // finer,
        step_e8=INSTRUMENT.step_e8 // price,
        max_price_ticks=INSTRUMENT.max_price_ticks * finer,
    )
    symbol = Symbol()
    symbol.state = engine.new_state("SOLUSDT")
    symbol.tell(InstrumentChanged(instrument), BARS[0].open_ms)
    for event, at_ms in told(BARS, turned=False):
        symbol.tell(on_scale(event, price=price, finer=finer), at_ms)
    assert WARM + LIVE == len(BARS)
    return symbol.scores(BARS[-1].open_ms + BAR_MS + 250)


def on_scale(event: Event, *, price: int, finer: int) -> Event:
    """One event of the same market, counted otherwise."""

    def ticks(thing: Any, *names: str) -> Any:
        return msgspec.structs.replace(thing, **{name: Ticks(getattr(thing, name) * finer) for name in names})

    match event:
        case Bar():
            return ticks(event, *NAMES)  # type: ignore[no-any-return]
        case Bars():
            return Bars([ticks(bar, *NAMES) for bar in event.bars])
        case Quote():
            return ticks(event, "bid", "ask")  # type: ignore[no-any-return]
        case Trade():
            return ticks(event, "price")  # type: ignore[no-any-return]
        case MarkPrice():
            return msgspec.structs.replace(event, mark=event.mark * price, index=event.index * price)
        case Liquidation():
            return msgspec.structs.replace(event, price=event.price * price)
        case _:
            return event


@pytest.mark.parametrize("price", [10, 100])
def test_a_price_counted_in_other_money_gives_the_same_scores(price: int) -> None:
    """A contract that is a tenth of another one (price × 10, quantity / 10) is judged alike, to the unit."""
    one, other = scores_of(), scores_of(price=price)

    assert {letter: one.factors[letter] for letter in LETTERS} == {letter: other.factors[letter] for letter in LETTERS}
    assert (one.score, one.odds_long, one.regime, one.trend) == (
        other.score,
        other.odds_long,
        other.regime,
        other.trend,
    )
    assert (one.swing_low, one.atr_1h_milliticks) == (other.swing_low, other.atr_1h_milliticks)


@pytest.mark.parametrize("finer", [2, 10])
def test_a_finer_grid_gives_the_same_scores(finer: int) -> None:
    """The same prices on a grid ten times as fine: every factor agrees to a thousandth of a point, levels exactly."""
    one, other = scores_of(), scores_of(finer=finer)

    assert [letter for letter in LETTERS if abs(one.value(letter) - other.value(letter)) > 1] == []
    assert abs(one.score - other.score) <= 1
    assert (one.swing_low * finer, one.swing_high * finer) == (other.swing_low, other.swing_high)


@given(st.integers(2, 1_000), st.integers(50, 3_000), st.integers(1, 50), st.integers(0, 2_000), st.sampled_from(Side))
def test_levels_are_the_same_in_ticks_whatever_a_tick_is_worth(
    price: int, atr: int, spread: int, swing: int, side: Side
) -> None:
    """Stop, targets and limit of an entry count ticks: another worth of the tick changes none of them."""

    def plan(worth: int) -> Plan | Refused:
        instrument = msgspec.structs.replace(
            INSTRUMENT,
            tick_e8=ONE_E8 * worth,
            step_e8=10**11 // 1_000,
            min_lots=1,
            min_notional_e8=0,
            min_price_ticks=1,
            max_price_ticks=10**9,
            max_lots=10**6,
            max_market_lots=10**6,
        )
        return plan_entry(
            Wanted(side=side, lots=100, notional_e8=0),
            quote=Quote(1, Ticks(50_000 - spread), Lots(9), Ticks(50_000), Lots(9), Milliseconds(0)),
            instrument=instrument,
            policy=Policy(),
            atr_e8=atr * ONE_E8 * worth,
            factors=LevelFactors(stop=(900, 1_050), target=(1_100,), swing=50_000 - swing * side.sign),
        )

    one, other = plan(1), plan(price)
    if isinstance(one, Plan):
        assert one == other
    else:
        assert isinstance(other, Refused)
