"""The only place where tests of factors get their markets from: seeded walks, their mirror, and a fold of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from pipeline.core import factor_set
from pipeline.core.bars import BAR_MS, BarHistory
from pipeline.core.events import Bar, MarkPrice, OpenInterest, Quote, Side
from pipeline.core.factor_set import FactorState, new_factor_state
from pipeline.core.factors.parameters import DEFAULT, FactorParameters
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks

START_MS = 1_790_769_600_000  # a full hour
TICK_E8 = 10_000_000  # 0.1
STEP_E8 = 100_000  # 0.001
PRICE = 600_000  # ticks


def walk(count: int, *, seed: int, price: int = PRICE, sigma: float = 60.0) -> list[Bar]:
    """A random walk of *count* closed bars with volumes, heavy tails and taker shares, deterministic by *seed*."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, size=(count, 12)) * sigma / 3.5
    quotes = np.exp(rng.normal(16.0, 0.6, count))
    shares = np.clip(0.5 + rng.normal(0.0, 0.05, count) + steps.sum(1) / sigma * 0.02, 0.02, 0.98)
    rows: list[Bar] = []
    at = float(price)
    for index in range(count):
        path = np.round(at + np.concatenate(([0.0], np.cumsum(steps[index]))))
        at = float(path[-1])
        quote = int(quotes[index] * ONE_E8)
        rows.append(
            Bar(
                open_ms=Milliseconds(START_MS + index * BAR_MS),
                open=Ticks(int(path[0])),
                high=Ticks(int(path.max())),
                low=Ticks(int(path.min())),
                close=Ticks(int(path[-1])),
                lots=Lots(1_000),
                quote_volume=E8(quote),
                taker_lots=Lots(500),
                taker_quote=E8(int(quote * shares[index])),
                trades=100,
                closed=True,
            )
        )
    return rows


def mirrored(bars: Iterable[Bar], *, around: int = PRICE) -> list[Bar]:
    """The same market reflected at a price: highs are lows, buyers are sellers."""
    return [
        msgspec.structs.replace(
            bar,
            open=Ticks(2 * around - bar.open),
            high=Ticks(2 * around - bar.low),
            low=Ticks(2 * around - bar.high),
            close=Ticks(2 * around - bar.close),
            taker_quote=E8(bar.quote_volume - bar.taker_quote),
        )
        for bar in bars
    ]


def interests(count: int, *, seed: int) -> list[int]:
    """Open interest in lots at each bar's close."""
    return [int(x) for x in 50_000_000 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.002, count)))]


def new(symbol: str = "SOLUSDT", parameters: FactorParameters = DEFAULT) -> FactorState:
    """A state on the grid of these markets."""
    return new_factor_state(symbol, tick_e8=TICK_E8, step_e8=STEP_E8, parameters=parameters)


def fold(
    state: FactorState,
    bars: Iterable[Bar],
    *,
    history: BarHistory | None = None,
    interest: list[int] | None = None,
    parameters: FactorParameters = DEFAULT,
) -> Iterator[Bar]:
    """Close bar after bar, with an open interest just before each, and yield each after it was folded."""
    history = history if history is not None else BarHistory()
    for index, bar in enumerate(bars):
        now_ms = bar.open_ms + BAR_MS
        if interest is not None:
            answer = OpenInterest(Lots(interest[index]), Milliseconds(now_ms - 500))
            factor_set.on_open_interest(state, answer, now_ms=now_ms - 500, poll_ms=300_000, parameters=parameters)
        factor_set.follow(history, bar)
        factor_set.on_closed_bar(state, bar, ranges=factor_set.ranges_of(history), now_ms=now_ms, parameters=parameters)
        yield bar


def fold_all(
    bars: list[Bar], *, interest: list[int] | None = None, parameters: FactorParameters = DEFAULT
) -> FactorState:
    """A new state with all *bars* folded."""
    state = new(parameters=parameters)
    for _ in fold(state, bars, interest=interest, parameters=parameters):
        pass
    return state


def mark(*, price: float, index: float, rate: float = 0.0001, next_funding_ms: int, at_ms: int) -> MarkPrice:
    """A mark price of the venue."""
    return MarkPrice(
        mark=E8(round(price * ONE_E8)),
        index=E8(round(index * ONE_E8)),
        funding_rate_e8=round(rate * ONE_E8),
        next_funding_ms=Milliseconds(next_funding_ms),
        event_ms=Milliseconds(at_ms),
    )


def quote(bid: int, ask: int, *, at_ms: int, bid_lots: int = 10, ask_lots: int = 10) -> Quote:
    """A best bid and ask."""
    return Quote(
        update_id=at_ms,
        bid=Ticks(bid),
        bid_lots=Lots(bid_lots),
        ask=Ticks(ask),
        ask_lots=Lots(ask_lots),
        event_ms=Milliseconds(at_ms),
    )


def busy_day(count: int, *, seed: int, turned: bool = False) -> Iterator[tuple[FactorState, int]]:
    """
    A market with every kind of input; yields (state, log time) after each bar's close.

    *turned* gives the mirrored one: prices reflected, buyers for sellers, liquidated shorts for longs. Basis and index
    are left out of the mirror (their formula is not symmetric in price); both get the same mark at the index.
    """
    bars = walk(count, seed=seed)
    rng = np.random.default_rng(seed + 1)
    events = rng.random(count) < 0.4
    sizes = np.exp(rng.normal(10.5, 1.2, count))
    longs = rng.random(count) < 0.5
    leans = rng.integers(1, 40, (count, 2))
    if turned:
        bars, longs, leans = mirrored(bars), ~longs, leans[:, ::-1]
    state = new()
    steps = fold(state, bars, interest=interests(count, seed=seed + 2))
    for index in range(count):
        before_ms = bars[index].open_ms + BAR_MS - 2_000
        factor_set.on_liquidation_socket(state, now_ms=before_ms)
        if events[index]:
            factor_set.on_liquidation(
                state,
                side=Side.SELL if longs[index] else Side.BUY,
                price_e8=60_000 * ONE_E8,
                lots=max(1, int(sizes[index] / 60)),
                trade_ms=before_ms,
                now_ms=before_ms,
            )
        at = PRICE
        near, far = int(leans[index, 0]), int(leans[index, 1])
        factor_set.on_quote(
            state, quote(at - 1, at + 1, at_ms=before_ms, bid_lots=near, ask_lots=far), now_ms=before_ms
        )
        factor_set.on_depth(
            state,
            [(at - 1 - k, near * (k + 1) * 100) for k in range(100)],
            [(at + 1 + k, far * (k + 1) * 100) for k in range(100)],
            whole=True,
            now_ms=before_ms,
        )
        price = PRICE * TICK_E8 / ONE_E8
        factor_set.on_mark(
            state,
            mark(price=price, index=price, next_funding_ms=START_MS + 28_800_000, at_ms=before_ms),
            now_ms=before_ms,
        )
        bar = next(steps)
        for name, scale in (("BTCUSDT", 1.0), ("ETHUSDT", 0.7)):
            factor_set.on_reference_bar(
                state, name, open_ms=bar.open_ms, close=60_000.0 + scale * (index * 37 % 101) + 0.01 * bar.close * scale
            )
        yield state, bar.open_ms + BAR_MS


def copied(state: FactorState) -> FactorState:
    """The state as it comes back from its bytes."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=FactorState)


def end_of_day(count: int, *, seed: int) -> tuple[FactorState, int]:
    """The last state of a busy day of *count* bars, and its log time."""
    *_, last = busy_day(count, seed=seed)
    return last
