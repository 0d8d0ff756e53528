"""
The only place that computes from the log and the ledger how long it was dark after each disturbance.

A partition is *live* at an instant when the log shows that a record less than a second old has been folded: a decision
or a seal stands in the log within a second of the record it names. Dark time is the longest stretch without such an
instant from the moment the disturbance was over (a kill: when it hit) until everything had settled; seals come once a
second, so an undisturbed partition shows about 1,000 ms. For the connector a symbol's frames in the log are looked at
in the same way. Cover is *proven* after a kill of the executor when the exchange has answered a read of the open stops
and every position is covered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.chaos.disturb import Disturbed
from pipeline.console.log_access import Record
from pipeline.wire import records
from pipeline.wire.topics import INPUT_PARTITIONS

Json: TypeAlias = Any  # the ledger's JSON

LIVE_LAG_MS: Final = 1_000
AFTER_A_KILL_MS: Final = 200  # what a killed process had on the wire may still be answered
PROOF: Final = ("GET", "/fapi/v1/openAlgoOrders")


class Recovered(msgspec.Struct, frozen=True):
    """How long after a disturbance: until every partition was live, and until cover was proven (executor kills)."""

    disturbed: Disturbed
    dark_ms: int
    darkest: str
    cover_ms: int | None = None


def live_instants(
    inputs: Iterable[Record], decisions: Iterable[Record], anchors: Iterable[Record]
) -> dict[int, list[int]]:
    """Partition → the instants (Unix ms, ascending) at which it was live."""
    appended = {(record.partition, record.offset): record.append_ms for record in inputs}
    found: dict[int, set[int]] = {partition: set() for partition in range(INPUT_PARTITIONS)}

    def note(partition: int, offset: int, said_ms: int) -> None:
        at = appended.get((partition, offset))
        if at is not None and said_ms - at < LIVE_LAG_MS:
            found[partition].add(said_ms)

    for record in decisions:
        decision = records.decode_decision(record.value)
        note(decision.partition, decision.offset, record.append_ms)
    for record in anchors:
        anchor = records.decode_anchor(record.value)
        if isinstance(anchor, records.SegmentSealed):
            note(anchor.partition, anchor.first_offset + len(anchor.digests) - 1, record.append_ms)
    return {partition: sorted(instants) for partition, instants in found.items()}


def frame_instants(inputs: Iterable[Record], symbols: Sequence[str]) -> dict[str, list[int]]:
    """Symbol → the append times (ascending) of records that hold a frame of it."""
    marks = {symbol: b'"sym":"' + symbol.encode() + b'","frame":' for symbol in symbols}
    found: dict[str, set[int]] = {symbol: set() for symbol in symbols}
    for record in inputs:
        for symbol, mark in marks.items():
            if mark in record.value:
                found[symbol].add(record.append_ms)
    return {symbol: sorted(instants) for symbol, instants in found.items()}


def longest_gap(instants: Sequence[int], begin_ms: int, end_ms: int) -> int:
    """The longest stretch of [*begin_ms*, *end_ms*] without an instant in it."""
    inside = instants[bisect_right(instants, begin_ms) : bisect_left(instants, end_ms)]
    edges = [begin_ms, *inside, max(begin_ms, end_ms)]
    return max(later - earlier for earlier, later in pairwise(edges))


def proven_ms(disturbed: Disturbed, requests: Iterable[Json], episodes: Iterable[Json]) -> int | None:
    """Ms from the kill to the proof; None when no read was answered (it is then judged as not proven)."""
    began = disturbed.began_ms
    reads: list[int] = [
        line["at"] for line in requests if (line["method"], line["path"]) == PROOF and line["status"] == 200
    ]
    read = next((at for at in reads if at > began + AFTER_A_KILL_MS), None)
    if read is None:
        return None
    spans: list[tuple[int, int]] = [span for episode in episodes for span in episode["naked"]["any"]["intervals"]]
    return max([read, *(end for start, end in spans if start < read and end > began)]) - began


def recoveries(
    disturbances: Sequence[Disturbed],
    *,
    live: Mapping[int, Sequence[int]],
    frames: Mapping[str, Sequence[int]],
    requests: Sequence[Json],
    episodes: Sequence[Json],
) -> list[Recovered]:
    """What each disturbance took."""
    found = []
    for disturbed in disturbances:
        begin, end = disturbed.over_ms, disturbed.until_ms
        gaps = {f"partition {number}": longest_gap(instants, begin, end) for number, instants in live.items()}
        if disturbed.victim == "connector":
            gaps |= {f"frames of {symbol}": longest_gap(instants, begin, end) for symbol, instants in frames.items()}
        darkest = max(gaps, key=lambda name: gaps[name])
        cover = None
        if disturbed.victim == "execute" and disturbed.kind == "kill":
            proven = proven_ms(disturbed, requests, episodes)
            cover = end - begin if proven is None else proven
        found.append(Recovered(disturbed, gaps[darkest], darkest, cover))
    return found
