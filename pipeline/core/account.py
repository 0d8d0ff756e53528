"""
The only place for what the account decides: who may enter, who must close, in which mode we trade (architecture 2.5).

A pure fold like ``engine.step``: ``account_step(state, event, stamp, rules)`` mutates only *state*. Its rules:

* A slot is taken when an entry is admitted and is freed only by decide's ``declined`` or by flat, never by a timer
  (``core.slots``). One position a symbol, at most ``rules.slots`` in all, pending entries counted.
* HALTED is left only by an explicit resume. Closing is allowed in every mode (P4).
* The whole account is judged after every event (``core.risk``): what is broken by two sources stops trading.
* A refusal says what was found and what would be allowed; a command id is answered once.
* Decide folds again after a crash and says again what it said: words from before the last one of a symbol are dropped.
* Every line for ``inputs`` carries a running number per scope (symbol or ``*``) that is part of the state: folding
  again gives the same numbers, and the reader drops what it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, assert_never

import msgspec

from pipeline.core import balance, ranking, risk, slots
from pipeline.core.account_state import AccountRules, AccountStamp, AccountState, Slot, Stage
from pipeline.core.account_words import (
    AccountEvent,
    AccountOutput,
    AccountSeen,
    AccountTicked,
    AdmissionEnded,
    AlertWanted,
    BalanceSeen,
    CloseAsked,
    CommandEnded,
    EntryAsked,
    InstrumentsRead,
    LineBody,
    LineWanted,
    MarginCalled,
    ModeAsked,
    OverrideAsked,
    PositionSeen,
    ResumeAsked,
    SignalSeen,
    StateSpoken,
    TradeSeen,
)
from pipeline.core.bars import BAR_MS
from pipeline.core.entry_terms import Refused, levels, size
from pipeline.core.events import CloseRequested, EntryAdmitted, PositionOverridden, SymbolResumed, TradingMode
from pipeline.core.identity import base62, symbol_tag
from pipeline.core.instruments import Instrument
from pipeline.core.units import E8, Lots, Milliseconds, format_e8

ADMISSION_LIFE_MS: Final = slots.ADMISSION_LIFE_MS
STATE_INTERVAL_MS: Final = 5_000  # state lines repeat, so that symbols that appear later catch up
MINUTE_MS: Final = 60_000
COMMANDS_REMEMBERED: Final = 4_096
COMMAND_LENGTH: Final = 64
REASON_LENGTH: Final = 1_000  # what was typed stands in refusals, and refusals stand in the state
SIGNAL_LIFE_MS: Final = 60_000  # after its bar has closed; decide says late what it folds late
EVERY_SYMBOL: Final = "*"

_encode = msgspec.msgpack.Encoder().encode


# -------------------------------------------------------------------------------------------------------- the fold


def account_step(
    state: AccountState, event: AccountEvent, stamp: AccountStamp, rules: AccountRules
) -> list[AccountOutput]:
    """
    Fold one record of the ``account`` topic; returns what it leads to, in the order in which it is to be written.

    Never raises for a fault of ours: what was decided before it goes out, entries close, and people hear of it.
    """
    assert stamp.offset > state.applied, (stamp.offset, state.applied)
    state.applied = stamp.offset
    state.log_ms = Milliseconds(max(state.log_ms, stamp.append_ms))
    outputs: list[AccountOutput] = []
    read = balance.Read.NONE

    def fold() -> None:
        nonlocal read
        read = _dispatch(state, event, stamp, rules, outputs)

    parts: tuple[Callable[[], None], ...] = (
        lambda: balance.new_day(state),
        fold,
        lambda: _repeat(state, outputs),
        lambda: _judge(state, rules, outputs, read=read),
        lambda: ranking.tell(state, outputs),
    )
    for part in parts:  # each by itself: a fault in a judgement must not keep a close from going out
        try:
            part()
        except Exception as fault:  # noqa: BLE001 - re-stated as a record: entries close, the account lives on
            _halt(state, stamp, fault, outputs)
    _extend_chain(state, outputs)
    return outputs


def _repeat(state: AccountState, outputs: list[AccountOutput]) -> None:
    """Admissions that nobody answered, and the trading state, are said again."""
    for slot in slots.unanswered(state, outputs):
        assert slot.entry is not None
        _write(state, slot.symbol, slot.entry, outputs)
    if state.log_ms - state.state_spoken_ms >= STATE_INTERVAL_MS:
        _speak_state(state, outputs)


def _halt(state: AccountState, stamp: AccountStamp, fault: Exception, outputs: list[AccountOutput]) -> None:
    """We were wrong: entries stop until a person has looked; closes, halts and state lines go on. Told once."""
    told, state.halted = bool(state.halted), f"{type(fault).__name__}: {fault} at account/{stamp.offset}"
    if state.mode is TradingMode.ACTIVE:
        state.mode, state.mode_reason = TradingMode.REDUCE_ONLY, "the account's fold failed"
        _speak_state(state, outputs)
    if not told:
        text = f"the account's fold failed, entries are closed: {state.halted}"
        outputs.append(AlertWanted("", "account_halted", "critical", text))


def _dispatch(
    state: AccountState, event: AccountEvent, stamp: AccountStamp, rules: AccountRules, outputs: list[AccountOutput]
) -> balance.Read:
    """Fold one event; returns what it is worth as a read of the account."""
    match event:
        case EntryAsked() | CloseAsked() | ModeAsked() | ResumeAsked() | OverrideAsked():
            _obey(state, event, stamp, rules, outputs)
        case AdmissionEnded() | PositionSeen() | TradeSeen() | SignalSeen():
            if event.place >= state.heard.get(event.symbol, event.place):
                state.heard[event.symbol] = event.place
                _hear(state, event, stamp, rules, outputs)
        case InstrumentsRead():
            state.instruments.update(event.instruments)
        case BalanceSeen():
            balance.see_balance(state, event)
        case AccountSeen():
            return balance.see_account(state, event)
        case MarginCalled():
            text = f"the venue warns: margin of {', '.join(event.symbols) or 'the account'} is near maintenance"
            outputs.append(AlertWanted("", "margin_call", "critical", text))
        case AccountTicked():
            ranking.rank(state, rules.risk)
        case _:
            assert_never(event)
    return balance.Read.NONE


def _obey(
    state: AccountState,
    asked: EntryAsked | CloseAsked | ModeAsked | ResumeAsked | OverrideAsked,
    stamp: AccountStamp,
    rules: AccountRules,
    outputs: list[AccountOutput],
) -> None:
    """A command: done once, answered once."""
    match asked:
        case EntryAsked():
            _answer_once(
                state, asked.command, asked.symbol, outputs, lambda: _enter(state, asked, stamp, rules, outputs)
            )
        case CloseAsked():
            _answer_once(state, asked.command, asked.symbol, outputs, lambda: _close(state, asked, rules, outputs))
        case ModeAsked():
            _answer_once(state, asked.command, "", outputs, lambda: _set_mode(state, asked, outputs))
        case ResumeAsked():
            _answer_once(state, asked.command, asked.symbol, outputs, lambda: _resume(state, asked, rules, outputs))
        case OverrideAsked():
            _answer_once(state, asked.command, asked.symbol, outputs, lambda: _override(state, asked, outputs))
        case _:
            assert_never(asked)


def _judge(state: AccountState, rules: AccountRules, outputs: list[AccountOutput], *, read: balance.Read) -> None:
    """Hold the account against its bounds; what two sources say is broken sets the mode, as a person would."""
    verdict = risk.judge(state, rules.risk, outputs, read=read)
    if verdict is not None:
        mode, reason = verdict
        _change_mode(state, mode, reason, outputs)


def _extend_chain(state: AccountState, outputs: list[AccountOutput]) -> None:
    if outputs:
        link = _encode((state.chain, state.applied, outputs))
        state.chain = blake2b(link, digest_size=16).hexdigest()


def _number(state: AccountState, scope: str) -> int:
    number = state.numbers.get(scope, 0) + 1
    state.numbers[scope] = number
    return number


def _write(state: AccountState, symbol: str, body: LineBody, outputs: list[AccountOutput]) -> None:
    outputs.append(LineWanted(symbol, _number(state, symbol), body))


def _speak_state(state: AccountState, outputs: list[AccountOutput]) -> None:
    state.state_spoken_ms = state.log_ms
    _write(state, EVERY_SYMBOL, StateSpoken(state.mode, state.mode_reason, list(state.ranking.shortlisted)), outputs)


# ----------------------------------------------------------------------------------------------------- commands


def _answer_once(
    state: AccountState, command: str, symbol: str, outputs: list[AccountOutput], act: Callable[[], str]
) -> None:
    """Do *act* for a command id never seen, and answer it; *act* returns the accepting words or raises Refused."""
    accepted, place = False, len(outputs)
    try:
        if not 0 < len(command) <= COMMAND_LENGTH:
            raise Refused(f"the command has no usable id: 1 to {COMMAND_LENGTH} characters are allowed")
        if command in state.commands:
            raise Refused(f"duplicate command id {command}, answered before: {state.commands[command]}")
        reason = act()
        accepted = True
    except Refused as refusal:
        reason = str(refusal)
    reason = reason[:REASON_LENGTH]
    if command not in state.commands and 0 < len(command) <= COMMAND_LENGTH:
        state.commands[command] = f"{'accepted' if accepted else 'refused'}: {reason}"
        while len(state.commands) > COMMANDS_REMEMBERED:
            del state.commands[next(iter(state.commands))]
    outputs.insert(place, CommandEnded(command, symbol, accepted, reason))


def _enter(
    state: AccountState, asked: EntryAsked, stamp: AccountStamp, rules: AccountRules, outputs: list[AccountOutput]
) -> str:
    instrument = _tradable(state, asked.symbol, rules)
    _free_slot(state, asked.symbol, rules)
    by_risk = bool(asked.signal)
    if asked.signal:
        _still_valid(state, asked)
    lots, notional = Lots(0), rules.max_notional_e8
    if not by_risk or asked.notional:
        lots, notional = size(
            quantity=asked.quantity, notional=asked.notional, instrument=instrument, largest=rules.max_notional_e8
        )
    stop, target, last_target = levels(
        side=asked.side, stop=asked.stop, target=asked.target, last_target=asked.last_target, instrument=instrument
    )
    ranked = state.ranking.symbols.get(asked.symbol)
    independence = ranked.report.independence if ranked is not None else -1
    allowed = risk.allowance(
        state,
        rules.risk,
        side=asked.side,
        largest=rules.max_notional_e8,
        wanted=notional or rules.max_notional_e8,
        independence=independence,
    )
    if by_risk and not allowed.risk:
        raise Refused("risk.risk_permille leaves nothing to risk")
    if notional > allowed.notional and not by_risk:
        raise Refused(
            f"notional {format_e8(notional)} is more than the account allows now: {format_e8(allowed.notional)} USDT "
            "(exposure, correlation, drawdown)"
        )
    liquidity = ranked.report.liquidity if ranked is not None else -1
    entry = EntryAdmitted(
        admission=f"{stamp.log_identity}.a{base62(stamp.offset)}.{symbol_tag(asked.symbol)}",
        side=asked.side,
        lots=lots,
        notional=E8(min(allowed.notional, notional or allowed.notional)),
        stop=stop,
        target=target,
        last_target=last_target,
        template=asked.template,
        expires_ms=Milliseconds(state.log_ms + ADMISSION_LIFE_MS),
        risk=allowed.risk if by_risk else E8(0),
        max_loss=allowed.max_loss,
        liquidity=min(1_000, max(500, 500 + 5 * liquidity)) if by_risk else 1_000,
        signal=by_risk,
        margin=E8(max(0, balance.equity_by_marks(state)) // rules.slots),
        most_leverage=rules.most_leverage,
    )
    state.slots[asked.symbol] = Slot(
        asked.symbol,
        Stage.PENDING,
        entry,
        asked_ms=entry.expires_ms,
        reserved=allowed.max_loss,
        notional=entry.notional,
        independence=independence,
    )
    state.entry_times.append(state.log_ms)
    _write(state, asked.symbol, entry, outputs)
    return f"admitted as {entry.admission}: slot {len(state.slots)} of {rules.slots}"


def _still_valid(state: AccountState, asked: EntryAsked) -> None:
    if asked.until_ms and state.log_ms > asked.until_ms:
        raise Refused(f"the signal of {asked.signal} is void since {(state.log_ms - asked.until_ms) / 1_000:g} s")
    wait = risk.cooling(state, asked.symbol)
    if wait:
        raise Refused(f"{asked.symbol} rests for another {wait // 1_000} s after its last trade (risk.cool_down_bars)")


def _tradable(state: AccountState, symbol: str, rules: AccountRules) -> Instrument:
    if state.halted:
        raise Refused(f"the account halted on a fault ({state.halted}): entries are closed until a person has looked")
    if symbol not in rules.symbols:
        raise Refused(f"unknown symbol {symbol!r}: allowed are {', '.join(rules.symbols)}")
    if state.mode is not TradingMode.ACTIVE:
        why = f" ({state.mode_reason})" if state.mode_reason else ""
        raise Refused(f"trading is {state.mode.value}{why}: `perpguard resume` makes it active")
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
    before = state.mode
    accepted = ""
    if wanted is TradingMode.ACTIVE and state.risk.stopped_by:
        what = state.risk.stopped_by
        balance.rebase(state)
        accepted = f"; what {what} counted begins anew at {format_e8(state.risk.baseline)} USDT"
    _change_mode(state, wanted, asked.reason or "asked by a person", outputs)
    return f"trading is {wanted.value}" + (" as before" if before is wanted else f", it was {before.value}") + accepted


def _change_mode(state: AccountState, wanted: TradingMode, reason: str, outputs: list[AccountOutput]) -> None:
    before, state.mode, state.mode_reason = state.mode, wanted, reason
    _speak_state(state, outputs)  # at once: HALTED closes everything (X3)
    severity = "critical" if wanted is TradingMode.HALTED else "warning"
    text = f"trading mode {before.value} → {wanted.value}: {state.mode_reason}"
    outputs.append(AlertWanted("", "trading_mode", severity, text))


def _resume(state: AccountState, asked: ResumeAsked, rules: AccountRules, outputs: list[AccountOutput]) -> str:
    if asked.symbol not in rules.symbols and asked.symbol not in state.slots:
        raise Refused(f"unknown symbol {asked.symbol!r}: allowed are {', '.join(rules.symbols)}")
    _write(state, asked.symbol, SymbolResumed(asked.command), outputs)
    return f"{asked.symbol} was asked to go on; decide reads everything anew before it enters again"


def _override(state: AccountState, asked: OverrideAsked, outputs: list[AccountOutput]) -> str:
    if asked.symbol not in state.slots:
        raise Refused(f"account knows of no position on {asked.symbol}: there is nothing to wish for")
    if (asked.pin_stop, asked.leave_alone, asked.disabled_exits) == (None, None, None):
        raise Refused("say what: pin or unpin the stop, leave it alone or guard it, rules that are off")
    body = PositionOverridden(asked.command, asked.pin_stop, asked.leave_alone, asked.disabled_exits)
    _write(state, asked.symbol, body, outputs)
    return f"the position on {asked.symbol} was told; rules that protect act all the same"


# --------------------------------------------------------------------------------------------------- decide's words


def _hear(
    state: AccountState,
    word: AdmissionEnded | PositionSeen | TradeSeen | SignalSeen,
    stamp: AccountStamp,
    rules: AccountRules,
    outputs: list[AccountOutput],
) -> None:
    match word:
        case AdmissionEnded():
            slots.end_admission(state, word)
        case PositionSeen():
            slots.see_position(state, word, rules, outputs)
        case TradeSeen():
            if slots.see_trade(state, word):
                risk.cool_down(state, rules.risk, word.symbol, word.trade)
        case SignalSeen():
            ranking.hear(state, word, rules.risk)
            wanted = rules.signals or word.report.source  # a plug-in in the configuration was asked for by that
            if wanted and word.report.fresh and word.report.stage == "prime":
                _admit_signal(state, word, stamp, rules, outputs)
        case _:
            assert_never(word)


def _admit_signal(
    state: AccountState, seen: SignalSeen, stamp: AccountStamp, rules: AccountRules, outputs: list[AccountOutput]
) -> None:
    """A prime signal goes the road of a command: same slots, bounds and admission line; people hear how it ended."""
    report = seen.report
    asked = EntryAsked(command="", symbol=seen.symbol, side=report.side, signal=report.source or "decide")
    words = f"{report.side.value} {seen.symbol}, E {report.score / 1_000:g}, strength {report.strength / 1_000:g}"
    place = len(outputs)
    try:
        if report.refused:
            raise Refused(f"gates refuse: {', '.join(report.refused)}")
        life_ms = SIGNAL_LIFE_MS + (BAR_MS if report.source else 0)  # a plug-in may speak at any time of a bar
        if state.log_ms - report.bar_ms > life_ms:
            raise Refused(f"its bar closed {(state.log_ms - report.bar_ms) // 1_000} s ago")
        answer = _enter(state, asked, stamp, rules, outputs)
    except Refused as refusal:
        outputs.append(AlertWanted(seen.symbol, "signal_refused", "info", f"{words}: {refusal}"))
    else:
        outputs.insert(place, AlertWanted(seen.symbol, "signal_admitted", "info", f"{words}: {answer}"))
