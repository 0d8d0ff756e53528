"""The only place for tests of a symbol's factors together: mirror, scale, no repaint, restart, holes."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core import factor_set
from pipeline.core.bars import BAR_MS, BarHistory
from pipeline.core.book import Book, apply_diff, apply_snapshot
from pipeline.core.events import Bar, DepthDiff, DepthSnapshot, OpenInterest, Side, Trade
from pipeline.core.factor_set import FactorState, new_factor_state, on_book, on_closed_bar, ranges_of, rebuild
from pipeline.core.factor_values import FactorCache, companions, values
from pipeline.core.factors.parameters import DEFAULT
from pipeline.core.units import E8, Lots, Milliseconds, Ticks
from tests.factor_market import (
    START_MS,
    STEP_E8,
    TICK_E8,
    busy_day,
    copied,
    fold,
    fold_all,
    interests,
    mark,
    mirrored,
    new,
    quote,
    walk,
)

BAR_LETTERS = "TMSVC"
COUNT = 160


# --------------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mirrored_market_has_exactly_mirrored_scores(seed: int) -> None:
    """T M S V C O Q F turn their sign to the bit at every bar, with the same qualities; L agrees but for its prices."""
    for (here, now_ms), (there, _) in zip(
        busy_day(COUNT, seed=seed), busy_day(COUNT, seed=seed, turned=True), strict=True
    ):
        ours, turned = values(here, now_ms=now_ms), values(there, now_ms=now_ms)
        for letter in "TMSVCOQF":
            assert -ours.factors[letter].value == turned.factors[letter].value, letter
            assert ours.factors[letter].quality == turned.factors[letter].quality, letter
        assert ours.factors["L"].value == pytest.approx(turned.factors["L"].value, abs=1e-4)
        assert -companions(here, now_ms=now_ms).ofi == companions(there, now_ms=now_ms).ofi


@settings(max_examples=20)
@given(st.integers(1, 1_000), st.integers(0, 50))
def test_price_and_tick_scaled_together_change_nothing(factor: int, seed: int) -> None:
    """The same ticks at another tick size are the same market: T M S V C are equal to the bit."""
    bars = walk(COUNT, seed=seed)
    states = [new_factor_state("XUSDT", tick_e8=TICK_E8 * scale, step_e8=STEP_E8) for scale in (1, factor)]
    for state in states:
        for _ in fold(state, bars):
            pass
    here, there = (values(state, now_ms=state.bar_close_ms).factors for state in states)

    assert [here[letter] for letter in BAR_LETTERS] == [there[letter] for letter in BAR_LETTERS]


@settings(max_examples=15)
@given(st.integers(2, 1_000), st.integers(0, 50))
def test_prices_scaled_on_the_same_tick_change_next_to_nothing(factor: int, seed: int) -> None:
    """A market at k times the price scores the same: everything is measured in its own range."""
    bars = walk(COUNT, seed=seed)
    scaled = [
        msgspec.structs.replace(
            bar,
            open=Ticks(bar.open * factor),
            high=Ticks(bar.high * factor),
            low=Ticks(bar.low * factor),
            close=Ticks(bar.close * factor),
        )
        for bar in bars
    ]
    here, there = (values(fold_all(rows), now_ms=rows[-1].open_ms + BAR_MS).factors for rows in (bars, scaled))

    assert [pytest.approx(here[letter].value, abs=1e-9) for letter in BAR_LETTERS] == [
        there[letter].value for letter in BAR_LETTERS
    ]


def test_what_comes_later_changes_no_earlier_value() -> None:
    """No repaint: the values of each bar, kept, equal those of a history that ends with that bar."""
    bars, interest = walk(COUNT, seed=4), interests(COUNT, seed=5)
    state = new()
    seen = [values(state, now_ms=state.bar_close_ms) for _ in fold(state, bars, interest=interest)]
    for count in range(20, COUNT + 1, 35):
        alone = fold_all(bars[:count], interest=interest)
        assert seen[count - 1] == values(alone, now_ms=alone.bar_close_ms)


@settings(max_examples=8)
@given(st.integers(0, 119), st.integers(0, 30))
def test_a_stored_state_goes_on_as_if_it_had_not_been_stored(cut: int, seed: int) -> None:
    """Encoding and decoding after any bar changes no later byte and no later value."""
    kept = new()
    bars, interest = walk(120, seed=seed), interests(120, seed=seed)
    history = BarHistory()
    other: FactorState | None = None
    for index, bar in enumerate(bars):
        for state in (kept, other):
            if state is not None:
                answer = OpenInterest(Lots(interest[index]), Milliseconds(1))
                factor_set.on_open_interest(state, answer, now_ms=bar.open_ms)
        factor_set.follow(history, bar)
        for state in (kept, other):
            if state is not None:
                on_closed_bar(state, bar, ranges=ranges_of(history), now_ms=bar.open_ms + BAR_MS)
        if index == cut:
            other = copied(kept)

    assert other is not None
    assert msgspec.msgpack.encode(kept) == msgspec.msgpack.encode(other)
    assert values(kept, now_ms=kept.bar_close_ms) == values(other, now_ms=kept.bar_close_ms)


def test_every_input_is_stored_and_restored() -> None:
    """The whole state of a busy market, all inputs in it, comes back from its bytes and scores the same."""
    for step, (state, now_ms) in enumerate(busy_day(COUNT, seed=6)):
        if step % 40 == 39:
            assert msgspec.msgpack.encode(state) == msgspec.msgpack.encode(copied(state))
            assert values(state, now_ms=now_ms) == values(copied(state), now_ms=now_ms)


INTEGER = st.integers(-(2**62), 2**62)
CORNER = st.sampled_from([0, 1, -1, 2**53, 2**62, 600_000, 600_001])
ANY = st.one_of(CORNER, INTEGER)


@settings(max_examples=150)
@example([(6, [-1, 1, 1, 1, 1, 1, 0, 0])])  # a book whose best bid is the fault: its middle was zero
@given(st.lists(st.tuples(st.integers(0, 6), st.lists(ANY, min_size=8, max_size=8)), max_size=12))
def test_no_input_makes_a_value_that_is_no_number(inputs: list[tuple[int, list[int]]]) -> None:
    """Zero, negative and absurd numbers in every input: values stay finite and bounded, or the quality is 0."""
    state = copied(READY)
    at = state.bar_close_ms
    for kind, n in inputs:
        at += 1_000
        if kind == 0:
            bar = Bar(
                Milliseconds(state.bar_open_ms + BAR_MS), Ticks(n[0]), Ticks(n[1]), Ticks(n[2]), Ticks(n[3]),
                Lots(n[4]), E8(n[5]), Lots(n[6]), E8(n[7]), 1, True,
            )  # fmt: skip
            on_closed_bar(state, bar, ranges=(50.0, 200.0), now_ms=at)
        elif kind == 1:
            factor_set.on_quote(state, quote(n[0], n[1], at_ms=at, bid_lots=n[2], ask_lots=n[3]), now_ms=at)
        elif kind == 2:
            event = msgspec.structs.replace(
                mark(price=1.0, index=1.0, next_funding_ms=n[3], at_ms=at),
                mark=E8(n[0]),
                index=E8(n[1]),
                funding_rate_e8=n[2],
            )
            factor_set.on_mark(state, event, now_ms=at)
        elif kind == 3:
            factor_set.on_trade(state, Trade(n[0], Ticks(n[1]), Lots(n[2]), n[3] > 0, Milliseconds(at)), now_ms=at)
        elif kind == 4:
            factor_set.on_open_interest(state, OpenInterest(Lots(n[0]), Milliseconds(at)), now_ms=at)
        elif kind == 5:
            factor_set.on_liquidation(state, side=Side.SELL, price_e8=n[0], lots=n[1], trade_ms=n[2], now_ms=at)
        else:
            factor_set.on_depth(state, [(n[0], n[1]), (n[2], n[3])], [(n[4], n[5])], whole=True, now_ms=at)
    found = values(copied(state), now_ms=at)

    for letter, factor in found.factors.items():
        assert math.isfinite(factor.value), letter
        assert -100.0 <= factor.value <= 100.0
        assert 0.0 <= factor.quality <= 1.0
    assert math.isfinite(found.composite.score)
    assert 0.0 <= found.composite.long <= 1.0


READY = fold_all(walk(130, seed=7), interest=interests(130, seed=8))


# ------------------------------------------------------------------------------------------------------ holes and bars


def test_a_duplicate_an_older_and_a_forming_bar_change_nothing() -> None:
    """The same bytes before and after."""
    bars = walk(130, seed=7)
    state = copied(READY)
    before = msgspec.msgpack.encode(state)
    for bar in (bars[-1], bars[50], msgspec.structs.replace(bars[-1], open_ms=state.bar_close_ms, closed=False)):
        assert not on_closed_bar(state, bar, ranges=(1.0, 1.0), now_ms=1)

    assert before == msgspec.msgpack.encode(state)


def test_a_hole_makes_the_bar_factors_missing_until_the_history_is_filled() -> None:
    """T M S V C O F say which bars are missing; a rebuild from the filled history gives what an unbroken one gives."""
    bars = walk(150, seed=9)
    state = fold_all(bars[:140])
    cache = FactorCache()
    assert cache.values(state, now_ms=state.bar_close_ms).factors["T"].ready
    on_closed_bar(state, bars[145], ranges=(50.0, 200.0), now_ms=bars[145].open_ms + BAR_MS)
    now_ms = state.bar_close_ms
    broken = cache.values(state, now_ms=now_ms).factors
    on_closed_bar(state, bars[140], ranges=(50.0, 200.0), now_ms=now_ms)
    still = state.hole
    rebuild(state, bars, now_ms=bars[-1].open_ms + BAR_MS)
    healed = cache.values(state, now_ms=bars[-1].open_ms + BAR_MS).factors
    unbroken = values(fold_all(bars), now_ms=bars[-1].open_ms + BAR_MS).factors

    assert [False] * 7 == [broken[letter].ready for letter in "TMSVCOF"]
    assert "are missing" in str(broken["T"].detail["missing"])
    assert still
    assert [unbroken[letter].value for letter in BAR_LETTERS] == [healed[letter].value for letter in BAR_LETTERS]


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": Ticks(0)},
        {"high": Ticks(1)},
        {"close": Ticks(-5)},
        {"quote_volume": E8(-1)},
        {"taker_quote": E8(2**60)},
        {"high": Ticks(2**60)},
    ],
)
def test_a_bar_that_cannot_be_is_refused_with_its_reason(wrong: dict[str, int]) -> None:
    """It enters nothing; the bar factors are missing and say which bar it was."""
    state = copied(READY)
    bar = msgspec.structs.replace(walk(131, seed=7)[130], **wrong)
    before = msgspec.msgpack.encode(state.bars)
    assert not on_closed_bar(state, bar, ranges=(50.0, 200.0), now_ms=bar.open_ms + BAR_MS)

    assert before == msgspec.msgpack.encode(state.bars)
    assert {"bar": 1} == state.refused
    reason = values(state, now_ms=state.bar_close_ms).factors["M"].detail["missing"]
    assert str(bar.open_ms) in str(reason)


def test_a_rebuild_begins_after_what_cannot_be_used() -> None:
    """A jump or a nonsense row in a REST answer starts the history anew behind it; nothing usable leaves a hole."""
    bars = walk(200, seed=10)
    jump = new()
    rebuild(jump, bars[:20] + bars[50:], now_ms=bars[-1].open_ms + BAR_MS)
    nonsense = new()
    rows = [*bars[:49], msgspec.structs.replace(bars[49], low=Ticks(0)), *bars[50:]]
    rebuild(nonsense, rows, now_ms=bars[-1].open_ms + BAR_MS)
    plain = new()
    rebuild(plain, bars[50:], now_ms=bars[-1].open_ms + BAR_MS)
    empty = new()
    rebuild(empty, [], now_ms=1)

    assert [msgspec.msgpack.encode(plain.bars)] * 2 == [msgspec.msgpack.encode(s.bars) for s in (jump, nonsense)]
    assert "no bar that can be used" == empty.hole


def test_a_rebuild_keeps_what_is_not_in_bars() -> None:
    """Open interest, basis and liquidations go on: the bars unseen count as not sampled, the newest is sampled."""
    bars = walk(150, seed=9)
    state = fold_all(bars[:140], interest=interests(140, seed=11))
    count = state.interest.moments.count
    rebuild(state, bars, now_ms=state.interest.at_ms + 1_000)

    assert (count, True) == (state.interest.moments.count - 1, state.interest.past.back(0) > 0.0)
    assert [0.0] * 9 == [state.interest.past.back(step) for step in range(1, 10)]


# ----------------------------------------------------------------------------------------------------------- the rest


def test_the_local_book_is_measured_when_it_is_due_and_missing_when_it_is_not_whole() -> None:
    """Twice a second at most; a dropped book shows no levels."""
    state = new()
    book = Book()
    assert on_book(state, book, now_ms=START_MS)
    assert not values(state, now_ms=START_MS).factors["L"].ready
    apply_diff(book, DepthDiff(1, 2, 0, [], [], Milliseconds(1)))
    bids, asks = [(600_000 - k, 50) for k in range(30)], [(600_001 + k, 50) for k in range(30)]
    apply_snapshot(book, DepthSnapshot(2, bids, asks, Milliseconds(1)))

    assert [True, False, True] == [on_book(state, book, now_ms=START_MS + ms) for ms in (100, 300, 600)]
    assert values(state, now_ms=START_MS + 600).factors["L"].ready


def test_references_of_other_symbols_and_nonsense_are_ignored() -> None:
    """Only BTC and ETH are references; a close that cannot be is refused."""
    state = new()
    factor_set.on_reference_bar(state, "SOLUSDT", open_ms=START_MS, close=1.0)
    for close in (math.nan, math.inf, 0.0, -1.0):
        factor_set.on_reference_bar(state, "BTCUSDT", open_ms=START_MS, close=close)

    assert ({"reference": 4}, 0) == (state.refused, state.versions.reference)


def test_mirrored_bars_are_valid_bars() -> None:
    """The helper of these tests makes markets that the core accepts."""
    assert {""} == {factor_set.bar_fault(bar) for bar in mirrored(walk(50, seed=1))}


def test_the_default_parameters_are_one_object() -> None:
    """The cache compares them by identity: callers hand over one frozen struct, not a new one each time."""
    state = copied(READY)
    cache = FactorCache()
    now_ms = state.bar_close_ms

    assert cache.values(state, now_ms=now_ms) is cache.values(state, now_ms=now_ms, parameters=DEFAULT)
