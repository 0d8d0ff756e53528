"""The kill switch against the simulated exchange: judged by the exchange's own account, not by what the tool says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.exchange_simulator.faults import parse_rules
from connectors.exchange_simulator.server import Simulator
from connectors.exchange_simulator.signing import DEFAULT_KEY, DEFAULT_SECRET
from pipeline.emergency.kill import Kill, Outcome, Proof, Step
from pipeline.emergency.venue import Call, PlainVenue, Reply
from tests.simulator import SignedClient, simulator_inside, until

QUANTITY = {"BTCUSDT": "0.010", "ETHUSDT": "0.300", "SOLUSDT": "5", "XRPUSDT": "300", "DOGEUSDT": "5000"}


@asynccontextmanager
async def market(symbols: int = 3) -> AsyncIterator[tuple[Simulator, SignedClient]]:
    """A simulated exchange with prices, and a signed client."""
    async with simulator_inside(symbols=symbols) as simulator, SignedClient(simulator.urls()["rest"]) as client:

        async def priced() -> bool:
            rows = (await client.get("/fapi/v1/premiumIndex"))[1]
            return all(float(row["markPrice"]) > 0 for row in rows)

        await until(priced)
        yield simulator, client


async def opened(client: SignedClient, symbol: str, side: str = "BUY", **more: Any) -> None:
    """A position opened by hand."""
    quantity = more.pop("quantity", None) or QUANTITY[symbol]
    status, answer = await client.call(
        "POST", "/fapi/v1/order", symbol=symbol, side=side, type="MARKET", quantity=quantity, **more
    )
    assert status == 200, answer


async def mark_of(client: SignedClient, symbol: str) -> float:
    return float((await client.get("/fapi/v1/premiumIndex", symbol=symbol))[1]["markPrice"])


async def open_amounts(client: SignedClient) -> dict[str, str]:
    rows = (await client.call("GET", "/fapi/v3/positionRisk"))[1]
    return {row["symbol"]: row["positionAmt"] for row in rows if float(row["positionAmt"])}


class NotingVenue(PlainVenue):
    """The real road, which also notes in which order the closes were handed to the kernel."""

    def __init__(self, url: str) -> None:
        super().__init__(url, key=DEFAULT_KEY, secret=DEFAULT_SECRET)
        self.written: list[str] = []

    def call(self, call: Call, *, seconds: float = 0.0, written: Callable[[], None] | None = None) -> Reply:
        """As ``PlainVenue.call``."""

        def note() -> None:
            symbol = dict(call.parameters)["symbol"]
            if symbol not in self.written:
                self.written.append(symbol)
            assert written is not None
            written()

        return super().call(call, seconds=seconds, written=None if written is None else note)


async def killed(
    simulator: Simulator,
    *,
    close: bool = True,
    give_up: float = 20.0,
    proof: Proof | None = None,
    venue: PlainVenue | None = None,
) -> Outcome:
    """One run of the kill switch in a thread, as its process would run beside the exchange."""
    steps: list[Step] = []
    work = Kill(
        venue or PlainVenue(simulator.urls()["rest"], key=DEFAULT_KEY, secret=DEFAULT_SECRET),
        close=close,
        say=steps.append,
        give_up_seconds=give_up,
        name="kill-1",
        proof=proof or Proof(0.1, 0.1),
    )
    return await asyncio.to_thread(work.run)


async def test_closes_every_position_and_cancels_every_entry() -> None:
    """Long and short, a resting entry, a full-size target, a conditional entry: flat, and nothing may reopen."""
    async with market() as (simulator, client):
        await opened(client, "BTCUSDT")
        await opened(client, "ETHUSDT", "SELL")
        mark = await mark_of(client, "SOLUSDT")
        entry = {"symbol": "SOLUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "5"}
        assert (await client.call("POST", "/fapi/v1/order", price=f"{mark * 0.97:.2f}", **entry))[0] == 200
        target = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "reduceOnly": True}
        price = f"{await mark_of(client, 'BTCUSDT') * 1.03:.1f}"
        assert (await client.call("POST", "/fapi/v1/order", price=price, quantity="0.010", **target))[0] == 200
        trap = {"algoType": "CONDITIONAL", "symbol": "SOLUSDT", "side": "BUY", "type": "STOP_MARKET", "quantity": "5"}
        assert (await client.call("POST", "/fapi/v1/algoOrder", triggerPrice=f"{mark * 1.04:.2f}", **trap))[0] == 200

        outcome = await killed(simulator)

        assert outcome.done
        assert {} == await open_amounts(client)
        assert [] == (await client.call("GET", "/fapi/v1/openOrders"))[1]
        assert [] == (await client.call("GET", "/fapi/v1/openAlgoOrders"))[1]


async def test_the_largest_risk_is_on_the_wire_first() -> None:
    """Positions are closed in the order of what is at risk: an uncovered one counts with its whole notional."""
    async with market() as (simulator, client):
        await opened(client, "BTCUSDT", quantity="0.050")
        stop = f"{await mark_of(client, 'BTCUSDT') * 0.99:.1f}"
        rail = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET"}
        assert (await client.call("POST", "/fapi/v1/algoOrder", triggerPrice=stop, closePosition=True, **rail))[
            0
        ] == 200
        await opened(client, "ETHUSDT")
        await opened(client, "SOLUSDT", "SELL", quantity="1")

        venue = NotingVenue(simulator.urls()["rest"])
        outcome = await killed(simulator, venue=venue)

        # What was written first may be read second by the exchange: the connections are several.
        assert ["ETHUSDT", "SOLUSDT", "BTCUSDT"] == venue.written, outcome
        assert {} == await open_amounts(client)


@pytest.mark.parametrize(
    "rules",
    [
        [{"action": "drop_connection_after", "match": {"method": "POST", "path": "/fapi/v1/order"}, "count": 2}],
        [{"action": "drop_connection_before", "match": {"path": "/fapi/v3/positionRisk"}, "count": 3}],
        [{"action": "503_unknown_not_executed", "match": {"method": "POST"}, "count": 3}],
        [{"action": "503_unknown_executed", "match": {"method": "POST"}, "count": 2}],
        [{"action": "timeout_executed", "match": {"method": "POST"}, "count": 2}],
        [{"action": "hold_before", "match": {"method": "POST", "symbol": "BTCUSDT"}, "count": 1}],
        [{"action": "429", "match": {"path": "/fapi/v1/openOrders"}, "count": 1}],
        [{"action": "status", "status": 400, "code": -4131, "match": {"method": "POST"}, "count": 3}],
        [{"action": "status", "status": 400, "code": -4005, "match": {"method": "POST"}, "count": 2}],
        [{"action": "status", "status": 400, "code": -4118, "match": {"method": "POST", "type": "MARKET"}, "count": 9}],
        [{"action": "status", "status": 200, "body": {}, "match": {"path": "/fapi/v1/openAlgoOrders"}, "count": 2}],
    ],
    ids=lambda rules: str(rules[0].get("code") or rules[0]["action"]),
)
async def test_goes_on_under_faults_until_it_is_flat(rules: list[dict[str, Any]]) -> None:
    """Whatever the venue does to requests, the tool ends flat and proves it; it never flips a position."""
    async with market(2) as (simulator, client):
        await opened(client, "BTCUSDT")
        await opened(client, "ETHUSDT", "SELL")
        simulator.faults.add(parse_rules(rules))
        outcome = await killed(simulator)

        assert outcome.done, outcome
        assert {} == await open_amounts(client)


async def test_says_what_is_left_when_it_gives_up() -> None:
    """Closes that are refused for ever: exit with what is open, and with a stop under it that was not there before."""
    async with market(2) as (simulator, client):
        await opened(client, "BTCUSDT")
        always = {"action": "status", "status": 400, "code": -4131, "count": -1}
        simulator.faults.add(parse_rules([always | {"match": {"method": "POST", "path": "/fapi/v1/order"}}]))
        tp = {"method": "POST", "path": "/fapi/v1/algoOrder", "orderType": "TAKE_PROFIT_MARKET"}
        simulator.faults.add(parse_rules([always | {"match": tp}]))
        outcome = await killed(simulator, give_up=1.5)

        assert not outcome.done
        assert [("BTCUSDT", "0.01", True)] == [(row.symbol, row.amount, row.covered) for row in outcome.left]
        assert any(step.text.startswith("before this round: BTCUSDT 0.01") for step in outcome.steps)


async def test_reduce_only_keeps_positions_and_covers_them() -> None:
    """Without --close nothing is closed: entries go, stops stay, an uncovered position gets a stop."""
    async with market() as (simulator, client):
        await opened(client, "BTCUSDT")
        await opened(client, "ETHUSDT", "SELL")
        stop = f"{await mark_of(client, 'BTCUSDT') * 0.98:.1f}"
        rail = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET"}
        answer = await client.call("POST", "/fapi/v1/algoOrder", triggerPrice=stop, closePosition=True, **rail)
        mark = await mark_of(client, "SOLUSDT")
        entry = {"symbol": "SOLUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "5"}
        assert (await client.call("POST", "/fapi/v1/order", price=f"{mark * 0.97:.2f}", **entry))[0] == 200

        outcome = await killed(simulator, close=False)
        rows = (await client.call("GET", "/fapi/v1/openAlgoOrders"))[1]

        assert outcome.done
        assert {"BTCUSDT": "0.010", "ETHUSDT": "-0.300"} == await open_amounts(client)
        assert [] == (await client.call("GET", "/fapi/v1/openOrders"))[1]
        assert answer[1]["algoId"] in [row["algoId"] for row in rows]
        assert {("BTCUSDT", "SELL"), ("ETHUSDT", "BUY")} == {(row["symbol"], row["side"]) for row in rows}


async def test_closes_positions_of_hedge_mode() -> None:
    """An account that is not ours to use (two sides of one symbol) is closed all the same (domain 6)."""
    async with market(2) as (simulator, client):
        assert (await client.call("POST", "/fapi/v1/positionSide/dual", dualSidePosition=True))[0] == 200
        await opened(client, "BTCUSDT", "BUY", positionSide="LONG")
        await opened(client, "BTCUSDT", "SELL", positionSide="SHORT", quantity="0.020")
        outcome = await killed(simulator)

        assert outcome.done, outcome
        assert {} == await open_amounts(client)


async def test_flat_is_said_only_when_nothing_of_a_paused_executor_can_still_arrive() -> None:
    """An entry that was on its way when the kill began fills after the first flat read: it is closed too."""
    async with market(2) as (simulator, client):
        await opened(client, "BTCUSDT")

        async def late() -> None:
            await until(lambda: any(line["kind"] == "position_closed" for line in simulator.venue.ledger.lines))
            await asyncio.sleep(0.3)
            await opened(client, "ETHUSDT")

        arriving = asyncio.create_task(late())
        outcome = await killed(simulator, proof=Proof(0.5, 1.0))
        await arriving

        assert outcome.done
        assert {} == await open_amounts(client)
        assert {"BTCUSDT", "ETHUSDT"} == {step.symbol for step in outcome.steps if step.text.startswith("close ")}


async def test_a_wrong_key_is_said_and_not_asked_with_for_ever() -> None:
    """The venue refuses the key: one round of reads every five seconds, and the words that tell a person."""
    async with market(1) as (simulator, _):
        work = Kill(
            PlainVenue(simulator.urls()["rest"], key="wrong", secret="wrong"),
            close=True,
            say=lambda _: None,
            give_up_seconds=0.6,
        )
        outcome = await asyncio.to_thread(work.run)

        assert not outcome.done
        assert 7 >= outcome.calls  # the clock, a round at once and one at the end
        assert any("positions cannot be read: -2" in step.text for step in outcome.steps), outcome.steps
