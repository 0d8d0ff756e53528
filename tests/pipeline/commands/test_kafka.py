"""Tests of ``perpguard kafka`` as a person or a script runs it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "pipeline.cli", "kafka"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_announces_itself_and_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """With --json one line tells the address when the broker is ready; a signal then ends it with exit code 0."""
    command = subprocess.Popen(
        [*COMMAND, "--directory", str(tmp_path), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    ready = json.loads(command.stdout.readline())
    host, port = ready["bootstrap"].split(":")
    socket.create_connection((host, int(port))).close()

    command.send_signal(number)
    rest, errors = command.communicate(timeout=60)

    assert (0, "", "") == (command.returncode, rest, errors)
    assert {"bootstrap", "directory", "pid", "version"} == set(ready)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_taken_port_ends_in_one_line(tmp_path: Path) -> None:
    """A port in use is exit code 3 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--directory", str(tmp_path), "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )

    assert 3 == done.returncode
    assert [f"Error: port {port} is taken: choose another with --port, or 0 for a free one"] == done.stderr.splitlines()
