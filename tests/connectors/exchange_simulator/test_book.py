"""Depth keeps its order, deletes what is set to zero, and sells the same liquidity once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.book import Execution, MarketBook

levels = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), max_size=40)


@given(levels, levels)
def test_the_book_is_what_a_plain_dictionary_says(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
    """After any changes, levels and best prices equal those of a naive replay."""
    book = MarketBook()
    naive_bids: dict[int, int] = {}
    naive_asks: dict[int, int] = {}
    for naive, changes in ((naive_bids, bids), (naive_asks, asks)):
        for ticks, lots in changes:
            naive.pop(ticks, None)
            if lots:
                naive[ticks] = lots
    book.set_levels(bids, asks)

    assert sorted(naive_bids.items(), reverse=True) == book.top_bids(100)
    assert sorted(naive_asks.items()) == book.top_asks(100)
    assert max(naive_bids, default=None) == book.best_bid
    assert min(naive_asks, default=None) == book.best_ask


@given(st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_liquidity_is_sold_once(wishes: list[int]) -> None:
    """Takers together never get more than the level shows, until the source refreshes it."""
    book = MarketBook()
    book.set_levels([], [(100, 30), (101, 20)])
    sold = 0
    for lots in wishes:
        parts = book.sweep(buy=True, lots=lots, limit=None)
        book.take(parts)
        sold += sum(part.lots for part in parts)

    assert min(50, sum(wishes)) == sold
    book.set_levels([], [(100, 30)])
    assert 30 <= sum(part.lots for part in book.sweep(buy=True, lots=99, limit=100))


def test_a_sweep_goes_from_the_best_price_to_the_limit() -> None:
    """Best first, nothing beyond the limit, on both sides."""
    book = MarketBook()
    book.set_levels([(98, 5), (99, 5)], [(101, 5), (102, 5), (104, 5)])

    assert [Execution(101, 5), Execution(102, 2)] == book.sweep(buy=True, lots=7, limit=103)
    assert [Execution(99, 5)] == book.sweep(buy=False, lots=7, limit=99)
