"""
The only place for tests of market situations through the pipeline: opened from signals, ended as expected.

Not all of them are played here, for each costs six seconds and more: ``wall-eaten`` is like ``wall-pulled`` but for the
last words, ``funding`` takes half an hour of market, ``cascade`` a whole one. ``perpguard scenarios`` plays them all.
"""

from __future__ import annotations

from functools import cache

import pytest

from pipeline.backtest.expected import EXPECTED
from pipeline.backtest.run import Trace
from pipeline.backtest.scenarios import Verdict, carry_out, judge, market_of

PLAYED = ("trend", "wall-pulled", "halt", "thin-start")

played = cache(carry_out)


def _trend() -> Verdict:
    return played("trend")


@pytest.mark.parametrize("name", PLAYED)
def test_situation_is_opened_by_a_signal_guarded_and_ended_as_expected(name: str) -> None:
    """A position opens from a signal, thresholds as by default, is hardly naked, and ends for the reason expected."""
    found = played(name)
    ended = EXPECTED[name]

    assert [] == found.failed
    assert found.naked_ms < 500
    if ended.refused_by:
        assert (0, 0, []) == (found.positions, found.by_signal, found.reasons)
    else:
        assert (1, 1, [f"{ended.reason} ({ended.outcome})"]) == (found.positions, found.by_signal, found.reasons)


def test_its_story_goes_from_the_signal_with_its_factors_to_the_end() -> None:
    """What explain tells: signal, factor values, admission, intent, order, fill, the trail with its causes, the end."""
    text = _trend().story
    places = [
        text.index(words)
        for words in (
            "signal: a closed bar gave a signal",
            "; T +",
            "→ signal prime BUY: E ",
            "entry_used: an admitted entry",
            "asked for by a signal",
            "→ enter BUY ",
            "place entry LIMIT BUY",
            "accepted, filled ",
            "S_ch: stop trails the best mark",
            "STOP: a stop filled and nothing is left",
            "flat by trailing stop (S_ch)",
        )
    ]

    assert sorted(places) == places
    assert "markPriceUpdate" in text
    assert "filled 0.119 at 0:" not in text


def test_an_entry_that_was_none_is_told_with_its_gate() -> None:
    """Of the thin book explain says which gate refused, what it found and what is allowed."""
    text = played("thin-start").story

    assert "last closed bar: prime long" in text or "last closed bar: watch long" in text
    assert "gate liquidity refuses: found " in text
    assert ", allowed ≥ " in text


def test_nothing_is_judged_good_by_default() -> None:
    """A run in which nothing happened fails every promise that speaks of a position."""
    market = market_of("trend")
    empty = Trace(
        symbol=market.symbol, market=market.name, shift_ms=0, length_ms=0, tick_e8=1, step_e8=1, assumed=(), equal=True
    )
    found = judge("trend", empty, [], [])

    assert not found.holds
    assert "no position was opened" in found.failed
    assert any("explain does not tell: the signal, " in text for text in found.failed)
    assert not judge("thin-start", empty, [], []).holds


def test_a_gate_that_is_not_named_is_seen() -> None:
    """Of an entry that may not be, explain must name one of the gates expected."""
    market = market_of("thin-start")
    trace = Trace(
        symbol=market.symbol, market=market.name, shift_ms=0, length_ms=0, tick_e8=1, step_e8=1, assumed=(), equal=True
    )

    assert judge("thin-start", trace, [], [], "gate liquidity refuses: found 5, allowed ≥ 40").holds
    assert not judge("thin-start", trace, [], [], "no gate refuses").holds
