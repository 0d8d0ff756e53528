"""A position opened by hand over REST beside a running executor: the exchange's ledger says when it was covered."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.integration.test_executor import BTC, bench
from tests.simulator import until


async def test_a_position_opened_by_hand_is_covered_within_two_seconds_and_again_when_its_stop_is_taken() -> None:
    """Opened over REST: a stop inside liquidation ≤ 2 s; its owner cancels it: another; flat: nothing is left."""
    async with bench() as desk:
        await desk.executor()
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.010"}
        assert 200 == (await desk.admin.call("POST", "/fapi/v1/order", **order))[0]

        async def rows() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await desk.admin.call("GET", "/fapi/v1/openAlgoOrders", symbol=BTC))[1]
            return found

        async def covered() -> bool:
            return bool(await rows())

        async def uncovered() -> bool:
            return not await rows()

        await until(covered, seconds=10)
        (first,) = await rows()
        _, (position,) = await desk.admin.call("GET", "/fapi/v3/positionRisk", symbol=BTC)
        mark, liquidation = float(position["markPrice"]), float(position["liquidationPrice"])
        assert mark > float(first["triggerPrice"]) > liquidation
        assert first["closePosition"]

        await desk.admin.call("DELETE", "/fapi/v1/algoOrder", algoId=first["algoId"])
        await until(covered, seconds=10)
        (second,) = await rows()
        assert first["algoId"] != second["algoId"]

        close = order | {"side": "SELL", "reduceOnly": True}
        assert 200 == (await desk.admin.call("POST", "/fapi/v1/order", **close))[0]
        await until(uncovered, seconds=15)
        (episode,) = (await desk.summary())["episodes"]

        assert 2_000 >= episode["naked"]["any"]["longest_ms"]
        assert [] == desk.faults


async def test_a_clean_stop_waits_for_nothing_that_never_ends() -> None:
    """The auditor's waiting for reconnects is no word that must still be said."""
    async with bench() as desk:
        executor = await desk.executor()
        async with asyncio.timeout(2):
            await executor.desk.idle()
