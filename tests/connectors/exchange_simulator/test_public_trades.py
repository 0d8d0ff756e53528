"""Trades are remembered as the venue tells them: the newest thousand, with their ids in a row."""

from __future__ import annotations

from connectors.exchange_simulator.public_trades import AggregateTrade, PublicTrade
from tests.connectors.exchange_simulator.venues import MIDDLE, Bench


def test_a_trade_is_remembered_single_and_aggregated() -> None:
    """Two trades at one price make one aggregate with both ids."""
    bench = Bench()
    for lots in (3, 4):
        bench.trade(MIDDLE, lots, buyer_is_maker=True)
    bench.wait(200)
    market = bench.venue.markets["BTCUSDT"]
    first, second = list(market.trades)[-2:]
    assert PublicTrade(second.trade_id, MIDDLE, 4, second.at_ms, True) == second
    assert second.trade_id == first.trade_id + 1
    whole = market.aggregates[-1]
    expected = AggregateTrade(whole.aggregate_id, MIDDLE, 7, first.trade_id, second.trade_id, first.at_ms, True)
    assert expected == whole
