"""
The only place that makes the report of closed positions: what each earned, paid, how long it lasted and how it ended.

A fold over ``trades`` records (repeats dropped by id), joined with the exchange's own ledger where one is at hand:
naked time is the venue's judgement, never ours. Trades and episodes of a symbol are joined in their order, because the
venue knows nothing of our ids and its clock is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from rich.table import Table

from pipeline.core.instruments import Instrument
from pipeline.core.units import E8
from pipeline.reporting import words
from pipeline.wire import records

Json: TypeAlias = Any  # a JSON value of the exchange's ledger or for programs


class ReportRow(msgspec.Struct, frozen=True):
    """One closed position; money in E8 USDT, times in log ms. ``naked_*`` are None without a ledger."""

    id: str
    symbol: str
    side: str
    quantity: str
    entry_price: str
    exit_price: str
    realised_e8: E8
    fees_e8: E8
    opened_ms: int
    closed_ms: int
    outcome: str
    reason: str
    initial_stop: str
    last_stop: str
    stop_moves: int
    cause: str
    naked_ms_max: int | None = None
    naked_ms: int | None = None
    first_covered_ms: int | None = None
    loosened: int | None = None


class TradesReport(msgspec.Struct, frozen=True):
    """All rows, oldest first, and their sums."""

    rows: list[ReportRow]
    realised_e8: E8
    fees_e8: E8


def report_of(
    values: Iterable[bytes], *, instruments: Mapping[str, Instrument], episodes: Sequence[Json] = ()
) -> TradesReport:
    """
    Fold ``trades`` records (bytes, oldest first); *episodes* are the ledger's, in its form.

    Raises msgspec.DecodeError for a record that is none.
    """
    by_id: dict[str, records.TradeRecord] = {}
    for value in values:
        record = records.decode_trade(value)
        by_id.setdefault(record.trade.position, record)
    by_symbol: dict[str, list[Json]] = {}
    for episode in episodes:
        by_symbol.setdefault(episode["symbol"], []).append(episode)
    rows = []
    for record in by_id.values():
        waiting = by_symbol.get(record.symbol, [])
        episode = waiting.pop(0) if waiting else None
        rows.append(_row(record, instruments.get(record.symbol), episode))
    return TradesReport(
        rows=rows,
        realised_e8=E8(sum(row.realised_e8 for row in rows)),
        fees_e8=E8(sum(row.fees_e8 for row in rows)),
    )


def _row(record: records.TradeRecord, instrument: Instrument | None, episode: Json | None) -> ReportRow:
    trade = record.trade
    rail = None if episode is None else episode["naked"]["any"]
    return ReportRow(
        id=trade.position,
        symbol=record.symbol,
        side="long" if trade.side.sign > 0 else "short",
        quantity=instrument.quantity_text(abs(trade.lots)) if instrument else f"{abs(trade.lots)} lots",
        entry_price=words.price(trade.entry_price),
        exit_price=words.price(trade.exit_price),
        realised_e8=trade.realised,
        fees_e8=trade.fees,
        opened_ms=trade.opened_ms,
        closed_ms=trade.closed_ms,
        outcome=trade.outcome,
        reason=trade.reason,
        initial_stop=instrument.price_text(trade.initial_stop) if instrument else f"{trade.initial_stop} ticks",
        last_stop=instrument.price_text(trade.last_stop) if instrument else f"{trade.last_stop} ticks",
        stop_moves=trade.stop_moves,
        cause=record.cause,
        naked_ms_max=None if rail is None else rail["longest_ms"],
        naked_ms=None if rail is None else rail["naked_ms"],
        first_covered_ms=None if rail is None else rail["first_covered_after_ms"],
        loosened=None if episode is None else len(episode["loosened"]),
    )


def episodes_of(lines: Iterable[Json]) -> list[Json]:
    """The closed episodes in the lines of a ledger file."""
    return [line for line in lines if line.get("kind") == "position_closed"]


def payload(report: TradesReport) -> dict[str, Json]:
    """The report for programs."""
    return {
        "positions": [msgspec.to_builtins(row) for row in report.rows],
        "realised_e8": report.realised_e8,
        "fees_e8": report.fees_e8,
        "net_e8": report.realised_e8 - report.fees_e8,
    }


def table_of(report: TradesReport) -> Table:
    """The report for people; money in USDT, times in UTC."""
    table = Table(title=f"{len(report.rows)} closed positions", title_justify="left", pad_edge=False)
    for name in ("symbol", "side", "quantity", "entry", "exit", "PnL", "fees", "held", "ended", "stop moves", "naked"):
        table.add_column(name, justify="left" if name in ("symbol", "side", "ended") else "right", no_wrap=True)
    for row in report.rows:
        table.add_row(
            row.symbol,
            row.side,
            row.quantity,
            row.entry_price,
            row.exit_price,
            words.money(row.realised_e8),
            words.money(-row.fees_e8),
            words.duration(max(0, row.closed_ms - row.opened_ms)),
            f"{words.outcome(row.outcome)} ({row.reason})",
            str(row.stop_moves),
            "–" if row.naked_ms_max is None else words.duration(row.naked_ms_max),
        )
    net = words.money(report.realised_e8 - report.fees_e8)
    fees = words.money(report.fees_e8).lstrip("+")
    table.caption = f"net {net} USDT = {words.money(report.realised_e8)} less {fees} of fees"
    table.caption_justify = "left"
    return table
