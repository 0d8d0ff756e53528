"""The only place that turns files into markets a backtest can play: candles, hftbacktest and cryptofeed recordings."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Final

import msgspec

from connectors.exchange_simulator.candles import MINUTE
from connectors.exchange_simulator.klines import ASSUMED, KlineMarket, KlinesError, history, read_minutes, row_of
from connectors.exchange_simulator.recording import RecordedMarket, RecordingError, instruments_of, load, skew_ms
from pipeline.backtest.run import Market
from pipeline.core.units import ONE_E8
from pipeline.virtual.clock import START_MS

DAY_MS: Final = 86_400_000
HISTORY_MINUTES: Final = 24 * 60  # before the first minute that is played: 1h ATR needs 14 h
RECORDING_ASSUMED: Final = (
    "filters, mark price (the middle), candles before the start, open interest and funding: a synthetic sidecar",
)


class NoMarket(Exception):
    """Nothing that can be played; the text says why."""


def of_klines(symbol: str, path: Path, *, funding: Path | None = None, days: float = 0.0) -> Market:
    """
    One symbol's minutes: the first day (or what there is up to the clock's time of day) is history, the rest is played.

    Times are shifted by whole days, so that settlements and 5-minute bars stay where they were. Raises NoMarket.
    """
    try:
        row = row_of(symbol, path)
        minutes = read_minutes(path, row)
    except KlinesError as error:
        raise NoMarket(str(error)) from error
    start_minute = START_MS // MINUTE * MINUTE
    earliest = minutes[0].open_ms + HISTORY_MINUTES * MINUTE
    days_off = -(-(earliest - start_minute) // DAY_MS)
    begin = start_minute + days_off * DAY_MS  # data time of the minute that the exchange's start lies in
    index = (begin - minutes[0].open_ms) // MINUTE
    played = minutes[index + 1 :]
    if days:
        played = played[: round(days * 24 * 60)]
    if not played:
        raise NoMarket(f"{path}: no minute is left after {HISTORY_MINUTES // 60} hours of history")
    shift = -days_off * DAY_MS
    first = minutes[index].close
    row = msgspec.structs.replace(row, price_e8=first * row.tick_e8)
    return Market(
        symbol=symbol,
        name=path.name,
        row=row,
        source=KlineMarket(row, [bar._replace(open_ms=bar.open_ms + shift) for bar in played], first_price=first),
        length_ms=played[-1].open_ms + MINUTE + shift - START_MS,
        shift_ms=shift,
        past=history(row, minutes, start_ms=START_MS, shift_ms=shift),
        funding=_funding(funding, shift) if funding is not None else [],
        assumed=ASSUMED if funding is not None else (*ASSUMED, "funding: the simulated exchange's own"),
    )


def _funding(path: Path, shift_ms: int) -> list[tuple[int, int]]:
    """``open_time_ms,funding_rate``: settlements, a few ms after the full hour as the venue prints them."""
    rates: list[tuple[int, int]] = []
    try:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            for cells in list(csv.reader(file))[1:]:
                at_ms, rate = int(cells[0]), float(cells[1])
                rates.append((at_ms // MINUTE * MINUTE + shift_ms, round(rate * ONE_E8)))
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise NoMarket(f"{path}: {error}") from error
    return rates


def of_recording(path: Path) -> list[Market]:
    """Every symbol of a recording as a market of its own; raises NoMarket."""
    try:
        lines, name = load(path)
        rows = instruments_of(path, lines)
    except (RecordingError, ValueError, KeyError) as error:
        raise NoMarket(f"{path}: {error}") from error
    if not rows:
        raise NoMarket(f"{path}: no snapshot of a book")
    markets = []
    for row in rows:
        own = [line for line in lines if line.symbol == row.symbol]
        markets.append(
            Market(
                symbol=row.symbol,
                name=f"{name} {path.name}",
                row=row,
                source=RecordedMarket(own, [row], name=path.name, speed=1.0, skew=skew_ms(own)),
                length_ms=own[-1].received_ms - own[0].received_ms,
                shift_ms=START_MS - own[0].received_ms,
                recorded=True,
                assumed=RECORDING_ASSUMED,
            )
        )
    return markets
