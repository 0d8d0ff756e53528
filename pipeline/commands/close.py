"""The only place for ``perpguard close``: ask for one position, or all, to be closed at market."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from pipeline.commands.context import config_option, finish, json_option, run, settings_or_exit, verdict
from pipeline.console.asking import ask
from pipeline.core.account import EVERY_SYMBOL
from pipeline.wire import records


@click.command()
@click.argument("symbol", required=False)
@click.option("--all", "everything", is_flag=True, help="Close every position, known to the account or not.")
@click.option("--reason", default="closed by hand", show_default=True, help="Stands in the decision record.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for an answer.")
@config_option
@json_option
def close(
    *, symbol: str | None, everything: bool, reason: str, timeout: float, config_path: Path | None, as_json: bool
) -> None:
    """
    Close at market: perpguard close BTCUSDT, or perpguard close --all

    Works in every trading mode. The stops stay on the venue until it says that the position is zero.
    Exit code 0: asked; 1: refused (unknown symbol); 2: neither SYMBOL nor --all; 3: no Kafka; 5: no answer in time.
    """
    if bool(symbol) == everything:
        raise click.UsageError("say which: a SYMBOL, or --all, one of them")
    settings = settings_or_exit(config_path)
    wanted = EVERY_SYMBOL if everything else str(symbol)
    command = records.CloseCommand(command=f"close-{secrets.token_hex(8)}", symbol=wanted, reason=reason)
    payload = run(ask(settings, command, seconds=timeout))
    finish(payload, payload["reason"], as_json=as_json, code=verdict(payload))
