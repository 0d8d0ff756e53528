"""The only place for tests of what a backtest can play: recorded candles and captures, shifted in time, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.exchange_simulator.candles import FIVE, MINUTE
from pipeline.backtest.markets import DAY_MS, NoMarket, of_klines, of_recording
from pipeline.virtual.clock import START_MS
from tests.data import require


def test_candles_keep_their_time_of_day() -> None:
    """Times are shifted by whole days: history ends where the exchange starts, settlements stay on their hours."""
    folder = require("dcatpstrategy-klines")
    market = of_klines("BTCUSDT", folder / "1m/BTCUSDT.csv.gz", funding=folder / "funding/BTCUSDT.csv.gz", days=0.5)

    assert 0 == market.shift_ms % DAY_MS
    assert market.past[-1].open_ms == START_MS // MINUTE * MINUTE - MINUTE
    assert all(bar.open_ms % FIVE == 0 for bar in market.past[:200])
    assert len(market.past) > 14 * 12
    assert 0 < market.source.next_due() - START_MS <= MINUTE
    assert {0} == {at % (8 * 3_600_000) for at, _ in market.funding}
    assert 12 * 3_600_000 - MINUTE <= market.length_ms <= 12 * 3_600_000 + MINUTE


def test_captures_are_markets_of_their_symbols() -> None:
    """Each symbol of a capture is a market with its own lines."""
    markets = of_recording(require("cryptofeed/binance_futures_20210722"))

    assert {"AKROUSDT", "CTKUSDT", "KEEPUSDT", "SUSHIUSDT"} == {market.symbol for market in markets}
    assert all(market.recorded and 25_000 < market.length_ms < 35_000 for market in markets)


def test_what_cannot_be_played_is_named(tmp_path: Path) -> None:
    """Files that are none, and candles that are all history."""
    short = tmp_path / "BTCUSDT.csv"
    short.write_text("open_time_ms,open,high,low,close,volume\n1700000040000,1,1,1,1,1\n")
    with pytest.raises(NoMarket, match="no minute is left"):
        of_klines("BTCUSDT", short)
    with pytest.raises(NoMarket):
        of_klines("BTCUSDT", tmp_path / "absent.csv")
    (tmp_path / "x.gz").write_bytes(b"no gzip")
    with pytest.raises(NoMarket):
        of_recording(tmp_path / "x.gz")
