"""The only place for ``perpguard positions``: what is open now, as decide last reported it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.commands.context import config_option, json_option, run, settings_or_exit
from pipeline.console.log_access import Log, open_log
from pipeline.reporting import words
from pipeline.reporting.account_view import AccountView, payload
from pipeline.settings import Settings
from pipeline.wire.topics import ACCOUNT

# Positions are reported once a second; filters (to write prices) every ten minutes.
LOOK_BACK_MS: Final = 11 * 60_000
STALE_MS: Final = 5_000
WIDTH: Final = 140


@click.command()
@click.option("--watch", is_flag=True, help="Keep looking, until Ctrl-C; with --json one object a second.")
@config_option
@json_option
def positions(*, watch: bool, config_path: Path | None, as_json: bool) -> None:
    """
    Show open positions: side, quantity, entry, stop, open PnL at mark, and how old the report is.

    A report older than 5 s is marked: the decide worker of its partition does not speak. Exit code 3: no Kafka.
    """
    settings = settings_or_exit(config_path)
    try:
        run(_watch(settings, as_json=as_json) if watch else _once(settings, as_json=as_json))
    except KeyboardInterrupt:
        return


async def _read(log: Log) -> AccountView:
    view = AccountView()
    for record in await log.read(ACCOUNT, since_ms=_now_ms() - LOOK_BACK_MS):
        view.take(record.append_ms, record.value)
    return view


async def _once(settings: Settings, *, as_json: bool) -> None:
    async with open_log(settings) as log:
        view = await _read(log)
    _print(view, as_json=as_json)


async def _watch(settings: Settings, *, as_json: bool) -> None:
    console = Console()
    async with open_log(settings) as log:
        if as_json or not console.is_terminal:
            while True:
                _print(await _read(log), as_json=as_json)
                await asyncio.sleep(1.0)
        with Live(console=console, refresh_per_second=4, screen=True) as live:
            while True:
                live.update(table_of(await _read(log), now_ms=_now_ms()))
                await asyncio.sleep(0.5)


def _print(view: AccountView, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(payload(view, now_ms=_now_ms())))
    elif view.rows:
        console = Console()
        (console if console.is_terminal else Console(width=WIDTH)).print(table_of(view, now_ms=_now_ms()))
    else:
        click.echo("no open position was reported in the last 11 minutes")


def table_of(view: AccountView, *, now_ms: int) -> Table:
    """The open positions for people."""
    table = Table(pad_edge=False)
    for name in ("symbol", "side", "state", "quantity", "entry", "stop", "open PnL", "reported", "position"):
        table.add_column(name, justify="right" if name in ("quantity", "entry", "stop", "open PnL") else "left")
    for row in view.rows.values():
        age = max(0, now_ms - row.reported_ms)
        stale = " (stale)" if age > STALE_MS else ""
        table.add_row(
            row.symbol,
            row.side,
            row.state,
            row.quantity,
            row.entry_price,
            row.stop,
            words.money(row.open_pnl_e8),
            f"{words.duration(age)} ago{stale}",
            row.position,
        )
    return table


def _now_ms() -> int:
    return int(time.time() * 1_000)
