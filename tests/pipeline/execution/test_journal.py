"""The index over ``attempts``: what is known, what is open, what has no end; the same from the records again."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Leg, RequestEnded, Verdict
from pipeline.core.identity import client_id
from pipeline.core.units import Lots, Milliseconds
from pipeline.execution.journal import JournalIndex, attempt_number, digest
from pipeline.wire.records import (
    Attempted,
    AttemptEnded,
    AttemptRecord,
    EpochEnded,
    EpochStarted,
    IntentSettled,
)
from tests.pipeline.execution.fakes import START_MS, bracket, intent

RECORD = intent(1, bracket(), at_ms=START_MS)
AT = Milliseconds(START_MS)


def attempt(leg: Leg = Leg.ENTRY, number: int = 1, *, epoch: int = 1, action: str = "place") -> Attempted:
    """An attempt of the bracket."""
    return Attempted(
        epoch=epoch,
        intent=RECORD.id,
        position=RECORD.id,
        symbol="BTCUSDT",
        leg=leg,
        action=action,
        path="order",
        client_id=client_id(intent=RECORD.id, leg=leg, attempt=number),
        parameters={},
        at_ms=AT,
        record=RECORD if leg is Leg.ENTRY else None,
    )


def ended(verdict: Verdict, leg: Leg = Leg.ENTRY, number: int = 1, *, filled: int = 0) -> AttemptEnded:
    """Its end."""
    outcome = RequestEnded(
        intent=RECORD.id,
        position=RECORD.id,
        leg=leg,
        client_id=client_id(intent=RECORD.id, leg=leg, attempt=number),
        verdict=verdict,
        filled_lots=Lots(filled),
    )
    return AttemptEnded(epoch=1, symbol="BTCUSDT", outcome=outcome, at_ms=AT)


def index(*records: AttemptRecord) -> JournalIndex:
    """An index of these records."""
    made = JournalIndex()
    for record in records:
        made.apply(record)
    return made


def test_an_attempt_without_end_is_in_doubt() -> None:
    """Written ahead and nothing more: the position is known, its entry is not."""
    position = index(attempt()).positions[RECORD.id]

    assert position.entry_unknown
    assert not position.entry_filled
    assert RECORD == position.record


def test_an_end_is_known_by_its_verdict() -> None:
    """ACCEPTED with a fill is a position; a rail that was cancelled is over."""
    known = index(attempt(), ended(Verdict.ACCEPTED, filled=10), attempt(Leg.FAR), ended(Verdict.ACCEPTED, Leg.FAR))
    position = known.positions[RECORD.id]
    assert (False, True) == (position.entry_unknown, position.entry_filled)
    known.apply(ended(Verdict.CANCELLED, Leg.FAR))

    assert [True, False] == [placed.may_live for placed in position.orders.values()]


def test_a_settled_and_closed_position_is_forgotten_but_its_ids_are_not() -> None:
    """Nothing more will be sent; a repeat of the intent is still known with its bytes."""
    settled = IntentSettled(epoch=1, intent=RECORD.id, symbol="BTCUSDT", at_ms=AT, position=RECORD.id, closed=True)
    known = index(attempt(), ended(Verdict.REJECTED), settled)

    assert ({}, {}, {}) == (known.positions, known.unsettled, known.outcomes)
    assert digest(RECORD) == known.intents[RECORD.id]


def test_a_repeated_attempt_record_opens_nothing_again() -> None:
    """A spilled record that is forwarded late comes twice; after the end it changes nothing."""
    settled = IntentSettled(epoch=1, intent=RECORD.id, symbol="BTCUSDT", at_ms=AT, position=RECORD.id, closed=True)

    assert {} == index(attempt(), settled, attempt()).unsettled


def test_attempt_numbers_are_never_given_twice() -> None:
    """The next number is beyond every one that the journal has seen, of whatever epoch."""
    known = index(attempt(Leg.WORKING, 1), attempt(Leg.WORKING, 75, epoch=2))

    assert 76 == known.next_ordinal(RECORD.id, Leg.WORKING)
    assert 1 == known.next_ordinal(RECORD.id, Leg.FAR)


def test_the_number_of_a_refused_attempt_is_used_up() -> None:
    """Refused before it was written ahead, and told: another start must not place anything under that id."""
    known = index(attempt(), ended(Verdict.REFUSED, Leg.WORKING, 1))

    assert 2 == known.next_ordinal(RECORD.id, Leg.WORKING)


@given(st.integers(1, 100_000))
def test_the_attempt_number_reads_back(number: int) -> None:
    """Base 62 at the end of a client id is the number that was written."""
    assert number == attempt_number(client_id(intent="a.b.c.d", leg=Leg.ENTRY, attempt=number))


def test_the_lease_of_the_predecessor_is_known_unless_it_ended() -> None:
    """EpochEnded makes the wait zero; one of an older epoch does not."""
    started = EpochStarted(epoch=2, executor="x", lease_ms=6_000, at_ms=AT)

    assert 6_000 == index(started, EpochEnded(epoch=1, executor="y", at_ms=AT)).lease_ms
    assert 0 == index(started, EpochEnded(epoch=2, executor="x", at_ms=AT)).lease_ms


STORY: list[AttemptRecord] = [
    EpochStarted(epoch=1, executor="x", lease_ms=6_000, at_ms=AT),
    attempt(),
    ended(Verdict.ACCEPTED, filled=10),
    attempt(Leg.FAR),
    ended(Verdict.ACCEPTED, Leg.FAR),
    attempt(Leg.WORKING),
    ended(Verdict.REJECTED, Leg.WORKING),
    attempt(Leg.FAR, action="cancel"),
    ended(Verdict.CANCELLED, Leg.FAR),
    IntentSettled(epoch=1, intent=RECORD.id, symbol="BTCUSDT", at_ms=AT, position=RECORD.id),
]
records = st.sampled_from(STORY)


@given(st.lists(records, max_size=20))
def test_every_record_twice_is_as_good_as_once(log: list[AttemptRecord]) -> None:
    """At-least-once delivery of the journal itself: repeating each record changes neither positions nor intents."""
    once, twice = index(*log), index(*(record for record in log for _ in range(2)))

    assert msgspec.json.encode(once.positions) == msgspec.json.encode(twice.positions)
    assert (once.intents, once.unsettled, once.epoch) == (twice.intents, twice.unsettled, twice.epoch)


@given(st.integers(0, len(STORY)), st.integers(0, len(STORY)), st.integers(0, 5))
def test_an_image_and_the_records_behind_it_are_as_good_as_all_records(length: int, cut: int, again: int) -> None:
    """A start from an image knows what a start from the whole log knows, even if some records come again."""
    log = STORY[:length]
    restored = JournalIndex()
    restored.restore(index(*log[:cut]).image())
    for record in log[max(0, cut - again) :]:
        restored.apply(record)

    assert index(*log).image() == restored.image()


def test_an_attempt_that_is_forwarded_behind_its_own_end_is_not_in_doubt() -> None:
    """Kafka was away: the attempt was spilled, its end was not; the order of the log is not the order of things."""
    known = index(attempt(), ended(Verdict.ACCEPTED, filled=10), ended(Verdict.ACCEPTED, Leg.FAR), attempt(Leg.FAR))

    assert [False, False] == [placed.unknown for placed in known.positions[RECORD.id].orders.values()]


def test_an_image_does_not_hold_what_no_record_holds_yet() -> None:
    """An intent that was taken in and not written would be dropped as a repeat by the successor: it is left out."""
    known = index(attempt())
    known.know("abcdefg.09.0.tagg0", "digest")
    successor = JournalIndex()
    successor.restore(known.image(without={"abcdefg.09.0.tagg0": None}))

    assert {RECORD.id} == set(successor.intents)
