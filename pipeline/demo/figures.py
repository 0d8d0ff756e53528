"""
The only place that computes the demo's figures out of the log: latency of the road, skew of the exchange's clock.

Times are the connector's receive stamp (ns), the broker's append time of the intent (ms) and the executor's stamp
before the send (ms): good to a millisecond. `perpguard bench latency` is the measurement; this is a look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from pipeline.wire import lines, records

NANOSECONDS_PER_MS: Final = 1_000_000


class _Stamped(msgspec.Struct):
    """A frame's own time."""

    E: int = 0


class _Combined(msgspec.Struct):
    data: _Stamped = msgspec.field(default_factory=_Stamped)
    E: int = 0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of the sorted values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def frame_times(inputs: Iterable[tuple[int, int, bytes]]) -> dict[str, float]:
    """Place in the log → receive time in ms, for lines that are frames; *inputs* are (partition, offset, record)."""
    found: dict[str, float] = {}
    for partition, offset, value in inputs:
        for number, raw in enumerate(lines.split(value)):
            if b'"frame":' not in raw:
                continue
            try:
                line = lines.decode(raw)
            except msgspec.DecodeError:
                continue  # the fold quarantines it
            if line.frame:
                found[f"{partition}/{offset}/{number}"] = line.at / NANOSECONDS_PER_MS
    return found


def latencies(
    received: Mapping[str, float],
    intents: Iterable[tuple[int, records.IntentRecord]],
    attempts: Iterable[records.AttemptRecord],
) -> dict[str, float]:
    """
    Percentiles in ms of frame → intent in Kafka and frame → request, for intents that a frame caused.

    A request counts when the executor that sent it ran already when its intent came: what waited for a killed one to
    come back is told as recovery, not as latency.
    """
    caused = {intent.id: (received[intent.cause], append) for append, intent in intents if intent.cause in received}
    to_intent = [append - at for at, append in caused.values()]
    sent: dict[str, float] = {}
    began_ms = 0
    for entry in attempts:
        if isinstance(entry, records.EpochStarted):
            began_ms = entry.at_ms
        if isinstance(entry, records.Attempted) and entry.intent in caused and caused[entry.intent][1] >= began_ms:
            sent.setdefault(entry.intent, entry.at_ms - caused[entry.intent][0])
    figures: dict[str, float] = {"samples": len(to_intent)}
    for name, values in (("frame_to_intent", to_intent), ("frame_to_wire", list(sent.values()))):
        if values:
            figures[f"{name}_p50_ms"] = round(percentile(values, 0.5), 1)
            figures[f"{name}_p99_ms"] = round(percentile(values, 0.99), 1)
    return figures


def clock_skew_ms(inputs: Iterable[tuple[int, int, bytes]], *, first: int = 100) -> int | None:
    """
    Median of the exchange's event time less our receive time, None without frames.

    Own orders' events carry the exchange's clock at that moment. Market frames of a recording that plays faster run
    ahead of it, so of them only the *first* ones tell, and only when there was no order.
    """
    market: list[int] = []
    own: list[int] = []
    for _, _, value in inputs:
        for raw in lines.split(value):
            if b'"frame":' not in raw:
                continue
            try:
                line = lines.decode(raw)
                stamped = msgspec.json.decode(line.frame, type=_Combined)
            except msgspec.DecodeError:
                continue
            at_ms = line.at // NANOSECONDS_PER_MS
            if stamped.E:
                own.append(stamped.E - at_ms)
            elif stamped.data.E and len(market) < first:
                market.append(stamped.data.E - at_ms)
    skews = sorted(own or market)
    return skews[len(skews) // 2] if skews else None
