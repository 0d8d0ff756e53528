"""
Stories of the levels: what each stop candidate gives (domain 6.4), targets that move, ladders, and what owners wish.

Told like the stories of the rules: for a long, and turned upside down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from pipeline.core.commands import AnswerAdmission, CancelLeg, MoveStop, PlaceTarget
from pipeline.core.events import CloseRequested, Leg, PositionOverridden, Side
from pipeline.core.policies import LadderStep, Template
from pipeline.core.positions import Basis, Stage
from pipeline.core.wall_state import WallVerdict
from tests.sessions.story import Story, assert_mirrored, assert_restarts_change_nothing
from tests.sessions.test_endings import closed_bar

Tale = Callable[[Story], None]
STORIES: Final[dict[str, Tale]] = {}


def story(tale: Tale) -> Tale:
    """Put it into the list."""
    STORIES[tale.__name__] = tale
    return tale


def targets(s: Story) -> list[tuple[Leg, int, int]]:
    """Every target stated so far: leg, offset of its price, lots."""
    return [(t.leg, (t.price - 50_000) * s.sign, t.lots) for t in s.session.all(PlaceTarget)]


# -------------------------------------------------------------------------------------------- what the factors make


def any_distance(s: Story) -> None:
    """The least distance of a stop in bps is as small as it can be: the tables decide alone."""
    s.session.state.policy = msgspec.structs.replace(s.session.state.policy, stop_min_bps=1)


@story
def a_strong_trend_in_a_deep_book_draws_the_stop_near_and_the_target_far(s: Story) -> None:
    any_distance(s)
    s.factors(T=80, L=90, I=60, O=71, regime="up_up", E=40)
    s.open(scored=True)
    # 1.8 · .85 · .9 = 1.377 A and 2.5 · 1.4 · 1.25 = 4.375 A of an A of 100 (one tick of rounding away)
    assert [(Leg.TARGET, 438, 50), (Leg.LAST_TARGET, 656, 0)] == targets(s)
    assert -137 == s.stop


@story
def a_thin_book_and_no_trend_are_no_entry(s: Story) -> None:
    s.factors(T=10, L=50, I=60)
    s.open(scored=True)
    assert s.session.state.position is None
    assert "nearer than 1.2 times" in s.session.last(AnswerAdmission).reason


@story
def a_swing_behind_the_price_draws_the_first_stop_to_it(s: Story) -> None:
    any_distance(s)
    s.factors(T=10, L=90, I=60, swing_low=(-79, 0))
    s.open(scored=True)
    assert -79 == s.stop  # the tables alone: 1.8 · .9 of A, 161 behind


@story
def missing_factors_leave_the_tables_alone(s: Story) -> None:
    s.factors(T=10, L=0, I=0, swing_low=(-99, 0))
    s.silent("T", "L", "I", "O", "S")
    s.open(scored=True)
    assert -179 == s.stop


# ---------------------------------------------------------------------------------------------------- candidates


@story
def the_stop_follows_a_swing_that_was_confirmed_after_the_entry(s: Story) -> None:
    s.open()
    s.bars(3, 40)
    s.factors(E=1, swing_low=(-60, 2))
    s.seconds(1)
    assert (-85, Basis.SWING) == (s.stop, s.position.basis)  # 0.25 · 100 behind it


@story
def a_swing_of_before_the_entry_means_nothing(s: Story) -> None:
    s.open()
    s.bars(3, 40)
    s.factors(E=50, swing_low=(-60, 0))
    s.seconds(5)
    assert -179 == s.stop


@story
def a_swing_below_breakeven_needs_a_composite_that_agrees(s: Story) -> None:
    s.open()
    s.bars(3, 40)
    s.factors(E=0, swing_low=(-60, 2))
    s.seconds(5)
    assert -179 == s.stop


@story
def a_composite_of_minus_fifteen_on_a_closed_bar_tightens(s: Story) -> None:
    s.open()
    s.bars(2, 20)
    s.factors(E=-15)
    s.seconds(10)
    assert -179 == s.stop  # nothing has closed since
    s.bars(1)
    assert (-60, Basis.FACTORS) == (s.stop, s.position.basis)  # 20 − 0.8 · 100


@story
def a_composite_of_minus_fourteen_does_not(s: Story) -> None:
    s.open()
    s.bars(2, 20)
    s.factors(E=-14.999)
    s.bars(3)
    assert -179 == s.stop


@story
def six_hours_without_one_r_tighten_by_time(s: Story) -> None:
    s.open()
    s.factors(E=30)
    s.bars(71, 20)
    assert -179 == s.stop
    s.bars(1)
    assert (-124, Basis.TIME) == (s.stop, s.position.basis)  # 20 − 0.8 · 180


@story
def factors_nobody_has_move_no_stop(s: Story) -> None:
    s.open()
    s.bars(3, 40)
    s.factors(E=-90, coverage=499, swing_low=(-200, 2))
    s.bars(3)
    assert -179 == s.stop


@story
def a_bar_that_closes_before_the_first_mark_moves_no_stop(s: Story) -> None:
    s.session.now += 299_500
    s.session.active()
    s.session.quote(49_999, 50_001)
    s.session.mark(50_000)
    s.open()
    s.session.say(closed_bar(1))
    assert (0, -179) == (s.position.best_mark_e8, s.stop)


# ------------------------------------------------------------------------------------------------ dynamic targets


@story
def targets_lie_further_when_new_money_carries_the_trend(s: Story) -> None:
    s.open()
    s.factors(regime="up_up", T=70, E=50)
    s.bars(1, 10)
    assert [(Leg.TARGET, 313, 50), (Leg.LAST_TARGET, 469, 0)] == targets(s)[2:]
    s.bars(3)
    assert 4 == len(targets(s))  # of the planned distance, never of the moved one


@story
def targets_come_nearer_when_money_leaves_and_go_back(s: Story) -> None:
    s.open()
    s.factors(regime="up_dn")
    s.bars(1, 10)
    assert [(Leg.TARGET, 201, 50), (Leg.LAST_TARGET, 301, 0)] == targets(s)[2:]
    s.factors(regime="flat")
    s.bars(1)
    assert [] == targets(s)[4:]
    s.factors(regime="up_up")
    s.bars(1)
    assert [(Leg.TARGET, 251, 50), (Leg.LAST_TARGET, 376, 0)] == targets(s)[4:]
    resting = sorted(order.leg.name for order in s.venue.resting.values())
    assert ["FAR", "LAST_TARGET", "TARGET", "WORKING"] == resting


@story
def a_trend_of_sixty_nine_moves_nothing(s: Story) -> None:
    s.open()
    s.factors(regime="up_up", T=69, E=90)
    s.bars(4, 10)
    assert 2 == len(targets(s))


@story
def after_the_first_target_a_strong_composite_lets_the_stop_trail(s: Story) -> None:
    s.open()
    s.bars(1, 10)
    s.seconds(1, 251)
    s.factors(E=40)
    s.bars(1)
    assert [Leg.LAST_TARGET] == [cancel.leg for cancel in s.session.all(CancelLeg)]
    for offset in range(260, 800, 20):
        s.seconds(1, offset)
    assert 50 == s.position.lots
    s.seconds(1, s.stop)
    assert ("S_ch", "trailing_stop") == s.ended


@story
def a_target_goes_in_front_of_a_wall_and_back(s: Story) -> None:
    s.open()
    s.book([(1, 500)])
    s.session.state.bars.five_minutes.value = 120.0
    s.wall(210, 220, ahead=True, strength=500)
    s.factors(E=5)
    s.bars(1, 10)
    assert (Leg.TARGET, True) == (targets(s)[2][0], 190 <= targets(s)[2][1] <= 195)
    s.walls.clear()
    s.endings.clear()
    s.session.state.walls = None
    s.bars(1)
    assert (Leg.TARGET, 251, 50) == targets(s)[3]


@story
def a_wall_too_near_leaves_the_target_and_is_told(s: Story) -> None:
    s.open()
    s.book([(1, 500)])
    s.wall(150, 155, ahead=True, strength=500)
    s.bars(3, 10)
    assert 2 == len(targets(s))
    notes = [note.code for note in s.session.outputs if getattr(note, "code", "") == "target_behind_wall"]
    assert ["target_behind_wall"] == notes


@story
def a_wall_too_near_ahead_is_a_veto_before_the_entry(s: Story) -> None:
    s.book([(1, 500)])
    s.wall(120, 126, ahead=True)
    s.open()
    assert s.session.state.position is None
    assert "a wall of the book" in s.session.last(AnswerAdmission).reason


@story
def the_first_stop_leans_on_a_wall_and_is_dropped_with_it(s: Story) -> None:
    s.book([(1, 500)])
    s.session.state.bars.five_minutes.value = 120.0
    s.wall(-145, -140)
    s.open()
    assert (-163, 7) == (s.stop, s.position.wall_id)
    s.bars(2, 40)
    s.lose_wall(WallVerdict.PULLED)
    s.seconds(1)
    assert "X12" in s.fired
    assert -163 < s.stop


# ------------------------------------------------------------------------------------------------------- ladders


def _ladder(s: Story) -> None:
    s.session.state.policy = msgspec.structs.replace(
        s.session.state.policy,
        ladder=(LadderStep(800, 300), LadderStep(1_000, 300), LadderStep(1_600, 200), LadderStep(2_000, 200)),
    )
    s.open()


@story
def a_ladder_of_four_steps_rests_one_limit_at_a_time(s: Story) -> None:
    _ladder(s)
    assert [(Leg.TARGET, 201, 30), (Leg.LAST_TARGET, 501, 0)] == targets(s)
    s.seconds(1, 201)
    assert (Stage.PARTIAL, 70, 3) == (s.position.stage, s.position.lots, s.stop)
    assert (Leg.TARGET, 251, 30) == targets(s)[2]
    s.seconds(1, 251)
    assert (Leg.TARGET, 401, 20) == targets(s)[3]
    s.seconds(10, 390)
    s.seconds(1, 401)
    assert 20 == s.position.lots
    s.seconds(1, 501)
    assert ("X7", "target") == s.ended
    assert 100 == sum(o.filled for o in s.session.state.ended[-1].orders.values() if o.leg is not Leg.ENTRY)


@story
def the_reduce_only_budget_never_holds_more_than_half(s: Story) -> None:
    _ladder(s)
    for offset in (201, 251, 390, 401):
        s.seconds(6, offset)
        resting = sum(order.lots for order in s.venue.resting.values() if order.leg is Leg.TARGET)
        assert 2 * resting <= s.position.lots


@story
def a_reduction_shrinks_the_target_that_rests(s: Story) -> None:
    s.open()
    s.bars(2, 185)
    s.factors(C=-60, flow=-2.5)
    s.seconds(16)
    assert 50 == s.position.lots
    assert [25] == [order.lots for order in s.venue.resting.values() if order.leg is Leg.TARGET]
    assert 50 == [move.lots for move in s.session.all(MoveStop) if move.leg is Leg.WORKING][-1]


# ------------------------------------------------------------------------------------------ what owners wish


@story
def a_pinned_stop_stays_whatever_the_market_does(s: Story) -> None:
    s.open()
    s.say(PositionOverridden(command="c", pin_stop=True))
    for offset in range(0, 240, 20):
        s.seconds(5, offset)
    s.seconds(1, 251)
    assert (Stage.PARTIAL, -179) == (s.position.stage, s.stop)
    s.say(PositionOverridden(command="c2", pin_stop=False))
    s.seconds(1)
    assert s.stop > 0


@story
def a_position_left_alone_is_only_protected(s: Story) -> None:
    s.open()
    s.say(PositionOverridden(command="c", leave_alone=True))
    s.factors(E=-90, regime="up_dn", cascade=-1)
    s.bars(120, -90)
    assert ([], 2) == (s.closes, len(targets(s)))
    s.say(CloseRequested(command="c2", reason=""))
    assert ("HAND", "closed_by_hand") == s.ended


@story
def one_rule_may_be_off_for_one_position(s: Story) -> None:
    s.open()
    s.say(PositionOverridden(command="c", disabled_exits=("X8",)))
    s.factors(E=-90)
    s.bars(3, -90)
    assert [] == s.closes


@story
def a_template_names_a_kind_of_position(s: Story) -> None:
    s.session.state.policy = msgspec.structs.replace(
        s.session.state.policy,
        templates=(
            Template(
                name="patient",
                ladder=(LadderStep(1_200, 400), LadderStep(3_000, 600)),
                disabled_exits=("X14", "X15"),
                pin_stop=True,
            ),
        ),
    )
    s.open(template="patient")
    assert [(Leg.TARGET, 301, 40), (Leg.LAST_TARGET, 751, 0)] == targets(s)
    s.factors(E=1)
    s.bars(100, 60)
    assert ([], -179) == (s.closes, s.stop)


@story
def a_template_nobody_knows_is_refused(s: Story) -> None:
    s.open(template="unheard of")
    assert s.session.state.position is None
    assert "no template" in s.session.last(AnswerAdmission).reason


# ------------------------------------------------------------------------------------------------------ the tests


def play(name: str, side: Side, *, restart_every: int = 0) -> Story:
    """Tell the story of that name for *side*."""
    told = Story(side, restart_every=restart_every, open_now=False)
    STORIES[name](told)
    return told


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", STORIES)
def test_story(name: str, side: Side) -> None:
    """Each story ends as it says."""
    play(name, side)


@pytest.mark.parametrize("name", STORIES)
def test_upside_down(name: str) -> None:
    """The mirrored market leads to exactly the mirrored decisions."""
    assert_mirrored(play, name)


@pytest.mark.parametrize("name", STORIES)
def test_restart(name: str) -> None:
    """A restart at any line changes nothing."""
    assert_restarts_change_nothing(play, name)
