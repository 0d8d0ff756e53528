"""Factors through the whole fold: in the log, replayable, restarted anywhere, shared, published, bounded a tick."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pipeline.binance.fold import PartitionFold
from pipeline.core import state as states
from pipeline.core.commands import Note, ShareBars
from pipeline.core.events import Side
from pipeline.wire.records import decode_factors, encode
from tests.factor_log import BITCOIN, OTHER, Market, candle, new_fold
from tests.pipeline.binance.frames import combined


@pytest.fixture(scope="module")
def market() -> Market:
    """Three bars of two busy symbols after a warm start."""
    market = Market()
    for _ in range(3):
        market.busy(6)
        market.skip_to_close()
        market.busy(4)
    return market


def refold(market: Market, cuts: set[int]) -> tuple[PartitionFold, list[Any]]:  # Any: what each record led to
    """Fold the records again, with a restart from the stored bytes before each record of *cuts*."""
    fold = new_fold()
    said = []
    for offset, record in enumerate(market.records):
        if offset in cuts:
            again = new_fold()
            for symbol in fold.states:
                again.load_state(symbol, fold.encode_state(symbol))
            again.next_offset = offset
            fold = again
        applied = fold.apply_record(offset=offset, append_ms=record.append_ms, value=record.value)
        said.append((applied.decisions, applied.factors, applied.quarantined))
    return fold, said


def test_every_factor_has_been_fed(market: Market) -> None:
    """The story is worth its name: nothing was refused, every accumulator has seen its inputs."""
    assert [] == [refused for applied in market.applied for refused in applied.quarantined]
    for symbol in (BITCOIN, OTHER):
        factors = market.fold.states[symbol].factors
        assert factors is not None and not factors.hole
        versions = factors.versions
        assert min(versions.bar, versions.depth, versions.mark, versions.interest, versions.liquidation) > 0
        assert {} == factors.refused
    scores = market.fold.states[OTHER].scores
    assert scores is not None
    assert all(scores.ready(letter) for letter in "TMSVCLI")
    assert scores.score != 0


def test_folding_the_log_again_says_the_same(market: Market) -> None:
    """Decisions, published factors and final states are equal, byte for byte."""
    fold, said = refold(market, set())

    assert [(applied.decisions, applied.factors, applied.quarantined) for applied in market.applied] == said
    assert {s: states.encode(x) for s, x in market.fold.states.items()} == {
        s: states.encode(x) for s, x in fold.states.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_at_any_line_changes_nothing(market: Market, seed: int) -> None:
    """Stored and taken up again before 40 random records: what follows is the same, to the last bit of a float."""
    cuts = set(random.Random(seed).sample(range(1, len(market.records)), 40))
    fold, said = refold(market, cuts)

    assert [(applied.decisions, applied.factors, applied.quarantined) for applied in market.applied] == said
    assert {s: states.digest(x) for s, x in market.fold.states.items()} == {
        s: states.digest(x) for s, x in fold.states.items()
    }


def test_a_closed_bar_waits_for_its_tick(market: Market) -> None:
    """The bar alone publishes nothing; the tick that names the symbol does, and says which bar it speaks of."""
    told = Market(seed=9)
    told.tick()
    told.flush()
    told.at_ms = told.bars[OTHER][told.next_bar].open_ms + 300_000
    told.close_bar(OTHER, told.next_bar)
    silent = told.flush()
    due = told.fold.turns()
    told.tick(turns=due)
    spoken = told.flush()

    assert ([], (OTHER,)) == (silent.factors, due)
    assert [OTHER] == [record.symbol for record in spoken.factors]
    assert told.at_ms == spoken.factors[0].scores.bar_close_ms


def test_bitcoin_is_shared_and_makes_the_others_independence(market: Market) -> None:
    """One line of closes fills the history of a symbol that had none: I is ready long before 100 bars have passed."""
    told = Market(seed=9)
    told.tick()
    shared = [out for d in told.flush().decisions for out in d.outputs if isinstance(out, ShareBars)]
    told.tick()
    told.flush()
    for milliseconds in (60_000, 250):  # who is due is judged by log time: the second tick names both again
        told.at_ms += milliseconds
        told.tick()
        told.flush()
    state = told.fold.states[OTHER]

    assert [BITCOIN] == [out.bars.symbol for out in shared]
    own, bitcoin = state.scores, told.fold.states[BITCOIN].scores
    assert own is not None and bitcoin is not None
    assert (True, False) == (own.ready("I"), bitcoin.ready("I"))
    assert own.market_trend == bitcoin.trend != ""


def test_a_shared_line_that_comes_again_is_dropped(market: Market) -> None:
    """After a crash the worker sends it again with its number: no second time, no gap."""
    told = Market(seed=9)
    told.tick()
    told.flush()
    line = told.writer.rows[-1]
    told.flush()
    before = states.encode(told.fold.states[OTHER])
    told.writer.rows = [line]
    told.flush()

    assert before == states.encode(told.fold.states[OTHER])


def test_a_tick_names_at_most_so_many_references_first(market: Market) -> None:
    """The policy bounds a tick; one that was named is not named again while its line is on the way."""
    told = Market(seed=9)
    for state in told.fold.states.values():
        state.policy = type(state.policy)(factor_turns_per_tick=1)

    assert [(BITCOIN,), (OTHER,), ()] == [told.fold.turns() for _ in range(3)]
    told.fold.turns()
    assert (BITCOIN,) == told.fold.turns()


def test_a_halted_symbol_takes_nobodys_turn(market: Market) -> None:
    """It does not fold ticks any more, so it would be due for ever."""
    told = Market(seed=9)
    told.fold.states[BITCOIN].halted = "a fault"

    assert (OTHER,) == told.fold.turns()


def test_a_name_nobody_knows_does_no_harm(market: Market) -> None:
    """A tick line may name symbols of another life."""
    told = Market(seed=9)
    told.tick(turns=("NOBODYUSDT", "", OTHER))

    assert [OTHER] == [record.symbol for record in told.flush().factors]


def test_published_factors_read_back_and_say_why_one_is_missing(market: Market) -> None:
    """The record of the topic, with a reason in words for each factor that is not ready."""
    record = market.published[0]

    assert record == decode_factors(encode(record))
    for row in record.factors.values():
        assert row.ready or row.detail["missing"]
        assert row.quality if row.ready else row.quality == 0
    assert {letter: row.ready for letter, row in record.factors.items()} == {
        letter: score.ready for letter, score in record.scores.factors.items()
    }


def test_the_price_publishes_when_it_has_moved_a_tenth_of_a_percent(market: Market) -> None:
    """A turn whose scores are no news is not published; after 0.1 % it is."""
    told = Market(seed=9)
    found = []
    for price in (600_000, 600_300, 600_599, 600_600):
        told.at_ms += 60_000
        told.mark(OTHER, price)
        told.tick(turns=(OTHER,))
        found.append([record.price for record in told.flush().factors if record.symbol == OTHER])

    assert [[600_000 * 10**7], [], [], [600_600 * 10**7]] == found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Q": "99999999.0"}, "its volumes cannot be"),
        ({"q": "-1.0", "Q": "0"}, "its volumes cannot be"),
    ],
)
def test_an_absurd_bar_leaves_factors_missing_with_its_reason(
    market: Market, changes: dict[str, str], reason: str
) -> None:
    """Quality 0 and words, never a number; the other symbol goes on."""
    told = Market(seed=9)
    told.at_ms = told.bars[OTHER][told.next_bar].open_ms + 300_000
    told.close_bar(OTHER, told.next_bar, **changes)
    told.close_bar(BITCOIN, told.next_bar)
    told.tick(turns=(OTHER, BITCOIN))
    found = {record.symbol: record for record in told.flush().factors}

    assert {"T", "M", "S", "V", "C"} <= {x for x, row in found[OTHER].factors.items() if not row.ready}
    assert reason in str(found[OTHER].factors["T"].detail["missing"])
    assert found[BITCOIN].factors["T"].ready
    assert "" == told.fold.states[OTHER].halted


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", "-5"])
def test_a_frame_with_no_number_never_reaches_the_factors(market: Market, text: str) -> None:
    """It is refused with its bytes, and what was known before stands."""
    told = Market(seed=9)
    told.tick()
    told.flush()
    before = told.fold.states[OTHER].factors
    assert before is not None
    versions = (before.versions.bar, before.versions.mark, before.versions.liquidation)
    told.close_bar(OTHER, told.next_bar, h=text)
    order = {"s": OTHER, "S": "SELL", "q": text, "p": "1.0", "ap": "1.0", "X": "FILLED", "z": text, "T": told.at_ms}
    told.frame(OTHER, combined("forceOrder", {"e": "forceOrder", "E": told.at_ms, "o": order}, symbol=OTHER))
    applied = told.flush()
    after = told.fold.states[OTHER].factors

    assert after is not None
    assert versions == (after.versions.bar, after.versions.mark, after.versions.liquidation)
    assert 2 == len(applied.quarantined)
    assert any(isinstance(out, Note) for decision in applied.decisions for out in decision.outputs)


def test_a_cascade_of_liquidations_moves_q(market: Market) -> None:
    """Longs liquidated in a row turn Q negative once the stream has lived for an hour."""
    told = Market(seed=9, warm=150)
    for number in range(14):
        told.at_ms = told.bars[OTHER][150 + number].open_ms + 300_000
        told.mark(OTHER, 600_000)
        told.close_bar(OTHER, 150 + number)
        told.flush()
    for step in range(20):
        told.at_ms += 1_000
        told.mark(OTHER, 600_000 - step)
        told.liquidation(OTHER, 600_000 - step, side=Side.SELL)
    told.tick(turns=(OTHER,))
    record = told.flush().factors[0]

    assert record.factors["Q"].ready
    assert record.factors["Q"].detail["longs"] > record.factors["Q"].detail["shorts"]  # type: ignore[operator]


def test_the_forming_bar_is_published_as_provisional_and_decides_nothing() -> None:
    """Domain 3.1: T M V C as if it closed now stand in the record; scores and decisions are those without it."""
    told, plain = Market(), Market()
    for market in (told, plain):
        market.busy(2)
    told.frame(OTHER, candle(told.bars[OTHER][told.next_bar], OTHER, closed=False))
    for market in (told, plain):
        market.mark(OTHER, market.bars[OTHER][market.next_bar].open * 102 // 100)
        market.tick(turns=(OTHER,))
        market.flush()
    early, without = told.published[-1], plain.published[-1]

    assert (OTHER, OTHER) == (early.symbol, without.symbol)
    assert (["T", "M", "V", "C"], {}) == (list(early.provisional), without.provisional)
    assert early.provisional["T"] != early.factors["T"]
    assert (without.factors, without.scores) == (early.factors, early.scores)
    assert told.fold.states[OTHER].forming is not None
    for market in (told, plain):
        market.close_bar(OTHER, market.next_bar)
        market.flush()
    assert told.fold.states[OTHER].forming is None
    assert told.fold.states[OTHER].factors == plain.fold.states[OTHER].factors
