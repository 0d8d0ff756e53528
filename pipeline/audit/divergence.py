"""
The only place that holds what was decided against what folding again decides, and names the first difference.

Three witnesses stand in the log: ``decisions`` (what was decided), ``SegmentSealed`` in ``anchors`` (the digest of
every record that was read, so a changed byte is found even where it decides nothing), and the chained and state digests
inside the decisions. Readers drop repeats: a worker that restarts decides again, and must have said the same.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

import msgspec

from pipeline.core.commands import Decision
from pipeline.wire.records import SegmentSealed

Place = tuple[int, int, str]  # (offset, line, symbol)
BEFORE_ALL: Final[Place] = (-1, -1, "")
SHOWN_CHARACTERS: Final = 120  # of a long value in one line for people
DIGEST_DIGITS: Final = 16  # ``wire.records.record_digest``


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    Where the log and its fold part: ``kind`` record (other bytes than were read), decision (another decision),
    missing (decided now, never then), unfounded (decided then, never now), contradiction (two decisions at one place),
    account (a line of account that its own fold does not give),
    across (another decision, but made by another fold: reported, not held against it).
    """

    kind: str
    partition: int
    offset: int
    line: int = -1
    symbol: str = ""
    field: str = ""
    expected: str = ""
    found: str = ""

    def words(self) -> str:
        """One line for people."""
        place = f"{self.partition}/{self.offset}" + (f"/{self.line} {self.symbol}" if self.line >= 0 else "")
        expected, found = _where_they_part(self.expected, self.found)
        return f"{self.kind} at {place}: {self.field} was {expected!r}, is {found!r}"


def _where_they_part(expected: str, found: str) -> tuple[str, str]:
    """Two long texts cut to the neighbourhood of their first difference."""
    same = next((index for index, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), 0)
    if max(len(expected), len(found)) <= SHOWN_CHARACTERS:
        return expected, found
    begin = max(same - SHOWN_CHARACTERS // 3, 0)

    def cut(text: str) -> str:
        shown = text[begin : begin + SHOWN_CHARACTERS]
        return ("…" if begin else "") + shown + ("…" if len(text) > begin + SHOWN_CHARACTERS else "")

    return cut(expected), cut(found)


class _Digests:
    """Digest of each sealed offset, eight bytes each: three days of a busy partition are millions of records."""

    def __init__(self) -> None:
        self._first = 0
        self._values = array("Q")

    def learn(self, offset: int, digest: str) -> str:
        """Keep *digest* unless the offset has one; returns the one that is kept."""
        if not self._values:
            self._first = offset
        if offset < self._first:  # a restart far back: rare
            self._values = array("Q", bytes(8 * (self._first - offset))) + self._values
            self._first = offset
        place = offset - self._first
        if place >= len(self._values):
            self._values.frombytes(bytes(8 * (place + 1 - len(self._values))))
        if not self._values[place]:
            self._values[place] = int(digest, 16)
        return f"{self._values[place]:0{DIGEST_DIGITS}x}"

    def get(self, offset: int) -> str:
        """The digest of an offset, empty when it is not sealed."""
        place = offset - self._first
        if not 0 <= place < len(self._values) or not self._values[place]:
            return ""
        return f"{self._values[place]:0{DIGEST_DIGITS}x}"


class Witness:
    """
    What the log says about one partition. ``learn_decision`` and ``learn_seal`` in any order, then ``check_record`` and
    ``check_decision`` in log order, then ``finish``.
    """

    def __init__(self, *, partition: int, log_identity: str, fold: str, symbol: str | None = None) -> None:
        self.partition = partition
        self.differences: list[Difference] = []
        self.other_folds: dict[str, int] = {}  # decisions of another fold: compared, reported, equality not demanded
        self.across: list[Difference] = []  # where those say something else than this fold
        self.compared = 0
        self._identity = log_identity
        self._fold = fold
        self._symbol = symbol
        self._decisions: dict[Place, Decision] = {}
        self._digests = _Digests()
        self._last: Place = BEFORE_ALL
        self._last_sealed = -1

    def learn_decision(self, decision: Decision) -> None:
        """A record of ``decisions``; a repeat must be equal, unless another fold said it."""
        if self._symbol is not None and decision.symbol != self._symbol:
            return
        place = (decision.offset, decision.line, decision.symbol)
        known = self._decisions.get(place)
        if known is not None and known.fold == decision.fold and known != decision:
            self._differ("contradiction", place, *_first_field(known, decision))
        if known is None or known.fold != decision.fold:
            self._decisions[place] = decision
        self._last = max(self._last, place)

    def learn_seal(self, sealed: SegmentSealed) -> None:
        """A seal; two digests of one record must be equal."""
        if sealed.log_identity != self._identity:
            return  # an older log of the same name
        for offset, digest in enumerate(sealed.digests, sealed.first_offset):
            known = self._digests.learn(offset, digest)
            if known != digest:
                self._differ("contradiction", (offset, -1, ""), "digest", known, digest)
            self._last_sealed = max(self._last_sealed, offset)

    def check_record(self, *, offset: int, digest: str) -> None:
        """A record as it stands in the log now. Unsealed records (the last moment before a crash) pass."""
        sealed = self._digests.get(offset)
        if sealed and sealed != digest:
            self._differ("record", (offset, -1, ""), "bytes", sealed, digest)

    def check_decision(self, decision: Decision) -> None:
        """What folding again decides at a place."""
        place = (decision.offset, decision.line, decision.symbol)
        then = self._decisions.pop(place, None)
        if then is None:
            # What lies beyond everything the worker has said is not decided yet, no difference.
            if place <= self._last or decision.offset <= self._last_sealed:
                self._differ("missing", place, "decision", "", _summary(decision))
            return
        self.compared += 1
        foreign = then.fold != self._fold
        if foreign:
            self.other_folds[then.fold] = self.other_folds.get(then.fold, 0) + 1
            decision = msgspec.structs.replace(decision, fold=then.fold)
        if then != decision:
            self._differ("across" if foreign else "decision", place, *_first_field(then, decision))

    def finish(self, *, first_offset: int, next_offset: int) -> None:
        """The records from *first_offset* to *next_offset* were folded: what was decided there must have been met."""
        for place, decision in self._decisions.items():
            if first_offset <= place[0] < next_offset and decision.fold == self._fold:
                self._differ("unfounded", place, "decision", _summary(decision), "")

    def _differ(self, kind: str, place: Place, field: str, expected: str, found: str) -> None:
        (self.across if kind == "across" else self.differences).append(
            Difference(
                kind=kind,
                partition=self.partition,
                offset=place[0],
                line=place[1],
                symbol=place[2],
                field=field,
                expected=expected,
                found=found,
            )
        )

    @property
    def first(self) -> Difference | None:
        """The first difference in log order; of one record, its bytes come before what they led to."""
        if not self.differences:
            return None
        return min(self.differences, key=lambda row: (row.offset, row.line, row.symbol))


def _summary(decision: Decision) -> str:
    return ", ".join(type(output).__name__ for output in decision.outputs) or "state digest"


def _first_field(then: Decision, now: Decision) -> tuple[str, str, str]:
    """The first field in which two decisions differ, with both values as text."""
    for field in Decision.__struct_fields__:
        before: Any = getattr(then, field)  # Any: fields of several types
        after: Any = getattr(now, field)
        if before != after:
            return field, _text(before), _text(after)
    return "", "", ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
