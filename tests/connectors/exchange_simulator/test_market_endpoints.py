"""Market data answers cost their weights and list one symbol or all."""

from __future__ import annotations

import pytest

from connectors.exchange_simulator.market_endpoints import depth_weight, klines_weight
from tests.connectors.exchange_simulator.venues import BTC, ETH, Bench


@pytest.mark.parametrize("path", ["/fapi/v1/premiumIndex", "/fapi/v1/ticker/24hr", "/fapi/v1/ticker/bookTicker"])
def test_without_a_symbol_all_are_listed(path: str) -> None:
    """One element per symbol, in the exchange's order."""
    assert ["BTCUSDT", "ETHUSDT"] == [row["symbol"] for row in Bench(rows=(BTC, ETH)).call("GET", path).body]


def test_exchange_info_states_the_limits() -> None:
    """rateLimits hold weight and both order windows; symbols all grids."""
    body = Bench().call("GET", "/fapi/v1/exchangeInfo").body

    assert [("REQUEST_WEIGHT", 2_400), ("ORDERS", 1_200), ("ORDERS", 300)] == [
        (row["rateLimitType"], row["limit"]) for row in body["rateLimits"]
    ]
    assert ["BTCUSDT"] == [row["symbol"] for row in body["symbols"]]


def test_weights_follow_the_limit() -> None:
    """Depth 2/5/10/20, candles 1/2/5/10 (4.1)."""
    assert [2, 2, 5, 10, 20, 10] == [
        depth_weight({} if limit is None else {"limit": limit}) for limit in ("5", "50", "100", "500", "1000", None)
    ]
    assert [1, 2, 5, 10, 5] == [
        klines_weight({} if limit is None else {"limit": limit}) for limit in ("99", "499", "1000", "1001", None)
    ]
