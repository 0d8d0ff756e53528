"""
The only place that folds market data into a symbol's state: quote, mark, book, bars, open interest, instrument.

What follows for an open position is decided elsewhere (``engine`` calls ``exits`` afterwards).
"""

from __future__ import annotations

from typing import Final

from pipeline.core.bars import BAR_MS, add_closed, backfill
from pipeline.core.book import BookOutcome, apply_diff, apply_snapshot
from pipeline.core.data_requests import answered, ask, ask_what_is_missing, basis_past_bars
from pipeline.core.events import (
    Bar,
    Bars,
    BasisHistory,
    DepthDiff,
    DepthSnapshot,
    FeedLost,
    FundingHistory,
    FundingInfo,
    InstrumentChanged,
    LeverageBrackets,
    Malformed,
    MarkPrice,
    OpenInterest,
    OpenInterestHistory,
    Quote,
    SourceGap,
)
from pipeline.core.feeds import BARS, DEPTH, INSTRUMENT, MARK, QUOTE, break_feeds, heal
from pipeline.core.liquidation_map import Bracket
from pipeline.core.rescale import rescale
from pipeline.core.state import SymbolState
from pipeline.core.turn import Turn

BELIEVED_MS: Final = 60_000


def _is_old(state: SymbolState, feed: str, event: Quote | MarkPrice, known: Quote | MarkPrice) -> bool:
    """
    True for the same again, and for what a slow second connection still had.

    Ids may start again: after a loss of the feed a lower one is believed when the venue's time went on, and anything
    once nothing newer has come for a minute (its time may have been set back too).
    """
    if event == known:
        return True
    if feed not in state.feeds:
        return event.event_ms < known.event_ms or isinstance(event, Quote)
    stamp = state.quote_stamp if feed == QUOTE else state.mark_stamp
    waited = stamp is not None and state.log_ms - stamp.at_ms > BELIEVED_MS
    return event.event_ms < known.event_ms and not waited


def quote(turn: Turn, event: Quote) -> None:
    """Take a newer best bid and ask; an older one, or the same again (second connection), is dropped by its id."""
    state = turn.state
    known = state.quote
    if known is not None and event.update_id <= known.update_id and _is_old(state, QUOTE, event, known):
        return
    state.quote = event
    state.quote_stamp = turn.stamp
    if event.polled:
        answered(state, "book_ticker")
    elif state.feeds:
        heal(state, QUOTE)


def mark_price(turn: Turn, event: MarkPrice) -> bool:
    """Take a newer mark price; returns False for an older one, or the same again (second connection)."""
    state = turn.state
    known = state.mark
    if known is not None and event.event_ms <= known.event_ms and _is_old(state, MARK, event, known):
        return False
    state.mark = event
    state.mark_stamp = turn.stamp
    if state.position is not None:
        answered(state, "premium_index")
    if state.feeds:
        heal(state, MARK)
    return True


def depth_diff(turn: Turn, event: DepthDiff) -> None:
    """Fold a diff; a gap or a cross drops the book, is noted, and asks for a snapshot."""
    state = turn.state
    book = state.book
    outcome = apply_diff(book, event)
    if outcome is BookOutcome.APPLIED:
        if state.feeds:
            heal(state, DEPTH)
        return
    _after_book(turn, outcome)
    if outcome is BookOutcome.BUFFERED:
        ask(turn, "depth")


def depth_snapshot(turn: Turn, event: DepthSnapshot) -> None:
    """Start the book from a snapshot; one that is too old is asked for again with back-off (rule 6)."""
    outcome = apply_snapshot(turn.state.book, event)
    answered(turn.state, "depth", useful=outcome is BookOutcome.APPLIED)
    if outcome is BookOutcome.APPLIED:
        heal(turn.state, DEPTH)
        turn.note("book_whole", f"synchronised at {event.last_update_id}")
    else:
        _after_book(turn, outcome)
    turn.state.wake_ms = 0


def _after_book(turn: Turn, outcome: BookOutcome) -> None:
    match outcome:
        case BookOutcome.GAP | BookOutcome.CROSSED:
            turn.state.feeds[DEPTH] = f"book {outcome.value}"
            turn.note(f"book_{outcome.value}", "dropped, a snapshot is wanted")
            ask(turn, "depth")
        case BookOutcome.TOO_OLD:
            turn.note("book_snapshot_too_old", "asked for again")
        case BookOutcome.STALE | BookOutcome.BUFFERED | BookOutcome.APPLIED:
            pass


def bar(turn: Turn, event: Bar) -> bool:
    """Fold a bar of the stream; returns True when it was the next closed one."""
    state = turn.state
    if not event.closed:
        state.forming = event
        return False
    state.forming = None
    whole = not state.bars.gapped
    added = add_closed(state.bars, event)
    if added:
        return True
    if state.bars.gapped:
        if whole:
            turn.note("bars_gap", f"bar {event.open_ms} does not follow, history is asked for")
        ask(turn, "klines")
        state.wake_ms = 0
    return False


def bars(turn: Turn, event: Bars) -> None:
    """Merge a REST answer of klines."""
    state = turn.state
    whole = backfill(state.bars, event.bars)
    answered(state, "klines", useful=whole)
    if whole:
        heal(state, BARS)
    turn.note("bars_filled" if state.bars.ready else "bars_short", f"{len(state.bars.bars)} closed bars")
    state.wake_ms = 0


def open_interest(turn: Turn, event: OpenInterest) -> None:
    """Take the polled open interest."""
    state = turn.state
    state.open_interest_lots = event.lots
    state.open_interest_ms = turn.now
    answered(state, "open_interest")


def basis_history(turn: Turn, event: BasisHistory) -> None:
    """Note that the past came; only the factors read it. A coin too young for B is asked for ever more seldom."""
    answered(turn.state, "basis_history", useful=len(event.rows) > basis_past_bars(turn.state) > 0)
    turn.state.wake_ms = 0


def funding_history(turn: Turn, event: FundingHistory) -> None:
    """Note that the past came; only the factors read it."""
    answered(turn.state, "funding_history", useful=bool(event.rows))
    turn.state.wake_ms = 0


def funding_info(turn: Turn, _: FundingInfo) -> None:
    """Note that the answer came; only the factors read it."""
    answered(turn.state, "funding_info")
    turn.state.wake_ms = 0


def leverage_brackets(turn: Turn, event: LeverageBrackets) -> None:
    """Keep the brackets: the liquidation map takes its maintenance rates from them, sizing its leverage."""
    state = turn.state
    state.brackets = [Bracket(leverage, cap_e8, ppm) for leverage, cap_e8, ppm in event.rows]
    answered(state, "leverage_brackets")
    state.wake_ms = 0


def open_interest_history(turn: Turn, event: OpenInterestHistory) -> None:
    """
    The past also says what is open at its end; the rest of it only the factors read.

    A row counts from one period after its end on (domain 4.6), so the next poll is due one interval after that.
    """
    state = turn.state
    answered(state, "open_interest_history", useful=bool(event.rows))
    if event.rows:
        end_ms, lots = event.rows[-1]
        if 0 < lots and state.open_interest_ms < end_ms <= turn.now:
            state.open_interest_lots, state.open_interest_ms = lots, min(turn.now, end_ms + BAR_MS)
    turn.state.wake_ms = 0


def instrument_changed(turn: Turn, event: InstrumentChanged) -> None:
    """Take what the venue now says about the symbol; another tick or lot rescales every stored integer at once."""
    state = turn.state
    known = state.instrument
    answered(state, "exchange_info")
    heal(state, INSTRUMENT)
    if known == event.instrument:
        return
    if known is None:
        state.instrument = event.instrument
        turn.note("instrument_known", f"status {event.instrument.status}")
    else:
        if (known.tick_e8, known.step_e8) != (event.instrument.tick_e8, event.instrument.step_e8):
            rescale(state, event.instrument)
            turn.alert("instrument_rescaled", "warning", "tick or lot size changed; every stored integer was rescaled")
        elif known.status != event.instrument.status:
            turn.alert("instrument_status", "warning", f"{known.status} became {event.instrument.status}")
        state.instrument = event.instrument
    state.wake_ms = 0
    ask_what_is_missing(turn)


def not_whole(turn: Turn, event: Malformed | SourceGap | FeedLost) -> None:
    """Something of a feed is missing or unreadable: entries close until the feed proves itself again (P5)."""
    match event:
        case Malformed(stream=stream, reason=reason):
            source = stream
        case SourceGap(source=source, missing=missing):
            reason = f"{missing} lines missing"
        case FeedLost(stream=source, reason=reason):
            pass
    broken = break_feeds(turn.state, source, reason)
    if broken:
        turn.note("feed_broken", f"{', '.join(broken)}: {reason} ({source})")
    turn.state.wake_ms = 0
    if turn.state.instrument is not None:
        ask_what_is_missing(turn)
