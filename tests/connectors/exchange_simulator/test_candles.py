"""Candles are whole: history joins the present, every interval is the merge of its minutes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from connectors.exchange_simulator.candles import (
    INTERVALS,
    MINUTE,
    CandleBook,
    merge,
    open_time,
    rest_row,
    stream_payload,
)
from connectors.exchange_simulator.instruments import default_instrument
from tests.connectors.exchange_simulator.venues import START

BTC = default_instrument("BTCUSDT")


def book(seed: int = 1) -> CandleBook:
    """Candles of BTCUSDT."""
    return CandleBook(BTC, seed=seed, stream=0, start_ms=START, start_ticks=838_600)


@pytest.mark.parametrize("interval", list(INTERVALS))
def test_rows_are_consecutive_and_close_where_the_next_opens(interval: str) -> None:
    """Rows of every interval follow each other without a hole, and hold their own extremes."""
    rows = book().rows(interval, start=None, end=None, limit=50, now_ms=START)

    assert open_time(START, interval) == rows[-1].open_ms
    for before, after in pairwise(rows):
        assert before.open_ms + INTERVALS[interval] == after.open_ms
        assert before.close == after.open
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in rows)


def test_a_thousand_five_minute_bars_have_the_configured_range() -> None:
    """The mean true range of the seeded history lies near the symbol's ATR (40 bps)."""
    bars = book().rows("5m", start=None, end=None, limit=1_000, now_ms=START)[:-1]
    ranges = [(bar.high - bar.low) * 10_000 / bar.close for bar in bars]

    assert 999 == len(bars)
    assert 36 < sum(ranges) / len(ranges) < 44


def test_the_same_seed_has_the_same_history_in_any_order_of_asking() -> None:
    """Asking for much first or little first gives the same bars; another seed other ones."""
    one, two, three = book(), book(), book(seed=2)
    one.rows("5m", start=None, end=None, limit=10, now_ms=START)

    def closes(candles: CandleBook) -> list[int]:
        return [bar.close for bar in candles.rows("1h", start=None, end=None, limit=100, now_ms=START)]

    assert closes(one) == closes(two)
    assert closes(one) != closes(three)


def test_minutes_close_and_larger_candles_are_their_merge() -> None:
    """Trades of seven minutes: the five-minute candles have the sums and extremes of their minutes."""
    candles = book()
    now = START // MINUTE * MINUTE
    for index in range(7):
        candles.advance(now)
        candles.current.trade(838_600 + index * 10, 5, 1_000, index % 2 == 0, index)
        now += MINUTE
    candles.advance(now)
    fives = candles.rows("5m", start=None, end=None, limit=2, now_ms=now)
    ones = candles.rows("1m", start=None, end=None, limit=8, now_ms=now)

    assert 7 * 5 == sum(bar.lots for bar in ones[-8:-1])
    merged = merge(fives[-1].open_ms, [bar for bar in ones if bar.open_ms >= fives[-1].open_ms])
    assert merged is not None
    assert (merged.high, merged.low, merged.close, merged.lots) == (
        fives[-1].high, fives[-1].low, fives[-1].close, fives[-1].lots,
    )  # fmt: skip


def test_a_candle_without_trades_repeats_the_close() -> None:
    """f and L are −1 and all prices equal the previous close (sheet 2.6)."""
    candles = book()
    candles.advance(START + 3 * MINUTE)
    payload = stream_payload(BTC, candles.current, "1m", event_ms=START, final=True)["k"]

    assert (-1, -1, 0, True) == (payload["f"], payload["L"], payload["n"], payload["x"])
    assert {"83860.00"} == {payload[name] for name in "ohlc"}


def test_a_rest_row_has_twelve_cells_of_the_venues_types() -> None:
    """Times and counts are numbers, everything else is text, the last cell is "0"."""
    row = rest_row(BTC, book().current, "5m")

    assert ["int", *["str"] * 5, "int", "str", "int", "str", "str", "str"] == [type(cell).__name__ for cell in row]
    assert (12, "0", row[0] + 299_999) == (len(row), row[-1], row[6])


def test_a_start_time_pages_forward() -> None:
    """With startTime the first rows from there on come, with endTime the last ones up to it."""
    candles = book()
    start = open_time(START, "5m") - 100 * INTERVALS["5m"]
    forward = candles.rows("5m", start=start, end=None, limit=10, now_ms=START)
    backward = candles.rows("5m", start=None, end=start, limit=10, now_ms=START)

    assert (start, 10) == (forward[0].open_ms, len(forward))
    assert (start, 10) == (backward[-1].open_ms, len(backward))
