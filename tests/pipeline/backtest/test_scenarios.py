"""The only place for tests of market situations through the pipeline: opened from signals, ended as expected."""

from __future__ import annotations

from functools import cache

from pipeline.backtest.run import Trace
from pipeline.backtest.scenarios import Verdict, carry_out, judge, market_of

played = cache(carry_out)


def _trend() -> Verdict:
    return played("trend")


def test_trend_is_entered_by_a_signal_and_left_by_the_trail() -> None:
    """A position opens from a signal with the domain's thresholds, is hardly naked, ends at the trailed stop."""
    found = _trend()

    assert [] == found.failed
    assert (1, 1, ["S_ch (trailing_stop)"]) == (found.positions, found.by_signal, found.reasons)
    assert found.naked_ms < 500


def test_its_story_names_the_rule_and_its_cause() -> None:
    """The story that explain tells has the trail, the mark prices behind it, and how the trade ended."""
    text = _trend().story

    assert "S_ch: stop trails the best mark" in text
    assert "markPriceUpdate" in text
    assert "(S_ch)" in text


def test_nothing_is_judged_good_by_default() -> None:
    """A run in which nothing happened fails every promise that speaks of a position."""
    market = market_of("trend")
    empty = Trace(
        symbol=market.symbol, market=market.name, shift_ms=0, length_ms=0, tick_e8=1, step_e8=1, assumed=(), equal=True
    )
    found = judge("trend", empty, [], [])

    assert not found.holds
    assert "no position was opened" in found.failed
    assert "the story does not name the cause" in found.failed
