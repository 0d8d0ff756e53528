"""Weight belongs to the address, orders to the account; who ignores 429 is banned."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.errors import VenueError
from connectors.exchange_simulator.rate_limits import Limits, RateLimiter

MINUTE = 60_000 * 1_000


def refused(limiter: RateLimiter, address: str, weight: int, now_ms: int) -> int:
    """The status of a refusal."""
    with pytest.raises(VenueError) as refusal:
        limiter.charge_weight(address, weight, now_ms)
    return refusal.value.status


def test_a_full_minute_refuses_and_the_next_begins_empty() -> None:
    """The limit itself passes, one more is 429, another address and the next minute are free."""
    limiter = RateLimiter(Limits(weight_per_minute=10))
    limiter.charge_weight("a", 10, MINUTE)

    assert 429 == refused(limiter, "a", 1, MINUTE + 1)
    limiter.charge_weight("b", 10, MINUTE + 1)
    limiter.charge_weight("a", 10, MINUTE + 60_000)
    assert 10 == limiter.used_weight("a", MINUTE + 60_001)


def test_going_on_after_429_is_a_ban_with_its_end_in_the_text() -> None:
    """After the patience 418 follows, says until when, and ends then."""
    limiter = RateLimiter(Limits(weight_per_minute=1, patience=2, ban_ms=1_000))
    limiter.charge_weight("a", 1, MINUTE)
    assert [429, 429, 418] == [refused(limiter, "a", 1, MINUTE) for _ in range(3)]

    with pytest.raises(VenueError, match=rf"banned until {MINUTE + 1_000}"):
        limiter.charge_weight("a", 1, MINUTE + 999)
    assert limiter.banned_until("a", MINUTE + 1_000) is None


def test_both_order_windows_refuse_with_1015() -> None:
    """Ten seconds and the minute are counted apart; −1015 names the window."""
    limiter = RateLimiter(Limits(orders_per_10_seconds=2, orders_per_minute=3))
    limiter.charge_order(MINUTE)
    limiter.charge_order(MINUTE)
    with pytest.raises(VenueError, match="10 SECOND"):
        limiter.charge_order(MINUTE)
    with pytest.raises(VenueError, match="1 MINUTE"):
        limiter.charge_order(MINUTE + 10_000)
    assert (1, 4) == limiter.order_counts(MINUTE + 10_000)


@pytest.mark.parametrize(("pool", "limit"), [("funding", 500), ("data", 1_000)])
def test_funding_and_statistics_have_pools_of_their_own(pool: str, limit: int) -> None:
    """500 and 1,000 requests per five minutes and address, apart from the weight (sheet 5.1)."""
    limiter = RateLimiter(Limits())
    for _ in range(limit):
        limiter.charge_pool("a", pool, 0)
    with pytest.raises(VenueError) as refused:
        limiter.charge_pool("a", pool, 299_999)
    assert (429, -1003) == (refused.value.status, refused.value.code)
    limiter.charge_pool("b", pool, 299_999)
    limiter.charge_pool("a", "data" if pool == "funding" else "funding", 299_999)
    limiter.charge_pool("a", pool, 300_000)
    assert 0 == limiter.used_weight("a", 0)


@pytest.mark.parametrize("limiter_name", ["orders", "funding"])
def test_going_on_after_any_429_is_a_ban(limiter_name: str) -> None:
    """429 is any limiter's, and so is the ban of who keeps sending (sheet 5.2)."""
    limiter = RateLimiter(Limits(orders_per_10_seconds=1, funding_per_5_minutes=1, patience=2))
    statuses = []
    for _ in range(4):
        try:
            if limiter_name == "orders":
                limiter.charge_order(MINUTE, address="a")
            else:
                limiter.charge_pool("a", "funding", MINUTE)
        except VenueError as refusal:
            statuses.append(refusal.status)

    assert [429, 429, 418] == statuses
    assert limiter.banned_until("a", MINUTE + 1) == MINUTE + 120_000
