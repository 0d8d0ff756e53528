"""Tests of the account's state: it goes through bytes, and a slot knows its side."""

from __future__ import annotations

from pipeline.core.account_state import AccountState, RiskRules, Slot, Stage, Suspicion, decode, digest, encode
from pipeline.core.events import Side
from tests.pipeline.core.test_account import report


def test_the_whole_state_goes_through_bytes() -> None:
    """Risk, ranking and slots come back; another state has another name."""
    state = AccountState()
    state.risk.suspicions["X3 day loss"] = Suspicion(marks_ms=5)
    state.risk.cool_until_ms["BTCUSDT"] = 9
    state.ranking.shortlisted = ["BTCUSDT"]

    assert state == decode(encode(state))
    assert digest(state) == digest(decode(encode(state)))
    assert digest(state) != digest(AccountState())


def test_states_share_nothing() -> None:
    """Two new states have their own risk and ranking."""
    one, other = AccountState(), AccountState()
    one.risk.cool_until_ms["BTCUSDT"] = 1
    one.ranking.shortlisted.append("BTCUSDT")

    assert other == AccountState()


def test_a_slot_knows_its_side() -> None:
    """By what is reported; nobody has said it before."""
    slot = Slot("BTCUSDT", Stage.OPEN, None)
    assert slot.side is None
    slot.report = report("p", -3)
    assert Side.SELL is slot.side


def test_the_tiers_of_the_default_rules_stand_in_order() -> None:
    """Half sizes before no entries before closing everything."""
    rules = RiskRules()

    assert rules.drawdown_reduced_permille < rules.drawdown_close_only_permille < rules.drawdown_halted_permille
