"""Recordings are read, shifted by one constant, and end in their expected books."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connectors.exchange_simulator.endpoints import ROUTES
from connectors.exchange_simulator.exchange import Exchange
from connectors.exchange_simulator.recording import (
    Line,
    RecordedMarket,
    RecordingError,
    instruments_of,
    load,
    read_hftbacktest,
    skew_ms,
)
from connectors.exchange_simulator.venue import Request, Venue, VenueSettings
from tests.connectors.exchange_simulator.venues import START
from tests.data import require

RECORDINGS = ["hftbacktest/usdm_btcusdt_20240808.gz", "cryptofeed/binance_futures_20210722"]


@cache
def recorded(path: Path) -> tuple[Sequence[Line], str]:
    """A recording's lines, read once for all tests of this file."""
    return load(path)


def played(path: Path, speed: float = 0.0) -> tuple[Exchange, int]:
    """An exchange on a recording, and the recording's skew."""
    lines, name = recorded(path)
    rows = instruments_of(path, lines)
    skew = skew_ms(lines)
    venue = Venue(rows, VenueSettings(recorded=True), routes=ROUTES, start_ms=START)
    return Exchange(venue, RecordedMarket(lines, rows, name=name, speed=speed, skew=skew)), skew


def depth(exchange: Exchange, symbol: str) -> dict[str, Any]:
    """GET depth."""
    body: dict[str, Any] = exchange.request(
        Request("GET", "/fapi/v1/depth", f"symbol={symbol}&limit=1000"), exchange.now_ms
    ).body
    return body


def digest(book: dict[str, dict[str, str]]) -> str:
    """sha256 of a full book as the derived files define it."""
    lines = [f"b,{price},{book['b'][price]}\n" for price in sorted(book["b"], key=float, reverse=True)]
    lines += [f"a,{price},{book['a'][price]}\n" for price in sorted(book["a"], key=float)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_client_of_the_legal_diff_stream_ends_in_the_expected_book(name: str) -> None:
    """Snapshot by REST, then the served @depth@100ms frames by the rules of 2.8: the derived full book, every level."""
    path = require(name)
    folder = path if path.is_dir() else path.parent
    expected = json.loads((folder / "expected_final_book.json").read_text())["books"]
    exchange, _ = played(path)
    books = {}
    for symbol in expected:
        body = depth(exchange, symbol)
        books[symbol] = ({"b": dict(body["bids"]), "a": dict(body["asks"])}, body["lastUpdateId"])
    chained: dict[str, int] = {}
    for market in exchange.venue.markets.values():
        market.wanted = lambda stream: stream.endswith("@depth@100ms")
    while exchange.source.next_due() is not None:
        exchange.advance(START + 1, limit=5_000)
        for stream, diff in exchange.drain()[0]:
            if not stream.endswith("@depth@100ms"):
                continue
            book, snapshot = books[diff["s"]]
            if diff["u"] < snapshot:
                continue
            if diff["s"] in chained:
                assert chained[diff["s"]] == diff["pu"]
            else:
                assert diff["U"] <= snapshot <= diff["u"]
            chained[diff["s"]] = diff["u"]
            for side in ("b", "a"):
                for price, quantity in diff[side]:
                    book[side].pop(price, None)
                    if float(quantity):
                        book[side][price] = quantity
    for symbol, wanted in expected.items():
        assert wanted["sha256_full_book"] == digest(books[symbol][0])
        served = depth(exchange, symbol)
        assert wanted["top20_bids"] == served["bids"][:20]
        assert wanted["top20_asks"] == served["asks"][:20]
        assert wanted["last_applied_u"] == served["lastUpdateId"]
    assert exchange.source.status()["finished"]


def test_times_are_shifted_by_one_constant_and_the_skew_stays() -> None:
    """Every served E is the recorded one plus the same number; it lies near the exchange's now; skew is 1.27 s."""
    path = require(RECORDINGS[0])
    exchange, skew = played(path, speed=1.0)
    originals = {line.payload["u"]: line.payload for line in recorded(path)[0] if line.stream.endswith("@depth@0ms")}
    assert 1_200 < skew < 1_280
    seen = 0
    shifts = []
    for step in range(100, 3_001, 100):
        exchange.advance(START + step)
        for stream, payload in exchange.drain()[0]:
            if stream == "btcusdt@depth@100ms":
                shifts.append(payload["E"] - originals[payload["u"]]["E"])
                assert {name: originals[payload["u"]][name] for name in ("U", "u", "pu", "b", "a")} == {
                    name: payload[name] for name in ("U", "u", "pu", "b", "a")
                }
                assert abs(payload["E"] - exchange.now_ms) < 200
                seen += 1
    assert seen > 20
    assert 1 == len(dict.fromkeys(shifts))


def test_ten_times_the_speed_plays_ten_times_the_lines() -> None:
    """×10 compresses frames; the time of the venue stays wall time."""
    path = require(RECORDINGS[1])
    slow, fast = played(path, speed=1.0)[0], played(path, speed=10.0)[0]
    for exchange in (slow, fast):
        exchange.advance(START + 2_000)

    assert fast.source.status()["played"] > slow.source.status()["played"]  # type: ignore[operator]
    fast.advance(START + 4_000)
    assert fast.source.status()["finished"]


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_synthetic_history_joins_the_recorded_price(name: str) -> None:
    """The seeded candles end where the recorded snapshot's best bid stands, so that no jump enters the ATR."""
    exchange, _ = played(require(name))
    for market in exchange.venue.markets.values():
        bars = market.candles.rows("5m", start=None, end=None, limit=3, now_ms=START)

        assert market.book.best_bid == bars[-1].close


def test_trades_become_aggregates_and_the_sidecar_is_labelled() -> None:
    """Raw trades are served as aggTrade; candles, mark and filters are named as synthetic."""
    exchange, _ = played(require(RECORDINGS[0]), speed=1.0)
    exchange.advance(START + 2_500)
    frames = exchange.drain()[0]
    market = exchange.venue.markets["BTCUSDT"]
    status = exchange.source.status()

    assert any(stream == "btcusdt@aggTrade" for stream, _ in frames)
    assert market.middle_e8 is not None
    assert abs(market.mark_e8 - market.middle_e8) < market.middle_e8 // 1_000
    assert "mark price" in status["synthetic_sidecar"]  # type: ignore[operator]


def write(path: Path, lines: list[str]) -> Path:
    """A gzip file of lines."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json at all", "bad.gz:1"),
        ("12 [1]", "no JSON object"),
        ('soon {"stream":"x","data":{"s":"BTCUSDT"}}', "receive time"),
    ],
)
def test_a_damaged_recording_names_file_and_line(tmp_path: Path, line: str, words: str) -> None:
    """The text says which line cannot be read."""
    with pytest.raises(RecordingError, match=words):
        list(read_hftbacktest(write(tmp_path / "bad.gz", [line])))
    (tmp_path / "plain.gz").write_bytes(b"no gzip")
    with pytest.raises(RecordingError, match=r"plain\.gz"):
        list(read_hftbacktest(tmp_path / "plain.gz"))


def test_a_recording_of_frames_alone_grows_its_book_from_the_diffs() -> None:
    """Without a snapshot (an older `perpguard record`) the levels that diffs told since stand as in the whole one."""
    path = require(RECORDINGS[0])
    lines, name = recorded(path)
    some = lines[:4_000]
    books = []
    for chosen in (some, [line for line in some if line.stream]):
        rows = instruments_of(path, chosen)
        venue = Venue(rows, VenueSettings(recorded=True), routes=ROUTES, start_ms=START, wanted=lambda _: False)
        exchange = Exchange(venue, RecordedMarket(chosen, rows, name=name, speed=0.0, skew=0))
        while exchange.advance(START):
            pass
        books.append(venue.markets["BTCUSDT"].book)
    whole, grown = books
    assert (whole.best_bid, whole.best_ask) == (grown.best_bid, grown.best_ask)
    assert len(grown.bids) > 100
    # Diffs before the snapshot may tell a level that was gone by then.
    assert len(grown.bids.items() - whole.bids.items()) <= len(grown.bids) // 100
    assert len(grown.asks.items() - whole.asks.items()) <= len(grown.asks) // 100
