"""
The only place where benchmarks get their lines of ``inputs``: a recording when there is one, else made-up frames.

Whoever reports a figure says which of the two it was (``Inputs.name``): a made-up market has no surprises in it.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.core.identity import base62
from pipeline.wire import lines
from pipeline.wire.topics import partition_of

RECORDING: Final = "hftbacktest/usdm_btcusdt_20240808.gz"
CONNECTOR: Final = "connector/public-0"
EXECUTOR: Final = "execute/main"

# Filters of BTCUSDT as the venue stated them in 2024 (recordings carry none): labelled ``synthetic`` in the line.
BTCUSDT: Final = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "contractType": "PERPETUAL",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "maxQty": "120", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
    ],
}


class InputRecord(msgspec.Struct, frozen=True):
    """One record of ``inputs``: its append time and its bytes."""

    append_ms: int
    value: bytes


class Inputs(msgspec.Struct, frozen=True):
    """A run of frames of one symbol as received, and the same as lines of the log (receive ns, bytes)."""

    name: str
    symbol: str
    frames: list[bytes]
    lines: list[tuple[int, bytes]]

    @property
    def partition(self) -> int:
        """The partition of the symbol."""
        return partition_of(self.symbol)

    def records(self, lines_per_record: int) -> list[InputRecord]:
        """The lines in records of a fixed size, appended when their last line was received."""
        return batches(self.lines, lines_per_record)


def batches(rows: list[tuple[int, bytes]], lines_per_record: int) -> list[InputRecord]:
    """Put lines (receive ns, bytes) into records of a fixed size."""
    return [
        InputRecord(
            append_ms=rows[min(start + lines_per_record, len(rows)) - 1][0] // 1_000_000,
            value=lines.join([line for _, line in rows[start : start + lines_per_record]]),
        )
        for start in range(0, len(rows), lines_per_record)
    ]


class LineWriter:
    """Writes lines as connector, executor, account and decide do: each source with its own running numbers."""

    def __init__(self, *, incarnation: str = "1") -> None:
        self.rows: list[tuple[int, bytes]] = []
        self._incarnation = incarnation
        self._numbers: dict[tuple[str, str], int] = {}
        self._prefixes: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    def restart(self, incarnation: str) -> None:
        """Every writer starts anew: another incarnation, numbers from 1."""
        self._incarnation = incarnation
        self._numbers.clear()
        self._prefixes.clear()

    def frame(self, symbol: str, at_ns: int, frame: bytes, *, source: str = CONNECTOR) -> bytes:
        """A frame line of the connector."""
        prefix = self._prefixes.get((source, symbol))
        if prefix is None:
            prefix = lines.frame_prefix(source=source, incarnation=self._incarnation, symbol=symbol)
            self._prefixes[source, symbol] = prefix
        return self.add(at_ns, lines.frame_line(at_ns, self._number(source, symbol), frame, prefix))

    def line(self, symbol: str, at_ns: int, source: str, **body: Any) -> bytes:  # Any: one field of lines.Line
        """Any other line."""
        number = self._number(source, symbol)
        return self.add(
            at_ns,
            lines.encode(lines.Line(at=at_ns, src=source, inc=self._incarnation, n=number, sym=symbol, **body)),
        )

    def answer(self, symbol: str, at_ns: int, kind: str, body: bytes) -> bytes:
        """An answer line of the executor."""
        answer = lines.Answer(kind=kind, body=msgspec.Raw(body), synthetic=True)
        return self.line(symbol, at_ns, EXECUTOR, answer=answer)

    def add(self, at_ns: int, line: bytes) -> bytes:
        """Take a line as it is."""
        self.rows.append((at_ns, line))
        return line

    def _number(self, source: str, symbol: str) -> int:
        number = self._numbers[source, symbol] = self._numbers.get((source, symbol), 0) + 1
        return number


def data_directory() -> Path:
    """Where recordings are: ``PERPGUARD_DATA``, else ``../shared/data`` beside the repository."""
    configured = os.environ.get("PERPGUARD_DATA")
    return Path(configured) if configured else Path(__file__).resolve().parents[2].parent / "shared" / "data"


def recording(path: Path, *, symbol: str = "BTCUSDT", limit: int = 0) -> Inputs:
    """
    The lines of a recording in the hftbacktest format: ``<receive ns> <JSON>``, frames and one REST depth answer.

    The instrument comes first, as the executor writes it at its start. *limit* > 0 takes only so many rows.
    """
    writer = LineWriter()
    frames: list[bytes] = []
    with gzip.open(path, "rb") as rows:
        for index, row in enumerate(rows):
            if limit and index >= limit:
                break
            at_text, _, body = row.rstrip().partition(b" ")
            at_ns = int(at_text)
            if index == 0:
                writer.answer(symbol, at_ns, "exchange_info", msgspec.json.encode(BTCUSDT | {"symbol": symbol}))
            if body.startswith(b'{"stream"'):
                frames.append(body)
                writer.frame(symbol, at_ns, body)
            else:
                writer.answer(symbol, at_ns, "depth", body)
    return Inputs(name=f"recording {path.name}", symbol=symbol, frames=frames, lines=writer.rows)


def synthetic(count: int, *, symbol: str = "BTCUSDT", seed: int = 1) -> Inputs:
    """
    Made-up frames in the recording's own mix (70 % bookTicker, 23 % trades, 7 % diffs of 68 levels).

    Prices follow a bounded walk drawn from a linear congruential generator, so every run and machine gets the same.
    """
    draw = _generator(seed)
    writer = LineWriter()
    frames: list[bytes] = []
    at_ns = 1_700_000_000_000_000_000
    writer.answer(symbol, at_ns, "exchange_info", msgspec.json.encode(BTCUSDT | {"symbol": symbol}))
    price, update, trade = 600_000, 1_000, 1
    last_diff = update
    writer.answer(symbol, at_ns, "depth", _depth_answer(price, update))
    for _ in range(count):
        at_ns += 3_700_000
        at_ms = at_ns // 1_000_000
        price = min(max(price + draw(3) - 1, 500_000), 700_000)
        choice = draw(100)
        if choice < 70:
            update += 1
            frame = _book_ticker(symbol, price, update, at_ms, draw)
        elif choice < 93:
            trade += 1
            frame = _trade(symbol, price, trade, at_ms, draw)
        else:
            update += 1
            frame = _depth(symbol, price, (last_diff, update), at_ms, draw)
            last_diff = update
        frames.append(frame)
        writer.frame(symbol, at_ns, frame)
    return Inputs(name=f"synthetic seed {base62(seed)}", symbol=symbol, frames=frames, lines=writer.rows)


def _generator(seed: int) -> Callable[[int], int]:
    state = seed

    def draw(below: int) -> int:
        nonlocal state
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        return (state >> 33) % below

    return draw


def _price(ticks: int) -> str:
    return f"{ticks // 10}.{ticks % 10}0"


def _lots(count: int) -> str:
    return f"{count // 1_000}.{count % 1_000:03d}"


def _combined(symbol: str, suffix: str, data: dict[str, Any]) -> bytes:  # Any: JSON
    return msgspec.json.encode({"stream": f"{symbol.lower()}@{suffix}", "data": data})


def _book_ticker(symbol: str, price: int, update: int, at_ms: int, draw: Callable[[int], int]) -> bytes:
    return _combined(
        symbol,
        "bookTicker",
        {"e": "bookTicker", "u": update, "s": symbol, "b": _price(price), "B": _lots(1 + draw(9_000)),
         "a": _price(price + 1), "A": _lots(1 + draw(9_000)), "T": at_ms, "E": at_ms},
    )  # fmt: skip


def _trade(symbol: str, price: int, trade: int, at_ms: int, draw: Callable[[int], int]) -> bytes:
    return _combined(
        symbol,
        "aggTrade",
        {"e": "aggTrade", "E": at_ms, "a": trade, "s": symbol, "p": _price(price), "q": _lots(1 + draw(500)),
         "nq": "0", "f": trade, "l": trade, "T": at_ms, "m": bool(draw(2)), "st": 1},
    )  # fmt: skip


def _depth(symbol: str, price: int, span: tuple[int, int], at_ms: int, draw: Callable[[int], int]) -> bytes:
    """A diff of 68 levels; those that the walk has left behind are deleted, or the book would cross."""
    bids = [[_price(price - 1 - draw(400)), _lots(draw(5_000))] for _ in range(18)]
    asks = [[_price(price + 2 + draw(400)), _lots(draw(5_000))] for _ in range(18)]
    bids += [[_price(price + step), "0.000"] for step in range(16)]
    asks += [[_price(price + 1 - step), "0.000"] for step in range(16)]
    return _combined(
        symbol,
        "depth@100ms",
        {"e": "depthUpdate", "E": at_ms, "T": at_ms, "s": symbol, "U": span[0], "u": span[1], "pu": span[0],
         "b": bids, "a": asks},
    )  # fmt: skip


def _depth_answer(price: int, update: int) -> bytes:
    return msgspec.json.encode(
        {
            "lastUpdateId": update,
            "bids": [[_price(price - 1 - step), "1.000"] for step in range(500)],
            "asks": [[_price(price + 2 + step), "1.000"] for step in range(500)],
        }
    )


def best_available(*, quick: bool = False) -> Inputs:
    """The recording when it is there, else made-up frames; *quick* takes little of either."""
    path = data_directory() / RECORDING
    if path.exists():
        return recording(path, limit=2_000 if quick else 0)
    return synthetic(2_000 if quick else 60_000)
