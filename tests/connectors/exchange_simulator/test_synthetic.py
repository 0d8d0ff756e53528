"""The synthetic market follows its paths, never crosses its book, and is the same for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange_simulator.book import MarketBook
from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.instruments import default_instrument, default_symbols
from connectors.exchange_simulator.market_events import BookChange, MarketEvent, MarketTrade
from connectors.exchange_simulator.scenarios import BUILT_IN, CALM, DEMO, Segment
from connectors.exchange_simulator.synthetic import PPM, Path, SyntheticMarket, _beyond
from tests.connectors.exchange_simulator.venues import START


def market(*, seed: int = 1, rate: float = 10, symbols: int = 3, scenario: str = "demo") -> SyntheticMarket:
    """A market of the first default symbols."""
    rows = [default_instrument(name) for name in default_symbols(symbols)]
    return SyntheticMarket(rows, seed=seed, scenario=BUILT_IN[scenario], rate=rate, start_ms=START)


def run(source: SyntheticMarket, seconds: float) -> list[MarketEvent]:
    """All events of the next seconds."""
    events = source.initial(START)
    end = (source.next_due() or 0) + int(seconds * 1_000)
    while (source.next_due() or 0) < end:
        events.extend(source.take(end))
    return events


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from([-120.0, 0.0, 300.0]), st.sampled_from([0.5, 30.0]))
def test_books_never_cross_and_stay_deep(seed: int, drift: float, volatility: float) -> None:
    """After every change both sides have depth and the best bid lies below the best ask, for all symbols."""
    source = market(seed=seed)
    for name in default_symbols(3):
        source.set_path(name, [Segment(20, drift, volatility)], at_end="hold", now_ms=START)
    books: dict[str, MarketBook] = {}
    for event in run(source, 20):
        book = books.setdefault(event.symbol, MarketBook())
        if isinstance(event, BookChange):
            book.set_levels(event.bids, event.asks)
            assert book.best_bid is not None and book.best_ask is not None
            assert book.best_bid < book.best_ask
            assert min(len(book.bids), len(book.asks)) > 100


def test_trades_happen_at_the_touch() -> None:
    """A trade's price is the best bid (buyer was maker) or the best ask before its change."""
    books = {name: MarketBook() for name in default_symbols(3)}
    trades = 0
    for event in run(market(), 30):
        book = books[event.symbol]
        if isinstance(event, BookChange):
            book.set_levels(event.bids, event.asks)
        elif isinstance(event, MarketTrade):
            trades += 1
            assert event.ticks == (book.best_bid if event.buyer_is_maker else book.best_ask)
            assert event.lots > 0
    assert trades > 100


def test_the_same_seed_gives_the_same_market() -> None:
    """Equal seeds give equal events, other seeds other ones."""
    assert run(market(seed=4), 10) == run(market(seed=4), 10)
    assert run(market(seed=4), 10) != run(market(seed=5), 10)


@pytest.mark.parametrize(("name", "low", "high"), [("target", 230, 270), ("trail", 15, 65), ("stop", -140, -100)])
def test_demo_paths_end_where_they_say(name: str, low: int, high: int) -> None:
    """target ends near +2.5 %, trail near +0.4 %, stop near −1.2 %, within 40 s."""
    source = market(scenario="demo", symbols=1)
    source.set_path("BTCUSDT", DEMO.paths[name], at_end="hold", now_ms=START)
    last = [event for event in run(source, 40) if isinstance(event, MarketTrade)][-1]
    moved = (last.ticks - 838_601) * 10_000 / 838_601

    assert low < moved < high


def test_a_path_is_exact_at_its_corners_and_holds_or_repeats() -> None:
    """Without noise the line is base·(1 + drift) at the end of each segment; hold keeps it, repeat goes on."""
    segments = [Segment(10, 100, 0), Segment(10, -50, 0)]
    hold = Path(segments, price_e8=1_000 * E8, now_us=0, at_end="hold")
    assert [1_000 * E8, 1_005 * E8, 1_010 * E8] == [hold.middle(second * PPM)[0] for second in (0, 5, 10)]
    assert (100_495_000_000, True) == (hold.middle(100 * PPM)[0], hold.finished)

    repeat = Path(segments, price_e8=1_000 * E8, now_us=0, at_end="repeat")
    assert repeat.middle(30 * PPM)[0] > 1_010 * E8
    assert not repeat.finished


def test_the_rate_is_steps_per_second_and_symbol() -> None:
    """Ten steps per second and symbol over ten seconds and three symbols; sparse rates work too."""
    for rate, expected in ((10.0, 300), (0.5, 15)):
        steps = sum(isinstance(event, BookChange) for event in run(market(rate=rate), 10)) - 3
        assert abs(steps - expected) <= 1
    with pytest.raises(ValueError, match="rate"):
        market(rate=0)


def test_a_stalled_process_gives_up_what_was_due_long_ago() -> None:
    """skip_to forgets the steps of a minute and goes on from now."""
    source = market(rate=10)
    assert 1_800 == source.skip_to(START + 60_000)
    assert START + 60_000 <= (source.next_due() or 0) + 100


def test_an_idle_market_wanders() -> None:
    """Without a script the price drifts by itself, and the status says what runs."""
    source = SyntheticMarket([default_instrument("BTCUSDT")], seed=3, scenario=CALM, rate=2, start_ms=START)
    prices = [event.ticks for event in run(source, 1_200) if isinstance(event, MarketTrade)]

    assert max(prices) - min(prices) > 838_600 // 2_000
    assert "synthetic" == source.status()["source"]


@given(
    st.integers(-50, 50), st.integers(-50, 50), st.integers(0, 40), st.integers(0, 40), st.sampled_from([-3, -1, 1, 3])
)
def test_what_a_ladder_has_beyond_another(first: int, second: int, long: int, short: int, step: int) -> None:
    """Exactly the elements that are not in the other, in order."""
    these = range(first * step, first * step + long * step, step)
    those = range(second * step, second * step + short * step, step)
    assert [ticks for ticks in these if ticks not in those] == list(_beyond(these, those))
