"""The only place for what executor tests put in place of the world: a venue, a journal, an outbox, virtual time.

The venue keeps the rules that the executor's promises lean on (one closePosition order per side and type, reduce-only,
unique ids among open orders, recvWindow) and can be told to fail in every way a venue fails. The exchange simulator is
the judge of everything else; this one exists because it can be stopped at any point and costs no real time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pipeline.binance.errors import NoAnswer, NotWritten
from pipeline.binance.requests import AlgoOrder, CancelAlgo, CancelRegular, Read, RegularOrder, RegularType, Request
from pipeline.binance.rest import Answer
from pipeline.core.commands import Intent, MoveStop, OpenBracket
from pipeline.core.events import Leg, RequestEnded, Side
from pipeline.core.rate_limits import Budget
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.execution.desk import Limits
from pipeline.execution.executor import Executor
from pipeline.execution.ports import JournalUnavailable
from pipeline.wire import lines, records
from pipeline.wire.records import AttemptRecord, IntentRecord

START_MS = 1_790_771_372_000
LOG = "abcdefg"
ROAD_MS = 2  # one way to the venue


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time jumps to the next timer whenever nothing is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.virtual = 0.0

    def time(self) -> float:
        return self.virtual

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self.virtual = max(self.virtual, timers[0].when())
            assert self.virtual < 3_600, "an hour of virtual time: something waits for ever"
        super()._run_once()  # type: ignore[misc]


def run_virtual(work: Awaitable[Any]) -> Any:
    """Run *work* in virtual time."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)

        async def main() -> Any:
            return await work

        return loop.run_until_complete(main())
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


class VirtualClock:
    """Both clocks follow the loop's."""

    def now_ms(self) -> int:
        return START_MS + int(asyncio.get_running_loop().time() * 1_000)

    def boot_ms(self) -> int:
        return 1_000_000 + int(asyncio.get_running_loop().time() * 1_000)


class Killed(Exception):
    """Never raised into the executor: marks that the process is to die at this await point."""


class Killer:
    """Counts await points of the ports; at the chosen one the process hangs until the test kills it."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.points = 0
        self.reached = asyncio.Event()

    async def point(self) -> None:
        self.points += 1
        if self.points == self.at:
            self.reached.set()
        if self.reached.is_set():  # a dead process gets no further, at no port
            await asyncio.Event().wait()
        # Timers of one instant have no order of their own, roads do: who sets out first arrives first.
        await asyncio.sleep(ROAD_MS / 1_000 + self.points % 100 * 2e-6)


class FakeJournal:
    """The topic: survives the executors; each opens it through ``open``."""

    def __init__(self) -> None:
        self.records: list[AttemptRecord] = []
        self.followers: list[Callable[[AttemptRecord], None]] = []
        self.unavailable = False
        self.image = b""

    def write(self, record: AttemptRecord) -> None:
        # Through bytes, as Kafka would: what cannot be written or read back fails here.
        record = records.decode_attempt(records.encode(record))
        self.records.append(record)
        for seen in self.followers:
            seen(record)

    def open(self, killer: Killer) -> OpenJournal:
        return OpenJournal(self, killer)

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]


class OpenJournal:
    """One executor's view of the topic."""

    def __init__(self, topic: FakeJournal, killer: Killer) -> None:
        self._topic = topic
        self._killer = killer
        self._read_to = 0

    async def read(self, restore: Callable[[bytes], None]) -> list[AttemptRecord]:
        self._read_to = len(self._topic.records)
        if self._topic.image:
            restore(self._topic.image)
        return list(self._topic.records)

    async def keep(self, image: bytes) -> None:
        """The next start restores it, and applies all records again all the same (``apply`` is idempotent)."""
        self._topic.image = image

    def follow(self, seen: Callable[[AttemptRecord], None]) -> None:
        for record in self._topic.records[self._read_to :]:
            seen(record)
        self._topic.followers.append(seen)

    async def append(self, record: AttemptRecord, *, spill: bool = False, patient: bool = False) -> None:
        await self._killer.point()  # before it is in the log
        if self._topic.unavailable:
            raise JournalUnavailable("away")
        self._topic.write(record)
        await self._killer.point()  # in the log, not acknowledged


class FakeOutbox:
    """Everything said, in order; survives the executors."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, RequestEnded]] = []
        self.answers: list[tuple[str, lines.Answer]] = []
        self.records: list[msgspec.Struct] = []
        self.alerts: list[tuple[str, str]] = []
        self.killer = Killer()

    async def outcome(self, symbol: str, outcome: RequestEnded) -> None:
        await self.killer.point()
        self.outcomes.append((symbol, outcome))
        await self.killer.point()

    async def answer(self, symbol: str, answer: lines.Answer) -> None:
        self.answers.append((symbol, answer))

    async def account(self, record: msgspec.Struct) -> None:
        self.records.append(record)

    async def alert(self, *, symbol: str, code: str, severity: str, text: str) -> None:
        self.alerts.append((code, text))

    def verdicts(self, intent: str) -> list[str]:
        return [f"{o.leg.value}:{o.verdict.value}" for _, o in self.outcomes if o.intent == intent]


FILTERS = (
    '"filters":[{"filterType":"PRICE_FILTER","minPrice":"0.10","maxPrice":"1000000","tickSize":"0.10"},'
    '{"filterType":"LOT_SIZE","minQty":"0.001","maxQty":"1000","stepSize":"0.001"},'
    '{"filterType":"MARKET_LOT_SIZE","minQty":"0.001","maxQty":"0.100","stepSize":"0.001"},'
    '{"filterType":"MIN_NOTIONAL","notional":"5"}]'
)
NO_FILTERS = '"filters":[]'
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
TERMINAL = ("FILLED", "CANCELED", "EXPIRED", "FINISHED", "REJECTED")


def _error(code: int, message: str = "", status: int = 400) -> tuple[int, Any]:
    return status, {"code": code, "msg": message}


Fault = Callable[[Request], str]  # "", or one of the actions below


class FakeVenue:
    """
    One account with positions in lots (0.001) and prices in ticks (0.1).

    ``fault`` is asked before each request: ``lost`` (not written), ``before`` (written, not executed, no answer),
    ``after`` (executed, no answer), ``503`` (unknown error, executed), ``-1001`` (not executed), ``429``.
    """

    def __init__(self) -> None:
        self.server_ahead_ms = 0
        self.mark = 1_000_000  # ticks: 100,000 USDT
        self.positions: dict[str, int] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.algos: dict[str, dict[str, Any]] = {}
        self.ledger: list[tuple[int, str, str]] = []  # (ms, what, client id)
        self.fault: Fault = lambda _: ""
        self.fill_share = 1.0
        self.filters = FILTERS
        self.listed = SYMBOLS
        self.odd = ""
        self.rate_limits = ""
        self.frames: list[Callable[[bytes], Any]] = []
        self.killer = Killer()
        self.clock = VirtualClock()
        self.requests: list[Request] = []
        self._id = 1

    # ------------------------------------------------------------------------------------------------ transport

    async def synchronise(self, *, timeout_ms: int = 2_000) -> int:
        return 0

    async def send(
        self, request: Request, *, timestamp_ms: int = 0, receive_window_ms: int = 0, timeout_ms: int = 5_000
    ) -> Answer:
        sent = self.clock.now_ms()
        await self.killer.point()
        self.requests.append(request)
        action = self.fault(request)
        if action == "lost":
            raise NotWritten("refused")
        if action == "before":
            await asyncio.sleep(timeout_ms / 1_000)
            raise NoAnswer("timeout")
        now = self.clock.now_ms()
        if isinstance(request, RegularOrder | AlgoOrder) and now - timestamp_ms > receive_window_ms:
            status, body = _error(-1021, "Timestamp for this request is outside of the recvWindow.")
        elif action == "-1001":
            status, body = _error(-1001, "Internal error; unable to process your request.", 503)
        elif action == "429":
            status, body = _error(-1003, "Too many requests", 429)
        elif action.startswith("code "):
            status, body = _error(int(action[5:]))
        else:
            status, body = self._execute(request)
        if action == "after":
            await asyncio.sleep(timeout_ms / 1_000)
            raise NoAnswer("timeout")
        if action == "503":
            status, body = _error(-1000, "Unknown error, please check your request or try again later.", 503)
        await self.killer.point()  # executed, the answer is on its way
        return Answer(
            status=status,
            headers={"retry-after": "2"} if status == 429 else {},
            body=msgspec.json.encode(body),
            sent_ms=Milliseconds(sent),
            written_ms=Milliseconds(sent),
            received_ms=Milliseconds(self.clock.now_ms()),
        )

    def emit(self, frame: dict[str, Any]) -> None:
        raw = msgspec.json.encode(frame | {"E": self.clock.now_ms()})
        for take in self.frames:
            take(raw)

    # ------------------------------------------------------------------------------------------------- matching

    def _execute(self, request: Request) -> tuple[int, Any]:
        if isinstance(request, RegularOrder):
            return self._order(request)
        if isinstance(request, AlgoOrder):
            return self._algo(request)
        if isinstance(request, CancelRegular):
            return self._cancel(self.orders.get(request.client_id), request.client_id)
        if isinstance(request, CancelAlgo):
            return self._cancel(self.algos.get(request.client_id), request.client_id)
        return self._read(request)

    def _order(self, request: RegularOrder) -> tuple[int, Any]:
        known = self.orders.get(request.client_id)
        if known is not None and known["status"] == "NEW":
            return _error(-4116)
        lots = round(float(request.quantity) * 1_000)
        sign = request.side.sign
        held = self.positions.get(request.symbol, 0)
        if request.reduce_only and held * sign >= 0:
            return _error(-2022)
        resting = request.order_type is RegularType.LIMIT and request.reduce_only
        filled = 0
        if not resting:
            filled = min(lots, abs(held)) if request.reduce_only else max(1, int(lots * self.fill_share))
        self._id += 1
        status = "NEW" if resting else ("FILLED" if filled == lots else "EXPIRED")
        order = {
            "orderId": self._id,
            "symbol": request.symbol,
            "status": status,
            "clientOrderId": request.client_id,
            "origQty": request.quantity,
            "price": request.price or "0",
            "executedQty": f"{filled / 1_000:.3f}",
            "side": request.side.value,
        }
        self.orders[request.client_id] = order
        self._note("order", request.client_id)
        if filled:
            self._fill(request.symbol, sign * filled, request.client_id)
        self._tell_order(order)
        return 200, order

    def _fill(self, symbol: str, signed: int, client_id: str) -> None:
        self.positions[symbol] = self.positions.get(symbol, 0) + signed
        self._note("fill", client_id)
        position = f"{self.positions[symbol] / 1_000:.3f}"
        self.emit({"e": "ACCOUNT_UPDATE", "a": {"m": "ORDER", "P": [{"s": symbol, "pa": position, "ps": "BOTH"}]}})

    def _tell_order(self, order: dict[str, Any]) -> None:
        self.emit(
            {
                "e": "ORDER_TRADE_UPDATE",
                "o": {
                    "s": order["symbol"],
                    "c": order["clientOrderId"],
                    "X": order["status"],
                    "z": order["executedQty"],
                    "ap": "0",
                    "i": order["orderId"],
                },
            }
        )

    def _algo(self, request: AlgoOrder) -> tuple[int, Any]:
        trigger = round(float(request.trigger) * 10)
        through = trigger >= self.mark if request.side is Side.SELL else trigger <= self.mark
        if request.order_type.value == "TAKE_PROFIT_MARKET":
            through = not through
        if through:
            return _error(-2021)
        same = [
            algo
            for algo in self.algos.values()
            if algo["algoStatus"] == "NEW"
            and algo["closePosition"]
            and (algo["symbol"], algo["side"], algo["orderType"])
            == (request.symbol, request.side.value, request.order_type.value)
        ]
        if request.close_position and same:
            return _error(-4130)
        self._id += 1
        algo = {
            "algoId": self._id,
            "clientAlgoId": request.client_id,
            "orderType": request.order_type.value,
            "symbol": request.symbol,
            "side": request.side.value,
            "algoStatus": "NEW",
            "quantity": request.quantity or "0",
            "triggerPrice": request.trigger,
            "closePosition": request.close_position,
        }
        self.algos[request.client_id] = algo
        self._note("algo", request.client_id)
        self._tell_algo(algo)
        return 200, algo

    def _tell_algo(self, algo: dict[str, Any]) -> None:
        self.emit(
            {
                "e": "ALGO_UPDATE",
                "o": {
                    "caid": algo["clientAlgoId"],
                    "aid": algo["algoId"],
                    "s": algo["symbol"],
                    "X": algo["algoStatus"],
                },
            }
        )

    def _cancel(self, order: dict[str, Any] | None, client_id: str) -> tuple[int, Any]:
        key = "status" if order is not None and "status" in order else "algoStatus"
        if order is None or order[key] != "NEW":
            return _error(-2011, "Unknown order sent.")
        order[key] = "CANCELED"
        self._note("cancel", client_id)
        if key == "status":
            self._tell_order(order)
            return 200, order
        self._tell_algo(order)
        return 200, {"algoId": order["algoId"], "clientAlgoId": client_id, "code": "200", "msg": "success"}

    def _read(self, request: Read) -> tuple[int, Any]:
        query = dict(request.query)
        symbol = query.get("symbol")
        match request.path.rpartition("/")[2]:
            case "order":
                found = self.orders.get(query["origClientOrderId"])
                return (200, found | {"avgPrice": "0"}) if found else _error(-2013)
            case "algoOrder":
                found = self.algos.get(query["clientAlgoId"])
                return (200, found) if found else _error(-2013)
            case "positionRisk":
                return 200, [
                    {
                        "symbol": name,
                        "positionSide": "BOTH",
                        "positionAmt": f"{lots / 1_000:.3f}",
                        "markPrice": f"{self.mark / 10:.1f}",
                    }
                    for name, lots in self.positions.items()
                    if lots and symbol in (None, name)
                ]
            case "account":
                rows = [
                    {"symbol": name, "positionSide": "BOTH", "positionAmt": f"{lots / 1_000:.3f}"}
                    for name, lots in self.positions.items()
                    if lots
                ]
                return 200, {"positions": rows}
            case "openOrders":
                return 200, [o for o in self.orders.values() if o["status"] == "NEW" and symbol in (None, o["symbol"])]
            case "openAlgoOrders":
                rows = [a for a in self.algos.values() if a["algoStatus"] == "NEW"]
                return 200, [row for row in rows if symbol in (None, row["symbol"])]
            case "exchangeInfo":
                text = ",".join(
                    f'{{"symbol":"{s}","status":"TRADING",{NO_FILTERS if s == self.odd else self.filters}}}'
                    for s in self.listed
                )
                return 200, msgspec.Raw(f'{{"rateLimits":[{self.rate_limits}],"symbols":[{text}]}}'.encode())
            case _:
                return 200, []

    def _note(self, what: str, client_id: str) -> None:
        self.ledger.append((self.clock.now_ms(), what, client_id))

    # --------------------------------------------------------------------------------------------------- asking

    def open_algos(self, symbol: str) -> dict[str, dict[str, Any]]:
        return {c: a for c, a in self.algos.items() if a["algoStatus"] == "NEW" and a["symbol"] == symbol}

    def rails(self, symbol: str) -> list[tuple[str, int, int]]:
        """Open stops: (a or b, trigger in ticks, lots or 0), sorted."""
        return sorted(
            (
                "a" if algo["closePosition"] else "b",
                round(float(algo["triggerPrice"]) * 10),
                round(float(algo["quantity"]) * 1_000),
            )
            for algo in self.open_algos(symbol).values()
            if algo["orderType"] == "STOP_MARKET"
        )

    def placed(self, intent: str) -> list[str]:
        """Client ids of an intent's orders that took effect."""
        return [c for _, what, c in self.ledger if what in ("order", "algo") and c.startswith(f"{intent}-")]

    def trigger(self, client_id: str) -> None:
        """A stop goes off and fills."""
        algo = self.algos[client_id]
        held = self.positions.get(algo["symbol"], 0)
        lots = abs(held) if algo["closePosition"] else min(abs(held), round(float(algo["quantity"]) * 1_000))
        algo["algoStatus"] = "TRIGGERED"
        self._tell_algo(algo)
        self._fill(algo["symbol"], -lots if held > 0 else lots, client_id)
        algo["algoStatus"] = "FINISHED"
        self._tell_algo(algo)


class World:
    """Venue, journal and outbox, which outlive the executors that come and go."""

    def __init__(self) -> None:
        self.venue = FakeVenue()
        self.journal = FakeJournal()
        self.outbox = FakeOutbox()
        self.faults: list[BaseException] = []
        self.stream = True
        self._starts = 0

    def executor(self, killer: Killer | None = None, symbols: tuple[str, ...] = SYMBOLS) -> Executor:
        """A new process; the former must be dead."""
        killer = Killer() if killer is None else killer
        self._starts += 1
        self.venue.killer = self.outbox.killer = killer
        executor = Executor(
            journal=self.journal.open(killer),
            venue=self.venue,
            outbox=self.outbox,
            clock=VirtualClock(),
            limits=Limits(symbols, 100_000 * 10**8, 3, 100),
            symbols=symbols,
            budget=Budget(background_spacing_ms=10, background_per_minute=1_000),
            name=f"executor-{self._starts}",
            on_fault=self.faults.append,
        )
        self.venue.frames = [executor.desk.evidence.frame] if self.stream else []
        return executor

    def kill(self, executor: Executor) -> None:
        """SIGKILL."""
        executor.die()
        self.venue.frames = []
        self.journal.followers.clear()


def intent(number: int, body: Intent, *, symbol: str = "BTCUSDT", at_ms: int | None = None) -> IntentRecord:
    """An intent of the log, as young as can be."""
    return IntentRecord(
        id=f"{LOG}.0{number}.0.tagg0",
        symbol=symbol,
        cause=f"0/{number}/0",
        at_ms=Milliseconds(VirtualClock().now_ms() if at_ms is None else at_ms),
        fold="fold",
        intent=body,
    )


def bracket(side: Side = Side.BUY, lots: int = 10) -> OpenBracket:
    """Enter around 100,000 with stops 1 % and 1.25 % away."""
    sign = side.sign
    return OpenBracket(
        side=side,
        lots=Lots(lots),
        limit=Ticks(1_000_000 + 10 * sign),
        far_trigger=Ticks(1_000_000 - 12_500 * sign),
        working_trigger=Ticks(1_000_000 - 10_000 * sign),
        expires_ms=Milliseconds(0),
    )


# ------------------------------------------------------------------------------------------------- small sentences

BTC = "BTCUSDT"
FAR, WORKING = ("a", 987_500, 0), ("b", 990_000, 10)


async def started(world: World) -> Executor:
    """An executor that took over."""
    executor = world.executor()
    await executor.start()
    return executor


async def opened(world: World, executor: Executor, number: int = 1, side: Side = Side.BUY) -> IntentRecord:
    """A position with both rails."""
    record = intent(number, bracket(side))
    await executor.submit(record)
    await executor.desk.idle()
    return record


async def bereft(world: World) -> None:
    """A position of ours whose executor is dead and whose rails the venue has let expire."""
    first = await started(world)
    await opened(world, first)
    world.kill(first)
    for algo in world.venue.algos.values():
        algo["algoStatus"] = "EXPIRED"


def moved(number: int, position: str, trigger: int, *, leg: Leg = Leg.WORKING, lots: int = 10) -> IntentRecord:
    """A stop move."""
    return intent(number, MoveStop(position, leg, Side.BUY, Ticks(trigger), Lots(lots)))


def scenario(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run an asynchronous test in virtual time."""

    def run() -> None:
        run_virtual(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def once(matches: Callable[[Request], bool], action: str) -> Callable[[Request], str]:
    """A fault that bites once."""
    left = [1]

    def fault(request: Request) -> str:
        if left[0] and matches(request):
            left[0] -= 1
            return action
        return ""

    return fault


def is_entry(request: Request) -> bool:
    """The entry order."""
    return isinstance(request, RegularOrder) and not request.reduce_only
