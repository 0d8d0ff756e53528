"""The only place for the market whose factors are measured: every input of one symbol, made up, all factors ready."""

from __future__ import annotations

from typing import Final

from pipeline.core import factor_set
from pipeline.core.bars import BAR_MS, BarHistory
from pipeline.core.events import Bar, MarkPrice, OpenInterest, Quote, Side
from pipeline.core.factor_set import FactorState
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks

START_MS: Final = 1_790_769_600_000
TICK_E8: Final = 10_000_000
STEP_E8: Final = 100_000
PRICE: Final = 600_000
LEVELS: Final = 100


def _bar(number: int) -> Bar:
    """A zigzag of two speeds, so that swings are confirmed, with volumes that vary."""
    close = PRICE + 4 * abs(number % 34 - 17) * 30 + number * 7919 % 97
    quote = (30_000_000 + number * 104_729 % 20_000_000) * ONE_E8
    return Bar(
        open_ms=Milliseconds(START_MS + number * BAR_MS),
        open=Ticks(close - 20),
        high=Ticks(close + 40),
        low=Ticks(close - 60),
        close=Ticks(close),
        lots=Lots(1_000),
        quote_volume=E8(quote),
        taker_lots=Lots(500),
        taker_quote=E8(quote * (45 + number * 31 % 11) // 100),
        trades=1,
        closed=True,
    )


def market(count: int) -> tuple[FactorState, int]:
    """A symbol after *count* bars with quotes, books, marks, polls, liquidations and references; and the log time."""
    state = factor_set.new_factor_state("SOLUSDT", tick_e8=TICK_E8, step_e8=STEP_E8)
    history = BarHistory()
    now_ms = START_MS
    for number in range(count):
        bar = _bar(number)
        now_ms = bar.open_ms + BAR_MS
        near = 10 + number % 30
        quote = Quote(number, Ticks(PRICE), Lots(near), Ticks(PRICE + 1), Lots(20), Milliseconds(now_ms))
        factor_set.on_quote(state, quote, now_ms=now_ms)
        bids = [(PRICE - level, near * 50) for level in range(LEVELS)]
        asks = [(PRICE + 1 + level, 1_000) for level in range(LEVELS)]
        factor_set.on_depth(state, bids, asks, whole=True, now_ms=now_ms)
        mark = PRICE * TICK_E8
        event = MarkPrice(
            E8(mark), E8(mark + number % 7 * ONE_E8), 10_000, Milliseconds(START_MS), Milliseconds(now_ms)
        )
        factor_set.on_mark(state, event, now_ms=now_ms, interval_hours=8)
        interest = OpenInterest(Lots(5_000_000 + number * 7_919 % 40_000), Milliseconds(now_ms))
        factor_set.on_open_interest(state, interest, now_ms=now_ms)
        side = Side.SELL if number % 3 else Side.BUY
        factor_set.on_liquidation(
            state, side=side, price_e8=mark, lots=10 + number % 50, trade_ms=now_ms, now_ms=now_ms
        )
        for name, scale in (("BTCUSDT", 3), ("ETHUSDT", 5)):
            factor_set.on_reference_bar(state, name, open_ms=bar.open_ms, close=bar.close + number * scale % 91)
        factor_set.follow(history, bar)
        factor_set.on_closed_bar(state, bar, ranges=factor_set.ranges_of(history), now_ms=now_ms)
    return state, now_ms
