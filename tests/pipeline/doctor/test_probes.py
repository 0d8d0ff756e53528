"""The five probes of domain 6.7 on the simulated exchange: asked, cleaned up, never beside what is ours."""

from __future__ import annotations

import asyncio

import pytest

from connectors.exchange_simulator.scenarios import Scenario, Segment, SymbolScenario
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
        assert found[4].safe is not False, found[4]
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


async def stop_probe(path: list[Segment], *, patience: float, stuck: bool = False) -> tuple[bool | None, str]:
    """The last probe alone, on a market that takes *path*."""
    scenario = Scenario("probe", {"BTCUSDT": SymbolScenario(path=path, immediately=True)})
    async with (
        simulator_inside(symbols=1, scenario=scenario) as simulator,
        SignedClient(simulator.urls()["rest"]) as client,
    ):
        if stuck:
            await client.admin("POST", "stuck-triggers", {"symbol": "BTCUSDT", "count": 1})
        venue = PlainVenue(simulator.urls()["rest"], key=DEFAULT_KEY, secret=DEFAULT_SECRET)

        def ask() -> tuple[bool | None, str]:
            probes = Probes(venue, "BTCUSDT", lambda _: None, patience=patience)
            try:
                return probes._stop_triggers_while_targets_rest()
            finally:
                probes._clean()

        return await asyncio.to_thread(ask)


async def test_a_stop_that_goes_off_beside_a_full_target_closes() -> None:
    """On a falling market the question is answered: the triggered order outranks what rests."""
    assert (True, "it closed the position while a full-size target rested") == await stop_probe(
        [Segment(30.0, -60.0)], patience=20.0
    )


async def test_a_mark_that_does_not_fall_answers_nothing() -> None:
    """Nothing seen is not unsafe: the probe says so (it once said UNSAFE of a market that had only risen)."""
    safe, _ = await stop_probe([Segment(30.0, 90.0, 0.0)], patience=1.5)

    assert safe is None


async def test_a_stop_that_goes_off_and_does_not_close_is_unsafe() -> None:
    """Stuck in TRIGGERING with the position open."""
    safe, seen = await stop_probe([Segment(30.0, -60.0)], patience=3.0, stuck=True)

    assert (False, True) == (safe, "still open" in seen)
