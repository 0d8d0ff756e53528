"""The only place where the decide role is put together: the fold of ``inputs`` as a guarded agent, ticks, views."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Final

from pipeline.agents.views import ViewClock
from pipeline.binance.fold import PartitionFold
from pipeline.core import engine
from pipeline.core import state as states
from pipeline.core.commands import Decision
from pipeline.core.events import FeedLost, Stamp
from pipeline.core.units import Milliseconds
from pipeline.settings import Settings
from pipeline.streaming.agent import GuardedAgent
from pipeline.streaming.app import WorkerApp
from pipeline.streaming.folding import View
from pipeline.streaming.guard import Position
from pipeline.streaming.lines import LinePublisher
from pipeline.streaming.log_ranges import LogRanges
from pipeline.streaming.producer import OutputProducer
from pipeline.streaming.tables import BytesTable
from pipeline.wire.lines import EVERY_SYMBOL, symbol_field
from pipeline.wire.outputs import Outgoing, factors_record, quarantine_record, records_of, seal_record
from pipeline.wire.records import Anchor, Manifest, encode
from pipeline.wire.topics import ANCHORS, INPUTS, INTENTS

TICK_SECONDS: Final = 0.25
VIEWS: Final = ("prices", "books", "factors", "positions")


class DecideFolding:
    """``PartitionFold`` as the runner drives it (``streaming.folding.Folding``)."""

    def __init__(self, partition: int, log_identity: str, *, fold: str, universe: Container[str]) -> None:
        self.fold = fold
        self._fold = PartitionFold(partition=partition, log_identity=log_identity, fold=fold, universe=universe)
        self._views = ViewClock()
        self._changed: dict[str, None] = {}
        self._held: dict[str, bytes] = {}  # symbols with a position → how their lines name them

    def restore(self, key: str, image: bytes) -> Position:
        """Take over a stored state."""
        position = self._fold.load_state(key, image)
        self._note_held(key)
        return position

    def presses(self, value: bytes) -> bool:
        """True for a record with a line of a symbol that has a position: it may move a stop."""
        return any(name in value for name in self._held.values())

    def _note_held(self, symbol: str) -> None:
        state = self._fold.states.get(symbol)
        if state is None or state.position is None:
            self._held.pop(symbol, None)
        else:
            self._held[symbol] = symbol_field(symbol)

    def start(self, offset: int) -> None:
        """The next record will be the one at *offset*."""
        self._fold.next_offset = offset

    def apply(self, *, offset: int, append_ms: int, value: bytes) -> list[Outgoing]:
        """Fold one record; intents come first, whatever else the same record led to."""
        applied = self._fold.apply_record(offset=offset, append_ms=append_ms, value=value)
        outputs = self._outputs(applied.decisions)
        outputs += [factors_record(record, self._fold.partition) for record in applied.factors]
        outputs += [quarantine_record(record) for record in applied.quarantined]
        if applied.sealed is not None:
            outputs.append(seal_record(applied.sealed))
        return outputs

    def _outputs(self, decisions: Iterable[Decision]) -> list[Outgoing]:
        intents: list[Outgoing] = []
        others: list[Outgoing] = []
        for decision in decisions:
            self._changed[decision.symbol] = None
            self._note_held(decision.symbol)
            for outgoing in records_of(decision, self._fold.log_identity):
                (intents if outgoing.topic is INTENTS else others).append(outgoing)
        return intents + others

    def turns(self) -> tuple[str, ...]:
        """The symbols whose scores the next tick line shall ask for."""
        return self._fold.turns()

    def declare_gap(self, *, offset: int, lost: int) -> list[Outgoing]:
        """
        Every symbol that has not applied the last lost record loses all its feeds: entries close, books and bars are
        asked for anew, positions are read from the venue. The place of this decision is the last lost record's.
        """
        decisions: list[Decision] = []
        for symbol in sorted(self._fold.states):
            state = self._fold.states[symbol]
            if state.applied >= (offset - 1, 0):
                continue
            stamp = Stamp(
                self._fold.partition, offset - 1, 0, Milliseconds(state.log_ms), Milliseconds(state.append_ms)
            )
            reason = f"{lost} records are gone from the log"
            decision = engine.conclude(
                state,
                [FeedLost(stream=stream, reason=reason) for stream in engine.LOST_STREAMS],
                stamp,
                log_identity=self._fold.log_identity,
                fold=self.fold,
            )
            if decision is not None:
                decisions.append(decision)
        return self._outputs(decisions)

    def applied(self) -> Mapping[str, Position]:
        """The position of every symbol."""
        return {symbol: state.applied for symbol, state in self._fold.states.items()}

    def image(self, key: str) -> bytes:
        """The stored form of a symbol's state."""
        return self._fold.encode_state(key)

    def seal(self) -> list[Outgoing]:
        """The digests of the records not yet sealed."""
        sealed = self._fold.seal()
        return [] if sealed is None else [seal_record(sealed)]

    def anchor(self, manifest: Manifest, *, at_ms: int) -> list[Outgoing]:
        """All states, from which a replay may start."""
        everything = self._fold.states
        anchor = Anchor(
            manifest=manifest,
            states={symbol: states.encode(everything[symbol]) for symbol in sorted(everything)},
            digests={symbol: states.digest(everything[symbol]) for symbol in sorted(everything)},
            at_ms=Milliseconds(at_ms),
        )
        return [Outgoing(topic=ANCHORS, partition=manifest.partition, key=b"anchor", value=encode(anchor))]

    def views(self, *, now_ms: int) -> Iterable[View]:
        """The rows that are due."""
        changed, self._changed = list(self._changed), {}
        return self._views.rows(self._fold.states, changed, now_ms=now_ms)


def register(
    app: WorkerApp,
    settings: Settings,
    *,
    fold: str,
    log_identity: Callable[[], str],
    incarnation: str,
) -> GuardedAgent:
    """Put decide on *app*: its producer, tables, agent, ticks. *fold* names the code and configuration that decide."""
    producer = OutputProducer(settings, role="decide")
    ranges = LogRanges(settings)
    ticks = LinePublisher(producer, source=f"decide/{settings.instance}", incarnation=incarnation)
    universe = frozenset(settings.symbols)

    async def tick(partition: int, now_ms: int) -> Any:  # Any: a future nobody reads
        runner = agent.runners.get(partition)
        turns = runner.folding.turns() if runner is not None and isinstance(runner.folding, DecideFolding) else ()
        return ticks.publish(EVERY_SYMBOL, partition=partition, tick=now_ms, turns=turns)

    app.before_start += [producer.start, ranges.start]
    agent = GuardedAgent(
        app,
        topic=INPUTS,
        checkpoints=BytesTable(app, "checkpoints"),
        views={name: BytesTable(app, name) for name in VIEWS},
        producer=producer,
        ranges=ranges,
        make_folding=lambda partition, identity: DecideFolding(partition, identity, fold=fold, universe=universe),
        log_identity=log_identity,
        tick=tick,
        tick_seconds=TICK_SECONDS,
    )
    app.before_stop += [ticks.flush, producer.stop, ranges.stop]
    return agent
