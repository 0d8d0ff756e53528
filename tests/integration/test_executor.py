"""The executor over real sockets against the simulated exchange: its ledger is the judge, not our words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from pipeline.binance.rest import RestClient
from pipeline.core.commands import ClosePosition, Intent, MoveStop, OpenBracket, PlaceTarget, RequestData, Sweep
from pipeline.core.events import Leg, Side
from pipeline.core.rate_limits import Budget
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.execution.desk import Limits
from pipeline.execution.executor import Executor
from pipeline.execution.ports import SystemClock, Venue
from pipeline.wire.records import DataIntentRecord, IntentRecord
from tests.pipeline.execution.fakes import FakeJournal, FakeOutbox, Killer
from tests.simulator import SignedClient, simulator_inside

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BTC = SYMBOLS[0]
DEADLINE_S = 10.0


class Bench:
    """One simulator, one journal, and the executors that come and go."""

    def __init__(self, urls: dict[str, str], admin: SignedClient) -> None:
        self.urls = urls
        self.admin = admin
        self.journal = FakeJournal()
        self.outbox = FakeOutbox()
        self.faults: list[BaseException] = []
        self.clock = SystemClock()
        self._clients: list[RestClient] = []
        self._number = 0

    def road(self) -> Venue:
        """The road of an executor's requests."""
        client = RestClient(self.urls["rest"], api_key=DEFAULT_KEY, api_secret=DEFAULT_SECRET, now_ms=self.clock.now_ms)
        self._clients.append(client)
        return client

    async def opened_under(
        self, action: str, *, method: str, path: str, stream: bool = True
    ) -> tuple[Executor, IntentRecord]:
        """An executor that has done all it wants for one bracket while a fault is in force."""
        executor = await self.executor(stream=stream)
        await self.fault(action, method=method, path=path)
        record = await self.bracket()
        await executor.submit(record)
        await executor.desk.idle()
        return executor, record

    async def executor(self, *, stream: bool = True) -> Executor:
        """A started executor."""
        executor = Executor(
            journal=self.journal.open(Killer()),
            venue=self.road(),
            outbox=self.outbox,
            clock=self.clock,
            limits=Limits(SYMBOLS, 100_000 * 10**8, 3, 100),
            symbols=SYMBOLS,
            budget=Budget(background_spacing_ms=10),
            name=f"executor-{len(self._clients)}",
            ws_url=self.urls["ws"] if stream else "",
            on_fault=self.faults.append,
        )
        await executor.start()
        if executor.user_stream is not None:
            await asyncio.wait_for(executor.user_stream.connected.wait(), DEADLINE_S)
        return executor

    async def end(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()

    def kill(self, executor: Executor) -> None:
        """SIGKILL."""
        executor.die()
        self.journal.followers.clear()

    def intent(self, body: Intent) -> IntentRecord:
        """The next intent of the log."""
        self._number += 1
        return IntentRecord(
            id=f"abcdefg.0{self._number}.0.tagg0",
            symbol=BTC,
            cause=f"0/{self._number}/0",
            at_ms=Milliseconds(self.clock.now_ms()),
            fold="fold",
            intent=body,
        )

    async def ask(self) -> int:
        """The best ask in ticks (0.1)."""
        _, depth = await self.admin.get("/fapi/v1/depth", symbol=BTC, limit=5)
        return round(float(depth["asks"][0][0]) * 10)

    async def bracket(self) -> IntentRecord:
        """A long with stops 4 % and 5 % away."""
        ask = await self.ask()
        return self.intent(
            OpenBracket(
                Side.BUY,
                Lots(10),
                Ticks(ask + 500),
                far_trigger=Ticks(ask * 95 // 100),
                working_trigger=Ticks(ask * 96 // 100),
                expires_ms=Milliseconds(0),
            )
        )

    async def fault(self, action: str, **match: str) -> None:
        """The next request that matches gets *action*."""
        await self.admin.admin("POST", "faults", [{"action": action, "match": match, "milliseconds": 900}])

    async def stops(self) -> list[tuple[str, bool]]:
        """Open conditional orders: (client id's end, closePosition)."""
        _, rows = await self.admin.call("GET", "/fapi/v1/openAlgoOrders", symbol=BTC)
        return sorted((row["clientAlgoId"].rpartition("-")[2], row["closePosition"]) for row in rows)

    async def position(self) -> float:
        """The exchange's quantity."""
        _, rows = await self.admin.call("GET", "/fapi/v3/positionRisk", symbol=BTC)
        return sum(float(row["positionAmt"]) for row in rows)

    async def summary(self) -> dict[str, Any]:
        """The ledger's own judgement."""
        found: dict[str, Any] = await self.admin.admin("GET", "summary")
        return found


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """A simulator with a calm market."""
    async with simulator_inside() as simulator, SignedClient(simulator.urls()["rest"]) as admin:
        used = Bench(simulator.urls(), admin)
        try:
            yield used
        finally:
            await used.end()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


async def test_the_life_of_a_position() -> None:
    """Entry, rails, targets, stop moves of both rails, close and sweep: the exchange's ledger agrees with all."""
    async with bench() as used:
        executor = await used.executor()
        record = await used.bracket()
        assert isinstance(record.intent, OpenBracket)
        await executor.submit(record)
        await executor.desk.idle()
        assert [("a1", True), ("b1", False)] == await used.stops()
        working, limit = record.intent.working_trigger, record.intent.limit
        for body in (
            PlaceTarget(record.id, Leg.TARGET, Side.BUY, Ticks(limit * 103 // 100), Lots(5)),
            PlaceTarget(record.id, Leg.LAST_TARGET, Side.BUY, Ticks(limit * 104 // 100), Lots(5)),
            MoveStop(record.id, Leg.WORKING, Side.BUY, Ticks(working + 1_000), Lots(10)),
        ):
            executor.submit(used.intent(body))
        await executor.desk.idle()
        executor.submit(used.intent(MoveStop(record.id, Leg.FAR, Side.BUY, working, Lots(0))))
        await executor.desk.idle()
        assert [("a1", True), ("b1", False), ("u1", True)] == await used.stops()
        executor.submit(used.intent(ClosePosition(record.id, Side.BUY, Lots(10), "X15")))
        await executor.desk.idle()
        assert 0 == await used.position()
        executor.submit(used.intent(Sweep(record.id)))
        await executor.desk.idle()
        assert [] == await used.stops()
        _, orders = await used.admin.call("GET", "/fapi/v1/openOrders", symbol=BTC)
        assert [] == orders
        summary = await used.summary()
        executor.die()

    assert {} == summary["duplicates"]
    assert 0 == summary["symbols"][BTC]["loosened"]
    assert [] == used.faults
    assert [] == used.outbox.alerts


IN_DOUBT = (
    "503_unknown_executed",
    "503_unknown_not_executed",
    "timeout_executed",
    "timeout_not_executed",
    "drop_connection_before",
    "drop_connection_after",
)
NOT_EXECUTED = ("503_unavailable", "503_internal", "throttle")


async def each(case: Callable[[str], Coroutine[None, None, None]], actions: Iterable[str]) -> None:
    """Run one case per fault side by side, each with a simulator of its own; the first failure names its fault."""

    async def one(action: str) -> None:
        try:
            await case(action)
        except AssertionError as error:
            raise AssertionError(f"{action}: {error}") from error

    await asyncio.gather(*(one(action) for action in actions))


async def test_an_entry_takes_effect_at_most_once() -> None:
    """Every way an answer can be lost: the ledger has at most one entry, and whatever was filled is covered."""

    async def case(action: str) -> None:
        async with bench() as used:
            executor, record = await used.opened_under(action, method="POST", path="/fapi/v1/order")
            position, stops = await used.position(), await used.stops()
            summary = await used.summary()
            executor.die()
        verdicts = [verdict for verdict in used.outbox.verdicts(record.id) if verdict[0] == "e"]
        if action in ("503_unknown_not_executed", "timeout_not_executed", "drop_connection_before"):
            assert (0, [], ["e:in_doubt", "e:absent"]) == (position, stops, verdicts)
        else:
            assert 0.01 == position
            assert [("a1", True), ("b1", False)] == stops
            assert "e:accepted" == verdicts[-1]
            assert summary["symbols"][BTC]["longest_ms"] <= 2_000
        assert {} == summary["duplicates"]
        assert summary["orders"].get("accepted", 0) <= 1

    await each(case, (*IN_DOUBT, *NOT_EXECUTED))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_rail_whose_answer_is_lost_rests_once_in_the_end(stream: bool) -> None:
    """The first rail meets every fault, with and without our own stream: in the end one of each rests."""

    async def case(action: str) -> None:
        async with bench() as used:
            executor, _record = await used.opened_under(action, method="POST", path="/fapi/v1/algoOrder", stream=stream)
            stops = await used.stops()
            summary = await used.summary()
            executor.die()
        assert ["a", "b"] == [end[0] for end, _ in stops]
        assert summary["symbols"][BTC]["longest_ms"] <= 2_000
        assert [] == used.faults

    await each(case, (*IN_DOUBT, *NOT_EXECUTED))


async def test_a_start_protects_from_the_venue_before_anything_else() -> None:
    """Killed between fill and rails: the next executor finds the fill by itself and places both rails."""
    async with bench() as used:
        executor = await used.executor(stream=False)
        await used.fault("hold_after", method="POST", path="/fapi/v1/order")
        record = await used.bracket()
        executor.submit(record)
        held = await used.admin.admin("GET", "holds", wait_ms=5_000)
        assert 1 == len(held["holds"])
        used.kill(executor)
        assert 0.01 == await used.position()
        assert [] == await used.stops()
        second = await used.executor(stream=False)
        await until(lambda: len(second.desk.positions[record.id].orders) == 2)
        stops = await used.stops()
        await used.admin.admin("POST", "release", {})
        await second.desk.idle()
        summary = await used.summary()
        second.die()

    assert [("a1", True), ("b1", False)] == stops
    assert "e:accepted" in used.outbox.verdicts(record.id)
    assert {"accepted": 1, "algo_accepted": 2} == summary["orders"]


async def test_a_clock_five_seconds_off_is_measured_and_does_no_harm() -> None:
    """The exchange's clock is another: timestamps are written in its time, −1021 leads to a new measurement."""
    async with bench() as used:
        await used.admin.admin("POST", "clock", {"offset_ms": -5_000})
        executor = await used.executor()
        await used.admin.admin("POST", "clock", {"offset_ms": 5_000})
        record = await used.bracket()
        await executor.submit(record)
        await executor.desk.idle()
        stops = [("a", True), ("b", False)] == [(end[0], far) for end, far in await used_stops(used, executor)]
        executor.die()

    assert stops
    assert "e:accepted" in used.outbox.verdicts(record.id)


async def used_stops(used: Bench, executor: Executor) -> list[tuple[str, bool]]:
    """Open stops by the executor's own (synchronised) client: the test's clock is not the exchange's."""
    rows = await executor._rails.read_open(BTC)
    return sorted((row.client_algo_id.rpartition("-")[2], row.close_position) for row in rows)


async def test_the_user_stream_comes_back_after_a_cut() -> None:
    """A cut socket and an expired key both end in a new connection."""
    async with bench() as used:
        executor = await used.executor()
        assert executor.user_stream is not None
        await used.admin.admin("POST", "disconnect", {"route": "private"})
        await until(lambda: not executor.user_stream.connected.is_set())  # type: ignore[union-attr]
        await asyncio.wait_for(executor.user_stream.connected.wait(), DEADLINE_S)
        await used.admin.admin("POST", "expire-listen-key", {})
        await until(lambda: not executor.user_stream.connected.is_set())  # type: ignore[union-attr]
        await asyncio.wait_for(executor.user_stream.connected.wait(), DEADLINE_S)
        record = await used.bracket()
        await executor.submit(record)
        await executor.desk.idle()
        seen = executor.desk.evidence.of(f"{record.id}-e1", "order")
        executor.die()

    assert seen is not None
    assert ("FILLED", 10) == (seen.status, seen.filled)


async def test_data_comes_back_as_the_venue_wrote_it() -> None:
    """Depth, candles, interest, premium, filters and audits: one answer line each, the body untouched JSON."""
    async with bench() as used:
        executor = await used.executor()
        used.outbox.answers.clear()
        kinds = ("depth", "klines", "premium_index", "open_interest", "exchange_info", "audit", "nonsense")
        for kind in kinds:
            record = DataIntentRecord(kind, BTC, Milliseconds(used.clock.now_ms()), RequestData(kind))
            executor.submit_data(record)
        stale = RequestData("depth", limit=20, expires_ms=Milliseconds(1))
        executor.submit_data(DataIntentRecord("stale", BTC, Milliseconds(0), stale))
        await executor.desk.idle()
        executor.die()
    answers = {answer.request: answer for _, answer in used.outbox.answers}

    assert {"depth", "klines", "premium_index", "open_interest", "exchange_info", "audit"} == {
        name for name, answer in answers.items() if not answer.error
    }
    assert ("expired", "unknown kind nonsense") == (answers["stale"].error, answers["nonsense"].error)
    assert bytes(answers["depth"].body).startswith(b'{"lastUpdateId":')
    assert bytes(answers["audit"].body).startswith(b'{"positionRisk":[')
