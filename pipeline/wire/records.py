"""The only place for the records of every topic but ``inputs``: one struct each, JSON on the wire (msgspec)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from pipeline.core.commands import Decision, Intent, ReportPosition, ReportSignal, ReportTrade, RequestData
from pipeline.core.events import Leg, RequestEnded, Side
from pipeline.core.factors.factor import Factor
from pipeline.core.scores import Scores
from pipeline.core.units import E8, Lots, Milliseconds

# ------------------------------------------------------------------------------------- intents, intents.data


class IntentRecord(msgspec.Struct, frozen=True):
    """
    Topic ``intents``, key = symbol. ``id`` names the output (``core.identity``), ``at_ms`` is the log time of its
    cause: the executor judges lateness by it. ``fold`` is the digest of the code and configuration that decided.
    """

    id: str
    symbol: str
    cause: str
    at_ms: Milliseconds
    fold: str
    intent: Intent


class DataIntentRecord(msgspec.Struct, frozen=True):
    """Topic ``intents.data``, key = symbol: a REST answer wanted in ``inputs``; shed first when the budget is short."""

    id: str
    symbol: str
    at_ms: Milliseconds
    request: RequestData


# ------------------------------------------------------------------------------------------------- attempts


class EpochStarted(msgspec.Struct, frozen=True, tag="epoch"):
    """An executor took over: attempts of an older epoch behind this record are void (architecture 2.4)."""

    epoch: int
    executor: str
    lease_ms: int
    at_ms: Milliseconds


class LeaseRenewed(msgspec.Struct, frozen=True, tag="lease"):
    """
    The executor of *epoch* is alive; of its own daily budget it has used ``day_used`` on ``day`` (days since 1970).

    A successor goes on from that figure: a budget that began anew with each start would be none.
    """

    epoch: int
    executor: str
    at_ms: Milliseconds
    day: int = 0
    day_used: int = 0


class EpochEnded(msgspec.Struct, frozen=True, tag="epoch_ended"):
    """The executor of *epoch* stopped by itself and will send nothing more: a successor need not wait for its lease."""

    epoch: int
    executor: str
    at_ms: Milliseconds


class Attempted(msgspec.Struct, frozen=True, tag="attempt"):
    """
    Write-ahead: this request is about to be sent. ``action`` is place | cancel; ``path`` tells the regular from the
    conditional book (``order`` | ``algoOrder``); ``parameters`` are what is sent less timestamp and signature.
    """

    epoch: int
    intent: str
    position: str
    symbol: str
    leg: Leg
    action: str
    path: str
    client_id: str
    parameters: dict[str, str]
    at_ms: Milliseconds
    record: IntentRecord | None = None  # the whole intent with its first attempt, so that a start needs only this topic


class AttemptEnded(msgspec.Struct, frozen=True, tag="ended"):
    """
    How it ended; the same words go to ``inputs`` as an ``outcome`` line.

    The stamps (ns of the executor's clock, 0 where there is none) say where the time went: the intent taken in, the
    write-ahead acknowledged, the kernel in possession of the whole request. They decide nothing.
    """

    epoch: int
    symbol: str
    outcome: RequestEnded
    at_ms: Milliseconds
    intent_read_ns: int = 0
    journalled_ns: int = 0
    written_ns: int = 0


class IntentSettled(msgspec.Struct, frozen=True, tag="settled"):
    """Nothing more will be sent for this intent; with ``closed`` nothing more for the whole ``position``."""

    epoch: int
    intent: str
    symbol: str
    at_ms: Milliseconds
    position: str = ""
    closed: bool = False


AttemptRecord = EpochStarted | LeaseRenewed | EpochEnded | Attempted | AttemptEnded | IntentSettled

# -------------------------------------------------------------------------------------------------- factors


class FactorRow(msgspec.Struct, frozen=True):
    """One factor as it is published: ``core.factors.factor.Factor`` without what only its cache needs."""

    value: float
    quality: float
    ready: bool
    asof_ms: Milliseconds
    input_version: tuple[int, ...]
    detail: dict[str, float | str | bool]


def factor_rows(factors: Mapping[str, Factor]) -> dict[str, FactorRow]:
    """The rows of factors by letter."""
    return {
        letter: FactorRow(
            value=factor.value,
            quality=factor.quality,
            ready=factor.ready,
            asof_ms=Milliseconds(factor.asof_ms),
            input_version=factor.input_version,
            detail=factor.detail,
        )
        for letter, factor in factors.items()
    }


class FactorsRecord(msgspec.Struct, frozen=True):
    """
    All factors of a symbol as of the line ``cause`` (topic ``factors``, key = symbol), and the scores decisions read.

    Published when a bar has closed or the price (``price``, E8) moved by 0.1 %; between two closes with what the
    forming bar would make of T M V C (``provisional``, domain 3.1), which nothing decides on. ``detail`` of a factor
    that is not ready says why under ``missing``. Nothing decides on this record: the fold reads its own state.
    """

    symbol: str
    cause: str
    at_ms: Milliseconds
    price: E8
    factors: dict[str, FactorRow]
    scores: Scores
    provisional: dict[str, FactorRow] = {}  # T M V C as they would stand if the forming bar closed now


# -------------------------------------------------------------------------------------------------- account


class OpenCommand(msgspec.Struct, frozen=True, tag="open"):
    """A person wants a position. Texts are as typed; account checks them against the instrument."""

    command: str
    symbol: str
    side: Side
    quantity: str = ""
    notional: str = ""
    stop: str = ""
    target: str = ""
    last_target: str = ""
    template: str = ""


class SignalCommand(msgspec.Struct, frozen=True, tag="signal_command"):
    """
    A program outside wants a position (``perpguard signal``, the webhook): the gates of signals hold for it.

    ``notional`` caps the size that follows from the risk; ``until_ms`` is when the signal is void (0: never),
    ``source`` who says so.
    """

    command: str
    symbol: str
    side: Side
    source: str
    notional: str = ""
    stop: str = ""
    target: str = ""
    last_target: str = ""
    until_ms: Milliseconds = Milliseconds(0)


class CloseCommand(msgspec.Struct, frozen=True, tag="close"):
    """Close one position, or all with symbol ``*``."""

    command: str
    symbol: str
    reason: str = "closed by hand"


class ModeCommand(msgspec.Struct, frozen=True, tag="mode"):
    """Set the trading state: ``halted`` closes everything (X3), ``reduce_only`` stops entries, ``active`` resumes."""

    command: str
    mode: str
    reason: str = ""


class ResumeCommand(msgspec.Struct, frozen=True, tag="resume"):
    """Let a symbol go on that was halted on a fault of ours."""

    command: str
    symbol: str


class OverrideCommand(msgspec.Struct, frozen=True, tag="override"):
    """
    A wish for the open position of one symbol; None leaves it as it is (``events.PositionOverridden``).

    ``disabled_exits`` are ids of exit rules; those that protect cannot be switched off.
    """

    command: str
    symbol: str
    pin_stop: bool | None = None
    leave_alone: bool | None = None
    disabled_exits: tuple[str, ...] | None = None


class UserFrame(msgspec.Struct, frozen=True, tag="user"):
    """A raw user-stream frame that concerns the account (ACCOUNT_UPDATE, MARGIN_CALL, ACCOUNT_CONFIG_UPDATE …)."""

    at: int
    src: str
    frame: msgspec.Raw


class AdmissionAnswered(msgspec.Struct, frozen=True, tag="answered"):
    """Decide's word on an admission: used or declined."""

    symbol: str
    cause: str
    admission: str
    used: bool
    position: str
    reason: str


class PositionReported(msgspec.Struct, frozen=True, tag="position"):
    """Decide's word on an open position."""

    symbol: str
    cause: str
    report: ReportPosition


class SignalReported(msgspec.Struct, frozen=True, tag="signal"):
    """Decide's word on what a closed bar says about a symbol."""

    symbol: str
    cause: str
    report: ReportSignal


class TradeReported(msgspec.Struct, frozen=True, tag="trade"):
    """A position is flat: its slot is free."""

    symbol: str
    cause: str
    trade: ReportTrade


class InstrumentsKnown(msgspec.Struct, frozen=True, tag="instruments"):
    """The executor read exchangeInfo: symbol objects untouched, of the configured universe only."""

    at_ms: Milliseconds
    symbols: dict[str, msgspec.Raw]


class BalanceRead(msgspec.Struct, frozen=True, tag="balance"):
    """The executor read balance v3 (body untouched)."""

    at_ms: Milliseconds
    body: msgspec.Raw


class AccountRead(msgspec.Struct, frozen=True, tag="account_read"):
    """
    The executor read account v3 (body untouched), and the transfers of income since *since_ms* when they were asked
    for (body untouched, ``null`` else).
    """

    at_ms: Milliseconds
    body: msgspec.Raw
    since_ms: Milliseconds = Milliseconds(0)
    transfers: msgspec.Raw = msgspec.Raw(b"null")


class AccountTick(msgspec.Struct, frozen=True, tag="tick"):
    """Time passed for account, written by its own worker."""

    at_ms: Milliseconds


class Tiers(msgspec.Struct, frozen=True):
    """
    Topic ``tiers``, key ``tiers``: which symbols get which streams (domain section 7); the newest record stands.

    ``held`` by name, pending entries included; ``shortlisted`` best first. ``number`` counts the records of a log.
    """

    at_ms: Milliseconds
    number: int
    held: list[str]
    shortlisted: list[str]


AccountMessage = (
    OpenCommand
    | SignalCommand
    | CloseCommand
    | ModeCommand
    | ResumeCommand
    | OverrideCommand
    | UserFrame
    | AdmissionAnswered
    | PositionReported
    | TradeReported
    | SignalReported
    | InstrumentsKnown
    | BalanceRead
    | AccountRead
    | AccountTick
)


class CommandAnswered(msgspec.Struct, frozen=True):
    """
    What became of a command, for the person who waits: topic ``alerts`` with code ``command_answered`` and this as JSON
    text. ``accepted`` means admitted by account; the position's own story follows in ``decisions`` and ``trades``.
    """

    command: str
    accepted: bool
    reason: str


# -------------------------------------------------------------------------------- trades, alerts, quarantine


class TradeRecord(msgspec.Struct, frozen=True):
    """Topic ``trades``, key = symbol."""

    id: str
    symbol: str
    cause: str
    trade: ReportTrade


class AlertRecord(msgspec.Struct, frozen=True):
    """Topic ``alerts``, key = symbol or writer. ``at_ms`` is log time when the fold speaks, else the writer's clock."""

    id: str
    symbol: str
    source: str
    code: str
    severity: str
    text: str
    at_ms: Milliseconds


class QuarantineRecord(msgspec.Struct, frozen=True):
    """Topic ``quarantine``: refused bytes (base64 in JSON), where they came from and why they were refused."""

    source: str
    reason: str
    at_ms: Milliseconds
    payload: bytes
    symbol: str = ""
    cause: str = ""


class LogIdentity(msgspec.Struct, frozen=True):
    """Topic ``log-identity``, key ``identity``: seven base-62 characters drawn when the topics were made."""

    identity: str
    created_ms: Milliseconds


# ---------------------------------------------------------------------------------------- manifest and views


class Manifest(msgspec.Struct, frozen=True):
    """
    Last record of a checkpoint round of a partition (architecture section 3, point 3), table ``checkpoints``.

    ``next_offset`` is the first record not yet applied, ``applied`` maps each symbol to the (offset, line) its stored
    state has applied, ``clean`` is true when a worker stopped here with no output beyond it.
    """

    log_identity: str
    fold: str
    partition: int
    next_offset: int
    applied: dict[str, tuple[int, int]]
    clean: bool = False


class Anchor(msgspec.Struct, frozen=True, tag="anchor"):
    """Topic ``anchors``: all states of a partition at a manifest (msgpack bytes and their digests)."""

    manifest: Manifest
    states: dict[str, bytes]
    digests: dict[str, str]
    at_ms: Milliseconds


class SegmentSealed(msgspec.Struct, frozen=True, tag="sealed"):
    """
    Topic ``anchors``, partition = the partition of ``inputs``: what the fold read, record by record.

    ``digests[i]`` is the digest (``record_digest``) of the record at ``first_offset + i``. Decisions prove what was
    decided; seals prove what was read, also where it decided nothing: a changed byte is found and its position named.
    Seals may overlap after a restart; the digests of one offset are always equal.
    """

    log_identity: str
    partition: int
    first_offset: int
    digests: list[str]


class PositionView(msgspec.Struct, frozen=True):
    """Table ``positions``, key = symbol: what people and the dashboard read."""

    symbol: str
    position: str
    state: str
    side: Side
    lots: Lots
    entry_price: E8
    stop: E8
    target: E8
    last_target: E8
    mark: E8
    open_pnl: E8
    protected: bool
    opened_ms: Milliseconds
    log_ms: Milliseconds


AnchorRecord = Anchor | SegmentSealed


def record_digest(*, offset: int, append_ms: int, value: bytes) -> str:
    """Digest of one record of ``inputs`` (place, append time and bytes), 16 hex digits; see ``SegmentSealed``."""
    return blake2b(b"%d/%d/%b" % (offset, append_ms, value), digest_size=8).hexdigest()


def encode(record: msgspec.Struct) -> bytes:
    """Write a record of any topic here."""
    return msgspec.json.encode(record)


decode_intent = msgspec.json.Decoder(IntentRecord).decode
decode_data_intent = msgspec.json.Decoder(DataIntentRecord).decode
decode_attempt = msgspec.json.Decoder(AttemptRecord).decode
decode_account = msgspec.json.Decoder(AccountMessage).decode
decode_factors = msgspec.json.Decoder(FactorsRecord).decode
decode_tiers = msgspec.json.Decoder(Tiers).decode
decode_decision = msgspec.json.Decoder(Decision).decode
decode_trade = msgspec.json.Decoder(TradeRecord).decode
decode_alert = msgspec.json.Decoder(AlertRecord).decode
decode_quarantine = msgspec.json.Decoder(QuarantineRecord).decode
decode_log_identity = msgspec.json.Decoder(LogIdentity).decode
decode_anchor = msgspec.json.Decoder(AnchorRecord).decode
