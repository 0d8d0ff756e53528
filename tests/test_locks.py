"""Tests of the locked dependencies: hashed, without addresses, and fitting what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-test.lock")
REQUIREMENT = re.compile(r"^([a-z0-9.-]+)==(\S+)(?: ; .+?)? \\$", re.MULTILINE)


@pytest.mark.parametrize("name", [*LOCKS, "requirements-clients.lock"])
def test_every_requirement_is_pinned_and_hashed_and_no_address_is_named(name: str) -> None:
    """pip refuses anything else with --require-hashes, and everybody resolves from his own index."""
    text = (ROOT / name).read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]

    assert len(REQUIREMENT.findall(text)) == len(entries)
    assert "://" not in text
    for block in re.split(r"\n(?=\S)", text):
        assert "--hash=sha256:" in block


def test_the_test_lock_runs_what_the_other_lock_ships() -> None:
    """Every version of requirements.lock is the one that the tests are run with."""
    shipped, tested = (set(REQUIREMENT.findall((ROOT / name).read_text())) for name in LOCKS)

    assert set() == shipped - tested


def test_the_locks_hold_every_dependency_of_the_project() -> None:
    """A dependency added to pyproject.toml without `make lock` is named here, not by a failing clone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        "requirements.lock": project["dependencies"] + extras["build"],
        "requirements-test.lock": project["dependencies"] + extras["build"] + extras["test"],
    }
    for name, requirements in wanted.items():
        locked = {found for found, _version in REQUIREMENT.findall((ROOT / name).read_text())}
        names = {re.split(r"[\[<>=!~ ;]", requirement)[0].lower().replace("_", "-") for requirement in requirements}
        assert set() == names - locked
