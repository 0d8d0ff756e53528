"""
The only place that serves files of one-minute candles as a market: which symbols, from which minute on, how fast.

The first minutes of the files are the past of `GET klines`; what follows is played. At speed 1 the play begins with the
next full minute, so that every served candle is the file's own: same open, high, low, close and volume. At another
speed the path is the same and the candles are those of the compressed path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from connectors.exchange_simulator.candles import MINUTE, Candle
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.klines import (
    ASSUMED,
    KlineMarket,
    KlinesError,
    Minute,
    history,
    read_minutes,
    row_of,
)
from connectors.exchange_simulator.market_events import MarketEvent

AS_FAST_AS_POSSIBLE: Final = 0.0
SUFFIXES: Final = (".csv.gz", ".csv")


class KlineFile(NamedTuple):
    """One symbol's minutes, cut to the time that all symbols share."""

    row: Instrument
    minutes: list[Minute]


def load_klines(path: Path, symbols: Sequence[str] = ()) -> list[KlineFile]:
    """
    The candles of a file `SYMBOL.csv[.gz]` or of a folder of such files, only of *symbols* when there are any.

    Raises KlinesError for a file that cannot be used, for a symbol without a file, for files without a common minute.
    """
    files = {
        _symbol_of(file): file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if _symbol_of(file)
    }
    for symbol in symbols:
        if symbol not in files:
            raise KlinesError(f"{path}: no candles of {symbol}, only of {', '.join(files) or 'nothing'}")
    wanted = {symbol: files[symbol] for symbol in symbols or files}
    if not wanted:
        raise KlinesError(f"{path}: no file SYMBOL.csv or SYMBOL.csv.gz")
    read = []
    for symbol, file in wanted.items():
        row = row_of(symbol, file)
        read.append(KlineFile(row, read_minutes(file, row)))
    first = max(one.minutes[0].open_ms for one in read)
    last = min(one.minutes[-1].open_ms for one in read)
    if last - first < MINUTE:
        raise KlinesError(f"{path}: the files have no two minutes in common")
    return [
        KlineFile(one.row, [bar for bar in one.minutes if first <= bar.open_ms <= last])
        for one in read
    ]  # fmt: skip


def _symbol_of(file: Path) -> str:
    """The symbol that a file's name tells; "" for other files."""
    for suffix in SUFFIXES:
        if file.name.endswith(suffix):
            return file.name.removesuffix(suffix).upper()
    return ""


def split(files: Sequence[KlineFile], *, past: int) -> tuple[list[Instrument], list[list[Minute]], list[list[Minute]]]:
    """Instruments that start at the last price of the past, the past of each, and what is played of each."""
    count = len(files[0].minutes)
    if not 0 < past < count:
        raise KlinesError(f"{past} minutes of history leave nothing to play of {count}")
    rows = [
        msgspec.structs.replace(one.row, price_e8=one.minutes[past - 1].close * one.row.tick_e8) for one in files
    ]  # fmt: skip
    return rows, [one.minutes[:past] for one in files], [one.minutes[past:] for one in files]


def past_candles(row: Instrument, minutes: Sequence[Minute], *, start_ms: int) -> list[Candle]:
    """The past as candles that end with the minute before the start."""
    shift = start_ms // MINUTE * MINUTE - MINUTE - minutes[-1].open_ms
    return history(row, minutes, start_ms=start_ms, shift_ms=shift)


class PlayedKlines:
    """A Source (synthetic.Source): every symbol's path side by side, in the order of its time."""

    def __init__(
        self, rows: Sequence[Instrument], played: Sequence[Sequence[Minute]], *, name: str, speed: float
    ) -> None:
        self._first_ms = played[0][0].open_ms
        self._last_ms = played[0][-1].open_ms + MINUTE
        self._markets = [
            KlineMarket(row, minutes, first_price=row.price_e8 // row.tick_e8)
            for row, minutes in zip(rows, played, strict=True)
        ]
        self.name, self.speed = name, speed
        self._begin_ms: int | None = None
        self._reached = self._first_ms

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """Every book at the last price of the past."""
        return [event for market in self._markets for event in market.initial(now_ms)]

    def next_due(self) -> int | None:
        """Exchange ms of the next step; 0 when it need not wait; None after the end."""
        if self._begin_ms is None:
            return 0
        following = self._following()
        due = None if following is None else following.next_due()
        if due is None or self.speed == AS_FAST_AS_POSSIBLE:
            return None if due is None else 0
        return self._begin_ms + int((due - self._first_ms) / self.speed)

    def _following(self) -> KlineMarket | None:
        """The symbol whose step comes next; the earlier one of equals."""
        waiting = [market for market in self._markets if market.next_due() is not None]
        return min(waiting, key=lambda market: market.next_due() or 0, default=None)

    def take(self, now_ms: int) -> list[MarketEvent]:
        """The next step of one symbol; the first call only sets the beginning."""
        if self._begin_ms is None:
            # A millisecond after the full minute: the one before must have ended.
            self._begin_ms = now_ms if self.speed != 1.0 else (now_ms // MINUTE + 1) * MINUTE + 1
            return []
        market = self._following()
        if market is None:
            return []
        self._reached = market.next_due() or self._reached
        return market.take(now_ms)

    def status(self) -> dict[str, object]:
        """How far the candles are, and what they do not tell."""
        return {
            "source": "klines",
            "name": self.name,
            "speed": "max" if self.speed == AS_FAST_AS_POSSIBLE else self.speed,
            "from": self._first_ms,
            "reached": self._reached,
            "until": self._last_ms,
            "finished": self._begin_ms is not None and self._following() is None,
            "assumed": list(ASSUMED),
        }
