"""The only place for tests of the dynamic stop: it never loosens, it mirrors, each step of the ratchet holds."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Side
from pipeline.core.policies import Policy
from pipeline.core.positions import Basis
from pipeline.core.stops import Candidate, Kept, StopMove, StopView, candidates, ratchet, through, tighter
from pipeline.core.units import ONE_E8

POLICY = Policy()
FREE = Policy(taker_fee_e8=0)  # fees follow the entry price, which a mirror changes
CENTRE = 100_000


def view(*, side: Side = Side.BUY, stop: int = 49_000, best: int = 50_000, mark: int = 50_000, **more: int) -> StopView:
    """A position in at 50,000 with R = 1,000 and A = 600; one tick is 1 USDT."""
    return StopView(
        side=side,
        stop=stop,
        entry_e8=more.get("entry", 50_000) * ONE_E8,
        risk_e8=more.get("risk", 1_000) * ONE_E8,
        best_mark_e8=best * ONE_E8,
        mark_e8=mark * ONE_E8,
        mid_e8=more.get("mid", mark) * ONE_E8,
        spread_e8=more.get("spread", 2) * ONE_E8,
        atr_5m_e8=more.get("atr_5m", 100) * ONE_E8,
        atr_1h_e8=more.get("atr_1h", 600) * ONE_E8,
        tick_e8=ONE_E8,
        first_target_done=bool(more.get("done", 0)),
    )


PLAIN_VIEWS = st.builds(
    lambda stop, best, mark, mid, spread, a, big_a, risk, done: view(
        stop=stop, best=max(best, mark), mark=mark, mid=mid, spread=spread, atr_5m=a, atr_1h=big_a, risk=risk, done=done
    ),
    st.integers(45_000, 55_000),
    st.integers(48_000, 58_000),
    st.integers(45_000, 58_000),
    st.one_of(st.just(0), st.integers(45_000, 58_000)),
    st.integers(1, 60),
    st.integers(0, 400),
    st.integers(0, 2_000),
    st.integers(1, 2_000),
    st.integers(0, 1),
)


SCORES = st.one_of(st.none(), st.integers(-100_000, 100_000))
VIEWS = st.builds(
    lambda seen, bars, swing, score, bar_score: msgspec.structs.replace(
        seen, bars=bars, swing_e8=swing * ONE_E8, score=score, bar_score=bar_score
    ),
    PLAIN_VIEWS,
    st.integers(0, 100),
    st.one_of(st.just(0), st.integers(45_000, 55_000)),
    SCORES,
    SCORES,
)


def mirrored(seen: StopView) -> StopView:
    """The same position short in a market turned round the centre."""
    turned = CENTRE * ONE_E8
    return msgspec.structs.replace(
        seen,
        side=Side.SELL,
        stop=CENTRE - seen.stop,
        entry_e8=turned - seen.entry_e8,
        best_mark_e8=turned - seen.best_mark_e8,
        mark_e8=turned - seen.mark_e8,
        mid_e8=turned - seen.mid_e8 if seen.mid_e8 else 0,
        swing_e8=turned - seen.swing_e8 if seen.swing_e8 else 0,
    )


@given(VIEWS, st.lists(st.integers(0, 120_000), max_size=8).map(sorted), st.booleans())
def test_the_stop_never_loosens_and_keeps_clear_of_the_price(seen: StopView, changes: list[int], forced: bool) -> None:
    """Whatever the market: a move is tighter than before and leaves the clearance to mark and mid."""
    move = ratchet(seen, POLICY, now=120_000, changes=changes, forced=forced)

    if isinstance(move, StopMove):
        assert move.trigger > seen.stop
        near = min(seen.mark_e8, seen.mid_e8 or seen.mark_e8)
        assert near - move.trigger * ONE_E8 >= max(seen.atr_5m_e8 // 2, 5 * ONE_E8, 2 * seen.spread_e8)


@given(VIEWS, st.lists(st.integers(0, 120_000), max_size=8).map(sorted), st.booleans())
def test_a_mirrored_market_gives_the_mirrored_stop(seen: StopView, changes: list[int], forced: bool) -> None:
    """Long and short are one computation with a sign."""
    here = ratchet(seen, FREE, now=120_000, changes=changes, forced=forced)
    there = ratchet(mirrored(seen), FREE, now=120_000, changes=changes, forced=forced)

    if isinstance(here, Kept):
        assert here == there
    else:
        assert StopMove(here.basis, CENTRE - here.trigger) == there


def test_breakeven_covers_the_fees_of_both_ways_and_two_ticks() -> None:
    """From 1.0 R on, or once TP1 is filled."""
    assert [] == candidates(view(best=50_999), POLICY)
    level = 50_000 + 50 + 2
    for seen in (view(best=51_000), view(best=50_100, done=1)):
        assert [(Basis.BREAKEVEN, level * ONE_E8)] == [(c.basis, c.level_e8) for c in candidates(seen, POLICY)]


@pytest.mark.parametrize(
    ("best", "factor"), [(51_500, 2.0), (52_499, 2.0), (52_500, 1.5), (53_999, 1.5), (54_000, 1.0)]
)
def test_the_chandelier_hangs_nearer_the_more_is_won(best: int, factor: float) -> None:
    """HH − k·A: k 2.0 from 1.5 R, 1.5 from 2.5 R, 1.0 from 4 R."""
    found = {c.basis: c.level_e8 for c in candidates(view(best=best), POLICY)}

    assert int(best - factor * 600) * ONE_E8 == found[Basis.CHANDELIER]


def test_without_a_range_of_1h_there_is_no_chandelier() -> None:
    """Bars not ready: the candidate is left out, never guessed."""
    assert [Basis.BREAKEVEN] == [c.basis for c in candidates(view(best=54_000, atr_1h=0), POLICY)]


def keeps(seen: StopView, *, now: int = 100_000, changes: tuple[int, ...] = (), forced: bool = False) -> str:
    """The step that keeps the stop."""
    found = ratchet(seen, POLICY, now=now, changes=list(changes), forced=forced)
    assert isinstance(found, Kept), found
    return found.step


def test_each_step_of_the_ratchet_keeps_in_its_turn() -> None:
    """Domain 6.4, steps 1 to 5 in order."""
    moved = view(best=51_600, mark=51_600)

    assert isinstance(ratchet(moved, POLICY, now=0, changes=[]), StopMove)
    assert "1 monotone" == keeps(view())
    assert "2 clearance" == keeps(view(best=51_600, mark=49_040))
    assert "3 gain too small" == keeps(msgspec.structs.replace(moved, stop=50_300))
    assert "4 too soon" == keeps(moved, changes=(95_001,))
    assert "4 too many" == keeps(moved, changes=(41_000, 50_000, 60_000, 70_000, 80_000, 90_000))


def test_an_exit_rule_passes_steps_3_and_4_but_not_1_and_2() -> None:
    """TP1's breakeven is not held up by pace or size of the gain."""
    near = msgspec.structs.replace(view(best=51_000, mark=51_000), stop=50_051)

    assert StopMove(Basis.BREAKEVEN, 50_052) == ratchet(near, POLICY, now=0, changes=[0], forced=True)
    assert "2 clearance" == keeps(view(best=51_600, mark=49_040), forced=True)


def test_rounding_is_away_from_the_price() -> None:
    """A long's stop is rounded down, a short's up."""
    seen = msgspec.structs.replace(view(best=51_600, mark=51_600, atr_1h=0), entry_e8=50_000 * ONE_E8 + ONE_E8 // 2)
    move = ratchet(seen, FREE, now=0, changes=[])
    turned = ratchet(mirrored(seen), FREE, now=0, changes=[])

    assert StopMove(Basis.BREAKEVEN, 50_002) == move
    assert StopMove(Basis.BREAKEVEN, CENTRE - 50_002) == turned


def test_through_and_tighter_know_both_sides() -> None:
    """SELL stops fire at or below their level, BUY stops at or above; tighter is nearer to the price."""
    assert through(Side.BUY, trigger_e8=5, mark_e8=5)
    assert not through(Side.BUY, trigger_e8=5, mark_e8=6)
    assert through(Side.SELL, trigger_e8=5, mark_e8=6)
    assert (7, 5, 7, 7) == (
        tighter(Side.BUY, 5, 7),
        tighter(Side.SELL, 5, 7),
        tighter(Side.BUY, 0, 7),
        tighter(Side.SELL, 7, 0),
    )


def bases(seen: StopView) -> set[Basis]:
    """Which candidates are enabled."""
    return {candidate.basis for candidate in candidates(seen, POLICY)}


def level(seen: StopView, basis: Basis) -> int:
    """The level of a candidate in ticks."""
    return next(c.level_e8 for c in candidates(seen, POLICY) if c.basis is basis) // ONE_E8


def test_a_swing_counts_when_the_composite_agrees_or_it_lies_above_breakeven() -> None:
    """S_sw = swing − 0.25 · a."""
    below = msgspec.structs.replace(view(mark=50_500, best=50_500), swing_e8=49_800 * ONE_E8)
    above = msgspec.structs.replace(below, swing_e8=50_200 * ONE_E8)

    assert Basis.SWING not in bases(below)
    assert Basis.SWING not in bases(msgspec.structs.replace(below, score=0))
    assert 49_775 == level(msgspec.structs.replace(below, score=1), Basis.SWING)
    assert 50_175 == level(above, Basis.SWING)


def test_the_factors_tighten_from_minus_fifteen_on_a_closed_bar() -> None:
    """S_f = x − 0.8 · A; nothing follows from a score that is not known."""
    seen = view(mark=50_300, best=50_300)

    assert 49_820 == level(msgspec.structs.replace(seen, bar_score=-15_000), Basis.FACTORS)
    for quiet in (None, -14_999, 60_000):
        assert Basis.FACTORS not in bases(msgspec.structs.replace(seen, bar_score=quiet))


def test_time_tightens_after_72_bars_without_one_r() -> None:
    """S_time = x − 0.8 · R."""
    seen = msgspec.structs.replace(view(mark=50_300, best=50_999), bars=72)

    assert 49_500 == level(seen, Basis.TIME)
    assert Basis.TIME not in bases(msgspec.structs.replace(seen, bars=71))
    assert Basis.TIME not in bases(msgspec.structs.replace(seen, best_mark_e8=51_000 * ONE_E8))


def test_an_extra_candidate_competes_like_any_other_and_names_its_wall() -> None:
    """The tightest wins; only a wall's level is remembered."""
    seen = view(mark=50_800, best=50_800)
    move = ratchet(seen, POLICY, now=0, changes=[], extra=(Candidate(Basis.WALL, 50_300 * ONE_E8, wall_id=7),))

    assert StopMove(Basis.WALL, 50_300, level_e8=50_300 * ONE_E8, wall_id=7) == move
