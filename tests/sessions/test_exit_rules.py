"""
Stories of every exit rule of domain 6.3: once where it fires, once where it just does not, each long and upside down.

A story is a function named as it reads; ``fires`` and ``holds_back`` put it into the table, which a test holds whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from pipeline.core.commands import (
    CancelLeg,
    ClosePosition,
    MoveStop,
    OpenBracket,
    PlaceTarget,
    ReportPosition,
    ReportTrade,
)
from pipeline.core.events import (
    CloseRequested,
    FeedLost,
    InstrumentChanged,
    Leg,
    PositionUpdated,
    Side,
    TradingMode,
    TradingStateSet,
    Verdict,
)
from pipeline.core.exits import RULES
from pipeline.core.positions import Basis, Stage
from pipeline.core.units import E8, Lots, Milliseconds
from pipeline.core.wall_state import WallVerdict
from tests.sessions.story import INSTRUMENT, START_MS, Story, assert_mirrored, assert_restarts_change_nothing
from tests.sessions.test_adopted import live, taken

Tale = Callable[[Story], None]
STORIES: Final[dict[str, tuple[str, bool, Tale]]] = {}  # name → (rule, whether it fires, what happens)


def fires(rule: str) -> Callable[[Tale], Tale]:
    """The story in which *rule* fires."""
    return _told(rule, does=True)


def holds_back(rule: str) -> Callable[[Tale], Tale]:
    """The story in which *rule* just does not fire."""
    return _told(rule, does=False)


def _told(rule: str, *, does: bool) -> Callable[[Tale], Tale]:
    def keep(tale: Tale) -> Tale:
        STORIES[tale.__name__] = rule, does, tale
        return tale

    return keep


# ------------------------------------------------------------------------------------------ what the venue says: X0


@fires("X0a")
def the_venue_says_flat_and_nothing_of_ours_explains_it(s: Story) -> None:
    s.venue.lots = 0
    s.say(s.venue.account())
    s.seconds(2)
    assert ("X0a", "external") == s.ended


@holds_back("X0a")
def one_read_alone_is_not_believed(s: Story) -> None:
    s.session.now += 1_000
    s.say(msgspec.structs.replace(s.venue.read(), lots=Lots(0)))
    s.session.now += 900
    s.mark()
    assert 100 == s.position.lots


@fires("X0b")
def somebody_else_takes_forty_and_the_rail_is_resized(s: Story) -> None:
    s.venue.lots = 60 * s.sign
    s.say(s.venue.account())
    s.seconds(1)
    assert 60 == s.position.lots
    assert 60 == [move.lots for move in s.session.all(MoveStop) if move.leg is Leg.WORKING][-1]


@holds_back("X0b")
def a_statement_that_our_own_fill_explains_is_no_adoption(s: Story) -> None:
    target = next(order for order in s.venue.resting.values() if order.leg is Leg.TARGET)
    s.session.now += 1_000
    early = PositionUpdated(
        lots=Lots(80 * s.sign), entry_price=E8(0), reason="ORDER", event_ms=Milliseconds(s.session.now)
    )
    s.say(early)
    s.venue.fill(target, 20, target.trigger, whole=50)
    s.seconds(2)
    assert (80, 0) == (s.position.lots, s.position.external)


# ------------------------------------------------------------------------------------------------ protection: X1–X4


@fires("X1")
def no_stop_rests_and_a_fresh_read_proves_it(s: Story) -> None:
    s.venue.places_rails, s.venue.answers_audits = False, False
    s.open()
    s.session.wait(2_500)  # what is stated again is lost too
    assert [] == s.closes
    s.say(s.venue.read())
    assert ("X1", "emergency") == s.ended


@holds_back("X1")
def no_stop_is_known_but_no_read_proves_it(s: Story) -> None:
    s.venue.places_rails, s.venue.answers_audits = False, False
    s.open()
    s.seconds(4)
    assert Stage.OPEN is s.position.stage


@fires("X2")
def a_rail_is_stuck_in_triggering_for_more_than_three_seconds(s: Story) -> None:
    rail = next(order for order in s.venue.resting.values() if order.leg is Leg.WORKING)
    s.venue.tell(s.venue.algo(rail, "TRIGGERING"))
    s.seconds(4)
    assert ("X2", "emergency") == s.ended


@holds_back("X2")
def a_rail_that_has_fired_gets_its_three_seconds(s: Story) -> None:
    rail = next(order for order in s.venue.resting.values() if order.leg is Leg.WORKING)
    s.venue.tell(s.venue.algo(rail, "TRIGGERING"))
    s.seconds(3)
    assert [] == s.closes


@fires("X3")
def the_kill_switch_closes(s: Story) -> None:
    s.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"))
    assert ("X3", "killed") == s.ended


@fires("X3")
def the_days_loss_closes_and_is_told_as_such(s: Story) -> None:
    s.say(TradingStateSet(mode=TradingMode.HALTED, reason="X3 day loss 3.2 % of the balance"))
    assert ("X3", "day_loss") == s.ended


@fires("X3")
def the_margin_ratio_closes_and_is_told_as_such(s: Story) -> None:
    s.say(TradingStateSet(mode=TradingMode.HALTED, reason="X3 margin ratio 81 %"))
    assert ("X3", "margin") == s.ended


@holds_back("X3")
def reduce_only_closes_nothing(s: Story) -> None:
    s.say(TradingStateSet(mode=TradingMode.REDUCE_ONLY, reason="close-only tier"))
    s.seconds(3)
    assert [] == s.closes


@fires("HAND")
def a_person_closes(s: Story) -> None:
    s.say(CloseRequested(command="c", reason=""))
    assert ("HAND", "closed_by_hand") == s.ended


@holds_back("HAND")
def nobody_has_asked(s: Story) -> None:
    s.seconds(5)
    assert [] == s.closes


@fires("X4")
def blind_for_thirty_seconds_is_told_and_never_closed_for(s: Story) -> None:
    s.session.now += 30_500
    s.session.wait(250)
    assert "degraded" in s.session.codes()
    assert "DEGRADED" in s.session.last(ReportPosition).state
    s.session.now += 3_600_000
    s.session.wait(250)
    assert [] == s.closes


@fires("X4")
def on_return_the_rails_are_proven_before_any_rule_judges(s: Story) -> None:
    s.bars(2)
    s.venue.answers_audits = False
    s.session.now += 31_000
    s.session.wait(250)
    s.factors(E=-90)
    s.bars(1, -170)
    assert [] == s.closes  # the composite has turned, and the mark is back, but no read has proven the rails
    s.session.now += 1_000
    s.say(s.venue.read())
    s.seconds(1)
    assert ("X8", "reversal") == s.ended


@holds_back("X4")
def a_silence_of_twenty_nine_seconds_is_none(s: Story) -> None:
    s.seconds(1)
    s.session.now += 29_000
    s.session.wait(250)
    assert "degraded" not in s.session.codes()


@fires("X4")
def a_user_stream_down_for_a_minute_and_not_reconciled_is_blindness_too(s: Story) -> None:
    s.venue.answers_audits = False
    s.say(FeedLost(stream="private-0", reason="cut"))
    s.seconds(62)
    assert "degraded" in s.session.codes()
    assert [] == s.closes


# --------------------------------------------------------------------------------------------------- cascade: X5


@fires("X5")
def liquidations_run_against_it_and_the_mark_with_them(s: Story) -> None:
    s.factors(cascade=-1)
    s.seconds(1, 0)
    s.seconds(1, -100)
    assert [] == s.closes
    s.seconds(1, -101)
    assert ("X5", "cascade") == s.ended


@holds_back("X5")
def one_mark_alone_does_not_confirm_a_cascade(s: Story) -> None:
    s.factors(cascade=-1)
    s.seconds(1, 0)
    s.seconds(1, -100)
    s.seconds(5, -99)
    assert [] == s.closes


@holds_back("X5")
def a_move_that_took_longer_than_a_minute_is_no_cascade(s: Story) -> None:
    s.factors(cascade=-1)
    for step in range(66):
        s.seconds(1, -step - step // 2)
    assert [] == s.closes


@holds_back("X5")
def a_cascade_that_carries_the_position_is_left_alone(s: Story) -> None:
    s.factors(cascade=1)
    s.seconds(1, 0)
    s.seconds(3, -110)
    assert [] == s.closes


@holds_back("X5")
def a_cascade_nobody_can_judge_says_nothing(s: Story) -> None:
    s.factors(cascade=-1)
    s.silent("Q")
    s.seconds(1, 0)
    s.seconds(3, -110)
    assert [] == s.closes


# ------------------------------------------------------------------------------------------------- targets: X6, X7


@fires("X6")
def the_first_target_fills_and_the_stop_goes_to_breakeven(s: Story) -> None:
    s.session.now += 1_000
    s.mark(251)
    assert (Stage.PARTIAL, 50) == (s.position.stage, s.position.lots)
    assert 3 == s.stop


@holds_back("X6")
def half_of_the_first_target_moves_no_stop(s: Story) -> None:
    target = next(order for order in s.venue.resting.values() if order.leg is Leg.TARGET)
    s.venue.fill(target, 20, target.trigger, whole=50)
    s.seconds(3)
    assert (Stage.OPEN, -179) == (s.position.stage, s.stop)


@fires("X7")
def the_last_target_fills(s: Story) -> None:
    s.seconds(1, 251)
    s.seconds(1, 376)
    assert ("X7", "target") == s.ended


@holds_back("X7")
def one_tick_before_the_last_target(s: Story) -> None:
    s.seconds(1, 251)
    s.seconds(1, 375)
    assert 50 == s.position.lots


@fires("STOP")
def the_stop_fills(s: Story) -> None:
    s.seconds(1, -179)
    assert ("S0", "hard_stop") == s.ended


@fires("STOP")
def a_trailed_stop_fills(s: Story) -> None:
    s.seconds(8, 240)
    s.seconds(8, 300)
    assert s.stop > 0
    s.seconds(2, s.stop - 1)
    assert ("S_ch", "trailing_stop") == s.ended


@holds_back("STOP")
def one_tick_above_the_stop(s: Story) -> None:
    s.seconds(5, -178)
    assert 100 == s.position.lots


@fires("FLAT")
def our_close_fills(s: Story) -> None:
    s.say(CloseRequested(command="c", reason="enough"))
    assert ("HAND", "closed_by_hand") == s.ended


@holds_back("FLAT")
def a_close_that_has_not_filled_keeps_the_stops(s: Story) -> None:
    s.session.say(CloseRequested(command="c", reason="enough"))
    s.session.now += 1_000
    assert Stage.CLOSING is s.position.stage
    assert {Leg.FAR, Leg.WORKING} <= {order.leg for order in s.venue.resting.values()}


# ------------------------------------------------------------------------------------------------- factors: X8–X10


@fires("X8")
def a_strong_reversal_on_one_bar_closes(s: Story) -> None:
    s.bars(2)
    s.factors(E=-50)
    s.bars(1, -150)  # the stop is near: no time for a resting close
    assert ("X8", "reversal") == s.ended


@fires("X8")
def a_weaker_reversal_closes_on_the_second_bar(s: Story) -> None:
    s.bars(2)
    s.factors(E=-30)
    s.bars(1, -150)
    assert [] == s.closes
    s.bars(1)
    assert ("X8", "reversal") == s.ended


@fires("X8")
def with_room_and_a_small_spread_it_rests_at_the_touch_and_fills(s: Story) -> None:
    s.bars(2)
    s.factors(E=-60)
    s.bars(1, 10)
    resting = next(order for order in s.venue.resting.values() if order.leg is Leg.TARGET)
    assert (s.price(11), 100) == (resting.trigger, resting.lots)
    assert [] == s.closes
    s.seconds(1, 11)
    assert ("X8", "reversal") == s.ended


@fires("X8")
def a_resting_close_becomes_a_market_close_after_ten_seconds(s: Story) -> None:
    s.bars(2)
    s.factors(E=-60)
    s.bars(1, 10)
    s.seconds(9)
    assert [] == s.closes
    s.seconds(1)
    assert ["X8"] == s.closes
    assert ("X8", "reversal") == s.ended


@fires("X8")
def the_kill_switch_pre_empts_a_resting_close(s: Story) -> None:
    s.bars(2)
    s.factors(E=-60)
    s.bars(1, 10)
    s.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"))
    assert ["X3"] == s.closes
    assert ("X3", "killed") == s.ended


@holds_back("X8")
def one_point_less_is_no_reversal(s: Story) -> None:
    s.bars(2)
    s.factors(E=-29.999)
    s.bars(4, -100)
    assert [] == s.closes


@holds_back("X8")
def two_bad_bars_must_follow_each_other(s: Story) -> None:
    s.bars(2)
    for score in (-40, -20, -40, -20):
        s.factors(E=score)
        s.bars(1)
    assert [] == s.closes


@holds_back("X8")
def a_composite_of_too_few_factors_says_nothing(s: Story) -> None:
    s.bars(2)
    s.factors(E=-90, coverage=499)
    s.bars(3)
    assert [] == s.closes


@holds_back("X8")
def the_first_bars_are_its_own_to_breathe(s: Story) -> None:
    s.factors(E=-49)
    s.bars(1)
    assert [] == s.closes


@fires("X8")
def a_loss_of_seven_tenths_ends_the_suppression(s: Story) -> None:
    s.factors(E=-50)
    s.bars(1, -125)
    assert ("X8", "reversal") == s.ended


@fires("X9")
def flow_turns_in_profit_half_goes_and_the_stop_tightens(s: Story) -> None:
    s.bars(2, 185)
    s.factors(C=-60, flow=-2.5)
    s.seconds(15)
    assert [] == s.parts
    s.seconds(1)
    assert [("X9", 50)] == s.parts
    assert 50 == s.position.lots
    assert (105, Basis.FACTORS) == (s.stop, s.position.basis)  # 185 − 0.8 · 100
    s.seconds(60)
    assert 1 == len(s.parts)


@holds_back("X9")
def flow_that_turns_back_after_fourteen_seconds_took_nothing(s: Story) -> None:
    s.bars(2, 185)
    s.factors(C=-60, flow=-2.5)
    s.seconds(14)
    s.factors(flow=-2.4)
    s.seconds(1)
    s.factors(flow=-2.6)
    s.seconds(14)
    assert [] == s.parts


@holds_back("X9")
def without_a_profit_of_one_r_flow_is_noise(s: Story) -> None:
    s.bars(2, 180)
    s.factors(C=-90, flow=-4)
    s.seconds(20)
    assert [] == s.parts


@fires("X10")
def a_broken_regime_tightens_to_half_of_r(s: Story) -> None:
    s.bars(2)
    s.factors(regime="dn_up", T=-1, E=-14)
    s.bars(1, 0)
    assert -179 == s.stop
    s.bars(1)
    assert (-90, Basis.FACTORS) == (s.stop, s.position.basis)
    assert [] == s.closes


@fires("X10")
def a_broken_regime_closes_when_the_composite_agrees(s: Story) -> None:
    s.bars(2)
    s.factors(regime="dn_up", T=-1, E=-15)
    s.bars(2)
    assert ("X10", "regime") == s.ended


@holds_back("X10")
def a_regime_against_it_while_the_trend_holds_is_no_break(s: Story) -> None:
    s.bars(2)
    s.factors(regime="dn_up", T=1, E=-14)
    s.bars(4)
    assert -179 == s.stop


@holds_back("X10")
def open_interest_nobody_has_read_breaks_no_regime(s: Story) -> None:
    s.bars(2)
    s.factors(regime="dn_up", T=-50, E=-14)
    s.silent("O")
    s.bars(4)
    assert -179 == s.stop


# ------------------------------------------------------------------------------------------------------ market: X11


@fires("X11")
def liquidity_collapses_for_ten_seconds_and_half_goes_in_slices(s: Story) -> None:
    s.bars(2)
    s.book([(1, 8), (2, 8), (3, 8), (4, 8), (5, 8), (6, 900)])
    s.factors(L=39)
    s.seconds(10)
    assert [] == s.parts
    s.seconds(1)
    assert [("X11", 50)] == s.parts
    assert 50 == s.position.lots
    assert [10] * 5 == [order.lots for order in s.position.orders.values() if order.leg is Leg.CLOSE]
    assert -179 == s.stop


@fires("X11")
def a_thin_book_counts_as_collapse_too(s: Story) -> None:
    s.bars(2)
    s.factors(L=80)
    s.book([(1, 10), (250, 90)])
    s.seconds(11)
    assert [("X11", 50)] == s.parts


@fires("X11")
def the_episode_is_over_only_after_a_minute_of_good_liquidity(s: Story) -> None:
    s.bars(2)
    s.factors(L=39)
    s.seconds(11)
    s.factors(L=60)
    s.seconds(59)
    s.factors(L=30)
    s.seconds(20)
    assert 1 == len(s.parts)
    s.factors(L=60)
    s.seconds(61)
    s.factors(L=30)
    s.seconds(11)
    assert [("X11", 50), ("X11", 25)] == s.parts


@holds_back("X11")
def forty_is_thin_but_no_collapse(s: Story) -> None:
    s.bars(2)
    s.factors(L=40)
    s.book([(1, 10), (110, 90)])
    s.seconds(30)
    assert [] == s.parts


# -------------------------------------------------------------------------------------------------- time: X13–X16


@fires("X13")
def dear_funding_is_left_to_others(s: Story) -> None:
    s.bars(2)
    s.pays(10, in_seconds=185)
    s.seconds(5)
    assert [] == s.closes
    s.seconds(1)
    assert ("X13", "funding") == s.ended


@fires("X13")
def funding_that_eats_the_open_profit_is_left_to_others(s: Story) -> None:
    s.bars(2, 9)
    s.pays(2, in_seconds=170)  # 10 of 36 thousandths of profit
    s.seconds(1)
    assert ("X13", "funding") == s.ended


@holds_back("X13")
def cheap_funding_is_paid(s: Story) -> None:
    s.bars(2, -20)
    s.pays(9.9, in_seconds=170)
    s.seconds(60)
    assert [] == s.closes


@holds_back("X13")
def who_is_paid_stays(s: Story) -> None:
    s.bars(2)
    s.pays(-50, in_seconds=170)
    s.seconds(60)
    assert [] == s.closes


@holds_back("X13")
def a_trade_with_half_of_r_behind_it_pays(s: Story) -> None:
    s.bars(2, 91)
    s.pays(50, in_seconds=170)
    s.seconds(60)
    assert [] == s.closes


@fires("X14")
def four_hours_without_progress_are_enough(s: Story) -> None:
    s.factors(E=19)
    s.bars(47, 20)
    assert [] == s.closes
    s.bars(1)
    assert ("X14", "no_progress") == s.ended


@holds_back("X14")
def a_composite_that_still_speaks_for_it_keeps_it(s: Story) -> None:
    s.factors(E=20)
    s.bars(60, 20)
    assert [] == s.closes


@holds_back("X14")
def half_of_r_was_progress(s: Story) -> None:
    s.bars(1, 91)
    s.bars(60, 20)
    assert [] == s.closes


@fires("X15")
def eight_hours_are_over(s: Story) -> None:
    s.factors(E=30)
    s.bars(95, 20)
    assert [] == s.closes
    s.bars(1)
    assert ("X15", "time") == s.ended


@fires("X15")
def a_coin_of_last_week_gets_four_hours(s: Story) -> None:
    s.say(InstrumentChanged(instrument=msgspec.structs.replace(INSTRUMENT, onboard_ms=START_MS - 7 * 86_400_000)))
    s.factors(E=30)
    s.bars(48, 20)
    assert ("X15", "time") == s.ended


@holds_back("X15")
def who_trails_may_stay_until_the_day_is_over(s: Story) -> None:
    s.factors(E=45)
    s.bars(1, 20)
    s.seconds(1, 251)
    s.bars(120)
    assert s.position.trailing
    assert [] == s.closes


@fires("X16")
def an_entry_that_rests_for_five_minutes_is_cancelled(s: Story) -> None:
    s.session.admit(side=s.side)
    name = s.position.id
    entry = s.venue.order(name, Leg.ENTRY, s.side, s.price(50), 100, name)
    s.venue.tell(s.venue.ended(entry, Verdict.ACCEPTED))
    s.seconds(299)
    assert [] == s.session.all(CancelLeg)
    s.seconds(30)
    assert [Leg.ENTRY] == [cancel.leg for cancel in s.session.all(CancelLeg)]


@holds_back("X16")
def an_entry_that_fills_has_not_rested(s: Story) -> None:
    s.open()
    s.seconds(400)
    assert [] == s.session.all(CancelLeg)


# ------------------------------------------------------------------------------------------- the contract ends: X17


@fires("X17")
def an_hour_before_delivery_it_is_closed(s: Story) -> None:
    due = s.session.now + 3_605_000
    s.say(InstrumentChanged(instrument=msgspec.structs.replace(INSTRUMENT, delivery_ms=due)))
    s.seconds(4)
    assert [] == s.closes
    s.seconds(1)
    assert ("X17", "instrument") == s.ended


@holds_back("X17")
def while_the_venue_halts_nothing_is_asked_for_and_the_stops_stay(s: Story) -> None:
    halted = msgspec.structs.replace(INSTRUMENT, status="BREAK", delivery_ms=s.session.now + 3_000_000)
    s.say(InstrumentChanged(instrument=halted))
    s.say(CloseRequested(command="c", reason=""))
    s.seconds(60)
    assert [] == s.closes
    assert {Leg.FAR, Leg.WORKING} <= {order.leg for order in s.venue.resting.values()}
    s.say(InstrumentChanged(instrument=INSTRUMENT))
    s.seconds(1)
    assert ["HAND"] == s.closes


# --------------------------------------------------------------------------------------------- walls: X12, X18, X19


def _leaning(s: Story) -> None:
    """Two bars old, the book is whole, and the stop leans on a wall behind it."""
    s.bars(2, 20)
    s.book([(1, 500)])
    s.session.state.bars.five_minutes.value = 120.0  # a; three bps of the price would not be the same turned round
    s.wall(-115, -110)
    s.seconds(1, 20)
    assert (-133, Basis.WALL, 7) == (s.stop, s.position.basis, s.position.wall_id)  # 18 behind its far edge


@fires("X12")
def the_wall_behind_the_stop_is_pulled(s: Story) -> None:
    _leaning(s)
    s.lose_wall(WallVerdict.PULLED)
    s.seconds(1)
    assert (-52, 0) == (s.stop, s.position.wall_id)  # 0.6 · 120 from the price
    s.wall(-115, -110)
    s.seconds(10)
    assert -52 == s.stop


@fires("X12")
def the_wall_behind_the_stop_is_eaten_and_the_price_stands_beyond_it(s: Story) -> None:
    _leaning(s)
    s.lose_wall(WallVerdict.EATEN)
    s.seconds(1, -120)
    assert 7 == s.position.wall_id
    s.seconds(1)
    assert (-133, 0) == (s.stop, s.position.wall_id)  # 0.6 · a from here would be a looser stop


@holds_back("X12")
def an_eaten_wall_with_the_price_still_in_front_holds(s: Story) -> None:
    _leaning(s)
    s.lose_wall(WallVerdict.EATEN)
    s.seconds(5)
    assert -133 == s.stop


@holds_back("X12")
def a_wall_nobody_leans_on_may_go(s: Story) -> None:
    s.bars(2, 20)
    s.book([(1, 500)])
    s.wall(-20, -10)
    s.seconds(1)
    s.lose_wall(WallVerdict.PULLED)
    s.seconds(2)
    assert -179 == s.stop


@fires("X18")
def liquidations_of_the_other_side_carry_it_and_their_end_closes(s: Story) -> None:
    s.liquidations(240, 262, of_shorts=True)
    s.factors(cascade=1)
    s.seconds(1, 255)
    assert (205, 50) == (s.stop, s.position.lots)  # 0.5 · 100 behind the best mark
    s.seconds(10, 300)
    assert 250 == s.stop
    s.factors(cascade=0, exhausted=True)
    s.seconds(1)
    assert ("X18", "cascade_ended") == s.ended


@holds_back("X18")
def a_target_outside_of_the_band_is_an_ordinary_target(s: Story) -> None:
    s.liquidations(270, 300, of_shorts=True)
    s.factors(cascade=1)
    s.seconds(1, 255)
    s.factors(cascade=0, exhausted=True)
    s.seconds(3)
    assert (3, 50) == (s.stop, s.position.lots)


@fires("X19")
def a_new_wall_close_ahead_takes_a_quarter_once(s: Story) -> None:
    s.book([(1, 500)])
    s.seconds(1, 130)
    s.wall(184, 190, ahead=True, strength=700)
    s.seconds(30)
    assert [("X19", 25)] == s.parts
    assert 75 == s.position.lots


@fires("X19")
def a_position_too_small_to_be_divided_is_tightened_instead(s: Story) -> None:
    s.open(lots=1)
    s.book([(1, 500)])
    s.seconds(1, 130)
    s.wall(184, 190, ahead=True)
    s.seconds(1)
    assert ([], 50) == (s.parts, s.stop)  # 130 − 0.8 · 100


@holds_back("X19")
def a_weaker_wall_is_only_a_wall(s: Story) -> None:
    s.book([(1, 500)])
    s.seconds(1, 130)
    s.wall(184, 190, ahead=True, strength=699)
    s.seconds(30)
    assert [] == s.parts


@holds_back("X19")
def a_wall_that_stood_before_the_entry_is_not_new(s: Story) -> None:
    s.wall(262, 268, ahead=True)
    s.book([(1, 500)])
    s.open()
    s.seconds(30, 220)
    assert [] == s.parts


# -------------------------------------------------------------------------------------------------------- apart


@fires("APART")
def mark_and_middle_part_for_two_seconds_and_people_are_told_once(s: Story) -> None:
    for _ in range(10):
        s.session.now += 1_000
        s.mark(0, quote=91)
    assert ["mark_apart"] == [code for code in s.session.codes() if code == "mark_apart"]


@holds_back("APART")
def half_of_r_apart_is_still_together(s: Story) -> None:
    for _ in range(10):
        s.session.now += 1_000
        s.mark(0, quote=90)
    assert "mark_apart" not in s.session.codes()


# ------------------------------------------------------------------------------------------------ opened elsewhere


@fires("LEVEL")
def the_mark_is_through_the_level_kept_for_a_position_opened_elsewhere(s: Story) -> None:
    taken(s)
    live(s, 6, 280)
    live(s, 1, s.stop)
    assert ["LEVEL"] == s.closes


@holds_back("LEVEL")
def a_tick_before_that_level_nothing_happens(s: Story) -> None:
    taken(s)
    live(s, 6, 280)
    live(s, 2, s.stop + 1)
    assert [] == s.closes


# ------------------------------------------------------------------------------------------------------ the tests

BEGIN_CLOSED: Final = {
    *("no_stop_rests_and_a_fresh_read_proves_it", "no_stop_is_known_but_no_read_proves_it"),
    *("an_entry_that_rests_for_five_minutes_is_cancelled", "an_entry_that_fills_has_not_rested"),
    *("a_position_too_small_to_be_divided_is_tightened_instead", "a_wall_that_stood_before_the_entry_is_not_new"),
    "the_mark_is_through_the_level_kept_for_a_position_opened_elsewhere",
    "a_tick_before_that_level_nothing_happens",
}


def play(name: str, side: Side, *, restart_every: int = 0) -> Story:
    """Tell the story of that name for *side*."""
    story = Story(side, restart_every=restart_every, open_now=name not in BEGIN_CLOSED)
    STORIES[name][2](story)
    return story


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", STORIES)
def test_story(name: str, side: Side) -> None:
    """Each story ends as it says, and its rule stands in the decisions exactly when it says so."""
    rule, does, _ = STORIES[name]

    story = play(name, side)

    assert does == (rule in story.fired)


@pytest.mark.parametrize("name", STORIES)
def test_upside_down(name: str) -> None:
    """The mirrored market leads to exactly the mirrored decisions, notes and alerts included."""
    assert_mirrored(play, name)


@pytest.mark.parametrize("name", STORIES)
def test_restart(name: str) -> None:
    """A restart at any line changes nothing: whatever a confirmation has counted is in the state."""
    assert_restarts_change_nothing(play, name)


def test_every_rule_has_its_stories() -> None:
    """The table rule → stories has no empty place: each rule fires in one at least, and just does not in another."""
    table: dict[str, tuple[list[str], list[str]]] = {rule.id: ([], []) for rule in RULES}
    for name, (rule, does, _) in STORIES.items():
        table[rule][0 if does else 1].append(name)

    assert {} == {rule: lists for rule, lists in table.items() if not lists[0] or not lists[1]}
    assert len(STORIES) >= 30


__all__ = ["ClosePosition", "OpenBracket", "PlaceTarget", "ReportTrade"]
