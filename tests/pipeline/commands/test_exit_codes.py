"""Tests of the exit codes: they are documented where they stand, and stable."""

from __future__ import annotations

from pipeline.commands import exit_codes
from pipeline.commands.exit_codes import ExitCode


def test_every_code_is_documented() -> None:
    """Each code has its row in the table of the module's docstring."""
    table = exit_codes.__doc__ or ""

    assert [] == [code for code in ExitCode if f"| {int(code)} |" not in table]


def test_the_codes_are_stable() -> None:
    """Scripts rely on these numbers."""
    assert {"OK": 0, "REFUSED": 1, "USAGE": 2, "UNREACHABLE": 3, "NOT_FOUND": 4, "NO_ANSWER": 5} == {
        code.name: int(code) for code in ExitCode
    }
