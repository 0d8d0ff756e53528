"""The only place for the tests of ``perpguard connector`` as a person meets it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from msgspec import structs
from rich.console import Console

from connectors.binance_futures.client import Described
from connectors.binance_futures.metrics import Status
from pipeline.commands.connector import connector, table_of

ROOT = Path(__file__).resolve().parents[3]


def test_a_wrong_address_is_named_with_what_is_allowed() -> None:
    """Exit code 2 and one line per problem, before anything is opened."""
    before = dict(os.environ)
    try:
        result = CliRunner().invoke(connector, ["--ws-url", "fstream.binance.com", "--symbols", "btc-usdt"])
    finally:
        os.environ.clear()
        os.environ.update(before)

    assert 2 == result.exit_code
    assert "PERPGUARD_WS_URL" in result.output
    assert "PERPGUARD_SYMBOLS" in result.output


def test_the_real_venue_asks_the_connector_for_the_key_but_never_for_the_secret() -> None:
    """What is missing is named; the secret is not, though the role of the workers beside it would need it."""
    before = dict(os.environ)
    os.environ.update(
        {
            "PERPGUARD_ROLE": "all",
            "PERPGUARD_REAL_MONEY": "yes",
            "PERPGUARD_REST_URL": "https://fapi.binance.com",
            "PERPGUARD_WS_URL": "wss://fstream.binance.com",
        }
    )
    try:
        result = CliRunner().invoke(connector, [])
    finally:
        os.environ.clear()
        os.environ.update(before)

    assert 2 == result.exit_code
    assert "PERPGUARD_API_KEY" in result.output
    assert "PERPGUARD_API_SECRET" not in result.output


def test_status_shows_each_connection_and_what_is_missing() -> None:
    """One row a connection with its rate; the title says whether what is held flows."""
    one = Described("connector/public-0.a", "live", 4, 60, 1_500, 0, 2, ["btcusdt@bookTicker"], 40, 0)
    told = Status(
        ready=False, proven=True, symbols=2, held=["BTCUSDT"], missing=["btcusdt@bookTicker"], connections=[one],
        opened=1, frames=1_500, quarantined=0, holes=2, queued_bytes=0, given_way=0, produce_retries=0, offsets_ms={},
    )  # fmt: skip
    before = structs.replace(told, connections=[structs.replace(one, frames=500)])
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table_of(told, before, 10.0))
    text = console.export_text()

    assert "NOT READY (1 streams of held symbols missing): 2 symbols, held: BTCUSDT" in text
    assert ["public-0.a", "live", "4", "60", "s", "1500", "100", "2", "40", "0", "btcusdt@bookTicker"] == [
        word
        for word in next(line for line in text.splitlines() if "public-0" in line).replace("│", " ").split()
        if word
    ]


def test_status_of_nobody_is_unreachable() -> None:
    """Exit code 3 and the address."""
    result = CliRunner().invoke(connector, ["status", "--url", "http://127.0.0.1:9"])

    assert 3 == result.exit_code
    assert "http://127.0.0.1:9" in result.output


def test_it_waits_for_a_broker_that_is_away_and_ends_on_a_signal() -> None:
    """The reason is logged, nothing is printed, and SIGTERM ends it with code 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "connector", "--json", "--brokers", "127.0.0.1:1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PERPGUARD_")},
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "kafka_away" in line:
                break
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()

    assert (0, "") == (process.returncode, out)
