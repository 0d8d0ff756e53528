"""Evidence: the largest fill ever said, an end that stays an end, whatever order the events come in."""

from __future__ import annotations

import asyncio
from itertools import permutations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execution.evidence import Evidence, Sighting
from tests.pipeline.binance.test_requests import BTC
from tests.pipeline.execution.fakes import scenario


def evidence() -> Evidence:
    """Evidence about BTCUSDT."""
    return Evidence({"BTCUSDT": BTC})


def order(status: str, filled: str) -> bytes:
    """ORDER_TRADE_UPDATE."""
    body = {"s": "BTCUSDT", "c": "x", "X": status, "z": filled, "ap": "83800.5", "i": 7}
    return msgspec.json.encode({"e": "ORDER_TRADE_UPDATE", "E": 5, "o": body})


LITE = b'{"e":"TRADE_LITE","E":5,"s":"BTCUSDT","c":"x","S":"BUY","l":"0.004","L":"83800","t":9,"i":7}'


def test_every_order_of_events_ends_the_same() -> None:
    """NEW, a lite notice, a partial fill and the end: any order of arrival tells the same story."""
    events = [order("NEW", "0"), LITE, order("PARTIALLY_FILLED", "0.004"), order("FILLED", "0.010")]
    ends = set()
    for arrival in permutations(events):
        seen = evidence()
        for event in arrival:
            seen.frame(event)
        sighting = seen.of("x", "order")
        assert sighting is not None
        ends.add((sighting.status, sighting.filled, sighting.order_id))

    assert {("FILLED", 10, 7)} == ends


def test_a_lite_notice_counts_each_trade_once() -> None:
    """TRADE_LITE has no cumulative quantity: trades are added by their id, repeats are not."""
    seen = evidence()
    for frame in (LITE, LITE, LITE.replace(b'"t":9', b'"t":10')):
        seen.frame(frame)

    assert 8 == seen.orders["x"].filled


def test_a_combined_frame_is_read_like_a_bare_one() -> None:
    """The wrapper of the combined endpoint makes no difference."""
    seen = evidence()

    assert "TRADE_LITE" == seen.frame(b'{"stream":"key","data":%b}' % LITE)
    assert 4 == seen.orders["x"].filled


def test_a_conditional_order_keeps_its_own_book() -> None:
    """ALGO_UPDATE and the child's ORDER_TRADE_UPDATE share a client id and are not mixed up."""
    seen = evidence()
    seen.frame(b'{"e":"ALGO_UPDATE","E":1,"o":{"s":"BTCUSDT","caid":"x","aid":5,"X":"TRIGGERED"}}')
    seen.frame(order("NEW", "0"))

    assert ("TRIGGERED", True) == (seen.algo_orders["x"].status, seen.algo_orders["x"].ended)
    assert ("NEW", False) == (seen.orders["x"].status, seen.orders["x"].ended)


def test_positions_are_told_with_their_sign() -> None:
    """ACCOUNT_UPDATE gives the signed quantity; other symbols and hedge rows are not ours."""
    seen, told = evidence(), []
    seen.on_position = lambda *what: told.append(what)
    rows = b'{"s":"BTCUSDT","pa":"-0.004","ps":"BOTH"},{"s":"XRPUSDT","pa":"1","ps":"BOTH"}'
    seen.frame(b'{"e":"ACCOUNT_UPDATE","E":9,"a":{"m":"ORDER","P":[%b,{"s":"BTCUSDT","pa":"1","ps":"LONG"}]}}' % rows)

    assert [("BTCUSDT", -4, 9)] == told


@given(st.binary(max_size=200))
def test_no_frame_can_break_it(raw: bytes) -> None:
    """Garbage is counted, never raised."""
    seen = evidence()
    seen.frame(raw)
    seen.frame(order("NEW", "many"))

    assert seen.malformed >= 1
    assert {} == seen.orders


@scenario
async def test_who_waits_is_woken_by_the_next_word_on_the_order() -> None:
    """A wait ends at the sighting, or in time without one."""
    seen = evidence()
    waiting = asyncio.create_task(seen.wait("x", 1_000))
    await asyncio.sleep(0.1)
    seen.seen(Sighting(symbol="BTCUSDT", client_id="x", book="order", status="NEW"))

    assert await waiting
    assert not await seen.wait("x", 300)
    assert 0.1 + 0.3 == asyncio.get_running_loop().time()
