"""
The only place for one symbol's closed 5m bars and the two average true ranges that follow from them (domain 3.1, 3.2).

``a`` is ATR(14) of 5m bars, ``A`` of 1h bars built from 12 aligned 5m bars; both by Wilder, seeded with the mean of the
first 14 true ranges, never below 2 ticks. They are estimates in float ticks (+ − × ÷ in a fixed order only) and leave
this file quantised to E8, because integers decide.

A jump of the open time other than 300 s makes the history not ready; a REST answer is merged and everything is built
again from the oldest bar kept, so a live and a backfilled history of the same bars agree from the same start.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.events import Bar

BAR_MS = 300_000
BARS_PER_HOUR = 12
HOUR_MS = BAR_MS * BARS_PER_HOUR
ATR_PERIOD = 14
KEPT_BARS = 300
FLOOR_TICKS = 2


class Wilder(msgspec.Struct):
    """One Wilder average of true ranges in float ticks; ``value`` is 0 until ``count`` reaches the period."""

    count: int = 0
    total: float = 0.0
    value: float = 0.0
    previous_close: int = 0

    def add(self, *, high: int, low: int, close: int) -> None:
        """Fold one bar (domain 3.2: max of high − low, |high − previous close|, |low − previous close|)."""
        span = high - low
        if self.count:
            span = max(span, abs(high - self.previous_close), abs(low - self.previous_close))
        self.previous_close = close
        self.count += 1
        if self.count < ATR_PERIOD:
            self.total += span
        elif self.count == ATR_PERIOD:
            self.total += span
            self.value = self.total / ATR_PERIOD
        else:
            self.value = self.value + (span - self.value) / ATR_PERIOD

    def e8(self, tick_e8: int) -> int:
        """The average in E8 with the floor of 2 ticks, 0 while it is not known."""
        if self.count < ATR_PERIOD:
            return 0
        return max(int(self.value * tick_e8 + 0.5), FLOOR_TICKS * tick_e8)


class Hour(msgspec.Struct):
    """The 1h bar in the making; only 12 consecutive bars from a full hour on count."""

    open_ms: int = 0
    bars: int = 0
    high: int = 0
    low: int = 0


class BarHistory(msgspec.Struct):
    """Closed bars, oldest first and without a hole, and what is estimated from them."""

    bars: list[Bar] = msgspec.field(default_factory=list)
    ahead: list[Bar] = msgspec.field(default_factory=list)  # closed bars behind a hole, until the answer fills it
    gapped: bool = True
    five_minutes: Wilder = msgspec.field(default_factory=Wilder)
    one_hour: Wilder = msgspec.field(default_factory=Wilder)
    hour: Hour = msgspec.field(default_factory=Hour)

    @property
    def ready(self) -> bool:
        """True when no bar is missing and both averages are known."""
        return not self.gapped and self.five_minutes.count >= ATR_PERIOD and self.one_hour.count >= ATR_PERIOD

    @property
    def last_close_ms(self) -> int:
        """Venue time of the last close, 0 before the first bar."""
        return self.bars[-1].open_ms + BAR_MS if self.bars else 0


def add_closed(history: BarHistory, bar: Bar) -> bool:
    """
    Fold one bar of the stream; returns True when it was the next closed one.

    The forming bar, a duplicate and an older bar change nothing. A bar behind a hole is kept aside.
    """
    if not bar.closed:
        return False
    if history.gapped or not history.bars:
        if not history.ahead or bar.open_ms > history.ahead[-1].open_ms:
            history.ahead.append(bar)
            del history.ahead[:-KEPT_BARS]
        return False
    expected = history.bars[-1].open_ms + BAR_MS
    if bar.open_ms < expected:
        return False
    if bar.open_ms > expected:
        history.gapped = True
        history.ahead.append(bar)
        return False
    _append(history, bar)
    return True


def backfill(history: BarHistory, bars: Iterable[Bar]) -> bool:
    """
    Merge a REST answer, keep the longest unbroken run that ends at the newest bar, and build everything again.

    Returns True when the history is whole afterwards. Rows not closed are ignored (domain 3.1: the last REST row is
    never taken as closed on trust; ``closed`` was judged against its close time when it was decoded).
    """
    known = {bar.open_ms: bar for bar in history.bars}
    known.update((bar.open_ms, bar) for bar in history.ahead)
    known.update((bar.open_ms, bar) for bar in bars if bar.closed)
    run: list[Bar] = []
    for open_ms in sorted(known, reverse=True):
        if run and run[-1].open_ms - open_ms != BAR_MS:
            break
        run.append(known[open_ms])
    run.reverse()
    rebuild(history, run[-KEPT_BARS:])
    return not history.gapped


def rebuild(history: BarHistory, bars: list[Bar]) -> None:
    """Start again from *bars* (oldest first, unbroken)."""
    history.bars = []
    history.ahead = []
    history.gapped = not bars
    history.five_minutes = Wilder()
    history.one_hour = Wilder()
    history.hour = Hour()
    for bar in bars:
        _append(history, bar)


def _append(history: BarHistory, bar: Bar) -> None:
    history.bars.append(bar)
    if len(history.bars) > KEPT_BARS:
        del history.bars[0]
    history.five_minutes.add(high=bar.high, low=bar.low, close=bar.close)
    hour = history.hour
    open_ms = bar.open_ms - bar.open_ms % HOUR_MS
    if open_ms == bar.open_ms:
        history.hour = Hour(open_ms=open_ms, bars=1, high=bar.high, low=bar.low)
        return
    if hour.open_ms != open_ms or not hour.bars:
        return  # the first, incomplete hour of the history
    hour.bars += 1
    hour.high = max(hour.high, bar.high)
    hour.low = min(hour.low, bar.low)
    if hour.bars == BARS_PER_HOUR:
        history.one_hour.add(high=hour.high, low=hour.low, close=bar.close)
