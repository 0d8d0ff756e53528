"""The venue in virtual time: answers travel, faults mean what they mean on sockets, frames keep their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.faults import FaultRule
from connectors.exchange_simulator.instruments import default_instrument
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from connectors.exchange_simulator.venue import Venue, VenueSettings
from pipeline.binance import requests
from pipeline.binance.errors import NoAnswer, NotWritten
from pipeline.binance.requests import RegularOrder, RegularType
from pipeline.core.events import Side
from pipeline.virtual.clock import START_MS, VirtualClock, VirtualLoop, run
from pipeline.virtual.market import SparseMarket
from pipeline.virtual.processes import Process
from pipeline.virtual.venue import VenueClient, VirtualVenue

BTC = default_instrument("BTCUSDT")
ORDER = {"method": "POST", "path": "/fapi/v1/order"}


class World:
    """One venue, one client, and what a user socket heard."""

    def __init__(self, loop: VirtualLoop) -> None:
        market = SparseMarket([BTC], random=Random(1), start_ms=START_MS)
        venue = Venue([BTC], VenueSettings(), routes=ROUTES, start_ms=START_MS, wanted=lambda _: True)
        self.venue = VirtualVenue(loop, venue, market, random=Random(2))
        self.process = Process("client")
        self.client = VenueClient(
            self.venue, self.process, VirtualClock(loop), api_key=DEFAULT_KEY, api_secret=DEFAULT_SECRET
        )
        self.clock = VirtualClock(loop)
        self.heard: list[str] = []
        self.socket = self.venue.user_socket("mine", lambda data: self.heard.append(msgspec.json.decode(data)["e"]))
        loop.create_task(self.venue.run())

    async def buy(self, name: str = "x-1", *, window_ms: int = 1_000, timeout_ms: int = 700) -> int:
        """A market order; returns the status of the answer."""
        order = RegularOrder(
            symbol="BTCUSDT", client_id=name, side=Side.BUY, order_type=RegularType.MARKET, quantity="0.001"
        )
        answer = await self.client.send(
            order, timestamp_ms=self.clock.now_ms(), receive_window_ms=window_ms, timeout_ms=timeout_ms
        )
        return answer.status

    @property
    def held(self) -> int:
        """Lots that the account holds."""
        return self.venue.venue.account.position(self.venue.venue.markets["BTCUSDT"].row, "BOTH").lots


def world(test: Callable[[World], Awaitable[None]]) -> None:
    """Run *test* in a world of its own."""

    async def main(loop: VirtualLoop) -> None:
        made = World(loop)
        await asyncio.sleep(0.1)
        await test(made)

    run(main)


def test_a_signed_order_fills_and_its_events_come_in_order() -> None:
    """The simulator checks signature and time as on a socket."""

    async def test(made: World) -> None:
        assert 200 == await made.buy()
        await asyncio.sleep(0.1)
        assert 1 == made.held
        assert ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"] == made.heard

    world(test)


@pytest.mark.parametrize(
    ("action", "executed"), [("drop_connection_before", 0), ("drop_connection_after", 1), ("hold_after", 1)]
)
def test_an_order_without_an_answer_was_executed_or_not(action: str, executed: int) -> None:
    """The rules are the simulator's own; what they did is counted."""

    async def test(made: World) -> None:
        made.venue.faults.add([FaultRule(action=action, match=ORDER, milliseconds=5_000)])
        with pytest.raises(NoAnswer):
            await made.buy()
        assert executed == made.held
        assert {action: 1} == made.venue.bites

    world(test)


def test_a_request_that_stood_too_long_before_its_write_is_refused() -> None:
    """A process stopped between its clock and the socket: the venue's clock has gone on (−1021)."""

    async def test(made: World) -> None:
        statuses: list[int] = []

        async def buy() -> None:
            statuses.append(await made.buy(timeout_ms=9_000))

        made.process.spawn(buy())
        await asyncio.sleep(0)
        made.process.freeze()
        await asyncio.sleep(3)
        made.process.thaw()
        await asyncio.sleep(1)
        assert ([400], 0) == (statuses, made.held)

    world(test)


def test_nothing_is_written_while_connections_are_refused_and_a_late_request_arrives() -> None:
    """Two ends that the client tells apart, and one that it cannot."""

    async def test(made: World) -> None:
        made.venue.refusing_until = made.venue.loop.time() + 1
        with pytest.raises(NotWritten):
            await made.buy()
        await asyncio.sleep(1)
        made.venue.late_requests, made.venue.late_ms = 1, 400
        with pytest.raises(NoAnswer):
            await made.buy()
        assert 0 == made.held
        await asyncio.sleep(0.5)
        assert 1 == made.held

    world(test)


def test_events_are_lost_repeated_and_overtaken_as_told() -> None:
    """A cut socket loses what comes; a delayed event comes behind the others."""

    async def test(made: World) -> None:
        made.venue.faults.add(
            [
                FaultRule(action="delay_event", match={"event": "TRADE_LITE", "stream": "mine"}, milliseconds=50),
                FaultRule(action="duplicate_event", match={"event": "ACCOUNT_UPDATE"}),
            ]
        )
        await made.buy()
        await asyncio.sleep(0.2)
        assert ["ACCOUNT_UPDATE", "ACCOUNT_UPDATE"] == [name for name in made.heard if name == "ACCOUNT_UPDATE"]
        assert "TRADE_LITE" == made.heard[-1]
        made.socket.open = False
        await made.buy("x-2")
        await asyncio.sleep(0.2)
        assert (5, 4) == (len(made.heard), made.socket.lost)

    world(test)


def test_the_clock_is_read_and_a_read_needs_no_signature() -> None:
    """exchangeInfo and time are public."""

    async def test(made: World) -> None:
        half = await made.client.synchronise()
        assert 0 < half < 10
        assert -10 < made.client.server_ahead_ms < 10
        answer = await made.client.send(requests.exchange_info())
        assert 200 == answer.status
        assert answer.headers["x-mbx-used-weight-1m"].isdigit()

    world(test)
