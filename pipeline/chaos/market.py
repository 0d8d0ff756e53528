"""
The only place for the market of a chaos run: on every symbol one position after the other, opened by command, each
riding a price path to its target, its trailing stop or its hard stop, so that intents flow all the time.

What is open is read from the exchange's ledger, never from the pipeline: a killed worker cannot mislead the market.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.console.log_access import send
from pipeline.core.events import Side
from pipeline.demo.exchange import Exchange
from pipeline.demo.scenario import Leg, Plan, levels, segments
from pipeline.demo.stage import Stage
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT

Json: TypeAlias = Any  # the ledger's JSON

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
NOTIONAL: Final = "800"
LOOK_SECONDS: Final = 0.25
OPEN_SECONDS: Final = 5.0  # an admission lives shorter: then it is asked again
RIDE_SECONDS: Final = 40.0
CLOSE_AGAIN_SECONDS: Final = 8.0
FLAT_SECONDS: Final = 60.0

# Paths of a long position in hundredths of a percent; a short one rides them mirrored.
SHAPES: Final = {
    "target": ((100, 150), (Leg(5, 115), Leg(3, 70))),
    "trailing_stop": ((450, 675), (Leg(6, 160), Leg(7, 150), Leg(5, -320))),
    "hard_stop": ((100, 150), (Leg(2, 10), Leg(6, -130))),
}


class Tail:
    """Which positions are open, from the ledger's lines as they come."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._after = -1
        self.open: dict[str, int] = {}  # symbol → exchange ms of the first fill
        self.opened = 0

    async def look(self) -> None:
        """Read what is new."""
        opened, last = await self._exchange.ledger_since("position_opened", self._after)
        closed, _ = await self._exchange.ledger_since("position_closed", self._after)
        # Lines behind *last* in the second answer come again with the next look; they change nothing twice.
        for line in sorted([*opened, *closed], key=lambda line: line["n"]):
            if line["n"] > last:
                continue
            if line["kind"] == "position_opened":
                self.open[line["symbol"]] = line["at"]
                self.opened += 1
            else:
                self.open.pop(line["symbol"], None)
        self._after = last


class Market:
    """Trades on every symbol until ``stop``; *seed* draws sides, shapes and speeds."""

    def __init__(self, stage: Stage, *, seed: int, ticks: dict[str, float]) -> None:
        self._stage = stage
        self._ticks = ticks
        self._seed = seed
        self.tail = Tail(stage.exchange)
        self.commands = 0
        self.asked = asyncio.Event()  # set with each command to open; who waits for the next one clears it
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to trade."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._look())]
        for number, symbol in enumerate(SYMBOLS):
            self._tasks.append(loop.create_task(self._trade(symbol, random.Random(self._seed * 100 + number))))

    def check(self) -> None:
        """Raise what ended a trader."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def stop(self) -> bool:
        """Open nothing more and close everything; True when the exchange says that all is flat."""
        for task in self._tasks[1:]:
            task.cancel()
        deadline = time.monotonic() + FLAT_SECONDS
        quiet_since: float | None = None
        while time.monotonic() < deadline:
            if not self.tail.open:
                # A command may still be on its way to an entry: flat counts when it lasts.
                quiet_since = quiet_since or time.monotonic()
                if time.monotonic() - quiet_since > OPEN_SECONDS:
                    break
                await asyncio.sleep(LOOK_SECONDS)
                continue
            quiet_since = None
            await self._close("*")
            until = time.monotonic() + CLOSE_AGAIN_SECONDS
            while self.tail.open and time.monotonic() < until:  # noqa: ASYNC110 - what is open is read from outside
                await asyncio.sleep(LOOK_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return not self.tail.open

    async def _look(self) -> None:
        while True:
            await self.tail.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _trade(self, symbol: str, rng: random.Random) -> None:
        await asyncio.sleep(rng.uniform(0, 2))
        while True:
            plan = draw(symbol, rng)
            opened = self.tail.open.get(symbol)
            if opened is None:
                await self._open(plan, rng)
                await self._until(symbol, is_open=True, seconds=OPEN_SECONDS)
            if symbol not in self.tail.open:
                continue
            path = segments(plan, speed=rng.uniform(0.8, 1.5))
            if plan.side == "short":
                path = [segment | {"drift_bps": -segment["drift_bps"]} for segment in path]
            await self._stage.exchange.run_path(symbol, path)
            if not await self._until(symbol, is_open=False, seconds=RIDE_SECONDS):
                await self._close(symbol)
                await self._until(symbol, is_open=False, seconds=CLOSE_AGAIN_SECONDS)
            await asyncio.sleep(rng.uniform(0.2, 1.5))

    async def _until(self, symbol: str, *, is_open: bool, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (symbol in self.tail.open) is not is_open:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _open(self, plan: Plan, rng: random.Random) -> None:
        middle = await self._stage.exchange.mid_price(plan.symbol)
        await self._send(
            records.OpenCommand(
                command=self._name(),
                symbol=plan.symbol,
                side=Side.BUY if plan.side == "long" else Side.SELL,
                notional=plan.notional,
                **levels(plan, middle=middle, tick=self._ticks[plan.symbol]),
            )
        )
        self.asked.set()

    async def _close(self, symbol: str) -> None:
        await self._send(records.CloseCommand(command=self._name(), symbol=symbol))

    def _name(self) -> str:
        self.commands += 1
        return f"chaos-{self._seed}-{self.commands}"

    async def _send(self, command: msgspec.Struct) -> None:
        await send(self._stage.settings, ACCOUNT, records.encode(command))


def draw(symbol: str, rng: random.Random) -> Plan:
    """One position: side, and the shape of its market with the levels that belong to it."""
    outcome = rng.choice(sorted(SHAPES))
    (target, last_target), path = SHAPES[outcome]
    return Plan(
        symbol=symbol,
        side=rng.choice(("long", "short")),
        notional=NOTIONAL,
        stop_bps=-80,
        target_bps=target,
        last_target_bps=last_target,
        path=path,
        outcome=outcome,
    )
