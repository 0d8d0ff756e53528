"""The only place for ``perpguard report``: the closed positions of the log, with naked time from the venue."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console

from pipeline.commands.context import Failed, config_option, json_option, run, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.console.log_access import open_log
from pipeline.reporting.account_view import AccountView
from pipeline.reporting.trades_report import TradesReport, episodes_of, payload, report_of, table_of
from pipeline.settings import Settings
from pipeline.wire.topics import ACCOUNT, TRADES

WIDTH = 160  # of a report that is written to a file


@click.command()
@click.option(
    "--ledger",
    default="",
    help="The simulated exchange's ledger, for naked time: its address (http://127.0.0.1:PORT) or its file.",
)
@config_option
@json_option
def report(*, ledger: str, config_path: Path | None, as_json: bool) -> None:
    """
    Report closed positions: realised PnL, fees, time held, how each ended, how often its stop moved.

    Exit code 0: printed (also when nothing is closed yet); 3: no Kafka, or no ledger there.
    """
    settings = settings_or_exit(config_path)
    found = run(gather(settings, episodes=read_episodes(ledger) if ledger else []))
    if as_json:
        click.echo(json.dumps(payload(found)))
        return
    console = Console(width=None if os.isatty(1) else WIDTH)
    console.print(table_of(found))


async def gather(settings: Settings, *, episodes: list[Any]) -> TradesReport:  # Any: JSON of the ledger
    """Read the topics and fold them. Raises log_access.Unreachable."""
    async with open_log(settings) as log:
        trades = await log.read(TRADES)
        view = AccountView()
        for record in await log.read(ACCOUNT):
            view.take(record.append_ms, record.value)
    return report_of([record.value for record in trades], instruments=view.instruments, episodes=episodes)


def read_episodes(place: str) -> list[Any]:  # Any: JSON of the ledger
    """Episodes from a running simulator or from its ledger file; raises Failed."""
    if place.startswith(("http://", "https://")):
        try:
            answer = httpx.get(f"{place.rstrip('/')}/admin/summary", timeout=10.0)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise Failed(f"no ledger at {place}: {error}", ExitCode.UNREACHABLE) from error
        return list(answer.json()["episodes"])
    try:
        lines = [msgspec.json.decode(text) for text in Path(place).read_bytes().splitlines() if text]
    except (OSError, msgspec.DecodeError) as error:
        raise Failed(f"no ledger in {place}: {error}", ExitCode.UNREACHABLE) from error
    return episodes_of(lines)
