"""
The only place that says what the account holds: the wallet, transfers, the day's baseline, the peak; by two sources.

Domain 6.3. The *marks* are the wallet as the user stream states it and the open PnL that decide reports once a second,
the *account* is a whole read by the executor. Money paid in or taken out is neither profit nor loss: the stream tells
it, and income lists it, in whichever order; a wallet that moved without either is unexplained until income was asked.

All money is E8 USDT, nothing here is a float.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from pipeline.core.account_state import AccountState, RiskState, Tier, bounded
from pipeline.core.account_words import AccountSeen, BalanceSeen
from pipeline.core.units import E8

DAY_MS: Final = 86_400_000
REPORT_FRESH_MS: Final = 5_000  # a position reported longer ago leaves the marks without a word
READ_VALID_MS: Final = 120_000  # a read proves nothing after this
INCOME_LAG_MS: Final = 60_000  # income may list a transfer this much later than the user stream tells it
VENUE_AHEAD_MS: Final = 10_000  # a statement dated further ahead must not make all later ones look old


class Figures(msgspec.Struct, frozen=True):
    """One reading: what one source says there is, and how much of it must stay."""

    equity: int
    maintenance: int


class Read(StrEnum):
    """What a whole read of the account is worth: nothing, a reading without the transfers, a reading with them."""

    NONE = "none"
    PLAIN = "plain"
    WHOLE = "whole"


def equity_by_marks(state: AccountState) -> E8:
    """Wallet and what decide reports as open, whatever the age of it."""
    open_pnl = 0
    for slot in state.slots.values():
        if slot.report is not None:
            open_pnl += slot.report.open_pnl
    return bounded(state.wallet + open_pnl)


def marks(state: AccountState) -> Figures | None:
    """What the marks say now; None while a held position was not reported for five seconds."""
    if not known(state):
        return None
    for slot in state.slots.values():
        held = slot.report is not None and slot.report.lots
        if held and state.log_ms - slot.reported_ms > REPORT_FRESH_MS:
            return None
    return Figures(equity_by_marks(state), state.risk.maintenance)


def known(state: AccountState) -> bool:
    """Whether the venue has said what there is."""
    return state.risk.day >= 0


def new_day(state: AccountState) -> None:
    """Take the balance that stood when the UTC day ended as the baseline; to be called before an event is folded."""
    day = state.log_ms // DAY_MS
    if known(state) and day > state.risk.day:
        _take_baseline(state)


def _take_baseline(state: AccountState) -> None:
    risk = state.risk
    risk.day = state.log_ms // DAY_MS
    risk.since_ms = state.log_ms
    risk.baseline = _equity(state)
    risk.transfers = risk.swapped = E8(0)
    risk.suspicions.pop("X3 day loss", None)


def _equity(state: AccountState) -> E8:
    """What there is: by the marks, or by a fresh read when decide is silent about a position."""
    risk = state.risk
    read = risk.read_ms >= 0 and state.log_ms - risk.read_ms <= READ_VALID_MS
    return risk.margin if read and marks(state) is None else equity_by_marks(state)


def see_balance(state: AccountState, seen: BalanceSeen) -> None:
    """
    The user stream or a balance read states the wallet; an older statement of the venue is passed over.

    Two sockets of the user stream bring the same frame: what was said of this very moment before is no other change.
    """
    risk = state.risk
    if seen.venue_ms and seen.venue_ms < risk.wallet_ms:
        return
    if seen.venue_ms:
        _dated(state, seen.venue_ms)
        said = (seen.wallet, seen.transfer)
        if said in risk.wallet_said:
            return
        risk.wallet_said.append(said)
    state.wallet = seen.wallet
    state.available = state.available if seen.available is None else seen.available
    if not known(state):
        _take_baseline(state)
        risk.peak = equity_by_marks(state)
    elif seen.transfer:
        risk.paid_ms = state.log_ms
        if seen.swapped:
            risk.swapped = bounded(risk.swapped + seen.transfer)
        _transferred(risk, seen.transfer)


def _dated(state: AccountState, venue_ms: int) -> None:
    """The wallet was stated for this time; what was said of an earlier one need not be kept."""
    risk = state.risk
    newest = max(risk.wallet_ms, min(venue_ms, state.log_ms + VENUE_AHEAD_MS))
    if newest != risk.wallet_ms:
        risk.wallet_ms, risk.wallet_said = newest, []


def see_account(state: AccountState, seen: AccountSeen) -> Read:
    """
    A whole read, and what it is worth: nothing when the wallet has moved on at the venue since.

    A read that states the wallet we know is one whatever its time: the venue's two clocks need not agree to the ms.
    One whose transfers are others than the stream has just told is one without them: income may be behind. The peak is
    raised by explained money alone: a deposit that nobody told would count in it for good.
    """
    risk = state.risk
    if seen.venue_ms < risk.wallet_ms and seen.wallet != state.wallet:
        return Read.NONE
    moved = seen.wallet != state.wallet
    _dated(state, seen.venue_ms)
    state.wallet, state.available = seen.wallet, seen.available
    risk.margin, risk.maintenance, risk.read_ms = seen.margin, seen.maintenance, state.log_ms
    worth = Read.PLAIN
    if not known(state):
        _take_baseline(state)
        risk.baseline = risk.peak = seen.margin
    elif seen.transfers is None:
        risk.unexplained = risk.unexplained or moved
    else:
        behind = seen.transfers + risk.swapped - risk.transfers
        if not behind or risk.paid_ms < 0 or state.log_ms - risk.paid_ms > INCOME_LAG_MS:
            _transferred(risk, behind)
            risk.unexplained = False
            worth = Read.WHOLE
    if not risk.unexplained:
        risk.peak = E8(max(risk.peak, seen.margin))
    return worth


def _transferred(risk: RiskState, amount: int) -> None:
    """Money paid in or taken out is neither profit nor loss: baseline and peak move with it."""
    risk.transfers = bounded(risk.transfers + amount)
    risk.peak = bounded(risk.peak + amount)


def rebase(state: AccountState) -> None:
    """A person resumes: what was lost until now is accepted, the bounds count from here."""
    risk = state.risk
    risk.suspicions.clear()
    risk.unexplained = False
    risk.tier, risk.stopped_by = Tier.NORMAL, ""
    if known(state):
        _take_baseline(state)
        risk.peak = risk.baseline
