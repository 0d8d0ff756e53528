"""The only place for tests of the table of exit rules: its order, its marks; the stories are in tests/sessions."""

from __future__ import annotations

import msgspec

from pipeline.core import exits
from pipeline.core.commands import ClosePosition
from pipeline.core.events import CloseRequested, TradingMode, TradingStateSet
from pipeline.core.exits import RULES, stop_view
from pipeline.core.turn import Turn
from pipeline.core.units import ONE_E8
from tests.sessions.test_targets import opened


def test_the_rules_stand_in_the_order_of_the_domain() -> None:
    """Domain 6.3; a row out of place changes which closing rule wins."""
    order = [rule.id for rule in RULES]

    assert order == [
        *("X0a", "X0b", "X1", "X2", "X3", "HAND", "X4", "X4", "X5", "X6", "X7", "X7", "STOP", "FLAT"),
        *("X8", "X8", "X9", "X10", "X10", "X11", "X11", "X12", "X13", "X14", "X15", "X15", "X16"),
        *("X17", "X18", "X18", "X19", "APART"),
    ]


def test_only_what_is_not_vital_may_be_switched_off() -> None:
    """Protection is no preference."""
    vital = {rule.id for rule in RULES if rule.vital}

    assert {"X0a", "X0b", "X1", "X2", "X3", "X4", "X6", "X7", "HAND", "STOP", "FLAT"} == vital


def test_only_x8_to_x15_are_suppressed_early() -> None:
    """Domain 6.3."""
    early = {rule.id for rule in RULES if rule.suppressed_early}

    assert {f"X{number}" for number in range(8, 16)} == early


def test_of_two_closing_rules_the_first_wins() -> None:
    """The kill switch and a person at once: X3 is told as the reason, one close goes out."""
    session, _ = opened()
    session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"), CloseRequested(command="c", reason="me too"))

    assert ["X3"] == [close.reason for close in session.all(ClosePosition)]


def test_asking_a_rule_changes_nothing() -> None:
    """A question must not mutate: every rule is asked twice, the state stays as it was."""
    session, venue = opened()
    session.wait(3_000)
    venue.mark(50_100)
    before = msgspec.msgpack.encode(session.position)
    turn = Turn(session.state, session.state.mark_stamp or exits.Fired)  # type: ignore[arg-type]
    for rule in [*RULES, *RULES]:
        rule.fires(turn)

    assert before == msgspec.msgpack.encode(session.position)
    assert [] == turn.outputs


def test_the_ratchet_sees_the_quote_only_while_it_is_fresh() -> None:
    """A stale quote is left out of the clamp; the mark alone is enough."""
    session, venue = opened()
    venue.mark(50_100)
    turn = Turn(session.state, session.state.mark_stamp)  # type: ignore[arg-type]
    assert 50_100 * ONE_E8 == stop_view(turn).mid_e8
    session.wait(5_250)

    assert (0, 0) == (stop_view(turn).mid_e8, stop_view(turn).spread_e8)


def test_the_ratchet_does_without_bars() -> None:
    """Ranges that are not known are 0, and what needs them is left out."""
    session, _ = opened()
    session.state.bars.gapped = True
    turn = Turn(session.state, session.state.mark_stamp)  # type: ignore[arg-type]

    assert (0, 0) == (stop_view(turn).atr_5m_e8, stop_view(turn).atr_1h_e8)
