"""The only place for tests of markets made of candles: reading, refusing, the path through a minute, the history."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from connectors.exchange_simulator.candles import FIVE, MINUTE
from connectors.exchange_simulator.klines import (
    COLUMNS,
    KlineMarket,
    KlinesError,
    Minute,
    history,
    read_minutes,
    row_of,
)
from connectors.exchange_simulator.market_events import BookChange, MarketTrade

ROW = row_of("BTCUSDT", Path("unread"))
START = 1_700_000_000_000 // FIVE * FIVE


def write(path: Path, rows: list[str]) -> Path:
    """A file of candles."""
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


def test_unknown_symbol_has_the_grid_of_its_file(tmp_path: Path) -> None:
    """The file's own decimals are the grid; a lot that would be too fine for it is made coarser."""
    path = write(tmp_path / "NEWUSDT.csv", [f"{START},0.12345,0.13,0.12,0.125,10.125", f"{START + MINUTE},1,1,1,1,1"])
    row = row_of("NEWUSDT", path)

    assert (1_000, 10_000_000 // 100) == (row.tick_e8, row.step_e8)
    assert 12_345 == read_minutes(path, row)[0].open
    coarse = row_of("XUSDT", write(tmp_path / "X.csv", [f"{START},0.1234567,1,0.1,1,0.5"]))
    assert (10, 10_000_000) == (coarse.tick_e8, coarse.step_e8)
    with pytest.raises(KlinesError, match="no grid"):
        row_of("NEWUSDT", write(tmp_path / "empty.csv", []))


def test_candles_are_read_onto_the_grid(tmp_path: Path) -> None:
    """Floats fall on the nearest tick and lot, plain or gzip."""
    rows = [f"{START},100.04,101,99.949999,100,1.2344", f"{START + MINUTE},100,100,100,100,0"]
    plain = write(tmp_path / "a.csv", rows)
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert [Minute(START, 1_000, 1_010, 999, 1_000, 1_234), Minute(START + MINUTE, 1_000, 1_000, 1_000, 1_000, 0)] == (
        read_minutes(plain, ROW)
    )
    assert read_minutes(plain, ROW) == read_minutes(packed, ROW)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no candles"),
        ([f"{START},100,101,99,nan,1"], ":2: not a plain decimal"),
        ([f"{START},100,101,99,-1,1"], ":2: not a plain decimal"),
        ([f"{START},100,inf,99,100,1"], ":2: not a plain decimal"),
        ([f"{START},100,99,98,100,1"], ":2: low, open, close and high are out of order"),
        ([f"{START},0,0,0,0,1"], ":2: low, open, close and high are out of order"),
        ([f"{START},100,101,99,100"], ":2: list index out of range"),
        ([f"{START},100,101,99,100,1", f"{START + 2 * MINUTE},100,101,99,100,1"], ":3: .* does not follow"),
        ([f"{START},100,101,99,100,1", f"{START},100,101,99,100,1"], ":3: .* does not follow"),
    ],
)
def test_bad_candles_are_named(tmp_path: Path, rows: list[str], words: str) -> None:
    """A number that is none, a bar out of order, a hole, a repeat: refused with file and line."""
    path = write(tmp_path / "bad.csv", rows)

    with pytest.raises(KlinesError, match=words):
        read_minutes(path, ROW)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file without the header, bytes that are no gzip, no file at all."""
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.csv.gz").write_bytes(b"no gzip")
    for name in ("x.csv", "x.csv.gz", "absent.csv"):
        with pytest.raises(KlinesError):
            read_minutes(tmp_path / name, ROW)


@pytest.mark.parametrize(("close", "first"), [(1_005, 990), (995, 1_020)])
def test_a_minute_meets_its_four_prices(close: int, first: int) -> None:
    """Twelve steps from open to close, the extreme against the direction first; within the bar, with all volume."""
    bar = Minute(START, 1_000, 1_020, 990, close, 1_205)
    market = KlineMarket(ROW, [bar], first_price=1_000)
    market.initial(START)
    times, prices, lots = [], [], 0
    while (due := market.next_due()) is not None:
        times.append(due)
        for event in market.take(due):
            if isinstance(event, MarketTrade):
                prices.append(event.ticks)
                lots += event.lots

    assert [START + i * 5_000 for i in range(12)] == times
    assert (1_000, first, close) == (prices[0], prices[4], prices[-1])
    assert (990, 1_020) == (min(prices), max(prices))
    assert 1_205 == lots


def test_book_follows_the_price() -> None:
    """After each step the best bid is the price, the best ask one tick above, and nothing old is left."""
    bars = [
        Minute(START + i * MINUTE, 10_000 + i * 40, 10_050 + i * 40, 9_990 + i * 40, 10_040 + i * 40, 50)
        for i in range(5)
    ]
    market = KlineMarket(ROW, bars, first_price=10_000)
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    events = market.initial(START)
    while True:
        for event in events:
            if isinstance(event, BookChange):
                for side, levels in ((bids, event.bids), (asks, event.asks)):
                    side.update(levels)
                    for ticks in [ticks for ticks, lots in side.items() if not lots]:
                        del side[ticks]
        assert max(bids) + 1 == min(asks)
        assert 20 == len(bids) == len(asks)
        due = market.next_due()
        if due is None:
            break
        events = market.take(due)
    assert 10_200 == max(bids)


def test_history_is_whole_bars_then_minutes() -> None:
    """Five-minute bars up to the last full five minutes, single minutes after it; a cut beginning is left out."""
    minutes = [Minute(START + i * MINUTE, 1_000 + i, 1_010 + i, 990 + i, 1_001 + i, 100) for i in range(2, 20)]
    bars = history(ROW, minutes, start_ms=START + 17 * MINUTE + 500, shift_ms=0)

    assert [START + FIVE, START + 2 * FIVE, START + 3 * FIVE, START + 16 * MINUTE] == [bar.open_ms for bar in bars]
    assert (1_005, 1_019, 995, 1_010, 500) == (bars[0].open, bars[0].high, bars[0].low, bars[0].close, bars[0].lots)
