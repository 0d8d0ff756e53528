"""Balances and income tell every change of the wallet."""

from __future__ import annotations

from decimal import Decimal

from tests.connectors.exchange_simulator.venues import Bench


def test_income_rows_add_up_to_the_wallet() -> None:
    """Start + the sum of all income rows = walletBalance; filters by type and pages cut the same list."""
    bench = Bench()
    for _ in range(6):
        bench.market("BUY", "0.010")
        bench.book(838_900)
        bench.market("SELL", "0.010")
        bench.book(838_600)
    rows = bench.call("GET", "/fapi/v1/income", limit=1000).body

    wallet = Decimal(bench.call("GET", "/fapi/v3/account").body["totalWalletBalance"])
    assert wallet == Decimal(10_000) + sum(Decimal(row["income"]) for row in rows)
    fees = bench.call("GET", "/fapi/v1/income", incomeType="COMMISSION", limit=1000).body
    assert fees == [row for row in rows if row["incomeType"] == "COMMISSION"]
    assert rows[4:8] == bench.call("GET", "/fapi/v1/income", limit=4, page=2).body
    assert -1023 == bench.call("GET", "/fapi/v1/income", startTime=2, endTime=1).body["code"]


def test_account_v2_lists_every_symbol_with_its_settings() -> None:
    """v2 adds rights, leverage and flat positions to the v3 sums."""
    bench = Bench()
    bench.market("BUY", "0.010")
    v2, v3 = bench.call("GET", "/fapi/v2/account").body, bench.call("GET", "/fapi/v3/account").body

    assert v3["totalWalletBalance"] == v2["totalWalletBalance"]
    assert [("BTCUSDT", "20", "0.010")] == [
        (row["symbol"], row["leverage"], row["positionAmt"]) for row in v2["positions"]
    ]


def test_the_listen_key_is_one_per_account_until_it_is_deleted() -> None:
    """A second POST answers the same key and extends it; DELETE kills it, PUT then says -1125 (3.1, behaviour 12)."""
    bench = Bench()
    first = bench.call("POST", "/fapi/v1/listenKey").body["listenKey"]
    bench.wait(50 * 60_000)
    assert first == bench.call("POST", "/fapi/v1/listenKey").body["listenKey"]
    bench.wait(50 * 60_000)
    assert first == bench.venue.listen_key
    assert {} == bench.call("DELETE", "/fapi/v1/listenKey").body
    assert -1125 == bench.call("PUT", "/fapi/v1/listenKey").body["code"]
    assert first != bench.call("POST", "/fapi/v1/listenKey").body["listenKey"]
