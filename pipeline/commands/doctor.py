"""The only place for ``perpguard doctor``: look at venue, keys, account, broker and machine before money is used."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click
import msgspec

from pipeline.commands.context import config_option, json_option, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.doctor import checks
from pipeline.doctor.checks import FAIL, OK, Row
from pipeline.doctor.probes import NotPossible, Probe, Probes
from pipeline.emergency.venue import PlainVenue
from pipeline.settings import Settings

PLAY_MONEY = ("local", "demo")
RECORD = "probes.json"
WORDS = {True: "safe   ", False: "UNSAFE ", None: "not seen"}
IDENTITY_SECONDS = 5.0


@click.command()
@click.option(
    "--probe", is_flag=True, help="Also send orders that ask the venue how it behaves. Never on the real one."
)
@config_option
@json_option
def doctor(*, probe: bool, config_path: Path | None, as_json: bool) -> None:
    """
    Check keys, permissions, modes, margin, leverage, clock, limits, broker, log and disk; say how to mend each.

    Only reads, unless --probe is given: that opens and closes small positions on the simulator or the demo venue and
    records what the venue did. Exit code 0: nothing fails; 1: something does; 2: settings, or --probe on real money.
    """
    settings = settings_or_exit(config_path)
    if probe and settings.venue not in PLAY_MONEY:
        raise click.UsageError(f"--probe sends orders; {settings.rest_url} is not the simulator and not the demo venue")
    rows = []
    venue = _venue(settings, settings.rest_url)
    wallet = _venue(settings, checks.WALLET_URL) if settings.venue == "real" else None
    for row in (*checks.everything(settings, venue, wallet=wallet), checks.log_identity(lambda: _identity(settings))):
        rows.append(row)
        if not as_json:
            click.echo(_words(row))
    found = _probe(settings, venue, quiet=as_json) if probe else []
    if as_json:
        plain = {"rows": msgspec.to_builtins(rows), "probes": msgspec.to_builtins(found)}
        click.echo(json.dumps(plain, ensure_ascii=False))
    failed = any(row.verdict == FAIL for row in rows) or any(one.safe is False for one in found)
    raise SystemExit(int(ExitCode.REFUSED if failed else ExitCode.OK))


def _probe(settings: Settings, venue: PlainVenue, *, quiet: bool) -> list[Probe]:
    def say(text: str) -> None:
        if not quiet:
            click.echo(f"    {text}")

    symbol = settings.limits.symbols[0]
    say(f"probes on {symbol} at {settings.rest_url}: small positions are opened and closed")
    found: list[Probe] = []
    try:
        for one in Probes(venue, symbol, say).run():
            found.append(one)
            say(f"{WORDS[one.safe]}  {one.name}: {one.seen}")
    except NotPossible as error:
        raise click.UsageError(str(error)) from error
    settings.data_directory.mkdir(parents=True, exist_ok=True)
    record = {"venue": settings.rest_url, "symbol": symbol, "probes": msgspec.to_builtins(found)}
    path = settings.data_directory / RECORD
    path.write_text(json.dumps(record, indent=2) + "\n")
    say(f"recorded in {path}")
    return found


def _venue(settings: Settings, url: str) -> PlainVenue:
    return PlainVenue(url, key=settings.api_key.reveal(), secret=settings.api_secret.reveal())


def _identity(settings: Settings) -> str | None:
    """Through Kafka's own client, loaded for this one row. Raises OSError with what the client says."""
    from aiokafka.errors import KafkaError  # noqa: PLC0415 - half a second of imports for one row

    from pipeline.streaming.clients import client_arguments  # noqa: PLC0415
    from pipeline.streaming.topics_admin import TopicsNotReady, read_identity  # noqa: PLC0415

    async def read() -> str | None:
        async with asyncio.timeout(IDENTITY_SECONDS):
            return await read_identity(client_arguments(settings), settings.prefix)

    try:
        return asyncio.run(read())
    except (KafkaError, TopicsNotReady, TimeoutError) as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _words(row: Row) -> str:
    mend = f"\n        → {row.mend}" if row.mend else ""
    mark = "ok  " if row.verdict == OK else row.verdict.upper()
    return f"{mark:<5} {row.name:<18} {row.found}" + (f" (wanted: {row.wanted})" if mend else "") + mend
