"""
The only place where an event meets a symbol's state: ``step`` folds one event, ``conclude`` one line.

Both are pure: no clock, no I/O, no randomness, no settings. Time is an input (``Stamp``); log time of a symbol is the
running maximum of min(line ``at``, append time + 200 ms), so that one fast clock cannot fire every timer and time never
runs back (architecture 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from pipeline.core import entries, evidence, exits, factor_feed, guard, market, plugins, reports, signals, wall_watch
from pipeline.core.bars import BAR_MS
from pipeline.core.commands import Alert, Decision, Output, ShareBars
from pipeline.core.data_requests import ask_what_is_missing, failed
from pipeline.core.events import (
    AlgoUpdated,
    Bar,
    Bars,
    BasisHistory,
    CloseRequested,
    DataFailed,
    DepthDiff,
    DepthSnapshot,
    EntryAdmitted,
    Event,
    FeedLost,
    FundingHistory,
    FundingInfo,
    InstrumentChanged,
    LeverageBrackets,
    Liquidation,
    Malformed,
    MarkPrice,
    OpenInterest,
    OpenInterestHistory,
    OrderUpdated,
    PolicySet,
    PositionOverridden,
    PositionUpdated,
    Quote,
    Reconciled,
    ReferenceBars,
    RequestEnded,
    SourceGap,
    Stamp,
    SymbolResumed,
    Ticked,
    Trade,
    TradingMode,
    TradingStateSet,
)
from pipeline.core.plugin_answers import PluginAnswered
from pipeline.core.state import SymbolState, decode, digest, encode, new_state
from pipeline.core.turn import Turn
from pipeline.core.units import ONE_E8, Milliseconds

__all__ = ["advance_clock", "conclude", "decode", "digest", "encode", "halt", "new_state", "step"]

APPEND_LEAD_MS: Final = 200  # architecture 2.2: a line's own stamp may run ahead of its append time by this much
DIGEST_EVERY_LINES: Final = 1_000  # architecture 2.3
FOREIGN_TOLD_MS: Final = 1_000

_encode_outputs = msgspec.msgpack.Encoder().encode


def advance_clock(state: SymbolState, stamp: Stamp) -> bool:
    """Move log time and append time on by one line; returns True, and counts it, when the line is more than 1 s off."""
    lead = stamp.append_ms + APPEND_LEAD_MS
    at = stamp.at_ms if stamp.at_ms < lead else lead
    state.log_ms = max(state.log_ms, at)
    state.append_ms = max(state.append_ms, stamp.append_ms)
    late = state.policy.late_line_ms
    if -late <= stamp.append_ms - stamp.at_ms <= late:
        return False
    state.late_lines += 1
    return True


def step(state: SymbolState, event: Event, stamp: Stamp) -> list[Output]:
    """
    Fold one event into *state* (mutated) and return what it asks for.

    Raises AssertionError when a promise inside the core is broken; the caller then halts the symbol (``halt``).
    """
    advance_clock(state, stamp)
    turn = Turn(state, stamp)
    _fold(turn, event)
    return turn.outputs


def conclude(
    state: SymbolState, events: Sequence[Event], stamp: Stamp, *, log_identity: str, fold: str
) -> Decision | None:
    """
    Fold all events of one line and return the decision, None when the line has no consequence.

    Every 1,000th line of the symbol gives a decision in any case: it carries the digest of the whole state.
    """
    late = advance_clock(state, stamp)
    state.applied = (stamp.offset, stamp.line)
    state.lines += 1
    state.log_identity = log_identity
    turn = Turn(state, stamp)
    if late:
        turn.rules.append("late_line")
    for event in events:
        _fold(turn, event)
    if turn.outputs or state.lines % DIGEST_EVERY_LINES == 0:
        return _decision(turn, fold=fold)
    return None


def halt(state: SymbolState, stamp: Stamp, reason: str, *, log_identity: str, fold: str) -> Decision:
    """
    Halt the symbol after a fault in its fold: entries stop, stops on the venue stay, other symbols go on.

    From here on only a close by hand and the kill switch are acted upon. The line counts as applied.
    """
    advance_clock(state, stamp)
    if state.applied != (stamp.offset, stamp.line):
        state.applied = (stamp.offset, stamp.line)
        state.lines += 1
    state.log_identity = log_identity
    state.halted = reason
    turn = Turn(state, stamp)
    turn.emit(Alert(code="symbol_halted", severity="critical", text=reason), rule="halt")
    return _decision(turn, fold=fold)


def _decision(turn: Turn, *, fold: str) -> Decision:
    state, stamp = turn.state, turn.stamp
    own = turn.cause
    hasher = blake2b(digest_size=16)
    hasher.update(f"{state.chain}|{own}|".encode())
    hasher.update(_encode_outputs(turn.outputs))
    state.chain = hasher.hexdigest()
    return Decision(
        symbol=state.symbol,
        partition=stamp.partition,
        offset=stamp.offset,
        line=stamp.line,
        log_ms=Milliseconds(state.log_ms),
        fold=fold,
        rules=turn.rules,
        causes=[own, *(place for place in turn.causes if place != own)],
        ids=turn.ids,
        outputs=turn.outputs,
        chain=state.chain,
        state_digest=digest(state) if state.lines % DIGEST_EVERY_LINES == 0 else "",
    )


def _fold(turn: Turn, event: Event) -> None:
    if turn.state.halted:
        _fold_halted(turn, event)
    else:
        HANDLERS[type(event)](turn, event)
        feeder = factor_feed.INPUTS.get(type(event))
        if feeder is not None:
            factor_feed.fold(turn.state, event, feeder)


def _fold_halted(turn: Turn, event: Event) -> None:
    """A halted symbol obeys three orders alone: the kill switch and a close by hand, each asked once, and a resume."""
    if isinstance(event, SymbolResumed):
        _resume(turn, event)
        return
    position = turn.state.position
    killed = isinstance(event, TradingStateSet) and event.mode is TradingMode.HALTED
    if position is None or position.close_rule or not (killed or isinstance(event, CloseRequested)):
        return
    position.close_rule = "X3" if killed else "HAND"
    exits.ask_close(turn)


LOST_STREAMS: Final = ("public", "market", "private", "execute")  # words of core.feeds: together everything


def _resume(turn: Turn, event: SymbolResumed) -> None:
    """A person has looked: nothing that the halted symbol did not fold is trusted, all of it is asked for anew."""
    state = turn.state
    turn.alert("symbol_resumed", "warning", f"{event.command} ends the halt: {state.halted}")
    state.halted = ""
    state.wake_ms = 0
    for stream in LOST_STREAMS:
        market.not_whole(turn, FeedLost(stream=stream, reason="resumed after a halt"))
    _after(turn)


def _not_halted(turn: Turn, event: SymbolResumed) -> None:
    if turn.state.policy.plugins and (names := plugins.resume(turn)):
        turn.note("plugins_resumed", f"{event.command}: {', '.join(names)}")
        return
    turn.note("not_halted", f"{event.command}: the symbol was not halted")


def _after(turn: Turn, *, moved: bool = False) -> None:
    """
    What follows for an open position once an event is folded: the entry's end, the exit rules, the ratchet when the
    market *moved*, the orders that must agree with it all, the report.
    """
    state = turn.state
    if state.position is None:
        return
    entries.after_evidence(turn)
    exits.evaluate(turn)
    if state.position is None:
        return
    if moved:
        exits.tighten(turn)
    guard.keep_rails(turn)
    guard.keep_targets(turn)
    exits.keep_closing(turn)
    reports.report(turn)


def _on_quote(turn: Turn, event: Quote) -> None:
    # No rule built so far reads quotes by themselves: the working price is the mark, the clamp sees the quote with it.
    market.quote(turn, event)


def _on_trade(turn: Turn, event: Trade) -> None:
    """A trade by itself decides nothing: the factors count it (``factor_feed``), and the wall at its price."""
    wall_watch.traded(turn.state, event)


def _on_liquidation(turn: Turn, event: Liquidation) -> None:
    """Count a forced order where it happened; one that a second connection brings again counts once."""
    state = turn.state
    if state.factors is not None and state.factors.liquidations.knows(event.trade_ms, event.side, event.lots):
        return
    notional_e8 = event.price * event.lots * turn.instrument.step_e8 // ONE_E8
    wall_watch.liquidated(state, side=event.side, price_e8=event.price, notional_e8=notional_e8)


def _on_reference_bars(turn: Turn, event: ReferenceBars) -> None:
    """Nothing but the factors reads it."""


def _on_mark_price(turn: Turn, event: MarkPrice) -> None:
    if market.mark_price(turn, event) and turn.state.position is not None:
        evidence.watch_marks(turn)
        exits.note_mark(turn)
        wall_watch.mark_moved(turn.state)
        _after(turn, moved=True)


def _on_bar(turn: Turn, event: Bar) -> None:
    if market.bar(turn, event):
        wall_watch.bar_closed(turn.state, event)
        _bars_grew(turn)


def _on_bars(turn: Turn, event: Bars) -> None:
    market.bars(turn, event)
    _bars_grew(turn)


def _bars_grew(turn: Turn) -> None:
    position = turn.state.position
    if position is None:
        return
    if position.opened_ms:
        past = turn.state.bars.last_close_ms - position.opened_ms
        position.bars = max(0, -(-past // BAR_MS))
    _after(turn, moved=True)


def _on_ticked(turn: Turn, event: Ticked) -> None:
    state = turn.state
    scored = (event.compute or state.position is not None) and factor_feed.score(state)
    if scored:
        _bar_scored(turn)
    if state.policy.plugins and (scored or state.position is not None):
        plugins.ask(turn, bar=scored)
    if state.walls is not None or state.position is not None or state.shortlisted:
        wall_watch.watch(turn)
    if turn.now >= state.wake_ms:
        _tell_foreign(turn)
        ask_what_is_missing(turn)
    if state.position is not None:
        _after(turn)


def _bar_scored(turn: Turn) -> None:
    """The scores speak of a newly closed bar: what is asked once a bar is asked here."""
    shared = factor_feed.bars_to_share(turn.state)
    if shared is not None:
        turn.emit(ShareBars(bars=shared), rule="share_bars")
    signals.evaluate(turn)


def _tell_foreign(turn: Turn) -> None:
    """A quantity nobody here opened is told once it has lasted: our own late lines may still explain it."""
    foreign = turn.state.foreign
    if foreign is None or foreign.told or turn.now - foreign.since_ms < FOREIGN_TOLD_MS:
        return
    foreign.told = True
    turn.alert(
        "foreign_position",
        "critical",
        f"the venue holds {foreign.lots} lots that no intent of ours opened; entries closed; execute keeps a far stop",
    )


def _then_after(fold: Callable[[Turn, Any], object]) -> Callable[[Turn, Any], None]:
    """A handler that folds its event and then lets an open position draw the consequences."""

    def handler(turn: Turn, event: Any) -> None:  # each row of the table fixes the event's type
        fold(turn, event)
        _after(turn)

    return handler


def _trading_state(turn: Turn, event: TradingStateSet) -> None:
    state = turn.state
    if event.mode is not state.mode:
        turn.note("trading_state", f"{event.mode.value}: {event.reason}")
    state.mode = event.mode
    state.mode_reason = event.reason
    state.mode_ms = turn.stamp.at_ms
    listed = state.symbol in event.shortlisted
    if listed is not state.shortlisted:
        state.shortlisted = listed
        state.listed_ms = turn.now
        state.wake_ms = 0  # its open interest is wanted now, or no more


def _on_policy(turn: Turn, event: PolicySet) -> None:
    if event.policy != turn.state.policy:
        turn.state.policy = event.policy
        if turn.state.position is not None:
            turn.state.position.holdings = {}  # what was being confirmed begins anew under the new parameters
        turn.note("policy", event.policy.digest)


def _on_data_failed(turn: Turn, event: DataFailed) -> None:
    failed(turn.state, event.kind)


# The event union is closed: a test holds that every kind has its row.
HANDLERS: Final[dict[type, Callable[[Turn, Any], object]]] = {
    Quote: _on_quote,
    DepthDiff: market.depth_diff,
    DepthSnapshot: market.depth_snapshot,
    MarkPrice: _on_mark_price,
    Bar: _on_bar,
    Bars: _on_bars,
    OpenInterest: market.open_interest,
    OpenInterestHistory: market.open_interest_history,
    BasisHistory: market.basis_history,
    FundingHistory: market.funding_history,
    FundingInfo: market.funding_info,
    LeverageBrackets: market.leverage_brackets,
    Liquidation: _on_liquidation,
    ReferenceBars: _on_reference_bars,
    InstrumentChanged: market.instrument_changed,
    Malformed: market.not_whole,
    SourceGap: market.not_whole,
    FeedLost: market.not_whole,
    DataFailed: _on_data_failed,
    TradingStateSet: _then_after(_trading_state),
    PolicySet: _on_policy,
    Ticked: _on_ticked,
    Trade: _on_trade,
    OrderUpdated: _then_after(evidence.order_updated),
    AlgoUpdated: _then_after(evidence.algo_updated),
    PositionUpdated: _then_after(evidence.position_updated),
    Reconciled: _then_after(evidence.reconciled),
    RequestEnded: _then_after(evidence.request_ended),
    EntryAdmitted: _then_after(entries.admitted),
    CloseRequested: _then_after(evidence.close_requested),
    PositionOverridden: _then_after(exits.overridden),
    SymbolResumed: _not_halted,
    PluginAnswered: _then_after(plugins.answered),
}
