"""Tests of the figures that are computed out of the log."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.commands import Sweep
from pipeline.core.events import Leg
from pipeline.core.units import Milliseconds
from pipeline.demo.figures import clock_skew_ms, frame_times, latencies, percentile
from pipeline.wire import lines, records

MS = 1_000_000


def frame(at_ms: int, body: bytes) -> bytes:
    """A frame line."""
    return lines.frame_line(
        at_ms * MS, 1, body, lines.frame_prefix(source="connector/x", incarnation="i", symbol="BTCUSDT")
    )


def tick(at_ms: int) -> bytes:
    """A line that is no frame."""
    return lines.encode(lines.Line(at=at_ms * MS, src="decide/0", inc="i", n=1, sym="*", tick=1))


def intent(identity: str, cause: str) -> records.IntentRecord:
    """An intent caused by a line."""
    return records.IntentRecord(identity, "BTCUSDT", cause, Milliseconds(0), "f", Sweep("p"))


def attempted(identity: str, at_ms: int) -> records.Attempted:
    """A request sent for an intent."""
    return records.Attempted(
        epoch=1,
        intent=identity,
        position="p",
        symbol="BTCUSDT",
        leg=Leg.CLOSE,
        action="place",
        path="order",
        client_id="c",
        parameters={},
        at_ms=Milliseconds(at_ms),
    )


def test_latency_counts_from_the_frame_that_caused() -> None:
    """Only intents caused by frames count: from receive to the intent's append, and to the first request."""
    record = lines.join([tick(90), frame(100, b'{"e":"x"}')])
    received = frame_times([(2, 7, record)])
    figures = latencies(
        received,
        [(104, intent("a", "2/7/1")), (500, intent("b", "2/7/0"))],
        [attempted("a", 109), attempted("a", 300), attempted("b", 600)],
    )
    late = latencies(
        received,
        [(104, intent("a", "2/7/1"))],
        [records.EpochStarted(2, "x", 6_000, Milliseconds(900)), attempted("a", 950)],
    )

    assert {"2/7/1": 100.0} == received
    assert {
        "samples": 1,
        "frame_to_intent_p50_ms": 4.0,
        "frame_to_intent_p99_ms": 4.0,
        "frame_to_wire_p50_ms": 9.0,
        "frame_to_wire_p99_ms": 9.0,
    } == figures
    assert "frame_to_wire_p50_ms" not in late


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 4), (1.0, 4)])
def test_percentile_is_the_nearest_rank(share: float, value: int) -> None:
    """Of four values the half is the third, the rest the last."""
    assert value == percentile([4, 2, 1, 3], share)


def test_skew_prefers_own_orders() -> None:
    """Events of own orders carry the exchange's clock; market frames tell only when there are none."""
    market = [frame(1_000, msgspec.json.encode({"stream": "s", "data": {"E": 41_000}}))]
    own = [frame(1_000, b'{"e":"ORDER_TRADE_UPDATE","E":2270}'), frame(2_000, b'{"e":"ACCOUNT_UPDATE","E":3272}')]

    assert 1_272 == clock_skew_ms([(0, 0, lines.join(market + own))])
    assert 40_000 == clock_skew_ms([(0, 0, lines.join(market))])
    assert clock_skew_ms([(0, 0, tick(1))]) is None
