"""Records of every other topic read back as what was written, and the digest of a record covers all of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.commands import RequestData, Sweep
from pipeline.core.events import Leg, RequestEnded, Side, Verdict
from pipeline.core.units import Milliseconds
from pipeline.wire import records

OUTCOME = RequestEnded(intent="i", position="p", leg=Leg.FAR, client_id="c", verdict=Verdict.IN_DOUBT)
INTENT = records.IntentRecord(
    id="i", symbol="S", cause="0/1/2", at_ms=Milliseconds(3), fold="f", intent=Sweep(position="p")
)
MANIFEST = records.Manifest(log_identity="l", fold="f", partition=1, next_offset=9, applied={"S": (8, 3)}, clean=True)

ROUND_TRIPS = [
    (records.decode_intent, INTENT),
    (
        records.decode_data_intent,
        records.DataIntentRecord(id="i", symbol="S", at_ms=Milliseconds(1), request=RequestData(kind="audit")),
    ),
    (records.decode_attempt, records.EpochStarted(epoch=1, executor="e", lease_ms=5, at_ms=Milliseconds(1))),
    (
        records.decode_attempt,
        records.Attempted(
            epoch=1,
            intent="i",
            position="p",
            symbol="S",
            leg=Leg.WORKING,
            action="place",
            path="algoOrder",
            client_id="c",
            parameters={"a": "b"},
            at_ms=Milliseconds(1),
            record=INTENT,
        ),
    ),
    (records.decode_attempt, records.AttemptEnded(epoch=1, symbol="S", outcome=OUTCOME, at_ms=Milliseconds(1))),
    (records.decode_attempt, records.IntentSettled(epoch=1, intent="i", symbol="S", at_ms=Milliseconds(1))),
    (records.decode_account, records.OpenCommand(command="c", symbol="S", side=Side.BUY, quantity="1")),
    (records.decode_account, records.ModeCommand(command="c", mode="halted")),
    (records.decode_account, records.UserFrame(at=1, src="connector/user", frame=msgspec.Raw(b'{"e":"X"}'))),
    (records.decode_account, records.InstrumentsKnown(at_ms=Milliseconds(1), symbols={"S": msgspec.Raw(b"{}")})),
    (
        records.decode_quarantine,
        records.QuarantineRecord(source="s", reason="r", at_ms=Milliseconds(1), payload=b"\x00\xff\n"),
    ),
    (records.decode_log_identity, records.LogIdentity(identity="abcdefg", created_ms=Milliseconds(1))),
    (
        records.decode_anchor,
        records.Anchor(manifest=MANIFEST, states={"S": b"\x81"}, digests={"S": "00"}, at_ms=Milliseconds(2)),
    ),
    (
        records.decode_anchor,
        records.SegmentSealed(log_identity="l", partition=1, first_offset=4, digests=["00", "01"]),
    ),
]


@pytest.mark.parametrize(("decode", "record"), ROUND_TRIPS, ids=lambda value: type(value).__name__)
def test_a_record_reads_back(decode: object, record: msgspec.Struct) -> None:
    """One decoder per topic, and it knows every kind that may stand there."""
    assert callable(decode)
    assert record == decode(records.encode(record))


@given(st.integers(0, 2**40), st.integers(0, 2**45), st.binary(min_size=1, max_size=200), st.data())
def test_the_digest_of_a_record_covers_place_time_and_every_bit(
    offset: int, append_ms: int, value: bytes, data: st.DataObject
) -> None:
    """A flipped bit, another append time or another place gives another digest: that is what an audit finds."""
    place = data.draw(st.integers(0, len(value) - 1))
    flipped = bytearray(value)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    digest = records.record_digest(offset=offset, append_ms=append_ms, value=value)

    assert digest == records.record_digest(offset=offset, append_ms=append_ms, value=value)
    assert digest != records.record_digest(offset=offset, append_ms=append_ms, value=bytes(flipped))
    assert digest != records.record_digest(offset=offset + 1, append_ms=append_ms, value=value)
    assert digest != records.record_digest(offset=offset, append_ms=append_ms + 1, value=value)
