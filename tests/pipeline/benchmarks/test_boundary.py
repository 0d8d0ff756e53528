"""Tests of the boundary benchmark: which bars, orders, turns and scores belong to a close, and when marks come."""

from __future__ import annotations

from collections import Counter

import msgspec

from pipeline.benchmarks.boundary import Order, closed_bars, judge, ordered, orders_of, phases, turns_of
from pipeline.benchmarks.latency import Sample
from pipeline.console.log_access import Record
from pipeline.core.bars import BAR_MS
from pipeline.core.units import Milliseconds
from pipeline.wire import lines
from pipeline.wire.topics import partition_of
from tests.core_scores import scores
from tests.factor_log import candle
from tests.factor_market import walk
from tests.pipeline.benchmarks.test_latency import FRAME, ended, intent
from tests.pipeline.reporting.test_factor_story import published

BAR = walk(1, seed=3)[0]
CLOSE_MS = BAR.open_ms + BAR_MS


def bar_line(symbol: str, *, closed: bool, at_ms: int) -> bytes:
    """The candle of a symbol as the connector writes it."""
    prefix = lines.frame_prefix(source="connector/market-0.a", incarnation="1", symbol=symbol)
    return lines.frame_line(at_ms * 1_000_000, 1, candle(BAR, symbol, closed=closed), prefix)


def tick_line(at_ms: int, *turns: str) -> bytes:
    """A tick that names symbols."""
    return lines.encode(
        lines.Line(at=at_ms * 1_000_000, src="decide/0", inc="1", n=1, sym="*", tick=at_ms, turns=turns)
    )


RECORDS = [
    Record(1, 5, CLOSE_MS, None, lines.join([FRAME, bar_line("AUSDT", closed=True, at_ms=CLOSE_MS + 2), FRAME])),
    Record(1, 6, CLOSE_MS, None, bar_line("BUSDT", closed=False, at_ms=CLOSE_MS + 3)),
    Record(2, 5, CLOSE_MS, None, lines.join([FRAME, tick_line(CLOSE_MS + 100, "AUSDT", "BUSDT")])),
    Record(2, 6, CLOSE_MS, None, tick_line(CLOSE_MS + 20_000, "AUSDT", "BUSDT", "CUSDT")),
]


def test_only_closed_bars_count_each_to_its_close() -> None:
    """A forming candle is none."""
    assert {CLOSE_MS: {(1, 5, 1): (CLOSE_MS + 2) * 1_000_000}} == closed_bars(RECORDS)


def test_tick_lines_that_name_symbols_are_found() -> None:
    """Each with its place, its time and how many it names."""
    assert [((2, 5, 1), 2), ((2, 6, 0), 3)] == [(turn.place, turn.named) for turn in turns_of(RECORDS)]


def test_a_close_tells_its_orders_those_behind_a_bar_or_a_turn_and_its_last_score() -> None:
    """Behind means: later in the same partition. An order of another second is none of the close's, and is not lost."""
    begin = (CLOSE_MS + 2) * 1_000_000

    def order(place: tuple[int, int, int], late_ms: int) -> Order:
        at = begin + late_ms * 1_000_000
        return Order(place, Sample(at, at, at, at, at + 5_000_000))

    orders = [order((1, 5, 0), 0), order((1, 5, 2), 40), order((2, 5, 2), 90), order((2, 9, 0), 1_000)]
    told = [
        msgspec.structs.replace(
            published(), symbol=symbol, at_ms=Milliseconds(CLOSE_MS + late_ms), scores=scores(bar_close_ms=close_ms)
        )
        for symbol, late_ms, close_ms in (
            ("AUSDT", 122, CLOSE_MS),
            ("BUSDT", 872, CLOSE_MS),
            ("BUSDT", 90_000, CLOSE_MS),
            ("CUSDT", 2_000, CLOSE_MS - BAR_MS),
        )
    ]
    found = judge(closed_bars(RECORDS), orders, told, turns_of(RECORDS))
    close = found.closes[0]

    assert (1, 3, 1, 1) == (close.bars, len(close.orders), close.behind_bars, len(close.behind_turns))
    assert (2, 870, 2) == (close.scored, close.scored_last_ms, close.turns_largest)
    assert [orders[3].sample] == found.others


def test_orders_carry_the_place_of_their_cause() -> None:
    """One that was never written to the wire is none."""
    bodies = {(record.partition, record.offset): record.value for record in RECORDS}
    intents = [(intent("behind", "1/5/2"), 7), (intent("unsent", "1/5/0"), 7)]

    assert [((1, 5, 2), 8_000_000)] == [
        (order.place, order.sample.seen) for order in orders_of(bodies, intents, [ended("behind", 9_000_000)])
    ]


def test_half_of_the_positions_stand_in_the_fullest_partition() -> None:
    """Of the first five symbols three are in the partition that has most of all."""
    symbols = [f"SYN{number:03}USDT" for number in range(60)]
    order = ordered(symbols)
    count = Counter(map(partition_of, symbols))

    assert sorted(symbols) == sorted(order)
    assert [max(count.values())] * 3 == [count[partition_of(symbol)] for symbol in order[0:5:2]]


def test_marks_of_held_symbols_come_within_100_ms_of_the_bars() -> None:
    """One after the other, on the exchange's steps of 10 ms; the last one at the full second."""
    assert [940, 950, 970, 980, 0] == list(phases(["A", "B", "C", "D", "E"]).values())
    assert {"A": 940} == phases(["A"])
