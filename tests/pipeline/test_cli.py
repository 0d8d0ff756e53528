"""Tests of the table of commands."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from pipeline import cli


def test_every_command_of_the_table_can_be_loaded_and_described() -> None:
    """Each row leads to a click command of that name, with a summary for the list and a help text of its own."""
    context = click.Context(cli.main)
    for name in cli.COMMANDS:
        command = cli.main.get_command(context, name)
        assert command is not None
        assert name == command.name
        assert command.help
    assert set(cli.COMMANDS) == set(cli.SUMMARIES)


def test_help_lists_the_commands_without_importing_them() -> None:
    """``perpguard --help`` names every command and loads neither Faust nor a Kafka client for it."""
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipeline.cli import COMMANDS, main\n"
        "shown = CliRunner().invoke(main, ['--help']).output\n"
        "assert all(f'\\n  {name} ' in shown for name in COMMANDS), shown\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('faust', 'aiokafka', 'httpx', 'aiohttp')])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_a_part_that_cannot_be_imported_breaks_only_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing module ends its command in one line with exit code 1; the help and the others still work."""
    broken = {"absent": "pipeline.commands.absent:absent", **cli.COMMANDS}
    monkeypatch.setattr(cli, "COMMANDS", broken)
    monkeypatch.setattr(cli, "SUMMARIES", {"absent": "Not there.", **cli.SUMMARIES})
    runner = CliRunner()

    answer = runner.invoke(cli.main, ["absent"])

    assert 1 == answer.exit_code
    assert "absent cannot be loaded" in answer.output
    assert 0 == runner.invoke(cli.main, ["--help"]).exit_code
    assert 0 == runner.invoke(cli.main, ["kafka", "--help"]).exit_code


def test_an_unknown_command_is_refused_as_usage() -> None:
    """A typing error ends with exit code 2, click's code for wrong usage."""
    assert 2 == CliRunner().invoke(cli.main, ["kafak"]).exit_code
