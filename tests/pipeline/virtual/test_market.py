"""The thin market: a path is ridden to its end, the book is never empty, the same seed gives the same market."""

from __future__ import annotations

from random import Random

from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.market_events import BookChange
from pipeline.virtual.market import Leg, SparseMarket

ROWS = [default_instrument("BTCUSDT"), default_instrument("ETHUSDT")]


def market(seed: int = 1) -> SparseMarket:
    """Both symbols from time 0."""
    return SparseMarket(ROWS, random=Random(seed), start_ms=0)


def test_a_ride_moves_the_middle_evenly_and_holds_at_its_end() -> None:
    """100 bps in two seconds: half of them after one."""
    made = market()
    start = made.middle("BTCUSDT", 0)
    made.ride("BTCUSDT", [Leg(2_000, 100), Leg(1, -50)], now_ms=1_000)

    assert start == made.middle("BTCUSDT", 1_000)
    assert start + start * 50 // 10_000 == made.middle("BTCUSDT", 2_000)
    peak = start + start * 100 // 10_000
    assert peak + peak * -50 // 10_000 == made.middle("BTCUSDT", 60_000)


def test_every_symbol_steps_in_turn_with_a_whole_book() -> None:
    """Bids below asks, and what left the book is deleted."""
    made = market()
    books: dict[str, tuple[dict[int, int], dict[int, int]]] = {row.symbol: ({}, {}) for row in ROWS}
    events = made.initial(0)
    made.ride("ETHUSDT", [Leg(3_000, -80)], now_ms=0)
    while (due := made.next_due()) is not None and due < 5_000:
        events += made.take(due)
        for event in events:
            assert isinstance(event, BookChange)
            for side, levels in zip(books[event.symbol], (event.bids, event.asks), strict=True):
                side.update(levels)
                for ticks, lots in levels:
                    if not lots:
                        del side[ticks]
            bids, asks = books[event.symbol]
            assert max(bids) < min(asks)
            assert 5 == len(bids) == len(asks)
        events = []


def test_the_same_seed_gives_the_same_market() -> None:
    """Another one another."""
    first, same, other = market(), market(), market(2)

    assert first.initial(0) == same.initial(0)
    assert [first.take(400) for _ in range(9)] == [same.take(400) for _ in range(9)]
    assert first.take(800) != other.take(800)
    assert {"source": "sparse"} == first.status()
