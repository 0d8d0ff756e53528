"""The only place for ``perpguard record``: the connector into files, and what a recording is worth."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import uvloop
from rich.console import Console
from rich.table import Table

from connectors.binance_futures.client import Connector
from connectors.binance_futures.picture import picture
from connectors.binance_futures.recorder import Recorder, Verified, verify
from connectors.binance_futures.snapshots import PER_MINUTE, Snapshots
from connectors.binance_futures.subscriptions import Subscriptions
from pipeline.commands.context import Failed, config_option, settings_or_exit
from pipeline.commands.exit_codes import ExitCode

WIDTH = 150
FILTERS_SECONDS = 3.0


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--verify", "check", is_flag=True, help="Record nothing: say what the recording there is worth.")
@click.option("--seconds", default=0.0, type=click.FloatRange(0), help="End by itself after so long.")
@click.option("--symbols", help="BTCUSDT,ETHUSDT,…; else PERPGUARD_SYMBOLS or the configuration.")
@click.option("--ws-url", help="Streams of the venue without route; else PERPGUARD_WS_URL.")
@click.option("--rest-url", help="REST of the venue, for filters and books; else PERPGUARD_REST_URL.")
@click.option(
    "--books-per-minute",
    default=PER_MINUTE,
    show_default=True,
    type=click.IntRange(1, 60),
    help="Snapshots asked for, weight 20 each: at the start of every book and behind every gap.",
)
@click.option(
    "--png", type=click.Path(dir_okay=False, path_type=Path), help="With --verify: frames a stream as a picture."
)
@config_option
def record(
    directory: Path,
    *,
    check: bool,
    seconds: float,
    symbols: str | None,
    ws_url: str | None,
    rest_url: str | None,
    books_per_minute: int,
    png: Path | None,
    config_path: Path | None,
) -> None:
    """
    Write every market frame of the venue into compressed files in DIRECTORY, until Ctrl-C or SIGTERM.

    A file a symbol in hftbacktest's form, and the connector's own lines with connections and holes. The simulator plays
    the directory (`perpguard simulator --recording DIRECTORY`), `perpguard backtest --recording DIRECTORY` trades on
    it, `perpguard replay --archive DIRECTORY` folds it. Run it again to go on. With --verify: gaps, rates and
    latencies per stream, as a table and with --png as a picture. Exit code 1: the recording has holes that nothing
    marks, or a file that ends in the middle.
    """
    if check:
        if not any(directory.glob("lines-*.jsonl.gz")):
            raise Failed(f"no recording (lines-*.jsonl.gz) in {directory}", ExitCode.NOT_FOUND)
        found = verify(directory)
        Console(width=WIDTH).print(table_of(found))
        if png is not None:
            png.write_bytes(picture(directory))
        faulty = found.missing or found.torn or any(stream.broken for stream in found.streams)
        raise SystemExit(int(ExitCode.REFUSED if faulty else ExitCode.OK))
    settings = settings_or_exit(config_path)
    wanted = tuple(symbols.split(",")) if symbols else settings.symbols
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        frames = runner.run(
            record_until_told(
                directory,
                wanted,
                ws_url=ws_url or settings.ws_url,
                rest_url=rest_url or settings.rest_url,
                books_per_minute=books_per_minute,
                seconds=seconds,
            )
        )
    click.echo(f"{frames} frames in {directory}")


async def record_until_told(
    directory: Path,
    symbols: tuple[str, ...],
    *,
    ws_url: str,
    rest_url: str,
    books_per_minute: float = PER_MINUTE,
    seconds: float = 0.0,
    begun: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> int:
    """Record until a signal, for *seconds*, or until what *begun* is given is called; returns the frames received."""
    recorder = Recorder(directory, symbols=symbols, told=sys.stderr)
    snapshots = Snapshots(rest_url=rest_url, keeper=recorder, per_minute=books_per_minute)
    subject = Connector(
        ws_url=ws_url,
        subscriptions=Subscriptions(symbols),
        publisher=recorder,
        incarnation=f"{time.time_ns() // 1_000_000:x}",
        draw=random.random,
        on_ready=lambda: click.echo(f"recording {len(symbols)} symbols into {directory}"),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, subject.stop)
    begun(subject.stop)
    reading = loop.create_task(snapshots.run())
    try:
        with contextlib.suppress(TimeoutError):  # frames matter more than their grid
            await asyncio.wait_for(snapshots.begun.wait(), FILTERS_SECONDS)
        if seconds:
            loop.call_later(seconds, subject.stop)
        await subject.run()
    finally:
        reading.cancel()
        ended = (await asyncio.gather(reading, return_exceptions=True))[0]
        recorder.close()
    if isinstance(ended, Exception):
        raise ended
    return subject.frames


def table_of(found: Verified) -> Table:
    """The recording's worth, one row a stream of a symbol."""
    torn = f", cut off in the middle: {', '.join(found.torn)}" if found.torn else ""
    table = Table(title=f"{found.lines} lines, {found.missing} running numbers missing{torn}")
    table.add_column("stream")
    for name in ("frames", "per s", "longest s", "repeats", "holes marked", "unmarked", "late p50", "p99", "max ms"):
        table.add_column(name, justify="right")
    for one in found.streams:
        name = one.name if one.name.lower().startswith(one.symbol.lower()) else f"{one.name} {one.symbol}"
        late = [str(one.late(permille)) for permille in (500, 990, 1_000)]
        row = (str(one.frames), f"{one.rate:.1f}", f"{one.longest_ns / 1e9:.1f}", str(one.repeats))
        table.add_row(name, *row, str(one.holes), str(one.broken), *late)
    return table
