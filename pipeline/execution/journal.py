"""
The only place that remembers what was asked and sent: the index over ``attempts``, rebuilt from its records at start.

It answers: is this intent known and with which bytes, which attempt number comes next, which positions are open and
what was ever placed for them, which attempts have no end, which intents are not settled.

An attempt of an older epoch behind a newer epoch record is void as a right, not as a fact: its writer may have sent it
while its lease still ran. So it counts as known and in doubt, which is the safe reading of both.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Final

import msgspec

from pipeline.core.commands import MoveStop, OpenBracket
from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.identity import DIGITS, intent_of
from pipeline.wire.records import (
    Attempted,
    AttemptEnded,
    AttemptRecord,
    EpochEnded,
    EpochStarted,
    IntentRecord,
    IntentSettled,
    LeaseRenewed,
    encode,
)

MINUTE_MS: Final = 60_000
KNOWN_INTENTS: Final = 50_000  # ids kept; an older one that came again would be refused as stale anyway
RAILS: Final = (Leg.FAR, Leg.WORKING)
_NEVER_WAS: Final = frozenset({Verdict.REJECTED, Verdict.REFUSED, Verdict.ABSENT})
_OVER: Final = frozenset({Verdict.CANCELLED, Verdict.GONE})


def digest(record: IntentRecord) -> str:
    """What makes two intents of one id the same."""
    return blake2b(encode(record), digest_size=16).hexdigest()


class Placed(msgspec.Struct):
    """One order that was written ahead; ``outcome`` is None while nobody knows."""

    attempted: Attempted
    outcome: RequestEnded | None = None
    over: bool = False  # cancelled, or gone by a fill or a trigger

    @property
    def unknown(self) -> bool:
        """Sent or not, executed or not: in doubt."""
        return self.outcome is None and not self.over

    @property
    def may_live(self) -> bool:
        """It may be on the venue."""
        return not self.over and (self.outcome is None or self.outcome.verdict not in _NEVER_WAS)


class PositionJournal(msgspec.Struct):
    """Everything journalled about one position (its id is the id of its bracket)."""

    id: str
    symbol: str
    record: IntentRecord
    orders: dict[str, Placed] = msgspec.field(default_factory=dict)

    @property
    def bracket(self) -> OpenBracket:
        """The entry with both rails."""
        intent = self.record.intent
        assert isinstance(intent, OpenBracket)
        return intent

    @property
    def entry_filled(self) -> bool:
        """An entry order is known to have filled."""
        return any(
            placed.outcome is not None and placed.outcome.filled_lots > 0
            for placed in self.orders.values()
            if placed.attempted.leg is Leg.ENTRY
        )

    @property
    def never_entered(self) -> bool:
        """Every entry order is known to have been refused: a quantity on the venue is somebody else's."""
        entries = [placed for placed in self.orders.values() if placed.attempted.leg is Leg.ENTRY]
        return bool(entries) and not any(placed.may_live or placed.over for placed in entries)

    @property
    def entry_unknown(self) -> bool:
        """An entry order has no end."""
        return any(placed.unknown for placed in self.orders.values() if placed.attempted.leg is Leg.ENTRY)


def attempt_number(client_id: str) -> int:
    """The attempt ordinal at the end of one of our client ids (``core.identity``)."""
    number = 0
    for digit in client_id.rpartition("-")[2][1:]:
        number = number * 62 + DIGITS.index(digit)
    return number


class _Image(msgspec.Struct):
    """The index as bytes, so that a start need not read a year of records."""

    epoch: int
    lease_ms: int
    intents: dict[str, str]
    unsettled: dict[str, IntentRecord]
    positions: dict[str, PositionJournal]
    outcomes: dict[str, list[AttemptEnded]]
    ordinals: dict[str, dict[Leg, int]]
    settled: list[str]
    entries_at: dict[str, int] = {}
    moves_at: dict[str, int] = {}
    day: tuple[int, int] = (0, 0)


_image_encoder: Final = msgspec.msgpack.Encoder()
_image_decoder: Final = msgspec.msgpack.Decoder(_Image)


class JournalIndex:
    """The records of ``attempts``, folded; ``apply`` is idempotent per record."""

    def __init__(self) -> None:
        self.epoch = 0
        self.lease_ms = 0  # of the newest epoch; 0 when it ended by itself
        self.intents: dict[str, str] = {}  # id → digest of its bytes, "" when only the id is known
        self.unsettled: dict[str, IntentRecord] = {}
        self.positions: dict[str, PositionJournal] = {}
        self.outcomes: dict[str, list[AttemptEnded]] = {}  # of unsettled intents, to be told again at a start
        self.entries_at: dict[str, int] = {}  # intents of the last minute: when an entry was written ahead,
        self.moves_at: dict[str, int] = {}  # and when a mere move of a stop was
        self.day = (0, 0)  # (day, used of the daily budget), as said last
        self._ordinals: dict[str, dict[Leg, int]] = {}  # intent → leg → last attempt number
        self._settled: dict[str, None] = {}

    def image(self, *, without: Collection[str] = ()) -> bytes:
        """
        Everything known, for ``restore``; records that it holds may be applied again behind it.

        *without* are the intents that no record holds yet: known to a successor, they would be dropped as repeats.
        """
        return _image_encoder.encode(
            _Image(
                epoch=self.epoch,
                lease_ms=self.lease_ms,
                intents={name: known for name, known in self.intents.items() if name not in without},
                unsettled=self.unsettled,
                positions=self.positions,
                outcomes=self.outcomes,
                ordinals=self._ordinals,
                settled=list(self._settled),
                entries_at=self.entries_at,
                moves_at=self.moves_at,
                day=self.day,
            )
        )

    def restore(self, image: bytes) -> None:
        """Take over an image. Raises msgspec.DecodeError for one of another shape."""
        known = _image_decoder.decode(image)
        self.epoch, self.lease_ms = known.epoch, known.lease_ms
        self.intents, self.unsettled = known.intents, known.unsettled
        self.positions, self.outcomes = known.positions, known.outcomes
        self._ordinals = known.ordinals
        self._settled = dict.fromkeys(known.settled)
        self.entries_at, self.moves_at, self.day = known.entries_at, known.moves_at, known.day

    def apply(self, record: AttemptRecord) -> None:
        """Take one record in the order of the log."""
        match record:
            case EpochStarted():
                if record.epoch >= self.epoch:
                    self.epoch, self.lease_ms = record.epoch, record.lease_ms
            case EpochEnded():
                if record.epoch == self.epoch:
                    self.lease_ms = 0
            case LeaseRenewed():
                self.day = max(self.day, (record.day, record.day_used))
            case Attempted():
                self._attempted(record)
            case AttemptEnded():
                self._ended(record)
            case IntentSettled():
                self._settle(record)

    def know(self, intent: str, bytes_digest: str) -> None:
        """Remember an intent before it is written (the first word on its bytes wins)."""
        if not self.intents.get(intent):
            self.intents[intent] = bytes_digest
        while len(self.intents) > KNOWN_INTENTS:
            oldest = next(iter(self.intents))
            del self.intents[oldest]

    def symbols(self) -> set[str]:
        """Of every position that is not over and every intent that is not settled."""
        return {known.symbol for known in self.positions.values()} | {r.symbol for r in self.unsettled.values()}

    def next_ordinal(self, intent: str, leg: Leg) -> int:
        """Take the next attempt number of an intent's leg; never given twice, across starts."""
        numbers = self._ordinals.setdefault(intent, {})
        numbers[leg] = numbers.get(leg, 0) + 1
        return numbers[leg]

    def _attempted(self, record: Attempted) -> None:
        if not self.intents.get(record.intent):
            self.know(record.intent, "" if record.record is None else digest(record.record))
        if record.record is not None and record.leg in RAILS and record.intent == record.position:
            self._settled.pop(record.intent, None)  # its entry filled after it had been given up: open again
        if record.record is not None and record.intent not in self._settled:
            self.unsettled.setdefault(record.intent, record.record)
            if isinstance(record.record.intent, OpenBracket):
                self.positions.setdefault(
                    record.position, PositionJournal(id=record.position, symbol=record.symbol, record=record.record)
                )
        if record.action != "place":
            return
        if record.leg is Leg.ENTRY:
            _count(self.entries_at, record)
        whole = None if record.record is None else record.record.intent
        if isinstance(whole, MoveStop) and whole.ratchet:
            _count(self.moves_at, record)
        position = self.positions.get(record.position)
        if position is None and record.intent in self._settled:
            return  # an old record that comes again
        numbers = self._ordinals.setdefault(record.intent, {})
        numbers[record.leg] = max(numbers.get(record.leg, 0), attempt_number(record.client_id))
        if position is not None and record.client_id not in position.orders:
            placed = position.orders[record.client_id] = Placed(record)
            # An attempt that was spilled is forwarded late, behind its own end.
            for ended in self.outcomes.get(record.intent, ()):
                if ended.outcome.client_id == record.client_id:
                    _end(placed, ended.outcome)

    def _ended(self, record: AttemptEnded) -> None:
        outcome = record.outcome
        self.know(outcome.intent, "")
        if outcome.intent not in self._settled:
            told = self.outcomes.setdefault(outcome.intent, [])
            if record not in told:
                told.append(record)
            if intent_of(outcome.client_id) == outcome.intent:
                # A number that was refused before it was written ahead has been spoken of: it is used up all the same.
                numbers = self._ordinals.setdefault(outcome.intent, {})
                numbers[outcome.leg] = max(numbers.get(outcome.leg, 0), attempt_number(outcome.client_id))
        position = self.positions.get(outcome.position)
        placed = None if position is None else position.orders.get(outcome.client_id)
        if placed is not None:
            _end(placed, outcome)

    def _settle(self, record: IntentSettled) -> None:
        self.know(record.intent, "")
        self.unsettled.pop(record.intent, None)
        self.outcomes.pop(record.intent, None)
        self._settled[record.intent] = None
        if len(self._settled) > KNOWN_INTENTS:
            del self._settled[next(iter(self._settled))]
        if record.closed:
            position = self.positions.pop(record.position, None)
            self._ordinals.pop(record.position, None)
            for placed in position.orders.values() if position is not None else ():
                self._ordinals.pop(placed.attempted.intent, None)


def _count(times: dict[str, int], record: Attempted) -> None:
    """Intents of the newest minute, once each: records come again behind an image, and attempts under a new id."""
    times.setdefault(record.intent, record.at_ms)
    newest = max(times.values())
    for intent in [known for known, at_ms in times.items() if at_ms <= newest - MINUTE_MS]:
        del times[intent]


def _end(placed: Placed, outcome: RequestEnded) -> None:
    """An order's end; what was accepted stays accepted, whatever a later word about the same attempt says."""
    if outcome.verdict in _OVER:
        placed.over = True
    elif placed.outcome is None or placed.outcome.verdict is not Verdict.ACCEPTED:
        placed.outcome = outcome
