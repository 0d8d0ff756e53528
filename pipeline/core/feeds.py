"""
The only place that says which of a symbol's feeds are whole and fresh, and therefore why entries are closed (P5).

Stale, crossed, gapped or unknown data closes entries and stands in the state with its reason; it is never replaced by a
made-up value. Exits go on with what is good.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.bars import BAR_MS
from pipeline.core.book import BookStatus, lose
from pipeline.core.events import TradingMode
from pipeline.core.state import SymbolState

QUOTE: Final = "quote"
DEPTH: Final = "depth"
MARK: Final = "mark"
BARS: Final = "bars"
USER: Final = "user"
INSTRUMENT: Final = "instrument"

BARS_MAX_AGE_MS: Final = 2 * BAR_MS + 20_000  # domain 3.3: hard age of a closed bar, 620 s after its close

# What a stream's name tells (venue sheet 1.2 and 2); groups are the connector's connections, one per route.
_BY_WORD: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("depth", (DEPTH,)),
    ("bookTicker", (QUOTE,)),
    ("markPrice", (MARK,)),
    ("kline", (BARS,)),
    ("aggTrade", ()),
    ("forceOrder", ()),
    ("contractInfo", ()),
    ("public", (QUOTE, DEPTH)),
    ("market", (MARK, BARS)),
    ("private", (USER,)),
    ("user", (USER,)),
    ("ORDER_TRADE_UPDATE", (USER,)),
    ("ALGO_UPDATE", (USER,)),
    ("ACCOUNT_UPDATE", (USER,)),
    ("execute", (USER,)),  # outcomes lost: what became of our orders is read from the venue
    ("account", ()),  # admissions repeat or expire, trading state repeats
    ("decide", ()),  # ticks
)


def feeds_of(stream: str) -> tuple[str, ...]:
    """The feeds that a stream, connection group or writer carries; an unknown name casts doubt on all of them."""
    for word, feeds in _BY_WORD:
        if word in stream:
            return feeds
    return (QUOTE, DEPTH, MARK, BARS, USER)


def break_feeds(state: SymbolState, stream: str, reason: str) -> list[str]:
    """Mark the feeds of *stream* as not whole until they prove themselves again; returns those newly broken."""
    broken = []
    for feed in feeds_of(stream):
        if feed == DEPTH and state.book.status is BookStatus.UNUSED:
            continue  # no diff has ever come: there is no book to lose, and none that could prove itself whole again
        if feed not in state.feeds:
            broken.append(feed)
        state.feeds[feed] = reason
        if feed == DEPTH:
            lose(state.book)
        elif feed == BARS and state.bars.bars:
            state.bars.gapped = True
    return broken


def heal(state: SymbolState, feed: str) -> None:
    """The feed is whole again."""
    if state.feeds:
        state.feeds.pop(feed, None)


def age_ms(state: SymbolState, at_ms: int) -> int:
    """
    Age of something received at *at_ms*: against the later of log time and append time, so that frames that were
    held up in an outage stay old (architecture 2.2).
    """
    return max(state.log_ms, state.append_ms) - at_ms


def entry_blocks(state: SymbolState, *, needs_bars: bool = True) -> list[str]:
    """Every reason why entries are closed for the symbol now, in words; empty when they are open."""
    policy = state.policy
    blocks: list[str] = []
    if state.halted:
        blocks.append(f"the symbol is halted: {state.halted}")
    if state.instrument is None:
        blocks.append("the instrument is not known yet")
    elif not state.instrument.trading:
        blocks.append(f"the venue says status {state.instrument.status}")
    if state.mode is not TradingMode.ACTIVE:
        blocks.append(f"trading state is {state.mode.value}: {state.mode_reason}")
    elif age_ms(state, state.mode_ms) > policy.trading_state_max_age_ms:
        blocks.append("the trading state is too old")
    if state.quote is None or state.quote_stamp is None:
        blocks.append("no quote yet")
    elif age_ms(state, state.quote_stamp.at_ms) > policy.quote_max_age_ms:
        blocks.append("the quote is too old")
    if state.mark is None or state.mark_stamp is None:
        blocks.append("no mark price yet")
    elif age_ms(state, state.mark_stamp.at_ms) > policy.mark_max_age_ms:
        blocks.append("the mark price is too old")
    if state.book.status is not BookStatus.UNUSED and not state.book.whole:
        blocks.append("the order book is not whole")
    if needs_bars:
        if not state.bars.ready:
            blocks.append("the 5m bars are not ready")
        elif age_ms(state, state.bars.last_close_ms) > BARS_MAX_AGE_MS:
            blocks.append("the 5m bars are too old")
    for feed, reason in state.feeds.items():
        if feed != BARS or needs_bars:
            blocks.append(f"{feed} is not whole: {reason}")
    if state.foreign is not None:
        blocks.append("the venue holds a position that is not ours")
    return blocks


def quote_fresh(state: SymbolState) -> bool:
    """True when the quote may stand for the price."""
    stamp = state.quote_stamp
    return (
        stamp is not None and QUOTE not in state.feeds and age_ms(state, stamp.at_ms) <= state.policy.quote_max_age_ms
    )


def mark_fresh(state: SymbolState) -> bool:
    """True when the mark price may move a stop or judge a rail."""
    stamp = state.mark_stamp
    return stamp is not None and MARK not in state.feeds and age_ms(state, stamp.at_ms) <= state.policy.mark_max_age_ms
