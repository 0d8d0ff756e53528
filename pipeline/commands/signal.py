"""The only place for ``perpguard signal``: a signal of a program, by the road of our own."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import click

from pipeline.commands.context import config_option, finish, json_option, run, settings_or_exit, verdict
from pipeline.commands.open import SIDES
from pipeline.console.asking import ask
from pipeline.core.units import Milliseconds
from pipeline.wire import records


@click.command()
@click.argument("symbol")
@click.argument("side", type=click.Choice(list(SIDES), case_sensitive=False))
@click.option("--source", default="cli", show_default=True, help="Who says so; stands in the log.")
@click.option("--notional", default="", help="Caps the size in USDT; the size itself follows from the risk.")
@click.option("--stop", default="", help="Price of the working stop; else by the tables of the policy (ATR).")
@click.option("--target", default="", help="Price of the first target; else by the tables.")
@click.option("--last-target", default="", help="Price where the rest is closed; else 1.5 × the first's distance.")
@click.option("--valid", default=10.0, show_default=True, help="Seconds after which the signal is void.")
@click.option("--id", "identity", default="", help="Its own id; the same id again is refused as a repeat.")
@click.option("--wait", is_flag=True, help="Return when the position is open and reported, not when it is admitted.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for an answer.")
@config_option
@json_option
def signal(
    *,
    symbol: str,
    side: str,
    source: str,
    notional: str,
    stop: str,
    target: str,
    last_target: str,
    valid: float,
    identity: str,
    wait: bool,
    timeout: float,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Hand in a signal: perpguard signal BTCUSDT long --source my-model

    It meets what our own signals meet: slots, cool-down, day loss, portfolio heat, then every gate in decide; its size
    follows from 1 % of equity at risk. Exit code 0: admitted (with --wait: open); 1: refused or declined, with the
    gate's words; 3: no Kafka; 5: no answer in time.
    """
    settings = settings_or_exit(config_path)
    command = records.SignalCommand(
        command=f"signal-{identity or secrets.token_hex(8)}",
        symbol=symbol,
        side=SIDES[side.lower()],
        source=source or "cli",
        notional=notional,
        stop=stop,
        target=target,
        last_target=last_target,
        until_ms=Milliseconds(int((time.time() + valid) * 1_000)),
    )
    payload = run(ask(settings, command, wait=wait, seconds=timeout))
    finish(payload, f"{_start(payload['accepted'])}: {payload['reason']}", as_json=as_json, code=verdict(payload))


def _start(accepted: bool | None) -> str:
    return "no answer" if accepted is None else "admitted" if accepted else "refused"
