"""The only place for ``perpguard chaos``: its options, its report for people and for programs, its exit code."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import click
import msgspec
from rich.console import Console

from pipeline.chaos.campaign import campaign as campaign_of_processes
from pipeline.chaos.run import RATE, Chaos, Outcome, run
from pipeline.chaos.virtual_campaign import REST, TRANSPORTS, Failure, campaign
from pipeline.commands.context import Failed
from pipeline.commands.exit_codes import ExitCode
from pipeline.console.log_access import Unreachable
from pipeline.demo.exchange import ExchangeGone
from pipeline.demo.fleet import PartFailed
from pipeline.demo.stage import PREFIX
from pipeline.kafka_runtime import EmbeddedKafkaError

Json: TypeAlias = Any  # the result's JSON

NOT_RUN: Final = (PartFailed, ExchangeGone, EmbeddedKafkaError, Unreachable)
WIDTH: Final = 150
NUMBER: Final = click.IntRange(0, 1_000)
PER_LINE: Final = 5
SELDOM_SHOWN: Final = 10


@click.command()
@click.option("--processes", is_flag=True, help="Real processes on a real Kafka.")
@click.option("--virtual", is_flag=True, help="One process, virtual time.")
@click.option(
    "--seeds", default=1, show_default=True, type=click.IntRange(1), help="Virtual: how many, from --seed on."
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 64), help="Virtual: on so many processes.")
@click.option(
    "--transport", default=REST, show_default=True, type=click.Choice(list(TRANSPORTS)), help="Virtual: of the orders."
)
@click.option("--kills", default=30, show_default=True, type=NUMBER, help="SIGKILL of one process, restarted.")
@click.option("--joins", default=10, show_default=True, type=NUMBER, help="A second decide worker comes and goes.")
@click.option("--freezes", default=10, show_default=True, type=NUMBER, help="SIGSTOP beyond the session.")
@click.option("--seed", default=1, show_default=True, help="Of the disturbances and the market.")
@click.option("--seconds", default=0.0, type=click.FloatRange(0), help="Go on until the run has lasted this long.")
@click.option("--rate", default=RATE, show_default=True, type=click.FloatRange(0.1), help="Events a second and symbol.")
@click.option(
    "--runs", default=1, show_default=True, type=click.IntRange(1), help="Processes: so many runs, from --seed on."
)
@click.option(
    "--into",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A line for every run or seed; those in it are not made again.",
)
@click.option("--keep", is_flag=True, help="Keep the directory with log, states and output of every process.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here.")
def chaos(
    *,
    processes: bool,
    virtual: bool,
    seeds: int,
    jobs: int,
    transport: str,
    kills: int,
    joins: int,
    freezes: int,
    seed: int,
    seconds: float,
    rate: float,
    runs: int,
    into: Path | None,
    keep: bool,
    json_file: Path | None,
) -> None:
    """
    Disturb the whole pipeline while it trades, and judge what it did.

    --virtual: core, account, executor and the simulated exchange as processes of one event loop in virtual time, with
    seeded faults: killed or frozen at an await point, two executors at once, every ambiguous answer, events lost, late
    and repeated. Thousands of seeds; one that breaks a promise is printed with the command that repeats it and made
    small.

    --processes: starts a real Kafka, a simulated exchange whose market never rests, connector and workers; kills,
    freezes and joins processes as the seed says (the exchange and Kafka are left alone); brings everything flat and
    stops it. The judge reads the exchange's ledger and the log only: every intent as in an undisturbed fold, no risk
    twice, no intent without an end, no open quantity without a stop, everything back in time.

    --runs 50 --seconds 60 --into FILE makes one run after another, a line of FILE for each; stopped, it goes on where
    it stood, and it ends with one summary of all.

    Exit code 0: nothing was broken; 1: something was, each with its place in the log and the command that repeats the
    run; 3: it could not be run.
    """
    if processes == virtual:
        raise click.UsageError("say --virtual (one process, virtual time) or --processes (real ones on a real Kafka)")
    if virtual:
        _virtual(range(seed, seed + seeds), jobs, transport, into, json_file)
    wanted = Chaos(seed=seed, kills=kills, joins=joins, freezes=freezes, seconds=seconds, rate=rate, keep=keep)
    console = Console(width=WIDTH, force_terminal=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated run ends its parts too
    if runs > 1 or into is not None:
        _many(wanted, runs, into or Path("chaos-processes.jsonl"), json_file, console)
    try:
        outcome = asyncio.run(run(wanted, console))
    except NOT_RUN as error:
        raise Failed(f"the run could not be made: {error}", ExitCode.UNREACHABLE) from error
    except KeyboardInterrupt as error:
        raise Failed("stopped; every process was ended", ExitCode.UNREACHABLE) from error
    if json_file is not None:
        json_file.write_text(json.dumps(outcome.result, indent=2) + "\n")
    show(outcome, console)
    raise SystemExit(int(ExitCode.REFUSED if outcome.violations else ExitCode.OK))


def _many(plan: Chaos, runs: int, into: Path, json_file: Path | None, console: Console) -> NoReturn:
    """Many runs of real processes; ends with the exit code."""

    async def carry(one: Chaos) -> Outcome:
        outcome = await run(one, console)
        if outcome.violations:
            show(outcome, console)
        return outcome

    try:
        made = asyncio.run(campaign_of_processes(plan, runs, into, carry=carry, failures=NOT_RUN, say=click.echo))
    except KeyboardInterrupt as error:
        raise Failed(f"stopped; the runs made so far stand in {into}", ExitCode.UNREACHABLE) from error
    if json_file is not None:
        json_file.write_text(json.dumps(made, indent=2) + "\n")
    click.echo(json.dumps(made, indent=2))
    if made["violations"]:
        raise SystemExit(int(ExitCode.REFUSED))
    raise SystemExit(int(ExitCode.UNREACHABLE if made["seeds"] < runs else ExitCode.OK))


def _virtual(seeds: range, jobs: int, transport: str, into: Path | None, json_file: Path | None) -> NoReturn:
    """Run seeds of virtual chaos and end with the exit code."""
    result, failures = campaign(
        seeds.start, len(seeds), processes=min(jobs, len(seeds)), transport=transport, keep=into
    )
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    show_virtual(result, failures)
    raise SystemExit(int(ExitCode.REFUSED if result["violations"] else ExitCode.OK))


def show_virtual(result: Json, failures: Sequence[Failure]) -> None:
    """The report for people."""
    bitten = [f"{count} × {name}" for name, count in result["faults_bitten"].items()]
    click.echo("faults that bit:")
    for at in range(0, len(bitten), PER_LINE):
        click.echo("  " + ", ".join(bitten[at : at + PER_LINE]))
    points = result["crash_points"]
    click.echo(
        f"crash points: {points['reached']} of {points['known']} await points, {len(points['seldom'])} in fewer than 20"
        f" seeds; {result['await_points_passed']} passed, {result['takeovers']} times two executors at once"
    )
    for name, count in points["table"].items():
        why = points["unreachable"].get(name)
        click.echo(f"  {count} × {name}" + (f" (unreachable: {why})" if why else ""))
    click.echo(
        f"{result['positions']} positions, {result['stop_moves']} changes of the tightest stop,"
        f" {result['intents']} intents, {result['entries']} entries, {result['lines']} lines"
    )
    first, naked = result["first_fill_naked_ms"], result["naked_ms"]
    click.echo(
        f"naked after a first fill: p50 {first['p50']} ms, p99 {first['p99']} ms, max {first['max']} ms;"
        f" ever: p99 {naked['p99']} ms, max {naked['max']} ms"
    )
    for failure in failures:
        for violation in failure.violations:
            click.echo(f"BROKEN {violation.promise}: {violation.what} [{violation.where}]")
        click.echo(
            f"repeat with: {failure.repeat}; {len(failure.faults)} faults and {failure.rides} positions suffice:"
        )
        for fault in failure.faults:
            click.echo(f"  {msgspec.json.encode(fault).decode()}")
    broken = result["violating_seeds"]
    click.echo(
        f"{result['violations']} violations in {len(broken)} of {result['seeds']} seeds"
        f" ({result['virtual_seconds']} virtual seconds in {result['seconds']:.0f} s)"
        + (f": {', '.join(map(str, broken[:SELDOM_SHOWN]))}" if broken else "")
    )


def show(outcome: Outcome, console: Console) -> None:
    """The report for people."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    result = outcome.result
    bitten = ", ".join(f"{count} × {name}" for name, count in result["faults_bitten"].items())
    naked = ", ".join(f"{around} {longest} ms" for around, longest in result["naked_by"].items())
    say(f"disturbances: {bitten}")
    say(f"{result['positions']} positions, {result['stop_moves']} changes of the tightest stop")
    say(f"{result['intents']['distinct']} intents, {result['intents']['repeated']} repeats, {result['lines']} lines")
    say(f"longest naked time: {naked}")
    for name, spread in result["live_again_ms"].items():
        say(f"live again after {name}: {_spread(spread)}")
    say(f"cover proven after a kill of the executor: {_spread(result['cover_proven_ms'])}")
    conditions = result["conditions"]
    load = conditions["load_average"]
    if load["count"]:
        say(f"load average of the {conditions['cores']} cores: p50 {load['p50']}, max {load['max']}")
    for ended in result["ended_by_themselves"]:
        say(f"{ended['part']} ended by itself with code {ended['code']} at {ended['at_ms']}: {ended['last_words']}")
    if outcome.kept:
        say(f"log, states and output of every process lie in {outcome.directory} (prefix {PREFIX})")
    for violation in outcome.violations:
        say(f"BROKEN {violation.promise}: {violation.what} [{violation.where}]")
    if outcome.violations:
        say(f"repeat with: {result['repeat']}")
    say(f"{len(outcome.violations)} violations in {result['seconds']:.0f} s, seed {result['seed']}")


def _spread(spread: Json) -> str:
    return f"p50 {spread['p50']} ms, max {spread['max']} ms ({spread['count']})" if spread["count"] else "none"
