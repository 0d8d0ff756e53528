"""The only place for tests of the position's report: at changes and once a second, with its overlays in words."""

from __future__ import annotations

from pipeline.core.commands import ReportPosition
from pipeline.core.events import Leg, TradingMode, TradingStateSet
from pipeline.core.orders import OrderStatus
from pipeline.core.reports import state_text
from pipeline.core.units import ONE_E8
from tests.sessions.test_stops import opened_short
from tests.sessions.test_targets import opened


def test_a_long_is_reported_with_its_profit_at_mark() -> None:
    """Quantity signed by the side, profit in E8 USDT."""
    session, venue = opened()
    venue.mark(50_101)
    session.wait(1_000)

    report = session.last(ReportPosition)
    assert (100, 50_001 * ONE_E8, 10 * ONE_E8) == (report.lots, report.entry_price, report.open_pnl)


def test_a_short_is_reported_with_a_negative_quantity() -> None:
    """The sign is the side."""
    session, _ = opened_short()

    assert -100 == session.last(ReportPosition).lots


def test_a_change_is_reported_at_once_and_then_each_second() -> None:
    """A moved stop does not wait for its second."""
    session, venue = opened()
    session.wait(6_000)
    before = len(session.all(ReportPosition))
    venue.mark(50_200)
    assert before < len(session.all(ReportPosition))
    told = len(session.all(ReportPosition))

    session.wait(2_000)

    assert 2 == len(session.all(ReportPosition)) - told


def test_overlays_are_words_behind_the_stage() -> None:
    """UNPROTECTED, DEGRADED and HALTED lie over the stage (domain 6.1)."""
    session, _ = opened()
    position = session.position
    assert "OPEN" == state_text(session.state, position)
    for order in position.orders.values():
        if order.leg in (Leg.FAR, Leg.WORKING):
            order.status = OrderStatus.CANCELLED
    assert "OPEN UNPROTECTED" == state_text(session.state, position)
    session.now += 20_000
    session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"))

    assert "CLOSING UNPROTECTED DEGRADED HALTED" == state_text(session.state, position)
