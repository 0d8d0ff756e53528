"""
The only place where an executor follows the switch file: claims it, takes it back after a kill, tells account.

The kill switch works without us; what is left to do here is that the rest of the pipeline learns of it. ``account`` is
told by the command it knows (``ModeCommand``), named after the file's epoch: at every start and every change while the
state is not active, until Kafka has it. The way back is ``perpguard resume`` alone.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from pipeline.core.events import TradingMode
from pipeline.execution.desk import Desk
from pipeline.execution.ports import OutboxUnavailable
from pipeline.execution.switch import KILL, Switch
from pipeline.wire.records import ModeCommand

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.1
TELL_AGAIN_SECONDS: Final = 1.0


class SwitchWatch:
    """Follows *switch* for the executor of *desk*."""

    def __init__(self, desk: Desk, switch: Switch) -> None:
        self._desk, self._switch = desk, switch
        self._told = ""
        self._heard = -1

    async def run(self) -> None:
        """Claim at once, then look ten times a second until cancelled."""
        self._claim()
        while True:
            if self._free():
                self._claim()
            state = self._switch.look()
            if state.epoch != self._heard:
                self._heard = state.epoch
                self._say()
            if state.mode is not TradingMode.ACTIVE:
                await self._tell_account()
            await asyncio.sleep(LOOK_SECONDS)

    def _free(self) -> bool:
        """Nobody holds it, or a kill that is dead."""
        holder = self._switch.look().holder
        return holder == "" or (holder.startswith(KILL) and not self._switch.killing())

    def _claim(self) -> None:
        try:
            self._switch.claim()
        except OSError as error:  # a full disk: what can be read binds all the same
            self._desk.alert("switch_not_written", "critical", f"the switch file cannot be written: {error}")

    def _say(self) -> None:
        state = self._switch.state
        if state.holder.startswith(KILL):
            text = f"{state.holder} holds the switch ({state.reason}): nothing is sent from here"
            self._desk.alert("killed", "critical", text)
        elif state.mode is not TradingMode.ACTIVE:
            text = f"{state.mode.value} since {state.at_ms} ({state.reason}); perpguard resume lifts it"
            self._desk.alert("halted_by_switch", "critical", text)

    async def _tell_account(self) -> None:
        state = self._switch.state
        command = f"switch-{state.epoch}"
        if self._told == command:
            return
        try:
            await self._desk.outbox.account(ModeCommand(command=command, mode=state.mode.value, reason=state.reason))
        except OutboxUnavailable as error:
            log.warning("account_not_told", error=str(error))
            await asyncio.sleep(TELL_AGAIN_SECONDS)
        else:
            self._told = command
