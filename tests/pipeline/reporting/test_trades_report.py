"""Tests of the report of closed positions."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from pipeline.core.commands import ReportTrade
from pipeline.core.events import Side
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.reporting.trades_report import episodes_of, payload, report_of, table_of
from pipeline.wire import records


def trade(position: str, *, realised: int = 12 * ONE_E8, outcome: str = "target") -> bytes:
    """A closed long of BTCUSDT."""
    told = ReportTrade(
        position=position,
        side=Side.BUY,
        lots=Lots(5),
        entry_price=E8(100 * ONE_E8),
        exit_price=E8(110 * ONE_E8),
        opened_ms=Milliseconds(1_000),
        closed_ms=Milliseconds(31_500),
        realised=E8(realised),
        fees=E8(ONE_E8 // 2),
        initial_stop=Ticks(990),
        last_stop=Ticks(1_005),
        stop_moves=2,
        reason="X7",
        outcome=outcome,
    )
    return records.encode(records.TradeRecord(f"{position}-trade", "BTCUSDT", "0/5/1", told))


def episode(symbol: str, longest: int) -> dict[str, Any]:
    """The ledger's view of a position."""
    rail = {"longest_ms": longest, "naked_ms": longest + 1, "first_covered_after_ms": longest}
    return {"kind": "position_closed", "symbol": symbol, "naked": {"any": rail}, "loosened": []}


def test_repeats_count_once_and_sums_are_exact() -> None:
    """A trade record that was sent again after a crash is one trade."""
    report = report_of([trade("p"), trade("p"), trade("q", realised=-3 * ONE_E8)], instruments={})

    assert ["p", "q"] == [row.id for row in report.rows]
    assert (9 * ONE_E8, ONE_E8, 8 * ONE_E8) == (report.realised_e8, report.fees_e8, payload(report)["net_e8"])


def test_naked_time_comes_from_the_ledger_in_order() -> None:
    """Episodes of a symbol join its trades in their order; without a ledger nothing is claimed."""
    episodes = episodes_of([episode("BTCUSDT", 40), {"kind": "fill"}, episode("ETHUSDT", 1), episode("BTCUSDT", 70)])
    report = report_of([trade("p"), trade("q")], instruments={}, episodes=episodes)

    assert [40, 70] == [row.naked_ms_max for row in report.rows]
    assert [None] == [row.naked_ms_max for row in report_of([trade("p")], instruments={}).rows]


def test_the_table_says_how_each_ended() -> None:
    """PnL, fees, time held, the way it ended and the net sum stand in the table."""
    console = Console(width=170, record=True, file=io.StringIO())
    console.print(table_of(report_of([trade("p", outcome="trailing_stop")], instruments={})))
    text = console.export_text()

    for word in ("+12.00", "-0.50", "30.5 s", "by trailing stop (X7)", "net +11.50 USDT"):
        assert word in text, (word, text)
