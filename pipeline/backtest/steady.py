"""
The only place that counts what the steady state costs the venue: REST requests a minute, by the exchange's own ledger.

Connector, account, decide and execute are the real roles in virtual time (``pipeline.virtual.workers``); the exchange's
own ledger counts, not we. Every symbol is warmed up by the ordinary road (snapshot, candles, filters through the one
governor), five positions are opened by commands, then whole minutes are counted. What was saved must not have been
missed: the quality of every polled input and the audits stand beside the requests.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.instruments import default_instrument, default_symbols
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.venue import Venue, VenueSettings
from pipeline.audit.fold_digest import fold_digest
from pipeline.benchmarks.report import Measured, Options, figure
from pipeline.binance.requests import DATA_PATHS
from pipeline.core import state as core_state
from pipeline.core.data_requests import basis_past_bars
from pipeline.core.events import Side
from pipeline.core.units import ONE_E8
from pipeline.settings import load
from pipeline.virtual.clock import START_MS, VirtualLoop, run, silence
from pipeline.virtual.log import Stored, VirtualKafka
from pipeline.virtual.market import SparseMarket
from pipeline.virtual.venue import VirtualVenue
from pipeline.virtual.workers import Account, Connector, Decide, Execute, Worker, World
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, INPUTS, partition_of

Json: TypeAlias = Any  # the ledger's JSON

POSITIONS: Final = 5
SYMBOLS: Final = 200
MINUTES: Final = 30
MINUTE_MS: Final = 60_000
WARM_MINUTES: Final = 60  # 200 symbols take 23 at 60 requests a minute; more is a fault
SETTLE_MINUTES: Final = 6
STEP_MS: Final = 4_000  # each symbol's book and quote: thin, and often enough that nobody is silent
STREAMS: Final = ("bookTicker", "markPrice@1s", "kline_5m", "aggTrade", "depth@100ms")
AUDIT_PATHS: Final = ("/fapi/v3/positionRisk", "/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders")
AUDIT_LATE_MS: Final = 5_000  # a read may wait its turn
POLLED_FACTOR: Final = "O"
OPEN_TRIES: Final = 40
LOOK_S: Final = 30.0
LETTING_GO_S: Final = 60.0


class Counted(msgspec.Struct):
    """What the ledger and the states say of the minutes counted."""

    requests: list[int]
    orders: list[int]  # of these, what moves stops and targets
    data: list[int]
    weight: list[int]
    paths: dict[str, int]
    audits: int
    longest_audit_gap_ms: int
    quality: list[int]  # per mille, of open interest of every held symbol, once a minute
    shortlisted_quality: list[int]  # of every shortlisted symbol that is not held, once a minute
    kept_quality: list[int]  # of those among them that were shortlisted a minute before, too: their first read is over
    warm_minutes: float
    faults: list[str]


class _Connector(Connector):
    """Marks holes of the books too, as the real one does."""

    def _mark_holes(self) -> None:
        super()._mark_holes()
        for symbol in self.world.settings.symbols:
            line = self._public.lost(symbol, self.clock.now_ns(), f"{symbol.lower()}@depth@100ms")
            self._publish(symbol, line)


class _Decide(Decide):
    """Lets its states be looked at."""

    def state(self, symbol: str) -> core_state.SymbolState | None:
        """The state of *symbol* as it would be stored; None before its first line."""
        folding = self._foldings.get(partition_of(symbol))
        if folding is None or symbol not in folding.applied():
            return None
        return core_state.decode(folding.image(symbol))


class Steady:
    """The world of the count; the tests break its books."""

    def __init__(self, symbols: int, minutes: int, settle_minutes: int, say: Callable[[str], None]) -> None:
        names = default_symbols(symbols)
        self._minutes, self._settle_minutes, self._say = minutes, settle_minutes, say
        self._settings = load({"PERPGUARD_SYMBOLS": ",".join(names), "PERPGUARD_ROLE": "all"})
        self.names = names
        self.requests: list[Json] = []
        self._emptied: dict[int, int] = {}

    def begin(self, loop: VirtualLoop, disk: Path) -> None:
        """Start the exchange and every role."""
        rows = self._rows = [default_instrument(name) for name in self.names]
        kafka = self._kafka = VirtualKafka(loop, random.Random("steady/kafka"))
        market = SparseMarket(
            rows, random=random.Random("steady/market"), start_ms=START_MS, step_ms=STEP_MS, level_usdt=5_000
        )
        wanted = frozenset(f"{name.lower()}@{stream}" for name in self.names for stream in STREAMS)
        exchange = self.exchange = Venue(
            rows, VenueSettings(seed=1, wallet_e8=1_000_000 * ONE_E8), routes=ROUTES, start_ms=START_MS,
            ledger=Ledger(self._note, keep=10_000), wanted=wanted.__contains__,
        )  # fmt: skip
        venue = VirtualVenue(loop, exchange, market, random=random.Random("steady/venue"), tick_ms=250)
        self._world = World(loop, self._settings, fold_digest(b"steady"), kafka, venue, disk, tick_seconds=0.5)
        self._tasks = [loop.create_task(venue.run()), loop.create_task(self._empty())]
        self.connector = _Connector(self._world, "connector")
        self._decide = _Decide(self._world, "decide")
        others = (Account(self._world, "account"), Execute(self._world, "execute"))
        self._workers: list[Worker] = [self.connector, self._decide, *others]
        for worker in self._workers:
            worker.begin()

    async def end(self) -> None:
        """End every process."""
        for task in self._tasks:
            task.cancel()
        for worker in self._workers:
            worker.process.kill()
        await asyncio.sleep(0.05)
        for worker in self._workers:
            worker.process.bury()

    async def main(self, loop: VirtualLoop, disk: Path) -> Counted:
        """Warm up, open, settle, count."""
        self.begin(loop, disk)
        warm_s = await self.warm(loop)
        await self.open(POSITIONS)
        await asyncio.sleep(self._settle_minutes * 60)
        begin_ms = START_MS + loop.passed_us // 1_000
        quality: list[int] = []
        shortlisted: list[int] = []
        kept: list[int] = []
        before = self.shortlisted()
        for minute in range(self._minutes):
            await asyncio.sleep(60)
            now = self.shortlisted()
            quality += self._qualities(self.held())
            shortlisted += self._qualities(now)
            kept += self._qualities([name for name in now if name in before])
            before = now
            self._say(f"counted minute {minute + 1} of {self._minutes}")
        await self.end()
        counted = count(self.requests, begin_ms=begin_ms, minutes=self._minutes)
        counted.quality, counted.shortlisted_quality, counted.kept_quality = quality, shortlisted, kept
        counted.warm_minutes = warm_s / 60
        counted.faults = [f"{name}: {error!r}" for name, error in self._world.faults]
        return counted

    def _note(self, line: Json) -> None:
        if line["kind"] == "request":
            self.requests.append(line)

    async def warm(self, loop: VirtualLoop, *, past: bool = True) -> float:
        """Until every symbol has its book and bars, with *past* also what is read once of basis and funding."""
        cold = list(self.names)
        while True:
            await asyncio.sleep(LOOK_S)
            cold = [name for name in cold if not _is_warm(self._decide.state(name), past=past)]
            warm = len(self.names) - len(cold)
            self._say(f"{warm} of {len(self.names)} symbols are warm after {loop.time() / 60:.1f} simulated minutes")
            if not cold:
                return loop.time()
            assert loop.time() < WARM_MINUTES * 60, f"only {warm} symbols are warm after {WARM_MINUTES} minutes"

    async def open(self, positions: int) -> None:
        """So many positions by commands, as a person would ask; a symbol that is declined makes room for the next."""
        turn, tries = 0, 0
        while (missing := positions - len(self.held())) > 0:
            for row in [self._rows[(turn + step) % len(self._rows)] for step in range(missing)]:
                turn += 1
                command = records.OpenCommand(
                    command=f"steady-{turn}", symbol=row.symbol, side=Side.BUY, notional="500"
                )
                self._kafka.append(ACCOUNT.name, 0, b"", records.encode(command))
            tries += 1
            assert tries < OPEN_TRIES, f"only {positions - missing} positions were opened in {tries} tries"
            await asyncio.sleep(30)
            self._say(f"{len(self.held())} of {positions} positions are open")

    def whole(self, symbol: str) -> bool:
        """Decide has the symbol's book."""
        state = self._decide.state(symbol)
        return state is not None and state.book.whole

    def held(self) -> list[str]:
        """The symbols with a position, by the exchange."""
        exchange = self.exchange
        return [
            name
            for name in self.names
            if any(position.lots for position in exchange.account.of_symbol(exchange.market(name).row))
        ]

    def shortlisted(self) -> list[str]:
        """The symbols that are shortlisted and not held, by decide."""
        states = ((name, self._decide.state(name)) for name in self.names)
        return [name for name, state in states if state is not None and state.shortlisted and state.position is None]

    def _qualities(self, names: list[str]) -> list[int]:
        """Quality of open interest, the one factor that is fed by polling alone, of each of *names*."""
        found = []
        for name in names:
            state = self._decide.state(name)
            factor = state.scores.factors.get(POLLED_FACTOR) if state is not None and state.scores is not None else None
            found.append(factor.quality if factor is not None else 0)
        return found

    async def _empty(self) -> None:
        """What everybody has read of the log is let go: an hour of 200 symbols is a million lines."""
        while True:
            await asyncio.sleep(LETTING_GO_S)
            for partition in {partition_of(name) for name in self.names}:
                kept = self._kafka.of(INPUTS.name, partition).records
                first = self._emptied.get(partition, 0)
                last = max(first, len(kept) - 5_000)
                for offset in range(first, last):
                    one = kept[offset]
                    kept[offset] = Stored(one.topic, one.partition, one.offset, one.timestamp, b"", b"")
                self._emptied[partition] = last


def _is_warm(state: core_state.SymbolState | None, *, past: bool) -> bool:
    if state is None or state.instrument is None or state.factors is None:
        return False
    basis = state.factors.basis
    read = not past or (basis.moments.count >= basis_past_bars(state) and bool(basis.prints))
    return state.book.whole and state.bars.ready and read


def count(lines: list[Json], *, begin_ms: int, minutes: int) -> Counted:
    """What the ledger's requests say of *minutes* whole minutes from *begin_ms* on."""
    requests, orders, data, weight = ([0] * minutes for _ in range(4))
    paths: Counter[str] = Counter()
    audits: dict[str, list[int]] = {path: [] for path in AUDIT_PATHS}
    for line in lines:
        index, path = (line["at"] - begin_ms) // MINUTE_MS, line["path"]
        if not 0 <= index < minutes:
            continue
        requests[index] += 1
        orders[index] += line["method"] != "GET"
        data[index] += path in DATA_PATHS
        weight[index] += line["weight"]
        paths[f"{line['method']} {path}"] += 1
        if path in audits:
            audits[path].append(line["at"])
    end_ms = begin_ms + minutes * MINUTE_MS
    gaps = [
        after - before
        for times in audits.values()
        for before, after in zip([begin_ms, *times], [*times, end_ms], strict=True)
    ]
    return Counted(
        requests=requests,
        orders=orders,
        data=data,
        weight=weight,
        paths=dict(paths.most_common()),
        audits=min(map(len, audits.values())),
        longest_audit_gap_ms=max(gaps),
        quality=[],
        shortlisted_quality=[],
        kept_quality=[],
        warm_minutes=0.0,
        faults=[],
    )


def _share_from(qualities: list[int], least: int) -> float:
    return sum(quality >= least for quality in qualities) / len(qualities) if qualities else 1.0


def measure(
    *, symbols: int, minutes: int, settle_minutes: int = SETTLE_MINUTES, say: Callable[[str], None] = lambda text: None
) -> Counted:
    """Five positions among *symbols*, *minutes* counted after all is warm."""
    with silence(), tempfile.TemporaryDirectory(prefix="perpguard-steady-") as directory:
        one = Steady(symbols, minutes, settle_minutes, say)
        return run(lambda loop: one.main(loop, Path(directory)))


def rest(options: Options) -> Measured:
    """``perpguard bench rest``: requests a minute in the steady state with five positions and 200 symbols."""

    def say(text: str) -> None:
        print(f"rest: {text}", file=sys.stderr, flush=True)

    symbols, minutes, settle = (8, 3, 2) if options.quick else (SYMBOLS, MINUTES, SETTLE_MINUTES)
    found = measure(symbols=symbols, minutes=minutes, settle_minutes=settle, say=say)
    figures = {
        "requests_per_minute": figure([statistics.fmean(found.requests)], "1/min", must=11, aim=None),
        "between_stop_moves_per_minute": figure(
            [statistics.fmean(found.requests) - statistics.fmean(found.orders)], "1/min", must=11, aim=None
        ),
        "requests_in_the_worst_minute": figure([max(found.requests)], "1/min"),
        "of_these_orders_per_minute": figure([statistics.fmean(found.orders)], "1/min"),
        "data_requests_per_minute": figure([statistics.fmean(found.data)], "1/min", must=6.9, aim=None),
        "weight_per_minute": figure([statistics.fmean(found.weight)], "1/min"),
        "audits": figure([found.audits], "", must=minutes, aim=None),
        "longest_audit_gap_s": figure([found.longest_audit_gap_ms / 1_000], "s", must=65, aim=None),
        "least_quality_of_held": figure([min(found.quality, default=0) / 1_000], "", must=0.9, aim=None),
        "least_quality_of_shortlisted_for_a_minute": figure(
            [min(found.kept_quality, default=0) / 1_000], "", must=0.9, aim=None
        ),
        "for_a_minute_with_quality_from_0.9": figure([_share_from(found.kept_quality, 900)], ""),
        "shortlisted_with_quality_from_0.9": figure([_share_from(found.shortlisted_quality, 900)], ""),
        "shortlisted_looked_at": figure([len(found.shortlisted_quality)], ""),
        "warm_up_minutes": figure([found.warm_minutes], "min"),
    }
    paths = ", ".join(f"{path} {number}" for path, number in found.paths.items())
    conditions: dict[str, str | int | float | bool] = {
        "positions": POSITIONS,
        "symbols": symbols,
        "simulated_minutes": minutes,
        "paths": paths,
        "faults": "; ".join(found.faults) or "none",
        "not_counted": "listen key: two PUT in 30 minutes (connector and executor)",
    }
    return Measured(figures, conditions)
