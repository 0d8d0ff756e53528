"""The oracle's liquidity and order flow on seeded books and quotes: bounds, mirror, a book too thin, no book at all."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle import flow
from tests.oracle.machinery import Array
from tests.oracle.markets import START_MS, book, quotes


def upside_down(bids: Array, asks: Array) -> tuple[Array, Array]:
    """The same book with its sides exchanged about the middle."""
    about = bids[0, 0] + asks[0, 0]

    def turned(side: Array) -> Array:
        return np.stack([about - side[:, 0], side[:, 1]], axis=1)

    return turned(asks), turned(bids)


@pytest.mark.parametrize("seed", range(100))
def test_bounds_and_mirror(seed: int) -> None:
    """L lies within 0..100, quality within 0..1; the mirrored book leans the other way, with L the same."""
    bids, asks = book(seed)
    there, back = flow.liquidity(bids, asks, whole_book=False), flow.liquidity(*upside_down(bids, asks))

    assert 0 <= there.value <= 100
    assert 0 <= there.quality <= 1
    assert abs(there.imbalance) <= 1
    assert there.imbalance == pytest.approx(-back.imbalance)
    assert there.spread_bps == pytest.approx(back.spread_bps)


def test_books_are_of_every_kind() -> None:
    """The seeded books fill the ranking size or not, lean or not, and reach 10 bps or not."""
    found = [flow.liquidity(*book(seed), whole_book=False) for seed in range(200)]

    assert {True, False} == {one.filled for one in found}
    assert {True, False} == {one.quality < 1 for one in found}
    assert {True, False} == {abs(one.imbalance) < 0.3 for one in found}
    assert {True, False} == {abs(one.imbalance) < 0.5 for one in found}


def test_no_book_no_quality() -> None:
    """An empty side and a crossed book have quality 0."""
    bids, asks = book(1)

    assert 0 == flow.liquidity(bids, asks[:0]).quality
    assert 0 == flow.liquidity(asks, bids).quality


def test_impact_is_the_worse_side_and_grows() -> None:
    """More notional never costs less; a side that cannot fill it gives no points for impact."""
    bids, asks = book(4)
    deep = float((bids[:, 0] * bids[:, 1]).sum())
    costs = [flow.impact_bps(bids, asks, share * deep)[0] for share in (0.1, 0.3, 0.6, 0.9)]

    assert (np.diff(costs) >= -1e-9).all()
    assert not flow.impact_bps(bids, asks, 100 * deep)[1]


@pytest.mark.parametrize("seed", range(4))
def test_order_flow_mirrors(seed: int) -> None:
    """Exchanging the sides negates order flow and the lean of the microprice; its z is ready after 200 seconds."""
    made = quotes(seed, seconds=600)
    at_ms = START_MS + 1000 * np.arange(1, 601)
    about = made.bid.max() + made.ask.max()
    there = flow.order_flow_seconds(made.time_ms, made.bid, made.bid_quantity, made.ask, made.ask_quantity, at_ms=at_ms)
    back = flow.order_flow_seconds(
        made.time_ms, about - made.ask, made.ask_quantity, about - made.bid, made.bid_quantity, at_ms=at_ms
    )
    known = ~np.isnan(there.value)

    assert np.allclose(there.value[known], -back.value[known], rtol=0, atol=1e-9)
    assert np.flatnonzero(known)[0] + 199 == np.argmax(there.ready)
    assert (np.abs(flow.lean_bps(made.bid, made.bid_quantity, made.ask, made.ask_quantity)) > 0).any()
