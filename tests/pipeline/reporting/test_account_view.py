"""Tests of the present positions made of the account topic's words."""

from __future__ import annotations

from pipeline.core.commands import ReportPosition, ReportTrade
from pipeline.core.events import Side
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from pipeline.reporting.account_view import PositionRow, payload, view_of
from pipeline.wire import records
from tests.account_desk import instruments_known


def reported(position: str, lots: int, cause: str = "0/1/1") -> bytes:
    """Decide's word on BTCUSDT."""
    report = ReportPosition(position, "OPEN", Lots(lots), E8(60_000 * ONE_E8), Ticks(595_000), E8(5))
    return records.encode(records.PositionReported("BTCUSDT", cause, report))


def ended(position: str) -> bytes:
    """Decide's word that BTCUSDT is flat."""
    money, moment = E8(0), Milliseconds(0)
    trade = ReportTrade(
        position=position,
        side=Side.BUY,
        lots=Lots(1),
        entry_price=money,
        exit_price=money,
        opened_ms=moment,
        closed_ms=moment,
        realised=money,
        fees=money,
        initial_stop=Ticks(0),
        last_stop=Ticks(0),
        stop_moves=0,
        reason="X7",
        outcome="target",
    )
    return records.encode(records.TradeReported("BTCUSDT", "0/2/0", trade))


def test_the_last_word_on_a_position_is_shown_on_the_venues_grid() -> None:
    """Lots and ticks become texts of the venue, the sign becomes the side."""
    view = view_of([(1, records.encode(instruments_known())), (2, reported("p", 5)), (3, reported("p", -250))])

    row = PositionRow("BTCUSDT", "p", "OPEN", "short", "0.25", "60000", "59500", 5, Milliseconds(3), "0/1/1")
    assert {"BTCUSDT": row} == view.rows
    assert 7 == payload(view, now_ms=10)["positions"][0]["age_ms"]


def test_without_instruments_units_are_named() -> None:
    """Before exchangeInfo is seen, lots and ticks are shown as such instead of a made-up number."""
    row = view_of([(1, reported("p", 5))]).rows["BTCUSDT"]

    assert ("5 lots", "595000 ticks") == (row.quantity, row.stop)


def test_flat_positions_are_not_shown() -> None:
    """A trade ends its own position only; a report of nothing ends it too; rubbish is counted."""
    assert {} == view_of([(1, reported("p", 5)), (2, ended("p"))]).rows
    assert ["BTCUSDT"] == list(view_of([(1, reported("p", 5)), (2, ended("other"))]).rows)
    assert {} == view_of([(1, reported("p", 5)), (2, reported("p", 0))]).rows
    assert 1 == view_of([(1, b"rubbish")]).unreadable
