"""The only place for ``perpguard backtest``: its options, the table for people, JSON and HTML, its exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.backtest.figures import figures, together
from pipeline.backtest.jobs import Job, carry_out_all
from pipeline.backtest.markets import NoMarket, of_recording
from pipeline.backtest.page import page
from pipeline.backtest.recorded_days import of_log
from pipeline.backtest.run import EntryRule
from pipeline.commands.context import Failed, config_option, settings_or_exit
from pipeline.commands.exit_codes import ExitCode

Json: TypeAlias = Any  # the report's JSON

WIDTH: Final = 150
SUFFIX: Final = ".csv.gz"
FILE: Final = click.Path(exists=True, path_type=Path)


@click.command()
@config_option
@click.option("--klines", type=FILE, help="One-minute candles: SYMBOL.csv.gz, or a folder of them.")
@click.option("--funding", type=FILE, help="Funding rates beside them: a file, or a folder with the same names.")
@click.option("--recording", type=FILE, help="hftbacktest's .gz, a folder of cryptofeed or of `perpguard record`.")
@click.option("--log", "log", type=FILE, help="Recorded days: a dump (replay --dump), or `record`'s folder.")
@click.option("--symbol", "symbols", multiple=True, help="Only these (again for more).")
@click.option("--days", default=0.0, type=click.FloatRange(0), help="Of the candles; 0: all of them.")
@click.option("--enter-every", default=0, type=click.IntRange(0), help="Minutes: ask for a position while flat.")
@click.option("--side", default="alternate", show_default=True, type=click.Choice(["alternate", "long", "short"]))
@click.option("--notional", default=1_000, show_default=True, type=click.IntRange(1), help="Of those, USDT.")
@click.option("--processes", default=0, type=click.IntRange(0), help="Symbols at once; 0: one per core.")
@click.option("--seed", default=1, show_default=True, help="Of the roads between the parts, and of what is made up.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write one page here.")
def backtest(
    *,
    config_path: Path | None,
    klines: Path | None,
    funding: Path | None,
    recording: Path | None,
    log: Path | None,
    symbols: tuple[str, ...],
    days: float,
    enter_every: int,
    side: str,
    notional: int,
    processes: int,
    seed: int,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """
    Play yesterday's market through the pipeline, in virtual time, and say what came of it.

    Connector, account, decide and execute are the real ones, the exchange is the simulator's; a log is folded as it
    stands. Positions come from signals, and from --enter-every. Every run folds its log a second time from the raw
    bytes: exit code 1 when the two differ or money is left unexplained; 2: nothing to play.
    """
    if sum(source is not None for source in (klines, recording, log)) != 1:
        raise click.UsageError("say one of --klines, --recording, --log")
    console = Console(width=WIDTH, stderr=False)
    try:
        if log is not None:
            rows = [figures(trace) for trace in of_log(log, settings_or_exit(config_path))]
            rows = [row for row in rows if not symbols or row["symbol"] in symbols]
        else:
            settings_or_exit(config_path)  # every problem is told before anything is played
            entries = EntryRule(every_ms=enter_every * 60_000, side=side, notional=notional)
            jobs = _jobs(klines, recording, funding, symbols, days=days, config=config_path, entries=entries, seed=seed)
            rows = _play(jobs, processes or (os.cpu_count() or 1), console)
    except NoMarket as error:
        raise Failed(str(error), ExitCode.USAGE) from error
    report = together(rows)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=1) + "\n")
    if html_file is not None:
        html_file.write_text(page(report))
    show(report, console)
    good = report["equal"] and not any(row["faults"] or row["sums"]["unexplained"] for row in rows)
    raise SystemExit(int(ExitCode.OK if good else ExitCode.REFUSED))


def _jobs(
    klines: Path | None,
    recording: Path | None,
    funding: Path | None,
    symbols: tuple[str, ...],
    *,
    days: float,
    config: Path | None,
    entries: EntryRule,
    seed: int,
) -> list[Job]:
    """A job for each symbol that is there and wanted; raises NoMarket for one that is wanted and not there."""
    found: dict[str, tuple[str, Path, Path | None]] = {}
    if klines is not None:
        files = sorted(klines.glob(f"*{SUFFIX}")) if klines.is_dir() else [klines]
        for file in files:
            name = file.name.partition(".")[0]
            rates = funding / file.name if funding is not None and funding.is_dir() else funding
            found[name] = ("klines", file, rates if rates is not None and rates.exists() else None)
    elif recording is not None:
        found = {market.symbol: ("recording", recording, None) for market in of_recording(recording)}
    missing = [symbol for symbol in symbols if symbol not in found]
    if missing or not found:
        raise NoMarket(f"not there: {' '.join(missing) or 'any symbol'}; there is: {' '.join(found) or 'nothing'}")
    return [
        Job(
            symbol=symbol,
            kind=kind,
            path=str(path),
            funding=str(rates) if rates is not None else "",
            days=days,
            config=str(config) if config is not None else "",
            entries=entries,
            seed=seed,
        )
        for symbol, (kind, path, rates) in found.items()
        if not symbols or symbol in symbols
    ]


def _play(jobs: list[Job], processes: int, console: Console) -> list[Json]:
    columns = (TextColumn("{task.description:>12}"), BarColumn(40), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        tasks = {job.symbol: progress.add_task(job.symbol, total=1.0) for job in jobs}
        return carry_out_all(
            jobs,
            processes=min(processes, len(jobs)),
            on_progress=lambda symbol, share: progress.update(tasks[symbol], completed=share),
        )


def show(report: Json, console: Console) -> None:
    """The report for people."""
    table = Table(title="Backtest (USDT)", title_justify="left")
    for name in ("symbol", "hours", "trades", "won", "realised", "fees", "funding", "net", "deepest fall", "chain"):
        table.add_column(name, justify="left" if name in ("symbol", "chain") else "right")
    for row in report["symbols"]:
        sums, proof = row["sums"], row["proof"]
        money = [f"{sums[name]:+.2f}" for name in ("realised", "funding", "net")]
        money.insert(1, f"{sums['fees']:.2f}")
        table.add_row(
            row["symbol"],
            f"{row['hours']:.1f}",
            str(sums["trades"]),
            str(sums["won"]),
            *money,
            f"{sums['deepest_fall']:.2f}",
            proof["chain"][:16] + (" =" if proof["folded_twice_equal"] else " DIFFERS"),
        )
    console.print(table)
    rules = Table(title="What ended the trades", title_justify="left")
    for name in ("symbol", "rule", "trades", "won", "realised", "fees", "mean minutes"):
        rules.add_column(name, justify="left" if name in ("symbol", "rule") else "right")
    for row in report["symbols"]:
        for rule, one in row["reasons"].items():
            rules.add_row(
                row["symbol"],
                rule,
                str(one["trades"]),
                str(one["won"]),
                f"{one['realised']:+.2f}",
                f"{one['fees']:.2f}",
                f"{one['mean_minutes']:g}",
            )
    console.print(rules)
    for row in report["symbols"]:
        for words in (*row["faults"], row["proof"]["first_difference"]):
            if words:
                console.print(f"{row['symbol']}: {words}", markup=False)
        if row["sums"]["unexplained"]:
            console.print(f"{row['symbol']}: {row['sums']['unexplained']} USDT are unexplained", markup=False)
    assumed = dict.fromkeys(line for row in report["symbols"] for line in row["assumed"])
    for line in assumed:
        console.print(f"made up: {line}", markup=False, highlight=False)
