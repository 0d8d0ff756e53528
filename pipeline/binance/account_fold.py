"""
The only place where the bytes of the ``account`` topic meet the account's fold, and where its words become records.

Beside ``fold.PartitionFold``: same shape, one partition. Bytes that cannot be read are quarantined with the reason, and
answered when they carry a command id; a fault in the fold closes entries and is recorded, it never stops the account.
Lines carry the log time of their cause as ``at``, so folding again gives byte-equal lines.
"""

from __future__ import annotations

from typing import Final, assert_never

import msgspec

from pipeline.binance.decode import instrument_of
from pipeline.core import account_words as words
from pipeline.core.account import account_step
from pipeline.core.account_state import AccountRules, AccountStamp, AccountState, bounded, decode, digest, encode
from pipeline.core.account_words import (
    AccountEvent,
    AccountOutput,
    AlertWanted,
    CommandEnded,
    LineWanted,
    ReadWanted,
    StateSpoken,
    TiersTold,
)
from pipeline.core.commands import ReportPosition, ReportSignal, ReportTrade, RequestData
from pipeline.core.events import CloseRequested, EntryAdmitted, PositionOverridden, SymbolResumed
from pipeline.core.identity import base62
from pipeline.core.instruments import Instrument
from pipeline.core.policies import Policy
from pipeline.core.units import E8, Milliseconds, NotADecimal, parse_e8
from pipeline.settings import Settings
from pipeline.wire import lines, records
from pipeline.wire.outputs import Outgoing, quarantine_record
from pipeline.wire.topics import ALERTS, DATA_INTENTS, INPUT_PARTITIONS, INPUTS, TIERS, partition_of

SOURCE: Final = "account/main"
COMMAND_ANSWERED: Final = "command_answered"
NANOSECONDS_PER_MS: Final = 1_000_000
MAX_MS: Final = 1 << 45
MONEY_MAX: Final = 1 << 58  # 2.8 billion USDT: more is no amount of an account, and sums must stay below 64 bits
PLACE_MAX: Final = 1 << 53
READ_VALID_MS: Final = 5_000  # then the account asks again
SWAPPED: Final = frozenset({"COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW"})  # income gives them types of their own
# Reasons of ACCOUNT_UPDATE that pay in or take out (venue sheet 3.5); all others are trading.
TRANSFERS: Final = frozenset(
    {
        "DEPOSIT", "WITHDRAW", "WITHDRAW_REJECT", "ADMIN_DEPOSIT", "ADMIN_WITHDRAW", "ASSET_TRANSFER",
        "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW",
    }
)  # fmt: skip


class AccountApplied(msgspec.Struct, frozen=True):
    """
    What one record of the ``account`` topic led to.

    ``lines`` are (partition of ``inputs``, encoded line) in writing order; one ``*`` line stands once per partition.
    """

    lines: list[tuple[int, bytes]]
    alerts: list[records.AlertRecord]
    quarantined: list[records.QuarantineRecord]
    reads: list[records.DataIntentRecord] = []
    tiers: list[records.Tiers] = []

    def outgoing(self) -> list[Outgoing]:
        """The records to produce, in order: lines (joined per partition), reads, tiers, quarantine, alerts, answers."""
        by_partition: dict[int, list[bytes]] = {}
        for partition, line in self.lines:
            by_partition.setdefault(partition, []).append(line)
        written = [
            Outgoing(topic=INPUTS, partition=partition, key=b"", value=lines.join(batch))
            for partition, batch in by_partition.items()
        ]
        written += [
            Outgoing(topic=DATA_INTENTS, partition=None, key=read.symbol.encode(), value=records.encode(read))
            for read in self.reads
        ]
        written += [
            Outgoing(topic=TIERS, partition=None, key=b"tiers", value=records.encode(tiers)) for tiers in self.tiers
        ]
        written += [quarantine_record(record) for record in self.quarantined]
        written += [
            Outgoing(topic=ALERTS, partition=None, key=alert.symbol.encode(), value=records.encode(alert))
            for alert in self.alerts
        ]
        return written


def rules_of(settings: Settings) -> AccountRules:
    """What the configuration allows the account to admit."""
    return AccountRules(
        symbols=settings.limits.symbols,
        slots=min(settings.performance.max_positions, settings.limits.max_positions),
        max_notional_e8=settings.limits.max_notional_e8,
        entries_per_minute=settings.limits.entries_per_minute,
        risk=msgspec.structs.replace(
            settings.risk, worst_stop_bps=settings.policy.stop_max_bps * settings.policy.far_rail_permille // 1_000
        ),
        signals=settings.policy.signals,
        most_leverage=settings.limits.max_leverage,
    )


class _Unreadable(Exception):
    """The record cannot be folded; the text is the reason."""


class _CommandId(msgspec.Struct):
    """What is read of a record that is no message: perhaps a person waits for an answer."""

    command: str = ""
    symbol: str = ""


class _Balance(msgspec.Struct):
    """One row of balance v3 (venue sheet section 4)."""

    asset: str
    balance: str
    availableBalance: str


class _StreamBalance(msgspec.Struct):
    """One row of ``a.B`` of ACCOUNT_UPDATE (venue sheet 3.4)."""

    a: str
    wb: str
    bc: str = "0"


class _MarginPosition(msgspec.Struct):
    """One row of ``p`` of MARGIN_CALL."""

    s: str


class _AccountData(msgspec.Struct):
    """``a`` of ACCOUNT_UPDATE."""

    B: list[_StreamBalance] = []
    m: str = ""


class _Asset(msgspec.Struct):
    """One row of ``assets`` of account v3 (venue sheet section 4)."""

    asset: str
    walletBalance: str
    marginBalance: str
    maintMargin: str
    availableBalance: str
    updateTime: int = 0


class _Account(msgspec.Struct):
    """Account v3; the totals are USD over all assets in multi-assets mode, so USDT's own row is what is read."""

    assets: list[_Asset]


class _Income(msgspec.Struct):
    """One row of income."""

    incomeType: str
    income: str
    asset: str
    time: int


class _EventName(msgspec.Struct):
    e: str


class _AccountUpdate(msgspec.Struct):
    a: _AccountData
    T: int = 0


class _MarginCall(msgspec.Struct):
    p: list[_MarginPosition] = []


class AccountFold:
    """
    Folds the one partition of ``account``; ``state`` and the offset it has applied are one thing.

    *policy* goes out with every state line, so that the rules' parameters reach each symbol through the log. Offsets at
    or below ``state.applied`` are skipped.
    """

    def __init__(
        self, *, log_identity: str, fold: str, rules: AccountRules, policy: Policy, state: AccountState | None = None
    ) -> None:
        self.log_identity = log_identity
        self.fold = fold
        self.rules = rules
        self.policy = policy
        self.state = state if state is not None else AccountState()

    def image(self) -> bytes:
        """The state as it is stored."""
        return encode(self.state)

    def restore(self, image: bytes) -> None:
        """Take over a stored state; raises msgspec.DecodeError when the bytes are none of this version."""
        self.state = decode(image)

    def digest(self) -> str:
        """The name of the state."""
        return digest(self.state)

    def apply_record(self, *, offset: int, append_ms: Milliseconds | int, value: bytes) -> AccountApplied:
        """Fold one record; never raises for what stands in it."""
        applied = AccountApplied([], [], [], [], [])
        if offset <= self.state.applied:
            return applied
        stamp = AccountStamp(self.log_identity, offset, Milliseconds(append_ms))
        try:
            event = _event_of(value)
        except _Unreadable as refusal:
            self._refuse(stamp, value, str(refusal), applied)
            event = words.AccountTicked()  # the record's time still passes
        self._write(stamp, account_step(self.state, event, stamp, self.rules), applied)
        return applied

    # ------------------------------------------------------------------------------------------------- what goes out

    def _write(self, stamp: AccountStamp, outputs: list[AccountOutput], applied: AccountApplied) -> None:
        for output in outputs:
            match output:
                case LineWanted():
                    self._write_line(output, applied)
                case CommandEnded():
                    self._alert(stamp, _answer(output), applied)
                case AlertWanted():
                    self._alert(stamp, output, applied)
                case ReadWanted():
                    self._ask(stamp, output, applied)
                case TiersTold():
                    applied.tiers.append(
                        records.Tiers(self.state.log_ms, output.number, output.held, output.shortlisted)
                    )
                case _:
                    assert_never(output)

    def _write_line(self, wanted: LineWanted, applied: AccountApplied) -> None:
        line = lines.Line(
            at=self.state.log_ms * NANOSECONDS_PER_MS,
            src=SOURCE,
            inc=self.log_identity,
            n=wanted.number,
            sym=wanted.symbol,
        )
        match wanted.body:
            case EntryAdmitted():
                line = msgspec.structs.replace(line, admission=wanted.body)
            case CloseRequested():
                line = msgspec.structs.replace(line, close=wanted.body)
            case SymbolResumed():
                line = msgspec.structs.replace(line, resume=wanted.body)
            case PositionOverridden():
                line = msgspec.structs.replace(line, override=wanted.body)
            case StateSpoken(mode=mode, reason=reason, shortlisted=shortlisted):
                spoken = lines.TradingStateLine(
                    mode=mode.value, reason=reason, policy=self.policy, shortlisted=tuple(shortlisted)
                )
                line = msgspec.structs.replace(line, state=spoken)
            case _:
                assert_never(wanted.body)
        encoded = lines.encode(line)
        every = wanted.symbol == lines.EVERY_SYMBOL
        partitions = range(INPUT_PARTITIONS) if every else (partition_of(wanted.symbol),)
        applied.lines.extend((partition, encoded) for partition in partitions)

    def _ask(self, stamp: AccountStamp, wanted: ReadWanted, applied: AccountApplied) -> None:
        request = RequestData(
            kind="account",
            held=True,
            expires_ms=Milliseconds(self.state.log_ms + READ_VALID_MS),
            since_ms=wanted.since_ms,
        )
        applied.reads.append(
            records.DataIntentRecord(
                id=f"{self.log_identity}.a{base62(stamp.offset)}.read",
                symbol=lines.EVERY_SYMBOL,
                at_ms=self.state.log_ms,
                request=request,
            )
        )

    def _alert(self, stamp: AccountStamp, wanted: AlertWanted, applied: AccountApplied) -> None:
        ordinal = len(applied.alerts)
        applied.alerts.append(
            records.AlertRecord(
                id=f"{self.log_identity}.a{base62(stamp.offset)}.{base62(ordinal)}",
                symbol=wanted.symbol,
                source="account",
                code=wanted.code,
                severity=wanted.severity,
                text=wanted.text,
                at_ms=self.state.log_ms,
            )
        )

    # ----------------------------------------------------------------------------------------------- what went wrong

    def _refuse(self, stamp: AccountStamp, value: bytes, reason: str, applied: AccountApplied) -> None:
        """Quarantine the bytes, and answer when somebody waits for them."""
        applied.quarantined.append(
            records.QuarantineRecord(
                source="account",
                reason=reason,
                at_ms=stamp.append_ms,
                payload=value,
                cause=f"account/{stamp.offset}",
            )
        )
        try:
            asked = msgspec.json.decode(value, type=_CommandId)
        except msgspec.DecodeError:
            return
        if asked.command:
            refusal = CommandEnded(asked.command, asked.symbol, False, f"the command cannot be read: {reason}")
            self._alert(stamp, _answer(refusal), applied)


def _answer(ended: CommandEnded) -> AlertWanted:
    """The answer to a command as an alert: the person who waits reads ``alerts``."""
    answer = records.CommandAnswered(ended.command, ended.accepted, ended.reason)
    return AlertWanted(ended.symbol, COMMAND_ANSWERED, "info", msgspec.json.encode(answer).decode())


# ------------------------------------------------------------------------------------------------------- what comes in


def _event_of(value: bytes) -> AccountEvent:
    """Read a record into an event of the core; raises _Unreadable with the reason."""
    try:
        message = records.decode_account(value)
    except msgspec.DecodeError as error:
        raise _Unreadable(str(error)) from error
    match message:
        case records.OpenCommand():
            return words.EntryAsked(
                command=message.command,
                symbol=message.symbol,
                side=message.side,
                quantity=message.quantity,
                notional=message.notional,
                stop=message.stop,
                target=message.target,
                last_target=message.last_target,
                template=message.template,
            )
        case records.SignalCommand():
            return words.EntryAsked(
                command=message.command,
                symbol=message.symbol,
                side=message.side,
                notional=message.notional,
                stop=message.stop,
                target=message.target,
                last_target=message.last_target,
                signal=message.source or "webhook",  # nobody's name is no person's
                until_ms=message.until_ms,
            )
        case records.CloseCommand():
            return words.CloseAsked(message.command, message.symbol, message.reason)
        case records.ModeCommand():
            return words.ModeAsked(message.command, message.mode, message.reason)
        case records.ResumeCommand():
            return words.ResumeAsked(message.command, message.symbol)
        case records.OverrideCommand():
            return words.OverrideAsked(
                message.command, message.symbol, message.pin_stop, message.leave_alone, message.disabled_exits
            )
        case records.AdmissionAnswered():
            return words.AdmissionEnded(
                message.symbol,
                _place(message.cause),
                message.admission,
                message.used,
                message.position,
                message.reason,
            )
        case records.PositionReported():
            _storable(message.report)
            return words.PositionSeen(message.symbol, _place(message.cause), message.report)
        case records.SignalReported():
            _storable(message.report)
            return words.SignalSeen(message.symbol, _place(message.cause), message.report)
        case records.TradeReported():
            _storable(message.trade)
            return words.TradeSeen(message.symbol, _place(message.cause), message.trade)
        case records.InstrumentsKnown():
            return words.InstrumentsRead({name: _instrument(name, raw) for name, raw in message.symbols.items()})
        case records.BalanceRead():
            return _balance(message.body)
        case records.AccountRead():
            return _account(message)
        case records.UserFrame():
            return _user_event(message.frame)
        case records.AccountTick():
            return words.AccountTicked()
        case _:
            assert_never(message)


def _place(cause: str) -> words.Place:
    parts = cause.split("/")
    if len(parts) != 3 or not all(part.isdecimal() and part.isascii() for part in parts):
        raise _Unreadable(f"cause {cause[:80]!r} is no partition/offset/line")
    offset, line = int(parts[1]), int(parts[2])
    if max(offset, line) > PLACE_MAX:
        raise _Unreadable(f"cause {cause[:80]!r} names no place that can be")
    return offset, line


def _storable(word: ReportPosition | ReportTrade | ReportSignal) -> None:
    """Refuse numbers of a word that no account can have: the state could not be stored with them."""
    for name in word.__struct_fields__:
        value = getattr(word, name)
        if isinstance(value, int) and not -MONEY_MAX <= value <= MONEY_MAX:
            raise _Unreadable(f"{name} {value} cannot be")


def _instrument(symbol: str, raw: msgspec.Raw) -> Instrument:
    try:
        return instrument_of(raw)
    except (msgspec.DecodeError, ValueError, KeyError) as error:
        raise _Unreadable(f"exchangeInfo of {symbol}: {error}") from error


def _money(text: str) -> E8:
    try:
        value = parse_e8(text)
    except NotADecimal as error:
        raise _Unreadable(str(error)) from error
    if not -MONEY_MAX <= value <= MONEY_MAX:
        raise _Unreadable(f"{text} USDT cannot be")
    return value


def _balance(body: msgspec.Raw) -> AccountEvent:
    try:
        rows = msgspec.json.decode(body, type=list[_Balance])
    except msgspec.DecodeError as error:
        raise _Unreadable(f"balance: {error}") from error
    for row in rows:
        if row.asset == "USDT":
            return words.BalanceSeen(_money(row.balance), _money(row.availableBalance))
    raise _Unreadable("balance: no row of USDT")


def _time(venue_ms: int) -> Milliseconds:
    if not 0 <= venue_ms < MAX_MS:
        raise _Unreadable(f"time {venue_ms} cannot be")
    return Milliseconds(venue_ms)


def _account(read: records.AccountRead) -> AccountEvent:
    """Account v3, and what income says of transfers; raises _Unreadable."""
    try:
        rows = msgspec.json.decode(read.body, type=_Account).assets
        moved = msgspec.json.decode(read.transfers, type=list[_Income] | None)
    except msgspec.DecodeError as error:
        raise _Unreadable(f"account: {error}") from error
    transfers: int | None = None
    if moved is not None:
        wanted = [row for row in moved if row.asset == "USDT" and row.incomeType == "TRANSFER"]
        transfers = bounded(sum(_money(row.income) for row in wanted if row.time >= read.since_ms))
    for row in rows:
        if row.asset == "USDT":
            return words.AccountSeen(
                wallet=_money(row.walletBalance),
                available=_money(row.availableBalance),
                margin=_money(row.marginBalance),
                maintenance=_money(row.maintMargin),
                venue_ms=_time(row.updateTime),
                transfers=None if transfers is None else E8(transfers),
            )
    raise _Unreadable("account: no row of USDT")


def _user_event(frame: msgspec.Raw) -> AccountEvent:
    """ACCOUNT_UPDATE and MARGIN_CALL concern the account; every other user event only says that time passed."""
    try:
        name = msgspec.json.decode(frame, type=_EventName).e
        if name == "ACCOUNT_UPDATE":
            update = msgspec.json.decode(frame, type=_AccountUpdate)
            for row in update.a.B:
                if row.a == "USDT":
                    transfer = _money(row.bc) if update.a.m in TRANSFERS else E8(0)
                    return words.BalanceSeen(
                        _money(row.wb), transfer=transfer, venue_ms=_time(update.T), swapped=update.a.m in SWAPPED
                    )
        if name == "MARGIN_CALL":
            return words.MarginCalled(tuple(row.s for row in msgspec.json.decode(frame, type=_MarginCall).p))
    except msgspec.DecodeError as error:
        raise _Unreadable(f"user frame: {error}") from error
    return words.AccountTicked()
