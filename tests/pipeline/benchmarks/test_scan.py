"""Tests of the scan benchmark: a ranking is complete when every symbol has spoken of the newest bar, twice."""

from __future__ import annotations

import msgspec

from pipeline.benchmarks.scan import Close, Follower, judged
from pipeline.console.log_access import Record
from pipeline.core.bars import BAR_MS
from pipeline.core.units import Milliseconds
from pipeline.wire import records
from pipeline.wire.topics import ACCOUNT, FACTORS
from tests.core_scores import scores
from tests.pipeline.core.test_risk import signal
from tests.pipeline.reporting.test_factor_story import published

CLOSE_MS = 1_800_000_000_000 // BAR_MS * BAR_MS


def word(symbol: str, close_ms: int) -> Record:
    """What a closed bar said about a symbol."""
    report = signal(symbol, bar_ms=Milliseconds(close_ms)).report
    return Record(0, 1, 1, None, records.encode(records.SignalReported(symbol=symbol, cause="1/2/3", report=report)))


def values(symbol: str, close_ms: int) -> Record:
    """A symbol's factors of that bar."""
    told = msgspec.structs.replace(published(), symbol=symbol, scores=scores(bar_close_ms=close_ms))
    return Record(0, 1, 1, None, records.encode(told))


def test_a_ranking_is_complete_with_the_last_symbol_in_both_topics() -> None:
    """Neither factors without the word of the bar nor a symbol that still speaks of the bar before will do."""
    follower = Follower()
    for symbol in ("AUSDT", "BUSDT"):
        follower.take(FACTORS, values(symbol, CLOSE_MS), 2)
        follower.take(ACCOUNT, word(symbol, CLOSE_MS - BAR_MS), 2)
    follower.take(ACCOUNT, word("AUSDT", CLOSE_MS), 2)
    assert CLOSE_MS not in follower.ranked
    follower.take(ACCOUNT, word("BUSDT", CLOSE_MS), 2)

    assert [CLOSE_MS] == list(follower.ranked)


def test_time_runs_from_the_first_bar_and_from_the_last() -> None:
    """REST is counted close by close; the shortlist's time is that of the first record behind the bars."""
    bars = {CLOSE_MS: {(0, 1, 0): 1_000_000_000, (1, 1, 0): 1_020_000_000}}
    told = [records.Tiers(Milliseconds(at), at, [], []) for at in (900, 1_400, 1_900)]

    found = judged([Close(CLOSE_MS, 1_500_000_000, {"GET /a": 1})], bars, told)

    assert {
        "first": [500.0], "last": [480.0], "told": [400], "rest": [1], "paths": ["GET /a"], "bars": 2
    } == found  # fmt: skip
