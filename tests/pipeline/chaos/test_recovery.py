"""Tests of how long it was dark after a disturbance."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.chaos.disturb import Disturbed
from pipeline.chaos.recovery import frame_instants, live_instants, longest_gap, proven_ms, recoveries
from pipeline.console.log_access import Record
from pipeline.core.commands import Decision
from pipeline.core.units import Milliseconds
from pipeline.wire import records

KILL = Disturbed(number=1, kind="kill", victim="execute", began_ms=10_000, over_ms=10_000, until_ms=20_000)


def record(partition: int, offset: int, append_ms: int, value: bytes = b"") -> Record:
    """One record of a topic."""
    return Record(partition, offset, append_ms, None, value)


def sealed(first: int, count: int) -> bytes:
    """A seal of *count* records from *first* on."""
    return records.encode(records.SegmentSealed("LOGIDEN", 0, first, ["d"] * count))


def decision(offset: int) -> bytes:
    """A decision on the record at *offset*."""
    return records.encode(Decision("BTCUSDT", 0, offset, 0, Milliseconds(1), "f", [], [], [], [], "c"))


def request(at: int, *, path: str = "/fapi/v1/openAlgoOrders", status: int = 200) -> dict[str, Any]:
    """A request as the ledger tells it."""
    return {"at": at, "method": "GET", "path": path, "status": status}


def episode(*intervals: tuple[int, int]) -> dict[str, Any]:
    """A position with its stretches without cover."""
    return {"naked": {"any": {"intervals": [list(span) for span in intervals]}}}


def test_live_is_what_was_folded_within_a_second() -> None:
    """Seals and decisions count when the record they name was young; a refold of old records is not live."""
    inputs = [record(0, 5, 1_000), record(0, 6, 2_000), record(0, 7, 9_000)]
    decisions = [record(0, 0, 1_400, decision(5)), record(0, 1, 8_000, decision(5))]
    anchors = [record(0, 0, 2_999, sealed(5, 2)), record(0, 1, 9_050, sealed(5, 3))]

    assert [1_400, 2_999, 9_050] == live_instants(inputs, decisions, anchors)[0]


def test_an_anchor_is_no_seal() -> None:
    """The hourly anchors share the topic and say nothing about being live."""
    manifest = records.Manifest("LOGIDEN", "f", 0, 6, {})
    anchor = records.encode(records.Anchor(manifest, {}, {}, Milliseconds(1)))

    assert [] == live_instants([record(0, 5, 1_000)], [], [record(0, 0, 1_001, anchor)])[0]


def test_frames_are_found_by_symbol() -> None:
    """A tick or another symbol's frame is none."""
    frame = b'{"at":1,"src":"connector/a","inc":"i","n":1,"sym":"BTCUSDT","frame":{}}'
    tick = b'{"at":1,"src":"decide/a","inc":"i","n":1,"sym":"*","tick":1}'
    inputs = [record(0, 1, 10, frame), record(0, 2, 20, tick), record(0, 3, 30, tick + b"\n" + frame)]

    assert {"BTCUSDT": [10, 30], "ETHUSDT": []} == frame_instants(inputs, ("BTCUSDT", "ETHUSDT"))


@pytest.mark.parametrize(
    ("instants", "expected"),
    [([], 1_000), ([500], 500), ([100, 150], 850), ([0, 1_000], 1_000), ([-5, 900, 1_200], 900)],
)
def test_longest_gap(instants: list[int], expected: int) -> None:
    """From the begin to the first instant, between two, from the last to the end; what lies outside does not count."""
    assert expected == longest_gap(instants, 0, 1_000)


def test_cover_is_proven_by_an_answered_read_and_by_cover() -> None:
    """What was still on the wire at the kill proves nothing, nor does a refused read; a naked position delays it."""
    reads = [request(9_900), request(10_100), request(11_000, status=418), request(12_000), request(13_000)]

    assert 2_000 == proven_ms(KILL, reads, [episode()])
    assert 2_500 == proven_ms(KILL, reads, [episode((9_950, 12_500))])
    assert 2_000 == proven_ms(KILL, reads, [episode((12_100, 14_000))])
    assert None is proven_ms(KILL, [request(15_000, path="/fapi/v1/time")], [])


def test_each_disturbance_is_told_by_its_darkest_partition() -> None:
    """The connector's is told by the frames too; cover only after a kill of the executor."""
    connector = Disturbed(number=2, kind="kill", victim="connector", began_ms=20_000, over_ms=20_000, until_ms=30_000)
    live = {0: list(range(10_000, 30_001, 1_000)), 1: [*range(10_000, 13_000, 1_000), *range(17_000, 30_001, 1_000)]}
    found = recoveries(
        [KILL, connector],
        live=live,
        frames={"BTCUSDT": [20_500, 24_500, 29_900]},
        requests=[request(11_500)],
        episodes=[],
    )

    assert [(5_000, "partition 1", 1_500), (5_400, "frames of BTCUSDT", None)] == [
        (one.dark_ms, one.darkest, one.cover_ms) for one in found
    ]
