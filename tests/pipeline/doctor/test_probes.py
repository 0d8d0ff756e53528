"""The five probes of domain 6.7 on the simulated exchange: asked, cleaned up, never beside what is ours."""

from __future__ import annotations

import asyncio

import pytest

from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from pipeline.doctor.probes import NotPossible, Probes
from pipeline.emergency.venue import PlainVenue
from tests.simulator import SignedClient, simulator_inside


async def test_each_probe_is_asked_and_leaves_nothing_behind() -> None:
    """Five answers, and afterwards a flat symbol without orders."""
    async with simulator_inside(symbols=1) as simulator, SignedClient(simulator.urls()["rest"]) as client:
        venue = PlainVenue(simulator.urls()["rest"], key=DEFAULT_KEY, secret=DEFAULT_SECRET)
        steps: list[str] = []
        found = await asyncio.to_thread(lambda: list(Probes(venue, "BTCUSDT", steps.append, patience=1).run()))
        _, rows = await client.call("GET", "/fapi/v3/positionRisk")

        assert [
            "close position while flat",
            "close position beside targets",
            "quantity above the position",
            "countdown and conditional orders",
            "stop triggers while targets rest",
        ] == [probe.name for probe in found]
        assert all(probe.safe for probe in found[:4]), found
        assert [] == [row for row in rows if float(row["positionAmt"])]
        assert [] == (await client.call("GET", "/fapi/v1/openOrders"))[1]
        assert [] == (await client.call("GET", "/fapi/v1/openAlgoOrders"))[1]
        assert steps


async def test_a_symbol_in_use_is_left_alone() -> None:
    """With a position on it nothing is sent."""
    async with simulator_inside(symbols=1) as simulator, SignedClient(simulator.urls()["rest"]) as client:
        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        assert 200 == (await client.call("POST", "/fapi/v1/order", **order))[0]
        venue = PlainVenue(simulator.urls()["rest"], key=DEFAULT_KEY, secret=DEFAULT_SECRET)
        steps: list[str] = []
        with pytest.raises(NotPossible, match="flat"):
            await asyncio.to_thread(lambda: list(Probes(venue, "BTCUSDT", steps.append).run()))

        assert [] == steps
