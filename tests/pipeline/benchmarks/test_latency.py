"""Tests of the latency benchmark: what is put together, and from where to where it counts."""

from __future__ import annotations

from pipeline.benchmarks.latency import Load, Sample, configuration, pair, stages
from pipeline.configuration import flatten
from pipeline.core.commands import MoveStop
from pipeline.core.events import Leg, RequestEnded, Side, Verdict
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.wire import lines, records

FRAME = lines.frame_line(
    1_000_000,
    1,
    b'{"stream":"btcusdt@markPrice@1s","data":{}}',
    lines.frame_prefix(source="connector/market-0.a", incarnation="1", symbol="BTCUSDT"),
)
TICK = lines.encode(lines.Line(at=5, src="decide/0", inc="1", n=1, sym="*", tick=0))


def intent(name: str, cause: str) -> records.IntentRecord:
    """A stop move that the line at *cause* led to."""
    body = MoveStop(position="p", leg=Leg.WORKING, side=Side.BUY, trigger=Ticks(1), lots=Lots(1))
    return records.IntentRecord(id=name, symbol="BTCUSDT", cause=cause, at_ms=Milliseconds(1), fold="f", intent=body)


def ended(name: str, written_ns: int) -> records.AttemptEnded:
    """The end of a request of that intent, with its stamps."""
    outcome = RequestEnded(intent=name, position="p", leg=Leg.WORKING, client_id="c", verdict=Verdict.ACCEPTED)
    return records.AttemptEnded(
        epoch=1,
        symbol="BTCUSDT",
        outcome=outcome,
        at_ms=Milliseconds(1),
        intent_read_ns=3_000_000,
        journalled_ns=4_000_000,
        written_ns=written_ns,
    )


def test_an_order_is_paired_with_the_frame_that_caused_it() -> None:
    """Only intents of frames that were seen and written count, with the first request that was written."""
    inputs = {(2, 7): lines.join([TICK, FRAME])}
    intents = [intent("a", "2/7/1"), intent("tick", "2/7/0"), intent("unsent", "2/7/1"), intent("unseen", "2/7/1")]
    attempts = [ended("a", 0), ended("a", 5_000_000), ended("a", 9_000_000), ended("tick", 1), ended("unseen", 1)]

    samples = pair(inputs, intents, attempts, {"a": 2_000_000, "tick": 1, "unsent": 1})

    assert samples == [Sample(1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000)]


def test_the_road_counts_from_the_socket_read_to_the_last_byte_written() -> None:
    """The stages follow one another from the receive stamp on, and the whole road is their sum."""
    spans = stages([Sample(1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_500_000)])

    assert spans == {
        "frame_to_intent": [1.0],
        "frame_to_executor": [2.0],
        "executor_to_journal": [1.0],
        "journal_to_wire": [1.5],
        "frame_to_wire": [4.5],
    }


def test_the_load_stays_within_the_venue_and_its_configuration_is_valid() -> None:
    """Moves stay below the venue's 1,200 orders a minute, and the configuration is one that the pipeline accepts."""
    load = Load()

    assert load.positions * 60_000 / load.ratchet_ms < 1_200
    _, problems = flatten(configuration(load, ["BTCUSDT"]))
    assert [] == problems
