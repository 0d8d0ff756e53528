"""The only place for ``perpguard explain``: the story of a position, a decision or a symbol."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from pipeline.commands.context import Failed, config_option, json_option, run, settings_or_exit
from pipeline.commands.exit_codes import ExitCode
from pipeline.commands.scan import read
from pipeline.console.log_access import Log, open_log
from pipeline.core.commands import Decision
from pipeline.reporting import factor_story, ranking_view, story
from pipeline.reporting.account_view import AccountView
from pipeline.reporting.story import Step, concerning, last_positions, line_words, story_of, told, without_repeats
from pipeline.settings import Settings
from pipeline.wire import lines, records
from pipeline.wire.topics import ACCOUNT, ATTEMPTS, DECISIONS, FACTORS, INPUTS, partition_of

SYMBOL: Final = re.compile(r"[A-Z0-9]{3,20}")
MOST_CAUSES: Final = 400


@click.command()
@click.argument("what")
@click.option("--positions", "count", default=1, show_default=True, help="With a symbol: how many of its positions.")
@config_option
@json_option
def explain(*, what: str, count: int, config_path: Path | None, as_json: bool) -> None:
    """
    Say why: the input lines, the rule, the intents, each request with its outcome, the trade.

    WHAT is a position's id (as `perpguard positions` prints it), the id of any output, the place of a decision
    (partition/offset/line), or a symbol, which means its factors, why it was not entered (which gate
    refused) and its last position. Exit code 4: the log knows
    nothing of it.
    """
    settings = settings_or_exit(config_path)
    steps = run(tell(settings, what, count=count))
    factors = run(factors_of(settings, what)) if SYMBOL.fullmatch(what) else None
    rows = run(read(settings)).rows() if SYMBOL.fullmatch(what) else []
    entry = next((row for row in rows if row.symbol == what and row.stage), None)
    if not steps and factors is None and entry is None:
        raise Failed(f"the log knows no decision about {what!r}", ExitCode.NOT_FOUND)
    if as_json:
        found = {"what": what, "steps": msgspec.to_builtins(steps), "factors": msgspec.to_builtins(factors)}
        found["entry"] = ranking_view.plain(entry) if entry is not None else None
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    if factors is not None:
        click.echo(factor_story.told(factors))
    if entry is not None:
        click.echo(ranking_view.why_not(entry))
    if steps:
        click.echo(told(steps))


async def factors_of(settings: Settings, symbol: str) -> records.FactorsRecord | None:
    """The factors of *symbol* as they were last published, of the last two bars; None when nothing was."""
    since_ms = time.time_ns() // 1_000_000 - story.FACTORS_MS
    async with open_log(settings) as log:
        found = await log.read(FACTORS, since_ms=since_ms, partitions=[partition_of(symbol)])
    own = [record.value for record in found if record.key == symbol.encode()]
    return records.decode_factors(own[-1]) if own else None


async def tell(settings: Settings, what: str, *, count: int = 1) -> list[Step]:
    """Read the topics and tell; an empty list means that nothing is known. Raises log_access.Unreachable."""
    async with open_log(settings) as log:
        partitions = _partitions(what)
        decisions = [
            records.decode_decision(record.value) for record in await log.read(DECISIONS, partitions=partitions)
        ]
        decisions = without_repeats(decisions)
        wanted = last_positions(decisions, what, count=count) if SYMBOL.fullmatch(what) else [what]
        chosen = [decision for identity in wanted for decision in concerning(decisions, identity)]
        attempts = [records.decode_attempt(record.value) for record in await log.read(ATTEMPTS)] if chosen else []
        view = AccountView()
        for record in await log.read(ACCOUNT):
            view.take(record.append_ms, record.value)
        places = [place for decision in chosen for place in decision.causes]
        raw = await _lines(log, places)
        if any(story.by_signal(line) for line in raw.values()):
            chosen = await _with_signals(log, decisions, chosen, raw)
        symbols = {decision.symbol for decision in chosen}
        homes = sorted({partition_of(symbol) for symbol in symbols})
        published = (
            [records.decode_factors(r.value) for r in await log.read(FACTORS, partitions=homes)] if homes else []
        )
    return story_of(
        chosen,
        attempts=attempts,
        instruments=view.instruments,
        line_at=lambda place: line_words(raw[place]) if place in raw else "no longer in the log",
        factors=published,
    )


async def _with_signals(
    log: Log, decisions: list[Decision], chosen: list[Decision], raw: dict[str, bytes]
) -> list[Decision]:
    """The story with the signal before each entry that a signal asked for."""
    told_of: list[Decision] = []
    for decision in chosen:
        if any(story.by_signal(raw[place]) for place in decision.causes[:1] if place in raw):
            signal = story.signal_of(decisions, [decision])
            if signal is not None and signal not in told_of:
                told_of.append(signal)
                raw |= await _lines(log, signal.causes)
        told_of.append(decision)
    return told_of


def _partitions(what: str) -> list[int] | None:
    """The one partition where the decisions must be, None when it can be any."""
    if SYMBOL.fullmatch(what):
        return [partition_of(what)]
    number = what.partition("/")[0]
    return [int(number)] if "/" in what and number in map(str, range(DECISIONS.partitions)) else None


async def _lines(log: Log, places: list[str]) -> dict[str, bytes]:
    """What stands at each place of ``inputs``."""
    said: dict[str, bytes] = {}
    for place in list(dict.fromkeys(places))[:MOST_CAUSES]:
        partition, offset, number = (int(part) for part in place.split("/"))
        record = await log.one(INPUTS, partition, offset)
        if record is not None:
            said[place] = lines.split(record.value)[number]
    return said
