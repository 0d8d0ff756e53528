"""
The only place for what the account decides: who may enter, who must close, in which mode we trade (architecture 2.5).

A pure fold like ``engine.step``: ``account_step(state, event, stamp, rules)`` mutates only *state*. Its rules:

* A slot is taken when an entry is admitted and is freed only by decide's ``declined`` or by flat, never by a timer. An
  admission that nobody answered is asked again under its own id; an expired one can only be declined.
* One position a symbol, at most ``rules.slots`` in all, pending entries counted.
* HALTED is left only by an explicit resume. Closing is allowed in every mode (P4).
* A refusal says what was found and what would be allowed; a command id is answered once.
* Decide folds again after a crash and says again what it said: words from before the last one of a symbol are dropped.
* Every line for ``inputs`` carries a running number per scope (symbol or ``*``) that is part of the state: folding
  again gives the same numbers, and the reader drops what it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import Final, assert_never

import msgspec

from pipeline.core.commands import ReportPosition, ReportTrade
from pipeline.core.entry_terms import Refused, levels, size
from pipeline.core.events import CloseRequested, EntryAdmitted, Side, TradingMode
from pipeline.core.identity import base62, symbol_tag
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Milliseconds

ADMISSION_LIFE_MS: Final = 2_000  # domain section 5: an entry that comes later is another entry
STATE_INTERVAL_MS: Final = 5_000  # state lines repeat, so that symbols that appear later catch up
ASK_AGAIN_MS: Final = 5_000  # after an admission's expiry, and between two questions
MINUTE_MS: Final = 60_000
COMMANDS_REMEMBERED: Final = 4_096
EVERY_SYMBOL: Final = "*"


class AccountRules(msgspec.Struct, frozen=True):
    """What the configuration allows: the tradable universe, the slots, the bounds of one entry. Money in E8 USDT."""

    symbols: tuple[str, ...]
    slots: int
    max_notional_e8: E8
    entries_per_minute: int


class AccountStamp(msgspec.Struct, frozen=True):
    """Where and when a record of the ``account`` topic stands; log time is the running maximum of ``append_ms``."""

    log_identity: str
    offset: int
    append_ms: Milliseconds


# ---------------------------------------------------------------------------------------------------- what comes in


class EntryAsked(msgspec.Struct, frozen=True, tag="entry_asked"):
    """A person or a signal wants a position; numbers are texts as typed, empty when not given."""

    command: str
    symbol: str
    side: Side
    quantity: str = ""
    notional: str = ""
    stop: str = ""
    target: str = ""
    last_target: str = ""


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


class InstrumentsRead(msgspec.Struct, frozen=True, tag="instruments_read"):
    """The executor read exchangeInfo."""

    instruments: dict[str, Instrument]


class BalanceSeen(msgspec.Struct, frozen=True, tag="balance_seen"):
    """USDT as the venue states it, in E8; ``available`` for new positions is None where the venue does not say it."""

    wallet: E8
    available: E8 | None = None


class MarginCalled(msgspec.Struct, frozen=True, tag="margin_called"):
    """The venue warns that maintenance margin is near."""

    symbols: tuple[str, ...]


class AccountTicked(msgspec.Struct, frozen=True, tag="account_ticked"):
    """Time passed."""


AccountEvent = (
    EntryAsked
    | CloseAsked
    | ModeAsked
    | AdmissionEnded
    | PositionSeen
    | TradeSeen
    | InstrumentsRead
    | BalanceSeen
    | MarginCalled
    | AccountTicked
)

# --------------------------------------------------------------------------------------------------- what goes out


class StateSpoken(msgspec.Struct, frozen=True, tag="state"):
    """The trading mode, for every partition; the shell adds the policy."""

    mode: TradingMode
    reason: str


class LineWanted(msgspec.Struct, frozen=True, tag="line"):
    """A line for ``inputs``: of one symbol, or ``*`` into every partition. ``number`` counts per symbol scope."""

    symbol: str
    number: int
    body: EntryAdmitted | CloseRequested | StateSpoken


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


AccountOutput = LineWanted | CommandEnded | AlertWanted

# ------------------------------------------------------------------------------------------------------- the state


class Stage(StrEnum):
    """Life of a slot: admitted, waiting for decide; then a position."""

    PENDING = "pending"
    OPEN = "open"


class Slot(msgspec.Struct):
    """One taken slot. ``entry`` is the admission as written (None: a position that nobody admitted)."""

    symbol: str
    stage: Stage
    entry: EntryAdmitted | None
    position: str = ""
    report: ReportPosition | None = None
    asked_ms: Milliseconds = Milliseconds(0)


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


# -------------------------------------------------------------------------------------------------------- the fold


def account_step(
    state: AccountState, event: AccountEvent, stamp: AccountStamp, rules: AccountRules
) -> list[AccountOutput]:
    """Fold one record of the ``account`` topic; returns what it leads to, in the order in which it is to be written."""
    assert stamp.offset > state.applied, (stamp.offset, state.applied)
    state.applied = stamp.offset
    state.log_ms = Milliseconds(max(state.log_ms, stamp.append_ms))
    outputs: list[AccountOutput] = []
    _dispatch(state, event, stamp, rules, outputs)
    _ask_again(state, outputs)
    if state.log_ms - state.state_spoken_ms >= STATE_INTERVAL_MS:
        _speak_state(state, outputs)
    _extend_chain(state, outputs)
    return outputs


def _dispatch(
    state: AccountState, event: AccountEvent, stamp: AccountStamp, rules: AccountRules, outputs: list[AccountOutput]
) -> None:
    match event:
        case EntryAsked():
            _answer_once(
                state, event.command, event.symbol, outputs, lambda: _enter(state, event, stamp, rules, outputs)
            )
        case CloseAsked():
            _answer_once(state, event.command, event.symbol, outputs, lambda: _close(state, event, rules, outputs))
        case ModeAsked():
            _answer_once(state, event.command, "", outputs, lambda: _set_mode(state, event, outputs))
        case AdmissionEnded() | PositionSeen() | TradeSeen():
            if event.place >= state.heard.get(event.symbol, event.place):
                state.heard[event.symbol] = event.place
                _hear(state, event, rules, outputs)
        case InstrumentsRead():
            state.instruments.update(event.instruments)
        case BalanceSeen():
            state.wallet = event.wallet
            state.available = state.available if event.available is None else event.available
        case MarginCalled():
            text = f"the venue warns: margin of {', '.join(event.symbols) or 'the account'} is near maintenance"
            outputs.append(AlertWanted("", "margin_call", "critical", text))
        case AccountTicked():
            pass
        case _:
            assert_never(event)


def _extend_chain(state: AccountState, outputs: list[AccountOutput]) -> None:
    if outputs:
        link = _encoder.encode((state.chain, state.applied, outputs))
        state.chain = blake2b(link, digest_size=16).hexdigest()


def _number(state: AccountState, scope: str) -> int:
    number = state.numbers.get(scope, 0) + 1
    state.numbers[scope] = number
    return number


def _write(
    state: AccountState, symbol: str, body: EntryAdmitted | CloseRequested | StateSpoken, outputs: list[AccountOutput]
) -> None:
    outputs.append(LineWanted(symbol, _number(state, symbol), body))


def _speak_state(state: AccountState, outputs: list[AccountOutput]) -> None:
    state.state_spoken_ms = state.log_ms
    _write(state, EVERY_SYMBOL, StateSpoken(state.mode, state.mode_reason), outputs)


# ----------------------------------------------------------------------------------------------------- commands


def _answer_once(
    state: AccountState, command: str, symbol: str, outputs: list[AccountOutput], act: Callable[[], str]
) -> None:
    """Do *act* for a command id never seen, and answer it; *act* returns the accepting words or raises Refused."""
    accepted, place = False, len(outputs)
    try:
        if not command or len(command) > 64:
            raise Refused("the command has no usable id: 1 to 64 characters are allowed")
        if command in state.commands:
            raise Refused(f"duplicate command id {command}, answered before: {state.commands[command]}")
        reason = act()
        accepted = True
    except Refused as refusal:
        reason = str(refusal)
    if command not in state.commands:
        state.commands[command] = f"{'accepted' if accepted else 'refused'}: {reason}"
        while len(state.commands) > COMMANDS_REMEMBERED:
            del state.commands[next(iter(state.commands))]
    outputs.insert(place, CommandEnded(command, symbol, accepted, reason))


def _enter(
    state: AccountState, asked: EntryAsked, stamp: AccountStamp, rules: AccountRules, outputs: list[AccountOutput]
) -> str:
    instrument = _tradable(state, asked.symbol, rules)
    _free_slot(state, asked.symbol, rules)
    lots, notional = size(
        quantity=asked.quantity, notional=asked.notional, instrument=instrument, largest=rules.max_notional_e8
    )
    stop, target, last_target = levels(
        side=asked.side, stop=asked.stop, target=asked.target, last_target=asked.last_target, instrument=instrument
    )
    entry = EntryAdmitted(
        admission=f"{stamp.log_identity}.a{base62(stamp.offset)}.{symbol_tag(asked.symbol)}",
        side=asked.side,
        lots=lots,
        notional=notional,
        stop=stop,
        target=target,
        last_target=last_target,
        expires_ms=Milliseconds(state.log_ms + ADMISSION_LIFE_MS),
    )
    state.slots[asked.symbol] = Slot(asked.symbol, Stage.PENDING, entry, asked_ms=entry.expires_ms)
    state.entry_times.append(state.log_ms)
    _write(state, asked.symbol, entry, outputs)
    return f"admitted as {entry.admission}: slot {len(state.slots)} of {rules.slots}"


def _tradable(state: AccountState, symbol: str, rules: AccountRules) -> Instrument:
    if state.halted:
        raise Refused(f"the account halted on a fault ({state.halted}): entries are closed until a person has looked")
    if symbol not in rules.symbols:
        raise Refused(f"unknown symbol {symbol!r}: allowed are {', '.join(rules.symbols)}")
    if state.mode is not TradingMode.ACTIVE:
        why = f" ({state.mode_reason})" if state.mode_reason else ""
        raise Refused(f"trading is {state.mode.value}{why}: `perpguard halt --resume` makes it active")
    instrument = state.instruments.get(symbol)
    if instrument is None:
        raise Refused(
            f"the filters of {symbol} are not known yet: the executor has to read exchangeInfo first; try again"
        )
    if not instrument.trading:
        raise Refused(f"the venue says {symbol} is {instrument.status}, not TRADING")
    return instrument


def _free_slot(state: AccountState, symbol: str, rules: AccountRules) -> None:
    taken = state.slots.get(symbol)
    if taken is not None:
        what = "an open position" if taken.stage is Stage.OPEN else "a pending entry"
        raise Refused(f"{symbol} has {what} already: one position a symbol; close it first")
    if len(state.slots) >= rules.slots:
        raise Refused(f"no slot: all {rules.slots} are taken by {', '.join(state.slots)}")
    since = state.log_ms - MINUTE_MS
    state.entry_times = [at for at in state.entry_times if at > since]
    if len(state.entry_times) >= rules.entries_per_minute:
        raise Refused(
            f"{rules.entries_per_minute} entries in the last minute: limits.entries_per_minute allows no more"
        )


def _close(state: AccountState, asked: CloseAsked, rules: AccountRules, outputs: list[AccountOutput]) -> str:
    known = asked.symbol in rules.symbols or asked.symbol in state.slots
    if asked.symbol != EVERY_SYMBOL and not known:
        raise Refused(f"unknown symbol {asked.symbol!r}: allowed are {', '.join(rules.symbols)} or * for all")
    _write(state, asked.symbol, CloseRequested(asked.command, asked.reason), outputs)
    if asked.symbol == EVERY_SYMBOL:
        return f"close asked for every position: {', '.join(state.slots) or 'account knows of none'}"
    if asked.symbol in state.slots:
        return f"close asked for the position on {asked.symbol}"
    return f"account knows of no position on {asked.symbol}; decide was asked all the same"


# (mode now, mode asked) that are refused; every other pair is allowed (the same mode again changes nothing).
_MODE_REFUSALS: Final = {
    (TradingMode.HALTED, TradingMode.REDUCE_ONLY): "trading is halted, which only a resume ends: ask for active",
}


def _set_mode(state: AccountState, asked: ModeAsked, outputs: list[AccountOutput]) -> str:
    modes = {mode.value: mode for mode in TradingMode}
    wanted = modes.get(asked.mode)
    if wanted is None:
        raise Refused(f"unknown mode {asked.mode!r}: allowed are {', '.join(modes)}")
    if refusal := _MODE_REFUSALS.get((state.mode, wanted)):
        raise Refused(refusal)
    if wanted is TradingMode.ACTIVE and state.halted:
        state.halted = ""  # a person has looked
    before, state.mode, state.mode_reason = state.mode, wanted, asked.reason or "asked by a person"
    _speak_state(state, outputs)  # at once: HALTED closes everything (X3)
    severity = "critical" if wanted is TradingMode.HALTED else "warning"
    text = f"trading mode {before.value} → {wanted.value}: {state.mode_reason}"
    outputs.append(AlertWanted("", "trading_mode", severity, text))
    return f"trading is {wanted.value}" + (" as before" if before is wanted else f", it was {before.value}")


# --------------------------------------------------------------------------------------------------- decide's words


def _hear(
    state: AccountState,
    word: AdmissionEnded | PositionSeen | TradeSeen,
    rules: AccountRules,
    outputs: list[AccountOutput],
) -> None:
    match word:
        case AdmissionEnded():
            _end_admission(state, word)
        case PositionSeen():
            _see_position(state, word, rules, outputs)
        case TradeSeen():
            if word.place != state.traded.get(word.symbol):  # one line can end at most one position
                state.traded[word.symbol] = word.place
                _see_trade(state, word)
        case _:
            assert_never(word)


def _end_admission(state: AccountState, ended: AdmissionEnded) -> None:
    """Used: the slot is a position. Declined: it is free, unless decide has already reported the position open."""
    slot = state.slots.get(ended.symbol)
    if slot is None or slot.entry is None or slot.entry.admission != ended.admission:
        return  # an answer that came again, or of a slot that is gone
    if ended.used:
        slot.stage, slot.position = Stage.OPEN, ended.position
    elif slot.report is None or not slot.report.lots:
        del state.slots[ended.symbol]
        admitted_ms = Milliseconds(slot.entry.expires_ms - ADMISSION_LIFE_MS)
        if admitted_ms in state.entry_times:
            state.entry_times.remove(admitted_ms)  # an entry that never came does not count against the minute


def _see_position(state: AccountState, seen: PositionSeen, rules: AccountRules, outputs: list[AccountOutput]) -> None:
    slot = state.slots.get(seen.symbol)
    if slot is None:
        if not seen.report.lots:
            return  # a last word about a position that is flat
        slot = state.slots[seen.symbol] = Slot(seen.symbol, Stage.OPEN, None)
        if len(state.slots) > rules.slots:
            text = f"{seen.symbol} has a position beyond the {rules.slots} slots: entries are closed until one is flat"
            outputs.append(AlertWanted(seen.symbol, "beyond_slots", "warning", text))
    slot.stage, slot.position, slot.report = Stage.OPEN, seen.report.position, seen.report


def _see_trade(state: AccountState, seen: TradeSeen) -> None:
    state.trades += 1
    state.realised = E8(state.realised + seen.trade.realised)
    state.fees = E8(state.fees + seen.trade.fees)
    slot = state.slots.get(seen.symbol)
    if slot is not None and slot.position in ("", seen.trade.position):
        del state.slots[seen.symbol]


def _ask_again(state: AccountState, outputs: list[AccountOutput]) -> None:
    """Write an unanswered, expired admission again: decide can only decline it, and its word frees the slot."""
    for slot in state.slots.values():
        if slot.stage is Stage.PENDING and state.log_ms - slot.asked_ms >= ASK_AGAIN_MS:
            assert slot.entry is not None
            if slot.asked_ms == slot.entry.expires_ms:
                text = f"decide has not answered the entry {slot.entry.admission} on {slot.symbol}: asking again"
                outputs.append(AlertWanted(slot.symbol, "admission_unanswered", "warning", text))
            slot.asked_ms = state.log_ms
            _write(state, slot.symbol, slot.entry, outputs)
