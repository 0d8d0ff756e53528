"""The executor with the order socket against the simulated exchange: the exchange's ledger is the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.binance.order_socket import Key, SocketVenue, opener
from pipeline.core.commands import ClosePosition, MoveStop, OpenBracket, Sweep
from pipeline.core.events import Leg, Side
from pipeline.core.units import Lots, Ticks
from pipeline.execution.executor import Executor
from tests.integration.test_executor import IN_DOUBT, NOT_EXECUTED, Bench, each, until
from tests.simulator import SignedClient, simulator_inside

KEY = Key("socket-key", Ed25519PrivateKey.from_private_bytes(bytes(32)))
PEM = KEY.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class SocketBench(Bench):
    """Executors whose orders go over the socket."""

    venue: SocketVenue

    def road(self) -> SocketVenue:
        """REST with a socket in front of it."""
        self.venue = SocketVenue(super().road(), key=KEY, open_wire=opener(self.urls["ws"]), now_ms=self.clock.now_ms)
        return self.venue

    async def executor(self, *, stream: bool = True) -> Executor:
        """Started and logged on."""
        executor = await super().executor(stream=stream)
        self.venue.start(executor.lanes.weight)
        await until(lambda: self.venue._session is not None)
        return executor

    async def end(self) -> None:
        """Close socket and connections."""
        await self.venue.close()
        await super().end()


@asynccontextmanager
async def bench() -> AsyncIterator[SocketBench]:
    """A simulator that knows the socket's key."""
    async with simulator_inside() as simulator, SignedClient(simulator.urls()["rest"]) as admin:
        await admin.admin("POST", "key", {"api_key": KEY.api_key, "public_key": PEM})
        used = SocketBench(simulator.urls(), admin)
        try:
            yield used
        finally:
            await used.end()


async def test_the_life_of_a_position_over_the_socket() -> None:
    """Entry, rails, a stop move, close and sweep: no order goes by REST, counts of both interfaces are one."""
    async with bench() as used:
        executor = await used.executor()
        record = await used.bracket()
        assert isinstance(record.intent, OpenBracket)
        await executor.submit(record)
        await executor.desk.idle()
        assert [("a1", True), ("b1", False)] == await used.stops()
        move = MoveStop(record.id, Leg.WORKING, Side.BUY, Ticks(record.intent.working_trigger + 1_000), Lots(10))
        executor.submit(used.intent(move))
        await executor.desk.idle()
        executor.submit(used.intent(ClosePosition(record.id, Side.BUY, Lots(10), "X15")))
        await executor.desk.idle()
        executor.submit(used.intent(Sweep(record.id)))
        await executor.desk.idle()
        position, stops, summary = await used.position(), await used.stops(), await used.summary()
        by_socket, by_rest = used.venue.by_socket, used.venue.by_rest
        executor.die()

    assert (0, []) == (position, stops)
    assert by_socket + by_rest >= 8
    assert by_socket >= 8
    assert {} == summary["duplicates"]
    assert ([], []) == (used.faults, used.outbox.alerts)


async def test_an_entry_over_the_socket_takes_effect_at_most_once() -> None:
    """Every way its answer can be lost, a cut in the middle too: in doubt, and the venue's evidence ends it."""

    async def case(action: str) -> None:
        async with bench() as used:
            executor, record = await used.opened_under(action, method="WS", path="order.place")
            position, stops, summary = await used.position(), await used.stops(), await used.summary()
            executor.die()
        verdicts = [verdict for verdict in used.outbox.verdicts(record.id) if verdict[0] == "e"]
        if action in ("503_unknown_not_executed", "timeout_not_executed", "drop_connection_before"):
            assert (0, [], ["e:in_doubt", "e:absent"]) == (position, stops, verdicts)
        else:
            assert 0.01 == position
            assert ["a", "b"] == [end[0] for end, _ in stops]
            assert "e:accepted" == verdicts[-1]
        assert {} == summary["duplicates"]
        assert [] == used.faults

    await each(case, (*IN_DOUBT, *NOT_EXECUTED))


async def test_a_rail_over_the_socket_rests_once_in_the_end() -> None:
    """The first rail meets every fault: in the end one of each rests, in time."""

    async def case(action: str) -> None:
        async with bench() as used:
            executor, _record = await used.opened_under(action, method="WS", path="algoOrder.place")
            stops, summary = await used.stops(), await used.summary()
            executor.die()
        assert ["a", "b"] == [end[0] for end, _ in stops]
        assert [] == used.faults
        longest = max(row["longest_ms"] for row in summary["symbols"].values())
        assert longest <= 2_000

    await each(case, (*IN_DOUBT, *NOT_EXECUTED))


async def test_a_socket_that_is_gone_is_made_again() -> None:
    """Cut while nothing waits: the next order goes by REST, and a later one by the new socket."""
    async with bench() as used:
        executor = await used.executor()
        await used.admin.admin("POST", "disconnect", {"route": "ws-fapi"})
        await until(lambda: used.venue._session is None)
        record = await used.bracket()
        await executor.submit(record)
        await executor.desk.idle()
        by_rest = used.venue.by_rest
        async with asyncio.timeout(10):
            await until(lambda: used.venue._session is not None)
        before = used.venue.by_socket
        executor.submit(used.intent(ClosePosition(record.id, Side.BUY, Lots(10), "X15")))
        await executor.desk.idle()
        position, by_socket = await used.position(), used.venue.by_socket
        executor.die()

    assert by_rest > 0
    assert by_socket > before
    assert 0 == position
