"""
The only place that makes a market of one-minute candles: reading them, and the path of one symbol through them.

Each minute's price goes open → first extreme → second extreme → close in twelve steps of 5 s (the extreme against the
minute's direction first: low before high when it closes up), so that a stop is met where the candle says it was met.
What a candle does not tell is made up and named in the report (``ASSUMED``): the book, the takers' sides, the path
between the four prices, open interest.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from connectors.exchange_simulator.candles import FIVE, MINUTE, Candle, merge
from connectors.exchange_simulator.instruments import KNOWN_INSTRUMENTS, Instrument, instrument
from connectors.exchange_simulator.market_events import BookChange, MarketEvent, MarketTrade
from pipeline.core.units import ONE_E8, format_e8

ASSUMED: Final = (
    "order book: 20 levels a side around the price, 0.01 % apart, 50,000 USDT each, spread one tick",
    "takers' sides: buyers while the price rises, sellers while it falls",
    "path within a minute: open, low, high, close when it closes up, else open, high, low, close",
    "open interest: a random walk of the simulated exchange",
    "mark price: the middle of the book",
)
STEPS: Final = 12
STEP_MS: Final = MINUTE // STEPS
# Step → (corner that the leg begins at, steps since it, steps of the leg): corners stand at steps 0, 4, 7 and 11.
_WAY: Final = (
    *((0, i, 4) for i in range(4)),
    *((1, i, 3) for i in range(3)),
    *((2, i, 4) for i in range(5)),
)
LEVELS: Final = 20
LOOKED_AT: Final = 2_000  # rows whose decimals tell a grid
LEVEL_USDT: Final = 50_000
LEVEL_GAP_PPM: Final = 100
COLUMNS: Final = ["open_time_ms", "open", "high", "low", "close", "volume"]


class KlinesError(Exception):
    """A file of candles that cannot be used; the text names file and line."""


class Minute(NamedTuple):
    """One minute in ticks and lots."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int


def read_minutes(path: Path, row: Instrument) -> list[Minute]:
    """
    ``open_time_ms,open,high,low,close,volume`` (gzip or plain), oldest first and without a hole; volume in base units.

    Raises KlinesError for anything else: another header, a minute that is missing or comes twice, a bar whose high is
    below its low, a number that is none.
    """
    minutes: list[Minute] = []
    try:
        with _opened(path) as file:
            rows = csv.reader(file)
            if next(rows, None) != COLUMNS:
                raise KlinesError(f"{path}: the first line is not {','.join(COLUMNS)}")
            for number, cells in enumerate(rows, start=2):
                minutes.append(_minute(path, number, cells, row, minutes[-1] if minutes else None))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise KlinesError(f"{path}: {error}") from error
    if not minutes:
        raise KlinesError(f"{path}: no candles")
    return minutes


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8")
    return path.open(newline="", encoding="utf-8")


def _minute(path: Path, number: int, cells: list[str], row: Instrument, before: Minute | None) -> Minute:
    try:
        open_ms = int(cells[0])
        opened, high, low, close = (_whole(cells[i], row.tick_e8) for i in range(1, 5))
        lots = _whole(cells[5], row.step_e8)
    except (ValueError, IndexError) as error:
        raise KlinesError(f"{path}:{number}: {error}") from error
    bar = Minute(open_ms, opened, high, low, close, lots)
    if bar.low <= 0 or bar.low > min(bar.open, bar.close) or bar.high < max(bar.open, bar.close):
        raise KlinesError(f"{path}:{number}: low, open, close and high are out of order")
    if lots < 0:
        raise KlinesError(f"{path}:{number}: negative volume")
    if before is not None and open_ms != before.open_ms + MINUTE:
        raise KlinesError(f"{path}:{number}: {open_ms} does not follow {before.open_ms}")
    return bar


def _whole(text: str, step_e8: int) -> int:
    """The nearest multiple of the grid: files of candles carry floats."""
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and (not fraction or (fraction.isascii() and fraction.isdigit()))):
        raise ValueError(f"not a plain decimal: {text!r}")
    value = int(whole) * ONE_E8 + int(fraction[:8].ljust(8, "0"))
    return (value + step_e8 // 2) // step_e8


def row_of(symbol: str, path: Path) -> Instrument:
    """
    The symbol's known grid and filters; for one that is not known the grid of the file's own decimals.

    Raises KlinesError when the file has no such decimals.
    """
    if symbol in KNOWN_INSTRUMENTS:
        return KNOWN_INSTRUMENTS[symbol]
    try:
        with _opened(path) as file:
            rows = list(islice(csv.reader(file), 1, LOOKED_AT))
        ticks, steps = (_finest([cell for row in rows for cell in row[cells]]) for cells in (slice(1, 5), slice(5, 6)))
        while ticks * steps % ONE_E8:  # one lot moving one tick must be worth whole units of 1e-8 USDT
            steps *= 10
        return instrument(symbol, rows[0][1], format_e8(ticks), format_e8(steps))
    except (OSError, EOFError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise KlinesError(f"{path}: no grid can be read: {error}") from error


def _finest(cells: list[str]) -> int:
    """The smallest step (E8) that the decimals of *cells* need."""
    places = max((len(cell.partition(".")[2]) for cell in cells), default=0)
    step: int = ONE_E8 // 10 ** min(places, 8)
    return step


def candle(row: Instrument, minute: Minute) -> Candle:
    """A candle as the exchange keeps it; half of it bought (the data does not tell)."""
    bar = Candle(minute.open_ms, minute.open)
    bar.high, bar.low, bar.close = minute.high, minute.low, minute.close
    bar.lots, bar.count = minute.lots, max(1, minute.lots // 100)
    bar.quote = row.notional((minute.high + minute.low) // 2, minute.lots)
    bar.buy_lots, bar.buy_quote = minute.lots // 2, bar.quote // 2
    return bar


def history(row: Instrument, minutes: Sequence[Minute], *, start_ms: int, shift_ms: int) -> list[Candle]:
    """Candles before *start_ms* (shifted): 5-minute bars, and single minutes since the last full five, oldest first."""
    five_start = start_ms // FIVE * FIVE
    singles: list[Candle] = []
    groups: dict[int, list[Candle]] = {}
    for minute in minutes:
        bar = candle(row, minute._replace(open_ms=minute.open_ms + shift_ms))
        if bar.open_ms >= start_ms // MINUTE * MINUTE:
            break
        if bar.open_ms >= five_start:
            singles.append(bar)
        else:
            groups.setdefault(bar.open_ms // FIVE * FIVE, []).append(bar)
    merged = [merge(open_ms, bars) for open_ms, bars in groups.items() if len(bars) == FIVE // MINUTE]
    return [*(bar for bar in merged if bar is not None), *singles]


class KlineMarket:
    """
    Minutes as a ``Source`` of the simulated exchange (``exchange_simulator.synthetic``).

    *minutes* are those that are played, already shifted into exchange time. After the last one the price stands.
    """

    def __init__(self, row: Instrument, minutes: Sequence[Minute], *, first_price: int) -> None:
        self._row = row
        self._price = first_price
        self._steps = self._path(minutes)
        self._next = next(self._steps, None)
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}

    def initial(self, now_ms: int) -> list[MarketEvent]:
        """The book before the first minute."""
        return [self._book(self._price)]

    def next_due(self) -> int | None:
        """Exchange ms of the next step, None after the end."""
        return None if self._next is None else self._next[0]

    def take(self, now_ms: int) -> list[MarketEvent]:
        """One step: the book moves, and what the minute traded in it is traded."""
        assert self._next is not None
        _, price, lots = self._next
        self._next = next(self._steps, None)
        falling = price < self._price
        self._price = price
        events: list[MarketEvent] = [self._book(price)]
        if lots:
            events.append(MarketTrade(self._row.symbol, price, lots, falling))
        return events

    def status(self) -> dict[str, object]:
        """What admin would show."""
        return {"source": "klines", "price": self._row.price_text(self._price)}

    @staticmethod
    def _path(minutes: Sequence[Minute]) -> Iterator[tuple[int, int, int]]:
        """(exchange ms, price in ticks, lots traded) of each step."""
        for bar in minutes:
            extremes = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
            corners = (bar.open, *extremes, bar.close)
            part = bar.lots // STEPS
            for step, (leg, within, of) in enumerate(_WAY):
                here, there = corners[leg], corners[leg + 1]
                last = bar.lots - part * (STEPS - 1) if step == STEPS - 1 else part
                yield bar.open_ms + step * STEP_MS, here + (there - here) * within // of, last

    def _book(self, price: int) -> BookChange:
        row = self._row
        gap = max(1, price * LEVEL_GAP_PPM // 1_000_000)
        lots = max(row.min_lots, LEVEL_USDT * ONE_E8 // row.notional(price, 1))
        bids = {price - i * gap: lots for i in range(LEVELS) if price - i * gap > 0}
        asks = {price + 1 + i * gap: lots for i in range(LEVELS)}
        gone_bids = [(ticks, 0) for ticks in self._bids if ticks not in bids]
        gone_asks = [(ticks, 0) for ticks in self._asks if ticks not in asks]
        self._bids, self._asks = bids, asks
        return BookChange(row.symbol, gone_bids + list(bids.items()), gone_asks + list(asks.items()))
