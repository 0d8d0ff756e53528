"""The only place for tests of a whole backtest: candles and a capture through the real roles, proven and repeated."""

from __future__ import annotations

from functools import cache

import msgspec

from pipeline.backtest.figures import figures
from pipeline.backtest.markets import of_klines, of_recording
from pipeline.backtest.run import EntryRule, Trace, play
from pipeline.settings import load
from tests.data import require

DAYS = 0.005  # seven minutes


def _candles(seed: int) -> Trace:
    folder = require("dcatpstrategy-klines")
    market = of_klines("BTCUSDT", folder / "1m/BTCUSDT.csv.gz", days=DAYS)
    settings = load({"PERPGUARD_SYMBOLS": "BTCUSDT", "PERPGUARD_ROLE": "all"})
    return play(market, settings, entries=EntryRule(every_ms=60_000), seed=seed)


candles = cache(_candles)


def test_run_is_proven_by_its_second_fold() -> None:
    """Every decision is folded again from the raw bytes of the log and found equal; no role had a fault."""
    trace = candles(1)

    assert (True, "", []) == (trace.equal, trace.difference, trace.faults)
    assert trace.lines > 1_500
    assert trace.decisions > 30
    assert 32 == len(trace.chain)


def test_positions_are_opened_guarded_and_ended() -> None:
    """The entry rule opens, stops rest on the exchange, the end of the data brings all flat."""
    trace = candles(1)

    assert trace.trades
    assert trace.flat
    assert trace.naked_ms < 500
    assert all(rows[0][1] or len(rows) > 1 for rows in trace.stops.values())


def test_every_cent_of_the_wallet_is_explained() -> None:
    """The wallet's change is what trades realised, less fees, plus funding."""
    told = figures(candles(1))

    assert 0 == told["sums"]["unexplained"]
    assert told["sums"]["fees"] > 0
    assert sum(trade["fees"] for trade in told["trades"]) == told["sums"]["fees"]


def test_same_seed_is_the_same_run() -> None:
    """Nothing but market, configuration and seed goes into a run."""
    assert msgspec.msgpack.encode(_candles(1)) == msgspec.msgpack.encode(candles(1))


def test_recorded_books_are_played() -> None:
    """A capture of real frames goes the same road: the book becomes whole, the second fold is equal."""
    [market] = [m for m in of_recording(require("cryptofeed/binance_futures_20210722")) if m.symbol == "SUSHIUSDT"]
    settings = load({"PERPGUARD_SYMBOLS": "SUSHIUSDT", "PERPGUARD_ROLE": "all"})
    trace = play(market, settings)

    assert (True, []) == (trace.equal, trace.faults)
    assert 1 == trace.notes["book_whole"]
    assert trace.lines > 700
