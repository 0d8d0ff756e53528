"""Tests of ``perpguard positions``."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner

from pipeline.commands.positions import positions, table_of
from pipeline.console.log_access import send
from pipeline.core.commands import ReportPosition
from pipeline.core.units import E8, ONE_E8, Lots, Ticks
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.reporting.account_view import view_of
from pipeline.settings import load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT
from tests.account_desk import environment, instruments_known

REPORT = ReportPosition("L.1.0.p0", "OPEN", Lots(250), E8(60_000 * ONE_E8), Ticks(595_000), E8(150 * ONE_E8))


def test_open_positions_are_shown(kafka: EmbeddedKafka) -> None:
    """Nothing open is said so; a reported position is shown with the venue's numbers."""
    settings = load(environment(kafka.bootstrap, "positions."))
    asyncio.run(ensure_topics(kafka.bootstrap, "positions."))
    runner = CliRunner(env=environment(kafka.bootstrap, "positions."))

    nothing = runner.invoke(positions, [])
    asyncio.run(send(settings, ACCOUNT, records.encode(instruments_known())))
    asyncio.run(send(settings, ACCOUNT, records.encode(records.PositionReported("BTCUSDT", "0/1/0", REPORT))))
    shown = runner.invoke(positions, [])
    listed = json.loads(runner.invoke(positions, ["--json"]).output)["positions"]

    assert "no open position" in nothing.output
    for word in ("BTCUSDT", "long", "0.25", "59500", "+150.00", "L.1.0.p0"):
        assert word in shown.output
    assert [("BTCUSDT", "0.25", "60000")] == [(row["symbol"], row["quantity"], row["entry_price"]) for row in listed]


def test_an_old_report_is_marked() -> None:
    """A report older than five seconds says that decide does not speak."""
    view = view_of([(1_000, records.encode(records.PositionReported("BTCUSDT", "0/1/0", REPORT)))])
    cells = list(table_of(view, now_ms=10_000).columns[7].cells)

    assert ["9.0 s ago (stale)"] == cells
