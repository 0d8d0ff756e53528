"""The only place that carries out one plan of virtual chaos: the world, the trading, the faults, until all is quiet."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.venue import Venue, VenueSettings
from pipeline.chaos.virtual_plan import SYMBOLS, TRADING_MS, Plan, Ride
from pipeline.core.events import Side
from pipeline.settings import Settings, load
from pipeline.virtual.clock import START_MS, VirtualLoop, run
from pipeline.virtual.log import VirtualKafka
from pipeline.virtual.market import Leg, SparseMarket
from pipeline.virtual.venue import VirtualVenue
from pipeline.virtual.workers import STREAMS, Account, Connector, Decide, Execute, Worker, World
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT

Json: TypeAlias = Any  # the ledger's JSON

FOLD: Final = "virtual"
STOP_BPS, TARGET_BPS, LAST_BPS = 80, 100, 150
OPEN_MS: Final = 4_000
RIDE_MS: Final = 9_000
QUIET_MS: Final = 2_500  # nothing open, nothing resting, nothing unanswered for so long: it is over
DEADLINE_MS: Final = 75_000
CLOSE_EVERY_MS: Final = 5_000
LOOK_S: Final = 0.25


def settings() -> Settings:
    """What every role is configured with; stops may move every second, so that a short run has moves."""
    found = load({"PERPGUARD_SYMBOLS": ",".join(SYMBOLS), "PERPGUARD_ROLE": "all"})
    policy = msgspec.structs.replace(found.policy, ratchet_interval_ms=1_000, ratchet_per_minute=60)
    limits = msgspec.structs.replace(found.limits, entries_per_minute=60)
    return msgspec.structs.replace(found, policy=policy, limits=limits)


class Traces(msgspec.Struct):
    """What a run left behind."""

    plan: Plan
    kafka: Any  # VirtualKafka
    ledger: Ledger
    bites: dict[str, int]
    ended_ms: int
    quiet: bool
    faults: list[tuple[str, BaseException]]
    steps: int


Makers = Mapping[str, Callable[..., Worker]]
ROLES: Final[Makers] = {"connector": Connector, "account": Account, "decide": Decide, "execute": Execute}


class Run:
    """One run; *makers* may replace a role by one that is broken on purpose."""

    def __init__(self, plan: Plan, configured: Settings, *, makers: Makers, disk: Path) -> None:
        self.plan = plan
        self._settings = configured
        self._makers = dict(ROLES) | dict(makers)
        self._disk = disk
        self.running: dict[str, Worker] = {}

    async def main(self, loop: VirtualLoop) -> Traces:
        """Set the world up, trade, disturb, bring all flat, wait until it is quiet."""
        seed = self.plan.seed
        kafka = VirtualKafka(loop, random.Random(f"{seed}/kafka"))
        rows = [default_instrument(symbol) for symbol in SYMBOLS]
        self.market = SparseMarket(
            rows, random=random.Random(f"{seed}/market"), start_ms=START_MS, level_usdt=self.plan.level_usdt
        )
        wanted = frozenset(f"{symbol.lower()}@{kind}" for symbol in SYMBOLS for kind in STREAMS)
        self.ledger = Ledger()
        exchange = Venue(
            rows,
            VenueSettings(seed=seed),
            routes=ROUTES,
            start_ms=START_MS,
            ledger=self.ledger,
            wanted=wanted.__contains__,
        )
        self.venue = VirtualVenue(
            loop, exchange, self.market, random=random.Random(f"{seed}/venue"), tick_ms=1_000
        )
        self.world = World(loop, self._settings, FOLD, kafka, self.venue, self._disk)
        self.loop = loop
        self._random = random.Random(f"{seed}/driver")
        self._commands = 0
        driver = loop.create_task(self.venue.run())
        for role in ROLES:
            self.start(role)
        traders = [loop.create_task(self._trade(symbol)) for symbol in SYMBOLS]
        await asyncio.sleep((TRADING_MS + 3_000) / 1_000)
        for trader in traders:
            trader.cancel()
        quiet = await self._quieten()
        for task in (driver, *traders):
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]
        driver.cancel()
        for worker in self.running.values():
            worker.process.kill()
        steps = sum(worker.process.steps for worker in self.running.values())
        return Traces(
            self.plan, kafka, self.ledger, self.venue.bites, self.now_ms, quiet, self.world.faults, steps
        )

    @property
    def now_ms(self) -> int:
        """Exchange ms."""
        return START_MS + self.loop.passed_us // 1_000

    def start(self, role: str) -> Worker:
        """Start a process of a role."""
        worker = self.running[role] = self._makers[role](self.world, f"{role}-{len(self.world.tables)}{self.world.incarnation()}")
        worker.begin()
        return worker

    # --------------------------------------------------------------------------------------------- trading

    def open_symbols(self) -> set[str]:
        """What the exchange holds."""
        return {episode.row.symbol for episode in self.ledger.episodes if episode.closed_ms is None}

    async def _trade(self, symbol: str) -> None:
        for ride in self.plan.rides:
            if ride.symbol != symbol:
                continue
            await asyncio.sleep((ride.pause_ms + (900 if not self._commands else 0)) / 1_000)
            self._ask(ride)
            if not await self._until(symbol, is_open=True, milliseconds=OPEN_MS):
                continue
            sign = 1 if ride.long else -1
            self.market.ride(symbol, [Leg(ms, bps * sign) for ms, bps in ride.legs], now_ms=self.now_ms)
            await self._until(symbol, is_open=False, milliseconds=RIDE_MS)
            if symbol in self.open_symbols():
                self._close(symbol)
                await self._until(symbol, is_open=False, milliseconds=OPEN_MS)

    async def _until(self, symbol: str, *, is_open: bool, milliseconds: int) -> bool:
        until = self.now_ms + milliseconds
        while (symbol in self.open_symbols()) is not is_open:
            if self.now_ms >= until:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _ask(self, ride: Ride) -> None:
        row = default_instrument(ride.symbol)
        middle = self.market.middle(ride.symbol, self.now_ms)
        sign = 1 if ride.long else -1

        def price(bps: int) -> str:
            return row.price_text(middle + middle * bps * sign // 10_000)

        self._send(
            records.OpenCommand(
                command=self._name(),
                symbol=ride.symbol,
                side=Side.BUY if ride.long else Side.SELL,
                notional=str(ride.notional),
                stop=price(-STOP_BPS),
                target=price(TARGET_BPS),
                last_target=price(LAST_BPS),
            )
        )

    def _close(self, symbol: str) -> None:
        self._send(records.CloseCommand(command=self._name(), symbol=symbol))

    def _name(self) -> str:
        self._commands += 1
        return f"virtual-{self.plan.seed}-{self._commands}"

    def _send(self, command: msgspec.Struct) -> None:
        self.world.kafka.append(ACCOUNT.name, 0, b"", records.encode(command))

    # ----------------------------------------------------------------------------------------------- the end

    async def _quieten(self) -> bool:
        """Close what is open until nothing is left; False when the deadline came first."""
        quiet_since: int | None = None
        closed_ms = 0
        while self.now_ms - START_MS < DEADLINE_MS:
            if self._busy():
                quiet_since = None
                if self.open_symbols() and self.now_ms - closed_ms >= CLOSE_EVERY_MS:
                    self._close("*")
                    closed_ms = self.now_ms
            elif quiet_since is None:
                quiet_since = self.now_ms
            elif self.now_ms - quiet_since >= QUIET_MS:
                return True
            await asyncio.sleep(LOOK_S)
        return False

    def _busy(self) -> bool:
        exchange = self.venue.venue
        if self.open_symbols() or exchange.conditional.opened():
            return True
        if any(exchange.trading.opened(symbol) for symbol in SYMBOLS):
            return True
        worker = self.running["execute"]
        return worker.process.dead or bool(getattr(worker, "executor", None) and worker.executor.desk.positions)  # type: ignore[attr-defined]


def carry_out(plan: Plan, configured: Settings, *, makers: Makers | None = None) -> Traces:
    """Run a plan to its end."""
    with tempfile.TemporaryDirectory(prefix="perpguard-virtual-") as directory:
        one = Run(plan, configured, makers=makers or {}, disk=Path(directory))
        return run(one.main)
