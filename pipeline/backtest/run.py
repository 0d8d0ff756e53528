"""
The only place that plays one market through the pipeline in virtual time and gathers what came of it.

Connector, account, decide and execute are the real roles (``pipeline.virtual.workers``), the venue is the simulator's
pure exchange, the log is kept in memory. Nothing in here decides: positions come from signals and from the entries that
were asked for, over the same road as a person's command.

**Proof.** Every record of the log is folded a second time from its raw bytes (``audit.replay``), as ``replay --verify``
does with a live log; the digest of each symbol's chain of decisions stands in the result. A run whose two folds differ
says so and is no result.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from connectors.exchange_simulator.candles import Candle
from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.ledger import Ledger
from connectors.exchange_simulator.synthetic import Source
from connectors.exchange_simulator.venue import Venue, VenueSettings
from pipeline.audit.fold_digest import fold_digest
from pipeline.audit.replay import Replay, Result
from pipeline.audit.sources import Entry
from pipeline.core.commands import Decision, Note, ReportTrade
from pipeline.core.events import Side
from pipeline.settings import Settings
from pipeline.virtual.clock import START_MS, VirtualLoop, run, silence
from pipeline.virtual.log import Stored, VirtualKafka
from pipeline.virtual.plugins import Plugins
from pipeline.virtual.venue import VirtualVenue
from pipeline.virtual.workers import LOG_IDENTITY, Account, Connector, Decide, Execute, Worker, World
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, ANCHORS, DECISIONS, INPUTS

Payload: TypeAlias = dict[str, Any]  # the ledger's JSON

STREAMS: Final = ("bookTicker", "markPrice@1s", "kline_5m", "aggTrade", "depth@100ms")
DRAIN_MS: Final = 600_000  # how often the log is folded the second time and let go
SETTLED_MS: Final = 15_000  # records younger than this may still be decided upon
LOOK_MS: Final = 60_000  # equity and price are noted once a minute
QUIET_MS: Final = 120_000  # at the end: so long for everything to come flat
READY_MS: Final = 180_000  # history, book and trading state come before entries are asked for
DROPPED: Final = b""


class Market(msgspec.Struct):
    """What is played: exchange times; ``shift_ms`` + data time = exchange time. ``assumed`` is said in the report."""

    symbol: str
    name: str
    row: Instrument
    source: Any  # exchange_simulator.synthetic.Source, a protocol
    length_ms: int
    shift_ms: int
    past: list[Candle] = []
    funding: list[tuple[int, int]] = []  # (exchange ms, rate e8) of settlements
    recorded: bool = False
    assumed: tuple[str, ...] = ()


class EntryRule(msgspec.Struct, frozen=True):
    """
    Positions to ask for beside the signals: every *every_ms* while the symbol is flat; 0: none.

    *side* "long", "short" or "alternate"; *notional* in whole USDT.
    """

    every_ms: int = 0
    side: str = "alternate"
    notional: int = 1_000


class Point(msgspec.Struct, frozen=True):
    """A minute of the account: exchange ms, price in ticks, equity and wallet in E8 USDT, signed lots."""

    at_ms: int
    price: int
    equity_e8: int
    wallet_e8: int
    lots: int


class Trace(msgspec.Struct):
    """What one run left behind; times in exchange ms, money in E8 USDT, prices of ``stops`` in ticks (0: none)."""

    symbol: str
    market: str
    shift_ms: int
    length_ms: int
    tick_e8: int
    step_e8: int
    assumed: tuple[str, ...]
    points: list[Point] = []
    trades: list[tuple[str, ReportTrade]] = []
    stops: dict[str, list[tuple[int, int]]] = {}
    funding: list[tuple[int, int]] = []
    fees_e8: int = 0
    notes: dict[str, int] = {}
    walls: list[tuple[int, str]] = []
    rules: dict[str, int] = {}
    naked_ms: int = 0
    lines: int = 0
    decisions: int = 0
    chain: str = ""
    equal: bool = False
    difference: str = ""
    faults: list[str] = []
    flat: bool = True


class Backtest:
    """One market, one run."""

    def __init__(
        self,
        market: Market,
        settings: Settings,
        *,
        entries: EntryRule,
        disk: Path,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> None:
        self._market = market
        self._settings = settings
        self._entries = entries
        self._disk = disk
        self._seed = seed
        self._on_progress = on_progress
        self._fold = fold_digest(settings.config_digest.encode())
        self._commands = 0
        self._fed: dict[tuple[str, int], int] = {}
        self.trace = Trace(
            symbol=market.symbol,
            market=market.name,
            shift_ms=market.shift_ms,
            length_ms=market.length_ms,
            tick_e8=market.row.tick_e8,
            step_e8=market.row.step_e8,
            assumed=market.assumed,
        )
        self._replay = Replay(
            log_identity=LOG_IDENTITY,
            fold=self._fold,
            universe=frozenset(settings.symbols),
            on_decision=self._decided,
        )

    async def main(self, loop: VirtualLoop) -> Trace:
        """Set the world up, play, bring everything flat, prove."""
        market = self._market
        kafka = self._kafka = VirtualKafka(loop, random.Random(f"{self._seed}/kafka"))
        wanted = frozenset(f"{market.symbol.lower()}@{stream}" for stream in STREAMS) | {
            "!forceOrder@arr",
            "!contractInfo",
        }
        exchange = self._exchange = Venue(
            [market.row],
            VenueSettings(seed=self._seed, recorded=market.recorded, mark_noise_ppm=0),
            routes=ROUTES,
            start_ms=START_MS,
            ledger=Ledger(self._ledger_line, keep=10_000),
            wanted=wanted.__contains__,
        )
        if market.past:
            exchange.market(market.symbol).candles.preload(market.past)
        source: Source = market.source
        self._venue = VirtualVenue(
            loop, exchange, source, random=random.Random(f"{self._seed}/venue"), tick_ms=100 if market.recorded else 250
        )
        self._world = World(loop, self._settings, self._fold, kafka, self._venue, self._disk, tick_seconds=0.5)
        self._loop = loop
        driver = loop.create_task(self._venue.run())
        workers: list[Worker] = [
            role(self._world, name)
            for name, role in (("connector", Connector), ("account", Account), ("decide", Decide), ("execute", Execute))
        ]
        if self._settings.policy.plugins:
            workers.append(Plugins(self._world, "plugins"))
        for worker in workers:
            worker.begin()
        tasks = [driver, loop.create_task(self._watch()), loop.create_task(self._funding())]
        if self._entries.every_ms:
            tasks.append(loop.create_task(self._ask()))
        await asyncio.sleep(market.length_ms / 1_000)
        for task in tasks[3:]:
            task.cancel()
        await self._flatten()
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception()  # type: ignore[misc]  # it was just seen not to be None
            task.cancel()
        self._drain(everything=True)
        self._note_point()
        for worker in workers:
            worker.process.kill()
        await asyncio.sleep(0.05)
        for worker in workers:
            worker.process.bury()
        self._conclude(self._replay.finish())
        return self.trace

    @property
    def _now_ms(self) -> int:
        return START_MS + self._loop.passed_us // 1_000

    # -------------------------------------------------------------------------------------------- what happens

    async def _watch(self) -> None:
        """Once a minute the account; every ten minutes the second fold."""
        drained_ms = self._now_ms
        while True:
            await asyncio.sleep(LOOK_MS / 1_000)
            self._note_point()
            self._on_progress(min(1.0, (self._now_ms - START_MS) / max(1, self._market.length_ms)))
            if self._now_ms - drained_ms >= DRAIN_MS:
                drained_ms = self._now_ms
                self._drain(everything=False)

    def _note_point(self) -> None:
        exchange, symbol = self._exchange, self._market.symbol
        market = exchange.market(symbol)
        wallet, lots, unrealised = exchange.account.wallet, 0, 0
        for position in exchange.account.of_symbol(market.row):
            unrealised += position.unrealised(market.mark_e8)
            lots += position.lots
        price = market.row.nearest_tick(market.mark_e8)
        self.trace.points.append(Point(self._now_ms, price, wallet + unrealised, wallet, lots))

    async def _funding(self) -> None:
        """The recorded rate of the next settlement stands until it is settled."""
        funding = self._exchange.market(self._market.symbol).funding
        for at_ms, rate_e8 in self._market.funding:
            if at_ms <= self._now_ms:
                continue
            funding.forced_e8 = rate_e8
            await asyncio.sleep((at_ms - self._now_ms) / 1_000 + 1.5)

    async def _ask(self) -> None:
        """Entries by the rule, as a person would ask."""
        rule, symbol = self._entries, self._market.symbol
        await asyncio.sleep(READY_MS / 1_000)
        while True:
            row = self._exchange.market(symbol).row
            if not any(position.lots for position in self._exchange.account.of_symbol(row)):
                long = rule.side == "long" or (rule.side == "alternate" and self._commands % 2 == 0)
                self._send(
                    records.OpenCommand(
                        command=self._name(),
                        symbol=symbol,
                        side=Side.BUY if long else Side.SELL,
                        notional=str(rule.notional),
                    )
                )
            await asyncio.sleep(rule.every_ms / 1_000)

    async def _flatten(self) -> None:
        """The data ends: what is open is closed, and waited for."""
        symbol, until = self._market.symbol, self._now_ms + QUIET_MS
        row = self._exchange.market(symbol).row
        self._send(records.CloseCommand(command=self._name(), symbol=symbol))
        while any(position.lots for position in self._exchange.account.of_symbol(row)):
            if self._now_ms >= until:
                self.trace.flat = False
                return
            await asyncio.sleep(1.0)
        await asyncio.sleep(SETTLED_MS / 1_000)

    def _name(self) -> str:
        self._commands += 1
        return f"backtest-{self._commands}"

    def _send(self, command: msgspec.Struct) -> None:
        self._kafka.append(ACCOUNT.name, 0, b"", records.encode(command))

    # ------------------------------------------------------------------------------------------- what is noted

    def _ledger_line(self, line: Payload) -> None:
        kind = line["kind"]
        if kind == "fill":
            self.trace.fees_e8 += line["fee_e8"]
        elif kind == "funding":
            self.trace.funding.append((line["at"], line["amount_e8"]))

    def _drain(self, *, everything: bool) -> None:
        """Fold the log's records again, decisions first as witnesses, and let them go."""
        settled = self._now_ms + 1 if everything else self._now_ms - SETTLED_MS
        for topic in (ANCHORS, DECISIONS, INPUTS):
            for partition in range(topic.partitions):
                kept = self._kafka.of(topic.name, partition).records
                first = self._fed.get((topic.name, partition), 0)
                for record in kept[first:]:
                    if topic is INPUTS and record.timestamp >= settled:
                        break
                    self._replay.feed(
                        Entry(topic.name, partition, record.offset, record.timestamp, record.key, record.value)
                    )
                    first += 1
                    if record.timestamp < settled:
                        kept[record.offset] = Stored(
                            topic.name, partition, record.offset, record.timestamp, b"", DROPPED
                        )
                self._fed[topic.name, partition] = first

    def _decided(self, decision: Decision) -> None:
        """A decision of the second fold."""
        note_decision(self.trace, decision)

    def _conclude(self, result: Result) -> None:
        trace = self.trace
        note_result(trace, result)
        trace.faults = [f"{name}: {error}" for name, error in self._world.faults]
        for episode in self._exchange.ledger.episodes:
            trace.stops[str(episode.opened_ms)] = [(at, ticks or 0) for at, ticks, _ in episode.triggers]
            view = episode.summary(self._now_ms)
            trace.naked_ms = max(trace.naked_ms, view["naked"]["any"]["longest_ms"])


def note_decision(trace: Trace, decision: Decision) -> None:
    """Keep what a report tells of a decision."""
    for rule in decision.rules:
        trace.rules[rule] = trace.rules.get(rule, 0) + 1
    for output, name in zip(decision.outputs, decision.ids, strict=True):
        if isinstance(output, ReportTrade):
            trace.trades.append((name, output))
        elif isinstance(output, Note):
            trace.notes[output.code] = trace.notes.get(output.code, 0) + 1
            if output.code.startswith("wall_"):
                trace.walls.append((decision.log_ms, f"{output.code} {output.text}"))


def note_result(trace: Trace, result: Result) -> None:
    """Keep what the second fold proves."""
    trace.lines, trace.decisions = result.report.lines, result.report.decisions
    trace.equal = result.report.equal
    if result.report.first_difference is not None:
        trace.difference = result.report.first_difference.words()
    elif result.other_folds:
        trace.difference = "the log was decided by another fold (other code or configuration)"
    trace.chain = result.digests.get(trace.symbol, "")


def play(
    market: Market,
    settings: Settings,
    *,
    entries: EntryRule = EntryRule(),  # noqa: B008 - frozen
    seed: int = 1,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Trace:
    """Play a market to its end."""
    with silence(), tempfile.TemporaryDirectory(prefix="perpguard-backtest-") as directory:
        one = Backtest(market, settings, entries=entries, disk=Path(directory), seed=seed, on_progress=on_progress)
        return run(one.main)
