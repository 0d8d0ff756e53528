"""Tests of what the account holds: transfers by stream and income, the peak, the baseline, frames that come again."""

from __future__ import annotations

import pytest

from pipeline.core.account_words import AccountTicked, BalanceSeen
from pipeline.core.events import TradingMode
from pipeline.core.units import Milliseconds
from tests.pipeline.core.test_account import START_MS
from tests.pipeline.core.test_risk import DAY_MS, held, position, read, usdt


def test_two_sockets_that_bring_the_same_transfer_bring_it_once() -> None:
    """Connections overlap when one replaces the other: a frame that comes again changes nothing."""
    account = held()
    frame = BalanceSeen(usdt(9_000), transfer=usdt(-1_000), venue_ms=Milliseconds(50))
    other = BalanceSeen(usdt(8_990), venue_ms=Milliseconds(50))
    for seen in (frame, frame, other, frame, other, frame):
        account.fold(seen)

    assert (usdt(-1_000), usdt(8_990)) == (account.state.risk.transfers, account.state.wallet)
    account.fold(BalanceSeen(usdt(7_990), transfer=usdt(-1_000), venue_ms=Milliseconds(51)))
    assert usdt(-2_000) == account.state.risk.transfers


def test_income_that_is_behind_does_not_undo_what_the_stream_told() -> None:
    """The stream told a withdrawal, income does not list it yet: such a read proves nothing for a minute."""
    account = held()
    account.fold(BalanceSeen(usdt(5_000), transfer=usdt(-5_000), venue_ms=Milliseconds(50)))
    account.fold(read(5_000, wallet=5_000, transfers=usdt(0)), after_ms=1_000)
    account.fold(position(0), after_ms=1_000)
    assert (TradingMode.ACTIVE, usdt(-5_000)) == (account.state.mode, account.state.risk.transfers)
    assert {} == account.state.risk.suspicions

    account.fold(read(5_000, wallet=5_000, transfers=usdt(0)), after_ms=60_000)
    assert usdt(0) == account.state.risk.transfers  # income's word stands in the end


def test_swapped_coins_are_not_expected_among_the_transfers_of_income() -> None:
    """Income gives COIN_SWAP_WITHDRAW a type of its own, so a read of transfers alone does not undo it."""
    account = held()
    account.fold(BalanceSeen(usdt(5_000), transfer=usdt(-5_000), venue_ms=Milliseconds(50), swapped=True))
    account.fold(read(5_000, wallet=5_000, transfers=usdt(0)), after_ms=61_000)

    assert usdt(-5_000) == account.state.risk.transfers


@pytest.mark.parametrize("frame_first", [False, True])
def test_a_deposit_counts_once_in_the_peak(frame_first: bool) -> None:
    """A read that shows a deposit before the stream or income told it does not raise the peak twice."""
    account = held()
    frame = BalanceSeen(usdt(15_000), transfer=usdt(5_000), venue_ms=Milliseconds(50))
    shown = read(15_000, wallet=15_000, transfers=None, venue_ms=Milliseconds(50))
    for seen in (frame, shown) if frame_first else (shown, frame):
        account.fold(seen)
    assert usdt(15_000) == account.state.risk.peak

    missed = held()
    missed.fold(read(15_000, wallet=15_000, transfers=None))
    missed.fold(read(15_000, wallet=15_000, transfers=usdt(5_000)))
    assert usdt(15_000) == missed.state.risk.peak


def test_a_statement_from_the_future_does_not_silence_the_venue() -> None:
    """One frame with a broken clock must not make every later one look old."""
    account = held()
    account.fold(BalanceSeen(usdt(9_999), venue_ms=Milliseconds(START_MS + 400 * DAY_MS)))
    account.fold(BalanceSeen(usdt(9_500), venue_ms=Milliseconds(account.now + 20_000)), after_ms=20_000)

    assert usdt(9_500) == account.state.wallet


def test_the_baseline_rests_on_the_account_when_decide_is_silent() -> None:
    """At midnight an open PnL that nobody has reported for minutes is no balance; a fresh read is."""
    account = held(400)
    midnight = (account.now // DAY_MS + 1) * DAY_MS
    account.fold(read(9_900), after_ms=midnight - 30_000 - account.now)
    account.fold(AccountTicked(), after_ms=30_001)

    assert usdt(9_900) == account.state.risk.baseline
