"""The only place for the tests of the REST budget: what is counted, and a small run of the command."""

from __future__ import annotations

from pipeline.backtest.steady import AUDIT_PATHS, count, measure


def request(at: int, path: str, weight: int = 1) -> dict[str, object]:
    """A request as the exchange's ledger states it."""
    return {"at": at, "kind": "request", "method": "GET", "path": path, "weight": weight}


def test_only_whole_minutes_count_and_a_missing_read_of_an_audit_is_a_gap() -> None:
    """What comes before or after is left out; an audit is three reads, and the rarest of them says how many were."""
    audits = [request(at, path, 5) for at in (1_000, 61_000) for path in AUDIT_PATHS]
    found = count(
        [request(999, "/fapi/v1/time"), *audits[:-1], request(70_000, "/fapi/v1/openInterest"), request(121_000, "/x")],
        begin_ms=1_000,
        minutes=2,
    )

    assert ([3, 3], [0, 1], [15, 11]) == (found.requests, found.data, found.weight)
    assert (1, 120_000) == (found.audits, found.longest_audit_gap_ms)
    assert [0, 0] == found.orders
    assert 1 == found.paths["GET /fapi/v1/openInterest"]


def test_five_positions_in_steady_state_stay_in_the_budget() -> None:
    """At most eleven requests a minute, every audit there, the polled open interest never old."""
    found = measure(symbols=6, minutes=3, settle_minutes=1)

    assert [] == found.faults
    assert sum(found.requests) - sum(found.orders) <= 11 * 3
    assert found.audits >= 3 and found.longest_audit_gap_ms <= 65_000
    assert found.quality and min(found.quality) >= 900
