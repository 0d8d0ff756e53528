"""
The only place that says which event of a symbol feeds which of its factors, and that keeps both in its state.

``fold`` comes after the event has been folded into the symbol's own state (book, bars, log time), because it reads
them. It decides nothing and changes nothing but the factors; a symbol without an instrument has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pipeline.core import factor_set, scores
from pipeline.core.bars import BAR_MS
from pipeline.core.data_requests import OPEN_INTEREST_HELD_MS
from pipeline.core.events import (
    Bar,
    Bars,
    DepthDiff,
    DepthSnapshot,
    Event,
    InstrumentChanged,
    MarkPrice,
    OpenInterest,
    Quote,
    Trade,
)
from pipeline.core.factor_set import FactorState
from pipeline.core.factors.parameters import DEFAULT, FactorParameters
from pipeline.core.state import SymbolState


def fold(state: SymbolState, event: Event) -> None:
    """Feed an event of a kind in ``INPUTS`` to the factors of *state*; scores of former factors are dropped."""
    before = state.factors
    state.factors = feed(before, event, state)
    if state.factors is not before:
        state.scores = None


def score(state: SymbolState) -> bool:
    """It is the symbol's turn: bring its scores up to log time. Returns False while it has no factors."""
    if state.factors is None:
        return False
    state.scores = scores.refreshed(state.scores, state.factors, now_ms=state.log_ms, parameters=DEFAULT)
    return True


def is_due(state: SymbolState) -> bool:
    """True when a symbol without a position waits for its turn (one with a position has it at every tick)."""
    return state.position is None and scores.is_due(
        state.scores, state.factors, now_ms=state.log_ms, serve_ms=DEFAULT.serve_ms
    )


def feed(
    factors: FactorState | None, event: Event, state: SymbolState, *, parameters: FactorParameters = DEFAULT
) -> FactorState | None:
    """
    Fold *event*, which *state* has folded already, and return the factors to keep.

    They are the same object, except at the first event after the instrument became known and after its tick or lot size
    changed: then they begin anew from the bars at hand.
    """
    instrument = state.instrument
    if instrument is None:
        return None
    if factors is None or factors.tick_e8 != instrument.tick_e8 or factors.step_e8 != instrument.step_e8:
        factors = factor_set.new_factor_state(
            state.symbol, tick_e8=instrument.tick_e8, step_e8=instrument.step_e8, parameters=parameters
        )
        if state.bars.bars and not state.bars.gapped:
            factor_set.rebuild(factors, state.bars.bars, now_ms=state.log_ms, parameters=parameters)
        if isinstance(event, Bar | Bars | InstrumentChanged):
            return factors
    feeder = INPUTS.get(type(event))
    if feeder is not None:
        feeder(factors, event, state, parameters)
    return factors


def _quote(factors: FactorState, event: Quote, state: SymbolState, _: FactorParameters) -> None:
    if event is state.quote:  # else an older one of a second connection
        factor_set.on_quote(factors, event, now_ms=state.log_ms)


def _book(factors: FactorState, _: DepthDiff | DepthSnapshot, state: SymbolState, parameters: FactorParameters) -> None:
    if state.book.changed:  # else an old diff of a second connection
        factor_set.on_book(factors, state.book, now_ms=state.log_ms, parameters=parameters)


def _mark(factors: FactorState, event: MarkPrice, state: SymbolState, parameters: FactorParameters) -> None:
    if event is state.mark:
        factor_set.on_mark(factors, event, now_ms=state.log_ms, parameters=parameters)


def _trade(factors: FactorState, event: Trade, state: SymbolState, _: FactorParameters) -> None:
    factor_set.on_trade(factors, event, now_ms=state.log_ms)


def _open_interest(factors: FactorState, event: OpenInterest, state: SymbolState, parameters: FactorParameters) -> None:
    factor_set.on_open_interest(
        factors, event, now_ms=state.log_ms, poll_ms=OPEN_INTEREST_HELD_MS, parameters=parameters
    )


def _bar(factors: FactorState, event: Bar, state: SymbolState, parameters: FactorParameters) -> None:
    if not event.closed:
        return
    ranges = factor_set.ranges_of(state.bars)
    factor_set.on_closed_bar(factors, event, ranges=ranges, now_ms=state.log_ms, parameters=parameters)


def _bars(factors: FactorState, _: Bars, state: SymbolState, parameters: FactorParameters) -> None:
    """The history was merged with a REST answer: one late bar is folded, anything else is built again (20 ms)."""
    history = state.bars
    if history.gapped or not history.bars:
        return
    newest = history.bars[-1]
    if not factors.hole and newest.open_ms == factors.bar_open_ms:
        return
    if not factors.hole and newest.open_ms == factors.bar_open_ms + BAR_MS:
        ranges = factor_set.ranges_of(history)
        factor_set.on_closed_bar(factors, newest, ranges=ranges, now_ms=state.log_ms, parameters=parameters)
        return
    factor_set.rebuild(factors, history.bars, now_ms=state.log_ms, parameters=parameters)


def _begins(_: FactorState, __: InstrumentChanged, ___: SymbolState, ____: FactorParameters) -> None:
    """Nothing but the beginning, which ``feed`` has made."""


# Which events are inputs of factors; nothing else is.
INPUTS: Final[dict[type, Callable[[FactorState, Any, SymbolState, FactorParameters], None]]] = {
    Quote: _quote,
    DepthDiff: _book,
    DepthSnapshot: _book,
    MarkPrice: _mark,
    Trade: _trade,
    OpenInterest: _open_interest,
    Bar: _bar,
    Bars: _bars,
    InstrumentChanged: _begins,
}
