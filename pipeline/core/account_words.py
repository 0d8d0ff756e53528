"""
The only place for the words of the account's fold: what it hears (``AccountEvent``), what it says (``AccountOutput``).

Bytes become these in ``binance.account_fold``; nothing here knows JSON or the venue's field names. Money is E8 USDT.
"""

from __future__ import annotations

import msgspec

from pipeline.core.commands import ReportPosition, ReportSignal, ReportTrade
from pipeline.core.events import (
    CloseRequested,
    EntryAdmitted,
    PositionOverridden,
    Side,
    SymbolResumed,
    TradingMode,
)
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Milliseconds

# ---------------------------------------------------------------------------------------------------- what comes in


class EntryAsked(msgspec.Struct, frozen=True, tag="entry_asked"):
    """
    A person or a signal wants a position; numbers are texts as typed, empty when not given.

    ``signal`` says which program asks ("" a person): the gates of signals hold for it (domain section 5), its size
    follows from the risk, a notional caps it. After ``until_ms`` (log time, 0: never) it is void.
    """

    command: str
    symbol: str
    side: Side
    quantity: str = ""
    notional: str = ""
    stop: str = ""
    target: str = ""
    last_target: str = ""
    signal: str = ""
    until_ms: Milliseconds = Milliseconds(0)
    template: str = ""


class CloseAsked(msgspec.Struct, frozen=True, tag="close_asked"):
    """A person wants a position closed, or all of them (``*``)."""

    command: str
    symbol: str
    reason: str


class ModeAsked(msgspec.Struct, frozen=True, tag="mode_asked"):
    """A person sets the trading mode; ``mode`` as typed."""

    command: str
    mode: str
    reason: str = ""


Place = tuple[int, int]  # (offset, line) in the symbol's partition of ``inputs``: the cause of a word of decide


class ResumeAsked(msgspec.Struct, frozen=True, tag="resume_asked"):
    """A person has looked at a symbol that was halted on a fault and lets it go on."""

    command: str
    symbol: str


class OverrideAsked(msgspec.Struct, frozen=True, tag="override_asked"):
    """A person wishes something for the position of one symbol; None leaves it as it is."""

    command: str
    symbol: str
    pin_stop: bool | None = None
    leave_alone: bool | None = None
    disabled_exits: tuple[str, ...] | None = None


class AdmissionEnded(msgspec.Struct, frozen=True, tag="admission_ended"):
    """Decide used or declined an admission."""

    symbol: str
    place: Place
    admission: str
    used: bool
    position: str
    reason: str


class PositionSeen(msgspec.Struct, frozen=True, tag="position_seen"):
    """Decide reports an open position."""

    symbol: str
    place: Place
    report: ReportPosition


class TradeSeen(msgspec.Struct, frozen=True, tag="trade_seen"):
    """Decide reports that a position is flat."""

    symbol: str
    place: Place
    trade: ReportTrade


class SignalSeen(msgspec.Struct, frozen=True, tag="signal_seen"):
    """Decide reports what a closed bar says about a symbol."""

    symbol: str
    place: Place
    report: ReportSignal


class InstrumentsRead(msgspec.Struct, frozen=True, tag="instruments_read"):
    """The executor read exchangeInfo."""

    instruments: dict[str, Instrument]


class BalanceSeen(msgspec.Struct, frozen=True, tag="balance_seen"):
    """
    USDT as the venue states it; ``available`` for new positions is None where the venue does not say it.

    ``transfer`` is what was paid in or taken out by this very change (ACCOUNT_UPDATE of such a reason, venue sheet
    3.5: ``bc``), ``swapped`` when income does not list it among the transfers. ``venue_ms`` is the venue's time of the
    statement, 0 when it has none.
    """

    wallet: E8
    available: E8 | None = None
    transfer: E8 = E8(0)
    venue_ms: Milliseconds = Milliseconds(0)
    swapped: bool = False


class AccountSeen(msgspec.Struct, frozen=True, tag="account_seen"):
    """
    A whole read of the account (account v3): the second source of every judgement.

    ``margin`` is the margin balance (wallet and unrealised PnL), ``maintenance`` the sum that must stay.
    ``transfers`` is what income says was paid in less taken out since the baseline of the day; None: not asked.
    """

    wallet: E8
    available: E8
    margin: E8
    maintenance: E8
    venue_ms: Milliseconds
    transfers: E8 | None = None


class MarginCalled(msgspec.Struct, frozen=True, tag="margin_called"):
    """The venue warns that maintenance margin is near."""

    symbols: tuple[str, ...]


class AccountTicked(msgspec.Struct, frozen=True, tag="account_ticked"):
    """Time passed."""


AccountEvent = (
    EntryAsked
    | CloseAsked
    | ModeAsked
    | ResumeAsked
    | OverrideAsked
    | AdmissionEnded
    | PositionSeen
    | TradeSeen
    | SignalSeen
    | InstrumentsRead
    | BalanceSeen
    | AccountSeen
    | MarginCalled
    | AccountTicked
)

# --------------------------------------------------------------------------------------------------- what goes out


class StateSpoken(msgspec.Struct, frozen=True, tag="state"):
    """The trading mode and the shortlist, for every partition; the shell adds the policy."""

    mode: TradingMode
    reason: str
    shortlisted: list[str] = []


LineBody = EntryAdmitted | CloseRequested | SymbolResumed | PositionOverridden | StateSpoken


class LineWanted(msgspec.Struct, frozen=True, tag="line"):
    """A line for ``inputs``: of one symbol, or ``*`` into every partition. ``number`` counts per symbol scope."""

    symbol: str
    number: int
    body: LineBody


class CommandEnded(msgspec.Struct, frozen=True, tag="command_ended"):
    """The answer to a command."""

    command: str
    symbol: str
    accepted: bool
    reason: str


class AlertWanted(msgspec.Struct, frozen=True, tag="alert"):
    """A word for people; ``symbol`` is empty when it is about the whole account."""

    symbol: str
    code: str
    severity: str
    text: str


class ReadWanted(msgspec.Struct, frozen=True, tag="read"):
    """The executor shall read the account now, with the transfers since *since_ms*: a second reading."""

    reason: str
    since_ms: Milliseconds


class TiersTold(msgspec.Struct, frozen=True, tag="tiers"):
    """Who is held (by name) and who is shortlisted (best first), for who subscribes streams; ``number`` counts."""

    number: int
    held: list[str]
    shortlisted: list[str]


AccountOutput = LineWanted | CommandEnded | AlertWanted | ReadWanted | TiersTold
