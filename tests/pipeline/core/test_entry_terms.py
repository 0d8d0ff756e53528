"""Tests of reading an entry's terms: nothing is rounded, and every refusal says what would be allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.entry_terms import Refused, levels, size
from pipeline.core.events import Side
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, ONE_E8, format_e8

BTC = Instrument(
    symbol="BTCUSDT",
    status="TRADING",
    tick_e8=10_000_000,
    step_e8=100_000,
    min_price_ticks=5_566,
    max_price_ticks=45_293_280,
    min_lots=1,
    max_lots=1_000_000,
    max_market_lots=120_000,
    min_notional_e8=100 * ONE_E8,
)
LARGEST = E8(10_000 * ONE_E8)


@pytest.mark.parametrize(
    ("quantity", "notional", "words"),
    [
        ("", "", "none was given"),
        ("1", "100", "both were given"),
        ("0.0015", "", "off the grid of 0.001: 0.001 or 0.002 would be allowed"),
        ("0.0001", "", "off the grid of 0.001: 0.001 would be allowed"),
        ("0", "", "not above zero"),
        ("-1", "", "not above zero"),
        ("1e3", "", "no plain decimal"),
        ("１", "", "no plain decimal"),
        ("1001", "", "outside what the venue allows: 0.001 to 1000"),
        ("", "99.99", "100 (the venue's least) to 10000 USDT"),
        ("", "10001", "100 (the venue's least) to 10000 USDT"),
    ],
)
def test_a_wrong_amount_is_refused_with_what_is_allowed(quantity: str, notional: str, words: str) -> None:
    """Each wrong amount is refused, and the words say what would pass."""
    with pytest.raises(Refused) as caught:
        size(quantity=quantity, notional=notional, instrument=BTC, largest=LARGEST)

    assert words in str(caught.value)


def test_amounts_are_read_exactly() -> None:
    """A quantity becomes lots, a notional stays money."""
    assert (250, 0) == size(quantity="0.25", notional="", instrument=BTC, largest=LARGEST)
    assert (0, 500 * ONE_E8) == size(quantity="", notional="500", instrument=BTC, largest=LARGEST)


@pytest.mark.parametrize(
    ("side", "stop", "target", "last", "words"),
    [
        (Side.BUY, "60000.05", "", "", "off the grid of 0.1: 60000 or 60000.1 would be allowed"),
        (Side.BUY, "61000", "60000", "", "the stop of a long lies below its target: found stop 61000 and target 60000"),
        (Side.SELL, "60000", "61000", "", "the stop of a short lies above its target"),
        (Side.BUY, "", "62000", "61000", "the target of a long lies below its last target"),
        (Side.BUY, "61000", "", "60000", "the stop of a long lies below its last target"),
        (Side.BUY, "60000", "60000", "", "the stop of a long lies below its target"),
        (Side.BUY, "1", "", "", "outside what the venue allows: 556.6 to 4529328"),
    ],
)
def test_a_level_on_the_wrong_side_is_refused(side: Side, stop: str, target: str, last: str, words: str) -> None:
    """Levels off the grid, out of range or on the wrong side of each other are refused with both numbers."""
    with pytest.raises(Refused) as caught:
        levels(side=side, stop=stop, target=target, last_target=last, instrument=BTC)

    assert words in str(caught.value)


@given(st.integers(5_566, 45_293_280), st.integers(5_566, 45_293_280), st.sampled_from(Side))
def test_levels_pass_exactly_in_the_order_of_the_side(stop: int, target: int, side: Side) -> None:
    """On the grid, a stop and a target pass if and only if the target is on the winning side."""
    texts = [format_e8(ticks * BTC.tick_e8) for ticks in (stop, target)]
    try:
        found = levels(side=side, stop=texts[0], target=texts[1], last_target="", instrument=BTC)
    except Refused:
        assert (target - stop) * side.sign <= 0
    else:
        assert (stop, target, 0) == found
        assert (target - stop) * side.sign > 0
