"""The only place that holds the core's walls and liquidation map against the oracle: buckets, baseline, scores, map."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from pipeline.core.book import Book, apply_diff, apply_snapshot
from pipeline.core.events import Bar, DepthDiff, DepthSnapshot, Level, Side
from pipeline.core.liquidation_map import TIERS, LiquidationMap, fold_bar
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks, parse_e8
from pipeline.core.wall_state import WallState
from pipeline.core.walls import book_of_top, bucket_sums, sample, wanted_width
from tests.data import require
from tests.oracle import walls as oracle
from tests.oracle.machinery import Array
from tests.sessions.script import BAR_MS, INSTRUMENT, START_MS

TICK_E8, STEP_E8 = 10_000_000, 100_000
TICK, STEP = 0.1, 0.001
TOLERANCE = 1e-9


def _rows(levels: dict[int, int]) -> Array:
    return np.array([[price * TICK, lots * STEP] for price, lots in levels.items()])


def _known(notional: Array, known: int) -> Array:
    """What the oracle may use: an empty bucket beyond the snapshot's edge is not known."""
    return np.where((notional > 0) | (np.arange(len(notional)) < known), notional, np.nan)


class Beside:
    """The core's walls of a book and the oracle's history of the same book, second by second."""

    def __init__(self) -> None:
        self.walls = WallState(tick_e8=TICK_E8, step_e8=STEP_E8)
        self.history: dict[Side, list[Array]] = {Side.BUY: [], Side.SELL: []}
        self.times: list[int] = []
        self.compared = self.candidates = 0

    def second(self, book: Book, now_ms: int, *, day: float) -> None:
        """One sample of both, compared."""
        atr_e8 = 300 * ONE_E8
        sample(self.walls, book, now_ms=now_ms, atr_1h_e8=atr_e8, own_lots=500, day_quote_e8=int(day * ONE_E8))
        mid = (book.best_bid + book.best_ask) * TICK / 2
        width = self.walls.width * TICK
        self.times.append(now_ms)
        for side in (Side.BUY, Side.SELL):
            levels = book.bids if side is Side.BUY else book.asks
            told = oracle.buckets(_rows(levels), sign=side.sign, width=width, tick=TICK, mid=mid)
            edge = book.known_bid if side is Side.BUY else book.known_ask
            whole = [
                i * self.walls.width >= edge if side is Side.BUY else (i + 1) * self.walls.width - 1 <= edge
                for i in told.index
            ]
            self.history[side].append(_known(told.notional, sum(whole)))
            base = oracle.baseline(self.history[side], self.times)
            kept = self.walls.side(side)
            assert base.median == pytest.approx(kept.median, rel=TOLERANCE, abs=TOLERANCE)
            assert base.deviation == pytest.approx(kept.deviation, rel=TOLERANCE, abs=TOLERANCE)
            found = oracle.candidates(told.notional, base, own=500 * STEP * mid, day=day)
            z = oracle.score(told.notional, base)
            for bucket, notional, hit, one in zip(told.index, told.notional, found, z, strict=True):
                track = kept.tracks.get(int(bucket))
                if hit:
                    assert track is not None
                    self.candidates += 1
                if track is not None:
                    assert notional == pytest.approx(track.last * TICK * STEP, rel=TOLERANCE) or not track.since_ms
                    assert abs(one * 1_000 - track.score) <= 1 + 1e-6
            self.compared += len(told.index)


def _random_book(random: Random, middle: int) -> Book:
    bids: list[Level] = [(middle - 1 - d, random.randint(1, 4_000)) for d in range(0, 15_000, random.randint(3, 30))]
    asks: list[Level] = [(middle + d, random.randint(1, 4_000)) for d in range(0, 15_000, random.randint(3, 30))]
    for side, sign in ((bids, -1), (asks, 1)):
        for _ in range(random.randint(0, 4)):
            price = middle + sign * random.randint(2, 14_000)
            side.append((price, random.randint(50_000, 900_000)))
    return book_of_top(bids, asks)


def test_random_books_agree() -> None:
    """Two minutes of books that change wholly each second: baseline, scores and candidates agree."""
    random = Random(5)
    beside = Beside()
    middle = 600_000
    for second in range(120):
        middle += random.randint(-40, 40)
        beside.second(
            _random_book(random, middle), START_MS + 1_000 * second + random.randint(0, 300), day=random.random() * 1e8
        )

    assert beside.compared > 10_000
    assert beside.candidates > 100


def _recorded() -> Iterator[tuple[int, DepthDiff | DepthSnapshot]]:
    def levels(rows: list[list[str]]) -> list[Level]:
        return [(parse_e8(p) // TICK_E8, parse_e8(q) // STEP_E8) for p, q in rows]

    with gzip.open(require("hftbacktest/usdm_btcusdt_20240808.gz"), "rt") as lines:
        for line in lines:
            at, text = line.split(" ", 1)
            at_ms = Milliseconds(int(at) // 1_000_000)
            if '"stream"' not in text[:12]:
                body = json.loads(text)
                yield at_ms, DepthSnapshot(body["lastUpdateId"], levels(body["bids"]), levels(body["asks"]), at_ms)
            elif "@depth" in text[:40]:
                body = json.loads(text)["data"]
                yield at_ms, DepthDiff(body["U"], body["u"], body["pu"], levels(body["b"]), levels(body["a"]), at_ms)


def test_recorded_book_agrees() -> None:
    """The recorded book of BTCUSDT, 60 of its seconds: buckets, baseline and candidates agree."""
    beside, book, last = Beside(), Book(), 0
    for at_ms, event in _recorded():
        if isinstance(event, DepthSnapshot):
            apply_snapshot(book, event)
        else:
            apply_diff(book, event)
        if book.whole and at_ms // 1_000 != last:
            last = at_ms // 1_000
            beside.second(book, at_ms, day=1e10)
            if len(beside.times) == 60:
                break

    assert 60 == len(beside.times)
    assert beside.compared > 60 * 100


@pytest.mark.parametrize("atr", [4.0, 499.0, 501.0, 1_499.0, 1_501.0])
def test_widths_agree(atr: float) -> None:
    """The width of a bucket by the 1h range."""
    for twice_mid in (1_000_001, 999_333, 1_234_567):
        told = wanted_width(twice_mid=twice_mid, atr_1h_e8=int(atr * ONE_E8), tick_e8=TICK_E8)
        assert round(oracle.bucket_width(twice_mid / 2 * TICK, TICK, atr) / TICK) == told


def test_sums_are_exact() -> None:
    """Bucket sums count every level of the range once, in whole ticks × lots."""
    random = Random(1)
    levels = {random.randint(1, 5_000): random.randint(1, 10**9) for _ in range(2_000)}
    sums = bucket_sums(levels, sorted(levels), width=7, first=100, last=400)

    assert sums == [sum(p * q for p, q in levels.items() if p // 7 == bucket) for bucket in range(100, 401)]


def test_maps_agree_over_five_days() -> None:
    """1,440 closed bars with open interest that comes and goes: every bucket of both sides agrees, and the bands."""
    random = Random(3)
    known, told = LiquidationMap(), []
    price, interest = 50_000, 1_000_000
    banded = 0
    for number in range(1_440):
        price = max(30_000, price + random.randint(-60, 60))
        interest = max(500_000, interest + random.randint(-4_000, 5_000) + (400_000 if number % 240 == 232 else 0))
        low, high = price - random.randint(1, 80), price + random.randint(1, 80)
        lots = random.randint(1_000, 90_000)
        quote = (lots * price + random.randint(-20, 20) * lots) * 100_000
        taker = quote * random.randint(10, 90) // 100
        fold_bar(
            known,
            Bar(
                open_ms=Milliseconds(START_MS + number * BAR_MS),
                open=Ticks(price),
                high=Ticks(high),
                low=Ticks(low),
                close=Ticks(price),
                lots=Lots(lots),
                quote_volume=E8(quote),
                taker_lots=Lots(lots // 2),
                taker_quote=E8(taker),
                trades=1,
                closed=True,
            ),
            INSTRUMENT,
            open_interest_lots=interest,
            open_interest_ms=START_MS + number,
        )
        told.append(oracle.MapBar(low, high, price, lots * STEP, quote / ONE_E8, taker / ONE_E8, interest * STEP))
        if number % 240 != 239:
            continue
        masses = oracle.liquidation_map(told, np.array([tier.maintenance for tier in TIERS]))
        for side, mine in ((1, known.longs), (-1, known.shorts)):
            assert sorted(masses[side]) == sorted(mine)
            for bucket, mass in masses[side].items():
                assert mass == pytest.approx(mine[bucket] * known.scale, rel=1e-9)
            heavy = oracle.heavy_buckets(masses[side], side=side, close=price, open_interest=interest * STEP)
            bands = [b for b in known.bands if b.side.sign == side]
            assert {b.id for b in bands} <= set(heavy)
            assert bool(heavy) == bool(bands)
            banded += len(bands)

    assert banded
