"""The only place for ``perpguard replay``: fold the log again from its raw bytes and compare with what was decided."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from pipeline.audit.account_replay import AccountReplay
from pipeline.audit.fold_digest import fold_digest
from pipeline.audit.recordings import RecordingSource, is_recording
from pipeline.audit.replay import Replay, Report, Result
from pipeline.audit.sources import DumpSource, DumpWriter, Header, KafkaSource, SourceError, dumps_in
from pipeline.binance.account_fold import AccountFold, rules_of
from pipeline.commands.context import Failed, config_option, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.settings import Settings
from pipeline.streaming.clients import client_arguments
from pipeline.wire.topics import INPUT_PARTITIONS, partition_of

SHOWN_DIFFERENCES: Final = 20


class Moment(click.ParamType):
    """A point of time: Unix milliseconds, or ISO 8601 (UTC unless it says otherwise)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return Unix milliseconds."""
        text = str(value)
        if text.isdigit():
            return int(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither Unix milliseconds nor ISO 8601 (2026-11-25T08:00:00)", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)


@click.command()
@config_option
@click.option(
    "--verify", is_flag=True, help="Exit 0 only when every decision is equal and every byte is as it was read."
)
@click.option("--symbol", default=None, help="Only this symbol's decisions.")
@click.option("--from", "begin_ms", type=Moment(), default=None, help="Begin at the last anchor before this time.")
@click.option("--to", "end_ms", type=Moment(), default=None, help="Leave out what was appended later.")
@click.option(
    "--dump",
    "dump_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Also write the log that was read to this file; `--archive FILE` reads it again.",
)
@click.option(
    "--archive",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="Read dumps (a directory of *.pglog, or one file), or what `perpguard record` wrote, instead of Kafka.",
)
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write the result here."
)
def replay(  # noqa: PLR0917 - click calls it by keyword
    config_path: Path | None,
    verify: bool,
    symbol: str | None,
    begin_ms: int | None,
    end_ms: int | None,
    dump_path: Path | None,
    archive: Path | None,
    json_path: Path | None,
) -> None:
    """
    Fold `inputs` again from its raw bytes, without any table, and compare with `decisions`.

    The first difference is named by partition/offset/line. Exit code 1: with --verify, something differs or nothing
    could be compared. Exit code 3: the log cannot be read.
    """
    settings = settings_or_exit(config_path)
    if symbol is not None and symbol not in settings.symbols and not (archive is not None and is_recording(archive)):
        raise Failed(f"{symbol} is not in the configured universe: {' '.join(settings.symbols)}", ExitCode.USAGE)
    try:
        if archive is not None and is_recording(archive):
            results = [_from_recording(settings, archive, symbol, begin_ms, end_ms)]
        elif archive is None:
            results = [asyncio.run(_from_kafka(settings, symbol, begin_ms, end_ms, dump_path))]
        else:
            results = [_from_dump(settings, path, symbol, begin_ms, end_ms) for path in dumps_in(archive)]
    except SourceError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error
    for result in results:
        _print(result)
    report = _together(results)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if verify and (not report.equal or not report.decisions):
        click.echo("NOT verified" if report.decisions else "NOT verified: no decision could be compared", err=True)
        raise SystemExit(int(ExitCode.REFUSED))


def _new(settings: Settings, log_identity: str, symbol: str | None, begin_ms: int | None, end_ms: int | None) -> Replay:
    fold = fold_digest(settings.config_digest.encode())
    account = AccountFold(log_identity=log_identity, fold=fold, rules=rules_of(settings), policy=settings.policy)
    return Replay(
        log_identity=log_identity,
        fold=fold,
        universe=frozenset(settings.symbols),
        symbol=symbol,
        begin_ms=begin_ms,
        end_ms=end_ms,
        account=AccountReplay(account) if begin_ms is None else None,
    )


async def _from_kafka(
    settings: Settings, symbol: str | None, begin_ms: int | None, end_ms: int | None, dump_path: Path | None
) -> Result:
    partitions = range(INPUT_PARTITIONS) if symbol is None else [partition_of(symbol)]
    with ExitStack() as stack:
        stream: BinaryIO | None = stack.enter_context(dump_path.open("wb")) if dump_path is not None else None
        async with KafkaSource(client_arguments(settings), settings.prefix) as source:
            dump = (
                DumpWriter(stream, Header(log_identity=source.log_identity, prefix=settings.prefix))
                if stream is not None
                else None
            )
            run = _new(settings, source.log_identity, symbol, begin_ms, end_ms)
            async for entry in source.entries(partitions):
                if dump is not None:
                    dump.write(entry)
                run.feed(entry)
    return run.finish()


def _from_dump(settings: Settings, path: Path, symbol: str | None, begin_ms: int | None, end_ms: int | None) -> Result:
    source = DumpSource(path)
    run = _new(settings, source.log_identity, symbol, begin_ms, end_ms)
    for entry in source.entries(range(INPUT_PARTITIONS) if symbol is None else [partition_of(symbol)]):
        run.feed(entry)
    return run.finish()


def _from_recording(
    settings: Settings, path: Path, symbol: str | None, begin_ms: int | None, end_ms: int | None
) -> Result:
    """Fold what ``perpguard record`` wrote: its symbols are the universe; there are no decisions to compare."""
    source = RecordingSource(path)
    if symbol is not None and symbol not in source.symbols:
        raise Failed(f"{symbol} is not in the recording: {' '.join(sorted(source.symbols))}", ExitCode.USAGE)
    run = Replay(
        log_identity=source.log_identity,
        fold=fold_digest(settings.config_digest.encode()),
        universe=source.symbols,
        symbol=symbol,
        begin_ms=begin_ms,
        end_ms=end_ms,
    )
    for entry in source.entries(range(INPUT_PARTITIONS) if symbol is None else [partition_of(symbol)]):
        run.feed(entry)
    return run.finish()


def _together(results: list[Result]) -> Report:
    reports = [result.report for result in results]
    return Report(
        lines=sum(report.lines for report in reports),
        decisions=sum(report.decisions for report in reports),
        equal=all(report.equal for report in reports),
        first_difference=next((row.first_difference for row in reports if row.first_difference is not None), None),
    )


def _print(result: Result) -> None:
    report = result.report
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    for fold, count in result.other_folds.items():
        click.echo(f"{count} decisions were made by another fold ({fold}): code or configuration differ", err=True)
    if result.other_folds:
        click.echo(f"{len(result.across)} of them are other decisions", err=True)
    for difference in result.across[:SHOWN_DIFFERENCES]:
        click.echo(difference.words(), err=True)
    for difference in result.differences[:SHOWN_DIFFERENCES]:
        click.echo(difference.words(), err=True)
    hidden = len(result.differences) - SHOWN_DIFFERENCES
    if hidden > 0:
        click.echo(f"… and {hidden} more differences", err=True)
    verdict = "all equal" if report.equal else "NOT equal"
    click.echo(
        f"{report.lines} lines folded again, {report.decisions} decisions and {result.account_lines} lines of account "
        f"compared, "
        f"{result.quarantined} lines quarantined, {len(result.differences)} differences: {verdict}"
    )
