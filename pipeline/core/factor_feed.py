"""
The only place that says which event of a symbol feeds which of its factors.

``feed`` is to be called after the event has been folded into the symbol's own state (book, bars, log time), because it
reads them. It decides nothing and changes nothing but the factors; a symbol without an instrument has none.
"""

from __future__ import annotations

from pipeline.core import factor_set
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
    now_ms = state.log_ms
    match event:
        case Quote():
            if event is state.quote:  # else an older one of a second connection
                factor_set.on_quote(factors, event, now_ms=now_ms)
        case DepthDiff() | DepthSnapshot():
            factor_set.on_book(factors, state.book, now_ms=now_ms, parameters=parameters)
        case MarkPrice():
            if event is state.mark:
                factor_set.on_mark(factors, event, now_ms=now_ms, parameters=parameters)
        case Trade():
            factor_set.on_trade(factors, event, now_ms=now_ms)
        case OpenInterest():
            factor_set.on_open_interest(
                factors, event, now_ms=now_ms, poll_ms=OPEN_INTEREST_HELD_MS, parameters=parameters
            )
        case Bar():
            ranges = factor_set.ranges_of(state.bars)
            factor_set.on_closed_bar(factors, event, ranges=ranges, now_ms=now_ms, parameters=parameters)
        case Bars():
            _filled(factors, state, parameters)
        case _:
            pass  # nothing else is an input of a factor
    return factors


def _filled(factors: FactorState, state: SymbolState, parameters: FactorParameters) -> None:
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
