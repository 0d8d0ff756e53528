"""Funding follows the sheet's formula, is paid at each symbol's own interval, and the interval changes at run time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.funding import HOUR, Funding, mark_price
from tests.connectors.exchange_simulator.venues import BTC, MIDDLE, Bench

START = 1_790_771_372_000


def funding(premium_e8: int, *, hours: int = 8) -> Funding:
    """One sample of a premium, in e8 of the index."""
    found = Funding(hours=hours, cap_e8=2_000_000, start_ms=START)
    price = 1_000 * E8
    found.sample(
        impact_bid_e8=price + price * max(0, premium_e8) // E8,
        impact_ask_e8=price + price * min(0, premium_e8) // E8,
        index_e8=price,
    )
    return found


@pytest.mark.parametrize(
    ("premium", "hours", "rate"),
    [
        (0, 8, 10_000),  # the interest alone
        (30_000, 8, 10_000),  # inside the clamp the premium has no say
        (100_000, 8, 50_000),  # beyond it: premium − 0.05 %
        (-100_000, 8, -50_000),
        (100_000, 1, 6_250),  # an eighth for an hourly symbol
        (9_000_000, 8, 2_000_000),  # cap
        (-9_000_000, 8, -2_000_000),
    ],
)
def test_the_rate_is_the_sheets_formula(premium: int, hours: int, rate: int) -> None:
    """F = [P + clamp(I − P, ±0.05 %)] / (8 / N), limited to cap and floor (7.2)."""
    assert rate == funding(premium, hours=hours).rate_e8


def test_later_samples_weigh_more() -> None:
    """The average is weighted by time: 1·0 + 2·0.3 % over 3."""
    found = funding(0)
    found.sample(impact_bid_e8=10_030 * E8, impact_ask_e8=10_040 * E8, index_e8=10_000 * E8)

    assert 200_000 == found.premium_e8


def test_the_interval_follows_the_rate() -> None:
    """A rate at its cap makes the symbol hourly; sixteen quiet hours make it four-hourly."""
    found = funding(9_000_000)
    at = found.next_ms
    assert 2_000_000 == found.settle(mark_e8=E8).rate_e8
    assert (1, at + HOUR) == (found.hours, found.next_ms)
    for _ in range(16):
        assert 1 == found.hours
        found.settle(mark_e8=E8)
    assert 4 == found.hours
    assert 0 == found.next_ms % (4 * HOUR)


def test_the_mark_is_a_median() -> None:
    """Of the index with what is left of the rate, the index with its basis, and the last price (7.3)."""
    half = Funding(hours=8, cap_e8=E8, start_ms=0)
    for last, expected in (
        (1_010 * E8, 1_001 * E8),
        (900 * E8, 1_000 * E8 + 500_000),
        (100_070_000_000, 100_070_000_000),
    ):
        assert expected == mark_price(
            index_e8=1_000 * E8, basis_e8=E8, last_e8=last, rate_e8=1_000, funding=half, now_ms=4 * HOUR
        )


def held(*, isolated: bool) -> Bench:
    """Long 0.1 BTC; time stands just before the settlement."""
    bench = Bench(rows=(BTC,))
    if isolated:
        bench.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    bench.market("BUY", "0.100")
    bench.now = bench.venue.markets["BTCUSDT"].funding.next_ms - 1_000
    bench.wait(0)
    bench.venue.user_events.clear()
    return bench


@pytest.mark.parametrize("isolated", [False, True])
def test_longs_pay_a_positive_rate_and_only_isolated_positions_are_in_the_event(isolated: bool) -> None:
    """Size × mark × rate leaves the wallet; ACCOUNT_UPDATE has S and B, and P only for an isolated position (3.5)."""
    bench = held(isolated=isolated)
    before = bench.venue.account.wallet
    bench.venue.markets["BTCUSDT"].funding.forced_e8 = 100_000
    bench.wait(1_000)

    paid = 83_860 * E8 // 10 // 1_000
    assert before - paid == bench.venue.account.wallet
    body = bench.venue.user_events[-1]["a"]
    assert ("FUNDING_FEE", "BTCUSDT", "-8.386") == (body["m"], body["S"], body["B"][0]["bc"])
    assert isolated == ("P" in body)
    row = bench.call("GET", "/fapi/v1/income", incomeType="FUNDING_FEE").body[0]
    assert (Decimal("-8.386"), "", "BTCUSDT") == (Decimal(row["income"]), row["tradeId"], row["symbol"])
    past = bench.call("GET", "/fapi/v1/fundingRate", symbol="BTCUSDT", limit=3).body
    assert ["0.00010000", "0.00010000", "0.00100000"] == [done["fundingRate"] for done in past]
    bench.wait(5_000)
    assert before - paid == bench.venue.account.wallet


def test_shorts_receive_and_a_flat_account_does_neither() -> None:
    """The other side of the same rate; without a position there is no event."""
    bench = Bench()
    bench.now = bench.venue.markets["BTCUSDT"].funding.next_ms - 1_000
    bench.wait(1_000)
    assert [] == bench.venue.user_events
    bench.market("SELL", "0.100")
    before = bench.venue.account.wallet
    bench.now = bench.venue.markets["BTCUSDT"].funding.next_ms
    bench.book(MIDDLE)
    bench.wait(0)
    assert before < bench.venue.account.wallet
