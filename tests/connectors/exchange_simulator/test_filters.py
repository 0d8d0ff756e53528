"""Every filter refuses with the venue's own code, and lets its own grid pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator import filters
from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.instruments import default_instrument

BTC = default_instrument("BTCUSDT")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("83860.15", -4014),
        ("83860.123", -1111),
        ("1.00", -4013),
        ("9999999999", -4002),
        ("x", -1102),
        ("1.0000000001", -1111),
    ],
)
def test_price_filter(text: str, code: int) -> None:
    """Off the tick −4014, too many decimals −1111, below −4013, above −4002, no number −1102."""
    with pytest.raises(VenueError) as refusal:
        filters.price_ticks(BTC, text)
    assert code == refusal.value.code


@pytest.mark.parametrize(
    ("text", "market", "code"),
    [
        ("0", False, -4003),
        ("0.0001", False, -1111),
        ("99999999", False, -4005),
        ("200", True, -4005),
        ("", False, -1102),
    ],
)
def test_lot_filter(text: str, market: bool, code: int) -> None:
    """Zero −4003, finer than a step −1111, above the (market) maximum −4005."""
    with pytest.raises(VenueError) as refusal:
        filters.quantity_lots(BTC, text, market=market)
    assert code == refusal.value.code


def test_step_filter_of_a_coarse_lot() -> None:
    """A quantity with allowed decimals that is no multiple of the step is −4023."""
    row = default_instrument("AVAXUSDT")
    coarse = filters.quantity_lots(row, "3", market=False)
    assert 3 == coarse


@given(st.integers(BTC.min_price, BTC.max_price), st.integers(BTC.min_lots, BTC.max_lots))
def test_the_grid_passes(ticks: int, lots: int) -> None:
    """Every price and quantity that the venue itself prints is accepted and means itself."""
    assert ticks == filters.price_ticks(BTC, BTC.price_text(ticks))
    assert lots == filters.quantity_lots(BTC, BTC.quantity_text(lots), market=False)


def test_notional_percent_and_client_ids() -> None:
    """−4164 below the minimum, −4016/−4024 beyond 5 % of mark, −4015 for a bad client id."""
    mark = 83_860 * E8
    checks: list[tuple[int, Callable[[], None]]] = [
        (-4164, lambda: filters.check_notional(BTC, value_e8=50 * E8 - 1)),
        (-4016, lambda: filters.check_percent_price(BTC, buy=True, ticks=880_531, mark_e8=mark)),
        (-4024, lambda: filters.check_percent_price(BTC, buy=False, ticks=796_669, mark_e8=mark)),
        (-4015, lambda: filters.check_client_id("x" * 37)),
        (-4015, lambda: filters.check_client_id("blank inside")),
        (-4015, lambda: filters.check_client_id("line end\n")),
    ]
    for code, check in checks:
        with pytest.raises(VenueError) as refusal:
            check()
        assert code == refusal.value.code
    filters.check_percent_price(BTC, buy=True, ticks=880_530, mark_e8=mark)
    filters.check_client_id("exec-000001:a/b.c_D")


def test_market_orders_trade_within_the_take_bound() -> None:
    """The bound is mark ± 5 %, rounded inwards."""
    mark = 1_000 * E8
    row = default_instrument("ETHUSDT")

    assert (105_000, 95_000) == (
        filters.market_bound(row, buy=True, mark_e8=mark),
        filters.market_bound(row, buy=False, mark_e8=mark),
    )
