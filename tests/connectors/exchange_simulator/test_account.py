"""Money is conserved to the last unit, whatever is filled in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.account import Account, balance_update
from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.instruments import default_instrument

BTC = default_instrument("BTCUSDT")
fills = st.lists(
    st.tuples(st.integers(-500, 500).filter(bool), st.integers(800_000, 880_000), st.booleans()), max_size=60
)


def account() -> Account:
    """Ten thousand USDT, the venue's default fees."""
    return Account(wallet=10_000 * E8, maker_ppm=200, taker_ppm=500, leverage=20)


@given(fills, st.booleans())
def test_wallet_and_cost_hold_every_unit(sequence: list[tuple[int, int, bool]], isolated: bool) -> None:
    """Wallet − cost of the open lots = deposits − fees − what was paid for all fills: no unit appears or is lost."""
    book = account()
    book.position(BTC).isolated = isolated
    paid = bought = 0
    for lots, ticks, maker in sequence:
        book.fill(BTC, signed_lots=lots, ticks=ticks, maker=maker, now_ms=1)
        paid += BTC.notional(ticks, lots)
        bought += lots
    position = book.position(BTC)

    assert bought == position.lots
    assert book.wallet - position.cost == book.deposited - book.fees_paid - paid
    assert book.wallet == book.deposited + position.realised - book.fees_paid
    if position.lots == 0:
        assert (0, 0, 0) == (position.cost, position.isolated_wallet, position.entry_e8())
    else:
        assert (position.cost > 0) == (position.lots > 0)


def test_entry_is_the_weighted_average_and_reductions_leave_it() -> None:
    """Two buys average, a sale realises (fill − entry) × quantity and keeps the entry (sheet 7.4)."""
    book = account()
    book.fill(BTC, signed_lots=10, ticks=838_000, maker=False, now_ms=1)
    book.fill(BTC, signed_lots=10, ticks=840_000, maker=False, now_ms=2)
    position = book.position(BTC)
    assert 83_900 * E8 == position.entry_e8()

    _, realised = book.fill(BTC, signed_lots=-5, ticks=841_000, maker=False, now_ms=3)

    # 0.005 BTC × 200 USDT
    assert 1 * E8 == realised
    assert 83_900 * E8 == position.entry_e8()


def test_a_flip_closes_first_and_opens_the_rest_at_the_fill() -> None:
    """An opposite fill larger than the position leaves the remainder with the fill's price as entry."""
    book = account()
    book.fill(BTC, signed_lots=10, ticks=838_000, maker=False, now_ms=1)
    book.fill(BTC, signed_lots=-25, ticks=839_000, maker=False, now_ms=2)

    assert (-15, 83_900 * E8) == (book.position(BTC).lots, book.position(BTC).entry_e8())


def test_fees_are_the_sheets_rates_of_the_value() -> None:
    """Taker 0.05 %, maker 0.02 % of quantity × price (sheet 7.1)."""
    book = account()
    taker, _ = book.fill(BTC, signed_lots=4, ticks=838_000, maker=False, now_ms=1)
    maker, _ = book.fill(BTC, signed_lots=4, ticks=838_000, maker=True, now_ms=1)

    assert (16_760_000, 6_704_000) == (taker, maker)


def test_liquidation_prices_match_the_sheets_checks() -> None:
    """Isolated wallet 5000, entry 50000, size 1, rate 0.4 %: 45180.72 for a long (sheet 7.4)."""
    book = account()
    position = book.position(BTC)
    position.isolated = True
    position.leverage = 10
    position.fill(signed_lots=1_000, ticks=500_000, fee=0, now_ms=1)

    assert 5_000 * E8 == position.isolated_wallet
    assert 4_518_072 == position.liquidation_e8(0) // 10**6


def test_the_balance_event_shows_the_fill() -> None:
    """ACCOUNT_UPDATE has the sheet's names; numbers are strings; the margin type is lower case."""
    book = account()
    book.fill(BTC, signed_lots=4, ticks=838_000, maker=True, now_ms=7)
    event = balance_update(book, book.position(BTC), mark_e8=83_858 * E8, reason="ORDER", now_ms=7)

    assert {"a": "USDT", "wb": "9999.93296000", "cw": "9999.93296000", "bc": "0"} == event["a"]["B"][0]
    position = event["a"]["P"][0]
    assert ("0.004", "83800.00", "0.232", "cross", "BOTH") == (
        position["pa"],
        position["ep"],
        position["up"],
        position["mt"],
        position["ps"],
    )
