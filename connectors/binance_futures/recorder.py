"""
The only place where the connector writes files instead of a log: line files that rotate, and what a recording is worth.

Two formats stand beside each other. ``<SYMBOL>-<start>.gz`` has the lines of hftbacktest: receive time in ns, a space,
the untouched frame or REST snapshot. ``lines-<start>.jsonl.gz`` has the connector's own lines: connection, incarnation,
running number, holes, and filters and snapshots as the executor would have written them, so that the fold reads them
like any log. ``exchangeInfo.txt.gz`` has the filters of every symbol. A file is closed after an hour or at its size and
never written again; a restart begins new ones, so a recording is resumed by running it again. A file that was cut off
in the middle is read up to its last whole line.
"""

from __future__ import annotations

import gzip
import re
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

import msgspec

from pipeline.wire import lines, records
from pipeline.wire.batching import Batcher, Origin

ROTATE_SECONDS: Final = 3_600
ROTATE_BYTES: Final = 256 * 1024 * 1024  # of text; some 30 MB compressed
FLUSH_LINES: Final = 2_000  # what a kill may cost of each file
LEVEL: Final = 3
EXCHANGE_INFO_FILE: Final = "exchangeInfo.txt.gz"
READER: Final = "execute/record"  # who writes answers in a log, and which of them
DEPTH_STREAM: Final = "@depth@100ms"
_FRAME: Final = b',"frame":'
_LOST_BOOK: Final = re.compile(rb',"lost":\{"stream":"[^"]*@depth@100ms"')
_UPDATE_BEFORE: Final = re.compile(rb'"pu":(\d+)')
_STREAM: Final = re.compile(rb'"stream":"([^"]{1,100})"')
_EVENT_TIME: Final = re.compile(rb'"E":(\d{10,16})')


class _ExchangeInfo(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Named(msgspec.Struct):
    symbol: str


class _Rotating:
    """One compressed line file at a time."""

    def __init__(self, directory: Path, stem: str, ending: str, now: Callable[[], float]) -> None:
        self._directory = directory
        self._stem = stem
        self._ending = ending
        self._now = now
        self._file: gzip.GzipFile | None = None
        self._until = 0.0
        self._size = self._unflushed = 0

    def write(self, line: bytes) -> None:
        now = self._now()
        if self._file is None or now >= self._until or self._size >= ROTATE_BYTES:
            self.close()
            path = self._directory / f"{self._stem}-{int(now * 1_000)}{self._ending}"
            self._file = gzip.open(path, "ab", compresslevel=LEVEL)  # noqa: SIM115  # open for an hour
            self._until, self._size, self._unflushed = now + ROTATE_SECONDS, 0, 0
        self._file.write(line + b"\n")
        self._size += len(line) + 1
        self._unflushed += 1
        if self._unflushed >= FLUSH_LINES:
            self._file.flush(zlib.Z_SYNC_FLUSH)
            self._unflushed = 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class Recorder:
    """Stands where ``Publisher`` stands; everything is written before the call returns."""

    def __init__(
        self,
        directory: Path,
        *,
        symbols: Iterable[str] = (),
        now: Callable[[], float] = time.time,
        told: TextIO | None = None,
    ) -> None:
        """*symbols*: whose filters are kept among the lines; empty for those of every symbol."""
        directory.mkdir(parents=True, exist_ok=True)
        self.batcher = Batcher()  # stays empty: a file does not give way
        self.waiting_bytes = self.not_kept = 0
        self.retries = self.acknowledged_records = self.acknowledged_bytes = 0
        self.last_acknowledged = 0.0
        self._directory = directory
        self._now = now
        self._told = told
        self._lines = _Rotating(directory, "lines", ".jsonl.gz", now)
        self._refused = _Rotating(directory, "quarantine", ".jsonl.gz", now)
        self._frames: dict[str, _Rotating] = {}
        self.wanted: dict[str, None] = {}  # books to be read by REST, in the order in which their diffs began
        self._books: dict[str, int] = {}  # symbol → the last u of a book that is whole
        self._symbols = dict.fromkeys(symbols)
        self._incarnation = f"{int(now() * 1_000):x}"
        self._numbers: dict[str, int] = defaultdict(int)

    def line(self, partition: int, line: bytes, origin: Origin | None) -> None:
        """Write a line in our form, and a market frame of a symbol in hftbacktest's."""
        self._lines.write(line)
        self.acknowledged_records += 1
        self.acknowledged_bytes += len(line)
        place = line.find(_FRAME) if origin is not None else -1
        if origin is not None and place >= 0:
            file = self._frames.get(origin.symbol)
            if file is None:
                file = self._frames[origin.symbol] = _Rotating(self._directory, origin.symbol, ".gz", self._now)
            at = line[6 : line.index(b",", 6)]
            frame = line[place + len(_FRAME) : -1]
            file.write(at + b" " + frame)
            if origin.stream.endswith(DEPTH_STREAM):
                self._follow_book(origin.symbol, frame)
        elif _LOST_BOOK.search(line) is not None:
            self._books.pop(lines.decode(line).sym, None)

    def _follow_book(self, symbol: str, frame: bytes) -> None:
        """A book is wanted once its first diff is there (then the snapshot cannot be too old), and after any gap."""
        own, before = _IDS["depth"][0].search(frame), _UPDATE_BEFORE.search(frame)
        if own is None or before is None:
            return
        number, known = int(own[1]), self._books.get(symbol)
        if known is None or (number > known and int(before[1]) != known):
            self.wanted[symbol] = None
        if known is None or number > known:
            self._books[symbol] = number

    def filters(self, at_ns: int, url: str, body: bytes) -> None:
        """Write exchangeInfo whole into its file, and each symbol's own part into the lines."""
        rows = msgspec.json.decode(body, type=_ExchangeInfo).symbols
        with gzip.open(self._directory / EXCHANGE_INFO_FILE, "ab") as file:
            file.write(b"%b -> %d.%06d: %b\n" % (url.encode(), *divmod(at_ns // 1_000, 1_000_000), body))
        for raw in rows:
            symbol = msgspec.json.decode(raw, type=_Named).symbol
            if symbol in self._symbols or not self._symbols:
                self._answer(at_ns, symbol, "exchange_info", raw)

    def book(self, at_ns: int, symbol: str, body: bytes) -> None:
        """Write a snapshot into both forms."""
        file = self._frames.get(symbol)
        if file is not None:
            file.write(b"%d %b" % (at_ns, body))
        self._answer(at_ns, symbol, "depth", msgspec.Raw(body))

    def _answer(self, at_ns: int, symbol: str, kind: str, body: msgspec.Raw) -> None:
        self._numbers[symbol] += 1
        answer = lines.Answer(kind=kind, request="record", body=body)
        line = lines.Line(
            at=at_ns, src=READER, inc=self._incarnation, n=self._numbers[symbol], sym=symbol, answer=answer
        )
        self._lines.write(lines.encode(line))

    def account(self, record: bytes) -> None:
        """User events stand in the lines of their symbols; account-wide ones are none of a market recording's."""

    def quarantine(self, record: records.QuarantineRecord) -> None:
        """Keep refused bytes."""
        self._refused.write(records.encode(record))

    def alert(self, code: str, text: str, *, severity: str = "warning", gate: str = "") -> None:
        """A word for whoever watches."""
        if self._told is not None:
            self._told.write(f"{code}: {text}\n")

    def hold(self, symbol: str) -> None:
        """Nothing gives way."""

    def hold_all(self, symbols: Iterable[str]) -> None:
        """Nothing gives way."""

    def failure(self) -> BaseException | None:
        """A full disk raises where it is met."""
        return None

    def close(self) -> None:
        """Finish every file."""
        for file in (self._lines, self._refused, *self._frames.values()):
            file.close()


# ------------------------------------------------------------------------------------------------------------ verify


class Stream(msgspec.Struct):
    """What a recording has of one stream of one symbol; ``late_ms`` are receive less event time."""

    name: str
    symbol: str
    frames: int = 0
    repeats: int = 0
    first_ns: int = 0
    last_ns: int = 0
    longest_ns: int = 0
    holes: int = 0
    broken: int = 0  # places where the venue's own ids do not follow and no hole is marked
    late_ms: list[int] = []

    @property
    def rate(self) -> float:
        """Frames a second."""
        span = self.last_ns - self.first_ns
        return (self.frames - 1) * 1e9 / span if span else 0.0

    def late(self, permille: int) -> int:
        """A quantile of the latency in ms, 0 when no frame has an event time."""
        ordered = sorted(self.late_ms)
        return ordered[min(len(ordered) - 1, len(ordered) * permille // 1_000)] if ordered else 0


class Verified(msgspec.Struct):
    """A whole recording: its streams, and lines whose running numbers are missing."""

    streams: list[Stream]
    lines: int
    missing: int
    torn: list[str]


def whole_lines(path: Path, torn: list[str]) -> Iterator[bytes]:
    """The lines of a compressed file; one that ends in the middle is named in *torn* and read up to there."""
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
                else:
                    torn.append(path.name)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        torn.append(path.name)


def line_files(directory: Path) -> list[Path]:
    """The files with the connector's own lines, oldest first."""
    return sorted(directory.glob("lines-*.jsonl.gz"), key=lambda one: int(one.name.split("-")[1].split(".")[0]))


def verify(directory: Path) -> Verified:
    """Read the lines of a recording and say what they are worth: gaps, rates, latencies per stream."""
    found: dict[tuple[str, str], Stream] = {}
    ids: dict[tuple[str, str], int] = {}
    marked: set[tuple[str, str]] = set()
    numbers: dict[tuple[str, str, str], int] = defaultdict(int)
    count = missing = 0
    torn: list[str] = []
    for path in line_files(directory):
        for raw in whole_lines(path, torn):
            line = lines.decode(raw)
            count += 1
            source = (line.src, line.inc, line.sym)
            missing += max(0, line.n - numbers[source] - 1)
            numbers[source] = max(numbers[source], line.n)
            if line.lost is not None:
                key = (line.sym, line.lost.stream)
                found.setdefault(key, Stream(key[1], key[0])).holes += 1
                marked.add(key)
                continue
            frame = bytes(line.frame)
            name = stream_name(frame)
            if not name:
                continue
            key = (line.sym, name)
            stream = found.setdefault(key, Stream(key[1], key[0]))
            _count(stream, line.at, frame)
            said = follow(frame, key, ids, marked)
            stream.repeats += said == "repeat"
            stream.broken += said == "gap"
    return Verified([found[key] for key in sorted(found)], count, missing, torn)


def _count(stream: Stream, at_ns: int, frame: bytes) -> None:
    if stream.frames:
        stream.longest_ns = max(stream.longest_ns, at_ns - stream.last_ns)
    else:
        stream.first_ns = at_ns
    stream.frames += 1
    stream.last_ns = max(stream.last_ns, at_ns)
    event = _EVENT_TIME.search(frame)
    if event is not None:
        stream.late_ms.append(at_ns // 1_000_000 - int(event[1]))


# Stream's kind → the field of this frame's id, and of the id that must have come before (0: this one less one).
_IDS: Final = {
    "depth": (re.compile(rb'"u":(\d+)'), _UPDATE_BEFORE),
    "aggTrade": (re.compile(rb'"a":(\d+)'), None),
}


def stream_name(frame: bytes) -> str:
    """The stream of a market frame; empty for others."""
    found = _STREAM.search(frame[:200])
    return found[1].decode() if found is not None else ""


def follow(frame: bytes, key: tuple[str, str], ids: dict[tuple[str, str], int], marked: set[tuple[str, str]]) -> str:
    """
    Hold a frame's id against the one before: venue sheet 2.5 (a rises by 1) and 2.8 (pu is the u before).

    Returns "repeat", "gap" (one that no hole is *marked* for), or nothing.
    """
    patterns = _IDS.get(key[1].partition("@")[2].partition("@")[0])
    if patterns is None:
        return ""
    own = patterns[0].search(frame)
    before = patterns[1].search(frame) if patterns[1] is not None else own
    if own is None or before is None:
        return ""
    number = int(own[1])
    expected = int(before[1]) - (patterns[1] is None)
    known = ids.get(key)
    if known is not None and number <= known:
        return "repeat"
    broken = known is not None and expected != known and key not in marked
    marked.discard(key)
    ids[key] = number
    return "gap" if broken else ""
