"""The only place for tests of the instrument: grid both ways, money rounded down."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.units import ONE_E8, NotADecimal, OffGrid
from tests.sessions.script import INSTRUMENT

FINE = msgspec.structs.replace(INSTRUMENT, tick_e8=10_000_000, step_e8=1_000_000)


@given(st.integers(min_value=0, max_value=10**9))
def test_prices_and_quantities_read_back_from_their_text(count: int) -> None:
    """Text for the venue and back is exact on the symbol's grid."""
    assert (count, count) == (FINE.ticks(FINE.price_text(count)), FINE.lots(FINE.quantity_text(count)))


def test_numbers_off_the_grid_and_words_are_refused() -> None:
    """A price between two ticks or a word is refused, never rounded."""
    with pytest.raises(OffGrid):
        FINE.ticks("100.05")
    with pytest.raises(NotADecimal):
        FINE.lots("many")


def test_what_stands_on_a_former_grid_is_rounded_not_refused() -> None:
    """Orders and positions older than a change of the grid: prices down, quantities to whole lots towards zero."""
    assert (1_000, 3, -3) == (FINE.near_ticks("100.05"), FINE.whole_lots("0.039"), FINE.whole_lots("-0.039"))
    with pytest.raises(NotADecimal):
        FINE.near_ticks("many")


def test_notional_is_the_size_times_the_price_rounded_down() -> None:
    """0.03 at 50,000.1 is 1,500.003 USDT, whichever the sign of the quantity."""
    assert 1_500_003 * ONE_E8 // 1_000 == FINE.notional_e8(lots=3, price_e8=FINE.price_e8(500_001))
    assert FINE.notional_e8(lots=-3, price_e8=7) == FINE.notional_e8(lots=3, price_e8=7)


def test_only_trading_is_trading() -> None:
    """Any other status of the venue closes the symbol."""
    assert (True, False) == (FINE.trading, msgspec.structs.replace(FINE, status="SETTLING").trading)
