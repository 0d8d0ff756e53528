"""
The only place for one symbol's order book: how it is synchronised with the venue and when it is whole.

The rules are those of the venue sheet, section 2.8; each has a function that names its number::

    1 buffer diffs until a snapshot is there            _buffer
    2 ask for a snapshot                                ``wants_snapshot`` (asked by ``data_requests``)
    3 drop diffs with u < lastUpdateId                  _rule_3_older
    4 first diff: U <= lastUpdateId and u >= it         _rule_4_first
    5 then pu of each == u of the one before            _rule_5_follows
    6 oldest buffered U > lastUpdateId: too old         _rule_6_too_old

Levels carry absolute quantities in lots, prices in ticks. A book that crosses is not whole: it is dropped and asked
for again, and nothing is made up meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from enum import Enum, StrEnum

import msgspec

from pipeline.core.events import DepthDiff, DepthSnapshot, Level

BUFFER_LIMIT = 1_000  # diffs kept while a snapshot is awaited: 100 s at 100 ms; the oldest give way
LEVEL_LIMIT = 20_000  # levels per side; far levels that the venue never deletes again give way


class BookStatus(StrEnum):
    """SYNCED: whole. FIRST: snapshot in, first diff awaited (rule 4). WAITING: no snapshot. UNUSED: no diff yet."""

    UNUSED = "unused"
    WAITING = "waiting"
    FIRST = "first"
    SYNCED = "synced"


class BookOutcome(Enum):
    """What a diff or a snapshot did to the book."""

    APPLIED = "applied"
    STALE = "stale"
    BUFFERED = "buffered"
    GAP = "gap"
    TOO_OLD = "too_old"
    CROSSED = "crossed"


class BookImage(msgspec.Struct, frozen=True):
    """The stored form: levels in insertion order, so that the same history gives the same bytes."""

    status: BookStatus
    last_update_id: int
    event_ms: int
    resyncs: int
    bids: dict[int, int]
    asks: dict[int, int]
    buffer: list[DepthDiff]
    known_bid: int = 0
    known_ask: int = 0
    heard: int = 0


class Book:
    """
    Two sides of price → quantity, with the sorted prices derived from them (ascending on both sides).

    The dicts are the book; ``bid_prices`` and ``ask_prices`` only make best and top cheap and are never stored.
    ``known_bid`` and ``known_ask`` are the last prices of the snapshot: beyond them a level without an entry may hold
    orders that no diff has touched yet (0: no snapshot). ``heard`` is the last update of the levels or the buffer that
    were dropped last: what ends there or before is a second connection's repeat, not news. ``changed``, never stored:
    whether the diff or snapshot just folded did anything at all.
    """

    __slots__ = (
        "ask_prices",
        "asks",
        "bid_prices",
        "bids",
        "buffer",
        "changed",
        "event_ms",
        "heard",
        "known_ask",
        "known_bid",
        "last_update_id",
        "resyncs",
        "status",
    )

    def __init__(self) -> None:
        self.status = BookStatus.UNUSED
        self.last_update_id = 0
        self.event_ms = 0
        self.resyncs = 0
        self.heard = 0
        self.known_bid = 0
        self.known_ask = 0
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.bid_prices: list[int] = []
        self.ask_prices: list[int] = []
        self.buffer: list[DepthDiff] = []
        self.changed = False

    @property
    def whole(self) -> bool:
        """True while the levels are what the venue has (a fresh snapshot counts: rule 4 proves the next diff)."""
        return self.status is BookStatus.SYNCED or self.status is BookStatus.FIRST

    @property
    def wants_snapshot(self) -> bool:
        """True while diffs come and no snapshot fits them (rule 2)."""
        return self.status is BookStatus.WAITING

    @property
    def best_bid(self) -> int:
        """Highest bid in ticks, 0 when the side is empty."""
        return self.bid_prices[-1] if self.bid_prices else 0

    @property
    def best_ask(self) -> int:
        """Lowest ask in ticks, 0 when the side is empty."""
        return self.ask_prices[0] if self.ask_prices else 0

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best *count* levels of both sides, best first."""
        bids = [(price, self.bids[price]) for price in reversed(self.bid_prices[-count:])] if count else []
        asks = [(price, self.asks[price]) for price in self.ask_prices[:count]]
        return bids, asks

    def image(self) -> BookImage:
        """What is stored of the book."""
        return BookImage(
            status=self.status,
            last_update_id=self.last_update_id,
            event_ms=self.event_ms,
            resyncs=self.resyncs,
            bids=self.bids,
            asks=self.asks,
            buffer=self.buffer,
            known_bid=self.known_bid,
            known_ask=self.known_ask,
            heard=self.heard,
        )

    @classmethod
    def from_image(cls, image: BookImage) -> Book:
        """The book that was stored; the sorted prices are derived again."""
        book = cls()
        book.status = image.status
        book.last_update_id = image.last_update_id
        book.event_ms = image.event_ms
        book.resyncs = image.resyncs
        book.bids = dict(image.bids)
        book.asks = dict(image.asks)
        book.bid_prices = sorted(book.bids)
        book.ask_prices = sorted(book.asks)
        book.buffer = list(image.buffer)
        book.known_bid = image.known_bid
        book.known_ask = image.known_ask
        book.heard = image.heard
        return book


def apply_diff(book: Book, diff: DepthDiff) -> BookOutcome:
    """
    Fold one diff into *book*.

    A gap and a crossed book are outcomes, not errors: they happen on every reconnect. The book is then dropped, the
    diff kept in the buffer, and a snapshot wanted.
    """
    status = book.status
    book.changed = True
    if status is BookStatus.SYNCED:
        if diff.previous_final_update_id != book.last_update_id:
            return _rule_5_follows(book, diff)
    elif status is BookStatus.FIRST:
        if _rule_3_older(diff, last_update_id=book.last_update_id):
            book.changed = False
            return BookOutcome.STALE
        if not _rule_4_first(diff, last_update_id=book.last_update_id):
            _drop(book)
            _buffer(book, diff)
            return BookOutcome.GAP
        book.status = BookStatus.SYNCED
    else:
        book.status = BookStatus.WAITING
        book.changed = _buffer(book, diff)
        return BookOutcome.BUFFERED if book.changed else BookOutcome.STALE
    return _change(book, diff)


def apply_snapshot(book: Book, snapshot: DepthSnapshot) -> BookOutcome:
    """
    Start the book from a REST snapshot and the buffered diffs that follow it (rules 3 to 6).

    A snapshot nobody waits for (a second answer to one question) is STALE and changes nothing. TOO_OLD: the caller
    asks again, with back-off (each try weighs 20).
    """
    book.changed = not book.whole
    if book.whole:
        return BookOutcome.STALE
    waiting = [d for d in book.buffer if not _rule_3_older(d, last_update_id=snapshot.last_update_id)]
    if waiting and _rule_6_too_old(waiting[0], last_update_id=snapshot.last_update_id):
        return BookOutcome.TOO_OLD
    book.buffer = []
    book.bids = {price: lots for price, lots in snapshot.bids if lots}
    book.asks = {price: lots for price, lots in snapshot.asks if lots}
    book.bid_prices = sorted(book.bids)
    book.ask_prices = sorted(book.asks)
    book.known_bid = book.bid_prices[0] if book.bid_prices else 0
    book.known_ask = book.ask_prices[-1] if book.ask_prices else 0
    book.last_update_id = snapshot.last_update_id
    book.event_ms = snapshot.event_ms
    book.status = BookStatus.FIRST
    outcome = _unless_crossed(book)
    for diff in waiting:
        if outcome is not BookOutcome.APPLIED:
            break
        outcome = apply_diff(book, diff)
    return outcome


def lose(book: Book) -> None:
    """Forget the levels because a stream may have a hole or the grid changed; the next diffs are buffered again."""
    if book.status is not BookStatus.UNUSED:
        _drop(book)


def _rule_3_older(diff: DepthDiff, *, last_update_id: int) -> bool:
    """Rule 3: the snapshot already contains the diff."""
    return diff.final_update_id < last_update_id


def _rule_4_first(diff: DepthDiff, *, last_update_id: int) -> bool:
    """Rule 4: the first diff applied spans the snapshot's id (futures: not lastUpdateId + 1 as on spot)."""
    return diff.first_update_id <= last_update_id <= diff.final_update_id


def _rule_5_follows(book: Book, diff: DepthDiff) -> BookOutcome:
    """Rule 5 is broken: an old diff again is STALE (a second connection), anything else a GAP: discard, go to 2."""
    if diff.final_update_id <= book.last_update_id:
        book.changed = False
        return BookOutcome.STALE
    _drop(book)
    _buffer(book, diff)
    return BookOutcome.GAP


def _rule_6_too_old(diff: DepthDiff, *, last_update_id: int) -> bool:
    """Rule 6: even the oldest diff left begins behind the snapshot."""
    return diff.first_update_id > last_update_id


def _buffer(book: Book, diff: DepthDiff) -> bool:
    """
    Rule 1: keep diffs that chain; one that does not makes those before it useless. False for one that is there, or
    that was before the book was dropped.
    """
    if not book.buffer:
        if diff.final_update_id <= book.heard:
            return False
    else:
        last = book.buffer[-1]
        if diff.final_update_id <= last.final_update_id:
            return False
        if diff.previous_final_update_id != last.final_update_id:
            book.buffer.clear()
    if len(book.buffer) == BUFFER_LIMIT:
        del book.buffer[0]
    book.buffer.append(diff)
    return True


def _change(book: Book, diff: DepthDiff) -> BookOutcome:
    _change_side(book.bids, book.bid_prices, diff.bids)
    _change_side(book.asks, book.ask_prices, diff.asks)
    book.last_update_id = diff.final_update_id
    book.event_ms = diff.event_ms
    if len(book.bid_prices) > LEVEL_LIMIT:
        _prune(book.bids, book.bid_prices, slice(0, len(book.bid_prices) - LEVEL_LIMIT))
    if len(book.ask_prices) > LEVEL_LIMIT:
        _prune(book.asks, book.ask_prices, slice(LEVEL_LIMIT, None))
    return _unless_crossed(book)


def _change_side(levels: dict[int, int], prices: list[int], changes: list[Level]) -> None:
    """Set or delete levels; deleting an unknown one is normal (venue sheet 2.8)."""
    for price, lots in changes:
        if lots:
            if price not in levels:
                insort(prices, price)
            levels[price] = lots
        elif levels.pop(price, 0):
            del prices[bisect_left(prices, price)]


def _prune(levels: dict[int, int], prices: list[int], far: slice) -> None:
    for price in prices[far]:
        del levels[price]
    del prices[far]


def _unless_crossed(book: Book) -> BookOutcome:
    """A best bid at or above the best ask cannot be: something was lost, whatever the ids say."""
    if book.bid_prices and book.ask_prices and book.bid_prices[-1] >= book.ask_prices[0]:
        _drop(book)
        return BookOutcome.CROSSED
    return BookOutcome.APPLIED


def _drop(book: Book) -> None:
    book.status = BookStatus.WAITING
    if book.buffer:
        book.heard = book.buffer[-1].final_update_id
    elif book.last_update_id:
        book.heard = book.last_update_id
    book.resyncs += 1
    book.last_update_id = 0
    book.known_bid = 0
    book.known_ask = 0
    book.bids = {}
    book.asks = {}
    book.bid_prices = []
    book.ask_prices = []
    book.buffer = []
