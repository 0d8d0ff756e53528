"""The only place for ``perpguard resume``: the way out of a halt, of the account or of one symbol."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from pipeline.commands.context import Failed, config_option, finish, json_option, run, settings_or_exit, verdict
from pipeline.commands.exit_codes import ExitCode
from pipeline.console.asking import ask
from pipeline.core.events import TradingMode
from pipeline.execution.switch import StillKilling, Switch
from pipeline.settings import Settings
from pipeline.wire import records


def lift_switch(settings: Settings, reason: str) -> None:
    """Set this machine's switch file to active; raises Failed while a kill still runs."""
    try:
        Switch(settings.data_directory, "resume").resume(reason or "resumed by a person")
    except StillKilling as killing:
        raise Failed(f"{killing} is still at work: wait for it or stop it first", ExitCode.REFUSED) from killing


@click.command()
@click.argument("symbol", default="")
@click.option("--reason", default="", help="Stands in the decision records and alerts.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for an answer.")
@config_option
@json_option
def resume(*, symbol: str, reason: str, timeout: float, config_path: Path | None, as_json: bool) -> None:
    """
    Trade again after a halt: perpguard resume, or perpguard resume BTCUSDT for a symbol that a fault of ours halted.

    Without a symbol the switch file of this machine becomes active and so does the account; what a day loss or a
    drawdown had counted begins anew, and the answer says from which balance. With a symbol decide reads everything
    about it anew before it enters again. Exit code 0: done; 1: refused; 3: no Kafka; 5: no answer in time.
    """
    settings = settings_or_exit(config_path)
    name = f"resume-{secrets.token_hex(8)}"
    command: records.ModeCommand | records.ResumeCommand
    if symbol:
        command = records.ResumeCommand(command=name, symbol=symbol)
    else:
        lift_switch(settings, reason)
        command = records.ModeCommand(command=name, mode=TradingMode.ACTIVE.value, reason=reason)
    payload = run(ask(settings, command, seconds=timeout))
    finish(payload, payload["reason"], as_json=as_json, code=verdict(payload))
