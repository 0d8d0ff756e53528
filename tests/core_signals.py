"""The only place where tests get a symbol whose every gate passes, and the scores of a strong bar."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.core.book import BookStatus
from pipeline.core.events import Side
from pipeline.core.scores import Scores
from pipeline.core.wall_state import WallState
from tests.core_scores import scores
from tests.sessions.script import INSTRUMENT, START_MS, Session

PRICE = 50_000


def strong(side: Side, *, bar_close_ms: int = START_MS, **changes: Any) -> Scores:
    """Scores of a bar that is strong for *side*: |E| 50, strength above 65; everything else is good."""
    sign = side.sign
    values = {"C": 60_000 * sign, "V": 60_000 * sign, "O": 60_000 * sign, "L": 80_000, "I": 50_000}
    fields: dict[str, Any] = {
        "bar_close_ms": bar_close_ms,
        "score": 50_000 * sign,
        "odds_long": 800_000 if sign > 0 else 200_000,
        "odds_short": 800_000 if sign < 0 else 200_000,
        "atr_1h_milliticks": 350_000,
        "swing_high": PRICE + 1_000,
        "swing_low": PRICE - 1_000,
        "highest_day": PRICE + 1_200,
        "lowest_day": PRICE - 1_200,
    }
    extra = changes.pop("values", {})
    return scores(values=values | extra, **(fields | changes))


def ready(side: Side = Side.BUY, **changes: Any) -> Session:
    """A session whose symbol passes every gate for *side*."""
    session = Session()
    session.ready(price=PRICE)
    bars = session.state.bars.bars
    bars[:] = [msgspec.structs.replace(bar, trades=100) for bar in bars]
    book = session.state.book
    book.status = BookStatus.SYNCED
    book.bids = {PRICE - 1 - level: 200 for level in range(50)}
    book.asks = {PRICE + 1 + level: 200 for level in range(50)}
    book.bid_prices, book.ask_prices = sorted(book.bids), sorted(book.asks)
    session.state.walls = WallState(tick_e8=INSTRUMENT.tick_e8, step_e8=INSTRUMENT.step_e8)
    session.state.signal.next_funding_ms = START_MS + 3_600_000
    session.state.scores = strong(side, **changes)
    return session
