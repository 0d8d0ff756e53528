"""The only place that makes the present positions out of the words of the ``account`` topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pipeline.binance.decode import instrument_of
from pipeline.core.instruments import Instrument
from pipeline.core.units import Milliseconds
from pipeline.reporting import words
from pipeline.wire import records


class PositionRow(msgspec.Struct, frozen=True):
    """One open position or pending entry; texts as the venue writes numbers, ``open_pnl_e8`` in USDT × 10**8."""

    symbol: str
    position: str
    state: str
    side: str
    quantity: str
    entry_price: str
    stop: str
    open_pnl_e8: int
    reported_ms: Milliseconds
    cause: str


class AccountView(msgspec.Struct):
    """What the read part of the topic says: rows by symbol, instruments, the wallet, and counts."""

    rows: dict[str, PositionRow] = {}
    instruments: dict[str, Instrument] = {}
    trades: int = 0
    unreadable: int = 0

    def take(self, append_ms: int, value: bytes) -> None:
        """Fold one record; what cannot be read is counted (account quarantines it)."""
        try:
            message = records.decode_account(value)
        except msgspec.DecodeError:
            self.unreadable += 1
            return
        match message:
            case records.InstrumentsKnown():
                for symbol, raw in message.symbols.items():
                    self.instruments[symbol] = instrument_of(raw)
            case records.PositionReported():
                if message.report.lots:
                    self.rows[message.symbol] = self._row(message, append_ms)
                else:
                    self.rows.pop(message.symbol, None)
            case records.TradeReported():
                self.trades += 1
                row = self.rows.get(message.symbol)
                if row is not None and row.position == message.trade.position:
                    del self.rows[message.symbol]
            case _:
                pass

    def _row(self, message: records.PositionReported, append_ms: int) -> PositionRow:
        report = message.report
        instrument = self.instruments.get(message.symbol)
        return PositionRow(
            symbol=message.symbol,
            position=report.position,
            state=report.state,
            side="long" if report.lots > 0 else "short",
            quantity=instrument.quantity_text(abs(report.lots)) if instrument else f"{abs(report.lots)} lots",
            entry_price=words.price(report.entry_price),
            stop=instrument.price_text(report.stop) if instrument else f"{report.stop} ticks",
            open_pnl_e8=report.open_pnl,
            reported_ms=Milliseconds(append_ms),
            cause=message.cause,
        )


def view_of(entries: Iterable[tuple[int, bytes]]) -> AccountView:
    """Fold (append time, bytes) of the ``account`` topic, oldest first."""
    view = AccountView()
    for append_ms, value in entries:
        view.take(append_ms, value)
    return view


def payload(view: AccountView, *, now_ms: int) -> dict[str, Any]:  # Any: JSON for programs
    """The rows as JSON."""
    return {
        "positions": [
            msgspec.to_builtins(row) | {"age_ms": max(0, now_ms - row.reported_ms)} for row in view.rows.values()
        ]
    }
