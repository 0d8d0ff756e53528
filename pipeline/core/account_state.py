"""
The only place for what the account knows and what it is allowed: rules, slots, risk, and the bytes of the state.

The same history gives the same bytes: dicts keep insertion order, money is integer (E8 USDT), times are log time (ms).
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Final

import msgspec

from pipeline.core.account_words import Place
from pipeline.core.commands import ReportPosition, ReportSignal
from pipeline.core.events import EntryAdmitted, Side, TradingMode
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Milliseconds

AMOUNT_MAX: Final = 1 << 61  # sums of money stop here: beyond 64 bits the state could not be stored


def bounded(value: int) -> E8:
    """Money that can be stored whatever was added up: an amount beyond every account stays at the bound."""
    return E8(max(-AMOUNT_MAX, min(AMOUNT_MAX, value)))


class RiskRules(msgspec.Struct, frozen=True):
    """
    Bounds of the whole account (domain 5 and 6.3); permille of what the name says, 0 switches a bound off.

    ``day_loss`` of the day's baseline, ``margin_ratio`` maintenance of margin balance, ``drawdown_*`` of the highest
    margin balance since the last resume, ``heat``, ``risk``, ``exposure`` and ``correlated_exposure`` of equity.
    ``worst_stop_bps`` is how far a far rail can lie from the entry, for an entry whose stop is not known yet.
    """

    day_loss_permille: int = 30
    margin_ratio_permille: int = 800
    drawdown_reduced_permille: int = 50
    drawdown_close_only_permille: int = 100
    drawdown_halted_permille: int = 150
    reduced_size_permille: int = 500
    heat_permille: int = 30
    heat_slippage_bps: int = 10
    risk_permille: int = 10
    exposure_permille: int = 3_000
    correlated_exposure_permille: int = 2_000
    correlated_below: int = 40
    cool_down_bars: int = 3
    cool_down_stop_bars: int = 12
    shortlist: int = 20
    worst_stop_bps: int = 750


class AccountRules(msgspec.Struct, frozen=True):
    """What the configuration allows: the tradable universe, the slots, the bounds of one entry. Money in E8 USDT."""

    symbols: tuple[str, ...]
    slots: int
    max_notional_e8: E8
    entries_per_minute: int
    risk: RiskRules = RiskRules()
    signals: bool = False
    most_leverage: int = 0  # 0: the venue's leverage is left as it is


class AccountStamp(msgspec.Struct, frozen=True):
    """Where and when a record of the ``account`` topic stands; log time is the running maximum of ``append_ms``."""

    log_identity: str
    offset: int
    append_ms: Milliseconds


class Stage(StrEnum):
    """Life of a slot: admitted, waiting for decide; then a position."""

    PENDING = "pending"
    OPEN = "open"


class Slot(msgspec.Struct):
    """
    One taken slot. ``entry`` is the admission as written (None: a position that nobody admitted).

    ``reserved`` is the loss at the far rail that a pending entry may bring, ``notional`` what it may cost;
    ``independence`` is factor I of the symbol when it was admitted (−1: not known, which counts as correlated).
    """

    symbol: str
    stage: Stage
    entry: EntryAdmitted | None
    position: str = ""
    report: ReportPosition | None = None
    asked_ms: Milliseconds = Milliseconds(0)
    reported_ms: Milliseconds = Milliseconds(0)
    reserved: E8 = E8(0)
    notional: E8 = E8(0)
    independence: int = -1

    @property
    def side(self) -> Side | None:
        """The side, None while nobody has said it."""
        if self.report is not None and self.report.lots:
            return Side.BUY if self.report.lots > 0 else Side.SELL
        return self.entry.side if self.entry is not None else None


class Tier(StrEnum):
    """What the drawdown leaves of trading: everything, half sizes, closing alone, nothing."""

    NORMAL = "normal"
    REDUCED = "reduced"
    CLOSE_ONLY = "close_only"
    HALTED = "halted"


class Suspicion(msgspec.Struct):
    """A bound that is broken by one source: since when (log ms, −1: this source does not say so)."""

    marks_ms: int = -1
    account_ms: int = -1


class RiskState(msgspec.Struct):
    """
    What the judgement of the whole account rests on.

    ``day`` counts UTC days since 1970 (−1: no baseline yet), ``since_ms`` is when its baseline was taken, ``transfers``
    what was paid in less taken out since. ``peak`` is the highest margin balance the venue stated, moved by transfers.
    ``margin`` and ``maintenance`` are the last whole read's, at log time ``read_ms`` (−1: none). ``wallet_ms`` is the
    venue's time of the wallet, ``wallet_said`` the (wallet, change) said with it: a second socket brings them again.
    ``paid_ms`` is when the stream last told a transfer. ``unexplained``: a read found another wallet than the stream
    had told: perhaps money was paid in or taken out. ``stopped_by`` is the bound that stopped trading, until a resume.
    """

    day: int = -1
    since_ms: Milliseconds = Milliseconds(0)
    baseline: E8 = E8(0)
    transfers: E8 = E8(0)
    peak: E8 = E8(0)
    margin: E8 = E8(0)
    maintenance: E8 = E8(0)
    read_ms: int = -1
    wallet_ms: int = -1
    wallet_said: list[tuple[int, int]] = []
    swapped: E8 = E8(0)  # part of ``transfers`` that income does not list as transfer
    paid_ms: int = -1
    unexplained: bool = False
    tier: Tier = Tier.NORMAL
    stopped_by: str = ""
    suspicions: dict[str, Suspicion] = {}
    asked_ms: int = -1
    cool_until_ms: dict[str, int] = {}


class Ranked(msgspec.Struct):
    """What the last closed bar said about one symbol."""

    report: ReportSignal
    heard_ms: Milliseconds


class Ranking(msgspec.Struct):
    """The newest word per symbol, and the shortlist that follows from them (rank order)."""

    symbols: dict[str, Ranked] = {}
    shortlisted: list[str] = []
    due: bool = False  # words have come since the last ranking
    bar_ms: int = 0  # the newest bar of which a symbol has spoken
    waiting: int = 0  # how many symbols have spoken of an older bar only
    held: list[str] = []  # as told last, like the shortlist
    told: list[str] = []
    told_ms: int = -1
    number: int = 0


class AccountState(msgspec.Struct):
    """
    Everything the account knows; ``encode`` is its durable image and ``digest`` its name.

    ``applied`` is the offset of the last folded record (−1: none). ``numbers`` are the running numbers of the lines
    written per scope. ``commands`` maps answered command ids to their answers, oldest first, bounded. ``heard`` is the
    place of decide's last word per symbol, ``traded`` of its last trade. ``chain`` is hashed over (previous chain,
    offset, outputs).
    """

    applied: int = -1
    log_ms: Milliseconds = Milliseconds(0)
    mode: TradingMode = TradingMode.ACTIVE
    mode_reason: str = "start"
    instruments: dict[str, Instrument] = {}
    slots: dict[str, Slot] = {}
    numbers: dict[str, int] = {}
    commands: dict[str, str] = {}
    heard: dict[str, Place] = {}
    traded: dict[str, Place] = {}
    entry_times: list[Milliseconds] = []
    state_spoken_ms: Milliseconds = Milliseconds(0)
    wallet: E8 = E8(0)
    available: E8 = E8(0)
    trades: int = 0
    realised: E8 = E8(0)
    fees: E8 = E8(0)
    risk: RiskState = msgspec.field(default_factory=RiskState)
    ranking: Ranking = msgspec.field(default_factory=Ranking)
    halted: str = ""
    chain: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AccountState)


def encode(state: AccountState) -> bytes:
    """Write the state; the same history gives the same bytes."""
    return _encoder.encode(state)


def decode(image: bytes) -> AccountState:
    """Read a state; raises msgspec.DecodeError when the bytes are none of this version."""
    return _decoder.decode(image)


def digest(state: AccountState) -> str:
    """blake2b-16 of the encoded state, hex."""
    return blake2b(_encoder.encode(state), digest_size=16).hexdigest()
