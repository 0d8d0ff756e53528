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
from connectors.exchange_simulator.faults import FaultRule
from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.venue import Endpoint, Venue, VenueSettings
from pipeline.chaos.virtual_plan import SYMBOLS, TRADING_MS, Fault, Plan, Ride
from pipeline.chaos.virtual_sites import ACCOUNT_WATCH, EXECUTE_WATCH
from pipeline.core.events import Side
from pipeline.settings import Settings, load
from pipeline.virtual.clock import START_MS, VirtualLoop, run
from pipeline.virtual.log import VirtualKafka
from pipeline.virtual.market import Leg, SparseMarket
from pipeline.virtual.processes import Site
from pipeline.virtual.venue import VirtualVenue
from pipeline.virtual.workers import STREAMS, Account, Connector, Decide, Execute, Worker, World
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT

Json: TypeAlias = Any  # the ledger's JSON

FOLD: Final = "virtual"
STOP_BPS, TARGET_BPS, LAST_BPS = 80, 100, 150
OPEN_MS: Final = 4_000
RIDE_MS: Final = 9_000
HAND_MS: Final = 1_600  # then a person closes it
LEASE_MS: Final = 3_000  # half the product's: a successor waits 4.5 s before it may enter, and runs are short
QUIET_MS: Final = 2_500  # nothing open, nothing resting, nothing unanswered for so long: it is over
DEADLINE_MS: Final = 75_000
CLOSE_EVERY_MS: Final = 5_000
LOOK_S: Final = 0.25
BARS_EVERY: Final = 4  # the others know no bars: three hundred of them, folded four times, are a third of a run's cost
WITHOUT_BARS: Final = ROUTES | {("GET", "/fapi/v1/klines"): Endpoint(lambda venue, params, now_ms: [])}


def settings() -> Settings:
    """What every role is configured with; stops may move every second, so that a short run has moves."""
    found = load({"PERPGUARD_SYMBOLS": ",".join(SYMBOLS), "PERPGUARD_ROLE": "all"})
    policy = msgspec.structs.replace(found.policy, ratchet_interval_ms=1_000, ratchet_per_minute=60)
    limits = msgspec.structs.replace(found.limits, entries_per_minute=60)
    return msgspec.structs.replace(found, policy=policy, limits=limits)


class Spell(msgspec.Struct, frozen=True):
    """A time in which nobody could act: no executor was alive and awake, or the exchange refused everything."""

    start_ms: int
    end_ms: int


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
    spells: list[Spell] = []
    reached: list[Site] = []  # await points at which something was killed or frozen
    takeovers: int = 0
    bitten: list[tuple[int, str]] = []  # (exchange ms, which fault)
    ledger_start_ms: int = START_MS


class Armed(msgspec.Struct):
    """A fault that waits for a process to stand at an await point, *passes* more times."""

    site: Site
    passes: int
    act: Callable[[Worker], None]


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
        self._began: dict[str, int] = {}
        self._restart: dict[str, int] = {}  # role → exchange ms at which it is started again
        self._gone: list[Worker] = []
        self._spells: list[Spell] = []
        self._absent_since: int | None = None
        self._reached: list[Site] = []
        self._armed: dict[str, list[Armed]] = {}  # role → what waits for its processes to stand somewhere
        self._takeovers = 0
        self._ahead_ms = sum(fault.amount for fault in plan.faults if fault.kind == "skew")

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
            routes=ROUTES if seed % BARS_EVERY == 0 else WITHOUT_BARS,
            start_ms=START_MS,
            ledger=self.ledger,
            wanted=wanted.__contains__,
        )
        self.venue = VirtualVenue(loop, exchange, self.market, random=random.Random(f"{seed}/venue"), tick_ms=1_000)
        self.world = World(loop, self._settings, FOLD, kafka, self.venue, self._disk, lease_ms=LEASE_MS)
        self.loop = loop
        self._random = random.Random(f"{seed}/driver")
        self._commands = 0
        self.venue.on_bite = self._bitten
        driver = loop.create_task(self.venue.run())
        for role in ROLES:
            self.start(role)
        for fault in self.plan.faults:
            loop.call_later(fault.at_ms / 1_000, self._do, fault)
        supervisor = loop.create_task(self._supervise())
        traders = [loop.create_task(self._trade(symbol)) for symbol in SYMBOLS]
        await asyncio.sleep((TRADING_MS + 3_000) / 1_000)
        for trader in traders:
            trader.cancel()
        quiet = await self._quieten()
        for task in (driver, supervisor, *traders):
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]
        ended_ms = self.now_ms
        if self._absent_since is not None:
            self._spells.append(Spell(self._absent_since, ended_ms))
        driver.cancel()
        supervisor.cancel()
        every = [*self._gone, *self.running.values()]
        for worker in every:
            worker.process.kill()
        await asyncio.sleep(0.05)
        for worker in every:
            worker.process.bury()
        return Traces(
            self.plan,
            kafka,
            self.ledger,
            self.venue.bites,
            ended_ms,
            quiet,
            self.world.faults,
            sum(worker.process.steps for worker in every),
            self._spells,
            self._reached,
            self._takeovers,
            self.venue.bitten,
        )

    @property
    def now_ms(self) -> int:
        """Exchange ms."""
        return START_MS + self.loop.passed_us // 1_000

    def start(self, role: str, **options: Any) -> Worker:  # Any: of the role
        """Start a process of a role."""
        if role in self.running:
            self._gone.append(self.running[role])
        if role == "execute":
            options.setdefault("ahead_ms", self._ahead_ms)
        name = f"{role}-{self.world.incarnation()}"
        worker = self.running[role] = self._makers[role](self.world, name, **options)
        worker.process.watched = EXECUTE_WATCH if role == "execute" else ACCOUNT_WATCH
        self._set_trap(role)
        worker.begin()
        if role == "execute":
            self._present()
        return worker

    async def _supervise(self) -> None:
        """Start again what ended, as a cluster would."""
        while True:
            for role, worker in list(self.running.items()):
                if worker.process.dead:
                    due = self._restart.setdefault(role, self.now_ms + 300)
                    if self.now_ms >= due:
                        del self._restart[role]
                        self.start(role, **self._options(worker))
            await asyncio.sleep(0.05)

    def _options(self, worker: Worker) -> dict[str, Any]:  # Any: of the role
        return {"machine": worker.machine} if isinstance(worker, Execute) else {}

    # -------------------------------------------------------------------------------------------- disturbing

    def _do(self, fault: Fault) -> None:
        act = getattr(self, f"_{fault.kind}")
        act(fault)

    def _bite(self, fault: Fault) -> None:
        self.venue.bite(fault.name)

    def _bitten(self, rule: FaultRule) -> None:
        if rule.action in ("429", "418"):  # the exchange told us to be silent for so long
            seconds = max(1, rule.milliseconds // 1_000)
            self._spells.append(Spell(self.now_ms, self.now_ms + seconds * 1_000 + 300))

    def _absent(self) -> None:
        if self._absent_since is None:
            self._absent_since = self.now_ms

    def _present(self) -> None:
        """An executor is there; without a broker it cannot know what it has to protect (its journal is there)."""
        away = self.world.kafka.away_ms
        if away:
            self.loop.call_later(away / 1_000, self._present)
        elif self._absent_since is not None and not self.running["execute"].process.dead:
            self._spells.append(Spell(self._absent_since, self.now_ms))
            self._absent_since = None

    def _at_place(self, fault: Fault, act: Callable[[Worker], None]) -> None:
        """Do *act* when a process of the target, this or a later one, stands at the fault's place, at once without."""
        if fault.place is None:
            act(self.running[fault.target])
            return
        place = fault.place
        self._armed.setdefault(fault.target, []).append(
            Armed((place.file, place.function, place.ordinal), place.passes, act)
        )
        self._set_trap(fault.target)

    def _set_trap(self, role: str) -> None:
        worker, armed = self.running[role], self._armed.get(role, [])

        def trap(sites: list[Site]) -> None:
            for one in armed:
                if one.site not in sites:
                    continue
                one.passes -= 1
                if one.passes < 0:
                    armed.remove(one)
                    if not armed:
                        worker.process.trap = None
                    self._reached += sites
                    one.act(worker)
                    return

        worker.process.trap = trap if armed else None

    def _kill(self, fault: Fault) -> None:
        self._at_place(fault, lambda worker: self._killed(fault, worker))

    def _killed(self, fault: Fault, worker: Worker) -> None:
        if worker.process.dead:
            return
        self._bite(fault)
        worker.process.kill()
        if self.running[fault.target] is worker:
            self._restart[fault.target] = self.now_ms + fault.milliseconds
            if fault.target == "execute":
                self._absent()

    def _orphan(self, fault: Fault) -> None:
        """The executor dies where it places rails, and decide with it, for longer."""

        def kill(worker: Worker) -> None:
            self._killed(fault, worker)
            decide = self.running["decide"]
            if not decide.process.dead:
                decide.process.kill()
                self._restart["decide"] = self.now_ms + fault.amount

        self._at_place(fault, kill)

    def _hunt(self, fault: Fault) -> None:
        """Kill at the first of some places; the others are waited for no longer."""
        armed = self._armed.setdefault(fault.target, [])
        mine: list[Armed] = []

        def kill(worker: Worker) -> None:
            for one in mine:
                if one in armed:
                    armed.remove(one)
            if not armed:
                worker.process.trap = None
            self._killed(fault, worker)

        mine += [Armed((place.file, place.function, place.ordinal), place.passes, kill) for place in fault.places]
        armed += mine
        self._set_trap(fault.target)

    def _freeze(self, fault: Fault) -> None:
        def freeze(worker: Worker) -> None:
            if worker.process.dead or worker.process.frozen:
                return
            self._bite(fault)
            worker.process.freeze()
            if fault.target == "execute" and self.running["execute"] is worker:
                self._absent()
            self.loop.call_later(fault.milliseconds / 1_000, thaw, worker)

        def thaw(worker: Worker) -> None:
            worker.process.thaw()
            if fault.target == "execute" and self.running["execute"] is worker and not worker.process.dead:
                self._present()

        self._at_place(fault, freeze)

    def _twin(self, fault: Fault) -> None:
        def freeze(worker: Worker) -> None:
            if worker.process.dead or worker.process.frozen or self.running["execute"] is not worker:
                return
            self._bite(fault)
            worker.process.freeze()
            self._absent()
            self.loop.call_later(fault.amount / 1_000, take_over, worker)
            self.loop.call_later(fault.milliseconds / 1_000, worker.process.thaw)

        def take_over(worker: Worker) -> None:
            if self.running["execute"] is worker:
                self._takeovers += 1
                self.start("execute", machine=f"{worker.machine}x" if isinstance(worker, Execute) else "x")

        self._at_place(fault, freeze)

    def _stop(self, fault: Fault) -> None:
        worker = self.running["execute"]
        if isinstance(worker, Execute) and worker.ready.is_set() and not worker.process.dead:
            self._bite(fault)
            self._restart["execute"] = self.now_ms + fault.milliseconds
            worker.process.spawn(worker.close(), "SIGTERM")
            worker.process.on_death(self._absent)

    def _rule(self, fault: Fault) -> None:
        rule = FaultRule(
            action=fault.action,
            match=dict(fault.match),
            milliseconds=fault.milliseconds,
            count=max(1, fault.amount),
            status=503 if fault.code in (0, -1001) else 400,
            code=fault.code or None,
        )
        self.venue.faults.add([rule])

    def _cut(self, fault: Fault) -> None:
        self._bite(fault)
        if fault.target == "execute":
            socket = getattr(self.running["execute"], "socket", None)
            if socket is not None:
                socket.open = False
                self.loop.call_later(fault.milliseconds / 1_000, setattr, socket, "open", True)
            return
        connector = self.running["connector"]
        assert isinstance(connector, Connector)
        connector.cut(fault.target)

        def restore() -> None:
            if not connector.process.dead:
                connector.restore()

        self.loop.call_later(fault.milliseconds / 1_000, restore)

    def _broker(self, fault: Fault) -> None:
        self._bite(fault)
        if any(other.kind == "stick" for other in self.plan.faults):
            # Both stops may hang at the exchange: then decide closes (X2), and it cannot without a broker.
            self._spells.append(Spell(self.now_ms, self.now_ms + fault.milliseconds))
        self.world.kafka.away(fault.milliseconds)

    def _slow(self, fault: Fault) -> None:
        self._bite(fault)
        self.world.kafka.hold_ms[fault.target] = fault.amount
        self.loop.call_later(fault.milliseconds / 1_000, self.world.kafka.hold_ms.pop, fault.target, None)

    def _again(self, fault: Fault) -> None:
        reader = getattr(self.running["execute"], "reader", None)
        if reader is not None and reader.offset:
            self._bite(fault)
            reader.again(max(0, reader.offset - fault.amount))

    def _unanswered(self, fault: Fault) -> None:
        self._bite(fault)
        self.world.kafka.unanswered = fault.amount

    def _image(self, fault: Fault) -> None:
        """What the executor does every five minutes."""
        worker = self.running["execute"]
        if isinstance(worker, Execute) and worker.ready.is_set() and not worker.process.dead:
            self._bite(fault)
            book = worker.executor.desk
            worker.process.spawn(book.journal.keep(book.index.image(without=book.unjournalled)), "image")

    def _stick(self, fault: Fault) -> None:
        self._bite(fault)
        self.venue.venue.conditional.stuck_triggers[fault.target] = fault.amount

    def _skew(self, fault: Fault) -> None:
        self._bite(fault)

    def _jump(self, fault: Fault) -> None:
        self._bite(fault)
        self.market.ride(fault.target, [Leg(1, fault.amount)], now_ms=self.now_ms)

    def _late(self, fault: Fault) -> None:
        self.venue.late_requests, self.venue.late_ms = fault.amount, fault.milliseconds

    def _refuse(self, fault: Fault) -> None:
        self.venue.refusing_until = self.loop.time() + fault.milliseconds / 1_000
        self._spells.append(Spell(self.now_ms, self.now_ms + fault.milliseconds))

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
            await self._until(symbol, is_open=False, milliseconds=HAND_MS if ride.shape == "hand" else RIDE_MS)
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
        if self.open_symbols() or any(algo.state == "NEW" for algo in exchange.conditional.opened()):
            return True
        if any(exchange.trading.opened(symbol) for symbol in SYMBOLS):
            return True
        executor, account = self.running["execute"], self.running["account"]
        assert isinstance(executor, Execute)
        assert isinstance(account, Account)
        ready = executor.ready.is_set() and not executor.process.dead and not account.process.dead
        return (
            self.world.kafka.away_ms > 0 or not ready or bool(executor.executor.desk.positions) or bool(account.slots)
        )


def carry_out(plan: Plan, configured: Settings, *, makers: Makers | None = None) -> Traces:
    """Run a plan to its end."""
    with tempfile.TemporaryDirectory(prefix="perpguard-virtual-") as directory:
        one = Run(plan, configured, makers=makers or {}, disk=Path(directory))
        return run(one.main)
