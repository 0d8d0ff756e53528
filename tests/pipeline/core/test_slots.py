"""Tests of a slot's life beside those of the account: reports keep their time, one line ends one position."""

from __future__ import annotations

from pipeline.core import slots
from pipeline.core.account_state import AccountState, Slot, Stage
from pipeline.core.account_words import AccountOutput, PositionSeen, TradeSeen
from pipeline.core.units import Milliseconds
from tests.pipeline.core.test_account import RULES, report, trade


def test_a_report_keeps_its_time() -> None:
    """How old the open PnL is decides whether the marks may speak."""
    state = AccountState(log_ms=Milliseconds(7))
    outputs: list[AccountOutput] = []
    slots.see_position(state, PositionSeen("BTCUSDT", (1, 0), report("p", 3)), RULES, outputs)

    assert 7 == state.slots["BTCUSDT"].reported_ms
    assert [] == outputs


def test_one_line_ends_one_position() -> None:
    """The same place again, told after a restart of decide, counts no second trade."""
    state = AccountState(slots={"BTCUSDT": Slot("BTCUSDT", Stage.OPEN, None, position="p")})

    assert slots.see_trade(state, TradeSeen("BTCUSDT", (1, 0), trade("p")))
    assert not slots.see_trade(state, TradeSeen("BTCUSDT", (1, 0), trade("p")))
    assert (1, {}) == (state.trades, state.slots)


def test_only_expired_admissions_are_asked_again() -> None:
    """An open slot waits for nobody."""
    state = AccountState(slots={"BTCUSDT": Slot("BTCUSDT", Stage.OPEN, None)}, log_ms=Milliseconds(10**9))

    assert [] == slots.unanswered(state, [])
