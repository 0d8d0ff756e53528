"""Sessions that end by target: TP1 then TP2, in one piece or in partial fills."""

from __future__ import annotations

from pipeline.core.commands import AnswerAdmission, MoveStop, OpenBracket, PlaceTarget, ReportTrade, Sweep
from pipeline.core.events import Leg, Side
from pipeline.core.positions import Stage
from tests.sessions.script import Session
from tests.sessions.venue import Venue


def opened(*, side: Side = Side.BUY, lots: int = 100, target: int = 0, last_target: int = 0) -> tuple[Session, Venue]:
    """A position of 100 lots at the touch (a long at 50,001) with its rails resting."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.run(session.admit(side=side, lots=lots, target=target, last_target=last_target))
    return session, venue


def test_a_bracket_goes_out_with_both_rails_and_the_admission_is_used() -> None:
    """An admission becomes a LIMIT IOC bracket named by its own intent id."""
    session, _ = opened()

    bracket = session.last(OpenBracket)
    answer = session.all(AnswerAdmission)[0]
    assert (True, session.position.id) == (answer.used, answer.position)
    assert bracket.far_trigger < bracket.working_trigger < 50_001 < bracket.limit
    assert Stage.OPEN is session.position.stage


def test_both_targets_fill_and_the_trade_is_told_as_target() -> None:
    """TP1 takes half and moves the stop to breakeven, TP2 closes; everything is swept."""
    session, venue = opened()
    first, last = session.position.target, session.position.last_target

    session.wait(1_000)
    venue.mark(first)
    assert (Stage.PARTIAL, 50) == (session.position.stage, session.position.lots)
    venue.mark(last)

    trade = session.last(ReportTrade)
    assert ("X7", "target", 100) == (trade.reason, trade.outcome, trade.lots)
    assert {} == venue.resting
    assert 1 == len(session.all(Sweep))
    assert session.state.position is None
    assert trade.realised > 0


def test_tp1_in_partial_fills_resizes_the_working_rail_each_time() -> None:
    """After each partial fill of TP1 rail (b) is stated with the rest; breakeven waits for all of it."""
    session, venue = opened()
    target = next(order for order in venue.resting.values() if order.leg is Leg.TARGET)

    venue.fill(target, 20, target.trigger, whole=50)
    assert (80, Stage.OPEN) == (session.last(MoveStop).lots, session.position.stage)
    venue.fill(target, 30, target.trigger, whole=50, before=20)

    working = [move.lots for move in session.all(MoveStop) if move.leg is Leg.WORKING]
    assert [80, 50] == working
    assert Stage.PARTIAL is session.position.stage


def test_a_small_position_has_one_target() -> None:
    """Below twice the minimum quantity there is no TP1 to rest: one LAST_TARGET takes everything."""
    session, _ = opened(lots=1)

    assert [Leg.LAST_TARGET] == [target.leg for target in session.all(PlaceTarget)]
