"""Tests of the ranking: by |E|, with hysteresis, from memory alone, the same words give the same list."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.account_state import RiskRules
from pipeline.core.account_words import AccountTicked, TiersTold
from pipeline.core.bars import BAR_MS
from pipeline.core.events import Side
from pipeline.core.ranking import SILENT_MS
from pipeline.core.units import Milliseconds
from tests.pipeline.core.test_account import RULES, Account, entry, ready
from tests.pipeline.core.test_risk import signal


def desk(shortlist: int) -> Account:
    """An account that shortlists so many."""
    return Account(msgspec.structs.replace(RULES, risk=RiskRules(shortlist=shortlist)))


def ranked(account: Account, scores: dict[str, int], *, after_ms: int = 1_000) -> list[TiersTold]:
    """One bar of words and the tick after it; returns the tiers that the tick told."""
    for symbol, score in scores.items():
        side = Side.BUY if score >= 0 else Side.SELL
        account.fold(signal(symbol, side=side, score=score))
    return ticked(account, after_ms=after_ms)


def ticked(account: Account, *, after_ms: int = 1) -> list[TiersTold]:
    """A tick; returns the tiers that it told."""
    account.fold(AccountTicked(), after_ms=after_ms)
    return account.tiers


def after(bars: int) -> Milliseconds:
    """The close of so many bars after the one that words speak of by default."""
    return Milliseconds(signal("A").report.bar_ms + bars * BAR_MS)


def tiers(told: list[TiersTold]) -> list[list[str]]:
    """The shortlists told."""
    return [output.shortlisted for output in told]


def test_the_strongest_of_either_side_are_shortlisted_in_order() -> None:
    """Long or short does not matter; equal scores go by name; zero is no rank."""
    account = desk(3)
    outputs = ranked(account, {"A": 10_000, "C": -40_000, "B": 40_000, "D": 0, "E": -50_000})

    assert ["E", "B", "C"] == account.state.ranking.shortlisted
    assert [["E", "B", "C"]] == tiers(outputs)


def test_who_is_in_leaves_only_for_one_that_is_better_by_more_than_a_tenth() -> None:
    """Hysteresis of 10 %: no flicker at the border."""
    account = desk(1)
    ranked(account, {"A": 36_000, "B": 20_000})
    assert [] == tiers(ranked(account, {"B": 39_999}))
    assert [["B"]] == tiers(ranked(account, {"B": 40_001}))


def test_a_silent_or_uncovered_symbol_is_not_ranked() -> None:
    """Two bars without a word, or too little coverage, take a symbol out."""
    account = desk(2)
    ranked(account, {"A": 50_000, "B": 40_000})
    account.now += SILENT_MS
    assert ["B"] == tiers(ranked(account, {"B": 40_000}))[-1]
    account.fold(signal("B", coverage=599))
    assert [[]] == tiers(ticked(account))


def test_a_symbol_outside_the_universe_is_not_shortlisted() -> None:
    """Too few trades or too little volume a day; refused by another gate it is watched all the same."""
    account = desk(2)
    account.fold(signal("A", refused=["universe"]))
    account.fold(signal("B", refused=["spread"]))

    assert [["B"]] == tiers(ticked(account))


def test_nothing_is_ranked_without_a_word() -> None:
    """A tick without a new word costs nothing and says nothing."""
    account = desk(2)
    ranked(account, {"A": 50_000})
    before = account.state.ranking.shortlisted
    assert [] == tiers(ticked(account))
    assert before is account.state.ranking.shortlisted


def test_the_last_word_of_a_bar_ranks_at_once() -> None:
    """When every known symbol has spoken of the newer bar nobody waits for the tick; a new symbol waits for none."""
    account = desk(1)
    ranked(account, {"A": 50_000, "B": 40_000})
    bar = after(1)
    account.fold(signal("B", bar_ms=bar, score=60_000))
    account.fold(signal("C", bar_ms=bar, score=99_000))
    before = account.state.ranking.shortlisted
    account.fold(signal("A", bar_ms=bar, score=10_000))

    assert (["A"], ["C"]) == (before, account.state.ranking.shortlisted)
    assert [["C"]] == tiers(account.tiers)


def test_who_has_gone_silent_is_waited_for_by_the_tick_alone() -> None:
    """Without the word of one symbol the next tick ranks; once it is forgotten the others are complete again."""
    account = desk(1)
    ranked(account, {"A": 50_000, "B": 40_000, "C": 30_000})
    for number in (2, 3, 4):
        bar = after(number)
        account.now += SILENT_MS // 2
        account.fold(signal("B", bar_ms=bar, score=10_000 * number))
        account.fold(signal("C", bar_ms=bar, score=5_000))
        if number < 4:
            ticked(account)

    assert ["B"] == account.state.ranking.shortlisted
    assert (0, False) == (account.state.ranking.waiting, account.state.ranking.due)


SCORES = st.dictionaries(st.sampled_from([f"S{number}" for number in range(12)]), st.integers(-60_000, 60_000))


@given(st.lists(SCORES, min_size=1, max_size=5), st.integers(0, 5))
def test_order_of_words_and_mirror_change_nothing(bars: list[dict[str, int]], size: int) -> None:
    """Words in another order, or a mirrored market, give the same shortlist; it never exceeds its size."""
    plain, turned, mirrored = desk(size), desk(size), desk(size)
    for scores in bars:
        ranked(plain, scores)
        ranked(turned, dict(reversed(scores.items())))
        ranked(mirrored, {symbol: -score for symbol, score in scores.items()})
        shortlist = plain.state.ranking.shortlisted
        assert len(shortlist) <= size
        assert shortlist == turned.state.ranking.shortlisted == mirrored.state.ranking.shortlisted


def test_tiers_are_told_at_changes_and_once_a_minute() -> None:
    """Held symbols (pending ones too) and the shortlist, numbered; a reader of the newest record knows it all."""
    account = ready()
    account.fold(entry("ETHUSDT", "c1"))
    admitted = account.tiers
    quiet, again = ticked(account, after_ms=59_999), ticked(account)
    number = account.state.ranking.number

    assert [TiersTold(number - 1, ["ETHUSDT"], [])] == admitted
    assert ([], [TiersTold(number, ["ETHUSDT"], [])]) == (quiet, again)
