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

from pipeline.core import market
from pipeline.core.commands import Alert, Decision, Output
from pipeline.core.data_requests import ask_what_is_missing, failed
from pipeline.core.events import (
    Bar,
    Bars,
    DataFailed,
    DepthDiff,
    DepthSnapshot,
    Event,
    FeedLost,
    InstrumentChanged,
    Malformed,
    MarkPrice,
    OpenInterest,
    PolicySet,
    Quote,
    SourceGap,
    Stamp,
    Ticked,
    TradingStateSet,
)
from pipeline.core.state import SymbolState, decode, digest, encode, new_state
from pipeline.core.turn import Turn
from pipeline.core.units import Milliseconds

__all__ = ["advance_clock", "conclude", "decode", "digest", "encode", "halt", "new_state", "step"]

APPEND_LEAD_MS: Final = 200  # architecture 2.2: a line's own stamp may run ahead of its append time by this much
DIGEST_EVERY_LINES: Final = 1_000  # architecture 2.3

_encode_outputs = msgspec.msgpack.Encoder().encode


def advance_clock(state: SymbolState, stamp: Stamp) -> None:
    """Move log time and append time on by one line; counts a line that is late."""
    lead = stamp.append_ms + APPEND_LEAD_MS
    at = stamp.at_ms if stamp.at_ms < lead else lead
    state.log_ms = max(state.log_ms, at)
    state.append_ms = max(state.append_ms, stamp.append_ms)
    late = state.policy.late_line_ms
    if not -late <= stamp.append_ms - stamp.at_ms <= late:
        state.late_lines += 1


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
    advance_clock(state, stamp)
    state.applied = (stamp.offset, stamp.line)
    state.lines += 1
    state.log_identity = log_identity
    turn = Turn(state, stamp)
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
        return
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(turn, event)


def _on_quote(turn: Turn, event: Quote) -> None:
    market.quote(turn, event)


def _on_ticked(turn: Turn, _: Ticked) -> None:
    state = turn.state
    if turn.now < state.wake_ms:
        return
    ask_what_is_missing(turn)


def _on_trading_state(turn: Turn, event: TradingStateSet) -> None:
    state = turn.state
    if event.mode is not state.mode:
        turn.note("trading_state", f"{event.mode.value}: {event.reason}")
    state.mode = event.mode
    state.mode_reason = event.reason
    state.mode_ms = turn.stamp.at_ms


def _on_policy(turn: Turn, event: PolicySet) -> None:
    if event.policy != turn.state.policy:
        turn.state.policy = event.policy
        turn.note("policy", event.policy.digest)


def _on_data_failed(turn: Turn, event: DataFailed) -> None:
    failed(turn.state, event.kind)


# The event union is closed: a test holds that every kind has its row.
_HANDLERS: Final[dict[type, Callable[[Turn, Any], object]]] = {
    Quote: _on_quote,
    DepthDiff: market.depth_diff,
    DepthSnapshot: market.depth_snapshot,
    MarkPrice: market.mark_price,
    Bar: market.bar,
    Bars: market.bars,
    OpenInterest: market.open_interest,
    InstrumentChanged: market.instrument_changed,
    Malformed: market.not_whole,
    SourceGap: market.not_whole,
    FeedLost: market.not_whole,
    DataFailed: _on_data_failed,
    TradingStateSet: _on_trading_state,
    PolicySet: _on_policy,
    Ticked: _on_ticked,
}
