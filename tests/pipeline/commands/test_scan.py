"""Tests of ``perpguard scan``: out of the log alone, in the ranking's order, gates on demand."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner

from pipeline.commands.scan import scan
from pipeline.console.log_access import send
from pipeline.embedded_kafka import EmbeddedKafka
from pipeline.settings import load
from pipeline.streaming.topics_admin import ensure_topics
from pipeline.wire.topics import ACCOUNT, FACTORS
from tests.account_desk import environment
from tests.pipeline.reporting.test_ranking_view import factors, said


def test_the_ranking_is_printed_out_of_the_log(kafka: EmbeddedKafka) -> None:
    """Nothing scored is said so; then the strongest first, its gates by --symbol, all of it by --json."""
    env = environment(kafka.bootstrap, "scan.")
    settings, runner = load(env), CliRunner(env=env)
    asyncio.run(ensure_topics(kafka.bootstrap, "scan."))
    nothing = runner.invoke(scan, [])
    for topic, value in (
        (FACTORS, factors("AUSDT", 20_000)),
        (FACTORS, factors("BUSDT", -60_000)),
        (ACCOUNT, said("BUSDT")),
    ):
        asyncio.run(send(settings, topic, value, key=b"x"))
    shown = runner.invoke(scan, [])
    gates = runner.invoke(scan, ["--symbol", "BUSDT"])
    found = json.loads(runner.invoke(scan, ["--json"]).output)

    assert "no symbol was scored" in nothing.output
    assert shown.output.index("BUSDT") < shown.output.index("AUSDT")
    assert "32/0.9" in shown.output
    assert "≤ 100 bps" in gates.output
    assert (0, ["BUSDT", "AUSDT"]) == (found["rest"], [row["symbol"] for row in found["ranking"]])
