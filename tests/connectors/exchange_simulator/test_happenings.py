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
from tests.connectors.exchange_simulator.venues import START

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
    ],
)
def test_mistakes_are_named_with_their_line(row: str, words: str) -> None:
    """Unknown kinds and fields, and impossible values."""
    text = f'{{"name": "x",\n"happenings": [\n{{"at": 1, "symbol": "A", {row}}}]}}'
    with pytest.raises(ScenarioError, match=words):
        parse_scenario(text.encode())
