"""The only place for ``perpguard scenarios``: situations through the pipeline, judged: table, JSON, exit code."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.backtest.expected import EXPECTED
from pipeline.backtest.processes import PACE, Played, Stopped, play_all
from pipeline.backtest.scenarios import Verdict, carry_out
from pipeline.commands.context import Failed, json_option
from pipeline.commands.exit_codes import ExitCode
from pipeline.demo.exchange import ExchangeGone
from pipeline.demo.fleet import PartFailed
from pipeline.demo.view import View
from pipeline.kafka_runtime import EmbeddedKafkaError

WIDTH: Final = 140


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(EXPECTED)), metavar="[NAME]…")
@click.option("--processes", is_flag=True, help="On real processes and a real Kafka, in hastened time.")
@click.option(
    "--pace",
    default=PACE,
    show_default=True,
    type=click.FloatRange(0.1, 60.0),
    help="With --processes: at most so many seconds of market in one of this machine; time waits for the work.",
)
@click.option("--seed", default=1, show_default=True, help="Of the market and of the roads between the parts.")
@click.option("--story", is_flag=True, help="Print what `explain` tells of each position.")
@click.option("--keep", is_flag=True, help="With --processes: keep log, states and output of every process.")
@json_option
def scenarios(
    *, names: tuple[str, ...], processes: bool, pace: float, seed: int, story: bool, keep: bool, as_json: bool
) -> None:
    """
    Play market situations through the pipeline and judge how each position was opened, guarded and ended.

    Connector, account, decide and execute are the real ones, the exchange is the simulator's. Time is virtual, or with
    --processes hastened: then each is a process, the log is Kafka, and `replay --verify` and `explain` are run on it.
    Without NAME all are played. Exit code 0: every promise holds; 1: one does not and is named; 3: it could not be run.
    """
    chosen = list(names or EXPECTED)
    if processes:
        played = _on_processes(chosen, seed=seed, pace=pace, keep=keep)
        found, extra = [one.verdict for one in played], [_figures(one) for one in played]
    else:
        found = [carry_out(name, seed=seed, say=lambda text: click.echo(text, err=True)) for name in chosen]
        extra = [{} for _ in found]
    if as_json:
        rows = [msgspec.to_builtins(one) | {"holds": one.holds} | more for one, more in zip(found, extra, strict=True)]
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        show(found, story=story)
        for one, more in zip(found, extra, strict=True):
            if more:
                click.echo(
                    f"{one.scenario}: {more['market_seconds']:g} s of market in {more['machine_seconds']:g} s, "
                    f"{one.lines} lines and {one.decisions} decisions replayed, memory {more['memory_mb']}"
                )
    raise SystemExit(int(ExitCode.OK if all(one.holds for one in found) else ExitCode.REFUSED))


def _on_processes(names: list[str], *, seed: int, pace: float, keep: bool) -> list[Played]:
    """Play on processes, progress on stderr; Failed when it could not be run."""
    try:
        with View(Console(stderr=True, width=WIDTH)) as view:

            def tell(one: Played) -> None:
                end = "holds" if one.verdict.holds else "; ".join(one.verdict.failed)
                view.step(f"{one.verdict.scenario}: {', '.join(one.verdict.reasons) or 'no position'}: {end}")

            return asyncio.run(play_all(names, view, seed=seed, pace=pace, keep=keep, on_played=tell))
    except (PartFailed, EmbeddedKafkaError, ExchangeGone, Stopped) as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error


def _figures(one: Played) -> dict[str, Any]:  # Any: JSON
    """What only a run on processes has."""
    return {
        "machine_seconds": one.machine_seconds,
        "market_seconds": one.market_seconds,
        "held_seconds": one.held_seconds,
        "worst_lag_seconds": one.worst_lag_seconds,
        "naked_ms_by_position": one.naked_by_episode,
        "memory_mb": one.memory_mb,
        "load_average": os.getloadavg()[0],
    }


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
