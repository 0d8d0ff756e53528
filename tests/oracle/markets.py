"""The only place for the markets the oracle is asked about: seeded synthetic days, seeded quotes, recorded days.

A seed gives the same market always. Everything stands on its grid (price ticks, lots, hundredths of a quote unit), so
that a venue's decimal text of each figure reads back as the same number.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.data import require
from tests.oracle.machinery import BAR_MS, Array, Bars, Integers, Mask

DAY_BARS = 288
STEPS = 12
START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z: the first bar opens an hour and a day
MARKS_PER_BAR = 5
BAR_DEVIATION = 0.0016


class Grid(NamedTuple):
    """A symbol's grids by decimals, and the price it begins at."""

    name: str
    price: float
    price_decimals: int
    lot_decimals: int

    @property
    def tick(self) -> float:
        """One price tick in quote units."""
        return float(f"1e-{self.price_decimals}")

    @property
    def lot(self) -> float:
        """One lot in base units."""
        return float(f"1e-{self.lot_decimals}")


# Fine, middling and coarse ticks: a bar's usual range is about 800, 50 and 8 ticks.
GRIDS = (
    Grid("BTCUSDT", 50_000.0, 1, 3),
    Grid("SOLUSDT", 150.0, 2, 2),
    Grid("DOGEUSDT", 0.25, 5, 0),
    Grid("XUSDT", 2.5, 3, 1),
)


class Character(NamedTuple):
    """How wildly a market's other figures move; the quiet one keeps deviations below the floors of the domain."""

    follow: float  # how much volume, buying share and open interest go with price
    volume: float
    share: float
    interest: float
    basis: float
    forced: float  # logarithm of a forced order's usual notional
    forced_spread: float
    broken: bool  # dead stretches, bursts of volume, jumps


CHARACTERS = {
    "usual": Character(1.0, 0.5, 0.08, 0.0015, 0.6, 9.5, 1.0, True),
    "quiet": Character(0.02, 0.05, 0.008, 0.0003, 0.1, 10.0, 0.2, False),
    "stormy": Character(1.5, 0.8, 0.15, 0.004, 1.0, 13.0, 1.2, True),
}


class Events(NamedTuple):
    """Forced orders as the venue tells them: T, S (True: SELL, a long was liquidated), ap, z, p, q."""

    time_ms: Integers
    sold: Mask
    average: Array
    filled: Array
    price: Array
    quantity: Array


class Funding(NamedTuple):
    """Settled funding: time and rate per interval."""

    time_ms: Integers
    rate: Array


@dataclass(frozen=True)
class Market:
    """One symbol's days: bars with companions told per bar, marks between them, forced orders and funding."""

    grid: Grid
    bars: Bars
    contracts: Array  # open interest at each bar's close, in base units; NaN where the poll failed
    btc: Array  # closes of the companions on the same open times; NaN where one has no bar
    eth: Array
    mark_ms: Integers  # five a bar, the last of them 1 s before the bar's end
    mid: Array
    index: Array
    rate: Array  # running funding rate at each bar's close
    interval_hours: int
    funding: Funding
    events: Events


def _on(values: npt.ArrayLike, decimals: int) -> Array:
    return np.asarray(np.round(np.asarray(values, dtype=np.float64), decimals))


def market(seed: int, days: int = 1) -> Market:
    """
    Make *days* days of one symbol from *seed*: twelve seeds in a row are of every kind.

    Seeds cycle through four grids, tails thin and fat, and three characters. Every market has stretches of strong
    trend, of takers against the price, of extreme basis and funding, failed open-interest polls and cascades of forced
    orders; all but the quiet ones also dead calm (no trade at all, bars of one price), bursts of volume and jumps of
    open interest.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    size, grid = days * DAY_BARS, GRIDS[seed % len(GRIDS)]
    of = list(CHARACTERS.values())[seed % len(CHARACTERS)]
    loud = np.exp(_wave(random, size, 0.97, 0.12))
    dead = _stretches(random, size, every=400, length=30) & of.broken
    drift = _stretches(random, size, every=150, length=40) * random.choice([-0.35, 0.35], size)[_blocks(size, 150)]
    shocks = random.standard_t(4, (size, STEPS)) / np.sqrt(2) if seed % 2 else random.standard_normal((size, STEPS))
    common = random.standard_normal(size)
    scale = np.where(dead, 0.0, BAR_DEVIATION * loud)
    steps = (0.8 * shocks / np.sqrt(STEPS) + (0.6 * common + drift)[:, None] / STEPS) * scale[:, None]
    # A slow pull to where it began keeps hundreds of days at usable prices.
    path = _pulled(steps.sum(axis=1), 0.999)
    inner = np.concatenate([np.zeros((size, 1)), np.cumsum(steps, axis=1)], axis=1) + path[:-1, None]
    inner[:, -1] = path[1:]
    prices = np.maximum(_on(grid.price * np.exp(inner), grid.price_decimals), grid.tick)
    moved = steps.sum(axis=1) / np.where(scale > 0, scale, 1.0)
    bars = _bars(random, grid, prices, moved=moved, dead=dead, loud=loud, of=of)
    contracts = _open_interest(random, grid, bars, moved, of)
    events = _forced_orders(random, grid, bars, moved, of)
    mark_ms = (bars.open_ms[:, None] + np.array([59, 119, 179, 239, 299]) * 1000).reshape(-1)
    between = np.linspace(0, STEPS, MARKS_PER_BAR + 1).astype(int)[1:]
    mid = prices[:, between].reshape(-1)
    basis = np.repeat(_wave(random, size, 0.995, of.basis), MARKS_PER_BAR) + random.normal(0, of.basis, len(mid))
    extreme = np.where(_stretches(random, size, every=700, length=12), random.uniform(85, 115, size), 0.0)
    basis += np.repeat(extreme, MARKS_PER_BAR)
    interval = (8, 4, 8, 1)[seed % 4]
    dear = np.where(_stretches(random, size, every=700, length=12), random.uniform(-0.0024, 0.0024, size), 0.0)
    rate = _on((0.0001 + _wave(random, size, 0.995, 0.000012) + dear) * interval / 8, 8)
    settles = (bars.open_ms + BAR_MS) % (interval * 3_600_000) == 0
    beside = _on(np.cumsum(0.7 * common + 0.7 * random.standard_normal(size)) * 0.0012, 12)
    third = _on(np.cumsum(0.6 * common + 0.8 * random.standard_normal(size)) * 0.0015, 12)
    return Market(
        grid=grid,
        bars=bars,
        contracts=contracts,
        btc=_on(60_000 * np.exp(_pulled(np.diff(beside, prepend=0.0), 0.999)[1:]), 1),
        eth=np.where(
            _stretches(random, size, 900, 4),
            np.nan,
            _on(3_000 * np.exp(_pulled(np.diff(third, prepend=0.0), 0.999)[1:]), 2),
        ),
        mark_ms=mark_ms.astype(np.int64),
        mid=mid,
        index=_on(mid / (1 + basis * 1e-4), grid.price_decimals + 3),
        rate=rate,
        interval_hours=interval,
        funding=Funding((bars.open_ms + BAR_MS)[settles], rate[settles]),
        events=events,
    )


def _pulled(changes: Array, keep: float) -> Array:
    """A walk from 0 by *changes* that forgets a little of itself each step: one value more than changes."""
    out = np.zeros(len(changes) + 1)
    value = 0.0
    for i, change in enumerate(changes.tolist()):
        value = keep * value + change
        out[i + 1] = value
    return out


def _wave(random: np.random.Generator, size: int, keep: float, noise: float) -> Array:
    return _pulled(random.normal(0, noise, size), keep)[1:]


def _blocks(size: int, length: int) -> Integers:
    return (np.arange(size) // length * length).astype(np.int64)


def _stretches(random: np.random.Generator, size: int, every: int, length: int) -> Mask:
    """About one stretch of *length* bars in *every* bars."""
    begins = random.random(size) < 1 / every
    return np.asarray(np.convolve(begins, np.ones(length), mode="full")[:size] > 0)


def _bars(
    random: np.random.Generator, grid: Grid, prices: Array, *, moved: Array, dead: Mask, loud: Array, of: Character
) -> Bars:
    size = len(prices)
    busy = _stretches(random, size, every=120, length=3) & of.broken
    along = np.log((0.4 + np.abs(moved)) * loud) * of.follow
    lots = np.exp(random.normal(0, of.volume, size) + np.where(busy, 1.4, 0.0) + along)
    volume = np.where(dead, 0.0, _on(lots * 4_000_000 / grid.price, grid.lot_decimals))
    against = np.where(_stretches(random, size, every=200, length=18), -1.5, 1.0)
    share = np.clip(0.5 + 0.2 * of.follow * against * np.tanh(moved) + random.normal(0, of.share, size), 0.0, 1.0)
    taker = np.minimum(_on(volume * share, grid.lot_decimals), volume)
    opened, closed = prices[:, 0], prices[:, -1]
    high, low = prices.max(axis=1), prices.min(axis=1)
    usual = (opened + high + low + closed) / 4
    return Bars(
        open_ms=START_MS + np.arange(size, dtype=np.int64) * BAR_MS,
        open=opened,
        high=high,
        low=low,
        close=closed,
        volume=volume,
        quote=_on(volume * usual, 2),
        taker_volume=taker,
        taker_quote=_on(taker * usual, 2),
        trades=np.where(volume > 0, 1 + random.poisson(400 * loud), 0).astype(np.int64),
        tick=grid.tick,
    )


def _open_interest(random: np.random.Generator, grid: Grid, bars: Bars, moved: Array, of: Character) -> Array:
    size = len(bars)
    changes = random.normal(0, of.interest, size) + 0.001 * of.follow * np.abs(moved) * random.choice([-1, 1], size)
    if of.broken:
        changes += np.where(random.random(size) < 1 / 500, random.choice([-0.2, 0.25], size), 0.0)
        changes += np.where(_stretches(random, size, every=1500, length=60), 0.008, 0.0)
    held = _on(200_000_000 / grid.price * np.exp(_pulled(changes, 0.998)[1:]), grid.lot_decimals)
    return np.where(random.random(size) < 1 / 300, np.nan, held)


def _forced_orders(random: np.random.Generator, grid: Grid, bars: Bars, moved: Array, of: Character) -> Events:
    cascade = _stretches(random, len(bars), every=250, length=3)
    count = np.where(bars.volume > 0, random.poisson(0.8 * np.minimum(moved**2, 4.0) + np.where(cascade, 12, 0)), 0)
    bar = np.repeat(np.arange(len(bars)), count)
    size = len(bar)
    time_ms = bars.open_ms[bar] + random.integers(0, BAR_MS, size)
    order = np.argsort(time_ms, kind="stable")
    time_ms, bar = time_ms[order], bar[order]
    price = _on(bars.low[bar] + random.random(size) * (bars.high[bar] - bars.low[bar]), grid.price_decimals)
    notional = np.exp(random.normal(of.forced + np.where(cascade[bar], 2.5, 0.0), of.forced_spread))
    quantity = np.maximum(_on(notional / price, grid.lot_decimals), grid.lot)
    sold = np.where(random.random(size) < 0.9, moved[bar] < 0, moved[bar] >= 0)
    told = np.where(random.random(size) < 0.02, 0.0, price)  # ap missing: notional falls back to p·q
    again = np.sort(np.concatenate([np.arange(size), np.flatnonzero(random.random(size) < 0.05)]))
    return Events(time_ms[again], sold[again], told[again], quantity[again], price[again], quantity[again])


class Quotes(NamedTuple):
    """Best bid and ask as they change; times in ms, never falling."""

    time_ms: Integers
    bid: Array
    bid_quantity: Array
    ask: Array
    ask_quantity: Array


def quotes(seed: int, seconds: int = 3600, per_second: int = 3) -> Quotes:
    """A seeded path of best quotes: spread of 1 to 4 ticks, sizes in lots, several changes of a second together."""
    random = np.random.Generator(np.random.PCG64([seed, 1]))
    grid, size = GRIDS[seed % len(GRIDS)], seconds * per_second
    time_ms = START_MS + np.sort(random.integers(0, seconds * 1000, size)).astype(np.int64)
    begin = round(grid.price / grid.tick)
    bid = begin + np.cumsum(random.choice([-1, 0, 0, 0, 1], size))
    ask = bid + random.integers(1, 5, size)
    unit = 20_000 / grid.price
    sizes = np.maximum(_on(unit * np.exp(random.normal(0, 0.8, (2, size))), grid.lot_decimals), grid.lot)
    return Quotes(
        time_ms,
        _on(bid * grid.tick, grid.price_decimals),
        sizes[0],
        _on(ask * grid.tick, grid.price_decimals),
        sizes[1],
    )


def recorded_quotes(seconds: int) -> Quotes:
    """The first seconds of the recorded best quotes of BTCUSDT, by receipt; skips without the recording."""
    rows: list[tuple[int, float, float, float, float]] = []
    with gzip.open(require("hftbacktest/usdm_btcusdt_20240808.gz"), "rt") as told:
        for line in told:
            if "@bookTicker" not in line[:60]:
                continue
            at, text = line.split(" ", 1)
            data = json.loads(text)["data"]
            at_ms = int(at) // 1_000_000
            if rows and at_ms >= rows[0][0] + seconds * 1_000:
                break
            rows.append((at_ms, *(float(data[name]) for name in ("b", "B", "a", "A"))))  # type: ignore[arg-type]
    columns = np.array(rows, dtype=np.float64).T
    return Quotes(columns[0].astype(np.int64), columns[1], columns[2], columns[3], columns[4])


def book(seed: int, levels: int = 20) -> tuple[Array, Array]:
    """A seeded book, (bids, asks) as rows of price and quantity, best first: thin to thick, tight to wide, leaning."""
    random = np.random.Generator(np.random.PCG64([seed, 2]))
    grid = GRIDS[seed % len(GRIDS)]
    middle = round(grid.price / grid.tick)
    thick = np.exp(random.uniform(-2.0, 2.0)) * 40_000 / grid.price
    lean = random.uniform(-1.0, 1.0)
    gap = int(random.integers(1, 1 + max(1, middle // 800)))
    sides = []
    for side, first in ((-1, middle), (1, middle + gap)):
        apart = np.concatenate([[0], np.cumsum(random.integers(1, 2 + middle // 10_000, levels - 1))])
        price = _on((first + side * apart) * grid.tick, grid.price_decimals)
        drawn = thick * np.exp(random.normal(-side * lean, 0.7, levels))
        sides.append(np.stack([price, np.maximum(_on(drawn, grid.lot_decimals), grid.lot)], axis=1))
    return sides[0], sides[1]


# Symbol → (price decimals, lot decimals) of the recording, as its prices and volumes are written.
RECORDED = {
    "BTCUSDT": (1, 3),
    "ETHUSDT": (2, 3),
    "BNBUSDT": (2, 2),
    "SOLUSDT": (3, 2),
    "XRPUSDT": (4, 1),
    "ADAUSDT": (4, 0),
    "AVAXUSDT": (3, 0),
    "LINKUSDT": (3, 2),
    "LTCUSDT": (2, 3),
    "BCHUSDT": (2, 3),
}


def recorded(symbol: str, days: int = 10) -> Bars:
    """
    The recorded 1m klines of *symbol* (2025-05-10 on) as 5m bars; skips the test when the recording is absent.

    The recording has base volume only. The rest is made up, the same way always: a minute's quote volume is
    v·(o+h+l+c)/4, its takers bought the share (c − l)/(h − l) of it (half when h = l), all rounded on the bar to
    hundredths and lots; a bar's trades are 1 + its lots // 10.
    """
    path = require(f"dcatpstrategy-klines/1m/{symbol}.csv.gz")
    with gzip.open(path, "rt") as lines:
        rows = np.loadtxt(lines, delimiter=",", skiprows=1, max_rows=days * DAY_BARS * 5, dtype=np.float64)
    minutes = rows[: len(rows) // 5 * 5].reshape(-1, 5, 6)
    opened, high, low, close, volume = (minutes[:, :, column] for column in range(1, 6))
    spread = high - low
    share = np.where(spread > 0, (close - low) / np.where(spread > 0, spread, 1.0), 0.5)
    quote = volume * (opened + high + low + close) / 4
    price_decimals, lot_decimals = RECORDED[symbol]
    total = _on(volume.sum(axis=1), lot_decimals)
    return Bars(
        open_ms=minutes[:, 0, 0].astype(np.int64),
        open=opened[:, 0].copy(),
        high=high.max(axis=1),
        low=low.min(axis=1),
        close=close[:, 4].copy(),
        volume=total,
        quote=_on(quote.sum(axis=1), 2),
        taker_volume=_on((volume * share).sum(axis=1), lot_decimals),
        taker_quote=_on((quote * share).sum(axis=1), 2),
        trades=1 + (total * 10**lot_decimals).astype(np.int64) // 10,
        tick=float(f"1e-{price_decimals}"),
    )


def recorded_funding(symbol: str) -> Funding:
    """The recorded 8 h funding prints of *symbol*, oldest first."""
    path = require(f"dcatpstrategy-klines/funding/{symbol}.csv.gz")
    with gzip.open(path, "rt") as lines:
        rows = np.loadtxt(lines, delimiter=",", skiprows=1, dtype=np.float64)
    return Funding(rows[:, 0].astype(np.int64), rows[:, 1])
