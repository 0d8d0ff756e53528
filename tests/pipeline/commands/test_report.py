"""Tests of ``perpguard report``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands.context import Failed
from pipeline.commands.report import read_episodes, report
from pipeline.console.log_access import send
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import TRADES
from tests.account_desk import environment
from tests.pipeline.reporting.test_trades_report import episode, trade


def test_closed_positions_are_reported_with_the_ledger(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Trades of the log and episodes of a ledger file make one report, for people and for programs."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("\n".join(json.dumps(line) for line in ({"kind": "fill"}, episode("BTCUSDT", 37))))
    settings = load(environment(kafka.bootstrap, "report."))
    asyncio.run(ensure_topics(kafka.bootstrap, "report."))
    asyncio.run(send(settings, TRADES, trade("p")))
    runner = CliRunner(env=environment(kafka.bootstrap, "report."))

    shown = runner.invoke(report, ["--ledger", str(ledger)])
    listed = json.loads(runner.invoke(report, ["--ledger", str(ledger), "--json"]).output)

    assert 0 == shown.exit_code
    assert "37 ms" in shown.output
    assert [37] == [row["naked_ms_max"] for row in listed["positions"]]


@pytest.mark.parametrize("place", ["/nowhere/ledger", "http://127.0.0.1:1"])
def test_a_missing_ledger_is_code_three(place: str) -> None:
    """A ledger that is not there is named."""
    with pytest.raises(Failed, match="no ledger") as caught:
        read_episodes(place)

    assert 3 == caught.value.exit_code
