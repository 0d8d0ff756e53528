"""Lanes: who may go goes at once, who waits is woken in the order of urgency, and a stop holds everybody."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.rate_limits import Budget, Cost, Lane, Window
from pipeline.execution.lanes import Lanes
from tests.pipeline.execution.fakes import START_MS, VirtualClock, run_virtual, scenario


@scenario
async def test_a_free_lane_admits_without_a_task_switch() -> None:
    """While nothing waits and the limits allow it, admission does not yield to the loop."""
    lanes = Lanes(Window(Budget()), VirtualClock())
    admission = lanes.admission(Cost(Lane.PROTECT, 0, 1))
    try:
        admission.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


@scenario
async def test_waiting_requests_go_in_the_order_of_their_lanes_and_urgency() -> None:
    """After a stop the most urgent lane goes first, and within a lane held symbols before others."""
    lanes = Lanes(Window(Budget(background_spacing_ms=1)), VirtualClock())
    lanes.stop_all(START_MS + 500)
    order: list[str] = []

    async def ask(name: str, cost: Cost, urgency: int = 0) -> None:
        await lanes.admission(cost, urgency=urgency)
        order.append(name)
        lanes.release(cost)

    await asyncio.gather(
        ask("data", Cost(Lane.DATA), 1),
        ask("held", Cost(Lane.DATA), 0),
        ask("entry", Cost(Lane.ENTRY, 0, 1)),
        ask("query", Cost(Lane.QUERY)),
        ask("close", Cost(Lane.CLOSE, 0, 1)),
        ask("cancel", Cost(Lane.CANCEL)),
        ask("protect", Cost(Lane.PROTECT, 0, 1)),
    )

    assert ["protect", "cancel", "close", "query", "entry", "held", "data"] == order
    assert VirtualClock().now_ms() >= START_MS + 500


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Lane), st.integers(0, 3_000)), min_size=1, max_size=40))
def test_nobody_is_forgotten(asks: list[tuple[Lane, int]]) -> None:
    """Whatever comes when, stops included: in the end everybody has gone, and nothing stays in flight."""

    async def run() -> None:
        lanes = Lanes(Window(Budget(orders_per_10_seconds=10, background_per_minute=20)), VirtualClock())

        async def ask(lane: Lane, after_ms: int) -> None:
            await asyncio.sleep(after_ms / 1_000)
            if after_ms % 7 == 0:
                lanes.stop_orders(VirtualClock().now_ms() + 1_000)
            cost = Cost(lane, 1, 1 if lane in (Lane.PROTECT, Lane.CLOSE, Lane.ENTRY) else 0)
            await lanes.admission(cost)
            await asyncio.sleep(0.05)
            lanes.release(cost)

        await asyncio.gather(*(ask(lane, after_ms) for lane, after_ms in asks))
        assert 0 == lanes.window.in_flight
        assert {0} == set(lanes.waiting.values())

    run_virtual(run())


@scenario
async def test_who_gives_up_waiting_leaves_no_trace() -> None:
    """A cancelled request is not counted, and the next one goes."""
    lanes = Lanes(Window(Budget(background_concurrent=1)), VirtualClock())
    cost = Cost(Lane.DATA)
    await lanes.admission(cost)
    given_up = asyncio.create_task(lanes.admission(cost))
    last = asyncio.create_task(lanes.admission(cost))
    await asyncio.sleep(0.01)
    given_up.cancel()
    lanes.release(cost)
    await last
    lanes.release(cost)

    assert 0 == lanes.window.in_flight


@scenario
async def test_the_headers_of_an_answer_reach_the_governor() -> None:
    """Used weight and order counts of the venue raise ours."""
    lanes = Lanes(Window(Budget()), VirtualClock())
    lanes.observe({"x-mbx-used-weight-1m": "120", "x-mbx-order-count-10s": "7", "x-mbx-order-count-1m": "rubbish"})

    assert (120, 7, 0) == (lanes.window.weight.used, lanes.window.orders_10s.used, lanes.window.orders_1m.used)
