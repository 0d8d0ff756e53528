"""
The only place that answers wishes for data: snapshots, candles, interest, filters, audits.

Every answer is a line of the symbol that asked; a wish that cannot be served in its time is shed and says so. One read
of exchangeInfo serves every symbol, one audit (positionRisk + openOrders + openAlgoOrders, all symbols at once) serves
everybody who asked before it was sent. Held symbols go first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from pipeline.binance import requests
from pipeline.binance.answers import instrument_of
from pipeline.binance.errors import ReadFailed
from pipeline.binance.requests import Read
from pipeline.core import rate_limits
from pipeline.core.commands import RequestData
from pipeline.core.instruments import Instrument
from pipeline.core.rate_limits import Lane
from pipeline.core.units import Milliseconds
from pipeline.execution.account_reads import AccountReads
from pipeline.execution.bulk import BUILDERS as BULK_BUILDERS
from pipeline.execution.bulk import BulkReads
from pipeline.execution.desk import Desk
from pipeline.execution.ports import OutboxUnavailable
from pipeline.execution.sender import READ_MS, Sender
from pipeline.wire import lines
from pipeline.wire.records import DataIntentRecord, InstrumentsKnown

log = structlog.get_logger(__name__)

EXCHANGE_INFO_EVERY_S: Final = 600.0
READ_AGAIN_S: Final = 0.5
DOUBTED_AGAIN_MS: Final = 5_000  # filters just read are not read again because of one more refusal
FRESH_MS: Final = 10_000  # an exchangeInfo this young answers without another read
GATHER_SECONDS: Final = 0.02  # audits asked for within this time share one
# An audit of all symbols weighs 85 of the venue's 2,400 a minute: at the start of 200 symbols each asks once, and one
# read every few seconds answers them all. With a position open nobody waits.
IDLE_AUDIT_SECONDS: Final = 5.0
DEFAULT_VALID_MS: Final = 10_000
# The cadence follows the budget: 80 % of the day's (domain 7) or more than the steady state's of the last ten minutes
# stretch polling. A shortlisted symbol that nobody holds asks again 75, 225, 525 s after the refusal of its 600 s: the
# last of these is served, and O is still whole (its age is below two polls, domain 3.3).
STRETCHED_MS: Final = 1_080_000


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[msgspec.Raw]
    rate_limits: list[_RateLimit] = []


class _Named(msgspec.Struct):
    symbol: str


class Data:
    """Serves data for *symbols* (the universe)."""

    def __init__(self, desk: Desk, sender: Sender, symbols: tuple[str, ...]) -> None:
        self._desk = desk
        self._sender = sender
        self._symbols = frozenset(symbols)
        self._order = symbols
        self._guarded: tuple[str, ...] = ()  # not configured, yet under guard
        self._queued: dict[tuple[str, str, int], None] = {}
        self._interest_ms: dict[str, int] = {}  # when open interest was last read
        self._info: dict[str, msgspec.Raw] = {}
        self._info_ms = 0
        self._doubted = False
        self._info_lock = asyncio.Lock()
        self._auditors: dict[str, list[DataIntentRecord]] = {}
        self._audited_ms = 0
        self._bulk = BulkReads(read=self._read_bulk, say=self._say_bulk, now_ms=desk.clock.now_ms)
        self.served = 0
        self.shed = 0
        self.account = AccountReads(desk, sender, self._tell_account)

    def submit(self, record: DataIntentRecord) -> None:
        """Serve a wish when the budget allows; the same wish of the same symbol that still waits is one."""
        kind, symbol = record.request.kind, record.symbol
        if kind == "account":
            self.account.ask(record)
        elif symbol not in self._symbols:
            self._say(record, error="unknown symbol")
        elif kind == "audit":
            if not self._auditors:
                self._desk.spawn(self._audit(), "audit")
            self._auditors.setdefault(symbol, []).append(record)
        elif kind == "exchange_info":
            self._desk.spawn(self._serve_info(record), f"exchange_info {symbol}")
        elif kind in BULK_BUILDERS:
            if self._bulk.gather(record):
                self._desk.spawn(self._bulk.serve(kind), kind)
        elif (build := _BUILDERS.get(kind)) is None:
            self._say(record, error=f"unknown kind {kind}")
        elif kind == "open_interest" and self._stretched(record):
            self.shed += 1
            self._say(record, error="the budget has no room: polled up to half as often")
        else:
            key = (kind, symbol, record.request.limit)
            if key not in self._queued:
                self._queued[key] = None
                self._desk.spawn(self._serve(record, build, key), f"data {kind} {symbol}")

    async def _serve(
        self, record: DataIntentRecord, build: Callable[[str, int], Read], key: tuple[str, str, int]
    ) -> None:
        request = record.request
        try:
            read = build(record.symbol, request.limit)
            async with asyncio.timeout(self._valid_ms(record) / 1_000):
                body = await self._sender.read(read, Lane.DATA, urgency=_urgency(request), tries=1)
        except TimeoutError:
            self.shed += 1
            self._say(record, error="expired")
        except (ReadFailed, KeyError, AssertionError) as error:  # a limit the venue does not take
            self._say(record, error=str(error)[:200])
        else:
            if request.kind == "open_interest":
                self._interest_ms[record.symbol] = self._desk.clock.now_ms()
            self._say(record, body=body)
        finally:
            self._queued.pop(key, None)

    def _stretched(self, record: DataIntentRecord) -> bool:
        """True when the poll of a symbol that nobody holds must wait for the sake of the budget."""
        window, now = self._desk.lanes.window, self._desk.clock.now_ms()
        if record.request.held or not (window.alarmed or window.crowded(now)):
            return False
        last_ms = self._interest_ms.get(record.symbol)
        return last_ms is not None and now - last_ms < STRETCHED_MS

    async def _read_bulk(self, read: Read, record: DataIntentRecord) -> bytes:
        async with asyncio.timeout(self._valid_ms(record) / 1_000):
            return await self._sender.read(read, Lane.DATA, urgency=_urgency(record.request), tries=1)

    def _say_bulk(self, record: DataIntentRecord, row: bytes, error: str) -> None:
        self._say(record, body=row, error=error)

    def _valid_ms(self, record: DataIntentRecord) -> int:
        expires = record.request.expires_ms or record.at_ms + DEFAULT_VALID_MS
        return max(0, expires - self._desk.clock.now_ms())

    # ---------------------------------------------------------------------------------------------- exchangeInfo

    async def read_instruments(
        self, *, announce: bool = True, lane: Lane = Lane.DATA, tries: int = 3, timeout_ms: int = READ_MS
    ) -> None:
        """Read exchangeInfo, keep the universe's filters and the limits, tell everyone. Raises ReadFailed."""
        async with self._info_lock:
            await self._read_instruments(lane, tries=tries, timeout_ms=timeout_ms)
        if announce:
            self.announce_instruments()

    def doubt_filters(self) -> None:
        """The venue refused a price or a quantity by its filters: they may have changed, read them (domain 6.7)."""
        if self._doubted or self._desk.clock.now_ms() - self._info_ms < DOUBTED_AGAIN_MS:
            return
        self._doubted = True
        self._desk.spawn(self._read_doubted(), "exchange_info doubted")

    async def _read_doubted(self) -> None:
        try:
            await self.read_instruments(lane=Lane.QUERY)
        except ReadFailed as error:
            log.warning("exchange_info_not_read", error=str(error))
        finally:
            self._doubted = False

    async def know(self, symbols: set[str]) -> None:
        """Learn the filters of guarded symbols that are configured no longer; returns once the venue has answered."""
        missing = symbols - self._desk.instruments.keys()
        if not missing:
            return
        self._guarded = tuple(sorted(missing - self._symbols))
        for symbol in self._guarded:
            text = f"{symbol} is under guard and not configured: its stops stay, nobody moves them"
            self._desk.alert("symbol_not_configured", "critical", text, symbol)
        while True:
            try:
                await self.read_instruments(announce=False, lane=Lane.PROTECT)
                return
            except ReadFailed as error:
                log.warning("exchange_info_not_read", error=str(error))
                await asyncio.sleep(READ_AGAIN_S)

    def announce_instruments(self) -> None:
        """Tell every symbol and account what was read last."""
        for symbol in self._order:
            if symbol in self._info:
                self._publish(symbol, lines.Answer(kind="exchange_info", body=self._info[symbol]))
        known = InstrumentsKnown(at_ms=Milliseconds(self._desk.clock.now_ms()), symbols=self._info)
        self._desk.spawn(self._tell_account(known), "instruments")

    async def _read_instruments(self, lane: Lane, *, tries: int = 3, timeout_ms: int = READ_MS) -> None:
        body = await self._sender.read(requests.exchange_info(), lane, tries=tries, timeout_ms=timeout_ms)
        try:
            info = msgspec.json.decode(body, type=_ExchangeInfo)
            found = {msgspec.json.decode(raw, type=_Named).symbol: raw for raw in info.symbols}
            chosen = {symbol: found[symbol] for symbol in (*self._order, *self._guarded) if symbol in found}
        except (msgspec.DecodeError, ValueError) as error:
            raise ReadFailed(f"exchangeInfo: {error}", 0) from error
        instruments: dict[str, Instrument] = {}
        for symbol, raw in chosen.items():
            try:
                instruments[symbol] = instrument_of(raw)
            except (msgspec.DecodeError, ValueError) as error:  # one odd contract keeps no other from being guarded
                self._desk.alert("instrument_unreadable", "critical", f"filters of {symbol}: {error}", symbol)
        for symbol in (*self._order, *self._guarded):
            if symbol not in chosen:
                self._desk.alert("symbol_unknown", "warning", f"the venue does not know {symbol}", symbol)
        universe = {symbol: chosen[symbol] for symbol in self._order if symbol in chosen}
        self._info = {symbol: raw for symbol, raw in universe.items() if lines.embeddable(bytes(raw))}
        self._info_ms = self._desk.clock.now_ms()
        self._desk.know_instruments(instruments)
        self._take_limits(info.rate_limits)

    def _take_limits(self, limits: list[_RateLimit]) -> None:
        said = {(row.rate_limit_type, row.interval, row.interval_num): row.limit for row in limits if row.limit > 0}
        window = self._desk.lanes.window
        rate_limits.adopt_limits(
            window,
            weight_per_minute=said.get(("REQUEST_WEIGHT", "MINUTE", 1), window.budget.weight_per_minute),
            orders_per_10_seconds=said.get(("ORDERS", "SECOND", 10), window.budget.orders_per_10_seconds),
            orders_per_minute=said.get(("ORDERS", "MINUTE", 1), window.budget.orders_per_minute),
        )

    async def _serve_info(self, record: DataIntentRecord) -> None:
        try:
            async with asyncio.timeout(self._valid_ms(record) / 1_000), self._info_lock:
                if self._desk.clock.now_ms() - self._info_ms > FRESH_MS:
                    await self._read_instruments(Lane.DATA)
        except TimeoutError:
            self.shed += 1
            self._say(record, error="expired")
            return
        except ReadFailed as error:
            self._say(record, error=str(error)[:200])
            return
        raw = self._info.get(record.symbol)
        if raw is None:
            self._say(record, error="the venue does not know the symbol")
        else:
            self._say(record, body=bytes(raw))

    # ---------------------------------------------------------------------------------------------------- audits

    async def _audit(self) -> None:
        await asyncio.sleep(GATHER_SECONDS if self._desk.positions else self._idle_audit_wait())
        self._audited_ms = self._desk.clock.now_ms()
        askers, self._auditors = self._auditors, {}
        every = [record for records in askers.values() for record in records]
        try:
            bodies = await asyncio.gather(
                self._sender.read(requests.position_risk(), Lane.QUERY),
                self._sender.read(requests.open_orders(), Lane.QUERY),
                self._sender.read(requests.open_algo_orders(), Lane.QUERY),
            )
        except ReadFailed as error:  # a missing half proves nothing (pains 3, 11)
            for record in every:
                self._say(record, error=f"incomplete: {error}"[:200])
            return
        self._desk.on_audit(bodies[0], bodies[2])
        body = b'{"positionRisk":%b,"openOrders":%b,"openAlgoOrders":%b}' % tuple(bodies)
        for records in askers.values():
            for record in records:
                self._say(record, body=body)
        for symbol in sorted({position.symbol for position in self._desk.positions.values()} - askers.keys()):
            self._publish(symbol, _answer("audit", "", body))

    def _idle_audit_wait(self) -> float:
        """Seconds until the next audit while no position of ours is open."""
        passed = (self._desk.clock.now_ms() - self._audited_ms) / 1_000
        return max(GATHER_SECONDS, min(IDLE_AUDIT_SECONDS, IDLE_AUDIT_SECONDS - passed))

    # --------------------------------------------------------------------------------------------------- upkeep

    async def keep_instruments(self) -> None:
        """Read exchangeInfo every ten minutes (domain 6.7)."""
        while True:
            await asyncio.sleep(EXCHANGE_INFO_EVERY_S)
            try:
                await self.read_instruments()
            except ReadFailed as error:
                log.warning("exchange_info_not_read", error=str(error))

    # ---------------------------------------------------------------------------------------------------- saying

    def _say(self, record: DataIntentRecord, *, body: bytes = b"", error: str = "") -> None:
        self.served += not error
        if error:
            answer = lines.Answer(kind=record.request.kind, request=record.id, error=error)
        else:
            answer = _answer(record.request.kind, record.id, body)
        self._publish(record.symbol, answer)

    def _publish(self, symbol: str, answer: lines.Answer) -> None:
        async def say() -> None:
            try:
                await self._desk.outbox.answer(symbol, answer)
            except OutboxUnavailable as error:  # decide asks again by itself
                log.warning("answer_not_told", kind=answer.kind, symbol=symbol, error=str(error))

        self._desk.spawn(say(), f"answer {answer.kind} {symbol}")

    async def _tell_account(self, record: msgspec.Struct) -> None:
        try:
            await self._desk.outbox.account(record)
        except OutboxUnavailable as error:
            log.warning("account_not_told", error=str(error))


_BEHIND: Final = {"klines": 2, "basis_history": 3, "funding_history": 3}


def _urgency(request: RequestData) -> int:
    """
    Held symbols first; then what closes entries (a book), then candles (200 symbols' starved the books), then the past
    that is read once of every symbol.
    """
    return 0 if request.held else _BEHIND.get(request.kind, 1)


def _answer(kind: str, request: str, body: bytes) -> lines.Answer:
    if lines.embeddable(body):
        return lines.Answer(kind=kind, request=request, body=msgspec.Raw(body))
    return lines.Answer(kind=kind, request=request, error="the venue's answer is not one line of JSON")


_BUILDERS: Final[dict[str, Callable[[str, int], Read]]] = {
    "depth": lambda symbol, limit: requests.depth(symbol, limit or 1_000),
    "klines": lambda symbol, limit: requests.klines(symbol, limit or 500),
    "open_interest": lambda symbol, _: requests.open_interest(symbol),
    "basis_history": lambda symbol, limit: requests.premium_index_klines(symbol, limit or 864),
    "funding_history": lambda symbol, limit: requests.funding_rate(symbol, limit or 31),
    "open_interest_history": lambda symbol, limit: requests.open_interest_history(symbol, limit or 500),
}
