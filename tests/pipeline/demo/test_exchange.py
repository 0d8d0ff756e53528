"""Tests of the demo's side of the admin door, against a simulated exchange in its own process."""

from __future__ import annotations

import pytest

from pipeline.demo.exchange import Exchange, ExchangeGone, loosened_by_us, open_episodes, requests_per_minute
from pipeline.demo.scenario import INSIDE_A_STOP_MOVE
from tests.pipeline.demo.test_promises import episode
from tests.simulator import simulator_process


async def test_every_call_of_the_demo_is_known_there() -> None:
    """Status, prices, ticks, paths, holds, frames, ledger and summary are answered in the form the demo reads."""
    with simulator_process("--symbols", "BTCUSDT") as running:
        exchange = Exchange(running.rest)
        try:
            assert (await exchange.status())["symbols"] == ["BTCUSDT"]
            assert await exchange.mid_price("BTCUSDT") > 0
            assert 0.1 == (await exchange.tick_sizes())["BTCUSDT"]
            await exchange.run_path("BTCUSDT", [{"seconds": 1.0, "drift_bps": 10.0, "volatility_bps": 0.8}])
            await exchange.hold(INSIDE_A_STOP_MOVE)
            assert [] == await exchange.wait_held(wait_ms=0)
            await exchange.release(1)
            await exchange.forget_faults()
            assert 0 == await exchange.send_frame("btcusdt@bookTicker", {"e": "bookTicker"})
            assert [] == await exchange.ledger("fill")
            summary = await exchange.summary()
            assert [] == open_episodes(summary)
            assert {"requests_per_minute", "weight_per_minute"} == set(requests_per_minute(summary))
            await exchange.start_market()
        finally:
            await exchange.close()


async def test_an_exchange_that_is_gone_is_told() -> None:
    """Nobody listening is an error of its own."""
    exchange = Exchange("http://127.0.0.1:1")
    try:
        with pytest.raises(ExchangeGone, match="/admin/status"):
            await exchange.status()
    finally:
        await exchange.close()


def test_open_and_loosened() -> None:
    """Open episodes have no end; only what we asked for loosens."""
    open_one = episode("BTCUSDT", 0, closed_ms=None)
    moments = [{"cause": "cancel"}, {"cause": "trigger"}, {"cause": "place"}, {"cause": "fill"}]

    assert [open_one] == open_episodes({"episodes": [open_one, episode("ETHUSDT", 0)]})
    assert ["cancel", "place"] == [m["cause"] for m in loosened_by_us(episode("BTCUSDT", 0, loosened=moments))]


def test_requests_a_minute_need_a_minute() -> None:
    """Short runs are not blown up to a minute; longer ones are averaged."""
    minutes = [{"minute_ms": 0, "requests": 30, "weight": 60}, {"minute_ms": 60_000, "requests": 10, "weight": 20}]

    own = {"requests": {}}
    asked = {"requests": {"GET /fapi/v1/ticker/bookTicker": 10}}

    assert 30.0 == requests_per_minute({"minutes": minutes[:1], "now": 20_000} | own)["requests_per_minute"]
    assert 20.0 == requests_per_minute({"minutes": minutes, "now": 120_000} | own)["requests_per_minute"]
    assert (15.0, 30.0) == tuple(requests_per_minute({"minutes": minutes, "now": 120_000} | asked).values())
    assert 0.0 == requests_per_minute({"minutes": [], "now": 0} | own)["weight_per_minute"]
