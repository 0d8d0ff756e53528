"""
The only place that measures the kill switch as a person meets it: five positions, Kafka dead, the executor frozen.

``perpguard kill`` runs as a process of its own against a simulated exchange in another. The executor's place is taken
by a stopped process that holds the switch file. Two clocks: the tool's own, and from the start of the process to the
moment at which the exchange's ledger has the last position flat.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipeline.benchmarks.report import Measured, Options, figure
from pipeline.binance.rest import sign
from pipeline.settings import SIMULATOR_KEY, SIMULATOR_SECRET

DEAD_BROKER = "127.0.0.1:1"
POSITIONS = {"BTCUSDT": "0.010", "ETHUSDT": "0.300", "SOLUSDT": "5", "XRPUSDT": "300", "DOGEUSDT": "5000"}
FAULTS = {
    "rules": [
        {"action": "drop_connection_after", "match": {"method": "POST", "symbol": "BTCUSDT"}, "count": 1},
        {"action": "503_unknown_not_executed", "match": {"method": "POST", "symbol": "ETHUSDT"}, "count": 2},
        {"action": "drop_connection_before", "match": {"path": "/fapi/v3/positionRisk"}, "count": 1, "skip": 1},
        {
            "action": "status",
            "status": 400,
            "code": -4118,
            "match": {"method": "POST", "symbol": "SOLUSDT"},
            "count": 2,
        },
    ]
}
HOLDER = (
    "import sys, time; from pathlib import Path; from pipeline.execution.switch import Switch;"
    "Switch(Path(sys.argv[1]), 'executor-frozen').claim(); print('held', flush=True); time.sleep(3600)"
)


def kill(options: Options) -> Measured:
    """Milliseconds to flat, without and with faults."""
    plain, whole, faulty = [], [], []
    with tempfile.TemporaryDirectory() as directory, _simulator() as exchange:
        for run in range(options.repetitions):
            outcome, wall_ms = _one(exchange, Path(directory) / f"plain-{run}", faults=False)
            plain.append(float(outcome["flat_ms"]))
            whole.append(wall_ms)
        for run in range(1 if options.quick else options.repetitions):
            outcome, _ = _one(exchange, Path(directory) / f"faults-{run}", faults=True)
            faulty.append(float(outcome["flat_ms"]))
    return Measured(
        figures={
            "flat": figure(plain, "ms", must=1_000.0),
            "process start to flat": figure(whole, "ms", must=1_000.0),
            "flat with faults": figure(faulty, "ms"),
        },
        conditions={"positions": len(POSITIONS), "kafka": "dead", "executor": "frozen, holds the switch file"},
    )


def _one(exchange: str, directory: Path, *, faults: bool) -> tuple[dict[str, Any], float]:  # Any: the tool's JSON
    directory.mkdir()
    for symbol, quantity in POSITIONS.items():
        side = "SELL" if symbol in ("ETHUSDT", "XRPUSDT") else "BUY"
        _signed(exchange, "POST", "/fapi/v1/order", symbol=symbol, side=side, type="MARKET", quantity=quantity)
    after = _ledger(exchange, after=-1)["last"]
    environment = os.environ | {
        "PERPGUARD_REST_URL": exchange,
        "PERPGUARD_BROKERS": DEAD_BROKER,
        "PERPGUARD_DATA_DIRECTORY": str(directory),
    }
    with _frozen(directory):
        if faults:
            httpx.post(f"{exchange}/admin/faults", json=FAULTS).raise_for_status()
        started_ms = time.time() * 1_000
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "kill", "--json"], env=environment, capture_output=True, check=False
        )
        httpx.request("DELETE", f"{exchange}/admin/faults").raise_for_status()
    outcome = json.loads(done.stdout)
    if done.returncode or not outcome["done"]:
        raise AssertionError(f"not flat: {outcome}")
    closed = [line["at"] for line in _ledger(exchange, after=after)["lines"] if line["kind"] == "position_closed"]
    return outcome, max(closed) - started_ms


def _ledger(exchange: str, *, after: int) -> dict[str, Any]:  # Any: JSON
    answer = httpx.get(f"{exchange}/admin/ledger", params={"after": after, "limit": 100_000})
    found: dict[str, Any] = answer.json()
    return found


def _signed(exchange: str, method: str, path: str, **parameters: str) -> None:
    query = "&".join(f"{name}={value}" for name, value in parameters.items()) + f"&timestamp={int(time.time() * 1e3)}"
    url = f"{exchange}{path}?{query}&signature={sign(SIMULATOR_SECRET.encode(), query)}"
    httpx.request(method, url, headers={"X-MBX-APIKEY": SIMULATOR_KEY}).raise_for_status()


@contextmanager
def _frozen(directory: Path) -> Iterator[None]:
    """An executor that holds the switch file and is stopped."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(directory)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _simulator() -> Iterator[str]:
    command = [sys.executable, "-m", "pipeline.cli", "simulator", "--json", "--port", "0", "--symbols", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["rest"]
    finally:
        process.terminate()
        process.wait()
