"""The only place for ``perpguard demo``: its options, its report for people and for programs, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from pipeline.commands.context import Failed
from pipeline.commands.exit_codes import ExitCode
from pipeline.console.log_access import Unreachable
from pipeline.demo.acts import Played
from pipeline.demo.exchange import ExchangeGone
from pipeline.demo.fleet import PartFailed
from pipeline.demo.run import Outcome, run
from pipeline.demo.stage import PREFIX, Options
from pipeline.kafka_runtime import EmbeddedKafkaError
from pipeline.reporting import words
from pipeline.reporting.trades_report import table_of

WIDTH: Final = 150  # of output that is no terminal
NOT_PLAYED: Final = (PartFailed, Played, ExchangeGone, EmbeddedKafkaError, Unreachable)


@click.command()
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 100), help="Of the market.")
@click.option(
    "--recording",
    type=click.Path(exists=True, path_type=Path),
    help="Play this hftbacktest file (or cryptofeed folder) instead of the synthetic market.",
)
@click.option("--keep", is_flag=True, help="Keep the directory with log, states and output of every process.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here.")
@click.option("--seed", default=1, show_default=True, help="Of the synthetic market.")
def demo(*, speed: float, recording: Path | None, keep: bool, json_file: Path | None, seed: int) -> None:
    """
    Show the whole pipeline on this machine, and verify it.

    Starts a real Kafka, a simulated exchange, the connector and three Faust workers; opens three positions that end
    by target, by trailing stop and by hard stop; kills the executor with SIGKILL once between a fill and its stops and
    once inside a stop move; stops everything, folds the log again in a fresh process and holds every promise against
    the log and the exchange's own ledger.

    Exit code 0: every promise held; 1: one was broken, each is named; 3: it could not be played, the reason is printed.
    """
    console = Console() if os.isatty(1) else Console(width=WIDTH)
    options = Options(speed=speed, recording=recording, keep=keep, seed=seed)
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminated demo ends its parts too
        signal.signal(number, signal.default_int_handler)
    try:
        outcome = asyncio.run(run(options, console))
    except NOT_PLAYED as error:
        raise Failed(f"the demo could not be played: {error}", ExitCode.UNREACHABLE) from error
    except KeyboardInterrupt as error:
        raise Failed("stopped; every process was ended", ExitCode.UNREACHABLE) from error
    if json_file is not None:
        json_file.write_text(json.dumps(outcome.result, indent=2) + "\n")
    show(outcome, console)
    raise SystemExit(int(ExitCode.OK if outcome.ok else ExitCode.REFUSED))


def show(outcome: Outcome, console: Console) -> None:
    """The report for people."""
    console.print(table_of(outcome.report))
    console.print(promises_table(outcome))
    result = outcome.result
    latency = ", ".join(f"{name.removesuffix('_ms')} {value}" for name, value in result["latency_ms"].items())
    memory = ", ".join(f"{name} {value:.0f}" for name, value in result["memory_mb"].items())
    rest = result["rest"]
    console.print(f"latency, ms: {latency}", highlight=False)
    console.print(
        f"REST: {rest['requests_per_minute']} requests and weight {rest['weight_per_minute']} a minute", highlight=False
    )
    console.print(f"memory, MB: {memory}", highlight=False)
    # The bounds of P3 are wall time, and a start costs about 1.5 s of one core: say on what machine they were held.
    console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", highlight=False)
    if outcome.kept:
        console.print(f"the log lies in {outcome.directory}/kafka: look again with", highlight=False)
        console.print(f"  perpguard kafka --directory {outcome.directory}/kafka --port 0", highlight=False)
        console.print(f"  PERPGUARD_PREFIX={PREFIX} PERPGUARD_BROKERS=… perpguard explain BTCUSDT", highlight=False)
    else:
        console.print(f"the log lay in {outcome.directory} and is removed; --keep keeps it", highlight=False)
    broken = [promise for promise in outcome.promises if not promise.held]
    verdict = "every promise held" if not broken else f"{len(broken)} of {len(outcome.promises)} promises are broken"
    console.print(f"{verdict}, after {words.duration(int(result['seconds'] * 1_000))}", style="bold")


def promises_table(outcome: Outcome) -> Table:
    """Each promise, whether it held, and what was seen."""
    table = Table(title="promises", title_justify="left", pad_edge=False)
    for name in ("promise", "held", "what", "seen"):
        table.add_column(name, overflow="fold")
    for promise in outcome.promises:
        seen = promise.seen if promise.held else "\n".join([*promise.broken, promise.seen]).strip()
        style = "green" if promise.held else "red"
        table.add_row(promise.number, f"[{style}]{'yes' if promise.held else 'NO'}[/{style}]", promise.what, seen)
    return table
