"""
The only place where a log is folded again from its raw bytes and held against what was decided (promise P1).

No table, no checkpoint and no worker takes part: states start empty at the log's start, or at an anchor when the log no
longer reaches back (or ``begin_ms`` asks for it). Lines are folded by the same ``PartitionFold`` as live.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import msgspec

from pipeline.audit.account_replay import AccountReplay
from pipeline.audit.divergence import Difference, Witness
from pipeline.audit.sources import Entry
from pipeline.binance.fold import PartitionFold
from pipeline.core.commands import Decision
from pipeline.core.instruments import Instrument
from pipeline.wire.records import Anchor, SegmentSealed, decode_anchor, decode_decision, record_digest
from pipeline.wire.topics import ACCOUNT, ANCHORS, DECISIONS, INPUTS, partition_of


class Report(msgspec.Struct, frozen=True):
    """The machine-readable result (architecture section 7): ``decisions`` counts those held against the log's own."""

    lines: int
    decisions: int
    equal: bool
    first_difference: Difference | None


class Result(msgspec.Struct):
    """Everything a person may want to know beside the report."""

    report: Report
    differences: list[Difference]
    other_folds: dict[str, int]
    across: list[Difference]
    digests: dict[str, str]
    account_lines: int
    quarantined: int
    warnings: list[str]


class Replay:
    """
    Take every entry of a source in its order (``feed``), then ``finish``.

    *fold* is the digest of the running code and configuration. Decisions of another fold are compared too, but across
    folds the replay reports what differs and does not demand equality; nor does it call such a log equal.
    *on_decision* sees every decision that is folded again; *account* holds account's own lines against its fold.
    """

    def __init__(
        self,
        *,
        log_identity: str,
        fold: str,
        universe: Container[str],
        symbol: str | None = None,
        begin_ms: int | None = None,
        end_ms: int | None = None,
        on_decision: Callable[[Decision], None] | None = None,
        account: AccountReplay | None = None,
    ) -> None:
        self._account = account
        self._log_identity = log_identity
        self._fold = fold
        self._universe: Container[str] = universe if symbol is None else frozenset({symbol})
        self._symbol = symbol
        self._begin_ms = begin_ms
        self._end_ms = end_ms
        self._on_decision = on_decision
        self._partitions: dict[int, _Partition] = {}

    def feed(self, entry: Entry) -> None:
        """Take one record."""
        if entry.topic == ACCOUNT.name:
            if self._account is not None:
                self._account.feed_account(entry)
            return
        if self._account is not None and entry.topic == INPUTS.name:
            self._account.check_record(entry)
        partition = self._partitions.get(entry.partition)
        if partition is None:
            partition = self._partitions[entry.partition] = _Partition(
                fold=PartitionFold(
                    partition=entry.partition,
                    log_identity=self._log_identity,
                    fold=self._fold,
                    universe=self._universe,
                ),
                witness=Witness(
                    partition=entry.partition,
                    log_identity=self._log_identity,
                    fold=self._fold,
                    symbol=self._symbol,
                ),
                begin_ms=self._begin_ms,
                end_ms=self._end_ms,
                symbol=self._symbol,
                on_decision=self._on_decision,
            )
        partition.feed(entry)

    def instrument(self, symbol: str) -> Instrument | None:
        """What the fold knows of a symbol's grid so far."""
        partition = self._partitions.get(partition_of(symbol))
        state = partition.fold.states.get(symbol) if partition is not None else None
        return state.instrument if state is not None else None

    def finish(self) -> Result:
        """Everything was fed: the verdict."""
        differences: list[Difference] = []
        across: list[Difference] = []
        other_folds: dict[str, int] = {}
        digests: dict[str, str] = {}
        warnings: list[str] = []
        lines = compared = quarantined = 0
        for number in sorted(self._partitions):
            partition = self._partitions[number]
            partition.finish()
            witness = partition.witness
            differences += sorted(witness.differences, key=lambda row: (row.offset, row.line, row.symbol))
            across += witness.across
            for fold, count in witness.other_folds.items():
                other_folds[fold] = other_folds.get(fold, 0) + count
            digests |= {symbol: state.chain for symbol, state in sorted(partition.fold.states.items())}
            warnings += partition.warnings
            lines += partition.fold.lines
            compared += witness.compared
            quarantined += partition.quarantined
        account_lines = 0
        if self._account is not None:
            account_lines = self._account.compared
            (across if other_folds else differences).extend(self._account.differences)
            if not self._account.reaches_back:
                warnings.append("the topic account no longer reaches back to its start: its lines were not compared")
        return Result(
            report=Report(
                lines=lines,
                decisions=compared,
                equal=not differences and not other_folds,
                first_difference=differences[0] if differences else None,
            ),
            differences=differences,
            other_folds=other_folds,
            across=across,
            digests=digests,
            account_lines=account_lines,
            quarantined=quarantined,
            warnings=warnings,
        )


class _Partition:
    """One partition while it is folded again."""

    def __init__(
        self,
        *,
        fold: PartitionFold,
        witness: Witness,
        begin_ms: int | None,
        end_ms: int | None,
        symbol: str | None,
        on_decision: Callable[[Decision], None] | None,
    ) -> None:
        self.fold = fold
        self.witness = witness
        self.quarantined = 0
        self.warnings: list[str] = []
        self._begin_ms = begin_ms
        self._end_ms = end_ms
        self._symbol = symbol
        self._on_decision = on_decision
        self._anchors: list[Anchor] = []
        self._first: int | None = None
        self._take = {ANCHORS.name: self._anchor, DECISIONS.name: self._decision, INPUTS.name: self._input}

    def feed(self, entry: Entry) -> None:
        take = self._take.get(entry.topic)
        if take is not None:
            take(entry)

    def _anchor(self, entry: Entry) -> None:
        record = decode_anchor(entry.value)
        if isinstance(record, SegmentSealed):
            self.witness.learn_seal(record)
        elif record.manifest.log_identity == self.fold.log_identity:
            self._anchors.append(record)

    def _decision(self, entry: Entry) -> None:
        self.witness.learn_decision(decode_decision(entry.value))

    def _input(self, entry: Entry) -> None:
        if self._end_ms is not None and entry.append_ms > self._end_ms:
            return
        if self._first is None:
            self._first = self._start(entry)
        if entry.offset < self._first:
            return
        if entry.offset != self.fold.next_offset:
            self.warnings.append(
                f"partition {self.fold.partition}: offsets {self.fold.next_offset} to {entry.offset - 1} are not there"
            )
        self.witness.check_record(
            offset=entry.offset,
            digest=record_digest(offset=entry.offset, append_ms=entry.append_ms, value=entry.value),
        )
        applied = self.fold.apply_record(offset=entry.offset, append_ms=entry.append_ms, value=entry.value)
        self.quarantined += len(applied.quarantined)
        for decision in applied.decisions:
            self.witness.check_decision(decision)
            if self._on_decision is not None:
                self._on_decision(decision)

    def _start(self, first: Entry) -> int:
        """Where folding starts: the log's start, else the right anchor; returns the first offset to fold."""
        usable = [row for row in self._anchors if row.manifest.next_offset >= first.offset]
        if self._begin_ms is not None:
            usable = [row for row in usable if row.at_ms <= self._begin_ms]
            anchor = usable[-1] if usable else None
        else:
            anchor = usable[0] if usable and first.offset > 0 else None
        if anchor is None:
            if first.offset > 0:
                self.warnings.append(
                    f"partition {self.fold.partition}: the log begins at {first.offset} and no anchor fits: "
                    "states start empty, decisions may differ"
                )
            self.fold.next_offset = first.offset
            return first.offset
        for symbol, image in anchor.states.items():
            if self._symbol in {None, symbol}:
                self.fold.load_state(symbol, image)
        applied = {symbol: place for symbol, place in anchor.manifest.applied.items() if symbol in self.fold.states}
        return self.fold.resume(msgspec.structs.replace(anchor.manifest, applied=applied))

    def finish(self) -> None:
        if self._first is not None:
            self.witness.finish(first_offset=self._first, next_offset=self.fold.next_offset)
