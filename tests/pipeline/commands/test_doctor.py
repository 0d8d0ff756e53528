"""`perpguard doctor` as a command: rows for people and programs, exit codes, and probes that need play money."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.commands.doctor import doctor


def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(doctor, list(arguments), env=environment)
    return result.exit_code, result.output


def test_says_what_fails_and_how_to_mend_it(tmp_path: Path) -> None:
    """Neither venue nor Kafka: exit 1, a mend behind each failing row, also as JSON."""
    environment = {
        "PERPGUARD_REST_URL": "http://127.0.0.1:9",
        "PERPGUARD_BROKERS": "127.0.0.1:1",
        "PERPGUARD_DATA_DIRECTORY": str(tmp_path),
    }
    code, words = run(environment)
    assert 1 == code
    assert "→ start Kafka, or mend PERPGUARD_BROKERS" in words
    code, text = run(environment, "--json")
    rows = json.loads(text[text.index("{") :])["rows"]

    assert 1 == code
    assert all(row["mend"] for row in rows if row["verdict"] != "ok")
    assert "log identity" in [row["name"] for row in rows]


@pytest.mark.parametrize("arguments", [("--probe",), ("--probe", "--json")])
def test_probes_never_run_where_money_is_real(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Not at the real venue, whatever else is set, and not at an unknown one."""
    environment = {"PERPGUARD_REST_URL": "https://venue.example", "PERPGUARD_DATA_DIRECTORY": str(tmp_path)}
    code, words = run(environment, *arguments)

    assert 2 == code
    assert "--probe sends orders" in words
