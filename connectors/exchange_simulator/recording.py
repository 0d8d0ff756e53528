"""The recorded markets: plays the files of hftbacktest, cryptofeed and `perpguard record` as if they happened now.

All `E`/`T` are shifted by one constant, so that the recording begins at the start and its skew between receive time
and `E` stays (clarifications section 4): the exchange's clock is put ahead by that skew. Recorded diffs are served
unchanged under the venue-legal diff names; trades become aggTrades (derived); filters, mark and candles are a synthetic
sidecar.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from connectors.exchange_simulator.fixed_point import E8, decimals_of, format_e8, parse_e8
from connectors.exchange_simulator.instruments import Instrument, default_instrument, instrument
from connectors.exchange_simulator.market_events import (
    Levels,
    MarketEvent,
    MarketTrade,
    RecordedDiff,
    RecordedFrame,
    RecordedSnapshot,
    recorded_diff,
)

Payload = dict[str, Any]  # Any: the recorded JSON
AS_FAST_AS_POSSIBLE: Final = 0.0
_REST_LINE: Final = re.compile(r"^https://\S+/depth\?symbol=(\w+)\S* -> ([\d.]+): (\{.*)$")
_FRAME_LINE: Final = re.compile(r"^([\d.]+): (\{.*)$")
_OWN_FILE: Final = re.compile(r"([^-]+)-(\d+)\.gz")
# Event → the number by which a repeat of it is told.
_OWN_NUMBER: Final = {"depthUpdate": "u", "bookTicker": "u", "aggTrade": "a"}
_SKEW_SAMPLES: Final = 500


class Line(NamedTuple):
    """One recorded record: receive time in ms (host clock), symbol, stream ("" for a REST snapshot), payload."""

    received_ms: int
    symbol: str
    stream: str
    payload: Payload


class RecordingError(Exception):
    """A recording that cannot be read; the text names file and line."""


def read_hftbacktest(path: Path) -> Iterator[Line]:
    """`<receive ns> <JSON>` per line; the record without `stream` is the REST snapshot of the file's one symbol."""
    symbol = ""
    waiting: list[Line] = []
    for number, text in enumerate(_lines(path), start=1):
        stamp, _, raw = text.partition(" ")
        record = _decode(path, number, raw)
        if not stamp.isdigit():
            raise RecordingError(f"{path}:{number}: no receive time in nanoseconds")
        received = int(stamp) // 1_000_000
        if "stream" in record:
            data = record["data"]
            symbol = symbol or data["s"]
            yield from (line._replace(symbol=symbol) for line in waiting)
            waiting.clear()
            yield Line(received, data["s"], record["stream"], data)
        elif symbol:
            yield Line(received, symbol, "", record)
        else:
            waiting.append(Line(received, "", "", record))


def read_cryptofeed(folder: Path) -> list[Line]:
    """The `ws` and `rest_depth` files of a capture folder, merged by receive time."""
    lines: list[Line] = []
    for number, text in enumerate(_lines(folder / "ws.txt.gz"), start=1):
        found = _FRAME_LINE.match(text)
        if found is not None:
            record = _decode(folder / "ws.txt.gz", number, found.group(2))
            data = record["data"]
            lines.append(Line(_seconds(found.group(1)), data["s"], record["stream"], data))
    for number, text in enumerate(_lines(folder / "rest_depth.txt.gz"), start=1):
        found = _REST_LINE.match(text)
        if found is not None:
            record = _decode(folder / "rest_depth.txt.gz", number, found.group(3))
            lines.append(Line(_seconds(found.group(2)), found.group(1), "", record))
    lines.sort(key=lambda line: line.received_ms)
    return lines


def read_own(folder: Path) -> list[Line]:
    """
    The directory that `perpguard record` wrote: every symbol's files in hftbacktest's form, merged by receive time.

    Two connections brought some frames twice while one took over from the other: what is not newer is left out. A
    symbol begins with its first snapshot; of its diffs before, those that bridge to it stay. A file that was cut off in
    the middle is read up to there.
    """
    by_symbol: dict[str, list[Line]] = {}
    for path in sorted(folder.glob("*.gz"), key=lambda one: (len(one.name), one.name)):
        named = _OWN_FILE.fullmatch(path.name)
        if named is not None:
            by_symbol.setdefault(named[1], []).extend(_own_lines(path, named[1]))
    found: list[Line] = []
    for own in by_symbol.values():
        first = next((line for line in own if line.stream == ""), None)
        if first is not None:
            found += _newer_only(own, first)
    found.sort(key=lambda line: line.received_ms)
    return found


def _own_lines(path: Path, symbol: str) -> Iterator[Line]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, text in enumerate(file, start=1):
                if not text.endswith("\n"):
                    return
                stamp, _, raw = text.strip().partition(" ")
                record = _decode(path, number, raw)
                received = int(stamp) // 1_000_000
                if "stream" in record:
                    yield Line(received, symbol, record["stream"], record["data"])
                else:
                    yield Line(received, symbol, "", record)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return


def _newer_only(lines: Sequence[Line], first: Line) -> Iterator[Line]:
    """Frames whose own number rises; before the *first* snapshot only diffs that reach it."""
    last: dict[str, int] = {}
    begun = False
    for line in lines:
        if line is first:
            begun = True
        if line.stream:
            payload = line.payload
            field = _OWN_NUMBER.get(str(payload.get("e")))
            number = payload.get(field) if field is not None else None
            if not begun and (payload.get("e") != "depthUpdate" or payload["u"] < first.payload["lastUpdateId"]):
                continue
            if isinstance(number, int):
                if number <= last.get(line.stream, -1):
                    continue
                last[line.stream] = number
        yield line


def _seconds(text: str) -> int:
    return int(Decimal(text) * 1_000)


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from filter(None, map(str.strip, file))
    except (OSError, EOFError) as error:
        raise RecordingError(f"{path}: {error}") from error


def _decode(path: Path, number: int, raw: str) -> Payload:
    try:
        record = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise RecordingError(f"{path}:{number}: {error}") from error
    if not isinstance(record, dict):
        raise RecordingError(f"{path}:{number}: no JSON object")
    return record


def load(path: Path) -> tuple[Sequence[Line], str]:
    """All lines of a recording (a .gz file, a cryptofeed folder, one of `perpguard record`), its format's name."""
    if path.is_dir() and (path / "ws.txt.gz").exists():
        return read_cryptofeed(path), "cryptofeed"
    if path.is_dir():
        return read_own(path), "perpguard"
    return list(read_hftbacktest(path)), "hftbacktest"


def instruments_of(path: Path, lines: Sequence[Line]) -> list[Instrument]:
    """
    The symbols of a recording with their grids.

    A capture's own exchangeInfo gives the grid; without one a known symbol's row is used. Old resting orders may lie
    off a tick size that was raised later (CTKUSDT in 2021): then the finest recorded decimals are the grid. Decimals
    follow the recorded texts, so that a served book prints as recorded. All else (limits, ATR) is synthetic.
    """
    first: dict[str, tuple[str, str]] = {}
    for line in lines:
        # The best bid of the snapshot: a diff's first level may lie anywhere.
        bids = line.payload.get("bids")
        if line.stream == "" and line.symbol not in first and isinstance(bids, list) and bids:
            first[line.symbol] = (bids[0][0], bids[0][1])
    for line in lines:
        # `perpguard record` writes frames alone: then the first best bid, or the first bid of a diff.
        if line.symbol not in first and line.payload.get("e") == "bookTicker":
            first[line.symbol] = (line.payload["b"], line.payload["B"])
    for line in lines:
        if line.symbol not in first and line.payload.get("e") == "depthUpdate" and line.payload["b"]:
            first[line.symbol] = tuple(line.payload["b"][0][:2])
    grids = _recorded_grids(path)
    rows = []
    for symbol, (price, quantity) in first.items():
        price_places, quantity_places = (len(text.partition(".")[2]) for text in (price, quantity))
        if symbol in grids:
            tick, step = grids[symbol]
        else:
            known = default_instrument(symbol)
            tick, step = format_e8(known.tick_e8), format_e8(known.step_e8)
        if _lies_off(tick, lines, symbol):
            tick = format_e8(E8 // 10**price_places)
        row = instrument(
            symbol, price, tick, step,
            price_decimals=max(price_places, decimals_of(tick)),
            quantity_decimals=max(quantity_places, decimals_of(step)),
        )  # fmt: skip
        rows.append(row)
    return rows


def _lies_off(tick: str, lines: Sequence[Line], symbol: str) -> bool:
    """Whether a recorded level of the symbol is no multiple of the tick: of its snapshot, else of its diffs."""
    tick_e8 = parse_e8(tick) or 1
    own = [line for line in lines if line.symbol == symbol]
    told = [line for line in own if line.stream == ""] or own
    return any(
        (parse_e8(price) or 0) % tick_e8
        for line in told
        for side in ("bids", "asks", "b", "a")
        if isinstance(line.payload.get(side), list)
        for price, *_ in line.payload[side]
    )


def _recorded_grids(path: Path) -> dict[str, tuple[str, str]]:
    """Tick and step by symbol from a capture's exchangeInfo; empty when there is none."""
    file = (path if path.is_dir() else path.parent) / "exchangeInfo.txt.gz"
    if not file.exists():
        return {}
    grids: dict[str, tuple[str, str]] = {}
    for text in _lines(file):
        _, marker, raw = text.partition(": ")
        if not marker or not raw.startswith("{"):
            continue
        for row in _decode(file, 1, raw).get("symbols", []):
            by_type = {one["filterType"]: one for one in row["filters"]}
            grids[row["symbol"]] = (by_type["PRICE_FILTER"]["tickSize"], by_type["LOT_SIZE"]["stepSize"])
    return grids


def skew_ms(lines: Sequence[Line]) -> int:
    """Median of `E` minus receive time over the first frames: how far the exchange's clock was ahead of the host's."""
    samples = sorted(line.payload["E"] - line.received_ms for line in lines[:_SKEW_SAMPLES] if "E" in line.payload)
    return samples[len(samples) // 2] if samples else 0


class RecordedMarket:
    """Plays lines at *speed* (1 = as recorded, 0 = as fast as possible); the frames alone are compressed."""

    def __init__(
        self, lines: Sequence[Line], rows: Sequence[Instrument], *, name: str, speed: float, skew: int
    ) -> None:
        self._lines = lines
        self._rows = {row.symbol: row for row in rows}
        self.name, self.speed = name, speed
        self._skew = skew
        self._first_ms = lines[0].received_ms if lines else 0
        self._index = 0
        self._begin_ms: int | None = None
        self._shift_ms = 0
        self._snapshots = {line.symbol: line for line in reversed(lines) if line.stream == ""}
        self._trade_ids: dict[str, int] = {}

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """
        Each book's recorded snapshot, at once.

        The recorder also got it later than the first diffs; the rules of sheet 2.8 drop those that are older. Without a
        snapshot (`perpguard record` keeps frames alone) the book grows from the diffs.
        """
        self._shift_ms = now_ms - self._skew - self._first_ms
        return [self._snapshot(line) for line in self._snapshots.values()]

    def next_due(self) -> int | None:
        """Exchange ms of the next line; 0 when it need not wait; None after the end."""
        if self._begin_ms is None:
            return 0
        if self._index >= len(self._lines):
            return None
        if self.speed == AS_FAST_AS_POSSIBLE:
            return 0
        return self._begin_ms + int((self._lines[self._index].received_ms - self._first_ms) / self.speed)

    def take(self, now_ms: int) -> list[MarketEvent]:
        """The events of the next line."""
        if self._begin_ms is None:
            # The shift is fixed when the first line is played.
            self._begin_ms = now_ms
            self._shift_ms = now_ms - self._skew - self._first_ms
        line = self._lines[self._index]
        self._index += 1
        return self._events(line)

    def _events(self, line: Line) -> list[MarketEvent]:
        kind = line.payload.get("e")
        if line.stream == "" or line.symbol not in self._rows:
            return []
        payload = dict(line.payload)
        for name in ("E", "T"):
            if name in payload:
                payload[name] += self._shift_ms
        name = line.symbol.lower()
        if kind == "depthUpdate":
            return [self._diff(payload)]
        if kind == "bookTicker":
            return [RecordedFrame(line.symbol, f"{name}@bookTicker", payload)]
        if kind == "trade":
            return [
                RecordedFrame(line.symbol, f"{name}@trade", payload),
                self._trade(line.symbol, payload, trade_id=payload["t"]),
            ]
        if kind == "aggTrade":
            # The recorded aggregate moves the market; the derived stream numbers it again.
            return [self._trade(line.symbol, payload, trade_id=payload["l"])]
        # Recorded candles lie on the recording's own minutes; the sidecar's candles are served instead.
        return []

    def _trade(self, symbol: str, payload: Payload, *, trade_id: int) -> MarketTrade:
        row = self._rows[symbol]
        price, quantity = parse_e8(payload["p"]), parse_e8(payload["q"])
        assert price is not None and quantity is not None, "a recorded trade has plain decimals"
        return MarketTrade(
            symbol, price // row.tick_e8, max(1, quantity // row.step_e8), payload["m"], trade_id, payload["T"]
        )

    def _levels(self, row: Instrument, levels: list[list[str]]) -> Levels:
        tick, step = row.tick_e8, row.step_e8
        found: Levels = []
        for price_text, quantity_text in levels:
            price, quantity = parse_e8(price_text), parse_e8(quantity_text)
            assert price is not None and quantity is not None, "recorded levels are plain decimals"
            assert price % tick == 0 and quantity % step == 0, (
                f"{row.symbol}: {price_text} {quantity_text} off the grid"
            )
            found.append((price // tick, quantity // step))
        return found

    def _diff(self, payload: Payload) -> RecordedDiff:
        row = self._rows[payload["s"]]
        return recorded_diff(
            row.symbol, payload, bids=self._levels(row, payload["b"]), asks=self._levels(row, payload["a"])
        )

    def _snapshot(self, line: Line) -> RecordedSnapshot:
        row = self._rows[line.symbol]
        return RecordedSnapshot(
            symbol=line.symbol,
            last_update_id=line.payload["lastUpdateId"],
            event_ms=line.payload["E"] + self._shift_ms,
            transaction_ms=line.payload["T"] + self._shift_ms,
            bids=self._levels(row, line.payload["bids"]),
            asks=self._levels(row, line.payload["asks"]),
        )

    def status(self) -> dict[str, object]:
        """How far the recording is."""
        return {
            "source": "recording",
            "name": self.name,
            "lines": len(self._lines),
            "played": self._index,
            "speed": "max" if self.speed == AS_FAST_AS_POSSIBLE else self.speed,
            "shift_ms": self._shift_ms,
            "skew_ms": self._skew,
            "finished": self._begin_ms is not None and self._index >= len(self._lines),
            "synthetic_sidecar": ["filters", "mark price", "candles", "open interest", "funding"],
            "derived_streams": ["aggTrade", "depth@100ms and depth from the recorded diffs", "partial depths"],
        }
