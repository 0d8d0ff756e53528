"""The only place for ``perpguard halt``: set the trading mode of the account, and lift it again."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from pipeline.commands.context import config_option, finish, json_option, run, settings_or_exit, verdict
from pipeline.commands.resume import lift_switch
from pipeline.console.asking import ask
from pipeline.core.events import TradingMode
from pipeline.wire import records


@click.command()
@click.option("--resume", is_flag=True, help="Trade again: the only way out of a halt.")
@click.option("--reduce-only", is_flag=True, help="Take no new entries; positions stay guarded.")
@click.option("--reason", default="", help="Stands in the decision records and alerts.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for an answer.")
@config_option
@json_option
def halt(
    *, resume: bool, reduce_only: bool, reason: str, timeout: float, config_path: Path | None, as_json: bool
) -> None:
    """
    Close everything at market and take no entries until somebody resumes.

    With --reduce-only nothing is closed, only entries stop; with --resume trading is active again.
    Exit code 0: done; 1: refused (the reason is printed); 3: no Kafka; 5: no answer in time.
    """
    if resume and reduce_only:
        raise click.UsageError("--resume and --reduce-only exclude each other")
    mode = TradingMode.ACTIVE if resume else TradingMode.REDUCE_ONLY if reduce_only else TradingMode.HALTED
    settings = settings_or_exit(config_path)
    if resume:
        lift_switch(settings, reason)
    command = records.ModeCommand(command=f"mode-{secrets.token_hex(8)}", mode=mode.value, reason=reason)
    payload = run(ask(settings, command, seconds=timeout)) | {"mode": mode.value}
    finish(payload, payload["reason"], as_json=as_json, code=verdict(payload))
