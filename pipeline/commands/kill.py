"""
The only place for ``perpguard kill``: the switch file, then ``pipeline.emergency.kill``, printed step by step.

It must work when nothing else does, so it imports no Kafka client, no Faust, no event loop and no part of the running
pipeline (a test holds that), and reads only the venue's part of the environment.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

import click
import msgspec

from pipeline.commands.exit_codes import ExitCode
from pipeline.configuration import ConfigurationError
from pipeline.core.events import TradingMode
from pipeline.emergency.kill import Kill, Outcome, Step
from pipeline.emergency.venue import PlainVenue, now_ms
from pipeline.execution.switch import KILL, Switch
from pipeline.settings import VenueAccess, venue_access


@click.command()
@click.option("--close", "wish", flag_value="close", default=True, help="Close everything, then HALTED (the default).")
@click.option("--reduce-only", "wish", flag_value="reduce_only", help="No entries; positions stay, all covered.")
@click.option("--halt", "wish", flag_value="halt", help="HALTED; the pipeline, when it runs, closes what is open.")
@click.option("--give-up", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="0, the default: never.")
@click.option("--reason", default="kill switch", show_default=True, help="Stands in the switch file and the log.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def kill(*, wish: str, give_up: float, reason: str, as_json: bool) -> None:
    """
    Stop trading now, without Kafka and without the pipeline.

    Entries are cancelled, stops are kept or tightened; with --close everything is closed, the largest risk first. It
    goes on until the venue's own reads prove it, and says what is left. The state stays, also over restarts, until
    `perpguard resume`. Exit code 0: proven; 1: given up, the output says what is left; 2: no venue or keys.
    """
    access = _access()
    mode = TradingMode.REDUCE_ONLY if wish == "reduce_only" else TradingMode.HALTED
    say = _silent if as_json else _print
    started_ms = now_ms()
    if access.venue == "real" and not as_json:
        click.echo(f"REAL MONEY at {access.rest_url}: entries are cancelled" + _closing_words(wish))
    switch = Switch(access.data_directory, f"{KILL}{os.getpid()}")
    held = _seize(switch, mode, reason, say)
    work = Kill(
        PlainVenue(access.rest_url, key=access.api_key.reveal(), secret=access.api_secret.reveal()),
        close=wish == "close",
        say=say,
        give_up_seconds=give_up,
        name=f"{KILL}{started_ms:x}",
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: work.stopped.set())
    outcome = work.run()
    if held:
        switch.release()
    click.echo(_json(outcome, switch, wish) if as_json else _words(outcome, switch))
    raise SystemExit(int(ExitCode.OK if outcome.done else ExitCode.REFUSED))


def _access() -> VenueAccess:
    try:
        return venue_access(os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise SystemExit(int(ExitCode.USAGE)) from error


def _seize(switch: Switch, mode: TradingMode, reason: str, say: Callable[[Step], None]) -> bool:
    """The venue is closed whether the file can be written or not; a full disk must not stop a kill."""
    try:
        state = switch.seize(mode, reason)
    except OSError as error:
        say(Step(0, "", f"THE SWITCH FILE CANNOT BE WRITTEN ({error}): a running executor is not stopped by this kill"))
        return False
    say(Step(0, "", f"switch: {state.mode.value}, epoch {state.epoch}; an executor of this machine only reads now"))
    return True


def _closing_words(wish: str) -> str:
    return ", every position is closed at market" if wish == "close" else ", positions stay under stops"


def _print(step: Step) -> None:
    click.echo(f"{step.ms:>7} ms  {step.symbol:<14} {step.text}")


def _silent(_: Step) -> None:
    """With --json the steps stand in the object."""


def _words(outcome: Outcome, switch: Switch) -> str:
    lines = [f"{outcome.seconds} s, {outcome.calls} requests; {outcome.quota}"]
    if outcome.foreign_orders:
        lines.append(f"{outcome.foreign_orders} conditional order(s) of other programs stay")
    if outcome.done:
        flat = (
            "" if outcome.flat_ms is None else f"flat after {outcome.flat_ms} ms, proven after {outcome.proven_ms} ms"
        )
        lines.append(flat or f"covered and without entries, proven after {outcome.proven_ms} ms")
    else:
        lines.append("NOT DONE. Left open:")
        lines += [
            f"  {row.symbol} {row.amount} ({row.risk} at risk, {'covered' if row.covered else 'NOT COVERED'})"
            for row in outcome.left
        ] or ["  not known: the venue could not be read"]
        if outcome.entries_left:
            lines.append(f"  {outcome.entries_left} entry order(s)")
    lines.append(f"trading state: {switch.look().mode.value} until `perpguard resume`")
    return "\n".join(lines)


def _json(outcome: Outcome, switch: Switch, wish: str) -> str:
    state = switch.look()
    plain = msgspec.to_builtins(outcome) | {"wish": wish, "mode": state.mode.value, "epoch": state.epoch}
    return json.dumps(plain, ensure_ascii=False)
