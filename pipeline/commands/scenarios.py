"""The only place for ``perpguard scenarios``: situations through the pipeline, judged: table, JSON, exit code."""

from __future__ import annotations

import json

import click
import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.backtest.scenarios import EXPECTED, Verdict, carry_out
from pipeline.commands.context import json_option
from pipeline.commands.exit_codes import ExitCode

WIDTH = 130


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(EXPECTED)), metavar="[NAME]…")
@click.option("--seed", default=1, show_default=True, help="Of the market and of the roads between the parts.")
@click.option("--story", is_flag=True, help="Print what `explain` tells of each position.")
@json_option
def scenarios(*, names: tuple[str, ...], seed: int, story: bool, as_json: bool) -> None:
    """
    Play market situations through the pipeline in virtual time and judge how each position was opened and ended.

    Connector, account, decide and execute are the real ones, the exchange is the simulator's, time is virtual. Without
    NAME all are played. Exit code 0: every promise holds; 1: one does not, and is named.
    """
    found = [carry_out(name, seed=seed, say=lambda text: click.echo(text, err=True)) for name in names or EXPECTED]
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(one) | {"holds": one.holds} for one in found], ensure_ascii=False))
    else:
        show(found, story=story)
    raise SystemExit(int(ExitCode.OK if all(one.holds for one in found) else ExitCode.REFUSED))


def show(found: list[Verdict], *, story: bool) -> None:
    """The verdicts for people."""
    table = Table(title="Situations", title_justify="left")
    for name in ("scenario", "positions", "ended by", "expected", "naked ms", "replay", "explain", "holds"):
        table.add_column(name, justify="right" if name in ("positions", "naked ms") else "left")
    for one in found:
        table.add_row(
            one.scenario,
            f"{one.positions} (signals {one.by_signal})",
            ", ".join(one.reasons) or "-",
            one.expected,
            str(one.naked_ms),
            "equal" if one.equal else "DIFFERS",
            "names it" if one.explained else "DOES NOT",
            "yes" if one.holds else "NO",
        )
    Console(width=WIDTH).print(table)
    for one in found:
        for text in one.failed:
            click.echo(f"{one.scenario}: {text}")
        if story:
            click.echo(f"\n{one.scenario}\n{one.story}")
