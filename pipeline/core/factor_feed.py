"""
The only place that says which event of a symbol feeds which of its factors, and that keeps both in its state.

``fold`` comes after the event has been folded into the symbol's own state (book, bars, log time), because it reads
them. It decides nothing and changes nothing but the factors; a symbol without an instrument has none. ``score`` is
called when it is the symbol's turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pipeline.core import factor_set, scores
from pipeline.core.bars import BAR_MS
from pipeline.core.data_requests import open_interest_poll_ms
from pipeline.core.events import (
    Bar,
    Bars,
    BasisHistory,
    DepthDiff,
    DepthSnapshot,
    Event,
    FundingHistory,
    FundingInfo,
    InstrumentChanged,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OpenInterestHistory,
    PolicySet,
    Quote,
    ReferenceBars,
    Trade,
)
from pipeline.core.factor_set import FactorState
from pipeline.core.factors.independence import BITCOIN, ETHER
from pipeline.core.factors.parameters import DEFAULT, FactorParameters, parameters_of
from pipeline.core.instruments import Instrument
from pipeline.core.scores import Shown
from pipeline.core.state import SymbolState
from pipeline.core.units import Milliseconds

REFERENCES: Final = (BITCOIN, ETHER)
Feeder = Callable[[FactorState, Any, SymbolState, FactorParameters], None]  # Any: the event of its row
LARGEST_E8: Final = 1 << 62
SHARED_BARS: Final = 289  # as many closes as give the 288 returns of domain 4.10


def fold(state: SymbolState, event: Event, feeder: Feeder) -> None:
    """
    Feed an event to the factors of *state* by its row of ``INPUTS``.

    At the first event after the instrument became known, after its tick or lot size changed and after the configuration
    of the factors changed, they begin anew from the bars at hand, and scores of former factors are dropped.
    """
    instrument = state.instrument
    if instrument is None:
        return
    overrides = state.policy.factors
    parameters = parameters_of(overrides) if overrides else DEFAULT
    factors = state.factors
    if (
        factors is None
        or factors.tick_e8 != instrument.tick_e8
        or factors.step_e8 != instrument.step_e8
        or factors.overrides != overrides
    ):
        factors = _begin(state, instrument, parameters)
        if isinstance(event, Bar | Bars):
            return  # it is among the bars they begin from
    feeder(factors, event, state, parameters)


def _begin(state: SymbolState, instrument: Instrument, parameters: FactorParameters) -> FactorState:
    factors = factor_set.new_factor_state(
        state.symbol, tick_e8=instrument.tick_e8, step_e8=instrument.step_e8, parameters=parameters
    )
    if state.bars.bars and not state.bars.gapped:
        factor_set.rebuild(factors, state.bars.bars, now_ms=state.log_ms, parameters=parameters)
    factors.overrides = state.policy.factors
    state.factors, state.scores, state.shown = factors, None, None
    return factors


# ------------------------------------------------------------------------------------------------------------- turns


def score(state: SymbolState) -> bool:
    """
    It is the symbol's turn: bring its scores up to log time, and note in ``shown`` when they are to be published.

    Returns True when they speak of a closed bar that none before has spoken of, also not those of former factors
    (another grid, other parameters): what is asked once a bar is asked once.
    """
    if state.factors is None:
        return False
    known = state.scores
    parameters = parameters_of(state.factors.overrides)
    if state.position is None:  # one that was held is polled more seldom from now on: its last poll is not old by that
        state.factors.interest.poll_ms = open_interest_poll_ms(state)
    found = state.scores = scores.refreshed(known, state.factors, now_ms=state.log_ms, parameters=parameters)
    price = _price_e8(state)
    if scores.is_news(state.shown, found, price_e8=price, moved_bps=state.policy.factor_publish_bps):
        state.shown = Shown(at_ms=found.at_ms, bar_close_ms=found.bar_close_ms, price_e8=price)
    if found.bar_close_ms <= state.scored_close_ms:
        return False
    state.scored_close_ms = found.bar_close_ms
    return True


def is_due(state: SymbolState) -> bool:
    """True when a symbol without a position waits for its turn (one with a position has it at every tick)."""
    factors = state.factors
    if factors is None or state.position is not None or state.halted:
        return False
    serve_ms = parameters_of(factors.overrides).serve_ms
    return scores.is_due(state.scores, factors, now_ms=state.log_ms, serve_ms=serve_ms)


def bars_to_share(state: SymbolState) -> ReferenceBars | None:
    """What other symbols read of Bitcoin and Ether; None for every other symbol and while the bars are not whole."""
    history = state.bars
    if state.symbol not in REFERENCES or state.scores is None or history.gapped or len(history.bars) < 2:
        return None
    bars = history.bars[-SHARED_BARS:]
    return ReferenceBars(
        symbol=state.symbol,
        open_ms=Milliseconds(bars[-1].open_ms),
        closes=[bar.close for bar in bars],
        trend=state.scores.trend,
    )


def _price_e8(state: SymbolState) -> int:
    """The mark price, else the middle of the quote; 0 while there is neither or it cannot be."""
    price = 0
    if state.mark is not None:
        price = state.mark.mark
    elif state.quote is not None and state.instrument is not None:
        price = (state.quote.bid + state.quote.ask) * state.instrument.tick_e8 // 2
    return price if 0 <= price < LARGEST_E8 else 0


# ------------------------------------------------------------------------------------------------------------ inputs


def _quote(factors: FactorState, event: Quote, state: SymbolState, _: FactorParameters) -> None:
    # An older one of a second connection changes nothing; one read by REST is no event of the order flow.
    if event is state.quote and not event.polled:
        factor_set.on_quote(factors, event, now_ms=state.log_ms)


def _book(factors: FactorState, _: DepthDiff | DepthSnapshot, state: SymbolState, parameters: FactorParameters) -> None:
    if state.book.changed:  # else an old diff of a second connection
        factor_set.on_book(factors, state.book, now_ms=state.log_ms, parameters=parameters)


def _mark(factors: FactorState, event: MarkPrice, state: SymbolState, parameters: FactorParameters) -> None:
    """A mark price is also a sign of life of the route that carries liquidations: their silence means none."""
    if event is state.mark:
        factor_set.on_mark(factors, event, now_ms=state.log_ms, parameters=parameters)
        factor_set.on_liquidation_socket(factors, now_ms=state.log_ms, parameters=parameters)


def _trade(factors: FactorState, event: Trade, state: SymbolState, _: FactorParameters) -> None:
    factor_set.on_trade(factors, event, now_ms=state.log_ms)


def _open_interest(factors: FactorState, event: OpenInterest, state: SymbolState, parameters: FactorParameters) -> None:
    poll_ms = open_interest_poll_ms(state)
    factor_set.on_open_interest(factors, event, now_ms=state.log_ms, poll_ms=poll_ms, parameters=parameters)


def _open_interest_history(
    factors: FactorState, event: OpenInterestHistory, state: SymbolState, parameters: FactorParameters
) -> None:
    factor_set.on_open_interest_history(factors, event, poll_ms=open_interest_poll_ms(state), parameters=parameters)


def _basis_history(factors: FactorState, event: BasisHistory, _: SymbolState, parameters: FactorParameters) -> None:
    factor_set.on_basis_history(factors, event.rows, parameters=parameters)


def _funding_history(factors: FactorState, event: FundingHistory, _: SymbolState, parameters: FactorParameters) -> None:
    factor_set.on_funding_history(factors, event.rows, parameters=parameters)


def _funding_info(factors: FactorState, event: FundingInfo, _: SymbolState, __: FactorParameters) -> None:
    factor_set.on_funding_interval(factors, event.interval_hours)


def _liquidation(factors: FactorState, event: Liquidation, state: SymbolState, parameters: FactorParameters) -> None:
    factor_set.on_liquidation(
        factors,
        side=event.side,
        price_e8=event.price,
        lots=event.lots,
        trade_ms=event.trade_ms,
        now_ms=state.log_ms,
        parameters=parameters,
    )


def _reference(factors: FactorState, event: ReferenceBars, state: SymbolState, _: FactorParameters) -> None:
    if event.symbol != state.symbol:
        own = [] if state.bars.gapped else state.bars.bars
        factor_set.on_reference_bars(factors, event, own, now_ms=state.log_ms)


def _bar(factors: FactorState, event: Bar, state: SymbolState, parameters: FactorParameters) -> None:
    if not event.closed:
        return
    ranges = factor_set.ranges_of(state.bars)
    factor_set.on_closed_bar(factors, event, ranges=ranges, now_ms=state.log_ms, parameters=parameters)


def _bars(factors: FactorState, _: Bars, state: SymbolState, parameters: FactorParameters) -> None:
    """The history was merged with a REST answer: one late bar is folded, anything else is built again (10 ms)."""
    history = state.bars
    if history.gapped or not history.bars:
        return
    newest = history.bars[-1]
    whole = not factors.hole and factors.bars.prices.bars + 1 >= len(history.bars)  # else older bars came to light
    if whole and newest.open_ms == factors.bar_open_ms:
        return
    if whole and newest.open_ms == factors.bar_open_ms + BAR_MS:
        ranges = factor_set.ranges_of(history)
        factor_set.on_closed_bar(factors, newest, ranges=ranges, now_ms=state.log_ms, parameters=parameters)
        return
    factor_set.rebuild(factors, history.bars, now_ms=state.log_ms, parameters=parameters)


def _begins(_: FactorState, __: InstrumentChanged | PolicySet, ___: SymbolState, ____: FactorParameters) -> None:
    """Nothing but the beginning, which ``fold`` has made."""


# Which events are inputs of factors; nothing else is.
INPUTS: Final[dict[type, Feeder]] = {
    Quote: _quote,
    DepthDiff: _book,
    DepthSnapshot: _book,
    MarkPrice: _mark,
    Trade: _trade,
    OpenInterest: _open_interest,
    OpenInterestHistory: _open_interest_history,
    BasisHistory: _basis_history,
    FundingHistory: _funding_history,
    FundingInfo: _funding_info,
    Liquidation: _liquidation,
    ReferenceBars: _reference,
    Bar: _bar,
    Bars: _bars,
    InstrumentChanged: _begins,
    PolicySet: _begins,
}
