"""The only place for ``perpguard open``: ask the account for a position and say what became of it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import click

from pipeline.commands.context import config_option, finish, json_option, run, settings_or_exit, verdict
from pipeline.console.asking import Payload, ask
from pipeline.core.events import Side
from pipeline.wire import records

SIDES: Final = {"long": Side.BUY, "short": Side.SELL, "buy": Side.BUY, "sell": Side.SELL}


@click.command("open")
@click.argument("symbol")
@click.argument("side", type=click.Choice(list(SIDES), case_sensitive=False))
@click.option("--quantity", default="", help="How much, in the base asset; on the venue's step. Or --notional.")
@click.option("--notional", default="", help="How much, in USDT; rounded down to the step. Or --quantity.")
@click.option("--stop", default="", help="Price of the working stop; else by the tables of the policy (ATR).")
@click.option("--target", default="", help="Price of the first target, where half is closed; else by the tables.")
@click.option("--last-target", default="", help="Price where the rest is closed; else 1.5 × the first's distance.")
@click.option("--template", default="", help="A template of the configuration: ladder, rules off, pinned stop.")
@click.option("--wait", is_flag=True, help="Return when the position is open and reported, not when it is admitted.")
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for an answer.")
@config_option
@json_option
def open_(
    *,
    symbol: str,
    side: str,
    quantity: str,
    notional: str,
    stop: str,
    target: str,
    last_target: str,
    template: str,
    wait: bool,
    timeout: float,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """
    Ask for a position: perpguard open BTCUSDT long --notional 500

    The account checks it (slots, trading mode, the venue's grid) and decide enters with a bracket: LIMIT IOC at a
    bounded price, and two stops that the executor places on the first fill.

    Exit code 0: admitted (with --wait: open);
    1: refused or declined, the reason is printed; 3: no Kafka; 5: no answer in time (it may still be admitted for 2 s).
    """
    settings = settings_or_exit(config_path)
    command = records.OpenCommand(
        command=f"open-{secrets.token_hex(8)}",
        symbol=symbol,
        side=SIDES[side.lower()],
        quantity=quantity,
        notional=notional,
        stop=stop,
        target=target,
        last_target=last_target,
        template=template,
    )
    payload = run(ask(settings, command, wait=wait, seconds=timeout))
    finish(payload, _words(payload), as_json=as_json, code=verdict(payload))


def _words(payload: Payload) -> str:
    if payload["accepted"] is None:
        return f"no answer: {payload['reason']}"
    start = "admitted" if payload["accepted"] else "refused"
    if payload.get("position"):
        return f"open: position {payload['position']} on {payload['symbol']}, {payload['reason']}"
    return f"{start}: {payload['reason']}"
