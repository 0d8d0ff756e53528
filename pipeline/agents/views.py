"""
The only place that turns states into rows of the view tables, and that decides when a row is due.

``positions`` at every change of the position and once a second while one is open; market views once a second for held
symbols and every 30 s in turn for the rest: 600 writes a second would eat a fifth of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from pipeline.core import factor_values, positions
from pipeline.core.factor_set import FactorState
from pipeline.core.factors.parameters import parameters_of
from pipeline.core.feeds import entry_blocks
from pipeline.core.state import SymbolState
from pipeline.core.units import E8, Lots, Milliseconds
from pipeline.streaming.folding import View
from pipeline.wire.records import FactorRow, PositionView, factor_rows
from pipeline.wire.views import BookView, FactorView, PriceView

HELD_MS: Final = 1_000
REST_MS: Final = 30_000
LEVELS: Final = 10
_encode = msgspec.json.Encoder().encode


class ViewClock:
    """Says which rows of one partition are due; *now_ms* is any clock that only runs forward."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._next_look_ms = 0
        self._shown: dict[str, bool] = {}  # absent: a row of an earlier life may stand in the table

    def rows(self, states: Mapping[str, SymbolState], changed: list[str], *, now_ms: int) -> Iterator[View]:
        """Rows due now; *changed* names the symbols about whose position something was just decided."""
        for symbol in changed:
            yield from self._position(states[symbol])
        if now_ms < self._next_look_ms:
            return
        self._next_look_ms = now_ms + HELD_MS // 4
        for order, (symbol, state) in enumerate(states.items()):
            # New symbols start spread over the interval, so that the rest is written in turn.
            due = self._due.setdefault(symbol, now_ms + (order % 30) * (REST_MS // 30))
            held = state.position is not None
            if held:
                due = min(due, self._due[symbol] - REST_MS + HELD_MS)
            if now_ms < due:
                continue
            self._due[symbol] = now_ms + REST_MS
            yield from market_rows(state)
            yield from self._position(state)

    def _position(self, state: SymbolState) -> Iterator[View]:
        view = position_view(state)
        if view is not None:
            self._shown[state.symbol] = True
            yield View("positions", state.symbol, _encode(view))
        elif self._shown.get(state.symbol, True):
            self._shown[state.symbol] = False
            yield View("positions", state.symbol, None)


def market_rows(state: SymbolState) -> Iterator[View]:
    """The rows of ``prices``, ``books`` and ``factors`` of a symbol whose instrument is known."""
    instrument = state.instrument
    if instrument is None:
        return
    symbol, log_ms = state.symbol, Milliseconds(state.log_ms)
    quote, mark = state.quote, state.mark
    bid = instrument.price_e8(quote.bid) if quote else E8(0)
    ask = instrument.price_e8(quote.ask) if quote else E8(0)
    price = PriceView(
        symbol=symbol,
        bid=bid,
        ask=ask,
        mark=mark.mark if mark else E8(0),
        index=mark.index if mark else E8(0),
        quote_ms=quote.event_ms if quote else Milliseconds(0),
        mark_ms=mark.event_ms if mark else Milliseconds(0),
        log_ms=log_ms,
    )
    yield View("prices", symbol, _encode(price))
    bids, asks = state.book.top(LEVELS)
    book = BookView(
        symbol=symbol,
        status=str(state.book.status.value),
        last_update_id=state.book.last_update_id,
        tick_e8=instrument.tick_e8,
        step_e8=instrument.step_e8,
        bids=bids,
        asks=asks,
        log_ms=log_ms,
    )
    yield View("books", symbol, _encode(book))
    factors = FactorView(
        symbol=symbol,
        atr_5m=E8(state.bars.five_minutes.e8(instrument.tick_e8)),
        atr_1h=E8(state.bars.one_hour.e8(instrument.tick_e8)),
        spread=E8(max(ask - bid, 0) if quote else 0),
        bars=len(state.bars.bars),
        bars_ready=state.bars.ready,
        entry_blocks=entry_blocks(state),
        log_ms=log_ms,
        factors={} if state.factors is None else _factor_rows(state.factors, now_ms=log_ms),
        scores=state.scores,
    )
    yield View("factors", symbol, _encode(factors))


def _factor_rows(factors: FactorState, *, now_ms: int) -> dict[str, FactorRow]:
    vector = factor_values.values(factors, now_ms=now_ms, parameters=parameters_of(factors.overrides))
    return factor_rows(vector.factors)


def position_view(state: SymbolState) -> PositionView | None:
    """What people read about the symbol's position; None when there is none."""
    position, instrument = state.position, state.instrument
    if position is None or instrument is None:
        return None
    mark = state.mark.mark if state.mark else E8(0)
    return PositionView(
        symbol=state.symbol,
        position=position.id,
        state=position.stage.value,
        side=position.side,
        lots=Lots(position.lots),
        entry_price=E8(positions.entry_price_e8(position)),
        stop=instrument.price_e8(position.stop),
        target=instrument.price_e8(position.target),
        last_target=instrument.price_e8(position.last_target),
        mark=mark,
        open_pnl=E8(positions.open_pnl_e8(position, instrument, mark) if mark else 0),
        protected=positions.protected(position),
        opened_ms=Milliseconds(position.opened_ms),
        log_ms=Milliseconds(state.log_ms),
    )
