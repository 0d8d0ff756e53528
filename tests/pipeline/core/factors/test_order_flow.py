"""The only place for tests of microprice and order-flow imbalance: test vectors, mirror, seconds, quotes refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.factors.order_flow import OrderFlow, OrderFlowParameters, event, microprice, new

START_MS = 1_000_000
QUOTES = st.lists(
    st.tuples(st.integers(90, 110), st.integers(1, 5), st.integers(1, 99), st.integers(1, 99), st.integers(0, 2_500)),
    min_size=1,
    max_size=40,
)


def test_vector_of_events() -> None:
    """Domain 8.4: (100×5,101×7)→(100×8,101×4) is +6; →(100.5×2,101×7) is +2; →(100×5,100.5×3) is −3."""
    first = (1_000, 5, 1_010, 7)

    assert [6, 2, -3] == [
        event(*first, *now) for now in ((1_000, 8, 1_010, 4), (1_005, 2, 1_010, 7), (1_000, 5, 1_005, 3))
    ]


def test_vector_of_the_microprice() -> None:
    """Domain 8.4: bid 100×9, ask 100.1×3 give 100.075."""
    assert 100.075 == pytest.approx(microprice(bid=100.0, bid_lots=9, ask=100.1, ask_lots=3))


def _fold(quotes: list[tuple[int, int, int, int, int]], *, turned: bool = False) -> OrderFlow:
    state = new(OrderFlowParameters())
    now = START_MS
    for bid, spread, bid_lots, ask_lots, step in quotes:
        now += step
        if turned:
            state.add(bid=200 - bid - spread, bid_lots=ask_lots, ask=200 - bid, ask_lots=bid_lots, now_ms=now)
        else:
            state.add(bid=bid, bid_lots=bid_lots, ask=bid + spread, ask_lots=ask_lots, now_ms=now)
    return state


@given(QUOTES)
def test_a_mirrored_book_has_mirrored_flow(quotes: list[tuple[int, int, int, int, int]]) -> None:
    """Flow and its score turn their sign, to the bit."""
    here, there = _fold(quotes), _fold(quotes, turned=True)

    assert (-here.flow(here.at_ms), -here.z) == (there.flow(there.at_ms), there.z)


@given(QUOTES, st.integers(0, 40))
def test_a_stored_flow_goes_on_as_if_it_had_not_been_stored(
    quotes: list[tuple[int, int, int, int, int]], cut: int
) -> None:
    """Encoding and decoding at any quote changes no later bit."""
    kept, stored = new(OrderFlowParameters()), new(OrderFlowParameters())
    now = START_MS
    for index, (bid, spread, bid_lots, ask_lots, step) in enumerate(quotes):
        now += step
        if index == cut:
            stored = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=OrderFlow)
        for state in (kept, stored):
            state.add(bid=bid, bid_lots=bid_lots, ask=bid + spread, ask_lots=ask_lots, now_ms=now)

    assert kept == stored


def test_a_second_is_a_sample_and_silence_is_none() -> None:
    """Each full second gives one sample as the flow had decayed by then; a minute of silence gives five."""
    state = new(OrderFlowParameters())
    counts = []
    for at in (0, 999, 1_000, 1_001, 3_500, 63_500):
        state.add(bid=100, bid_lots=5, ask=101, ask_lots=5, now_ms=START_MS + at)
        counts.append(state.moments.count)

    assert [0, 1, 1, 2, 4, 9] == counts


def test_a_quote_that_cannot_be_is_not_taken() -> None:
    """Crossed, empty and without quantity: the last true quote stays."""
    state = _fold([(100, 2, 9, 3, 0)])
    before = msgspec.msgpack.encode(state)
    for bid, bid_lots, ask, ask_lots in ((102, 1, 102, 1), (0, 1, 5, 1), (100, 0, 101, 1), (100, 1, 101, -1)):
        state.add(bid=bid, bid_lots=bid_lots, ask=ask, ask_lots=ask_lots, now_ms=START_MS + 5)

    assert before == msgspec.msgpack.encode(state)
    assert [101.0, pytest.approx(1e4 * (101.5 / 101 - 1))] == [state.mid, state.lean_bps]


def test_before_the_first_quote_there_is_nothing() -> None:
    """No mid, no lean, no flow, and nothing divides by zero."""
    state = new(OrderFlowParameters())

    assert [0.0, 0.0, 0.0] == [state.mid, state.lean_bps, state.flow(START_MS)]
