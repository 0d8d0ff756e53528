"""Source and venue advance in one order of time; a client that syncs as documented ends with the same book."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.instruments import default_instrument, default_symbols
from connectors.exchange_simulator.scenarios import CALM
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import Request, Venue, VenueSettings
from tests.connectors.exchange_simulator.venues import START


def exchange(*, seed: int = 1, rate: float = 5, symbols: int = 5) -> Exchange:
    """A synthetic exchange."""
    rows = [default_instrument(name) for name in default_symbols(symbols)]
    venue = Venue(rows, VenueSettings(seed=seed), routes=ROUTES, start_ms=START)
    return Exchange(venue, SyntheticMarket(rows, seed=seed, scenario=CALM, rate=rate, start_ms=START))


def test_time_never_goes_back() -> None:
    """Event times of each stream never decrease, whatever the size of the advances."""
    running = exchange()
    last: dict[str, int] = {}
    for pause in (10, 1, 1_000, 37, 5_000, 250):
        running.advance(running.now_ms + pause)
        for stream, payload in running.drain()[0]:
            if isinstance(payload, dict):
                assert payload["E"] >= last.get(stream, 0)
                last[stream] = payload["E"]


def test_small_and_large_advances_give_the_same_market() -> None:
    """Twenty seconds in one call or in steps of 7 ms: the same frames in the same bytes, apart from late cadence."""
    one, many = exchange(), exchange()
    one.advance(START + 20_000)
    for step in range(7, 20_001, 7):
        many.advance(START + step)
    many.advance(START + 20_000)

    assert msgspec.json.encode(one.drain()[0]) == msgspec.json.encode(many.drain()[0])


def test_a_limit_of_steps_says_that_more_is_due() -> None:
    """A bounded advance returns True until everything due has happened."""
    running = exchange(rate=100)
    turns = 0
    while running.advance(START + 2_000, limit=50):
        turns += 1

    assert turns >= 2_000 * 5 // 10 // 50
    assert START + 2_000 == running.now_ms


def test_the_documented_sync_procedure_ends_in_the_served_book() -> None:
    """Buffer diffs, take a snapshot, drop older ones, bridge, chain by pu: equal to the venue's book (sheet 2.8)."""
    running = exchange()
    running.advance(START + 1_000)
    running.drain()
    buffered: list[dict[str, Any]] = []
    book: dict[str, dict[str, str]] = {}
    last = 0
    for second in range(2, 40):
        running.advance(START + second * 1_000)
        buffered += [payload for stream, payload in running.drain()[0] if stream == "ethusdt@depth@100ms"]
        if second == 5:
            body = running.request(Request("GET", "/fapi/v1/depth", "symbol=ETHUSDT&limit=1000"), running.now_ms).body
            book = {"b": dict(body["bids"]), "a": dict(body["asks"])}
            last = body["lastUpdateId"]
    used = [diff for diff in buffered if diff["u"] >= last]
    assert used[0]["U"] <= last <= used[0]["u"]
    for before, diff in zip([None, *used], used, strict=False):
        assert before is None or before["u"] == diff["pu"]
        for side in ("b", "a"):
            for price, quantity in diff[side]:
                book[side].pop(price, None)
                if float(quantity):
                    book[side][price] = quantity
    running.advance(running.now_ms + 100)
    served = running.request(Request("GET", "/fapi/v1/depth", "symbol=ETHUSDT&limit=1000"), running.now_ms).body
    later = [payload for stream, payload in running.drain()[0] if stream == "ethusdt@depth@100ms"]
    for diff in later:
        for side in ("b", "a"):
            for price, quantity in diff[side]:
                book[side].pop(price, None)
                if float(quantity):
                    book[side][price] = quantity

    assert book == {"b": dict(served["bids"]), "a": dict(served["asks"])}
