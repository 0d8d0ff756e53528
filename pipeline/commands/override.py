"""The only place for ``perpguard override``: what an owner wishes for one open position."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from pipeline.commands.context import config_option, finish, json_option, run, settings_or_exit, verdict
from pipeline.configuration import SWITCHABLE
from pipeline.console.asking import ask
from pipeline.wire import records


@click.command()
@click.argument("symbol")
@click.option("--pin/--unpin", "pin_stop", default=None, help="The stop stays where it is, or follows again.")
@click.option("--alone/--guard", "leave_alone", default=None, help="Only protection acts, or every rule again.")
@click.option("--off", multiple=True, type=click.Choice(SWITCHABLE), help="Switch this rule off for it; repeatable.")
@click.option("--all-on", is_flag=True, help="Every exit rule is on for it again.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for an answer.")
@config_option
@json_option
def override(
    *,
    symbol: str,
    pin_stop: bool | None,
    leave_alone: bool | None,
    off: tuple[str, ...],
    all_on: bool,
    timeout: float,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Wish something for an open position: perpguard override BTCUSDT --pin

    Holds for that position alone and ends with it. The stops, the kill switch and whatever else protects act all the
    same. ``--off`` replaces the rules that were off before.
    Exit code 0: told; 1: refused (no position); 2: nothing wished; 3: no Kafka; 5: no answer in time.
    """
    if off and all_on:
        raise click.UsageError("--off and --all-on contradict each other")
    disabled = off or None
    if all_on:
        disabled = ()
    if (pin_stop, leave_alone, disabled) == (None, None, None):
        raise click.UsageError("say what: --pin, --unpin, --alone, --guard, --off RULE or --all-on")
    settings = settings_or_exit(config_path)
    command = records.OverrideCommand(
        command=f"override-{secrets.token_hex(8)}",
        symbol=symbol,
        pin_stop=pin_stop,
        leave_alone=leave_alone,
        disabled_exits=disabled,
    )
    payload = run(ask(settings, command, seconds=timeout))
    finish(payload, payload["reason"], as_json=as_json, code=verdict(payload))
