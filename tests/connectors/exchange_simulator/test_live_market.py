"""A real venue's frames become the book, the trades and the marks that orders here meet; gaps empty the book."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.instruments import exchange_info_row
from connectors.exchange_simulator.live_market import LiveError, LiveMarket, base_streams, instruments_from
from connectors.exchange_simulator.market_events import BookLost, ContractChange, RecordedDiff
from connectors.exchange_simulator.venue import Request, Venue, VenueSettings
from tests.connectors.exchange_simulator.venues import BTC, ETH, MIDDLE, START, Bench

STREAMS = base_streams("BTCUSDT")


def served(market: LiveMarket) -> Exchange:
    """The venue that a live proxy runs."""
    used = VenueSettings(recorded=True, marks_given=True)
    return Exchange(Venue([BTC], used, routes=ROUTES, start_ms=START, wanted=lambda _: False), market)


def snapshot(bench: Bench) -> dict[str, Any]:
    """The upstream's REST depth."""
    body: dict[str, Any] = bench.venue.request(
        Request("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=1000"), bench.now
    ).body
    return body


def pour(bench: Bench, market: LiveMarket, *, lost: frozenset[int] = frozenset(), count: int = 0) -> int:
    """Give the upstream's frames to the proxy, without those of the numbers in *lost*."""
    frames, bench.venue.frames = bench.venue.frames, []
    for stream, payload in frames:
        if stream in STREAMS:
            count += 1
            if count not in lost:
                market.feed(stream, payload)
    return count


@settings(max_examples=40, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(-30, 30), st.integers(1, 900)), min_size=5, max_size=25),
    lost=st.frozensets(st.integers(1, 40), max_size=3),
    asked=st.integers(0, 6),
)
def test_the_book_is_the_upstreams_or_empty(moves: list[tuple[int, int]], lost: frozenset[int], asked: int) -> None:
    """Whatever is lost and whenever snapshots come: a synced book equals the upstream's, another one is empty."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    exchange = served(market)
    bench.wait(1_000 - START % 1_000)
    middle, count = MIDDLE, 0
    for index, (move, lots) in enumerate(moves):
        middle += move
        bench.book(middle, lots=lots)
        bench.wait(100)
        count = pour(bench, market, lost=lost, count=count)
        if index % 7 == asked and market.unsynced():
            market.snapshot("BTCUSDT", snapshot(bench))
        exchange.advance(bench.now)
        book = exchange.venue.markets["BTCUSDT"].book
        if market.unsynced():
            assert ({}, {}) == (book.bids, book.asks)
    if market.unsynced():
        market.snapshot("BTCUSDT", snapshot(bench))
    bench.book(middle + 1)
    bench.wait(100)
    count = pour(bench, market, count=count)
    bench.book(middle + 2)
    bench.wait(100)
    pour(bench, market, count=count)
    exchange.advance(bench.now)
    theirs = bench.venue.markets["BTCUSDT"].book
    assert market.unsynced() == []
    assert (theirs.bids, theirs.asks) == (book.bids, book.asks)


def test_every_frame_goes_on_unchanged_and_nothing_is_made_here() -> None:
    """What the proxy emits is exactly what came, in its order, under its names."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    exchange = served(market)
    for step in range(60):
        bench.book(MIDDLE + step % 3)
        bench.trade(MIDDLE + 1, 5, buyer_is_maker=False)
        bench.wait(250)
    came = [frame for frame in bench.venue.frames if frame[0] != "btcusdt@depth@100ms"]
    for stream, payload in came:
        market.feed(stream, payload)
    exchange.advance(bench.now)
    assert came == exchange.drain()[0]
    assert len({stream for stream, _ in came}) > 10


def test_marks_trigger_and_settle_as_the_upstream_says() -> None:
    """markPriceUpdate moves mark and index, triggers by mark, and its next funding time settles once."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    exchange = served(market)
    venue = exchange.venue
    bench.wait(100)
    market.snapshot("BTCUSDT", snapshot(bench))
    frame = bench.venue.markets["BTCUSDT"].mark_price(bench.now)
    market.feed(STREAMS[2], frame | {"p": "83859.10000000", "r": "-0.00012300"})
    exchange.advance(bench.now)
    assert (8_385_910_000_000, -12_300) == (
        venue.markets["BTCUSDT"].mark_e8,
        venue.markets["BTCUSDT"].funding.rate_e8,
    )
    proxy = Bench()
    proxy.venue, proxy.now = venue, bench.now
    assert 200 == proxy.market("BUY", "0.100").status
    assert 200 == proxy.stop("SELL", "83000.00", closePosition="true").status
    due = frame["T"]
    for at_ms, following in ((due - 200, due), (due + 40, due), (due + 1_000, due + 8 * 3_600_000)):
        market.feed(STREAMS[2], frame | {"E": at_ms, "T": following, "r": "0.00010000"})
        exchange.advance(at_ms)
    paid = [line for line in venue.ledger.lines if line["kind"] == "funding"]
    assert [10_000] == [line["rate_e8"] for line in paid]
    assert due + 8 * 3_600_000 == venue.markets["BTCUSDT"].funding.next_ms
    market.feed(STREAMS[2], frame | {"p": "82999.00000000", "T": due + 8 * 3_600_000})
    exchange.advance(due + 2_000)
    assert 0 == proxy.lots


def test_the_venues_earlier_settlement_counts_once() -> None:
    """A next funding time that advances just before our clock reaches the old one settles at once and not again."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    exchange = served(market)
    bench.wait(100)
    market.snapshot("BTCUSDT", snapshot(bench))
    frame = bench.venue.markets["BTCUSDT"].mark_price(bench.now)
    market.feed(STREAMS[2], frame)
    exchange.advance(bench.now)
    proxy = Bench()
    proxy.venue, proxy.now = exchange.venue, bench.now
    proxy.market("BUY", "0.100")
    due = frame["T"]
    exchange.advance(due - 300)
    market.feed(STREAMS[2], frame | {"T": due + 3_600_000})
    exchange.advance(due - 299)
    exchange.advance(due + 5_000)
    assert 1 == sum(line["kind"] == "funding" for line in exchange.venue.ledger.lines)


def test_a_lost_socket_empties_every_book() -> None:
    """Until it is known again nothing fills: a MARKET order finds no price."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    exchange = served(market)
    bench.wait(100)
    market.snapshot("BTCUSDT", snapshot(bench))
    market.lost()
    exchange.advance(bench.now)
    proxy = Bench()
    proxy.venue, proxy.now = exchange.venue, bench.now
    assert 400 == proxy.market("BUY", "0.100").status
    assert {"BTCUSDT": "waiting"} == market.status()["books"]


def test_contract_changes_of_our_symbols_come_through() -> None:
    """Status and delivery of a simulated symbol change; COIN-M entries and others are only passed on."""
    market = LiveMarket([BTC], name="test")
    told = {"e": "contractInfo", "s": "BTCUSDT", "cs": "TRADING_HALT", "dt": 1, "st": 1}
    for payload in (told, told | {"st": 2}, told | {"s": "OTHERUSDT"}):
        market.feed("!contractInfo", payload)
    events = [event for _ in range(9) for event in market.take(START)]
    assert [ContractChange("BTCUSDT", status="TRADING_HALT", delivery_ms=1)] == [
        event for event in events if isinstance(event, ContractChange)
    ]
    assert 4 == len(events)


def test_levels_off_the_grid_are_left_out_and_counted() -> None:
    """An order that rests from before a raised tick cannot be matched here; it is no reason to stop."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    market.snapshot("BTCUSDT", snapshot(bench) | {"bids": [["83860.05", "1.000"], ["83860.00", "2.000"]]})
    exchange = served(market)
    exchange.advance(bench.now)
    assert {838_600: 2_000} == exchange.venue.markets["BTCUSDT"].book.bids
    assert 1 == market.status()["levels_off_the_grid"]


def test_a_gap_is_told_as_a_lost_book() -> None:
    """`pu` that is not the last `u`: BookLost, and nothing is applied until a snapshot."""
    bench, market = Bench(), LiveMarket([BTC], name="test")
    bench.wait(100)
    market.snapshot("BTCUSDT", snapshot(bench))
    for step in range(4):
        bench.book(MIDDLE + step)
        bench.wait(100)
    diffs = [payload for stream, payload in bench.venue.frames if stream == STREAMS[0]]
    for payload in (diffs[0], diffs[2], diffs[3]):
        market.feed(STREAMS[0], payload)
    kinds = [type(event) for _ in range(20) for event in market.take(START)]
    assert (1, 2) == (kinds.count(RecordedDiff), kinds.count(BookLost))
    assert 1 == market.gaps


def test_instruments_are_read_as_our_own_exchange_info_states_them() -> None:
    """Round trip of the rules; what cannot be simulated is named."""
    info = {"symbols": [exchange_info_row(BTC), exchange_info_row(ETH)]}
    for ours, read in zip((BTC, ETH), instruments_from(info, ["BTCUSDT", "ETHUSDT"]), strict=True):
        assert exchange_info_row(ours) == exchange_info_row(read)
    with pytest.raises(LiveError, match="lists no XUSDT"):
        instruments_from(info, ["XUSDT"])
    for change in ({"contractType": "CURRENT_QUARTER"}, {"marginAsset": "USDC"}):
        with pytest.raises(LiveError, match="only perpetuals"):
            instruments_from({"symbols": [exchange_info_row(BTC) | change]}, ["BTCUSDT"])
