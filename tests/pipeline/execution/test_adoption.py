"""Positions of others: a far stop within two seconds, their owner's wishes afterwards, nothing left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.binance.requests import AlgoOrder, Read
from pipeline.core.units import E8
from pipeline.execution.adoption import atr_of, distance_e8
from pipeline.execution.cover import Cover
from tests.pipeline.execution.fakes import BTC, FakeVenue, World, bereft, opened, run_virtual, scenario, started

SOL = "SOLUSDT"


def by_hand(venue: FakeVenue, lots: int, symbol: str = SOL) -> None:
    """Somebody trades on the same account; the user stream says so."""
    venue.positions[symbol] = venue.positions.get(symbol, 0) + lots
    amount = f"{venue.positions[symbol] / 1_000:.3f}"
    event = venue.clock.now_ms() + 1
    venue.emit({"e": "ACCOUNT_UPDATE", "E": event, "a": {"P": [{"s": symbol, "pa": amount, "ps": "BOTH"}]}})


def take_away(venue: FakeVenue, symbol: str = SOL) -> None:
    """The owner cancels what rests."""
    for name, algo in venue.open_algos(symbol).items():
        algo["algoStatus"] = "CANCELED"
        venue.emit({"e": "ALGO_UPDATE", "E": 1, "o": {"s": symbol, "caid": name, "aid": 1, "X": "CANCELED"}})


def codes(world: World) -> list[str]:
    return [code for code, _ in world.outbox.alerts if "adopt" in code or "position_" in code]


@pytest.mark.parametrize("lots", [7, -7])
def test_a_position_opened_by_hand_has_its_stop_within_two_seconds(lots: int) -> None:
    """Either side: one closePosition stop at 3 % (no candles here), told as a warning; the position is not touched."""

    async def play() -> None:
        world = World()
        await started(world)
        await asyncio.sleep(5)
        by_hand(world.venue, lots)
        await asyncio.sleep(2)

        assert [("a", 1_000_000 - 30_000 * (1 if lots > 0 else -1), 0)] == world.venue.rails(SOL)
        assert ["position_adopted"] == codes(world)
        assert lots == world.venue.positions[SOL]

    run_virtual(play())


@scenario
async def test_a_stop_of_the_owner_is_enough() -> None:
    """Where a stop inside liquidation rests, nothing is placed."""
    world = World()
    await started(world)
    stop = {"clientAlgoId": "mine", "algoId": 77, "orderType": "STOP_MARKET", "symbol": SOL, "side": "SELL",
            "algoStatus": "NEW", "quantity": "0", "triggerPrice": "91000", "closePosition": True}  # fmt: skip
    world.venue.algos["mine"] = stop
    by_hand(world.venue, 7)
    await asyncio.sleep(3)

    assert ["mine"] == list(world.venue.open_algos(SOL))


@pytest.mark.parametrize(("policy", "rails"), [("restore", 1), ("respect", 0), ("alert", 0)])
def test_what_happens_when_the_owner_takes_the_stop_away(policy: str, rails: int) -> None:
    """`restore` puts it back, the others say so and leave the account to its owner."""

    async def play() -> None:
        world = World()
        executor = await started(world)
        executor._adopter._policy = policy
        by_hand(world.venue, 7)
        await asyncio.sleep(2)
        take_away(world.venue)
        await asyncio.sleep(5)

        assert rails == len(world.venue.rails(SOL))
        assert ("position_restored" if rails else "adopted_uncovered") in codes(world)

    run_virtual(play())


@scenario
async def test_more_by_the_owner_needs_no_other_stop_and_flat_leaves_nothing() -> None:
    """The stop closes whatever is open; when the owner closes, our rail is cancelled."""
    world = World()
    await started(world)
    by_hand(world.venue, 7)
    await asyncio.sleep(2)
    by_hand(world.venue, 9)
    await asyncio.sleep(3)
    assert 1 == len(world.venue.rails(SOL))
    by_hand(world.venue, -16)
    await asyncio.sleep(5)

    assert {} == world.venue.open_algos(SOL)


@scenario
async def test_our_own_positions_are_never_adopted() -> None:
    """An entry of ours is under guard before it fills: no third stop, no word."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    await asyncio.sleep(100)

    assert 2 == len(world.venue.rails(BTC))
    assert [] == codes(world)


@scenario
async def test_a_restart_finds_its_rail_and_places_no_second_one() -> None:
    """Nothing is kept of an adoption but the order itself; flat after the restart is cleaned too."""
    world = World()
    first = await started(world)
    by_hand(world.venue, 7)
    await asyncio.sleep(2)
    world.kill(first)
    await started(world)
    await asyncio.sleep(5)
    assert 1 == len(world.venue.rails(SOL))
    by_hand(world.venue, -7)
    await asyncio.sleep(5)

    assert {} == world.venue.open_algos(SOL)


@pytest.mark.parametrize(("symbol", "rails"), [(BTC, ["a", "b"]), (SOL, ["a"])])
def test_while_a_start_cannot_read_the_venue_nothing_is_taken_for_foreign(symbol: str, rails: list[str]) -> None:
    """
    The user stream speaks of a position before the start knows which are ours (virtual chaos, seed 851): ours gets its
    own rails alone, one of others its far stop behind the start.
    """

    async def play() -> None:
        world = World()
        await bereft(world)
        world.venue.fault = lambda r: (
            "-1001" if isinstance(r, Read) and r.path.endswith(("positionRisk", "account")) and not r.query else ""
        )
        second = world.executor()
        start = asyncio.create_task(second.start())
        await asyncio.sleep(2)
        by_hand(world.venue, 7, symbol)
        await asyncio.sleep(2)
        assert [] == [code for code in codes(world) if code == "position_adopted"]
        assert [] == world.venue.rails(symbol)
        world.venue.fault = lambda _: ""
        await start
        await asyncio.sleep(3)

        assert rails == [leg for leg, _, _ in world.venue.rails(symbol)]
        assert (["position_adopted"] if symbol == SOL else []) == [c for c in codes(world) if c == "position_adopted"]

    run_virtual(play())


@pytest.mark.parametrize("action", ["before", "after", "-1001", "503"])
def test_faults_end_with_one_stop(action: str) -> None:
    """The first placement is lost, or taken without an answer: a stop rests in the end."""

    async def play() -> None:
        world = World()
        await started(world)
        left = 1

        def fault(request: Any) -> str:
            nonlocal left
            if isinstance(request, AlgoOrder) and left:
                left -= 1
                return action
            return ""

        world.venue.fault = fault
        by_hand(world.venue, 7)
        await asyncio.sleep(10)
        assert 1 == len(world.venue.rails(SOL))

    run_virtual(play())


def found(mark: int, liquidation: int) -> Cover:
    return Cover(SOL, "BOTH", E8(10**8), E8(0), E8(mark), E8(liquidation), E8(0), ())


@given(mark=st.integers(10**6, 10**13), room=st.integers(1, 10**13), atr=st.integers(0, 10**12))
def test_the_rail_is_always_inside_liquidation(mark: int, room: int, atr: int) -> None:
    """At most 0.6 of the way to liquidation and at most 2·A."""
    distance = distance_e8(found(mark, mark + room), atr)

    assert distance * 1_000 <= room * 600
    assert distance <= (2 * atr or mark * 30 // 1_000)


def test_the_range_of_hourly_candles() -> None:
    """Mean true range of the closed candles; gaps count, the open candle does not, nonsense is 0."""
    rows = [[0, "10", "12", "9", "11", "1"]] * 15 + [[0, "10", "99", "1", "11", "1"]]
    body = str(rows).replace("'", '"').encode()

    assert (3 * 10**8, 0, 0) == (atr_of(body), atr_of(b"[]"), atr_of(b"{"))
