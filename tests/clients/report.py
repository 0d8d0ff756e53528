"""The only place that runs the drivers of the real clients, each in its own environment, and writes their table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.simulator import ROOT, simulator_process

DOCUMENT = ROOT / "docs" / "simulator-clients.md"
# Driver → the package whose version stands in the lock.
CLIENTS = {
    "ccxt": "ccxt",
    "python_binance": "python-binance",
    "official_sdk": "binance-sdk-derivatives-trading-usds-futures",
}
Row = tuple[str, bool, str]


def interpreter() -> Path:
    """The Python of the clients' environment (`make clients`)."""
    return Path(os.environ.get("PERPGUARD_CLIENTS", ROOT / ".venv-clients")) / "bin" / "python"


def drive(client: str) -> list[Row]:
    """Start an exchange, run one driver against it in a subprocess and read its rows."""
    with simulator_process("--port", "0", "--rate", "20", "--wallet", "100000") as running:
        done = subprocess.run(
            [interpreter(), "-m", f"tests.clients.drive_{client}", running.rest, running.ws],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    lines = done.stdout.strip().splitlines()
    rows: list[Row] = [(name, passed, note) for name, passed, note in json.loads(lines[-1])] if lines else []
    if done.returncode != 0:
        rows.append(("the driver itself", False, done.stderr[-2_000:]))
    return rows


def drive_all() -> dict[str, list[Row]]:
    """All drivers side by side: they mostly wait."""
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        return dict(zip(CLIENTS, pool.map(drive, CLIENTS), strict=True))


def rendered(found: dict[str, list[Row]]) -> str:
    """The document: a table per client of every call tried and its result."""
    lock = (ROOT / "requirements-clients.lock").read_text()
    lines = [
        "# Real clients against the simulator",
        "",
        "Unmodified, from the package index, pinned in `requirements-clients.lock`, each in a subprocess over real",
        "sockets. `make test-clients` runs every row; `python -m tests.clients.report` writes this page anew.",
        "*refused* rows are error paths: the client must raise its own error with the venue's code or text.",
    ]
    for client, package in CLIENTS.items():
        version = re.search(rf"^{re.escape(package)}==(\S+)", lock, re.MULTILINE)
        assert version is not None, f"{package} is not in the lock"
        rows = found[client]
        passed = sum(row[1] for row in rows)
        lines += [
            "",
            f"## {package} {version.group(1)}: {passed} of {len(rows)} calls",
            "",
            "| call | result |",
            "|---|---|",
        ]
        lines += [f"| {name} | {'passes' if good and not note else note if good else 'FAILS: ' + note} |"
                  for name, good, note in rows]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(drive_all()))
    sys.stdout.write(f"wrote {DOCUMENT}\n")
