"""
The only place for what the parts of the executor share: ports, positions under guard, order of work, running tasks.

Work is serial per (symbol, leg) and parallel otherwise (``chain``), so that one slow answer does not hold up five
positions. Everything here belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
import structlog

from pipeline.core.commands import OpenBracket
from pipeline.core.events import Leg, RequestEnded, Side
from pipeline.core.instruments import Instrument
from pipeline.core.rescale import Grid
from pipeline.core.units import E8, Lots, Ticks
from pipeline.execution.cover import Cover
from pipeline.execution.evidence import Evidence
from pipeline.execution.journal import JournalIndex
from pipeline.execution.lanes import Lanes
from pipeline.execution.lease import Lease
from pipeline.execution.ports import Clock, Journal, Outbox, OutboxUnavailable, Venue
from pipeline.wire.records import IntentRecord

log = structlog.get_logger(__name__)

SCALE: Final = 4  # a stop or target this many times away from the entry is on another scale (ticks change by ten)
ALERT_EVERY_MS: Final = 10_000  # the same word at most this often


class Limits(msgspec.Struct, frozen=True):
    """What no topic can change (architecture 2.4): symbols, notional per position, positions, entries a minute."""

    symbols: tuple[str, ...]
    max_notional_e8: E8
    max_positions: int
    entries_per_minute: int
    foreign_positions: str = "restore"  # or respect, alert (execution.adoption)
    max_leverage: int = 0  # 0: unbounded
    moves_per_minute: int = 30  # ratchet moves of all positions together (domain 6.4)


class LiveOrder(msgspec.Struct):
    """An order that rests, or may rest (``doubtful``); lots 0 closes the whole position."""

    client_id: str
    leg: Leg
    book: str  # order | algoOrder
    trigger: int
    lots: int
    doubtful: bool = False


class WantedRail(msgspec.Struct):
    """The newest wish for one rail; ``sent`` once a request for it was written."""

    intent: str
    trigger: int
    lots: int
    record: IntentRecord | None = None
    sent: bool = False


class Guarded(msgspec.Struct):
    """One position under guard; its id is the id of its bracket."""

    id: str
    symbol: str
    side: Side
    bracket: OpenBracket
    record: IntentRecord
    filled: int = 0
    first_fill_ms: int = 0
    entry_over: bool = False
    entry_client: str = ""
    orders: dict[str, LiveOrder] = msgspec.field(default_factory=dict)
    wanted: dict[Leg, WantedRail] = msgspec.field(default_factory=dict)
    targets: dict[Leg, str] = msgspec.field(default_factory=dict)  # the intent that is wanted; "" is a tombstone
    closing: str = ""  # why it is being closed
    at_risk_e8: int = 0  # what a close of it saves, as decide sees it: of closes that wait, the largest goes first
    flat: bool = False
    swept: bool = False
    let_go_by: IntentRecord | None = None  # decide asked to sweep it while the venue shows it: nobody speaks for it now

    def live(self, leg: Leg, *, doubtful: bool = False) -> list[LiveOrder]:
        """Orders of a leg that are known to rest; with *doubtful* those that may, too."""
        return [order for order in self.orders.values() if order.leg is leg and (doubtful or not order.doubtful)]

    def plausible(self, ticks: int) -> bool:
        """
        False for a price on another scale than the position: an intent counted in ticks of before a change of the tick
        must not go out as a price ten times too high or too low; decide states it again in the new ones.
        """
        limit = self.bracket.limit
        return not limit or (limit < SCALE * ticks and ticks < SCALE * limit)

    def rescale(self, grid: Grid) -> None:
        """Carry everything counted in ticks and lots over to another grid (domain 6.7: in one step)."""
        self.bracket = bracket_on(self.bracket, grid)
        self.filled = grid.lots(self.filled)
        for order in self.orders.values():
            order.trigger, order.lots = grid.away(order.trigger, self.side), grid.lots(order.lots)
        for wanted in self.wanted.values():
            wanted.trigger, wanted.lots = grid.away(wanted.trigger, self.side), grid.lots(wanted.lots)

    @property
    def covered(self) -> bool:
        """True while known stops cover what is filled; one rail is enough (domain 6.1)."""
        return bool(self.live(Leg.FAR)) or sum(order.lots for order in self.live(Leg.WORKING)) >= self.filled > 0


def bracket_on(bracket: OpenBracket, grid: Grid) -> OpenBracket:
    """A bracket counted on another grid; its stops are rounded away from the price."""
    return msgspec.structs.replace(
        bracket,
        lots=Lots(grid.lots(bracket.lots)),
        limit=Ticks(grid.down(bracket.limit)),
        far_trigger=Ticks(grid.away(bracket.far_trigger, bracket.side)),
        working_trigger=Ticks(grid.away(bracket.working_trigger, bracket.side)),
    )


class Desk:
    """Ports, state and tasks of one executor."""

    def __init__(
        self,
        *,
        journal: Journal,
        venue: Venue,
        outbox: Outbox,
        clock: Clock,
        lanes: Lanes,
        lease: Lease,
        limits: Limits,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.journal, self.venue, self.outbox, self.clock = journal, venue, outbox, clock
        self.lanes, self.lease, self.limits = lanes, lease, limits
        self.index = JournalIndex()
        self.instruments: dict[str, Instrument] = {}
        self.evidence = Evidence(self.instruments)
        self.positions: dict[str, Guarded] = {}
        self.entries_ms: list[int] = []
        self.moves_ms: list[int] = []  # when stops were moved by the ratchet, over the last minute
        self.unjournalled: dict[str, IntentRecord] = {}  # whole intents that the journal does not hold yet
        self.taken_ns: dict[str, int] = {}  # when an intent was taken in, for the stamps of its outcomes
        self.on_bad_filters: Callable[[], None] = lambda: None  # the venue refused a price or quantity of ours
        self.want_audit: Callable[[str], None] = _nothing  # decide must hear what the venue shows of the symbol
        self.on_cover_changed: Callable[[str], None] = _nothing  # a stop of the symbol was placed or moved
        self.on_verdicts: Callable[[tuple[Cover, ...]], None] = _nothing  # what the auditor found
        self.on_audit: Callable[[bytes, bytes], None] = _nothing  # bodies of positionRisk and all openAlgoOrders
        self._on_fault = on_fault
        self._chains: dict[tuple[str, Leg], asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._said: dict[str, set[asyncio.Task[None]]] = {}
        self._durable: dict[str, asyncio.Future[None]] = {}
        self._alerted: dict[tuple[str, str], int] = {}
        self._symbols: dict[str, str] = {}  # position or intent → symbol

    # ---- order of work

    def chain(self, symbol: str, leg: Leg) -> asyncio.Lock:
        """The lock under which requests of one leg of a symbol go one after another (first come, first served)."""
        return self._chains.setdefault((symbol, leg), asyncio.Lock())

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run *work* beside the others; an exception that leaves it is a fault of ours and ends the process."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    def cancel_all(self) -> list[asyncio.Task[None]]:
        """Stop every task (the process ends, or a test says it died)."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    async def idle(self) -> None:
        """Wait until nothing is being sent or said."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    # ---- what was said

    def say(self, intent: str, work: Coroutine[Any, Any, None]) -> None:
        """Run words about an intent; ``said`` waits for them."""
        task = self.spawn(work, f"say {intent}")
        self._said.setdefault(intent, set()).add(task)

        def forget(done: asyncio.Task[None]) -> None:
            tasks = self._said.get(intent)
            if tasks is not None:
                tasks.discard(done)
                if not tasks:
                    del self._said[intent]

        task.add_done_callback(forget)

    async def said(self, intent: str) -> None:
        """Wait until everything said about an intent so far is durable."""
        while tasks := self._said.get(intent):
            await asyncio.wait(list(tasks))

    def durability(self, intent: str) -> asyncio.Future[None]:
        """A future that is done once the intent stands in the journal: then its message may be acknowledged."""
        future = self._durable.get(intent)
        if future is None:
            future = self._durable[intent] = asyncio.get_running_loop().create_future()
        return future

    def durable(self, intent: str) -> None:
        """The journal holds the intent."""
        self.unjournalled.pop(intent, None)
        future = self._durable.pop(intent, None)
        if future is not None and not future.done():
            future.set_result(None)

    def awaited(self, intent: str) -> asyncio.Future[None] | None:
        """The future of an intent that is not durable yet."""
        return self._durable.get(intent)

    # ---- words

    def know_symbol(self, name: str, symbol: str) -> None:
        """Remember which symbol an intent or position is about."""
        self._symbols[name] = symbol
        if len(self._symbols) > 100_000:
            del self._symbols[next(iter(self._symbols))]

    def symbol_of(self, outcome: RequestEnded) -> str:
        """The symbol of an outcome."""
        return self._symbols.get(outcome.intent) or self._symbols[outcome.position]

    def alert(self, code: str, severity: str, text: str, symbol: str = "") -> None:
        """A word for people; the same code and symbol at most every ten seconds."""
        now = self.clock.now_ms()
        if now - self._alerted.get((code, symbol), -ALERT_EVERY_MS) < ALERT_EVERY_MS:
            return
        self._alerted[code, symbol] = now
        log.warning(code, severity=severity, text=text, symbol=symbol)

        async def say() -> None:
            try:
                await self.outbox.alert(symbol=symbol, code=code, severity=severity, text=text)
            except OutboxUnavailable as error:
                log.error("alert_not_told", code=code, text=text, error=str(error))

        self.spawn(say(), f"alert {code}")

    # ---- positions

    def know_instruments(self, instruments: Mapping[str, Instrument]) -> None:
        """Take filters over; positions whose tick or lot has changed are counted anew before anything else happens."""
        for symbol, new in instruments.items():
            old = self.instruments.get(symbol)
            if old is not None and (old.tick_e8, old.step_e8) != (new.tick_e8, new.step_e8):
                for position in self.of_symbol(symbol):
                    position.rescale(Grid(old, new))
            self.instruments[symbol] = new

    def of_symbol(self, symbol: str) -> list[Guarded]:
        """Positions of a symbol that are not swept."""
        return [position for position in self.positions.values() if position.symbol == symbol]


def _nothing(*_: object) -> None:
    """Nobody listens."""
