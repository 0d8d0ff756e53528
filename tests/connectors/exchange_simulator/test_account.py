"""Money is conserved to the last unit, whatever is filled in whatever order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.exchange_simulator.account import Account, account_update
from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.instruments import default_instrument

BTC = default_instrument("BTCUSDT")
fills = st.lists(
    st.tuples(st.integers(-500, 500).filter(bool), st.integers(800_000, 880_000), st.booleans()), max_size=60
)


def account() -> Account:
    """Ten thousand USDT, the venue's default fees."""
    return Account(wallet=10_000 * E8, maker_ppm=200, taker_ppm=500, leverage=20)


def fill(book: Account, *, signed_lots: int, ticks: int, maker: bool) -> tuple[int, int]:
    """One BTCUSDT fill in one-way mode."""
    return book.fill(
        book.position(BTC), signed_lots=signed_lots, ticks=ticks, maker=maker, now_ms=1, trade_id=len(book.incomes) + 1
    )


@given(fills, st.booleans())
def test_wallet_and_cost_hold_every_unit(sequence: list[tuple[int, int, bool]], isolated: bool) -> None:
    """Wallet − cost of the open lots = deposits − fees − what was paid for all fills: no unit appears or is lost."""
    book = account()
    book.settings_of("BTCUSDT").isolated = isolated
    paid = bought = 0
    for lots, ticks, maker in sequence:
        fill(book, signed_lots=lots, ticks=ticks, maker=maker)
        paid += BTC.notional(ticks, lots)
        bought += lots
    position = book.position(BTC)

    assert bought == position.lots
    assert book.wallet - position.cost == book.deposited - book.fees_paid - paid
    assert book.wallet == book.deposited + position.realised - book.fees_paid
    assert book.wallet == book.deposited + sum(row.amount for row in book.incomes)
    if position.lots == 0:
        assert (0, 0, 0) == (position.cost, position.isolated_wallet, position.entry_e8())
    else:
        assert (position.cost > 0) == (position.lots > 0)


def test_entry_is_the_weighted_average_and_reductions_leave_it() -> None:
    """Two buys average, a sale realises (fill − entry) × quantity and keeps the entry (sheet 7.4)."""
    book = account()
    fill(book, signed_lots=10, ticks=838_000, maker=False)
    fill(book, signed_lots=10, ticks=840_000, maker=False)
    position = book.position(BTC)
    assert 83_900 * E8 == position.entry_e8()

    _, realised = fill(book, signed_lots=-5, ticks=841_000, maker=False)

    # 0.005 BTC × 200 USDT
    assert 1 * E8 == realised
    assert 83_900 * E8 == position.entry_e8()


def test_a_flip_closes_first_and_opens_the_rest_at_the_fill() -> None:
    """An opposite fill larger than the position leaves the remainder with the fill's price as entry."""
    book = account()
    fill(book, signed_lots=10, ticks=838_000, maker=False)
    fill(book, signed_lots=-25, ticks=839_000, maker=False)

    assert (-15, 83_900 * E8) == (book.position(BTC).lots, book.position(BTC).entry_e8())


def test_fees_are_the_sheets_rates_of_the_value() -> None:
    """Taker 0.05 %, maker 0.02 % of quantity × price (sheet 7.1)."""
    book = account()
    taker, _ = fill(book, signed_lots=4, ticks=838_000, maker=False)
    maker, _ = fill(book, signed_lots=4, ticks=838_000, maker=True)

    assert (16_760_000, 6_704_000) == (taker, maker)


def test_liquidation_prices_match_the_sheets_checks() -> None:
    """Isolated wallet 5000, entry 50000, size 1, rate 0.4 %: 45180.72 for a long (sheet 7.4)."""
    book = account()
    position = book.position(BTC)
    book.settings_of("BTCUSDT").isolated = True
    book.settings_of("BTCUSDT").leverage = 10
    position.fill(signed_lots=1_000, ticks=500_000, fee=0, now_ms=1)

    assert 5_000 * E8 == position.isolated_wallet
    assert 4_518_072 == book.liquidation_e8(position, {}) // 10**6


def test_the_balance_event_shows_the_fill() -> None:
    """ACCOUNT_UPDATE has the sheet's names; numbers are strings; the margin type is lower case."""
    book = account()
    fill(book, signed_lots=4, ticks=838_000, maker=True)
    event = account_update(book, [book.position(BTC)], marks={"BTCUSDT": 83_858 * E8}, reason="ORDER", now_ms=7)

    assert {"a": "USDT", "wb": "9999.93296000", "cw": "9999.93296000", "bc": "0"} == event["a"]["B"][0]
    position = event["a"]["P"][0]
    assert ("0.004", "83800.00", "0.232", "cross", "BOTH") == (
        position["pa"],
        position["ep"],
        position["up"],
        position["mt"],
        position["ps"],
    )


def test_what_the_fund_takes_and_gives_is_an_income_row() -> None:
    """INSURANCE_CLEAR moves money between the wallet and the fund; their sum stays."""
    book = account()
    book.pay_insurance("BTCUSDT", 5 * E8, now_ms=1)
    book.pay_insurance("", -2 * E8, now_ms=2)

    assert (10_000 - 3) * E8 == book.wallet
    assert 3 * E8 == book.insurance
    assert [-5 * E8, 2 * E8] == [row.amount for row in book.incomes]


def test_hedge_mode_has_two_positions_of_one_symbol() -> None:
    """LONG and SHORT count apart and share the symbol's leverage (sheet 6.4)."""
    book = account()
    book.dual = True
    for side, lots in (("LONG", 10), ("SHORT", -4)):
        book.fill(book.position(BTC, side), signed_lots=lots, ticks=838_000, maker=True, now_ms=1, trade_id=1)
    book.settings_of("BTCUSDT").leverage = 7

    assert [(10, 7), (-4, 7)] == [(position.lots, position.leverage) for position in book.of_symbol(BTC)]
