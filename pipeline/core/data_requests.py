"""
The only place that asks for REST answers: what is missing, how often it may be asked for, in log time alone.

Each kind has a pace; a kind asked in vain waits longer (doubling up to its limit). Nothing is asked for on a timer of
the machine: the same log asks the same questions.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.core.bars import BAR_MS
from pipeline.core.commands import RequestData
from pipeline.core.feeds import BARS, INSTRUMENT, QUOTE, USER
from pipeline.core.orders import ENDED
from pipeline.core.positions import STATEMENT_GRACE_MS, Stage
from pipeline.core.state import DataAsk, SymbolState
from pipeline.core.turn import Turn
from pipeline.core.units import Milliseconds


class Pace(msgspec.Struct, frozen=True):
    """First wait before the same question, the longest wait, and how long the question is worth answering (ms)."""

    wait_ms: int
    longest_ms: int
    valid_ms: int
    limit: int = 0


PACES: Final[dict[str, Pace]] = {
    "exchange_info": Pace(wait_ms=10_000, longest_ms=60_000, valid_ms=10_000),
    "depth": Pace(wait_ms=2_000, longest_ms=60_000, valid_ms=60_000, limit=1_000),
    "klines": Pace(wait_ms=10_000, longest_ms=300_000, valid_ms=60_000, limit=301),  # 300 closed and the open one
    "audit": Pace(wait_ms=1_000, longest_ms=30_000, valid_ms=10_000),
    "premium_index": Pace(wait_ms=5_000, longest_ms=5_000, valid_ms=5_000),
    "book_ticker": Pace(wait_ms=5_000, longest_ms=5_000, valid_ms=5_000),
    "open_interest": Pace(wait_ms=75_000, longest_ms=600_000, valid_ms=30_000),
    # Of every symbol, once (domain 4.14): they wait behind everything else of the warm-up, so they may wait for long.
    "basis_history": Pace(wait_ms=1_900_000, longest_ms=14_400_000, valid_ms=1_800_000, limit=864),
    "funding_history": Pace(wait_ms=1_900_000, longest_ms=14_400_000, valid_ms=1_800_000, limit=31),
    "funding_info": Pace(wait_ms=3_600_000, longest_ms=14_400_000, valid_ms=120_000),
    "leverage_brackets": Pace(wait_ms=3_600_000, longest_ms=14_400_000, valid_ms=120_000),
    "open_interest_history": Pace(wait_ms=3_600_000, longest_ms=14_400_000, valid_ms=120_000, limit=500),
}
MARK_SILENT_MS: Final = 3_000  # X4: no mark price for 3 s while a position is open, then REST every 5 s
QUOTE_SILENT_MS: Final = 10_000  # a thin book may rightly stand still for longer than the mark does
# A book that is lost while nobody holds the symbol is read again by its best 500 levels, weight 10 instead of 20: 50
# books at once (venue sheet 2.8) are whole within a minute, in a quarter of the venue's weight.
RESYNC_LEVELS: Final = 500
OPEN_INTEREST_HELD_MS: Final = 75_000  # clarifications 3: OI 75 s held, 600 s shortlisted, none for the rest
OPEN_INTEREST_SHORTLISTED_MS: Final = 600_000
HISTORY_FIRST_MS: Final = 120_000  # the past also states the present: it is polled only when the past did not come
HURRIED_AUDIT_MS: Final = 5_000  # while an entry or a close is unanswered
BAR_LATE_MS: Final = 5_000  # venue sheet 2.6: no x:true within 2–5 s of the close, fetch the row
NEVER_MS: Final = 1 << 62


def ask(turn: Turn, kind: str) -> bool:
    """Ask for *kind* unless it was asked too recently; returns True when the question went out."""
    state = turn.state
    pace = PACES[kind]
    known = state.asks.get(kind)
    if known is None:
        known = state.asks[kind] = DataAsk()
    if turn.now < known.next_ms:
        return False
    wait = min(pace.wait_ms << min(known.tries, 8), pace.longest_ms)
    known.tries += 1
    known.next_ms = turn.now + wait
    state.wake_ms = min(state.wake_ms, known.next_ms)
    turn.emit(
        RequestData(
            kind=kind,
            limit=_levels(state) if kind == "depth" else pace.limit,
            held=state.position is not None,
            expires_ms=Milliseconds(turn.now + pace.valid_ms),
        ),
        rule=f"ask_{kind}",
    )
    return True


def _levels(state: SymbolState) -> int:
    spare = state.position is None and not state.shortlisted and state.book.resyncs > 0
    return RESYNC_LEVELS if spare else PACES["depth"].limit


def answered(state: SymbolState, kind: str, *, useful: bool = True) -> None:
    """An answer of *kind* came; a useful one ends the row of tries in vain."""
    known = state.asks.get(kind)
    if known is not None and useful:
        known.tries = 0


def failed(state: SymbolState, kind: str) -> None:
    """The question came back without an answer: the wait already set stands (it has grown with each try)."""
    state.asks.setdefault(kind, DataAsk())
    state.wake_ms = 0


def ask_what_is_missing(turn: Turn) -> None:
    """Ask for whatever the symbol lacks now, and note when a tick must look again."""
    state = turn.state
    if state.instrument is None:
        ask(turn, "exchange_info")
        state.wake_ms = state.asks["exchange_info"].next_ms
        return
    wake = NEVER_MS
    read = _open_interest_read(state)
    past = read or _kept_up(state)
    for kind, wanted, due_ms in (
        ("exchange_info", INSTRUMENT in state.feeds, 0),
        ("depth", state.book.wants_snapshot, 0),
        ("klines", _bars_wanted(state, turn.now), _next_bar_ms(state)),
        ("audit", _audit_wanted(state, turn.now), _next_audit_ms(state)),
        ("premium_index", _mark_silent(state, turn.now), _mark_silent_ms(state)),
        ("book_ticker", _quote_silent(state, turn.now), _quote_silent_ms(state)),
        ("open_interest", _open_interest_wanted(state, turn.now), _next_open_interest_ms(state)),
        ("basis_history", past and _basis_history_wanted(state), 0),
        ("funding_history", past and _funding_history_wanted(state), 0),
        ("funding_info", read and _funding_info_wanted(state), 0),
        ("leverage_brackets", read and not state.brackets, 0),
        ("open_interest_history", read and _interest_past_wanted(state), 0),
    ):
        at_ms = due_ms
        if wanted:
            ask(turn, kind)
            at_ms = state.asks[kind].next_ms
        if at_ms:
            wake = min(wake, at_ms)
    state.wake_ms = wake


def _bars_wanted(state: SymbolState, now: int) -> bool:
    history = state.bars
    return history.gapped or BARS in state.feeds or now > _next_bar_ms(state)


def _next_bar_ms(state: SymbolState) -> int:
    last = state.bars.last_close_ms
    return last + BAR_MS + BAR_LATE_MS if last else 0


def _audit_wanted(state: SymbolState, now: int) -> bool:
    """
    A complete read is due: lost user data, something unexplained on the venue, or the interval while a position is
    open or pending (domain 6.7: every 60 s).
    """
    if USER in state.feeds or state.foreign is not None:
        return True
    position = state.position
    if position is None:
        return False
    if position.entry_missing_ms >= 0 and not position.entry_ended:
        return True
    if any(order.missing_ms >= 0 and order.status not in ENDED for order in position.orders.values()):
        return True
    return now >= _next_audit_ms(state)


def _next_audit_ms(state: SymbolState) -> int:
    position = state.position
    if position is None:
        return 0
    hurried = position.stage is Stage.CLOSING or (not position.entry_ended and position.lots <= 0)
    due = position.audit_ms + (HURRIED_AUDIT_MS if hurried else state.policy.audit_interval_ms)
    if position.dispute is not None and position.dispute.from_read:  # the events that explain it get their moment
        return min(due, position.dispute.since_ms + STATEMENT_GRACE_MS)
    return due


def _mark_silent(state: SymbolState, now: int) -> bool:
    """X4: blind while a position is open; rails stay, nothing is closed for it, the mark is asked for."""
    return state.position is not None and state.position.lots > 0 and now > _mark_silent_ms(state)


def _mark_silent_ms(state: SymbolState) -> int:
    if state.position is None or state.mark_stamp is None:
        return 0
    return state.mark_stamp.at_ms + MARK_SILENT_MS


def _quote_silent(state: SymbolState, now: int) -> bool:
    """REST fallback: price and size of the best levels while something is open and their stream is down or silent."""
    if state.position is None or state.position.lots <= 0:
        return False
    return QUOTE in state.feeds or now > _quote_silent_ms(state)


def _quote_silent_ms(state: SymbolState) -> int:
    if state.position is None or state.quote_stamp is None:
        return 0
    polled = state.quote is not None and state.quote.polled  # only the stream itself ends the polling
    return state.quote_stamp.at_ms + (0 if polled else QUOTE_SILENT_MS)


def _open_interest_read(state: SymbolState) -> bool:
    """Open interest is read of held and shortlisted symbols alone."""
    position = state.position
    return state.shortlisted if position is None else position.stage is not Stage.PENDING


def open_interest_poll_ms(state: SymbolState) -> int:
    """How often the symbol's open interest is asked for at present; its age counts in it (domain 3.3)."""
    return OPEN_INTEREST_SHORTLISTED_MS if state.position is None else OPEN_INTEREST_HELD_MS


def _open_interest_wanted(state: SymbolState, now: int) -> bool:
    return _open_interest_read(state) and now >= _next_open_interest_ms(state)


def _next_open_interest_ms(state: SymbolState) -> int:
    due_ms = state.open_interest_ms + open_interest_poll_ms(state)
    if state.position is not None:  # a pending one may be filled at any time
        return due_ms
    if not state.shortlisted:
        return 0
    return max(due_ms, state.listed_ms + HISTORY_FIRST_MS) if _interest_past_wanted(state) else due_ms


def _interest_past_wanted(state: SymbolState) -> bool:
    """
    The past is asked for when a symbol begins to be read, and when it comes back after its samples of an hour ago have
    gone: else O says nothing for its first eight hours, or for one.
    """
    factors = state.factors
    if factors is None or factors.hole:
        return False
    return not (factors.interest.moments.ready and factors.interest.known)


def _kept_up(state: SymbolState) -> bool:
    """
    The past of basis and funding is read once of every symbol (domain 4.14): once all that is urgent stands and the
    stream of marks, which keeps both up from then on, has given a second sample at a bar's close.
    """
    factors = state.factors
    return factors is not None and factors.basis.moments.count > 1 and state.bars.ready and state.book.whole


def basis_past_bars(state: SymbolState) -> int:
    """How many bars of the past B needs before it says anything: a third of three days (domain 4.14)."""
    return state.factors.basis.moments.period // 3 if state.factors is not None else 0


def _basis_history_wanted(state: SymbolState) -> bool:
    """The past is read instead of waited for."""
    factors = state.factors
    return (
        factors is not None
        and not factors.hole
        and factors.bar_close_ms > 0
        and factors.basis.moments.count < basis_past_bars(state)
    )


def _funding_history_wanted(state: SymbolState) -> bool:
    factors = state.factors
    return factors is not None and not factors.basis.prints


def _funding_info_wanted(state: SymbolState) -> bool:
    factors = state.factors
    return factors is not None and not factors.basis.interval_hours
