"""
The only place that kills, joins and freezes processes, and notes when it did what.

A process that ends by itself is started again, as a cluster would, and remembered with its last words. After each
disturbance the next one waits until everything folds again: what it took is judged later, from the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from typing import Final

import httpx
import msgspec

from pipeline.chaos.market import Market
from pipeline.chaos.plan import FREEZE, JOIN, KILL, SECOND, Step
from pipeline.chaos.pulse import Pulse
from pipeline.demo.fleet import Part, free_port
from pipeline.demo.stage import ROLES, Stage, is_ready, worker_command

WATCH_SECONDS: Final = 0.2
BACK_SECONDS: Final = 40.0
AIM_SECONDS: Final = 8.0
RUNNING: Final = (*ROLES, "connector")


class Disturbed(msgspec.Struct, frozen=True):
    """
    What was done, in Unix ms: ``began_ms`` when it hit, ``over_ms`` from when recovery counts, ``until_ms`` when all
    was seen to work again (or it was waited long enough); ``number`` is its place in the schedule.
    """

    number: int
    kind: str
    victim: str
    began_ms: int
    over_ms: int
    until_ms: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.kind} of {self.victim} (disturbance {self.number})"


class EndedByItself(msgspec.Struct, frozen=True):
    """A process that ended though nobody asked it to."""

    part: str
    code: int
    at_ms: int
    last_words: str


def now_ms() -> int:
    """Unix ms; the exchange and the broker on this machine have the same clock."""
    return time.time_ns() // 1_000_000


class Disturber:
    """Carries a schedule out on *stage*."""

    def __init__(self, stage: Stage, pulse: Pulse, market: Market) -> None:
        self._stage = stage
        self._pulse = pulse
        self._market = market
        self.done: list[Disturbed] = []
        self.ended: list[EndedByItself] = []
        self.loads: list[float] = []  # load average of the machine at each disturbance: bounds of time depend on it
        self._second: Part | None = None

    async def watch(self) -> None:
        """Start again what ends by itself, until cancelled."""
        while True:
            for name in RUNNING:
                part = self._stage.fleet.parts[name]
                code = part.returncode
                if code is not None:
                    self.ended.append(EndedByItself(name, code, now_ms(), part.last_words()))
                    self._stage.view.step(f"{name} ended by itself with code {code}; it is started again")
                    part.revive()
            await asyncio.sleep(WATCH_SECONDS)

    async def carry_out(self, steps: Iterable[Step]) -> None:
        """One disturbance after the other."""
        acts = {KILL: self._kill, JOIN: self._join, FREEZE: self._freeze}
        async with httpx.AsyncClient() as client:
            for number, step in enumerate(steps, start=1):
                await asyncio.sleep(step.pause_seconds)
                self._market.check()
                await acts[step.kind](number, step, client)

    async def _kill(self, number: int, step: Step, client: httpx.AsyncClient) -> None:
        part = self._stage.fleet.parts[step.victim]
        if step.aim_seconds is not None:
            self._market.asked.clear()
            with contextlib.suppress(TimeoutError):  # all slots are taken: then it hits whatever goes on
                await asyncio.wait_for(self._market.asked.wait(), AIM_SECONDS)
            await asyncio.sleep(step.aim_seconds)
        began = now_ms()
        if part.pid is not None:  # it may have ended by itself this very moment
            part.kill()
            part.start()
        await self._settled(number, "kill", step.victim, began_ms=began, over_ms=began, client=client)

    async def _join(self, number: int, step: Step, client: httpx.AsyncClient) -> None:
        began = now_ms()
        second = self._start_second()
        await self._until_share(second, client)
        await self._settled(number, "join", SECOND, began_ms=began, over_ms=began, client=client)
        await asyncio.sleep(step.seconds)
        began = now_ms()
        await self._end_second(second, clean=step.clean)
        await self._settled(
            number, "leave" if step.clean else "kill", SECOND, began_ms=began, over_ms=began, client=client
        )

    async def _freeze(self, number: int, step: Step, client: httpx.AsyncClient) -> None:
        part = self._stage.fleet.parts[step.victim]
        second: Part | None = None
        if step.accompanied:
            second = self._start_second()
            await self._until_share(second, client)
            await asyncio.sleep(1.0)
        began = now_ms()
        part.freeze()
        await asyncio.sleep(step.seconds)
        part.thaw()
        await self._settled(number, "freeze", step.victim, began_ms=began, over_ms=now_ms(), client=client)
        if second is not None:
            began = now_ms()
            await self._end_second(second, clean=step.clean)
            await self._settled(number, "leave", SECOND, began_ms=began, over_ms=began, client=client)

    def _start_second(self) -> Part:
        return self._stage.fleet.start(
            SECOND,
            worker_command(),
            PERPGUARD_ROLE="decide",
            PERPGUARD_INSTANCE="second",
            PERPGUARD_METRICS_PORT=str(free_port()),
        )

    async def _until_share(self, second: Part, client: httpx.AsyncClient) -> None:
        deadline = time.monotonic() + BACK_SECONDS
        while second.pid is not None and time.monotonic() < deadline:
            if await is_ready(self._stage, client, second.name):
                return
            await asyncio.sleep(WATCH_SECONDS)
        self._stage.view.step(f"{second.name} got no share: {second.last_words()}")

    async def _end_second(self, second: Part, *, clean: bool) -> None:
        code = second.returncode
        if code is not None:
            self.ended.append(EndedByItself(second.name, code, now_ms(), second.last_words()))
        if clean:
            self._stage.hung += await asyncio.to_thread(self._stage.fleet.stop, second.name)
        elif second.pid is not None:
            second.kill()
        del self._stage.fleet.parts[second.name]

    async def _settled(
        self, number: int, kind: str, victim: str, *, began_ms: int, over_ms: int, client: httpx.AsyncClient
    ) -> None:
        """Wait until every partition is folded again and every process says that it is ready."""
        deadline = time.monotonic() + BACK_SECONDS
        back = False
        while time.monotonic() < deadline:
            # A seal of a killed worker may be appended an instant after its end.
            if self._pulse.beats_since(max(over_ms, began_ms) + 200) and await self._all_ready(client):
                back = True
                break
            await asyncio.sleep(WATCH_SECONDS)
        until = now_ms()
        self.loads.append(round(os.getloadavg()[0], 1))
        self.done.append(Disturbed(number, kind, victim, began_ms, over_ms, until))
        verdict = f"all fold again after {(until - over_ms) / 1_000:.1f} s" if back else "NOT back"
        self._stage.view.step(f"{number}: {kind} of {victim}: {verdict}; {len(self._market.tail.open)} positions open")

    async def _all_ready(self, client: httpx.AsyncClient) -> bool:
        return all([await is_ready(self._stage, client, name) for name in RUNNING])
