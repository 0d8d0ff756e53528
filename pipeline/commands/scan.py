"""The only place for ``perpguard scan``: the ranking of all symbols, each factor with its quality, each gate."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.context import config_option, json_option, run, settings_or_exit
from pipeline.console.log_access import open_log
from pipeline.reporting.ranking_view import LETTERS, RankingView, RankRow, payload
from pipeline.settings import Settings
from pipeline.wire.topics import ACCOUNT, FACTORS, TIERS

LOOK_BACK_MS: Final = 11 * 60_000  # two bars: every symbol speaks once a bar
WIDTH: Final = 200


@click.command()
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="How many symbols to print.")
@click.option("--symbol", "only", default="", help="This symbol alone, with every gate.")
@config_option
@json_option
def scan(*, top: int, only: str, config_path: Path | None, as_json: bool) -> None:
    """
    Rank every symbol by |E| as its last closed bar and newest factors say, without asking the venue.

    Factors are points; a small quality stands behind them (T 31/0.9), a missing one is "-". Gates that refuse an entry
    are named; --symbol shows what each found and allows. P is a score until it is calibrated, no win rate. Exit code
    3: no Kafka.
    """
    settings = settings_or_exit(config_path)
    rows = run(read(settings)).rows()
    if only:
        rows = [row for row in rows if row.symbol == only]
    if as_json:
        click.echo(json.dumps(payload(rows, now_ms=_now_ms()), ensure_ascii=False))
        return
    if not rows:
        click.echo("no symbol was scored in the last 11 minutes" + (f": {only}" if only else ""))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    console.print(table_of(rows[:top]))
    if only:
        console.print(gates_of(rows[0]))


async def read(settings: Settings) -> RankingView:
    """Everything the ranking needs, from the log."""
    view = RankingView()
    since_ms = _now_ms() - LOOK_BACK_MS
    async with open_log(settings) as log:
        for record in await log.read(FACTORS, since_ms=since_ms):
            view.take_factors(record.value)
        for record in await log.read(ACCOUNT, since_ms=since_ms):
            view.take_account(record.value)
        for record in await log.read(TIERS):
            view.take_tiers(record.value)
    return view


def table_of(rows: list[RankRow]) -> Table:
    """The ranking for people."""
    table = Table(pad_edge=False)
    for name in ("#", "symbol", "side", "E", "strength", "P", "coverage", *LETTERS, "stage", "refused by"):
        table.add_column(name, justify="left" if name in ("symbol", "side", "stage", "refused by") else "right")
    for row in rows:
        mark = "held " if row.held else "* " if row.shortlisted else ""
        table.add_row(
            str(row.rank),
            f"{mark}{row.symbol}",
            row.side,
            f"{row.score:+.1f}",
            f"{row.strength:.0f}",
            f"{row.odds:.2f}",
            f"{row.coverage:.2f}",
            *(_cell(row, letter) for letter in LETTERS),
            row.stage + (" new" if row.fresh else ""),
            ", ".join(row.refused),
        )
    return table


def _cell(row: RankRow, letter: str) -> str:
    cell = row.factors.get(letter)
    if cell is None or cell.missing:
        return "-"
    return f"{cell.value:.0f}" + ("" if cell.quality >= 1.0 else f"/{cell.quality:.1f}")


def gates_of(row: RankRow) -> Table:
    """Every gate of one symbol."""
    table = Table(pad_edge=False, title=f"{row.symbol} {row.side}: why not")
    for name in ("gate", "verdict", "found", "allowed", "asks for"):
        table.add_column(name)
    for gate in row.gates:
        table.add_row(gate.id, gate.verdict, gate.value, gate.limit, gate.reason)
    return table


def _now_ms() -> int:
    return int(time.time() * 1_000)
