"""The only place for tests of how a symbol's events reach its factors, folded by the engine first."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core import engine, factor_feed
from pipeline.core.bars import BAR_MS
from pipeline.core.data_requests import OPEN_INTEREST_HELD_MS, OPEN_INTEREST_SHORTLISTED_MS
from pipeline.core.events import (
    Bar,
    Bars,
    BasisHistory,
    DepthDiff,
    DepthSnapshot,
    Event,
    FundingHistory,
    FundingInfo,
    InstrumentChanged,
    OpenInterest,
    OpenInterestHistory,
    PolicySet,
    ReferenceBars,
    Stamp,
    Ticked,
    Trade,
)
from pipeline.core.factor_set import FactorState
from pipeline.core.factor_values import values
from pipeline.core.instruments import Instrument
from pipeline.core.policies import Policy
from pipeline.core.state import SymbolState
from pipeline.core.units import Lots, Milliseconds, Ticks
from tests.factor_market import START_MS, STEP_E8, TICK_E8, fold_all, mark, quote, walk

INSTRUMENT = Instrument(
    symbol="SOLUSDT",
    status="TRADING",
    tick_e8=TICK_E8,
    step_e8=STEP_E8,
    min_price_ticks=1,
    max_price_ticks=10**9,
    min_lots=1,
    max_lots=10**9,
    max_market_lots=10**9,
    min_notional_e8=0,
)


class Symbol:
    """One symbol's engine with its factors."""

    def __init__(self, *, known: bool = True) -> None:
        self.state: SymbolState = engine.new_state("SOLUSDT")
        self.line = 0
        if known:
            self.tell(InstrumentChanged(INSTRUMENT), START_MS)

    def tell(self, event: Event, at_ms: int) -> None:
        """Fold one event."""
        self.line += 1
        engine.step(self.state, event, Stamp(0, self.line, 0, Milliseconds(at_ms), Milliseconds(at_ms)))

    def close(self, bars: list[Bar]) -> None:
        """Bars of the stream, each told at its close."""
        for bar in bars:
            self.tell(bar, bar.open_ms + BAR_MS)

    @property
    def factors(self) -> FactorState | None:
        """The factors, None while the instrument is not known."""
        return self.state.factors

    @property
    def known(self) -> FactorState:
        """The factors, which must be there."""
        assert self.factors is not None
        return self.factors


BARS = walk(180, seed=61)


def test_without_an_instrument_there_are_no_factors() -> None:
    """What a tick is worth is not known yet."""
    symbol = Symbol(known=False)
    symbol.tell(quote(10, 11, at_ms=START_MS), START_MS)

    assert symbol.factors is None


def test_a_backfill_and_the_stream_after_it_give_the_history_of_the_whole() -> None:
    """150 bars by REST and 30 of the stream score like 180 in one piece."""
    symbol = Symbol()
    symbol.tell(Bars(BARS[:150]), BARS[149].open_ms + BAR_MS)
    symbol.close(BARS[150:])
    expected = values(fold_all(BARS), now_ms=symbol.known.bar_close_ms).factors

    found = values(symbol.known, now_ms=symbol.known.bar_close_ms).factors
    assert [expected[letter].value for letter in "TMSVC"] == [found[letter].value for letter in "TMSVC"]
    assert all(found[letter].ready for letter in "TMSVC")


def test_a_hole_closes_the_factors_and_its_history_opens_them_again() -> None:
    """The bar after a missing one leaves a hole; the REST answer that fills it heals."""
    symbol = Symbol()
    symbol.tell(Bars(BARS[:150]), BARS[149].open_ms + BAR_MS)
    symbol.close([BARS[151]])
    broken = symbol.known.hole
    symbol.tell(Bars(BARS[100:160]), BARS[159].open_ms + BAR_MS)

    assert "are missing" in broken
    assert ("", BARS[159].open_ms) == (symbol.known.hole, symbol.known.bar_open_ms)


def test_one_late_bar_by_rest_is_folded_alone() -> None:
    """Nothing is built again for it, and the same answer a second time changes nothing."""
    symbol = Symbol()
    symbol.tell(Bars(BARS[:150]), BARS[149].open_ms + BAR_MS)
    kept = symbol.known.bars
    symbol.tell(Bars([BARS[150]]), BARS[150].open_ms + BAR_MS)
    before = msgspec.msgpack.encode(symbol.known)
    symbol.tell(Bars([BARS[150]]), BARS[150].open_ms + BAR_MS)

    assert kept is symbol.known.bars
    assert before == msgspec.msgpack.encode(symbol.known)


def test_every_kind_of_event_reaches_its_factors() -> None:
    """Quotes, book, marks, trades and open interest; what is none of them changes nothing."""
    symbol = Symbol()
    at = START_MS + 1_000
    symbol.tell(quote(600_000, 600_001, at_ms=at), at)
    symbol.tell(DepthDiff(1, 2, 0, [], [], Milliseconds(at)), at)
    levels = [(600_000 - k, 50) for k in range(30)], [(600_001 + k, 50) for k in range(30)]
    symbol.tell(DepthSnapshot(2, *levels, Milliseconds(at)), at)
    symbol.tell(mark(price=60_000.0, index=60_000.0, next_funding_ms=at + 10**6, at_ms=at), at)
    symbol.tell(Trade(5, Ticks(600_000), Lots(10), True, Milliseconds(at)), at)
    symbol.tell(OpenInterest(Lots(10**6), Milliseconds(at)), at)
    known = symbol.known
    before = msgspec.msgpack.encode(known)
    symbol.tell(Ticked(), at + 1)

    assert (600_000.5, 5, 10.0**6, at) == (known.flow.mid, known.tape.last_id, known.interest.lots, known.basis.at_ms)
    assert values(known, now_ms=at).factors["L"].ready
    assert before == msgspec.msgpack.encode(known)


def test_an_older_quote_and_an_older_mark_are_not_fed() -> None:
    """What the symbol's own state has dropped as old (a second connection) does not reach the factors."""
    symbol = Symbol()
    at = START_MS + 1_000
    symbol.tell(quote(600_000, 600_001, at_ms=at), at)
    symbol.tell(quote(500_000, 500_001, at_ms=at - 500), at + 1)
    for price, event_ms in ((60_000.0, at), (50_000.0, at - 500)):
        symbol.tell(mark(price=price, index=price, next_funding_ms=at + 10**6, at_ms=event_ms), at + 2)

    assert (600_000.5, 1) == (symbol.known.flow.mid, symbol.known.versions.mark)


@pytest.mark.parametrize("scale", [10, 100])
def test_another_tick_size_begins_anew_from_the_bars_at_hand(scale: int) -> None:
    """The engine carries its bars over to the new grid; the factors follow on it."""
    symbol = Symbol()
    symbol.tell(Bars(BARS), BARS[-1].open_ms + BAR_MS)
    finer = msgspec.structs.replace(INSTRUMENT, tick_e8=TICK_E8 // scale)
    before = values(symbol.known, now_ms=symbol.known.bar_close_ms).factors
    symbol.tell(InstrumentChanged(finer), BARS[-1].open_ms + BAR_MS)
    after = values(symbol.known, now_ms=symbol.known.bar_close_ms).factors

    assert TICK_E8 // scale == symbol.known.tick_e8
    assert [pytest.approx(before[letter].value, abs=1e-6) for letter in "TMSVC"] == [
        after[letter].value for letter in "TMSVC"
    ]


def test_other_parameters_begin_anew_from_the_bars_at_hand() -> None:
    """A policy with other weights or windows is another set of factors: scores of the former are gone."""
    symbol = Symbol()
    symbol.tell(Bars(BARS), BARS[-1].open_ms + BAR_MS)
    symbol.tell(Ticked(compute=True), BARS[-1].open_ms + BAR_MS + 1)
    before = symbol.state.scores
    policy = Policy(factors=(("trend.weight", 20.0), ("momentum.weight", 20.0), ("trend.line_bars", 30.0)))
    symbol.tell(PolicySet(policy), BARS[-1].open_ms + BAR_MS + 2)
    dropped = symbol.state.scores
    symbol.tell(Ticked(compute=True), BARS[-1].open_ms + BAR_MS + 3)
    after = symbol.state.scores

    assert before is not None and after is not None and dropped is None
    assert 30 == symbol.known.bars.trend.line.window.size
    assert before.value("T") != after.value("T")
    assert before.value("S") == after.value("S")


def test_bars_that_come_to_light_behind_live_ones_rebuild_the_factors() -> None:
    """A live bar before the REST answer of its past: the factors stand on the whole history, not on one bar."""
    symbol = Symbol()
    symbol.close([BARS[150]])
    symbol.tell(Bars(BARS[:150]), BARS[150].open_ms + BAR_MS + 500)

    assert (151, "") == (symbol.known.bars.prices.bars, symbol.known.hole)


def test_a_history_of_open_interest_makes_o_ready_at_once_and_never_looks_ahead() -> None:
    """500 periods of the past are sampled at the closes after which they were known; the newest poll stays."""
    symbol = Symbol()
    close_ms = BARS[-1].open_ms + BAR_MS
    symbol.tell(Bars(BARS), close_ms)
    symbol.tell(OpenInterest(Lots(2_000_000), Milliseconds(close_ms)), close_ms)
    rows = [(close_ms - back * BAR_MS, 1_000_000 + 7_919 * back % 40_000) for back in range(299, -1, -1)]
    symbol.tell(OpenInterestHistory(rows), close_ms + 1_000)
    interest = symbol.known.interest
    found = values(symbol.known, now_ms=close_ms + 1_000).factors["O"]

    assert found.ready
    assert float(rows[-2][1]) == interest.past.back(0)  # the newest period is not published when its bar closes
    assert 2_000_000.0 == interest.lots
    assert [] == [value for value in interest.past.values if not value]


def test_the_last_poll_of_a_symbol_that_was_held_is_not_old_by_the_pace_of_held_ones() -> None:
    """Polled every 75 s while held, every 600 s afterwards: an age of 400 s is none then."""
    symbol = Symbol()
    close_ms = BARS[-1].open_ms + BAR_MS
    symbol.tell(Bars(BARS), close_ms)
    rows = [(close_ms - back * BAR_MS, 1_000_000 + 7_919 * back % 40_000) for back in range(399, -1, -1)]
    symbol.tell(OpenInterestHistory(rows), close_ms)
    symbol.known.interest.poll_ms = OPEN_INTEREST_HELD_MS
    symbol.tell(Ticked(compute=True), close_ms + 400_000)
    assert symbol.state.scores is not None

    assert OPEN_INTEREST_SHORTLISTED_MS == symbol.known.interest.poll_ms
    assert 1_000 == symbol.state.scores.factors["O"].quality


@pytest.mark.parametrize("rows", [[], [(START_MS, 0)], [(START_MS, -5)], [(START_MS, 1 << 60)]])
def test_a_history_of_open_interest_that_cannot_be_is_refused(rows: list[tuple[int, int]]) -> None:
    """Nothing of it is taken, and the refusal is counted."""
    symbol = Symbol()
    symbol.tell(Bars(BARS), BARS[-1].open_ms + BAR_MS)
    symbol.tell(OpenInterestHistory(rows), BARS[-1].open_ms + BAR_MS)

    assert {"open_interest": 1} == symbol.known.refused
    assert not symbol.known.interest.known


def test_the_past_of_basis_and_funding_makes_b_ready_at_once() -> None:
    """864 closes of the premium index are samples, 30 settlements are prints, and their distance is the interval."""
    symbol = Symbol()
    close_ms = BARS[-1].open_ms + BAR_MS
    symbol.tell(Bars(BARS), close_ms)
    symbol.tell(mark(price=60_000.0, index=60_000.0, next_funding_ms=close_ms + 10**6, at_ms=close_ms), close_ms)
    rows = [(close_ms - back * BAR_MS, 10_000 * (back % 7)) for back in range(863, -2, -1)]  # the last one is to come
    symbol.tell(BasisHistory(rows), close_ms + 1_000)
    hour = 3_600_000
    symbol.tell(FundingHistory([(n * 4 * hour + n % 5, 10_000 + n) for n in range(31)]), close_ms + 1_000)
    basis = symbol.known.basis

    assert (864, 30, 4) == (basis.moments.count, len(basis.prints), basis.interval_hours)
    assert 2.0 * (10_000 + 30) / 10**8 == pytest.approx(basis.prints[-1])
    assert values(symbol.known, now_ms=close_ms + 1_000).factors["B"].quality == pytest.approx(1.0)
    symbol.tell(BasisHistory(rows[:5]), close_ms + 2_000)  # a shorter past takes nothing away
    symbol.tell(FundingHistory([]), close_ms + 2_000)
    assert (864, 30) == (basis.moments.count, len(basis.prints))


def test_what_the_venue_says_of_the_interval_is_taken_and_nonsense_is_not() -> None:
    """fundingInfo: 1, 2, 4 or 8 hours."""
    symbol = Symbol()
    symbol.tell(Bars(BARS), BARS[-1].open_ms + BAR_MS)
    symbol.tell(FundingInfo(4), BARS[-1].open_ms + BAR_MS)
    symbol.tell(FundingInfo(5), BARS[-1].open_ms + BAR_MS)
    symbol.tell(BasisHistory([(1, 10**9)]), BARS[-1].open_ms + BAR_MS)
    symbol.tell(FundingHistory([(1, -(10**9))]), BARS[-1].open_ms + BAR_MS)

    assert 4 == symbol.known.basis.interval_hours
    assert {"funding": 2, "basis": 1} == symbol.known.refused


def test_a_bar_is_spoken_of_once_even_by_factors_that_began_anew() -> None:
    """What is asked once a bar (signals, sharing) is not asked again because a parameter changed."""
    symbol = Symbol()
    close_ms = BARS[-1].open_ms + BAR_MS
    symbol.tell(Bars(BARS), close_ms)
    spoken = [factor_feed.score(symbol.state), factor_feed.score(symbol.state)]
    symbol.tell(PolicySet(Policy(factors=(("trend.line_bars", 30.0),))), close_ms)
    spoken.append(factor_feed.score(symbol.state))

    assert [True, False, False] == spoken
    assert close_ms == symbol.state.scored_close_ms


def test_a_history_that_begins_at_the_beginning_of_time_costs_no_more_than_a_week() -> None:
    """One absurd time in an answer must not hold up every other symbol of the partition."""
    symbol = Symbol()
    close_ms = BARS[-1].open_ms + BAR_MS
    symbol.tell(Bars(BARS), close_ms)
    rows = [(-(1 << 62), 5), (0, 1_000_000), (close_ms - 2 * BAR_MS + 7, 1_000_100)]
    symbol.tell(OpenInterestHistory(rows), close_ms)
    interest = symbol.known.interest

    assert 1_000_100.0 == interest.past.back(0)  # a few ms off the grid is the same period
    assert interest.week.count <= 2_017


def test_times_that_cannot_be_do_not_hide_those_that_come_later() -> None:
    """A funding time or a shared bar of the far future is dropped."""
    symbol = Symbol()
    at = START_MS + 1_000
    symbol.tell(mark(price=60_000.0, index=60_000.0, next_funding_ms=1 << 60, at_ms=at), at)
    symbol.tell(mark(price=60_000.0, index=60_000.0, next_funding_ms=at + 10**6, at_ms=at), at + 1)
    far = ReferenceBars("BTCUSDT", Milliseconds((1 << 60) // BAR_MS * BAR_MS), [5, 6])
    symbol.tell(far, at)
    symbol.tell(ReferenceBars("BTCUSDT", Milliseconds(START_MS), [5, 6, 7]), at)

    assert at + 10**6 == symbol.known.basis.next_funding_ms
    assert (START_MS, 7.0) == (symbol.known.independence.bitcoin.open_ms, symbol.known.independence.bitcoin.close)
