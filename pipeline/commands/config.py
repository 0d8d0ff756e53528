"""The only place for ``perpguard config``: check a configuration, and print every key with its meaning."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.commands.exit_codes import ExitCode
from pipeline.configuration import ConfigurationError, reference
from pipeline.console.asking import Payload
from pipeline.core.exits import describe
from pipeline.core.policies import Policy
from pipeline.settings import Secret, Settings, load


@click.group()
def config() -> None:
    """Check the configuration before anything runs with it."""


@config.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def check(file: Path | None, as_json: bool) -> None:
    """
    Print the effective configuration of FILE (else PERPGUARD_CONFIG, else the defaults) with the environment.

    Exit code 0: usable, warnings may follow; 2: every problem is named with its key, the value found and what is
    allowed. Secrets show only whether they are set.
    """
    try:
        settings = load(os.environ, file)
    except ConfigurationError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "problems": list(error.problems)}, ensure_ascii=False))
        else:
            for problem in error.problems:
                click.echo(problem, err=True)
            click.echo(f"{len(error.problems)} problem{'s' if len(error.problems) > 1 else ''}", err=True)
        raise SystemExit(int(ExitCode.USAGE)) from error
    if as_json:
        payload: Payload = {"ok": True, "warnings": list(settings.warnings), "notices": list(settings.notices)}
        rules = {"exit_rules": [msgspec.to_builtins(row) for row in describe.effective(settings.policy)]}
        click.echo(json.dumps(payload | {"settings": effective(settings)} | rules, ensure_ascii=False))
        return
    for path, value in _rows(effective(settings)):
        click.echo(f"{path} = {json.dumps(value, ensure_ascii=False)}")
    click.echo()
    for line in exit_rules(settings.policy):
        click.echo(line)
    for notice in settings.notices:
        click.echo(notice, err=True)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)


def exit_rules(policy: Policy) -> list[str]:
    """The table of exit rules as *policy* makes it, in the order in which one outranks another."""
    rows = describe.effective(policy)
    cells = [("rule", "on", "condition", "confirmation", "action", "since")]
    cells += [
        (
            row.id,
            ("on" if row.on else "off") if row.may_be_off else "always",
            row.condition,
            row.confirmation,
            row.action,
            row.since,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = []
    for number, line in enumerate(cells):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        lines.append(text)
        if number and rows[number - 1].parameters:
            said = ", ".join(f"{name} {value}" for name, value in rows[number - 1].parameters)
            lines.append(" " * (widths[0] + 2) + said)
    return lines


@config.command()
def keys() -> None:
    """Print the table of all keys: default, meaning, what is allowed (docs/configuration.md is this text)."""
    click.echo(reference(), nl=False)


def effective(settings: Settings) -> Payload:
    """The settings as JSON values; secrets only as ``set`` or ``not set``."""

    def plain(value: Any) -> Any:  # Any: msgspec's hook is untyped
        if isinstance(value, Secret):
            return "set" if value else "not set"
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"no text for {type(value).__name__}")

    values = msgspec.to_builtins(settings, enc_hook=plain)
    assert isinstance(values, dict)
    return {name: value for name, value in values.items() if name not in ("warnings", "notices")}


def _rows(values: Payload, prefix: str = "") -> list[tuple[str, Any]]:  # Any: JSON values
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", value))
    return rows
