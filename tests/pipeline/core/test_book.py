"""The only place for tests of the order book: the venue's rules, a naive book beside it, two recorded sessions."""

from __future__ import annotations

import gzip
import json
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.book import (
    BUFFER_LIMIT,
    LEVEL_LIMIT,
    Book,
    BookImage,
    BookOutcome,
    BookStatus,
    apply_diff,
    apply_snapshot,
    lose,
)
from pipeline.core.events import DepthDiff, DepthSnapshot, Level
from pipeline.core.units import Milliseconds, parse_e8
from tests.data import require


def diff(
    first: int, final: int, previous: int, bids: list[Level] | None = None, asks: list[Level] | None = None
) -> DepthDiff:
    """A diff with the ids U, u, pu."""
    return DepthDiff(
        first_update_id=first,
        final_update_id=final,
        previous_final_update_id=previous,
        bids=bids or [],
        asks=asks or [],
        event_ms=Milliseconds(final),
    )


def snapshot(last: int, bids: list[Level] | None = None, asks: list[Level] | None = None) -> DepthSnapshot:
    """A REST answer with lastUpdateId."""
    return DepthSnapshot(
        last_update_id=last, bids=bids or [(99, 1)], asks=asks or [(101, 1)], event_ms=Milliseconds(last)
    )


def synced() -> Book:
    """A book that is whole at id 10: 99 × 1 against 101 × 1."""
    book = Book()
    assert BookOutcome.BUFFERED is apply_diff(book, diff(5, 10, 4))
    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(10))
    return book


# ------------------------------------------------------------------------------------------------- the venue's rules


def test_rule_1_diffs_are_buffered_until_a_snapshot_is_there() -> None:
    """Nothing is shown of a book that is not whole."""
    book = Book()

    assert BookOutcome.BUFFERED is apply_diff(book, diff(5, 10, 4, bids=[(99, 1)]))
    assert (True, False, 0) == (book.wants_snapshot, book.whole, book.best_bid)


def test_rule_1_the_buffer_is_bounded_and_keeps_the_newest() -> None:
    """The oldest diffs give way."""
    book = Book()
    for number in range(BUFFER_LIMIT + 5):
        apply_diff(book, diff(number + 1, number + 1, number))

    assert (BUFFER_LIMIT, BUFFER_LIMIT + 5) == (len(book.buffer), book.buffer[-1].final_update_id)


def test_rule_3_older_diffs_are_dropped() -> None:
    """u < lastUpdateId: the snapshot contains them."""
    book = Book()
    apply_diff(book, diff(1, 9, 0, bids=[(98, 7)]))

    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(10))
    assert {99: 1} == book.bids


def test_rule_4_the_first_diff_spans_the_snapshots_id() -> None:
    """U <= lastUpdateId <= u (not lastUpdateId + 1 as on spot)."""
    book = Book()
    apply_diff(book, diff(8, 12, 7, bids=[(98, 7)]))

    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(10))
    assert (BookStatus.SYNCED, {99: 1, 98: 7}, 12) == (book.status, book.bids, book.last_update_id)


def test_rule_4_a_first_diff_beyond_the_snapshot_is_a_gap() -> None:
    """The snapshot came while nothing was buffered, and the next diff begins behind it."""
    book = Book()
    apply_diff(book, diff(1, 2, 0))
    apply_snapshot(book, snapshot(10))
    assert BookStatus.FIRST is book.status

    assert BookOutcome.GAP is apply_diff(book, diff(12, 13, 11))
    assert (True, {}) == (book.wants_snapshot, book.bids)


def test_rule_5_each_diff_follows_the_one_before() -> None:
    """pu == previous u, whatever U is; ids need not be consecutive."""
    book = synced()

    assert BookOutcome.APPLIED is apply_diff(book, diff(15, 20, 10, asks=[(100, 4)]))
    assert 100 == book.best_ask


def test_rule_5_a_gap_drops_the_book_and_keeps_the_diff_for_the_next_snapshot() -> None:
    """The diff that showed the gap may be the first one behind the next snapshot."""
    book = synced()

    assert BookOutcome.GAP is apply_diff(book, diff(15, 20, 12, bids=[(97, 3)]))
    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(16))
    assert {99: 1, 97: 3} == book.bids


def test_a_diff_seen_again_changes_nothing() -> None:
    """A second connection repeats diffs: the first in the log wins."""
    book = synced()
    once = diff(11, 20, 10, bids=[(98, 2)])
    apply_diff(book, once)

    assert BookOutcome.STALE is apply_diff(book, once)
    assert book.whole


@pytest.mark.parametrize("drops", [1, 2])
def test_a_diff_seen_again_after_the_book_was_dropped_changes_nothing(drops: int) -> None:
    """
    What the other connection repeats behind a loss was applied before it: it is neither buffered nor counted as a look
    (factor L counts looks; two connectors side by side showed it).
    """
    book = synced()
    applied = [diff(11, 20, 10, bids=[(98, 2)]), diff(21, 30, 20, bids=[(97, 2)])]
    for one in applied:
        apply_diff(book, one)
    for _ in range(drops):
        lose(book)
    before = book.image()

    assert [BookOutcome.STALE] * 2 == [apply_diff(book, one) for one in applied]
    assert (before, False) == (book.image(), book.changed)
    assert BookOutcome.BUFFERED is apply_diff(book, diff(31, 40, 30))
    assert BookOutcome.STALE is apply_diff(Book.from_image(before), applied[-1])


def test_a_venue_that_counts_anew_is_believed_by_its_next_snapshot() -> None:
    """Ids that went back are taken for repeats until a snapshot says where the venue is; one gap later all is whole."""
    book = synced()
    lose(book)

    assert BookOutcome.STALE is apply_diff(book, diff(2, 2, 1))
    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(3))
    assert BookOutcome.GAP is apply_diff(book, diff(5, 5, 4))
    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(5))
    assert BookOutcome.APPLIED is apply_diff(book, diff(6, 6, 5))
    assert book.whole


def test_rule_6_a_snapshot_older_than_the_buffer_is_asked_for_again() -> None:
    """The oldest buffered diff begins behind the snapshot."""
    book = Book()
    apply_diff(book, diff(20, 25, 19))

    assert BookOutcome.TOO_OLD is apply_snapshot(book, snapshot(10))
    assert BookOutcome.APPLIED is apply_snapshot(book, snapshot(22))


def test_a_second_snapshot_for_a_whole_book_changes_nothing() -> None:
    """Two answers to one question: the book goes on."""
    book = synced()

    assert BookOutcome.STALE is apply_snapshot(book, snapshot(9, bids=[(50, 1)]))
    assert 99 == book.best_bid


def test_a_crossed_book_is_not_whole() -> None:
    """Best bid at the best ask: something was lost, the book is dropped."""
    book = synced()

    assert BookOutcome.CROSSED is apply_diff(book, diff(11, 20, 10, bids=[(101, 1)]))
    assert (False, True) == (book.whole, book.wants_snapshot)


def test_deleting_an_unknown_level_is_normal() -> None:
    """Venue sheet 2.8."""
    book = synced()

    assert BookOutcome.APPLIED is apply_diff(book, diff(11, 20, 10, bids=[(42, 0)]))


def test_a_lost_stream_forgets_the_levels_but_an_unused_book_stays_unused() -> None:
    """A symbol without depth stream never wants a snapshot."""
    book, unused = synced(), Book()
    lose(book)
    lose(unused)

    assert (BookStatus.WAITING, BookStatus.UNUSED) == (book.status, unused.status)


def test_the_number_of_levels_is_bounded_from_the_far_end() -> None:
    """Levels the venue never deletes give way; the touch stays."""
    book = synced()
    apply_diff(book, diff(11, 20, 10, asks=[(1_000 + i, 1) for i in range(LEVEL_LIMIT + 10)]))

    assert (LEVEL_LIMIT, LEVEL_LIMIT, 101) == (len(book.asks), len(book.ask_prices), book.best_ask)


def test_top_is_best_first() -> None:
    """Both sides from the touch outwards."""
    book = synced()
    apply_diff(book, diff(11, 20, 10, bids=[(98, 2), (97, 3)], asks=[(103, 5)]))

    assert ([(99, 1), (98, 2)], [(101, 1), (103, 5)]) == book.top(2)
    assert ([], []) == book.top(0)


# ---------------------------------------------------------------------------------- beside a naive book, and recorded

LEVELS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=6)


class NaiveBook:
    """The venue's six rules once more, slowly: keep everything, start again from the snapshot at each question."""

    def __init__(self) -> None:
        self.chain: list[DepthDiff] = []  # diffs that follow one another
        self.base: DepthSnapshot | None = None

    def diff(self, event: DepthDiff) -> None:
        """Rules 1 and 5; behind a snapshot without a diff yet also rule 4."""
        if self.base is not None and not self._applied():
            if event.final_update_id < self.base.last_update_id:
                return
            if event.first_update_id > self.base.last_update_id:
                self.chain, self.base = [event], None
                return
            self.chain = [event]
            return
        if self.chain and event.final_update_id <= self.chain[-1].final_update_id:
            return
        if self.chain and event.previous_final_update_id != self.chain[-1].final_update_id:
            self.chain, self.base = [], None
        self.chain.append(event)

    def snapshot(self, event: DepthSnapshot) -> None:
        """Rules 3, 4 and 6."""
        if self.base is not None:
            return
        later = [d for d in self.chain if d.final_update_id >= event.last_update_id]
        if not later or later[0].first_update_id <= event.last_update_id:
            self.base = event

    def _applied(self) -> list[DepthDiff]:
        assert self.base is not None
        return [d for d in self.chain if d.final_update_id >= self.base.last_update_id]

    def sides(self) -> tuple[dict[int, int], dict[int, int]] | None:
        """The levels now, None while not whole; a cross throws everything away."""
        if self.base is None:
            return None
        bids, asks = dict(self.base.bids), dict(self.base.asks)
        for event in [None, *self._applied()]:
            for side, changes in ((bids, event.bids), (asks, event.asks)) if event is not None else ():
                for price, lots in changes:
                    side[price] = lots
                    if not lots:
                        del side[price]
            if bids and asks and max(bids) >= min(asks):
                self.chain, self.base = [], None
                return None
        return bids, asks


@given(
    st.lists(
        st.tuples(LEVELS, LEVELS, st.sampled_from(["follows", "follows", "gap", "again", "snapshot"])), max_size=40
    )
)
def test_the_book_equals_a_naive_one_and_is_never_crossed_while_whole(
    story: list[tuple[list[Level], list[Level], str]],
) -> None:
    """The same levels as the naive book after any order of diffs, gaps, repeats and snapshots."""
    book, naive = Book(), NaiveBook()
    last = 10
    for bids, asks, kind in story:
        if kind == "snapshot":
            taken = snapshot(last, bids=[(10, 1)], asks=[(30, 1)])
            if book.status is not BookStatus.UNUSED:
                apply_snapshot(book, taken)
                naive.snapshot(taken)
        else:
            previous = {"follows": last, "gap": last + 3, "again": last - 1}[kind]
            event = diff(previous + 1, previous + 1, previous, bids, asks)
            apply_diff(book, event)
            naive.diff(event)
            last = max(last, event.final_update_id)
        sides = naive.sides()
        assert (sides is not None) == book.whole
        if sides is not None:
            assert sides == (book.bids, book.asks)
            assert (sorted(book.bids), sorted(book.asks)) == (book.bid_prices, book.ask_prices)
            assert not book.bids or not book.asks or book.best_bid < book.best_ask


@given(st.lists(st.tuples(LEVELS, LEVELS), max_size=20))
def test_the_stored_book_is_the_book(story: list[tuple[list[Level], list[Level]]]) -> None:
    """Levels keep their insertion order through bytes, so that the same history gives the same bytes."""
    book = synced()
    last = 10
    for bids, asks in story:
        apply_diff(book, diff(last + 1, last + 1, last, bids, asks))
        last += 1
    stored = msgspec.msgpack.encode(book.image())
    again = Book.from_image(msgspec.msgpack.decode(stored, type=BookImage))

    assert stored == msgspec.msgpack.encode(again.image())
    assert (list(book.bids.items()), book.bid_prices) == (list(again.bids.items()), again.bid_prices)


_read = cache(parse_e8)


def _levels(rows: list[list[str]], tick: int, step: int) -> list[Level]:
    return [(_read(price) // tick, _read(quantity) // step) for price, quantity in rows]


def _event(data: dict[str, Any], tick: int, step: int) -> DepthDiff | DepthSnapshot | None:
    if "lastUpdateId" in data:
        return DepthSnapshot(
            last_update_id=data["lastUpdateId"],
            bids=_levels(data["bids"], tick, step),
            asks=_levels(data["asks"], tick, step),
            event_ms=Milliseconds(data["E"]),
        )
    if data.get("e") != "depthUpdate":
        return None
    return DepthDiff(
        first_update_id=data["U"],
        final_update_id=data["u"],
        previous_final_update_id=data["pu"],
        bids=_levels(data["b"], tick, step),
        asks=_levels(data["a"], tick, step),
        event_ms=Milliseconds(data["E"]),
    )


def _text(ticks: int, size: int, places: int) -> str:
    return f"{ticks * size / 10**8:.{places}f}"


def test_the_recorded_session_of_btcusdt_ends_in_its_expected_book() -> None:
    """345 s of unthrottled diffs with a snapshot in between end level by level in the derived book (sha256)."""
    expected = json.loads(require("hftbacktest/expected_final_book.json").read_text())["books"]["BTCUSDT"]
    tick, step = 10_000_000, 100_000
    book = Book()
    with gzip.open(require("hftbacktest/usdm_btcusdt_20240808.gz"), "rt") as lines:
        for line in lines:
            if "depth@" not in line and "lastUpdateId" not in line:
                continue
            frame = json.loads(line.partition(" ")[2])
            event = _event(frame.get("data", frame), tick, step)
            if isinstance(event, DepthSnapshot):
                assert BookOutcome.APPLIED is apply_snapshot(book, event)
            elif event is not None:
                assert apply_diff(book, event) in (BookOutcome.APPLIED, BookOutcome.BUFFERED)

    rows = [f"b,{_text(p, tick, 2)},{_text(book.bids[p], step, 3)}\n" for p in reversed(book.bid_prices)]
    rows += [f"a,{_text(p, tick, 2)},{_text(book.asks[p], step, 3)}\n" for p in book.ask_prices]
    assert (expected["last_applied_u"], expected["bid_levels"]) == (book.last_update_id, len(book.bids))
    assert expected["sha256_full_book"] == sha256("".join(rows).encode()).hexdigest()


@pytest.mark.parametrize("symbol", ["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"])
def test_the_recorded_session_of_four_symbols_ends_in_its_expected_books(symbol: str) -> None:
    """The cryptofeed capture synchronises from its own REST snapshots, merged by receive time."""
    folder = "cryptofeed/binance_futures_20210722"
    expected = json.loads(require(f"{folder}/expected_final_book.json").read_text())["books"][symbol]
    records: list[tuple[float, dict[str, Any]]] = []
    with gzip.open(require(f"{folder}/ws.txt.gz"), "rt") as lines:
        for line in lines:
            if f'"{symbol.lower()}@depth' in line:
                at, _, frame = line.partition(": ")
                records.append((float(at), json.loads(frame)["data"]))
    with gzip.open(require(f"{folder}/rest_depth.txt.gz"), "rt") as lines:
        for line in lines:
            if f"symbol={symbol}&" in line:
                at, _, frame = line.partition(" -> ")[2].partition(": ")
                records.append((float(at), json.loads(frame)))
    book = Book()
    for _, data in sorted(records, key=lambda record: record[0]):
        event = _event(data, 1_000, 100_000_000)
        if isinstance(event, DepthSnapshot):
            apply_snapshot(book, event)
        elif event is not None:
            assert apply_diff(book, event) in (BookOutcome.APPLIED, BookOutcome.BUFFERED, BookOutcome.STALE)

    bids, asks = book.top(20)
    assert (expected["last_applied_u"], expected["bid_levels"], expected["ask_levels"]) == (
        book.last_update_id,
        len(book.bids),
        len(book.asks),
    )
    for wanted, found in ((expected["top20_bids"], bids), (expected["top20_asks"], asks)):
        assert _levels(wanted, 1_000, 100_000_000) == found
