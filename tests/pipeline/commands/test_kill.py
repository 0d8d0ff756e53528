"""`perpguard kill` as a process: what it loads, what it prints, what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipeline.execution.switch import Permission, Switch
from tests.simulator import ROOT, SimulatorProcess, signed_query, simulator_process

DEAD_BROKER = "127.0.0.1:1"
FORBIDDEN = ("faust", "aiokafka", "kafka", "asyncio", "httpx", "structlog", "aiohttp", "rich", "pipeline.streaming",
             "pipeline.agents", "pipeline.worker", "pipeline.execution.executor", "prometheus_client")  # fmt: skip


@pytest.fixture(scope="module")
def exchange() -> Iterator[SimulatorProcess]:
    with simulator_process("--symbols", "5", "--port", "0") as running:
        yield running


def environment(exchange: SimulatorProcess, directory: Path) -> dict[str, str]:
    return os.environ | {
        "PERPGUARD_REST_URL": exchange.rest,
        "PERPGUARD_WS_URL": exchange.ws,
        "PERPGUARD_BROKERS": DEAD_BROKER,
        "PERPGUARD_DATA_DIRECTORY": str(directory),
        "PERPGUARD_CONFIG": "/there/is/no/such/file",
    }


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "kill", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=variables or None,
        timeout=60,
        check=False,
    )


def test_loads_no_kafka_no_faust_no_loop_and_no_pipeline() -> None:
    """The kill switch must not share the fate of what it stops; and it starts with little work."""
    script = (
        "import sys, time; import pipeline.commands.kill;"
        "print(' '.join(sorted(sys.modules))); print(time.process_time())"
    )
    modules, seconds = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    loaded = [name for name in modules.split() if name.startswith(FORBIDDEN)]

    assert [] == loaded
    assert float(seconds) < 1.0


def test_closes_with_kafka_dead_and_a_wrong_configuration(exchange: SimulatorProcess, tmp_path: Path) -> None:
    """No broker answers and the configuration cannot be read: flat all the same, and HALTED stays behind."""
    query = signed_query({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"})
    answer = httpx.post(f"{exchange.rest}/fapi/v1/order?{query}", headers={"X-MBX-APIKEY": "simulator-key"})
    assert 200 == answer.status_code, answer.text
    done = command("--json", "--reason", "drill", **environment(exchange, tmp_path))
    outcome = json.loads(done.stdout)

    assert (0, True, [], "halted") == (done.returncode, outcome["done"], outcome["left"], outcome["mode"])
    assert any("close 0.01" in step["text"] for step in outcome["steps"])
    executor = Switch(tmp_path, "executor-1")
    assert executor.claim()
    assert Permission.REDUCE is executor.permission()


def test_prints_each_step_for_people(exchange: SimulatorProcess, tmp_path: Path) -> None:
    """Without --json every step is a line with its time, and the last line says how to go on."""
    done = command("--reduce-only", **environment(exchange, tmp_path))

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "trading state: reduce_only until `perpguard resume`" == done.stdout.splitlines()[-1]
    assert "ms" in done.stdout.splitlines()[0]


def test_refuses_the_real_venue_unless_told(tmp_path: Path) -> None:
    """Orders that cost money need PERPGUARD_REAL_MONEY=yes; nothing is sent and no state is written."""
    variables = os.environ | {
        "PERPGUARD_REST_URL": "https://fapi.binance.com",
        "PERPGUARD_API_KEY": "k",
        "PERPGUARD_API_SECRET": "s",
        "PERPGUARD_DATA_DIRECTORY": str(tmp_path / "data"),
    }
    done = command(**variables)

    assert 2 == done.returncode
    assert "PERPGUARD_REAL_MONEY=yes" in done.stderr
    assert not (tmp_path / "data").exists()


def test_gives_up_when_the_venue_is_away_and_says_so(tmp_path: Path) -> None:
    """No venue: it goes on until told to give up; the state is set all the same."""
    variables = os.environ | {
        "PERPGUARD_REST_URL": "http://127.0.0.1:9",
        "PERPGUARD_DATA_DIRECTORY": str(tmp_path),
    }
    done = command("--give-up", "0.5", **variables)

    assert 1 == done.returncode
    assert "not known: the venue could not be read" in done.stdout
    assert Permission.REDUCE is Switch(tmp_path, "").permission()
