"""The only place for what the operator's commands share: settings or every problem, words or JSON, one exit code."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from pipeline.commands.exit_codes import ExitCode
from pipeline.configuration import ConfigurationError
from pipeline.console.asking import Payload
from pipeline.console.log_access import Unreachable
from pipeline.settings import Settings, load

Result = TypeVar("Result")


class Failed(click.ClickException):
    """A command that ends with a code and one line that says why."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = int(code)


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:  # Any: click's callables
    """``--config FILE``, for commands that need the settings."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(dir_okay=False, path_type=Path),
        default=None,
        help="Configuration file; else PERPGUARD_CONFIG, else the defaults. Addresses come from the environment.",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:  # Any: click's callables
    """``--json``, for commands that a program may want to read."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")(function)


def settings_or_exit(config_path: Path | None) -> Settings:
    """The settings, or every problem of environment and file on stderr and exit code 2."""
    try:
        return load(os.environ, config_path)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise SystemExit(int(ExitCode.USAGE)) from error


def run(work: Coroutine[Any, Any, Result]) -> Result:  # Any: asyncio's own
    """Run *work* in a loop; what cannot be reached becomes one line and exit code 3."""
    try:
        return asyncio.run(work)
    except Unreachable as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error


def finish(payload: Payload, words: str, *, as_json: bool, code: ExitCode = ExitCode.OK) -> NoReturn:
    """Print the result in the asked form and end with *code*."""
    click.echo(json.dumps(payload, ensure_ascii=False) if as_json else words)
    raise SystemExit(int(code))


def verdict(payload: Payload) -> ExitCode:
    """The exit code of what ``asking.ask`` returned."""
    if payload["accepted"] is None:
        return ExitCode.NO_ANSWER
    return ExitCode.OK if payload["accepted"] else ExitCode.REFUSED
