"""The only place for ``perpguard plugin``: write a plug-in, look at those that are there, run them, call them again."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from aiokafka.errors import KafkaError

from pipeline import telemetry
from pipeline.audit.sources import DumpSource, Entry, KafkaSource, SourceError, dumps_in
from pipeline.commands.context import Failed, config_option, finish, json_option, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.core.plugin_answers import KINDS
from pipeline.core.policies import PluginRow
from pipeline.plugins import skeleton
from pipeline.plugins.api import Misuse
from pipeline.plugins.host import Child, Host
from pipeline.plugins.registry import find
from pipeline.plugins.said import Said
from pipeline.plugins.service import serve
from pipeline.plugins.verify import Collected, Verified
from pipeline.plugins.verify import verify as call_again
from pipeline.reporting import words
from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments

SHOWN_DIFFERENCES = 20
archive_option = click.option(
    "--archive",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="Read dumps (`perpguard replay --dump`) instead of Kafka.",
)


@click.group()
def plugin() -> None:
    """Factors, signals and exit rules of your own (docs/plugins.md)."""


@plugin.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="exit", show_default=True, help="What it is to be.")
@config_option
def new(name: str, kind: str, config_path: Path | None) -> None:
    """
    Write a working plug-in NAME with its test into the plug-in directory (PERPGUARD_PLUGIN_DIRECTORY, else plugins).

    Exit code 2: the name cannot be, or is there already; nothing was written.
    """
    directory = settings_or_exit(config_path).plugin_directory
    try:
        paths = skeleton.write(name, kind, directory)
    except Misuse as misuse:
        raise Failed(str(misuse), ExitCode.USAGE) from misuse
    for path in paths:
        click.echo(f"written: {path}")
    click.echo(f"\nTry it:            python -m pytest {directory / name}")
    click.echo(f"Switch it on with:\n{skeleton.section(name, kind)}")
    click.echo("  (shadow: it answers, nothing follows; take it away when you trust it)")
    click.echo("Then:              perpguard plugin check && perpguard plugin run")


@plugin.command()
@config_option
@json_option
def check(config_path: Path | None, as_json: bool) -> None:
    """
    Load every plug-in of the configuration in a process of its own and compare it with its row.

    Exit code 1: one cannot be loaded or does not fit; each problem says what is allowed.
    """
    settings = settings_or_exit(config_path)
    rows = settings.policy.plugins
    found, problems = find(settings.plugin_directory)
    problems += asyncio.run(_problems(rows, settings.plugin_directory))
    configured = {row.name for row in rows}
    idle = sorted(set(found) - configured)
    texts = [f"{row.name}: {row.kind}, version {row.version}{', shadow' if row.shadow else ''}" for row in rows]
    texts += [f"{name}: there, but not in the configuration, so it is never asked" for name in idle]
    texts += problems
    texts.append(
        "nothing is configured: the key `plugins` is empty"
        if not rows
        else f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
    )
    payload = {"ok": not problems, "configured": sorted(configured), "idle": idle, "problems": problems}
    finish(payload, "\n".join(texts), as_json=as_json, code=ExitCode.REFUSED if problems else ExitCode.OK)


async def _problems(rows: tuple[PluginRow, ...], directory: Path) -> list[str]:
    """What is wrong with each plug-in as the host would find it."""
    problems = []
    for row in rows:
        child = Child(row, directory)
        await child.ready()
        hello = child.hello
        if hello.problem or not hello.version:
            problems.append(f"{row.name}: {hello.problem or 'its process ended while it was loaded'}")
        elif hello.version != row.version:
            problems.append(
                f"{row.name}: calls itself version {hello.version!r}, the configuration says {row.version!r}; its "
                "answers would be refused"
            )
        await child.stop()
    return problems


@plugin.command()
@config_option
def run(config_path: Path | None) -> None:
    """
    Run the plug-ins of the configuration beside the workers, until Ctrl-C or SIGTERM.

    Its death, or that of any plug-in, stops no guard: questions stay unanswered, and people are told. Exit code 2:
    the configuration has no plug-ins; 3: Kafka does not answer.
    """
    settings = settings_or_exit(config_path)
    if not settings.policy.plugins:
        raise Failed("the configuration has no plug-ins: say which under `plugins` (docs/plugins.md)", ExitCode.USAGE)
    telemetry.configure_logging()
    try:
        desk = asyncio.run(_run(settings))
    except KafkaError as error:
        raise Failed(f"Kafka does not answer at {settings.brokers}: {error}", ExitCode.UNREACHABLE) from error
    click.echo(f"{desk[0]} answers, {desk[1]} of them failures, {desk[2]} questions dropped")


async def _run(settings: Settings) -> tuple[int, int, int]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(host: Host) -> None:
        loaded = {
            name: child.hello.problem or f"version {child.hello.version}" for name, child in host.children.items()
        }
        click.echo(json.dumps({"plugins": loaded}))

    desk = await serve(settings, stop=stop, ready=ready)
    return desk.answered, desk.failed, desk.dropped


@plugin.command()
@config_option
@archive_option
@json_option
def verify(config_path: Path | None, archive: Path | None, as_json: bool) -> None:
    """
    Call the plug-ins again with every view they were asked about, and compare with what they answered.

    Exit code 1: an answer is another now (the plug-in is no pure function, or its parameters have changed), or there
    was none to compare. `perpguard replay --verify` is another matter: it needs no plug-in.
    """
    settings = settings_or_exit(config_path)
    collected = Collected()
    _feed(settings, archive, collected.feed)
    found = asyncio.run(call_again(collected, Host(settings.policy.plugins, settings.plugin_directory)))
    good = any(row.compared for row in found.values()) and not any(row.differences for row in found.values())
    texts = [line for name, row in sorted(found.items()) for line in _rows(name, row)] or ["no plug-in ever answered"]
    payload = {"equal": good, "plugins": {name: msgspec.to_builtins(row) for name, row in sorted(found.items())}}
    finish(payload, "\n".join(texts), as_json=as_json, code=ExitCode.OK if good else ExitCode.REFUSED)


async def _from_kafka(settings: Settings, feed: Callable[[Entry], None]) -> None:
    async with KafkaSource(client_arguments(settings), settings.prefix) as source:
        async for entry in source.entries():
            feed(entry)


def _feed(settings: Settings, archive: Path | None, feed: Callable[[Entry], None]) -> None:
    """Give every record of the log to *feed*; ends with exit code 3 when it cannot be read."""
    try:
        if archive is None:
            asyncio.run(_from_kafka(settings, feed))
            return
        for path in dumps_in(archive):
            for entry in DumpSource(path).entries():
                feed(entry)
    except SourceError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error


@plugin.command()
@config_option
@archive_option
@click.option("--last", default=50, show_default=True, type=click.IntRange(1), help="So many of the newest answers.")
@click.option("--symbol", default=None, help="Only answers about this symbol.")
@json_option
def said(config_path: Path | None, archive: Path | None, last: int, symbol: str | None, as_json: bool) -> None:
    """
    Show what the plug-ins have said and what followed: the way to watch a shadow.

    `perpguard explain PLACE` tells more of one of them.
    """
    settings = settings_or_exit(config_path)
    gathered = Said()
    _feed(settings, archive, gathered.feed)
    rows = [row for row in gathered.rows() if symbol is None or row.symbol == symbol]
    shown = rows[-last:]
    texts = [
        f"{words.day(row.at_ms)} {words.moment(row.at_ms)} {row.symbol} {row.name}: {row.says}"
        + (f" → {row.followed}" if row.followed else "")
        + f"  ({row.place})"
        for row in shown
    ]
    texts.append(f"{len(shown)} of {len(rows)} answers")
    finish({"answers": [msgspec.to_builtins(row) for row in shown]}, "\n".join(texts), as_json=as_json)


def _rows(name: str, row: Verified) -> list[str]:
    said = [f"{name}: {row.compared} answers compared, {len(row.differences)} differ"]
    for count, what in (
        (row.other_code, "of other code or a plug-in that is not here"),
        (row.failures, "recorded failures, not compared"),
        (row.unasked, "whose question is not in the log"),
    ):
        if count:
            said.append(f"  {count} {what}")
    said += [
        f"  {one.symbol} {one.ask}: recorded {one.recorded}, now {one.now}"
        for one in row.differences[:SHOWN_DIFFERENCES]
    ]
    return said
