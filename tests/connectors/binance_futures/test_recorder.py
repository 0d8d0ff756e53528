"""The only place for the tests of recordings: what is written, how files rotate, what they are said to be worth."""

from __future__ import annotations

import gzip
from pathlib import Path

from connectors.binance_futures.intake import MarketIntake
from connectors.binance_futures.recorder import ROTATE_SECONDS, Recorder, verify
from connectors.binance_futures.session import Watch
from connectors.binance_futures.subscriptions import kind_of, symbol_of
from connectors.exchange_simulator.recording import read_hftbacktest
from pipeline.wire import lines, records

DEPTH = "btcusdt@depth@100ms"
TRADE = "btcusdt@aggTrade"
SECOND = 1_000_000_000


class Clock:
    """Unix seconds that a test sets."""

    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def recorded(directory: Path, clock: Clock, *, hole: str = "") -> tuple[Recorder, MarketIntake]:
    recorder = Recorder(directory, now=clock)
    watches = [Watch(stream=s, kind=kind_of(s), symbol=symbol_of(s), hole=hole) for s in (DEPTH, TRADE)]
    intake = MarketIntake(
        source="connector/public-0.a",
        incarnation="i1",
        symbols=["BTCUSDT"],
        sink=recorder,
        watches=watches,
        answered=lambda reply: None,
    )
    return recorder, intake


def depth(number: int, before: int, event_ms: int = 1_000_000_000_000) -> bytes:
    return b'{"stream":"%b","data":{"e":"depthUpdate","E":%d,"s":"BTCUSDT","u":%d,"pu":%d}}' % (
        DEPTH.encode(),
        event_ms,
        number,
        before,
    )


def trade(number: int) -> bytes:
    return b'{"stream":"%b","data":{"e":"aggTrade","E":1000,"a":%d}}' % (TRADE.encode(), number)


def test_both_formats_hold_the_untouched_frames_and_files_rotate(tmp_path: Path) -> None:
    """hftbacktest's: receive time, a space, the frame. Ours: the connector's lines. A new file each hour."""
    clock = Clock()
    recorder, intake = recorded(tmp_path, clock)
    intake.frame(7 * SECOND, depth(1, 0))
    clock.now += ROTATE_SECONDS
    intake.frame(8 * SECOND, depth(2, 1))
    intake.frame(9 * SECOND, b"nonsense")
    recorder.close()
    own = [gzip.decompress(path.read_bytes()) for path in sorted(tmp_path.glob("BTCUSDT-*.gz"))]
    ours = [gzip.decompress(path.read_bytes()) for path in sorted(tmp_path.glob("lines-*.jsonl.gz"))]
    refused = [gzip.decompress(path.read_bytes()) for path in tmp_path.glob("quarantine-*.jsonl.gz")]

    assert [b"%d %b\n" % (7 * SECOND, depth(1, 0)), b"%d %b\n" % (8 * SECOND, depth(2, 1))] == own
    assert [depth(1, 0), depth(2, 1)] == [bytes(lines.decode(text.strip()).frame) for text in ours]
    assert b"nonsense" == records.decode_quarantine(refused[0].strip()).payload


def test_what_is_recorded_the_simulator_reads(tmp_path: Path) -> None:
    """The same lines as those of the hftbacktest recording."""
    recorder, intake = recorded(tmp_path, Clock())
    intake.frame(7 * SECOND, depth(1, 0))
    recorder.close()
    (line,) = read_hftbacktest(next(tmp_path.glob("BTCUSDT-*.gz")))

    assert ("BTCUSDT", DEPTH, 1) == (line.symbol, line.stream, line.payload["u"])


def test_gaps_rates_and_latencies_are_told_per_stream(tmp_path: Path) -> None:
    """Ids that do not follow are a gap unless a hole is marked there; repeats of a second connection are none."""
    recorder, intake = recorded(tmp_path, Clock(), hole="connector started")
    for at, frame in enumerate(
        [depth(1, 0), depth(2, 1), depth(2, 1), depth(5, 4), trade(10), trade(11), trade(13), depth(6, 5)]
    ):
        intake.frame((1_000_000_001 + at) * SECOND, frame)
    recorder.close()
    found = verify(tmp_path)
    book, tape = next(s for s in found.streams if s.name == DEPTH), next(s for s in found.streams if s.name == TRADE)

    assert (5, 1, 1, 1) == (book.frames, book.repeats, book.holes, book.broken)
    assert (3, 0, 1, 1) == (tape.frames, tape.repeats, tape.holes, tape.broken)
    assert 1.0 == tape.rate
    assert (1_000, 8_000) == (book.late(0), book.late(1_000))
    assert (0, []) == (found.missing, found.torn)


def test_a_file_that_a_kill_cut_off_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    """It is named; what stands in it counts."""
    recorder, intake = recorded(tmp_path, Clock())
    for number in range(3_000):
        intake.frame(number * SECOND + SECOND, depth(number + 1, number))
    recorder.close()
    path = next(tmp_path.glob("lines-*.jsonl.gz"))
    path.write_bytes(path.read_bytes()[:-50])
    found = verify(tmp_path)

    assert [path.name] == found.torn
    assert 2_000 <= found.lines < 3_000
