"""Factors through the engine: mirrored with the market, never repainted, and whole whatever numbers come."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import engine
from pipeline.core.bars import BAR_MS
from pipeline.core.events import (
    Bar,
    Bars,
    DepthDiff,
    DepthSnapshot,
    Event,
    FeedLost,
    InstrumentChanged,
    Liquidation,
    MarkPrice,
    OpenInterest,
    OpenInterestHistory,
    Quote,
    ReferenceBars,
    Side,
    Stamp,
    Ticked,
    Trade,
)
from pipeline.core.scores import Scores
from pipeline.core.state import SymbolState, decode, encode
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks
from tests.factor_market import PRICE, START_MS, interests, mark, mirrored, quote, walk
from tests.pipeline.core.test_factor_feed import INSTRUMENT

WARM, LIVE = 150, 30
BARS = walk(WARM + LIVE, seed=83)
INTERESTS = interests(WARM + LIVE, seed=84)
DIRECTIONAL = "TMSVCOQ"


class Symbol:
    """One symbol's engine; every event at its own time."""

    def __init__(self) -> None:
        self.state: SymbolState = engine.new_state("SOLUSDT")
        self.line = 0
        self.tell(InstrumentChanged(INSTRUMENT), START_MS)

    def tell(self, event: Event, at_ms: int) -> None:
        """Fold one event."""
        self.line += 1
        engine.step(self.state, event, Stamp(0, self.line, 0, Milliseconds(at_ms), Milliseconds(at_ms)))

    def scores(self, at_ms: int) -> Scores:
        """The scores of a turn at that time."""
        self.tell(Ticked(compute=True), at_ms)
        assert self.state.scores is not None
        return self.state.scores


def told(bars: list[Bar], *, turned: bool) -> Iterable[tuple[Event, int]]:
    """A market around the live bars: the mirror has sellers for buyers and reflected levels."""
    yield Bars(bars[:WARM]), bars[WARM - 1].open_ms + BAR_MS
    past = [(bar.open_ms + BAR_MS, INTERESTS[index]) for index, bar in enumerate(bars[:WARM])]
    yield OpenInterestHistory(past), bars[WARM - 1].open_ms + BAR_MS
    for number, bar in enumerate(bars[WARM:]):
        at_ms = bar.open_ms + 1_000
        near, far = (5 + number % 7, 11) if not turned else (11, 5 + number % 7)
        yield quote(PRICE - 1, PRICE + 1, at_ms=at_ms, bid_lots=near, ask_lots=far), at_ms
        yield quote(PRICE - 1, PRICE + 1, at_ms=at_ms + 1_500, bid_lots=far, ask_lots=near), at_ms + 1_500
        yield Trade(number + 1, Ticks(PRICE), Lots(10), bool(number % 3) is not turned, Milliseconds(at_ms)), at_ms
        yield mark(price=60_000.0, index=60_000.0, next_funding_ms=START_MS + 28_800_000, at_ms=at_ms), at_ms
        side = Side.SELL if bool(number % 4) is not turned else Side.BUY
        yield Liquidation(side, E8(60_000 * ONE_E8), Lots(900 + number), Milliseconds(at_ms)), at_ms
        yield OpenInterest(Lots(INTERESTS[WARM + number]), Milliseconds(at_ms)), at_ms
        yield bar, bar.open_ms + BAR_MS


@pytest.mark.parametrize("until", [WARM + 12, WARM + 20, WARM + LIVE])
def test_a_mirrored_market_gives_mirrored_scores(until: int) -> None:
    """Every directional factor, E, flow and flags change sides to the unit; what has no direction is the same."""
    one, other = Symbol(), Symbol()
    for symbol, turned in ((one, False), (other, True)):
        for event, at_ms in told(mirrored(BARS[:until]) if turned else BARS[:until], turned=turned):
            symbol.tell(event, at_ms)
    at_ms = BARS[until - 1].open_ms + BAR_MS + 250
    found, reflected = one.scores(at_ms), other.scores(at_ms)

    assert all(found.ready(letter) for letter in DIRECTIONAL)
    assert [-found.value(letter) for letter in DIRECTIONAL] == [reflected.value(letter) for letter in DIRECTIONAL]
    assert (-found.score, -found.value("F")) == (reflected.score, reflected.value("F"))
    assert (found.odds_long, found.odds_short, found.vetoes_long) == (
        reflected.odds_short,
        reflected.odds_long,
        reflected.vetoes_short,
    )
    assert (-found.ofi_z, -found.lean_millibps, -found.flow_60s) == (
        reflected.ofi_z,
        reflected.lean_millibps,
        reflected.flow_60s,
    )
    assert (found.cascade_up, found.exhausted, found.absorption, found.crowded) == (
        reflected.cascade_down,
        reflected.exhausted,
        reflected.absorption,
        reflected.crowded,
    )
    turned_word = {"up": "down", "down": "up"}
    assert turned_word.get(found.trend, found.trend) == reflected.trend
    assert (2 * PRICE - found.swing_low, found.coverage) == (reflected.swing_high, reflected.coverage)


def test_what_was_said_of_a_bar_stays_said() -> None:
    """No repaint: a symbol that learns the same bars later, all at once, says of each what the stream said then."""
    live = Symbol()
    live.tell(Bars(BARS[:WARM]), BARS[WARM - 1].open_ms + BAR_MS)
    for number in range(WARM, WARM + LIVE):
        at_ms = BARS[number].open_ms + BAR_MS
        live.tell(BARS[number], at_ms)
        said = live.scores(at_ms + 250)
        late = Symbol()
        late.tell(Bars(BARS[: number + 1]), at_ms)
        again = late.scores(at_ms + 250)

        assert [said.factors[letter] for letter in "TMSVC"] == [again.factors[letter] for letter in "TMSVC"]
        assert (said.swing_high, said.swing_high_ms, said.swing_low, said.swing_low_ms) == (
            again.swing_high,
            again.swing_high_ms,
            again.swing_low,
            again.swing_low_ms,
        )


# ------------------------------------------------------------------------------------------------- whatever comes

ANY = st.integers(-(1 << 62), 1 << 62)
SOME = st.integers(-3, 3) | st.integers(590_000, 610_000) | ANY
WHEN = st.integers(-2, 40).map(lambda n: START_MS + n * BAR_MS) | ANY
MONEY = st.integers(5_900_000_000_000, 6_100_000_000_000) | st.integers(-3, 3) | ANY
LEVELS = st.lists(st.tuples(SOME, SOME), max_size=4)


def uncrossed(bid: int, spread: int, bid_lots: int, ask_lots: int, at_ms: int) -> Quote:
    """A quote whose prices the decoder would let pass; its quantities it would not."""
    low = max(1, abs(bid) % (1 << 40))
    high = low + 1 + abs(spread) % (1 << 40)
    return Quote(at_ms, Ticks(low), Lots(bid_lots), Ticks(high), Lots(ask_lots), Milliseconds(at_ms))


EVENTS = st.one_of(
    st.builds(uncrossed, SOME, SOME, SOME, SOME, WHEN),
    st.builds(Trade, SOME, SOME, SOME, st.booleans(), WHEN),
    st.builds(MarkPrice, MONEY, MONEY, SOME, WHEN, WHEN),
    st.builds(Bar, WHEN, SOME, SOME, SOME, SOME, SOME, ANY, SOME, ANY, SOME, st.just(True)),
    st.builds(OpenInterest, SOME, WHEN),
    st.builds(OpenInterestHistory, st.lists(st.tuples(WHEN, SOME), max_size=4)),
    st.builds(Liquidation, st.sampled_from(Side), SOME, SOME, WHEN),
    st.builds(ReferenceBars, st.sampled_from(["BTCUSDT", "ETHUSDT", "X", ""]), WHEN, st.lists(SOME, max_size=5)),
    st.builds(DepthSnapshot, SOME, LEVELS, LEVELS, WHEN),
    st.builds(DepthDiff, SOME, SOME, SOME, LEVELS, LEVELS, WHEN),
    st.just(FeedLost(stream="public", reason="lost")),
    st.just(Ticked(compute=True)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.integers(0, 400_000)), max_size=14), st.booleans())
def test_no_number_breaks_the_factors_or_leaves_them_without_measure(
    story: list[tuple[Event, int]], warm: bool
) -> None:
    """
    Quantities from the bounds of the machine's words, times that go back, what decoding would have refused: nothing is
    raised, each score is in its bounds, a missing one has quality 0, and the state comes back from its bytes.
    """
    symbol = Symbol()
    at_ms = START_MS
    if warm:
        symbol.tell(Bars(BARS[:130]), BARS[129].open_ms + BAR_MS)
        at_ms = BARS[129].open_ms + BAR_MS
    for event, passed in [*story, (Ticked(compute=True), 1)]:
        at_ms += passed
        symbol.tell(event, at_ms)
    found = symbol.state.scores

    assert found is not None
    for letter, score in found.factors.items():
        low = 0 if letter in "LI" else -100_000
        assert low <= score.value <= 100_000 and 0 <= score.quality <= 1_000
        assert score.ready or (score.quality, score.value) == (0, 0)
    assert 0 < found.odds_long < 1_000_000 and 0 <= found.coverage <= 1_000
    assert encode(symbol.state) == encode(decode(encode(symbol.state)))
