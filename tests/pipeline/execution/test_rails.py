"""Rails: both at once, never a gap, never two in the end, and closed when nothing can cover."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeline.binance.requests import AlgoOrder, Read, Request
from pipeline.core.events import Leg
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    WORKING,
    World,
    moved,
    once,
    opened,
    run_virtual,
    scenario,
    started,
)

DOUBTS = ("before", "after", "503")


@scenario
async def test_both_rails_rest_within_milliseconds_of_the_fill() -> None:
    """The rails do not wait for each other nor for decide: a few round trips after the fill both rest."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    times = {client[-2:]: at for at, what, client in world.venue.ledger if what in ("fill", "algo")}

    assert all(times[leg] - times["e1"] <= 20 for leg in ("a1", "b1"))


@scenario
async def test_a_later_fill_resizes_the_working_stop_new_before_old() -> None:
    """More fill evidence: a second working stop first, then the first is cancelled."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    position = executor.desk.positions[record.id]
    executor._entries.filled(position, 12)
    await executor.desk.idle()

    assert [FAR, ("b", 990_000, 12)] == world.venue.rails(BTC)
    changes = [(what, client[-2:]) for _, what, client in world.venue.ledger if "-b" in client]
    assert [("algo", "b1"), ("algo", "b2"), ("cancel", "b1")] == changes


@scenario
async def test_an_unsent_stop_move_gives_way_to_a_newer_one() -> None:
    """Of three moves asked for at once the newest is what rests; one that was not sent ends as superseded."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    moves = [moved(number, record.id, 990_000 + number * 100) for number in (2, 3, 4)]
    for move in moves:
        executor.submit(move)
    await executor.desk.idle()

    assert [FAR, ("b", 990_400, 10)] == world.venue.rails(BTC)
    assert ["b:refused"] == world.outbox.verdicts(moves[1].id)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("action", [*DOUBTS, "lost", "-1001", "code -1008", "429"])
@pytest.mark.parametrize("leg", ["a", "b"])
def test_a_rail_in_doubt_is_replaced_and_ends_as_one(leg: str, action: str, stream: bool) -> None:
    """Whatever happens to the first attempt of a rail, in the end exactly one of each rests."""

    async def run() -> None:
        world = World()
        world.stream = stream
        executor = await started(world)
        world.venue.fault = once(
            lambda request: isinstance(request, AlgoOrder) and request.client_id.endswith(f"-{leg}1"), action
        )
        record = await opened(world, executor)
        assert [FAR, WORKING] == world.venue.rails(BTC)
        assert {o.client_id for o in executor.desk.positions[record.id].orders.values()} == set(
            world.venue.open_algos(BTC)
        )
        assert [] == world.faults
        fill = next(at for at, what, _ in world.venue.ledger if what == "fill")
        cover = next(at for at, what, _ in world.venue.ledger if what == "algo")
        assert cover - fill <= 2_100  # 429 stops everything for its two seconds, then the rails go first

    run_virtual(run())


@scenario
async def test_a_stop_move_in_doubt_keeps_the_old_stop_until_a_new_one_is_confirmed() -> None:
    """New before old holds in doubt too: at no time is there no working stop."""
    world = World()
    world.stream = False
    executor = await started(world)
    record = await opened(world, executor)
    world.venue.fault = once(lambda r: isinstance(r, AlgoOrder) and "-b" in r.client_id, "before")
    executor.submit(moved(2, record.id, 995_000))
    await executor.desk.idle()
    live = 0
    for _, what, client in world.venue.ledger:
        if "-b" in client:
            live += 1 if what == "algo" else -1
            assert live >= 1

    assert [FAR, ("b", 995_000, 10)] == world.venue.rails(BTC)


@scenario
async def test_a_tighter_stop_found_late_is_not_one_too_many_beside_the_old_one() -> None:
    """
    The move took effect, its answer was lost, its second try does not come through and a newer wish takes its place:
    what was found is the tightest stop, and stays until the newer one rests (virtual chaos, seed 3810).
    """
    world = World()
    world.stream = False
    executor = await started(world)
    record = await opened(world, executor)
    move, newer = moved(2, record.id, 995_000), moved(3, record.id, 995_000, lots=6)

    unread = True

    def fault(request: Request) -> str:
        if isinstance(request, Read) and request.path.endswith("/algoOrder") and unread:
            return "-1001"
        if not isinstance(request, AlgoOrder) or "-b" not in request.client_id:
            return ""
        return "after" if request.client_id == f"{move.id}-b1" else "before"

    world.venue.fault = fault
    executor.submit(move)
    await asyncio.sleep(1.2)
    unread = False
    await asyncio.sleep(0.4)
    executor.submit(newer)
    await asyncio.sleep(3)
    assert f"{move.id}-b1" in world.venue.open_algos(BTC)
    world.venue.fault = lambda _: ""
    await executor.desk.idle()
    changes = [(what, client) for _, what, client in world.venue.ledger if what in ("algo", "cancel")]
    placed = min(changes.index(change) for change in changes if change[1].startswith(newer.id) and change[0] == "algo")

    assert placed < changes.index(("cancel", f"{move.id}-b1"))
    assert [FAR, ("b", 995_000, 6)] == world.venue.rails(BTC)


@scenario
async def test_a_far_move_waits_for_a_working_stop() -> None:
    """FAR is cancelled only while WORKING is confirmed to rest: without one the move is refused."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    executor.desk.positions[record.id].orders.pop(f"{record.id}-b1")
    move = moved(2, record.id, 990_000, leg=Leg.FAR, lots=0)
    executor.submit(move)
    await executor.desk.idle()

    assert ["a:refused"] == world.outbox.verdicts(move.id)
    assert FAR in world.venue.rails(BTC)


@scenario
async def test_rails_whose_price_is_through_close_the_position_at_once() -> None:
    """−2021 on the first working stop: the executor itself closes (X1), with a word for people."""
    world = World()
    executor = await started(world)
    world.venue.fault = lambda r: "code -2021" if isinstance(r, AlgoOrder) and "-b" in r.client_id else ""
    record = await opened(world, executor)

    assert 0 == world.venue.positions[BTC]
    assert "executor_closes" in [code for code, _ in world.outbox.alerts]
    assert {"b:rejected", "c:accepted"} <= set(world.outbox.verdicts(record.id))


@scenario
async def test_a_refused_ratchet_keeps_the_old_stop() -> None:
    """−2021 on a mere move: the code is told to decide, the old stop keeps resting, nothing is closed."""
    world = World()
    executor = await started(world)
    record = await opened(world, executor)
    world.venue.fault = lambda r: "code -2021" if isinstance(r, AlgoOrder) else ""
    move = moved(2, record.id, 999_000)
    executor.submit(move)
    await executor.desk.idle()

    assert [("b:rejected", -2021)] == [
        (f"{o.leg.value}:{o.verdict.value}", o.code) for _, o in world.outbox.outcomes if o.intent == move.id
    ]
    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert 10 == world.venue.positions[BTC]


@scenario
async def test_no_cover_two_seconds_after_the_fill_closes_the_position() -> None:
    """Neither rail can be placed: the executor closes by itself, whether or not decide lives (X1)."""
    world = World()
    executor = await started(world)
    world.venue.fault = lambda r: "code -4045" if isinstance(r, AlgoOrder) else ""
    await opened(world, executor)
    fill = next(at for at, what, client in world.venue.ledger if what == "fill")
    closed = next(at for at, what, client in world.venue.ledger if what == "fill" and "-c" in client)

    assert 0 == world.venue.positions[BTC]
    assert 2_000 <= closed - fill <= 2_500


@pytest.mark.parametrize("body", [{"239999": "maintenance"}, {}, []])
def test_a_success_that_does_not_name_the_stop_is_no_cover(body: object) -> None:
    """An answer 200 with the body of somebody else proves nothing: the rails go out again under new ids."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        execute = world.venue._execute
        lies = [2]

        def answers(request: Request) -> tuple[int, object]:
            if isinstance(request, AlgoOrder) and lies[0]:
                lies[0] -= 1
                return 200, body
            return execute(request)

        world.venue._execute = answers  # type: ignore[method-assign, assignment]
        await opened(world, executor)
        assert [FAR, WORKING] == world.venue.rails(BTC)

    run_virtual(run())


@scenario
async def test_stops_that_are_dead_on_arrival_are_no_cover() -> None:
    """Replies that call the stop rejected: nothing covers, so the position is closed after two seconds."""
    world = World()
    executor = await started(world)
    execute = world.venue._execute

    def answers(request: Request) -> tuple[int, object]:
        if isinstance(request, AlgoOrder):
            return 200, {"clientAlgoId": request.client_id, "algoId": 1, "algoStatus": "REJECTED"}
        return execute(request)

    world.venue._execute = answers  # type: ignore[method-assign, assignment]
    await opened(world, executor)

    assert 0 == world.venue.positions[BTC]


@scenario
async def test_a_stop_that_hangs_in_triggering_is_not_taken_for_cover() -> None:
    """−4130 because of the last position's stop, which hangs in TRIGGERING: it is not adopted, ours is tried again."""
    world = World()
    executor = await started(world)
    read = world.venue._read
    hung = {
        "clientAlgoId": "abcdefg.00.0.tagg0-a1",
        "orderType": "STOP_MARKET",
        "symbol": BTC,
        "side": "SELL",
        "algoStatus": "TRIGGERING",
        "triggerPrice": "99000.0",
        "closePosition": True,
    }

    def with_the_hung_one(request: Read) -> tuple[int, Any]:
        status, body = read(request)
        return status, [*body, hung] if request.path.endswith("openAlgoOrders") else body

    world.venue._read = with_the_hung_one  # type: ignore[method-assign]
    world.venue.fault = once(lambda r: isinstance(r, AlgoOrder) and r.close_position, "code -4130")
    await opened(world, executor)

    assert [FAR, WORKING] == world.venue.rails(BTC)


@scenario
async def test_rails_that_vanish_behind_their_acceptance_are_placed_again_within_two_seconds() -> None:
    """The venue took both and forgot both without a word (pains 2; virtual chaos, seeds 3436 and 3944)."""
    world = World()
    executor = await started(world)
    opening = asyncio.create_task(opened(world, executor))
    await asyncio.sleep(0.2)
    assert [FAR, WORKING] == world.venue.rails(BTC)
    for algo in world.venue.algos.values():
        algo["algoStatus"] = "EXPIRED"
    await asyncio.sleep(1.5)

    assert [FAR, WORKING] == world.venue.rails(BTC)
    assert "stop_vanished" in [code for code, _ in world.outbox.alerts]
    await opening


@scenario
async def test_a_far_rail_that_is_shown_costs_one_read() -> None:
    """It is proven once, beside the auditor's own look; nothing is placed a second time."""
    world = World()
    executor = await started(world)
    sent = len(world.venue.requests)
    await opened(world, executor)

    assert 2 == [request.path for request in world.venue.requests[sent:]].count("/fapi/v1/openAlgoOrders")
    assert [FAR, WORKING] == world.venue.rails(BTC)
