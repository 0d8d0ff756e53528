"""The only place for tests of how a symbol's factors are scored: provisional values, the cache."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import factor_set
from pipeline.core.bars import BAR_MS
from pipeline.core.events import OpenInterest, Side
from pipeline.core.factor_set import LETTERS, on_closed_bar
from pipeline.core.factor_values import FactorCache, provisional, values
from pipeline.core.units import ONE_E8, Lots, Milliseconds
from tests.factor_market import START_MS, busy_day, copied, end_of_day, fold_all, interests, mark, walk

READY = fold_all(walk(130, seed=7), interest=interests(130, seed=8))


def test_the_forming_bar_gives_provisional_values_and_commits_nothing() -> None:
    """T M V C as if it closed now; the state's bytes stay; a bar that is not the next one gives nothing."""
    state = copied(READY)
    forming = msgspec.structs.replace(walk(131, seed=7)[130], closed=False)
    before = msgspec.msgpack.encode(state)
    found = provisional(state, forming, now_ms=forming.open_ms + 60_000)
    late = msgspec.structs.replace(forming, open_ms=Milliseconds(forming.open_ms + BAR_MS))

    assert before == msgspec.msgpack.encode(state)
    assert ["T", "M", "V", "C"] == list(found)
    assert found["T"].value != values(state, now_ms=state.bar_close_ms).factors["T"].value
    assert {} == provisional(state, late, now_ms=late.open_ms)


# -------------------------------------------------------------------------------------------------------------- cache


def test_unchanged_inputs_are_a_hit() -> None:
    """The very same object, until an input comes, a quality begins to fall, or a minute has passed."""
    state, now_ms = end_of_day(130, seed=12)
    cache = FactorCache()
    first = cache.values(state, now_ms=now_ms)

    assert first is cache.values(state, now_ms=now_ms)
    assert first is not cache.values(state, now_ms=now_ms + 60_001)


@pytest.mark.parametrize("letter", ["L", "B", "O", "Q", "I", "T"])
def test_an_input_renews_only_its_own_factors(letter: str) -> None:
    """What has no new input is the very same factor as before; what has is another one."""
    state, now_ms = end_of_day(130, seed=13)
    # ages at which every other input is still whole
    factor_set.on_depth(state, [(599_999, 50)], [(600_001, 50)], whole=True, now_ms=now_ms)
    price = 60_000.0
    event = mark(price=price, index=price, next_funding_ms=START_MS + 10**9, at_ms=now_ms)
    factor_set.on_mark(state, event, now_ms=now_ms)
    cache = FactorCache()
    before = cache.values(state, now_ms=now_ms).factors
    if letter == "L":
        factor_set.on_depth(state, [(599_999, 90)], [(600_001, 50)], whole=True, now_ms=now_ms)
    elif letter == "B":
        factor_set.on_mark(state, event, now_ms=now_ms)
    elif letter == "O":
        factor_set.on_open_interest(state, OpenInterest(Lots(50_000_000), Milliseconds(1)), now_ms=now_ms)
    elif letter == "Q":
        factor_set.on_liquidation(state, side=Side.BUY, price_e8=ONE_E8, lots=5, trade_ms=now_ms, now_ms=now_ms)
    elif letter == "I":
        open_ms = state.independence.bitcoin.open_ms + BAR_MS
        factor_set.on_reference_bar(state, "BTCUSDT", open_ms=open_ms, close=1.0)
    else:
        bar = msgspec.structs.replace(walk(131, seed=13)[130], open_ms=Milliseconds(state.bar_close_ms))
        on_closed_bar(state, bar, ranges=(50.0, 200.0), now_ms=now_ms)
    after = cache.values(state, now_ms=now_ms).factors
    renewed = {name for name in LETTERS if after[name] is not before[name]}

    expected = {"L": {"L"}, "B": {"B"}, "O": {"O", "F"}, "Q": {"Q"}, "I": {"I"}, "T": set("TMSVCOBQIF")}[letter]
    missing = {name for name in LETTERS if not before[name].ready and not after[name].ready}
    assert expected - missing == renewed - missing


@settings(max_examples=10)
@given(st.integers(0, 20), st.lists(st.integers(0, 40_000), min_size=1, max_size=6))
def test_with_or_without_a_cache_the_values_are_the_same(seed: int, steps: list[int]) -> None:
    """At any times after any bar, a cache that has seen the whole day gives what a fresh computation gives."""
    cache = FactorCache()
    for index, (state, now_ms) in enumerate(busy_day(60, seed=seed)):
        at = now_ms
        for step in steps if index % 20 == 19 else [0]:
            at += step
            served, fresh = cache.values(state, now_ms=at), values(state, now_ms=at)
            for letter in LETTERS:
                assert fresh.factors[letter].quality == served.factors[letter].quality, (letter, step)
                if letter != "Q":  # a fading wave is served for up to a second
                    assert fresh.factors[letter].value == served.factors[letter].value, (letter, step)


def test_a_socket_that_comes_back_is_seen_by_the_cache() -> None:
    """After minutes of silence Q was missing; the first frame brings it back without a bar or an event."""
    state, now_ms = end_of_day(60, seed=14)
    cache = FactorCache()
    gone = cache.values(state, now_ms=now_ms + 400_000).factors["Q"]
    factor_set.on_liquidation_socket(state, now_ms=now_ms + 401_000)

    assert (False, True) == (gone.ready, cache.values(state, now_ms=now_ms + 401_000).factors["Q"].ready)
