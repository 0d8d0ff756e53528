"""Files of candles as a market: every served candle is the file's own, symbols keep one time, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.exchange_simulator.candles import MINUTE
from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.fixed_point import parse_e8
from connectors.exchange_simulator.klines import COLUMNS, KlinesError
from connectors.exchange_simulator.played_klines import PlayedKlines, load_klines, past_candles, split
from connectors.exchange_simulator.venue import Request, Venue, VenueSettings
from tests.connectors.exchange_simulator.venues import START
from tests.data import require

PAST = 120


def played(folder: Path, symbols: list[str], *, speed: float = 1.0, past: int = PAST) -> Exchange:
    """A venue on the candles of *folder*, with its past."""
    rows, before, after = split(load_klines(folder, symbols), past=past)
    venue = Venue(rows, VenueSettings(mark_noise_ppm=0), routes=ROUTES, start_ms=START, wanted=lambda _: False)
    for row, minutes in zip(rows, before, strict=True):
        venue.markets[row.symbol].take_past(past_candles(row, minutes, start_ms=START), START)
    return Exchange(venue, PlayedKlines(rows, after, name="test", speed=speed))


def klines(exchange: Exchange, symbol: str, interval: str, limit: int) -> list[list[object]]:
    """GET klines."""
    query = f"symbol={symbol}&interval={interval}&limit={limit}"
    rows: list[list[object]] = exchange.request(Request("GET", "/fapi/v1/klines", query), exchange.now_ms).body
    return rows


def numbers(row: list[object]) -> tuple[int | None, ...]:
    """Open, high, low, close, volume in e8."""
    return tuple(parse_e8(str(cell)) for cell in row[1:6])


@pytest.mark.parametrize("symbols", [["BTCUSDT"], ["SOLUSDT", "ETHUSDT", "XRPUSDT"]])
def test_every_served_candle_is_the_files_own(symbols: list[str]) -> None:
    """Forty minutes of real candles in virtual time: open, high, low, close and volume equal, none missing."""
    folder = require("dcatpstrategy-klines/1m")
    exchange = played(folder, symbols)
    start = START // MINUTE * MINUTE
    exchange.advance(start + 41 * MINUTE)
    for file in load_klines(folder, symbols):
        row = file.row
        served = klines(exchange, row.symbol, "1m", 41)[:-1]
        expected = [
            (*(bar[place] * row.tick_e8 for place in range(1, 5)), bar.lots * row.step_e8)
            for bar in file.minutes[PAST : PAST + 40]
        ]
        assert [start + (1 + index) * MINUTE for index in range(40)] == [bar[0] for bar in served]
        assert expected == [numbers(bar) for bar in served]


def test_the_past_is_the_files_too() -> None:
    """Five-minute bars before the start are those of the first part of the files, down to the last full minute."""
    folder = require("dcatpstrategy-klines/1m")
    exchange = played(folder, ["SOLUSDT"])
    (file,) = load_klines(folder, ["SOLUSDT"])
    served = klines(exchange, "SOLUSDT", "5m", 21)
    past = file.minutes[:PAST]
    shift = START // MINUTE * MINUTE - MINUTE - past[-1].open_ms
    for bar in served[1:-1]:
        inside = [one for one in past if 0 <= one.open_ms + shift - int(str(bar[0])) < 5 * MINUTE]
        assert 5 == len(inside)
        assert file.row.price_text(max(one.high for one in inside)) == bar[2]
        assert file.row.price_text(min(one.low for one in inside)) == bar[3]
        assert file.row.price_text(inside[-1].close) == bar[4]


def test_symbols_keep_one_time_and_the_end_stands() -> None:
    """A fast play: due times never go back, all symbols end, the status says so, books stay."""
    folder = require("dcatpstrategy-klines/1m")
    files = load_klines(folder, ["SOLUSDT", "ADAUSDT"])
    rows, _, after = split([file._replace(minutes=file.minutes[:200]) for file in files], past=190)
    source = PlayedKlines(rows, after, name="test", speed=60.0)
    source.initial(START)
    seen, dues = 0, [START]
    assert [] == source.take(START)
    while (due := source.next_due()) is not None:
        assert due >= dues[-1]
        dues.append(due)
        seen += len(source.take(due))

    assert 10_000 - 5_000 // 60 - 10 <= dues[-1] - START <= 10_000
    assert 2 * 10 * 12 * 2 == seen
    assert source.status()["finished"]
    assert [] == source.take(START)


def write(path: Path, opens: list[int]) -> None:
    """A file of flat candles."""
    path.write_text("\n".join([",".join(COLUMNS), *(f"{open_ms},10,10,10,10,5" for open_ms in opens)]) + "\n")


def test_what_cannot_be_played_is_named(tmp_path: Path) -> None:
    """No file, an unknown symbol, no common minutes, a history that leaves nothing."""
    with pytest.raises(KlinesError, match="no file SYMBOL"):
        load_klines(tmp_path)
    write(tmp_path / "AUSDT.csv", [MINUTE * index for index in range(5)])
    write(tmp_path / "BUSDT.csv", [MINUTE * index for index in range(4, 9)])
    (tmp_path / "notes.txt").write_text("not candles")
    with pytest.raises(KlinesError, match="no candles of CUSDT, only of AUSDT, BUSDT"):
        load_klines(tmp_path, ["CUSDT"])
    with pytest.raises(KlinesError, match="no two minutes in common"):
        load_klines(tmp_path)
    files = load_klines(tmp_path / "AUSDT.csv")
    assert ["AUSDT"] == [file.row.symbol for file in files]
    for past in (0, 5):
        with pytest.raises(KlinesError, match="leave nothing to play of 5"):
            split(files, past=past)
