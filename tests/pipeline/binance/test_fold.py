"""A partition folds whatever bytes come: nothing vanishes, nothing is folded twice, one broken symbol stays alone."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.benchmarks import inputs
from pipeline.benchmarks.inputs import InputRecord, LineWriter, batches
from pipeline.binance.fold import FLOOD_LINES, SEAL_RECORDS, PartitionFold
from pipeline.core.commands import Decision, Note
from pipeline.core.events import FeedLost
from pipeline.core.policies import Policy
from pipeline.core.state import SymbolState, digest
from pipeline.wire import lines
from pipeline.wire.lines import EVERY_SYMBOL, TradingStateLine
from pipeline.wire.records import QuarantineRecord, SegmentSealed, record_digest
from pipeline.wire.topics import partition_of
from tests.data import require
from tests.pipeline.binance import frames
from tests.pipeline.binance.frames import combined

AT = 1_790_771_372_000_000_000  # ns
MS = 1_000_000
# Two symbols of one partition, and one of another.
FIRST = "BTCUSDT"
PARTITION = partition_of(FIRST)
SECOND = next(f"{letter}USDT" for letter in "ABCDEFGHIJKLMNOP" if partition_of(f"{letter}USDT") == PARTITION)
ELSEWHERE = next(name for name in ("ETHUSDT", "SOLUSDT") if partition_of(name) != PARTITION)
UNIVERSE = {FIRST, SECOND, ELSEWHERE}


class Run:
    """A fold with everything it said."""

    def __init__(self, **changes: Any) -> None:
        arguments: dict[str, Any] = {
            "partition": PARTITION, "log_identity": "abcdefg", "fold": "f", "universe": UNIVERSE,
        }  # fmt: skip
        self.fold = PartitionFold(**(arguments | changes))
        self.decisions: list[Decision] = []
        self.quarantined: list[QuarantineRecord] = []
        self.seals: list[SegmentSealed] = []

    def feed(self, records: Sequence[InputRecord], *, start: int = 0) -> Run:
        for offset, record in enumerate(records[start:], start):
            applied = self.fold.apply_record(offset=offset, append_ms=record.append_ms, value=record.value)
            self.decisions += applied.decisions
            self.quarantined += applied.quarantined
            self.seals += [applied.sealed] if applied.sealed is not None else []
        return self

    def state(self, symbol: str = FIRST) -> SymbolState:
        return self.fold.states[symbol]

    def notes(self) -> list[str]:
        return [output.code for row in self.decisions for output in row.outputs if isinstance(output, Note)]


def known(writer: LineWriter, symbol: str = FIRST) -> LineWriter:
    """The instrument, as the executor writes it at its start."""
    writer.answer(symbol, AT, "exchange_info", msgspec.json.encode(frames.EXCHANGE_INFO | {"symbol": symbol}))
    return writer


def quote(writer: LineWriter, number: int, symbol: str = FIRST) -> bytes:
    """A quote whose bid tells its number."""
    data = frames.BOOK_TICKER | {"u": number, "s": symbol, "b": f"{80_000 + number}.00", "a": "99000.00"}
    return writer.frame(symbol, AT + number * MS, combined("bookTicker", data, symbol=symbol))


def fed(writer: LineWriter, *, lines_per_record: int = 3) -> Run:
    return Run().feed(batches(writer.rows, lines_per_record))


# -------------------------------------------------------------------------------------------------- numbers of sources


def test_a_repeat_is_dropped() -> None:
    """The same incarnation and a number at or below the last: the line was folded before (a producer's retry)."""
    writer = known(LineWriter())
    again = quote(writer, 1)
    quote(writer, 2)
    writer.add(AT + 3 * MS, again)

    run = fed(writer)

    assert 80_002_0 == run.state().quote.bid  # type: ignore[union-attr]
    assert 3 == run.state().lines
    assert ("1", 2) == run.state().sources["connector/public-0"]


def test_a_user_event_has_its_effect_once_whichever_connection_brings_it() -> None:
    """Two user streams bring each event; one that stood still brings old ones late: neither changes anything."""

    def update(lots: str, at_ms: int) -> bytes:
        row = {"s": FIRST, "pa": lots, "ep": "80000", "ps": "BOTH"}
        return msgspec.json.encode({"e": "ACCOUNT_UPDATE", "E": at_ms, "T": at_ms, "a": {"m": "ORDER", "P": [row]}})

    writer = known(LineWriter())
    first, second = update("0.010", 1_000), update("0.020", 2_000)
    writer.frame(FIRST, AT + 1 * MS, first, source="connector/user-0.a")
    writer.frame(FIRST, AT + 2 * MS, second, source="connector/user-0.a")
    once = fed(writer).state()
    for late in (first, second, update("0.015", 1_500)):
        writer.frame(FIRST, AT + 3 * MS, late, source="connector/user-1.a")
    twice = fed(writer).state()

    assert once.foreign is not None
    assert once.foreign == twice.foreign
    assert 6 == twice.lines
    assert 3 == len(twice.heard)


def test_a_jump_is_a_gap_that_breaks_the_feed() -> None:
    """Two lines of the connector are missing: quote and book are not whole until they prove themselves again."""
    writer = known(LineWriter())
    quote(writer, 1)
    for number in (2, 3):
        quote(writer, number)
        writer.rows.pop()
    writer.frame(FIRST, AT + 4 * MS, combined("aggTrade", frames.AGG_TRADE))

    run = fed(writer)

    assert "feed_broken" in run.notes()
    assert "2 lines missing" == run.state().feeds["quote"]


def test_a_new_incarnation_starts_from_one() -> None:
    """A restarted connector is no gap; a restart whose first lines are missing is one."""
    writer = known(LineWriter())
    quote(writer, 1)
    writer.restart("2")
    quote(writer, 2)
    whole = fed(writer)
    writer.restart("3")
    quote(writer, 3)
    writer.rows.pop()
    writer.frame(FIRST, AT + 4 * MS, combined("aggTrade", frames.AGG_TRADE))
    holed = fed(writer)

    assert "feed_broken" not in whole.notes()
    assert 80_002_0 == whole.state().quote.bid  # type: ignore[union-attr]
    assert "feed_broken" in holed.notes()


def test_a_symbol_that_appears_late_has_no_gap() -> None:
    """The first line of a source for a new state may carry any number: earlier ones were for nobody."""
    writer = LineWriter()
    quote(writer, 1)
    writer.rows.clear()
    quote(writer, 2)

    run = fed(writer)

    assert [] == run.decisions
    assert ("1", 2) == run.state().sources["connector/public-0"]


# ----------------------------------------------------------------------------------------------- who may write what


def test_a_line_of_the_wrong_writer_is_quarantined() -> None:
    """An admission from a connector, a frame from the executor: refused with the bytes, the neighbours are folded."""
    writer = known(LineWriter())
    quote(writer, 1)
    forged = writer.line(FIRST, AT, "connector/public-0", close={"command": "c", "reason": "r"})
    framed = writer.frame(FIRST, AT, combined("bookTicker", frames.BOOK_TICKER), source="execute/main")
    quote(writer, 2)

    run = fed(writer)

    assert [forged, framed] == [record.payload for record in run.quarantined]
    assert "close: may not be written by 'connector/public-0'" == run.quarantined[0].reason
    assert f"{PARTITION}/0/2" == run.quarantined[0].cause
    assert 3 == run.state().lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "no line: Input data was truncated"),
        (b"\xff\xfe", "no line: "),
        (b'{"at":1}', "no line: Object missing required field `src`"),
        (b'{"at":1,"src":"connector/a","inc":"1","n":1,"sym":"BTCUSDT"}', "a line has exactly one kind"),
        (
            b'{"at":1,"src":"decide/a","inc":"1","n":1,"sym":"BTCUSDT","tick":1,"frame":{}}',
            "a line has exactly one kind",
        ),
        (b'{"at":1,"src":"decide/a","inc":"1","n":0,"sym":"BTCUSDT","tick":1}', "at 1 or n 0 is out of range"),
        (b'{"at":-1,"src":"decide/a","inc":"1","n":1,"sym":"BTCUSDT","tick":1}', "at -1 or n 1 is out of range"),
        (b'{"at":1,"src":"connector/a","inc":"1","n":1,"sym":"*","frame":{}}', "frame: a line of this kind is for one"),
        (
            b'{"at":1,"src":"connector/a","inc":"1","n":1,"sym":"DOGEUSDT","frame":{}}',
            "a symbol outside the configured",
        ),
        (b'{"at":1,"src":"connector/a","inc":"1","n":1,"sym":"%b","frame":{}}' % ELSEWHERE.encode(), "belongs to part"),
    ],
)
def test_what_is_no_line_of_ours_is_quarantined_with_its_bytes(line: bytes, reason: str) -> None:
    """The reason says what is wrong with it; the line before and the line behind are folded."""
    writer = known(LineWriter())
    quote(writer, 1)
    writer.add(AT, line)
    quote(writer, 2)

    run = fed(writer, lines_per_record=10)

    assert [(line, reason)] == [(record.payload, record.reason[: len(reason)]) for record in run.quarantined]
    assert 80_002_0 == run.state().quote.bid  # type: ignore[union-attr]
    assert [FIRST] == list(run.fold.states)


def test_a_flood_of_strangers_is_counted_not_copied() -> None:
    """Lines of a symbol nobody asked for: the first, the tenth, the hundredth is quarantined and says how many."""
    writer = LineWriter()
    for number in range(1, 151):
        quote(writer, number, "DOGEUSDT")

    run = fed(writer)

    expected = [f"a symbol outside the configured universe (line {count} of this symbol)" for count in (1, 10, 100)]
    assert expected == [record.reason for record in run.quarantined]
    assert {} == run.fold.states


def test_a_malformed_frame_is_folded_as_such_and_quarantined() -> None:
    """The feed is not whole, and the bytes are kept where people look."""
    writer = known(LineWriter())
    quote(writer, 1)
    broken = writer.frame(FIRST, AT, combined("bookTicker", frames.BOOK_TICKER | {"b": "83860.15"}))

    run = fed(writer)

    assert "b: 83860.15 is no multiple of 0.1" == run.state().feeds["quote"]
    assert [broken] == [record.payload for record in run.quarantined]
    assert "btcusdt@bookTicker: b: 83860.15 is no multiple of 0.1" == run.quarantined[0].reason


def test_a_flood_of_malformed_frames_is_counted_not_copied() -> None:
    """The venue changed a field of every frame: a thousand are kept, then every thousandth says how many there were."""
    writer = known(LineWriter())
    for _ in range(2_500):
        writer.frame(FIRST, AT, combined("bookTicker", frames.BOOK_TICKER | {"b": "83860.15"}))

    run = fed(writer, lines_per_record=100)

    assert FLOOD_LINES + 1 == len(run.quarantined)
    assert run.quarantined[-1].reason.endswith("(line 2000 of this symbol that was refused)")
    assert 2_501 == run.state().lines


def test_an_unreadable_answer_is_quarantined_and_an_error_is_not() -> None:
    """Bytes that cannot be read are kept; a request that was shed has none."""
    writer = known(LineWriter())
    writer.answer(FIRST, AT, "depth", b'{"lastUpdateId":"x"}')
    writer.line(FIRST, AT, "execute/main", answer=lines.Answer(kind="depth", error="shed"))

    run = fed(writer)

    assert [True] == [record.reason.startswith("answer depth: unreadable: ") for record in run.quarantined]


def test_frames_before_the_instrument_is_known_wait_for_it() -> None:
    """Nothing is folded in ticks of an unknown size; a tick asks for exchangeInfo."""
    writer = LineWriter()
    quote(writer, 1)
    writer.line(EVERY_SYMBOL, AT, "decide/0", tick=AT // MS)

    run = fed(writer)

    assert run.state().quote is None
    assert ["ask_exchange_info"] == [rule for row in run.decisions for rule in row.rules]


def test_a_lost_line_breaks_its_feed() -> None:
    """The connector says that a stream may have a hole."""
    writer = known(LineWriter())
    writer.line(FIRST, AT, "connector/public-0", lost=FeedLost(stream="public-0", reason="socket lost"))

    assert "socket lost" == fed(writer).state().feeds["quote"]


def test_the_trading_state_brings_mode_and_policy() -> None:
    """One line sets both; an unknown mode is malformed and closes nothing that was open before."""
    writer = known(LineWriter())
    policy = Policy(stop_min_ticks=9)
    state = TradingStateLine(mode="active", reason="", policy=policy)
    writer.line(EVERY_SYMBOL, AT, "account/main", state=state)
    writer.line(EVERY_SYMBOL, AT, "account/main", state=TradingStateLine(mode="??", reason="", policy=policy))

    run = fed(writer)

    assert ("active", policy) == (run.state().mode, run.state().policy)
    assert ["account: state.mode: unknown trading state '??'"] == [record.reason for record in run.quarantined]


def test_a_line_for_every_symbol_meets_them_in_the_order_of_their_names() -> None:
    """Each state numbers the source for itself, so a later symbol starts without a gap."""
    writer = known(LineWriter())
    tick = {"tick": AT // MS}
    writer.line(EVERY_SYMBOL, AT, "decide/0", **tick)
    known(writer, SECOND)
    writer.line(EVERY_SYMBOL, AT, "decide/0", **tick)

    run = fed(writer, lines_per_record=1)

    assert {FIRST: ("1", 2), SECOND: ("1", 2)} == {
        symbol: state.sources["decide/0*"] for symbol, state in run.fold.states.items()
    }
    assert (3, 0) == run.state(FIRST).applied == run.state(SECOND).applied


# ------------------------------------------------------------------------------------------------------------- faults


def test_a_fault_halts_its_symbol_alone() -> None:
    """A bug while one symbol is folded: that is a decision with the place of the line, and the others go on."""
    writer = known(known(LineWriter()), SECOND)
    quote(writer, 1)
    quote(writer, 1, SECOND)
    records = batches(writer.rows, 2)
    run = Run().feed(records[:1])
    run.state().quote = "no quote"  # type: ignore[assignment]  # what a bug would leave behind

    run.feed(records, start=1)

    assert "AttributeError: 'str' object has no attribute 'update_id'" in run.state().halted
    halted = next(row for row in run.decisions if "halt" in row.rules)
    assert (1, 0, [f"{PARTITION}/1/0"]) == (halted.offset, halted.line, halted.causes)
    assert 80_001_0 == run.state(SECOND).quote.bid  # type: ignore[union-attr]
    assert "" == run.state(SECOND).halted


# -------------------------------------------------------------------------------------------------------- checkpoints


def market(count: int) -> list[InputRecord]:
    """Made-up lines of two symbols with ticks between them, in records of uneven size."""
    writer = known(known(LineWriter()), SECOND)
    draw = random.Random(count)
    for number in range(1, count):
        quote(writer, number, draw.choice([FIRST, SECOND]))
        if number % 7 == 0:
            writer.line(EVERY_SYMBOL, AT + number * 400 * MS, "decide/0", tick=1)
        if number % 11 == 0:
            writer.frame(FIRST, AT + number * 400 * MS, combined("depth@100ms", frames.DEPTH | {"u": 10**13 + number}))
    return batches(writer.rows, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_a_fold_that_resumes_says_what_an_undisturbed_one_says(first: int, late: int, crash: int) -> None:
    """
    Killed anywhere after a checkpoint: states older than the manifest move the start back, newer ones skip what they
    have applied, and decisions and states at the end are equal byte for byte.
    """
    records = market(150)
    whole = Run().feed(records)
    before = Run().feed(records[: first + 1])
    old = {symbol: before.fold.encode_state(symbol) for symbol in before.fold.take_dirty()}
    before.feed(records[: first + late + 1], start=first + 1)
    manifest = before.fold.manifest()
    new = {symbol: before.fold.encode_state(symbol) for symbol in before.fold.states}
    before.feed(records[: first + late + crash + 1], start=first + late + 1)

    after = Run()
    for number, symbol in enumerate(sorted(new)):
        stored = old.get(symbol, new[symbol]) if number == late % 2 else new[symbol]
        assert after.fold.load_state(symbol, stored) == after.state(symbol).applied
    start = after.fold.resume(manifest)
    after.feed(records, start=start)

    merged = {(row.offset, row.line, row.symbol): row for row in before.decisions}
    for row in after.decisions:
        place = (row.offset, row.line, row.symbol)
        assert row == merged.setdefault(place, row)
    assert {(row.offset, row.line, row.symbol): row for row in whole.decisions} == merged
    for symbol in whole.fold.states:
        assert digest(whole.state(symbol)) == digest(after.state(symbol))


def test_dirty_symbols_are_named_once() -> None:
    """A checkpoint round writes what changed since the last one."""
    writer = known(known(LineWriter()), SECOND)
    records = batches(writer.rows, 2)
    run = Run().feed(records)

    assert ([FIRST, SECOND], []) == (run.fold.take_dirty(), run.fold.take_dirty())


def test_the_manifest_and_the_anchor_name_every_symbol() -> None:
    """Position of each state, next offset, and the states with their digests."""
    run = Run().feed(market(10))

    manifest, anchor = run.fold.manifest(clean=True), run.fold.anchor(at_ms=5)

    assert (len(market(10)), True, {FIRST, SECOND}) == (manifest.next_offset, manifest.clean, set(manifest.applied))
    assert digest(run.state()) == anchor.digests[FIRST]
    assert run.fold.encode_state(FIRST) == anchor.states[FIRST]


# -------------------------------------------------------------------------------------------------------------- seals


def test_every_record_is_sealed_once_and_in_order() -> None:
    """At most 256 records or about a second of append time to a seal; the rest by hand before a manifest."""
    record = InputRecord(append_ms=AT // MS, value=b"x")
    records = [record] * (SEAL_RECORDS + 3) + [InputRecord(append_ms=AT // MS + 5_000, value=b"y")] * 2
    run = Run().feed(records)
    run.seals += [sealed for sealed in (run.fold.seal(), run.fold.seal()) if sealed is not None]

    expected = [
        record_digest(offset=offset, append_ms=row.append_ms, value=row.value) for offset, row in enumerate(records)
    ]
    assert expected == [text for sealed in run.seals for text in sealed.digests]
    assert [0, SEAL_RECORDS] == [sealed.first_offset for sealed in run.seals][:2]


def test_a_declared_hole_of_the_log_starts_a_new_seal() -> None:
    """A seal names its records by their offsets, so it cannot span a hole."""
    run = Run()
    run.fold.apply_record(offset=0, append_ms=1, value=b"x")
    applied = run.fold.apply_record(offset=5, append_ms=1, value=b"x")
    last = run.fold.seal()

    assert applied.sealed is not None and last is not None
    assert (0, 1, 5, 1) == (
        applied.sealed.first_offset, len(applied.sealed.digests), last.first_offset, len(last.digests),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- recordings


def assert_book(state: SymbolState, expected: dict[str, Any]) -> None:
    """The whole book against the recording's own checksum (strings exactly as the venue sent them)."""
    book = state.book
    assert expected["last_applied_u"] == book.last_update_id
    assert (expected["bid_levels"], expected["ask_levels"]) == (len(book.bids), len(book.asks))
    instrument = state.instrument
    assert instrument is not None
    # The venue pads its numbers to a precision that the filters do not tell: take it from the file.
    places = [Decimal(1).scaleb(-len(number.partition(".")[2])) for number in expected["top20_bids"][0]]

    def text(ticks: int, lots: int) -> list[str]:
        return [
            str(Decimal(ticks * instrument.tick_e8).scaleb(-8).quantize(places[0])),
            str(Decimal(lots * instrument.step_e8).scaleb(-8).quantize(places[1])),
        ]

    bids = [text(price, book.bids[price]) for price in reversed(book.bid_prices)]
    asks = [text(price, book.asks[price]) for price in book.ask_prices]
    assert expected["top20_bids"] == bids[:20]
    assert expected["top20_asks"] == asks[:20]
    rows = [f"{side},{price},{quantity}\n" for side, levels in (("b", bids), ("a", asks)) for price, quantity in levels]
    assert expected["sha256_full_book"] == hashlib.sha256("".join(rows).encode()).hexdigest()


def test_the_hftbacktest_recording_ends_in_its_expected_book() -> None:
    """94 thousand recorded lines, 1.27 s of clock skew: the final book equals the folder's own."""
    source = inputs.recording(require("hftbacktest/usdm_btcusdt_20240808.gz"))
    run = Run().feed(source.records(8))

    expected = json.loads(require("hftbacktest/expected_final_book.json").read_text())["books"]["BTCUSDT"]
    assert_book(run.state(), expected)
    assert [] == run.quarantined
    assert {} == run.state().feeds
    assert 1 == run.notes().count("book_whole")


def capture(directory: Path) -> dict[str, list[tuple[int, bytes, str]]]:
    """The cryptofeed capture by symbol, merged by receive time: (receive ns, JSON, kind of line)."""
    rows: dict[str, list[tuple[int, bytes, str]]] = {}
    with gzip.open(directory / "exchangeInfo.txt.gz", "rt") as text:
        symbols = {row["symbol"]: row for row in json.loads(text.readline().split(": ", 1)[1])["symbols"]}
    with gzip.open(directory / "ws.txt.gz", "rt") as text:
        for line in text:
            if line[0].isdigit():
                at, _, body = line.rstrip().partition(": ")
                symbol = json.loads(body)["stream"].partition("@")[0].upper()
                rows.setdefault(symbol, []).append((int(float(at) * 10**9), body.encode(), "frame"))
    with gzip.open(directory / "rest_depth.txt.gz", "rt") as text:
        for line in text:
            if not line.startswith("https"):
                continue
            head, _, body = line.rstrip().partition(": ")
            symbol = head.partition("symbol=")[2].partition("&")[0]
            rows[symbol].append((int(float(head.rpartition(" ")[2]) * 10**9), body.encode(), "depth"))
    # The venue had coarsened the tick of CTKUSDT (0.00001 → 0.001); older orders still rest between the ticks: levels
    # that the stated filter calls impossible. The sidecar states the tick that the recorded book was made with.
    for row in symbols["CTKUSDT"]["filters"]:
        if row["filterType"] == "PRICE_FILTER":
            row["tickSize"] = "0.00001"
    for symbol, found in rows.items():
        found.sort(key=lambda row: row[0])
        found.insert(0, (found[0][0], msgspec.json.encode(symbols[symbol]), "exchange_info"))
    return rows


def test_the_cryptofeed_capture_ends_in_its_expected_books() -> None:
    """Four thin symbols synchronise from their own snapshots, with a burst of a second at the start."""
    directory = require("cryptofeed/binance_futures_20210722")
    expected = json.loads((directory / "expected_final_book.json").read_text())["books"]
    captured = capture(directory)
    assert set(expected) == set(captured)
    for symbol, found in captured.items():
        writer = LineWriter()
        for at_ns, body, kind in found:
            if kind == "frame":
                writer.frame(symbol, at_ns, body)
            else:
                writer.answer(symbol, at_ns, kind, body)
        run = Run(partition=partition_of(symbol), universe={symbol}).feed(batches(writer.rows, 4))
        assert_book(run.state(symbol), expected[symbol])
        assert [] == run.quarantined


def test_levels_left_between_the_ticks_of_a_coarser_grid_keep_the_book_closed() -> None:
    """
    After a tick-size change old orders rest off the new grid. They are refused by name, the book is not whole, entries
    stay closed for the symbol: never a rounded level.
    """
    writer = known(LineWriter())
    writer.frame(FIRST, AT, combined("depth@100ms", frames.DEPTH))
    writer.answer(FIRST, AT, "depth", b'{"lastUpdateId":9912345678901,"bids":[["83860.13","1"]],"asks":[]}')

    run = fed(writer)

    assert not run.state().book.whole
    assert ["answer depth: unreadable: 83860.13 is no multiple of 0.1"] == [record.reason for record in run.quarantined]


# -------------------------------------------------------------------------------------------------------------- fuzz


def test_fuzz_lines_nothing_crashes_and_nothing_vanishes() -> None:
    """
    20,000 lines, half of them valid JSON with one field mutated, the others damaged bytes, between good ones: every bad
    line is folded, quarantined, a repeat, or a stranger's; the good lines all count, and the same bytes give the same.
    """
    draw = random.Random(6)
    writer = known(LineWriter())
    bad: list[bytes] = []
    good = 1
    for number in range(1, 20_001):
        if number % 10 == 0:
            quote(writer, number)
            good += 1
        kind = draw.randrange(3)
        frame = combined("bookTicker", frames.BOOK_TICKER | {"u": number})
        if kind == 0:
            line = writer.frame(FIRST, AT, frame, source=f"connector/fuzz-{number % 5}")
        elif kind == 1:
            line = writer.line(FIRST, AT, "decide/fuzz", tick=1)
        else:
            line = writer.answer(FIRST, AT, "open_interest", b'{"openInterest":"1","symbol":"BTCUSDT","time":1}')
        writer.rows.pop()
        if draw.randrange(2):
            plain = msgspec.json.decode(line)
            name = draw.choice(sorted(plain))
            if draw.randrange(3) == 0:
                del plain[name]
            else:
                plain[name] = draw.choice(
                    [None, -1, 2**70, "", "*", "execute/main", {}, [], 0.5, {"kind": 1}, "BTCUSDT", "9" * 50, True]
                )
            line = msgspec.json.encode(plain)
        else:
            damaged = bytearray(line)
            damaged[draw.randrange(len(damaged))] = draw.choice(b'\x00\xff"{}[]:,0-\\')
            line = bytes(damaged)
        bad.append(line)
        writer.add(AT + number * MS, line)
    records = batches(writer.rows, 50)

    run, again = Run().feed(records), Run().feed(records)

    assert "" == run.state().halted, run.state().halted
    assert run.fold.lines == good + len(bad)
    places = {record.cause for record in run.quarantined}
    assert len(places) == len(run.quarantined) > 5_000
    assert run.quarantined == again.quarantined
    assert run.decisions == again.decisions
    assert digest(run.state()) == digest(again.state())
    assert good <= run.state().sources["connector/public-0"][1] + 1
    assert run.fold.load_state(FIRST, run.fold.encode_state(FIRST)) == run.state().applied
