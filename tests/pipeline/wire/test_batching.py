"""The only place for the tests of how lines become records: order, acknowledgement clock, limits, giving way."""

from __future__ import annotations

import re
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.events import FeedLost
from pipeline.wire import lines
from pipeline.wire.batching import Batcher, Origin

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")


def frame_line(symbol: str, number: int, *, size: int = 0, source: str = "connector/public-0") -> bytes:
    """A market line whose frame is padded to about *size* bytes."""
    prefix = lines.frame_prefix(source=source, incarnation="i", symbol=symbol)
    return lines.frame_line(1_000 + number, number, b'{"p":"' + b"x" * size + b'"}', prefix)


def tick_line(number: int) -> bytes:
    return lines.encode(lines.Line(at=number, src="decide/0", inc="i", n=number, sym="*", tick=number))


def drain(batcher: Batcher, partition: int = 0) -> list[bytes]:
    """All lines of the partition, record by record, each acknowledged."""
    found: list[bytes] = []
    batcher.release(partition)
    while (record := batcher.take(partition)) is not None:
        found += lines.split(record)
        batcher.acknowledged(partition)
        batcher.release(partition)
    return found


def test_first_line_goes_out_at_once_and_the_rest_waits_for_its_acknowledgement() -> None:
    """One record is in flight per partition; what arrives meanwhile becomes one record."""
    batcher = Batcher(2)
    batcher.add(0, b"1")

    assert b"1" == batcher.take(0)
    batcher.add(0, b"2")
    batcher.add(0, b"3")
    batcher.add(1, b"4")
    assert batcher.take(0) is None
    assert b"4" == batcher.take(1)
    batcher.acknowledged(0)
    assert b"2\n3" == batcher.take(0)


def test_frames_of_held_symbols_go_alone_and_first() -> None:
    """The others collect until they are released; then everything goes in order of arrival."""
    batcher = Batcher(1)
    batcher.hold(["BUSDT"])
    batcher.add(0, b"1", Origin("AUSDT", "x"))
    assert not batcher.urgent(0)
    assert batcher.take(0) is None
    batcher.add(0, b"2", Origin("BUSDT", "x"))
    batcher.add(0, b"3", Origin("AUSDT", "x"))
    assert batcher.urgent(0)
    assert b"2" == batcher.take(0)
    batcher.add(0, b"4", Origin("BUSDT", "x"))
    batcher.acknowledged(0)
    batcher.release(0)
    assert b"1\n3\n4" == batcher.take(0)
    batcher.acknowledged(0)
    assert batcher.is_empty
    assert not batcher.urgent(0)


def test_a_line_that_may_not_give_way_takes_along_what_came_before_it() -> None:
    """It may be of the same source and symbol: its running number must not overtake theirs."""
    batcher = Batcher(1)
    batcher.add(0, b"1", Origin("AUSDT", "x"))
    batcher.add(0, b"2")
    batcher.add(0, b"3", Origin("AUSDT", "x"))
    assert b"1\n2\n3" == batcher.take(0)


def test_a_full_record_does_not_wait() -> None:
    """Patience is for few lines: at high load records are full and leave as soon as they may."""
    batcher = Batcher(1)
    for number in range(lines.MAX_RECORD_LINES):
        assert not batcher.urgent(0)
        batcher.add(0, b"%d" % number, Origin("AUSDT", "x"))
    assert batcher.urgent(0)
    assert batcher.take(0) is not None


def test_released_lines_that_gave_way_make_no_record() -> None:
    """Nothing is left to send: no empty record."""
    batcher = Batcher(1)
    batcher.release(0)
    assert batcher.take(0) is None
    assert not batcher.urgent(0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(SYMBOLS), st.booleans()),
            st.tuples(st.just("hold"), st.sampled_from(SYMBOLS), st.booleans()),
            st.tuples(st.just("take"), st.just(""), st.booleans()),
            st.tuples(st.just("release"), st.just(""), st.booleans()),
        ),
        max_size=80,
    )
)
def test_lines_of_one_symbol_never_overtake_each_other(steps: list[tuple[str, str, bool]]) -> None:
    """Whatever is held, released and taken when: per symbol the log has the running numbers in order, none missing."""
    batcher, held, numbers = Batcher(1), set[str](), dict.fromkeys(SYMBOLS, 0)
    found: list[lines.Line] = []

    def take() -> None:
        record = batcher.take(0)
        if record is not None:
            found.extend(lines.decode(line) for line in lines.split(record))
            batcher.acknowledged(0)

    for step, symbol, flag in steps:
        if step == "add":
            numbers[symbol] += 1
            batcher.add(0, frame_line(symbol, numbers[symbol]), Origin(symbol, "x") if flag else None)
        elif step == "hold":
            held = held | {symbol} if flag else held - {symbol}
            batcher.hold(sorted(held))
        elif step == "release":
            batcher.release(0)
        else:
            take()
    batcher.release(0)
    take()

    for symbol in SYMBOLS:
        assert list(range(1, numbers[symbol] + 1)) == [line.n for line in found if line.sym == symbol]
    assert batcher.is_empty


def test_a_record_ends_at_500_lines() -> None:
    """A longer queue becomes several records."""
    batcher = Batcher(1)
    for number in range(1_001):
        batcher.add(0, b"%d" % number)
    counts = []
    while (record := batcher.take(0)) is not None:
        counts.append(len(lines.split(record)))
        batcher.acknowledged(0)

    assert [500, 500, 1] == counts


def test_a_record_ends_at_256_kb_and_a_longer_line_stands_alone() -> None:
    """The limit of bytes holds with the newlines counted; a single line over it still goes out, alone."""
    batcher = Batcher(1)
    half = lines.MAX_RECORD_BYTES // 2
    for size in (half, half - 1, half, lines.MAX_RECORD_BYTES + 5, 1):
        batcher.add(0, b"x" * size)
    sizes = []
    while (record := batcher.take(0)) is not None:
        sizes.append(len(record))
        batcher.acknowledged(0)

    assert [lines.MAX_RECORD_BYTES, half, lines.MAX_RECORD_BYTES + 5, 1] == sizes


def test_the_oldest_of_symbols_nobody_holds_give_way_first() -> None:
    """Over the bound the oldest lines of unheld symbols go, and a lost line with their first number names them."""
    batcher = Batcher(1, max_bytes=8_000)
    batcher.hold(["AUSDT"])
    for number in range(1, 6):
        batcher.add(0, frame_line("AUSDT", number, size=500), Origin("AUSDT", "ausdt@bookTicker"))
        batcher.add(0, frame_line("BUSDT", number, size=500), Origin("BUSDT", "busdt@bookTicker"))
    for number in range(6, 8):
        batcher.add(0, frame_line("BUSDT", number, size=500), Origin("BUSDT", "busdt@bookTicker"))
    found = [lines.decode(line) for line in drain(batcher)]
    lost = [line for line in found if line.lost is not None]

    assert [1, 2, 3, 4, 5] == [line.n for line in found if line.sym == "AUSDT"]
    assert [("BUSDT", 1)] == [(line.sym, line.n) for line in lost]
    assert batcher.given_way > 0
    reason = (
        f"{batcher.given_way} frames gave way to the memory bound, received from 1001 to {1000 + batcher.given_way} ns"
    )
    assert FeedLost(stream="busdt@bookTicker", reason=reason) == lost[0].lost
    assert batcher.is_empty
    assert 0 == batcher.size


def test_the_bound_holds_while_anything_may_give_way() -> None:
    """Lost lines of many streams weigh something themselves: they do not make the bound a soft one."""
    bound, largest = 200_000, 0
    batcher = Batcher(max_bytes=bound)
    for number in range(12_000):
        symbol = f"S{number * 7 % 40}USDT"
        source = f"connector/public-{number % 3}"
        batcher.add(number % 8, frame_line(symbol, number, size=400, source=source), Origin(symbol, source))
        largest = max(largest, batcher.size)
    assert largest <= bound
    assert batcher.given_way > 10_000


def test_lines_without_origin_never_give_way() -> None:
    """User data and own lines are kept even when they alone exceed the bound."""
    batcher = Batcher(1, max_bytes=1_000)
    for number in range(1, 200):
        batcher.add(0, tick_line(number))

    assert [tick_line(number) for number in range(1, 200)] == drain(batcher)
    assert 0 == batcher.given_way


def test_held_market_lines_give_way_when_nothing_else_can() -> None:
    """The bound binds held symbols too, after all others, and with a lost line."""
    batcher = Batcher(1, max_bytes=4_000)
    batcher.hold(["AUSDT"])
    for number in range(1, 30):
        batcher.add(0, frame_line("AUSDT", number, size=500), Origin("AUSDT", "ausdt@bookTicker"))
    found = [lines.decode(line) for line in drain(batcher)]

    assert 1 == sum(line.lost is not None for line in found)
    assert 29 == batcher.given_way + len(found) - 1


def lost_line(symbol: str, number: int, incarnation: str) -> bytes:
    lost = FeedLost(stream="x", reason=f"connection lost {incarnation}")
    return lines.encode(lines.Line(at=number, src="c/x", inc=incarnation, n=number, sym=symbol, lost=lost))


def test_connections_that_come_and_go_while_the_broker_is_away_leave_one_mark_a_stream() -> None:
    """
    Each connection had marks of its own, which never gave way: a broker and a venue that were both away and back all
    the time filled the memory without a bound. Frames are counted over all connections, from the first to the last.
    """
    bound = 100_000
    batcher = Batcher(1, max_bytes=bound)
    for connection in range(2_000):
        source = f"connector/public-0.{'ab'[connection % 2]}{connection}"
        for symbol in SYMBOLS:
            batcher.add(0, lost_line(symbol, 1, source), Origin(symbol, "x"))
            batcher.add(0, frame_line(symbol, 2 + connection, source=source, size=100), Origin(symbol, "x"))
        assert batcher.size <= bound
    found = [lines.decode(line) for line in drain(batcher)]
    marks = [line for line in found if line.lost is not None and "gave way" in line.lost.reason]
    counts = {line.sym: int(line.lost.reason.split()[0]) for line in marks if line.lost is not None}

    assert set(SYMBOLS) == {line.sym for line in found[:3]} == {line.sym for line in marks}
    for symbol in SYMBOLS:
        kept = sum(line.sym == symbol and line.lost is None for line in found)
        assert 2_000 == counts[symbol] + kept
    assert all("among them a hole: connection lost" in line.lost.reason for line in marks if line.lost is not None)
    assert 0 == batcher.size


def test_a_hole_that_gave_way_alone_keeps_its_words() -> None:
    """No frame is missing but those it names."""
    batcher = Batcher(1, max_bytes=900)
    batcher.add(0, lost_line("AUSDT", 1, "i"), Origin("AUSDT", "x"))
    batcher.add(0, tick_line(1))
    batcher.add(0, tick_line(2) + b" " * 400)
    batcher.add(0, tick_line(3) + b" " * 400)
    found = [lines.decode(line) for line in drain(batcher)]

    assert FeedLost(stream="x", reason="connection lost i") == found[0].lost
    assert (0, 4) == (batcher.given_way, len(found))


actions = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.integers(0, 2), st.integers(0, 1), st.integers(0, 900)),
        st.tuples(st.just("own"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("take"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("acknowledge"), st.integers(0, 2), st.just(0), st.just(0)),
        st.tuples(st.just("hold"), st.integers(0, 2), st.just(0), st.just(0)),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(actions, st.sampled_from([2_000, 5_000, 20_000, 10_000_000]))
def test_nothing_is_lost_doubled_or_turned_round_but_what_a_lost_line_names(
    script: list[tuple[str, int, int, int]], max_bytes: int
) -> None:
    """
    Whatever the order of adding, taking and acknowledging: lines keep their order, each is there once, or counted.

    Numbers per symbol only rise; a lost line counts exactly the missing ones of its stream; the bound holds for what
    may give way.
    """
    batcher = Batcher(3, max_bytes=max_bytes)
    out: list[list[bytes]] = [[], [], []]
    added: list[list[bytes]] = [[], [], []]
    numbers: dict[str, int] = defaultdict(int)
    added_of: dict[str, int] = defaultdict(int)
    stream_of: dict[tuple[str, int], str] = {}
    in_flight = [False] * 3
    never = 0

    def number_of(symbol: str, stream: str) -> int:
        numbers[symbol] += 1
        added_of[stream] += 1
        stream_of[(symbol, numbers[symbol])] = stream
        return numbers[symbol]

    for kind, partition, which, size in script:
        symbol = SYMBOLS[partition]
        if kind == "frame":
            stream = f"{symbol.lower()}@{('bookTicker', 'depth@100ms')[which]}"
            added[partition].append(frame_line(symbol, number_of(symbol, stream), size=size))
            batcher.add(partition, added[partition][-1], Origin(symbol, stream))
        elif kind == "own":
            added[partition].append(frame_line(symbol, number_of(symbol, f"own {symbol}"), size=10))
            batcher.add(partition, added[partition][-1])
            never += len(added[partition][-1]) + 300
        elif kind == "take":
            record = batcher.take(partition)
            assert (record is None) or not in_flight[partition]
            if record is not None:
                in_flight[partition] = True
                never += len(record)
                out[partition] += lines.split(record)
        elif kind == "acknowledge" and in_flight[partition]:
            in_flight[partition] = False
            batcher.acknowledged(partition)
        elif kind == "hold":
            batcher.hold([symbol])
        assert batcher.size <= max_bytes * 9 // 8 + never + 6 * 1_024

    for partition in range(3):
        if in_flight[partition]:
            batcher.acknowledged(partition)
        out[partition] += drain(batcher, partition)
        symbol = SYMBOLS[partition]
        decoded = [(line, lines.decode(line)) for line in out[partition]]
        kept = [raw for raw, line in decoded if line.lost is None]
        assert kept == [raw for raw in added[partition] if raw in set(kept)]
        assert len(kept) == len(set(kept))
        order = [line.n for _, line in decoded]
        assert sorted(set(order)) == order
        counted: dict[str, int] = defaultdict(int)
        for _, line in decoded:
            if line.lost is not None:
                count = re.match(r"(\d+) frames gave way", line.lost.reason)
                assert count is not None
                counted[line.lost.stream] += int(count[1])
                assert line.lost.stream == stream_of[(symbol, line.n)]
            else:
                counted[stream_of[(symbol, line.n)]] += 1
        for stream, total in counted.items():
            assert added_of[stream] == total
        assert len(added[partition]) == sum(counted.values())
    assert 0 == batcher.size
