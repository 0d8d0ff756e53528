"""Tests of what a benchmark asks of the whole pipeline; that it runs is shown by the benchmarks and the demo."""

from __future__ import annotations

import httpx
import pytest

from pipeline.benchmarks import whole
from pipeline.core.events import Side
from pipeline.demo.exchange import Exchange


async def test_a_position_is_asked_for_on_the_grid_with_its_stop_half_a_percent_away() -> None:
    """Prices are multiples of the tick, the stop lies 0.5 % below the middle, the targets far above it."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/fapi/v1/ticker/bookTicker"
        return httpx.Response(200, json={"bidPrice": "99.9", "askPrice": "100.1"})

    exchange = Exchange("http://exchange")
    exchange._client = httpx.AsyncClient(base_url="http://exchange", transport=httpx.MockTransport(answer))
    command = await whole._command(exchange, "BTCUSDT", 0.1)
    await exchange.close()

    assert (command.symbol, command.side) == ("BTCUSDT", Side.BUY)
    assert [float(command.stop), float(command.target), float(command.last_target)] == pytest.approx(
        [99.5, 150.0, 160.0]
    )
