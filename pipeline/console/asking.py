"""The only place where a command is sent to the account and its answer is waited for."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.console.log_access import Log, open_log, send
from pipeline.reporting import words
from pipeline.settings import Settings
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, ALERTS

Payload: TypeAlias = dict[str, Any]  # a JSON object for programs

Command: TypeAlias = (
    records.OpenCommand
    | records.SignalCommand
    | records.CloseCommand
    | records.ModeCommand
    | records.ResumeCommand
    | records.OverrideCommand
)
LOOK_BACK_MS: Final = 1_000  # the broker's clock may be a little behind ours


async def ask(
    settings: Settings,
    command: Command,
    *,
    wait: bool = False,
    seconds: float = 20.0,
) -> Payload:
    """
    Write *command* and wait for the account's answer (*wait*: for the open position too).

    ``accepted`` is None when nobody answered within *seconds*. Raises log_access.Unreachable.
    """
    symbol = getattr(command, "symbol", "")
    since = int(time.time() * 1_000) - LOOK_BACK_MS
    payload: Payload = {"command": command.command, "symbol": symbol, "accepted": None, "reason": ""}
    async with open_log(settings) as log:
        await send(settings, ACCOUNT, records.encode(command), key=symbol.encode() or None)
        try:
            async with asyncio.timeout(seconds):
                await _until_answered(log, command.command, since, payload)
                if wait and payload["accepted"]:
                    await _until_open(log, symbol, payload["reason"], since, payload)
        except TimeoutError:
            payload |= {"accepted": None, "reason": f"nothing within {seconds:g} s; is the account worker running?"}
    return payload


async def _until_answered(log: Log, command: str, since_ms: int, payload: Payload) -> None:
    async for _, record in log.follow([ALERTS], since_ms=since_ms):
        try:
            alert = records.decode_alert(record.value)
        except msgspec.DecodeError:
            continue  # not ours to judge: the readers of alerts drop what they cannot read
        if alert.code != "command_answered":
            continue
        answer = msgspec.json.decode(alert.text, type=records.CommandAnswered)
        if answer.command == command:
            payload |= {"accepted": answer.accepted, "reason": answer.reason}
            return


async def _until_open(log: Log, symbol: str, admitted: str, since_ms: int, payload: Payload) -> None:
    """Follow decide's words: declined ends it, a report of an open quantity too."""
    admission = admitted.removeprefix("admitted as ").partition(":")[0]
    used = ""
    async for _, record in log.follow([ACCOUNT], since_ms=since_ms):
        try:
            message = records.decode_account(record.value)
        except msgspec.DecodeError:
            continue  # account quarantines it
        match message:
            case records.AdmissionAnswered(admission=answered) if answered == admission:
                if not message.used:
                    payload |= {"accepted": False, "reason": f"declined by decide: {message.reason}"}
                    return
                used = message.position
            case records.TradeReported() if message.symbol == symbol and message.trade.position == used:
                reason = f"it ended {words.outcome(message.trade.outcome)} before it was seen open"
                payload |= {"accepted": bool(message.trade.lots), "position": used, "reason": reason}
                return
            case records.PositionReported() if message.symbol == symbol and message.report.position == used:
                if message.report.lots:
                    entered = f"entered at {words.price(message.report.entry_price)}"
                    payload |= {"position": used, "reason": entered}
                    return
            case _:
                pass
