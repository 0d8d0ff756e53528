"""What a scenario lets happen is read with its mistakes named, and is seen by a client of the venue at its time."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.happenings import KINDS, Happening, first_mistake, schedule
from connectors.exchange_simulator.instruments import default_instrument, default_symbols
from connectors.exchange_simulator.scenarios import BUILT_IN, ScenarioError, parse_scenario
from connectors.exchange_simulator.synthetic import SyntheticMarket
from connectors.exchange_simulator.venue import Venue, VenueSettings
from tests.connectors.exchange_simulator.venues import START, Bench

READ = {"btcusdt@aggTrade", "!forceOrder@arr", "!contractInfo"}


def exchange(*happenings: Happening, scenario: str = "calm", seed: int = 1) -> Exchange:
    """Five default symbols, five steps a second, with these happenings or those of a built-in scenario."""
    rows = [default_instrument(name) for name in default_symbols(5)]
    venue = Venue(rows, VenueSettings(), routes=ROUTES, start_ms=START, wanted=READ.__contains__)
    chosen = BUILT_IN[scenario]
    if happenings:
        chosen = type(chosen)(name="test", happenings=list(happenings))
    return Exchange(venue, SyntheticMarket(rows, seed=seed, scenario=chosen, rate=5, start_ms=START))


def played(running: Exchange, until_s: float) -> list[tuple[str, Any]]:
    """The frames up to a time."""
    while running.advance(START + int(until_s * 1_000)):
        continue
    return running.drain()[0]


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_wall_appears_and_is_pulled(side: str) -> None:
    """Its quantity stands at its distance while it lasts, and no longer."""
    running = exchange(
        Happening(at=2, symbol="BTCUSDT", kind="wall", side=side, distance_bps=50, notional=90_000_000, seconds=5)
    )
    book = running.venue.markets["BTCUSDT"].book
    largest = []
    for second in (1, 3, 6, 9):
        played(running, second)
        largest.append(max((book.bids if side == "bid" else book.asks).values()))
    assert largest[1] == largest[2] > 100 * largest[0]
    assert largest[3] < largest[1] // 100


def test_a_wall_is_eaten_when_the_price_comes() -> None:
    """A fall through it trades its whole quantity; the book never crosses in the whole crash."""
    running = exchange(scenario="crash")
    book, traded = running.venue.markets["BTCUSDT"].book, 0
    for second in range(1, 61):
        for stream, frame in played(running, second):
            if stream == "btcusdt@aggTrade":
                traded = max(traded, int(float(frame["q"]) * float(frame["p"])))
        assert book.best_bid is not None and book.best_ask is not None and book.best_bid < book.best_ask
    assert traded > 15_000_000


def test_a_cascade_is_told_once_a_second_at_most() -> None:
    """Thirty liquidations in three seconds: one forceOrder each second, SELL because longs are sold."""
    running = exchange(Happening(at=2.05, symbol="ETHUSDT", kind="cascade", count=30, notional=3_000_000, seconds=3))
    frames = [frame for stream, frame in played(running, 8) if stream == "!forceOrder@arr"]
    assert [2, 3, 4] == [(frame["E"] - START) // 1_000 for frame in frames]
    assert {("ETHUSDT", "SELL")} == {(frame["o"]["s"], frame["o"]["S"]) for frame in frames}


def test_a_thin_book_fills_again() -> None:
    """A twentieth of the quantities for three seconds."""
    running = exchange(Happening(at=2, symbol="BTCUSDT", kind="thin", share=0.05, seconds=3))
    book = running.venue.markets["BTCUSDT"].book
    shown = []
    for second in (1, 4, 7):
        played(running, second)
        shown.append(sum(book.bids.values()))
    assert shown[1] < shown[0] // 10
    assert shown[2] > shown[0] // 2


def test_halts_listings_delistings_and_funding_are_told() -> None:
    """Status and delivery in !contractInfo and in what exchangeInfo says; the next settlement has the rate."""
    running = exchange(
        Happening(at=0, symbol="XRPUSDT", kind="status", status="PENDING_TRADING"),
        Happening(at=2, symbol="XRPUSDT", kind="status", status="TRADING"),
        Happening(at=3, symbol="SOLUSDT", kind="status", status="PRE_DELIVERING", delivery_seconds=60),
        Happening(at=3, symbol="BTCUSDT", kind="funding", rate_bps=75),
    )
    frames = [frame for stream, frame in played(running, 5) if stream == "!contractInfo"]
    assert [("XRPUSDT", "PENDING_TRADING"), ("XRPUSDT", "TRADING"), ("SOLUSDT", "PRE_DELIVERING")] == [
        (frame["s"], frame["cs"]) for frame in frames
    ]
    assert 63_000 == frames[-1]["dt"] - START
    assert 750_000 == running.venue.markets["BTCUSDT"].funding.forced_e8


def test_the_same_scenario_gives_the_same_frames() -> None:
    """Twice the crash."""
    assert played(exchange(scenario="crash"), 40) == played(exchange(scenario="crash"), 40)


def test_the_schedule_is_in_order_of_time() -> None:
    """A wall has two steps, a cascade one for each liquidation."""
    wall = Happening(at=1, symbol="A", kind="wall", seconds=2)
    cascade = Happening(at=0.5, symbol="A", kind="cascade", count=2, seconds=1)
    assert [(500_000, False), (1_000_000, False), (1_000_000, False), (3_000_000, True)] == [
        (due.at_us, due.last) for due in schedule([wall, cascade], 0)
    ]


class Ticking(Bench):
    """A bench whose market runs by itself."""

    running: Exchange


def ticking(tick: str, at: float = 5) -> Ticking:
    """A bench on a synthetic BTCUSDT whose tickSize changes from 0.10 to *tick*."""
    change = Happening(at=at, symbol="BTCUSDT", kind="tick", tick=tick)
    scenario = type(BUILT_IN["calm"])(name="test", happenings=[change])
    rows = [scenario.instrument(default_instrument("BTCUSDT"))]
    wanted = {"btcusdt@depth@100ms", "!contractInfo"}
    venue = Venue(rows, VenueSettings(), routes=ROUTES, start_ms=START, wanted=wanted.__contains__)
    bench = Ticking()
    bench.venue, bench.now = venue, START
    bench.running = Exchange(venue, SyntheticMarket(rows, seed=3, scenario=scenario, rate=5, start_ms=START))
    return bench


def reach(bench: Ticking, second: float) -> list[tuple[str, Any]]:
    """Let time pass; the frames since."""
    bench.now = START + int(second * 1_000)
    return played(bench.running, second)


def tick_size(bench: Bench) -> str:
    """What exchangeInfo says."""
    filters = bench.call("GET", "/fapi/v1/exchangeInfo").body["symbols"][0]["filters"]
    return str(next(one["tickSize"] for one in filters if one["filterType"] == "PRICE_FILTER"))


@pytest.mark.parametrize(("tick", "good", "bad"), [("1.0", "83001.0", "83000.1"), ("0.01", "83000.01", "83000.001")])
def test_a_new_tick_size_is_seen_by_exchange_info_filters_and_the_book(tick: str, good: str, bad: str) -> None:
    """Coarser or finer: tickSize, -4014 or -1111 off it, levels on the new grid, a client's book stays whole."""
    bench = ticking(tick)
    reach(bench, 0.5)
    reach(bench, 4)
    assert 0.1 == float(tick_size(bench))
    frames = reach(bench, 9)
    assert float(tick) == float(tick_size(bench))
    assert [] == [frame for stream, frame in frames if stream == "!contractInfo"]
    held = bench.venue.markets["BTCUSDT"].book
    unit = bench.venue.markets["BTCUSDT"].row.tick_multiple
    assert [] == [ticks for ticks in (*held.bids, *held.asks) if ticks % unit]
    assert len(held.bids) > 50
    assert held.best_bid is not None
    assert held.best_ask is not None
    assert held.best_bid < held.best_ask
    assert 200 == bench.limit("BUY", "0.010", good).status
    refused = bench.limit("BUY", "0.010", bad)
    assert refused.body["code"] in (-4014, -1111)
    # The diffs alone lead to the same book: nothing of the old grid is left over.
    bench = ticking(tick)
    first = reach(bench, 0.5)
    depth = bench.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit="1000").body
    book = {"b": dict(depth["bids"]), "a": dict(depth["asks"])}
    for stream, frame in [*first, *reach(bench, 9)]:
        if stream == "btcusdt@depth@100ms" and frame["u"] >= depth["lastUpdateId"]:
            for side in ("b", "a"):
                book[side].update(dict(frame[side]))
    left = [{price for price, quantity in book[side].items() if float(quantity)} for side in ("b", "a")]
    row, held = bench.venue.markets["BTCUSDT"].row, bench.venue.markets["BTCUSDT"].book
    assert left == [{row.price_text(ticks) for ticks in side} for side in (held.bids, held.asks)]


def test_orders_of_the_old_grid_stay_and_fill_but_cannot_be_modified_to_it() -> None:
    """An order at 83,000.1 rests on when the tick becomes 1.0; a modification must meet the new grid."""
    bench = ticking("1.0")
    reach(bench, 1)
    placed = bench.limit("BUY", "0.010", "83000.1")
    assert 200 == placed.status
    reach(bench, 8)
    row = bench.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT").body[0]
    assert ("83000.10", "NEW") == (row["price"], row["status"])
    asked = {"symbol": "BTCUSDT", "orderId": placed.body["orderId"], "side": "BUY", "quantity": "0.020"}
    assert -4014 == bench.call("PUT", "/fapi/v1/order", price="83000.2", **asked).body["code"]
    assert 200 == bench.call("PUT", "/fapi/v1/order", price="83001.0", **asked).status
    assert 200 == bench.limit("BUY", "0.010", "87000.0").status
    assert bench.lots > 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_built_in_happenings_are_possible(kind: str) -> None:
    """Every kind occurs in the crash, and nothing in it is refused."""
    happenings = BUILT_IN["crash"].happenings
    assert kind in {one.kind for one in happenings}
    assert first_mistake(happenings) is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('"kind": "storm"', "line 3: happenings\\[0\\].kind: 'storm'"),
        ('"kind": "wall", "side": "up"', "line 3.*side: 'up'"),
        ('"kind": "wall",\n"distance_bps": -1', "line 4.*distance_bps: -1"),
        ('"kind": "status", "status": "SLEEPING"', "status: 'SLEEPING'"),
        ('"kind": "wall", "color": 1', "line 3.*color"),
        ('"kind": "tick", "tick": "-1"', "line 3.*tick: '-1'"),
        ('"kind": "tick"', "line 3.*tick: '0'"),
    ],
)
def test_mistakes_are_named_with_their_line(row: str, words: str) -> None:
    """Unknown kinds and fields, and impossible values."""
    text = f'{{"name": "x",\n"happenings": [\n{{"at": 1, "symbol": "A", {row}}}]}}'
    with pytest.raises(ScenarioError, match=words):
        parse_scenario(text.encode())
