"""The only place for tests of the market situations: their data are usable, their past is candles like any other."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.candles import FIVE, MINUTE
from connectors.exchange_simulator.happenings import first_mistake
from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.scenarios import check
from connectors.exchange_simulator.situations import RISING, SITUATIONS, SYMBOL, past_bars

START_MS = 1_790_771_372_000
ROW = default_instrument(SYMBOL)


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_situation_can_be_played(name: str) -> None:
    """Names, paths, happenings and past of each situation are within what the simulator allows."""
    scenario = SITUATIONS[name]
    check(scenario)

    assert first_mistake(scenario.happenings) is None
    assert scenario.path_of(SYMBOL)


def test_past_ends_where_the_market_starts() -> None:
    """Bars follow each other without a hole, five minutes and then single ones, and end at the starting price."""
    bars = past_bars(ROW, RISING, seed=1, start_ms=START_MS)
    five = START_MS // FIVE * FIVE
    spans = [FIVE if bar.open_ms < five else MINUTE for bar in bars]

    assert ROW.price_e8 // ROW.tick_e8 == bars[-1].close
    assert START_MS // MINUTE * MINUTE == bars[-1].open_ms + spans[-1]
    for before, after, span in zip(bars, bars[1:], spans, strict=False):
        assert before.open_ms + span == after.open_ms
        assert before.close == after.open


def test_bars_are_possible() -> None:
    """High and low enclose open and close; takers bought no more than was traded."""
    for bar in past_bars(ROW, RISING, seed=3, start_ms=START_MS):
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert 0 <= bar.buy_lots <= bar.lots
        assert 0 <= bar.buy_quote <= bar.quote


def test_same_seed_is_the_same_past() -> None:
    """Nothing but symbol, legs, seed and start goes into it."""
    first, again, other = (
        [
            (bar.open, bar.high, bar.low, bar.close, bar.lots)
            for bar in past_bars(ROW, RISING, seed=s, start_ms=START_MS)
        ]
        for s in (1, 1, 2)
    )

    assert first == again
    assert first != other
