"""Texts of the venue become integers exactly, or are refused; what is remembered never changes an answer."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.binance import numbers
from pipeline.binance.numbers import AMOUNT_MAX, BAD_INPUT, GRID_TEXTS, Grid, Refused, SymbolNumbers
from pipeline.core.events import Side
from pipeline.core.units import NotADecimal, OffGrid, format_e8
from tests.pipeline.binance.frames import BTCUSDT


@given(st.integers(1, 10**9), st.sampled_from([1, 100, 10_000_000, 25_000_000, 100_000_000]))
def test_a_text_on_the_grid_is_its_multiple_asked_once_or_twice(count: int, step: int) -> None:
    """First the slow exact way, then from memory: the same number."""
    grid = Grid(step_e8=step, least=0)
    text = format_e8(count * step)

    assert [count, count, count] == [grid[text], grid[text], grid[text + ("0" if "." in text else ".0")]]


@given(st.decimals(min_value=0, max_value=10**6, places=3))
def test_a_text_off_the_grid_is_never_rounded(value: Decimal) -> None:
    """Against exact decimals: on the grid or refused."""
    grid = Grid(step_e8=10_000_000, least=0)  # 0.1
    if value % Decimal("0.1") == 0:
        assert int(value * 10) == grid[str(value)]
    else:
        with pytest.raises(OffGrid):
            grid[str(value)]
        assert not grid


@pytest.mark.parametrize(
    "text",
    ["", "-", ".", "1e3", "NaN", "Infinity", "+1", " 1", "1 ", "0x1", "1_0", "٣", "1.", "--1", "1.2.3", "9" * 31],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    """Exponents, blanks, other digits and special values are no prices."""
    grid = Grid(step_e8=1, least=0)
    if text == "1.":
        assert 100_000_000 == grid[text]  # a trailing dot carries no information
        return
    with pytest.raises(NotADecimal):
        grid[text]


@pytest.mark.parametrize(("text", "least"), [("0", 1), ("0.0", 1), ("-1", 0), ("1" + "0" * 20, 0)])
def test_a_price_of_zero_a_negative_and_a_giant_are_refused(text: str, least: int) -> None:
    """A price is at least one tick, a quantity at least zero, and both fit what is stored."""
    with pytest.raises(Refused):
        Grid(step_e8=100_000_000, least=least)[text]


def test_memory_is_bounded() -> None:
    """A flood of new prices empties the memory instead of growing it."""
    grid = Grid(step_e8=1, least=0)
    for number in range(GRID_TEXTS + 10):
        assert number * 100_000_000 == grid[str(number)]
    assert len(grid) <= GRID_TEXTS


def test_symbols_of_one_tick_share_what_is_remembered() -> None:
    """Two hundred symbols have a dozen grids."""
    assert SymbolNumbers("BTCUSDT", BTCUSDT).ticks is SymbolNumbers("ETHUSDT", BTCUSDT).ticks
    assert SymbolNumbers("BTCUSDT", BTCUSDT).ticks is not SymbolNumbers("BTCUSDT", BTCUSDT).lots


def test_amounts_are_bounded_and_prices_positive() -> None:
    """Money must fit 64 bits; a mark price of zero is no price."""
    assert -5 == numbers.amount_e8("-0.00000005", "x")
    assert 5 == numbers.positive_e8("0.00000005", "x")
    for text in ("0", "-1"):
        with pytest.raises(Refused, match="p: "):
            numbers.positive_e8(text, "p")
    with pytest.raises(Refused, match="n: "):
        numbers.amount_e8(format_e8(AMOUNT_MAX * 2), "n")
    with pytest.raises(Refused, match="pa: "):
        numbers.signed_lots(BTCUSDT, "1" + "0" * 18, "pa")


def test_words_outside_the_venues_vocabulary_are_refused_by_name() -> None:
    """Side, position side, order id and symbol."""
    assert Side.SELL is numbers.side_of("SELL", "S")
    assert 0 == numbers.order_id_of("", "ai")
    assert 88937381063 == numbers.order_id_of("88937381063", "ai")
    for refuse in (
        lambda: numbers.side_of("buy", "S"),
        lambda: numbers.require_one_way("LONG", "ps"),
        lambda: numbers.order_id_of("1a", "ai"),
        lambda: numbers.order_id_of("1" * 19, "ai"),
        lambda: numbers.require_symbol("ETHUSDT", "BTCUSDT", "s"),
    ):
        with pytest.raises(BAD_INPUT):
            refuse()
