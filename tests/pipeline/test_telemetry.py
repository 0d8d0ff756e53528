"""Names are stable, and no histogram has a label that grows with the market."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from prometheus_client import Histogram

from pipeline import telemetry


def test_event_names_are_snake_case_and_distinct() -> None:
    """Log events are constants; two of the same name could not be told apart."""
    names = [value for name, value in vars(telemetry).items() if name.isupper() and isinstance(value, str)]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


def test_histograms_have_no_symbol() -> None:
    """500 symbols × 12 buckets would block a scrape for 67 ms."""
    histograms = [value for value in vars(telemetry).values() if isinstance(value, Histogram)]

    assert histograms
    assert all("symbol" not in histogram._labelnames for histogram in histograms)


def test_log_lines_are_json_on_stderr() -> None:
    """One object a line, with event, level and time; stdout stays free for results."""
    program = "from pipeline import telemetry as t; t.configure_logging(); t.log.info(t.CLEAN_STOP, partition=3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    line = json.loads(done.stderr)

    assert ("", "clean_stop", "info", 3) == (done.stdout, line["event"], line["level"], line["partition"])


def test_clients_are_silent_below_warning_whatever_the_root_logger_lets_through() -> None:
    """Faust opens the root logger wholly; a client would make a record for every request that nobody reads."""
    probe = (
        "import logging; from pipeline import telemetry; logging.getLogger().setLevel(logging.DEBUG);"
        "telemetry.configure_logging(level={!r});"
        "print([logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in ('aiokafka.conn', 'httpcore.http11')])"
    )

    def said(level: str) -> str:
        command = [sys.executable, "-c", probe.format(level)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert "[False, False]" == said("info")
    assert "[True, True]" == said("debug")
