"""The only place for ``perpguard connector``: settings become plain values for the connector, until a signal."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any, Final

import click
import httpx
import msgspec
import structlog
import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from connectors.binance_futures.client import Connector
from connectors.binance_futures.following import Following
from connectors.binance_futures.metrics import Status, serve
from connectors.binance_futures.publisher import Publisher
from connectors.binance_futures.routing import UnknownStream
from connectors.binance_futures.subscriptions import Subscriptions, check_configured
from connectors.binance_futures.user_stream import ListenKeys
from pipeline import collector, telemetry
from pipeline.commands.context import Failed, config_option, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments
from pipeline.streaming.topics_admin import TopicsNotReady, ensure_topics_as
from pipeline.wire.topics import TOPICS

FLUSH_SECONDS = 3.0
TOPICS_RETRY_SECONDS = 1.0

log: Any = structlog.get_logger("perpguard.connector")  # Any: structlog binds its types at run time


# Option → the variable it outranks.
_VARIABLES: Final = {
    "brokers": "PERPGUARD_BROKERS",
    "prefix": "PERPGUARD_PREFIX",
    "ws_url": "PERPGUARD_WS_URL",
    "rest_url": "PERPGUARD_REST_URL",
    "symbols": "PERPGUARD_SYMBOLS",
    "metrics_port": "PERPGUARD_METRICS_PORT",
}


@click.group(invoke_without_command=True)
@click.option("--brokers", help="Kafka, host:port[,host:port…]; else PERPGUARD_BROKERS.")
@click.option("--prefix", help="Prefix of the topics; else PERPGUARD_PREFIX.")
@click.option("--ws-url", help="Streams of the venue without route; else PERPGUARD_WS_URL.")
@click.option("--rest-url", help="REST of the venue, for the listen key only; else PERPGUARD_REST_URL.")
@click.option("--symbols", help="BTCUSDT,ETHUSDT,…; else PERPGUARD_SYMBOLS or the configuration.")
@click.option("--metrics-port", type=click.IntRange(0, 65_535), help="0 serves none; else PERPGUARD_METRICS_PORT.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="On stdout only the JSON line that says ready.")
@click.pass_context
def connector(context: click.Context, /, config_path: Path | None, as_json: bool, **options: str | int | None) -> None:
    """
    Bring every frame of the venue into the log, untouched, until Ctrl-C or SIGTERM.

    With `status` it shows one that runs. Prints a line when every real-time stream has had its first frame. Broker and
    venue may be away at any time: it
    waits and tries again. Exit code 3: at the end Kafka did not take everything. The user stream needs
    PERPGUARD_API_KEY (the key only, never the secret).
    """
    if context.invoked_subcommand is not None:
        return
    os.environ.update({_VARIABLES[name]: str(value) for name, value in options.items() if value is not None})
    os.environ["PERPGUARD_ROLE"] = "connector"  # whatever the workers beside it are: the secret is not asked for here
    settings = settings_or_exit(config_path)
    telemetry.configure_logging(level=os.environ.get("PERPGUARD_LOG_LEVEL", "info"))
    for notice in settings.notices:
        log.warning("notice", text=notice)
    try:
        for warning in check_configured(settings.data_source.ws_streams):
            log.warning("configuration", text=warning)
        subscriptions = Subscriptions(settings.symbols)
    except UnknownStream as error:
        raise Failed(str(error), ExitCode.USAGE) from error
    collector.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        left = runner.run(_serve(settings, subscriptions, as_json=as_json))
    if left:
        raise Failed(f"Kafka took not everything before the end; not written: {left}", ExitCode.UNREACHABLE)


@connector.command()
@click.option("--url", default=None, help="Where it serves metrics; else this machine, PERPGUARD_METRICS_PORT.")
@click.option("--every", default=0.0, type=click.FloatRange(0), help="Show again every so many seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="The answer as JSON.")
def status(url: str | None, every: float, as_json: bool) -> None:
    """
    Show the connections of a connector that runs: streams, rates, ages, what is silent, what waits.

    Exit code 0: ready; 1: not ready; 3: nobody answers.
    """
    address = url or f"http://127.0.0.1:{os.environ.get('PERPGUARD_METRICS_PORT', '9100')}"
    console = Console()
    before: Status | None = None
    while True:
        try:
            answer = httpx.get(f"{address.rstrip('/')}/status", timeout=5, trust_env=False)
            told = msgspec.json.decode(answer.content, type=Status)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise Failed(f"no connector answers at {address}: {error}", ExitCode.UNREACHABLE) from error
        if as_json:
            click.echo(answer.text)
        else:
            if every:
                console.clear()
            console.print(table_of(told, before, every))
        if not every:
            raise SystemExit(int(ExitCode.OK if told.ready else ExitCode.REFUSED))
        before = told
        time.sleep(every)


def table_of(told: Status, before: Status | None = None, seconds: float = 0.0) -> Table:
    """The connections as a table; rates need an earlier look *seconds* ago."""
    known = {one.source: one.frames for one in before.connections} if before is not None else {}
    state = "ready" if told.ready else f"NOT READY ({len(told.missing)} streams of held symbols missing)"
    offsets = ", ".join(f"{kind} {summary['max_ms']:.0f} ms" for kind, summary in sorted(told.offsets_ms.items()))
    table = Table(
        title=f"{state}: {told.symbols} symbols, held: {', '.join(told.held) or 'none'}",
        caption=f"{told.frames} frames, {told.quarantined} quarantined, {told.queued_bytes >> 10} kB wait, "
        f"{told.holes} holes marked, {told.given_way} gave way, {told.produce_retries} retries, "
        f"offsets {offsets or 'unknown'}",
    )
    for name in ("connection", "state", "streams", "age", "frames", "per s", "holes", "quiet ms", "unread", "silent"):
        table.add_column(name, justify="left" if name in ("connection", "state", "silent") else "right")
    for one in sorted(told.connections, key=lambda one: one.source):
        rate = f"{(one.frames - known[one.source]) / seconds:.0f}" if one.source in known and seconds else ""
        silent = ", ".join(one.silent[:3]) + (" …" if len(one.silent) > 3 else "")
        quiet = "" if one.quiet_ms > 10**9 else str(one.quiet_ms)
        counts = (str(one.streams), f"{one.age_s} s", str(one.frames), rate, str(one.holes), quiet, str(one.unread))
        table.add_row(one.source.removeprefix("connector/"), one.state, *counts, silent)
    return table


async def _serve(settings: Settings, subscriptions: Subscriptions, *, as_json: bool) -> str:
    """Run until a signal; returns what could not be written at the end, in words."""
    started = time.monotonic()
    incarnation = f"{time.time_ns() // 1_000_000:x}"
    publisher = Publisher(arguments=client_arguments(settings), prefix=settings.prefix, incarnation=incarnation)
    keys = None
    if settings.api_key:
        keys = ListenKeys(rest_url=settings.rest_url, api_key=settings.api_key.reveal())
    else:
        log.warning("no_user_stream", text="PERPGUARD_API_KEY is not set: market data only, fills will not be seen")

    def ready() -> None:
        told = {
            "ready": True,
            "symbols": len(subscriptions.symbols),
            "streams": sum(len(group.streams) for group in subscriptions.groups),
            "connections": len(subject.rollovers),
            "user_stream": keys is not None,
            "seconds": round(time.monotonic() - started, 3),
        }
        click.echo(json.dumps(told) if as_json else f"ready: {told['streams']} streams of {told['symbols']} symbols")

    subject = Connector(
        ws_url=settings.ws_url,
        subscriptions=subscriptions,
        publisher=publisher,
        incarnation=incarnation,
        draw=random.random,
        listen_keys=keys,
        on_ready=ready,
        instance="" if settings.instance == "0" else settings.instance,
        fallback_ms=settings.polling.fallback_interval_sec * 1_000,
    )
    following = Following(subject, arguments=client_arguments(settings), prefix=settings.prefix)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        ending.set()
        subject.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if settings.metrics_port:
        serve(subject, settings.metrics_port)
    starting = loop.create_task(_start(settings, publisher))
    waiting = loop.create_task(ending.wait())
    await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
    left = ""
    if starting.done():
        starting.result()
        subject.beside(following.run())
        await subject.run()
        await publisher.flush(FLUSH_SECONDS)
        left = publisher.waiting()
        await publisher.stop()
    starting.cancel()
    waiting.cancel()
    return left


async def _start(settings: Settings, publisher: Publisher) -> None:
    """Wait for Kafka and its topics, however long it takes; topics that are missing are made where we may."""
    while True:
        try:
            if not await _topics_are_there(settings):
                await ensure_topics_as(client_arguments(settings), settings.prefix, 1)
            break
        except (TopicsNotReady, KafkaError, OSError) as error:
            log.warning("kafka_away", error=str(error))
            await asyncio.sleep(TOPICS_RETRY_SECONDS)
    await publisher.start()


async def _topics_are_there(settings: Settings) -> bool:
    """True when every topic the connector writes exists; asking needs fewer rights than making."""
    admin = AIOKafkaAdminClient(**client_arguments(settings))
    try:
        await admin.start()
        present = set(await admin.list_topics())
    finally:
        await admin.close()
    return {topic.named(settings.prefix) for topic in TOPICS if "connector" in topic.writers} <= present
