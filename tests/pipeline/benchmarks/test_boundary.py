"""Tests of the boundary benchmark: which bars, orders, turns and scores belong to a close."""

from __future__ import annotations

import msgspec

from pipeline.benchmarks.boundary import boundary, closed_bars
from pipeline.console.log_access import Record
from pipeline.core.bars import BAR_MS
from pipeline.core.units import Milliseconds
from pipeline.wire import lines
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


def test_only_closed_bars_of_the_close_count() -> None:
    """A forming candle and a bar of another time are none."""
    assert {(1, 5, 1): (CLOSE_MS + 2) * 1_000_000} == closed_bars(RECORDS, CLOSE_MS)
    assert {} == closed_bars(RECORDS, CLOSE_MS + BAR_MS)


def test_a_close_tells_its_orders_those_behind_a_bar_its_turns_and_its_last_score() -> None:
    """Behind means: after a bar of the same partition; scores of another bar or of a later turn are none of it."""
    bodies = {(record.partition, record.offset): record.value for record in RECORDS}
    intents = [intent("before", "1/5/0"), intent("behind", "1/5/2"), intent("elsewhere", "2/5/0")]
    attempts = [ended(name, 9_000_000) for name in ("before", "behind", "elsewhere")]
    told = [
        msgspec.structs.replace(
            published(), symbol=symbol, at_ms=Milliseconds(CLOSE_MS + late_ms), scores=scores(bar_close_ms=close_ms)
        )
        for symbol, late_ms, close_ms in (
            ("AUSDT", 120, CLOSE_MS),
            ("BUSDT", 870, CLOSE_MS),
            ("BUSDT", 90_000, CLOSE_MS),
            ("CUSDT", 2_000, CLOSE_MS - BAR_MS),
        )
    ]
    found = boundary(CLOSE_MS, closed_bars(RECORDS, CLOSE_MS), bodies, intents, attempts, told)

    assert (1, 3, 1) == (found.bars, len(found.orders), found.behind_bars)
    assert (2, 870, 2) == (found.scored, found.scored_last_ms, found.turns_largest)
