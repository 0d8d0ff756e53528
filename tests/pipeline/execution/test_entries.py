"""Entries: late or beyond the limits is refused, doubt is never sent again, every fill is covered."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from pipeline.binance.requests import Read, RegularOrder
from pipeline.core.commands import OpenBracket
from pipeline.core.events import Side
from pipeline.core.units import Lots, Milliseconds, Ticks
from pipeline.wire.records import IntentRecord
from tests.pipeline.execution.fakes import (
    BTC,
    FAR,
    START_MS,
    SYMBOLS,
    WORKING,
    World,
    bracket,
    intent,
    is_entry,
    once,
    opened,
    run_virtual,
    scenario,
    started,
)

DOUBTS = ("before", "after", "503")


@scenario
async def test_a_partial_fill_arms_the_rails_with_what_was_filled() -> None:
    """LIMIT IOC filled in part: WORKING covers the filled quantity, not the wanted one."""
    world = World()
    world.venue.fill_share = 0.4
    executor = await started(world)
    await opened(world, executor)

    assert [FAR, ("b", 990_000, 4)] == world.venue.rails(BTC)


@scenario
async def test_a_late_word_on_the_position_before_is_no_fill() -> None:
    """
    ACCOUNT_UPDATE of an earlier position comes while the entry is in doubt: no rail goes out for it, and the entry
    that proves absent leaves nothing (virtual chaos, seed 6170). A word of behind the entry is evidence.
    """
    world = World()
    executor = await started(world)
    world.venue.fault = once(is_entry, "before")

    def word(event_ms: int) -> None:
        frame = {"e": "ACCOUNT_UPDATE", "E": event_ms, "a": {"P": [{"s": BTC, "pa": "0.004", "ps": "BOTH"}]}}
        executor.desk.evidence.frame(msgspec.json.encode(frame))

    await asyncio.sleep(5)
    now = world.venue.clock.now_ms()
    record = intent(1, bracket())
    executor.submit(record)
    await asyncio.sleep(0.5)
    word(now - 500)
    await asyncio.sleep(0.5)
    assert [] == world.venue.rails(BTC)
    await executor.desk.idle()
    assert {} == executor.desk.positions
    assert ["e:in_doubt", "e:absent"] == world.outbox.verdicts(record.id)

    world.venue.fault = once(is_entry, "before")
    executor.submit(intent(2, bracket()))
    await asyncio.sleep(0.5)
    word(world.venue.clock.now_ms())
    await asyncio.sleep(0.5)
    assert [FAR, ("b", 990_000, 4)] == world.venue.rails(BTC)


@scenario
async def test_an_entry_without_fill_leaves_nothing() -> None:
    """An entry the venue rejects: REJECTED is told, no rail is placed, the position is forgotten."""
    world = World()
    executor = await started(world)
    world.venue.fault = lambda request: "code -2019" if isinstance(request, RegularOrder) else ""
    record = await opened(world, executor)

    assert ["e:rejected"] == world.outbox.verdicts(record.id)
    assert [] == world.venue.rails(BTC)
    assert {} == executor.desk.positions == executor.desk.index.positions


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (intent(1, bracket(), at_ms=START_MS - 5_000), "stale"),
        (intent(1, bracket(), symbol="XRPUSDT", at_ms=START_MS), "limits"),
        (intent(1, bracket(lots=2_000), at_ms=START_MS), "limits: notional"),
        (
            intent(
                1,
                OpenBracket(Side.BUY, Lots(10), Ticks(1_000_000), Ticks(1_010_000), Ticks(990_000), Milliseconds(0)),
                at_ms=START_MS,
            ),
            "invalid: a stop on the wrong side",
        ),
        (
            intent(1, OpenBracket(Side.BUY, Lots(1), Ticks(10), Ticks(1), Ticks(2), Milliseconds(0)), at_ms=START_MS),
            "inv",
        ),
    ],
)
def test_an_entry_out_of_time_or_limits_is_refused_and_not_sent(record: IntentRecord, reason: str) -> None:
    """Late is refused, not acted on; and no topic can make the executor exceed its own limits."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        await executor.submit(record)
        await executor.desk.idle()
        (_, outcome), *_ = world.outbox.outcomes
        assert "refused" == outcome.verdict.value
        assert outcome.message.startswith(reason)
        assert [] == [request for request in world.venue.requests if isinstance(request, RegularOrder)]
        assert {} == executor.desk.positions

    run_virtual(run())


def settings_asked(world: World) -> list[tuple[tuple[str, str], ...]]:
    """What margin type and leverage were set to, in order."""
    paths = ("/fapi/v1/marginType", "/fapi/v1/leverage")
    return [request.query for request in world.venue.requests if isinstance(request, Read) and request.path in paths]


@scenario
async def test_margin_type_and_leverage_are_set_before_the_first_entry_of_a_symbol() -> None:
    """Isolated first, then the leverage; a second entry with the same leverage asks for neither again."""
    world = World()
    world.venue.fault = lambda request: "code -2019" if is_entry(request) else ""  # no position comes of them
    executor = await started(world)
    for number, leverage in ((1, 3), (2, 3), (3, 5)):
        await executor.submit(intent(number, msgspec.structs.replace(bracket(), leverage=leverage)))
        await executor.desk.idle()

    symbol = ("symbol", BTC)
    isolated = (symbol, ("marginType", "ISOLATED"))
    assert [isolated, (symbol, ("leverage", "3")), (symbol, ("leverage", "5"))] == settings_asked(world)
    sent = [is_entry(request) for request in world.venue.requests if is_entry(request) or request.method == "POST"]
    assert sent.index(True) >= 2  # no entry in front of them
    assert 3 == sum(sent)


OWN = {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": BTC, "l": 3}}
ANOTHER = {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": BTC, "l": 25}}
ISOLATED = {"e": "ACCOUNT_UPDATE", "a": {"m": "MARGIN_TYPE_CHANGE", "P": [{"s": BTC, "pa": "0", "mt": "isolated"}]}}
CROSSED = {"e": "ACCOUNT_UPDATE", "a": {"m": "MARGIN_TYPE_CHANGE", "P": [{"s": BTC, "pa": "0", "mt": "cross"}]}}
ELSEWHERE = {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": "ETHUSDT", "l": 25}}


@pytest.mark.parametrize(
    ("frame", "seconds", "again"),
    [
        (OWN, 1, False),
        (ISOLATED, 1, False),
        (ELSEWHERE, 1, False),
        (ANOTHER, 1, True),
        (CROSSED, 1, True),
        ({"e": "anything"}, 601, True),
    ],
)
def test_what_was_set_is_set_again_when_somebody_may_have_changed_it(
    frame: dict[str, Any], seconds: int, again: bool
) -> None:
    """Margin type and leverage changed by hand are noticed by the user stream, and after ten minutes without it."""

    async def play() -> None:
        world = World()
        world.venue.fault = lambda request: "code -2019" if is_entry(request) else ""
        executor = await started(world)
        for number in (1, 2):
            await executor.submit(intent(number, msgspec.structs.replace(bracket(), leverage=3)))
            await executor.desk.idle()
            world.venue.emit(frame)
            await asyncio.sleep(seconds)

        both = [(("symbol", BTC), ("marginType", "ISOLATED")), (("symbol", BTC), ("leverage", "3"))]
        assert both * (2 if again else 1) == settings_asked(world)

    run_virtual(play())


@scenario
async def test_isolated_already_is_as_good_as_set() -> None:
    """−4046: no need to change the margin type."""
    world = World()
    world.venue.fault = lambda request: "code -4046" if request.path.endswith("marginType") else ""
    executor = await started(world)
    await executor.submit(intent(1, msgspec.structs.replace(bracket(), leverage=3)))
    await executor.desk.idle()

    assert [FAR, WORKING] == world.venue.rails(BTC)


@pytest.mark.parametrize(("path", "code"), [("marginType", -4047), ("leverage", -4161)])
def test_what_the_venue_will_not_set_keeps_the_entry_away(path: str, code: int) -> None:
    """Open orders or a position forbid the change: the entry is refused with the venue's word, and asked anew next."""

    async def run() -> None:
        world = World()
        world.venue.fault = lambda request: f"code {code}" if request.path.endswith(path) else ""
        executor = await started(world)
        await executor.submit(intent(1, msgspec.structs.replace(bracket(), leverage=3)))
        await executor.desk.idle()
        (_, outcome), *_ = world.outbox.outcomes
        assert outcome.message.startswith("venue: ")
        assert str(code) in outcome.message
        assert [] == [request for request in world.venue.requests if isinstance(request, RegularOrder)]
        world.venue.fault = lambda _: ""
        await executor.submit(intent(2, msgspec.structs.replace(bracket(), leverage=3)))
        await executor.desk.idle()
        assert [FAR, WORKING] == world.venue.rails(BTC)

    run_virtual(run())


@scenario
async def test_a_second_position_of_a_symbol_is_refused() -> None:
    """One position per symbol: the executor holds it even if account and decide forgot."""
    world = World()
    executor = await started(world)
    await opened(world, executor)
    second = await opened(world, executor, 2)

    assert ["e:refused"] == world.outbox.verdicts(second.id)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("action", DOUBTS)
def test_an_entry_in_doubt_is_never_sent_again_and_protected_when_filled(action: str, stream: bool) -> None:
    """Timeout, cut or 503 "Unknown error", with and without the user stream: one entry at most, rails if it filled."""

    async def run() -> None:
        world = World()
        world.stream = stream
        executor = await started(world)
        world.venue.fault = once(is_entry, action)
        record = await opened(world, executor)
        entries = [request for request in world.venue.requests if is_entry(request)]
        assert 1 == len(entries)
        verdicts = world.outbox.verdicts(record.id)
        if action == "before":
            assert ["e:in_doubt", "e:absent"] == verdicts
            assert [] == world.venue.rails(BTC)
        else:
            assert [FAR, WORKING] == world.venue.rails(BTC)
            assert ["e:in_doubt", "e:accepted"] == [verdict for verdict in verdicts if verdict[0] == "e"]

    run_virtual(run())


@scenario
async def test_an_entry_that_fills_after_it_was_found_absent_is_guarded_all_the_same() -> None:
    """Evidence against evidence: the fill wins, the rails go out at once, and a successor finds them in the journal."""
    world = World()
    executor = await started(world)
    world.venue.fault = once(lambda r: isinstance(r, RegularOrder), "before")
    record = intent(1, bracket())
    executor.submit(record)
    await executor.desk.idle()
    assert ["e:in_doubt", "e:absent"] == world.outbox.verdicts(record.id)
    assert {} == executor.desk.index.positions
    order = {
        "symbol": BTC,
        "clientOrderId": f"{record.id}-e1",
        "status": "FILLED",
        "executedQty": "0.010",
        "orderId": 5,
    }
    world.venue.positions[BTC] = 10
    world.venue._tell_order(order)
    world.venue._tell_order(order)
    await executor.desk.idle()
    assert [FAR, WORKING] == world.venue.rails(BTC)
    world.kill(executor)
    for algo in world.venue.algos.values():
        algo["algoStatus"] = "EXPIRED"
    successor = await started(world)
    await successor.desk.idle()

    assert [FAR, WORKING] == world.venue.rails(BTC)


@pytest.mark.parametrize("change", [{"max_positions": 1}, {"entries_per_minute": 1}])
def test_entries_at_one_moment_keep_to_the_limits_together(change: dict[str, Any]) -> None:
    """While leverage is set for one symbol another's entry passes the same look: only one of them may go."""

    async def run() -> None:
        world = World()
        executor = await started(world)
        executor.desk.limits = msgspec.structs.replace(executor.desk.limits, **change)
        wanted = msgspec.structs.replace(bracket(), leverage=3)
        for number, symbol in enumerate(SYMBOLS, 1):
            executor.submit(intent(number, wanted, symbol=symbol))
        await executor.desk.idle()

        refused = [outcome.message for _, outcome in world.outbox.outcomes if outcome.verdict.value == "refused"]
        assert 1 == sum(is_entry(request) for request in world.venue.requests)
        assert len(SYMBOLS) - 1 == len(refused)
        assert all(reason.startswith("limits: 1 ") for reason in refused)

    assert len(SYMBOLS) > 1
    run_virtual(run())
