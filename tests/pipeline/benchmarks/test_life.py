"""The obliging venue makes whole lives: every way to end, either side, and nothing is left over."""

from __future__ import annotations

import pytest

from pipeline.benchmarks.life import ENDINGS, Life
from pipeline.core.commands import ReportTrade
from pipeline.core.events import Side

OUTCOMES = {
    "stop": "hard_stop",
    "target": "target",
    "trail": "trailing_stop",
    "hand": "closed_by_hand",
    "killed": "killed",
    "external": "external",
    "reduced": "hard_stop",
    "stuck": "emergency",
    "asleep": "emergency",
    "naked": "emergency",
    "time": "time",
}


def test_every_ending_is_expected_here() -> None:
    """A new one says how its trade is called."""
    assert set(ENDINGS) == set(OUTCOMES)


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("ending", sorted(OUTCOMES))
def test_a_position_lives_and_ends_flat(ending: str, side: Side) -> None:
    """One trade is reported, nothing rests, no symbol is halted."""
    life = Life()

    life.live_and_die(side, ending)

    trades = [output for row in life.decisions for output in row.outputs if isinstance(output, ReportTrade)]
    assert [(side, 100)] == [(trade.side, trade.lots) for trade in trades]
    assert (0, {}) == (life.lots, life.resting)
    assert OUTCOMES[ending] == trades[0].outcome
    assert "" == life.fold.states[life.symbol].halted
