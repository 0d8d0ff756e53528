"""
The only place where records of ``inputs`` become decisions: one partition, all its symbols, whatever bytes come.

``PartitionFold`` owns the states of one partition. It does no I/O and reads no clock; the streaming runner and the
replay drive it alike. What happens to a line, in this order:

1. Bytes that are no line, a line of none or several kinds, a kind its writer may not write, a symbol nobody asked for:
   quarantined with the bytes, the place and the reason. The rest of the record is folded.
2. A line at or below the symbol's applied position was folded before (a restart from a checkpoint): skipped.
3. A running number at or below the last of its source and incarnation: a repeat, dropped. A jump: ``SourceGap`` first.
4. Decoding: ``Malformed`` frames and unreadable answers are folded as such (their feed is not whole) *and* quarantined;
   in a flood (the venue changed a field of every frame) only every thousandth, the bytes stand in the log anyway.
5. ``engine.conclude``. Whatever it raises is our own fault: the symbol is halted, that is recorded, the others go on.

A line for every symbol (``*``) meets the partition's states in the order of their names.
"""

from __future__ import annotations

from collections.abc import Container
from hashlib import blake2b
from typing import Final

import msgspec

from pipeline.binance.answers import UNREADABLE
from pipeline.binance.decode import FrameDecoder, decoder_of
from pipeline.binance.line_events import EVENTS, FOR_EVERY_SYMBOL, kind_of, why_refused
from pipeline.core import engine
from pipeline.core import state as states
from pipeline.core.commands import Decision
from pipeline.core.events import (
    DataFailed,
    Event,
    Malformed,
    SourceGap,
    Stamp,
)
from pipeline.core.factor_feed import REFERENCES, is_due
from pipeline.core.factor_values import provisional
from pipeline.core.factors.parameters import parameters_of
from pipeline.core.identity import cause
from pipeline.core.instruments import Instrument
from pipeline.core.scores import Scores, vector_of
from pipeline.core.state import SymbolState
from pipeline.core.units import E8, Milliseconds
from pipeline.wire import lines
from pipeline.wire.lines import EVERY_SYMBOL, WRITERS, Line
from pipeline.wire.records import (
    Anchor,
    FactorsRecord,
    Manifest,
    QuarantineRecord,
    SegmentSealed,
    factor_rows,
    record_digest,
)
from pipeline.wire.topics import partition_of

SEAL_RECORDS: Final = 256  # a seal covers at most this many records
SEAL_MS: Final = 1_000  # and at most about this much append time
QUARANTINED_BYTES: Final = 512 * 1024  # of a refused line at most: base64 of it must fit a record of 1 MB
FLOOD_LINES: Final = 1_000  # refused lines of one symbol: from here on only every so many is copied to quarantine
STRANGERS: Final = 1_000  # symbols outside the universe that are told apart
MAX_NANOSECONDS: Final = 2**63 - 1
NAMED_CALLS: Final = 4  # ticks until a symbol may be named again whose line has not come back
USER_EVENT: Final = b'{"e":"'  # user events come bare, market frames in combined form
HEARD_EVENTS: Final = 128  # user events of a symbol by which repeats are told: minutes of them, at our pace of orders


class Applied(msgspec.Struct):
    """
    What one record led to, in the order of its lines. ``sealed`` is set now and then (``PartitionFold.seal``).

    ``decisions`` go out by ``wire.outputs.records_of``, ``quarantined`` to ``quarantine``, ``sealed`` to ``anchors``,
    ``factors`` to ``factors``.
    """

    decisions: list[Decision]
    quarantined: list[QuarantineRecord]
    sealed: SegmentSealed | None = None
    factors: list[FactorsRecord] = msgspec.field(default_factory=list)


class _Source(msgspec.Struct, frozen=True, gc=False):
    """What is known of a ``src`` text: which kinds it may write, and its keys in ``SymbolState.sources``."""

    kinds: frozenset[str]
    own: str
    every: str


class PartitionFold:
    """
    The fold of one partition. Life: ``load_state`` for each stored symbol, ``resume(manifest)``, then ``apply_record``
    for each record from ``next_offset`` on, without holes (the continuity guard holds them).

    ``dirty`` names the symbols that changed since ``take_dirty``. A checkpoint round is: ``seal()`` and its record,
    acknowledgement of all outputs, ``take_dirty()`` with ``encode_state`` of each, ``manifest()``.
    """

    def __init__(self, *, partition: int, log_identity: str, fold: str, universe: Container[str]) -> None:
        self.partition = partition
        self.log_identity = log_identity
        self.fold = fold
        self.states: dict[str, SymbolState] = {}
        self.next_offset = 0
        self.lines = 0
        self.dirty: dict[str, None] = {}
        self._universe = universe
        self._decoders: dict[str, FrameDecoder] = {}
        self._sources: dict[str, _Source] = {}
        self._strangers: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._unsealed: list[str] = []
        self._first_unsealed = 0
        self._sealed_ms = 0
        self._calls = 0
        self._named: dict[str, tuple[int, Scores | None]] = {}  # call, and the scores known then

    # ------------------------------------------------------------------------------------------------------ records

    def apply_record(self, *, offset: int, append_ms: int, value: bytes) -> Applied:
        """Fold one record; never raises for bad input. *append_ms* is the record's LogAppendTime."""
        assert offset >= self.next_offset, (offset, self.next_offset)
        applied = Applied(decisions=[], quarantined=[])
        for number, raw in enumerate(lines.split(value)):
            self._apply_line(raw, offset, number, append_ms, applied)
        self.next_offset = offset + 1
        if self._unsealed and offset != self._first_unsealed + len(self._unsealed):
            applied.sealed = self.seal()  # a declared gap of the log: a seal names its records by their offsets
        if not self._unsealed:
            self._first_unsealed = offset
            self._sealed_ms = append_ms
        self._unsealed.append(record_digest(offset=offset, append_ms=append_ms, value=value))
        if applied.sealed is None and (len(self._unsealed) >= SEAL_RECORDS or append_ms >= self._sealed_ms + SEAL_MS):
            applied.sealed = self.seal()
        return applied

    def _apply_line(self, raw: bytes, offset: int, number: int, append_ms: int, applied: Applied) -> None:
        self.lines += 1
        try:
            line = lines.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._quarantine(applied, raw, offset, number, append_ms, source="?", reason=f"no line: {error}")
            return
        frame = bytes(line.frame)
        kind = kind_of(line, frame)
        source = self._sources.get(line.src) or self._learn_source(line.src)
        if kind not in source.kinds or not 0 < line.at <= MAX_NANOSECONDS or not 0 < line.n <= MAX_NANOSECONDS:
            reason = why_refused(line, kind)
            self._quarantine(applied, raw, offset, number, append_ms, source=line.src, reason=reason, symbol=line.sym)
            return
        stamp = Stamp(self.partition, offset, number, line.at // 1_000_000, append_ms)  # type: ignore[arg-type]  # hot path
        if line.sym == EVERY_SYMBOL:
            if kind not in FOR_EVERY_SYMBOL:
                reason = f"{kind}: a line of this kind is for one symbol"
                self._quarantine(applied, raw, offset, number, append_ms, source=line.src, reason=reason)
                return
            for symbol in sorted(self.states):
                self._meet(self.states[symbol], line, kind, source.every, frame, raw, stamp, applied)
            return
        state = self.states.get(line.sym)
        if state is None:
            state = self._admit(line, raw, stamp, applied)
            if state is None:
                return
        self._meet(state, line, kind, source.own, frame, raw, stamp, applied)

    def _meet(  # noqa: PLR0917 - the hot path: positional
        self,
        state: SymbolState,
        line: Line,
        kind: str,
        source: str,
        frame: bytes,
        raw: bytes,
        stamp: Stamp,
        applied: Applied,
    ) -> None:
        """Let one line meet one state."""
        if (stamp.offset, stamp.line) <= state.applied:
            return
        known = state.sources.get(source)
        events: list[Event] = []
        if known is not None:
            incarnation, last = known
            expected = last + 1 if incarnation == line.inc else 1
            if line.n < expected:
                return
            if line.n > expected:
                events.append(SourceGap(source=line.src, missing=line.n - expected))
        state.sources[source] = (line.inc, line.n)
        shown = state.shown
        try:
            if frame:
                instrument = state.instrument
                if instrument is not None and not (frame.startswith(USER_EVENT) and _heard(state, frame)):
                    decoder = self._decoders.get(state.symbol)
                    if decoder is None or decoder.instrument is not instrument:
                        decoder = self._decoder(state, instrument)
                    event = decoder.frame(frame)
                    if event is not None:
                        events.append(event)
            else:
                events += EVENTS[kind](state, line, stamp)
            decision = engine.conclude(state, events, stamp, log_identity=self.log_identity, fold=self.fold)
        except Exception as error:  # noqa: BLE001 - re-stated as a record: a fault of ours halts its symbol, is told
            # as a decision, and never becomes "no exit" nor the end of the other symbols (architecture 2.3). What the
            # half-folded line left in the state no longer decides anything: a halted symbol only takes closes by hand.
            decision = engine.halt(state, stamp, _fault(error), log_identity=self.log_identity, fold=self.fold)
        self.dirty[state.symbol] = None
        if decision is not None:
            applied.decisions.append(decision)
        if state.shown is not shown and state.shown is not None and not state.halted:
            applied.factors.append(_published(state, stamp))
        for event in events:
            if type(event) is Malformed or type(event) is DataFailed:
                self._quarantine_refused(event, line, state.symbol, raw, stamp, applied)

    def _decoder(self, state: SymbolState, instrument: Instrument) -> FrameDecoder:
        """A new decoder: the symbol is new here, or its instrument changed."""
        decoder = self._decoders[state.symbol] = decoder_of(state.symbol, instrument)
        state.instrument = decoder.instrument  # equal; the same object, so that the next look is by identity
        return decoder

    def _admit(self, line: Line, raw: bytes, stamp: Stamp, applied: Applied) -> SymbolState | None:
        """The state of a symbol that appears for the first time, None when it is none of ours."""
        symbol = line.sym
        home = partition_of(symbol)
        if symbol in self._universe and home == self.partition:
            state = self.states[symbol] = engine.new_state(symbol, log_identity=self.log_identity)
            return state
        if symbol in self._strangers or len(self._strangers) < STRANGERS:
            seen = self._strangers[symbol] = self._strangers.get(symbol, 0) + 1
        else:
            seen = 0  # too many to tell apart: their bytes stand in the log, which is all that can be promised
        if seen and seen == 10 ** (len(str(seen)) - 1):  # the 1st, 10th, 100th …: a flood must not fill the topic
            reason = (
                f"belongs to partition {home}, was written to {self.partition}"
                if symbol in self._universe
                else "a symbol outside the configured universe"
            )
            self._quarantine(
                applied, raw, stamp.offset, stamp.line, stamp.append_ms,
                source=line.src, reason=f"{reason} (line {seen} of this symbol)", symbol=symbol,
            )  # fmt: skip
        return None

    def _learn_source(self, text: str) -> _Source:
        writer = text.partition("/")[0]
        kinds = frozenset(kind for kind, writers in WRITERS.items() if writer in writers)
        source = _Source(kinds=kinds, own=text, every=f"{text}*")
        if len(self._sources) < STRANGERS:
            self._sources[text] = source
        return source

    def _quarantine_refused(  # noqa: PLR0917 - only passed on
        self, event: Malformed | DataFailed, line: Line, symbol: str, raw: bytes, stamp: Stamp, applied: Applied
    ) -> None:
        """A line whose body was refused; an answer that merely failed (shed, expired) has no bytes to keep."""
        if isinstance(event, Malformed):
            reason = f"{event.stream}: {event.reason}"
        elif event.reason.startswith(UNREADABLE):
            reason = f"answer {event.kind}: {event.reason}"
        else:
            return
        seen = self._refused[symbol] = self._refused.get(symbol, 0) + 1
        if seen > FLOOD_LINES:
            if seen % FLOOD_LINES:
                return
            reason = f"{reason} (line {seen} of this symbol that was refused)"
        self._quarantine(
            applied, raw, stamp.offset, stamp.line, stamp.append_ms, source=line.src, reason=reason, symbol=symbol
        )

    def _quarantine(
        self,
        applied: Applied,
        raw: bytes,
        offset: int,
        number: int,
        append_ms: int,
        *,
        source: str,
        reason: str,
        symbol: str = "",
    ) -> None:
        if len(raw) > QUARANTINED_BYTES:
            reason = f"{reason} (first {QUARANTINED_BYTES} of {len(raw)} bytes)"
        applied.quarantined.append(
            QuarantineRecord(
                source=source[:200],
                reason=reason[:1_000],
                at_ms=Milliseconds(append_ms),
                payload=raw[:QUARANTINED_BYTES],
                symbol=symbol[:40],
                cause=cause(partition=self.partition, offset=offset, line=number),
            )
        )

    # ------------------------------------------------------------------------------------------------- turns of factors

    def turns(self) -> tuple[str, ...]:
        """
        The symbols that the next tick line shall name: those whose scores are due, Bitcoin and Ether first.

        One that was named lately waits, because its line may still be on the way. Nothing is decided here: what counts
        is the line, and a symbol that is never named is only scored later.
        """
        self._calls += 1
        found: list[str] = []
        limit = 0
        for symbol in sorted(self.states, key=_references_first):
            state = self.states[symbol]
            limit = limit or state.policy.factor_turns_per_tick
            if len(found) >= limit:
                break
            named, before = self._named.get(symbol, (-NAMED_CALLS, None))
            if is_due(state) and not (self._calls < named + NAMED_CALLS and state.scores is before):
                found.append(symbol)
                self._named[symbol] = (self._calls, state.scores)
        return tuple(found)

    # -------------------------------------------------------------------------------------- checkpoints, seals, anchors

    def encode_state(self, symbol: str) -> bytes:
        """The stored form of a symbol's state (table ``checkpoints``)."""
        return states.encode(self.states[symbol])

    def load_state(self, symbol: str, data: bytes) -> tuple[int, int]:
        """Take a stored state; returns the (offset, line) it has applied. Raises msgspec.DecodeError."""
        state = states.decode(data)
        assert state.symbol == symbol, (state.symbol, symbol)
        self.states[symbol] = state
        return state.applied

    def resume(self, manifest: Manifest) -> int:
        """
        Go on behind *manifest*, once the states are loaded: returns and sets ``next_offset``.

        A stored state older than the manifest says (a frozen worker that woke up and wrote late) moves the start back
        to that state's own position; one that is missing, to the log's start. Every other symbol skips what it has
        applied.
        """
        assert manifest.log_identity == self.log_identity, (manifest.log_identity, self.log_identity)
        assert manifest.partition == self.partition, (manifest.partition, self.partition)
        start = manifest.next_offset
        for symbol, position in manifest.applied.items():
            state = self.states.get(symbol)
            if state is None:
                start = 0
            elif state.applied < tuple(position):
                # Lines of a record are folded together: the record of the last line applied may hold more of them.
                start = min(start, max(state.applied[0], 0))
        self.next_offset = start
        return start

    def take_dirty(self) -> list[str]:
        """Symbols whose state changed since the last call, in the order of their first change."""
        symbols = list(self.dirty)
        self.dirty.clear()
        return symbols

    def manifest(self, *, clean: bool = False) -> Manifest:
        """The manifest of everything applied so far."""
        return Manifest(
            log_identity=self.log_identity,
            fold=self.fold,
            partition=self.partition,
            next_offset=self.next_offset,
            applied={symbol: self.states[symbol].applied for symbol in sorted(self.states)},
            clean=clean,
        )

    def seal(self) -> SegmentSealed | None:
        """The digests of the records since the last seal, None when there are none; ask before each manifest."""
        if not self._unsealed:
            return None
        sealed = SegmentSealed(
            log_identity=self.log_identity,
            partition=self.partition,
            first_offset=self._first_unsealed,
            digests=self._unsealed,
        )
        self._unsealed = []
        return sealed

    def anchor(self, *, at_ms: int) -> Anchor:
        """All states with their digests and the manifest (topic ``anchors``, hourly)."""
        return Anchor(
            manifest=self.manifest(),
            states={symbol: states.encode(self.states[symbol]) for symbol in sorted(self.states)},
            digests={symbol: states.digest(self.states[symbol]) for symbol in sorted(self.states)},
            at_ms=Milliseconds(at_ms),
        )


def _heard(state: SymbolState, frame: bytes) -> bool:
    """
    True when this very user event came before: two connections bring each, a stalled one late (architecture 2.2). Two
    events of one millisecond differ somewhere, so the bytes tell.
    """
    name = blake2b(frame, digest_size=8).hexdigest()
    if name in state.heard:
        return True
    state.heard.append(name)
    del state.heard[:-HEARD_EVENTS]
    return False


def _references_first(symbol: str) -> tuple[bool, str]:
    return symbol not in REFERENCES, symbol


def _published(state: SymbolState, stamp: Stamp) -> FactorsRecord:
    """The record of the scores that were just computed."""
    factors, scores, shown = state.factors, state.scores, state.shown
    assert factors is not None and scores is not None and shown is not None, state.symbol
    parameters = parameters_of(factors.overrides)
    vector = vector_of(factors, now_ms=scores.at_ms, parameters=parameters)
    forming = state.forming
    early = {} if forming is None else provisional(factors, forming, now_ms=scores.at_ms, parameters=parameters)
    return FactorsRecord(
        symbol=state.symbol,
        cause=cause(partition=stamp.partition, offset=stamp.offset, line=stamp.line),
        at_ms=Milliseconds(scores.at_ms),
        price=E8(shown.price_e8),
        factors=factor_rows(vector.factors),
        scores=scores,
        provisional=factor_rows(early),
    )


def _fault(error: Exception) -> str:
    """A fault as it stands in the record: kind, words and the place in the code, no addresses that differ per run."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:200]} at {place}"
