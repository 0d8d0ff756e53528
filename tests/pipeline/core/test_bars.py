"""The only place for tests of the bars: closed only, whole or not ready, ATR as a naive computation gives it."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.bars import ATR_PERIOD, BAR_MS, HOUR_MS, KEPT_BARS, BarHistory, Wilder, add_closed, backfill
from pipeline.core.events import Bar
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.sessions.script import START_MS, bars


def bar(index: int, *, high: int = 110, low: int = 90, close: int = 100, closed: bool = True) -> Bar:
    """The *index*-th bar after a full hour."""
    return Bar(
        open_ms=Milliseconds(START_MS + index * BAR_MS),
        open=Ticks(100),
        high=Ticks(high),
        low=Ticks(low),
        close=Ticks(close),
        lots=Lots(1),
        quote_volume=E8(1),
        taker_lots=Lots(1),
        taker_quote=E8(1),
        trades=1,
        closed=closed,
    )


PRICES = st.tuples(st.integers(50, 150), st.integers(0, 40), st.integers(0, 40)).map(
    lambda t: {"close": t[0], "high": t[0] + t[1], "low": t[0] - t[2]}
)


def naive_atr(rows: list[Bar]) -> Fraction:
    """Wilder's average true range in exact fractions, from the definition."""
    ranges = []
    for previous, now in zip([None, *rows], rows, strict=False):
        spans = [now.high - now.low]
        if previous is not None:
            spans += [abs(now.high - previous.close), abs(now.low - previous.close)]
        ranges.append(max(spans))
    value = Fraction(sum(ranges[:ATR_PERIOD]), ATR_PERIOD)
    for span in ranges[ATR_PERIOD:]:
        value += (span - value) / ATR_PERIOD
    return value


def naive_hours(rows: list[Bar]) -> list[Bar]:
    """Full hours of twelve bars."""
    hours: dict[int, list[Bar]] = {}
    for row in rows:
        hours.setdefault(row.open_ms // HOUR_MS, []).append(row)
    return [
        bar(0, high=max(r.high for r in hour), low=min(r.low for r in hour), close=hour[-1].close)
        for hour in hours.values()
        if len(hour) == 12
    ]


@settings(max_examples=25)
@given(st.integers(0, 11), st.lists(PRICES, min_size=200, max_size=260))
def test_both_averages_equal_a_naive_computation(first: int, prices: list[dict[str, int]]) -> None:
    """From any bar of the hour on: 5m and 1h averages agree with exact fractions to the unit of E8."""
    rows = [
        bar(first + i, high=price["high"], low=price["low"], close=price["close"]) for i, price in enumerate(prices)
    ]
    history = BarHistory()
    backfill(history, rows[:150])
    for row in rows[150:]:
        assert add_closed(history, row)

    assert history.ready
    for found, wanted in (
        (history.five_minutes, naive_atr(rows)),
        (history.one_hour, naive_atr(naive_hours(rows))),
    ):
        assert abs(found.e8(ONE_E8) - max(wanted, Fraction(2)) * ONE_E8) <= 1


def test_the_floor_is_two_ticks() -> None:
    """A dead market has a range all the same (domain 3.2)."""
    wilder = Wilder()
    for _ in range(20):
        wilder.add(high=100, low=100, close=100)

    assert 2 * 500 == wilder.e8(500)


def test_an_average_is_unknown_before_fourteen_bars() -> None:
    """0 stands for not known, never for a made-up value."""
    wilder = Wilder()
    for _ in range(13):
        wilder.add(high=110, low=90, close=100)

    assert 0 == wilder.e8(ONE_E8)


def test_the_forming_bar_a_duplicate_and_an_older_bar_change_nothing() -> None:
    """Only the next closed bar is folded."""
    history = BarHistory()
    backfill(history, bars(200, price=100, span=20))
    count = len(history.bars)

    assert not add_closed(history, bar(0, closed=False))
    assert not add_closed(history, history.bars[-1])
    assert not add_closed(history, history.bars[-5])
    assert (count, False) == (len(history.bars), history.gapped)


def test_a_hole_is_not_ready_until_the_answer_fills_it() -> None:
    """Bars behind the hole wait; the answer joins both sides and nothing is lost."""
    history = BarHistory()
    backfill(history, bars(200, price=100, span=20))
    add_closed(history, bar(1))
    add_closed(history, bar(2))
    assert (True, False) == (history.gapped, history.ready)

    assert backfill(history, [bar(0), bar(3, closed=False)])
    assert (True, START_MS + 3 * BAR_MS) == (history.ready, history.last_close_ms)


def test_an_answer_with_a_hole_keeps_the_unbroken_end() -> None:
    """What lies before the hole is dropped: an average over a hole would be made up."""
    history = BarHistory()
    backfill(history, [bar(i) for i in (0, 1, 5, 6, 7)])

    assert [START_MS + i * BAR_MS for i in (5, 6, 7)] == [row.open_ms for row in history.bars]
    assert not history.ready


def test_an_empty_answer_leaves_the_history_wanting() -> None:
    """No row, no history."""
    history = BarHistory()

    assert not backfill(history, [])
    assert (True, 0) == (history.gapped, history.last_close_ms)


def test_the_history_is_bounded() -> None:
    """The oldest bars give way."""
    history = BarHistory()
    backfill(history, bars(KEPT_BARS + 50, price=100, span=20))

    assert KEPT_BARS == len(history.bars)
