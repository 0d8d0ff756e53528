"""
The only place with the market situations that a guarded position meets: a trend, a crash with a cascade, walls eaten or
pulled, a funding spike, a thin book, a halt, a book too thin to enter. Each is a scenario with a past of its own.

All of them begin alike: a day without direction, then two hours in which price and takers' buying rise, so that whoever
reads the served candles finds a trend at once; it goes on for some minutes more. What is told apart happens after it.
A past is served as candles (``GET klines``) like any history; nothing of it was ever streamed.
"""

from __future__ import annotations

from typing import Final

from connectors.exchange_simulator.candles import FIVE, MINUTE, Candle
from connectors.exchange_simulator.fixed_point import E8
from connectors.exchange_simulator.happenings import Happening
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.prng import Prng
from connectors.exchange_simulator.scenarios import Past, Scenario, Segment, SymbolScenario

SYMBOL: Final = "BTCUSDT"
PPM: Final = 1_000_000
PAST_STREAM: Final = 515_151
ATR_BPS: Final = 10

# Without direction, then a rise that quickens in its last half hour.
RISING: Final = [
    Past(bars=392, drift_bps=0, noise_bps=8, usdt=400_000, taker_buy_percent=50),
    Past(bars=20, drift_bps=7, noise_bps=1, usdt=400_000, taker_buy_percent=60),
    Past(bars=8, drift_bps=12, noise_bps=1, usdt=700_000, taker_buy_percent=64),
]
# Steepest while the first bar closes: whoever enters then finds no level of the day above the price.
RISE: Final = [Segment(20, 4, 0.3), Segment(16, 10, 0.1), Segment(294, 6, 0.3)]
CALM_BPS: Final = 0.6


def past_bars(row: Instrument, legs: list[Past], *, seed: int, start_ms: int) -> list[Candle]:
    """
    The candles that *legs* describe, the last of which ends at the symbol's price and the market's start: five-minute
    bars up to the last full five minutes, then single minutes.
    """
    random = Prng(seed, PAST_STREAM)
    start = start_ms // MINUTE * MINUTE
    five = start // FIVE * FIVE
    spans = [(MINUTE, legs[-1])] * ((start - five) // MINUTE)
    spans = [(FIVE, leg) for leg in legs for _ in range(leg.bars)] + spans
    bars: list[Candle] = []
    close, end = row.price_e8 // row.tick_e8, start
    for span, leg in reversed(spans):
        ppm = (int(leg.drift_bps * 100) + (1 - 2 * random.below(2)) * random.below(1 + int(leg.noise_bps * 100))) * (
            span // MINUTE
        )
        opening = close * PPM // (PPM + ppm // (FIVE // MINUTE))
        end -= span
        bar = Candle(end, opening)
        wick = 2 + close * (3 * 100) // PPM
        bar.close = close
        bar.high, bar.low = max(opening, close) + random.below(wick), min(opening, close) - random.below(wick)
        notional = leg.usdt * (75 + random.below(51)) // 100 * span // FIVE
        bar.lots = max(1, notional * E8 // row.notional(close, 1))
        bar.quote, bar.count = row.notional(close, bar.lots), 100
        bar.buy_lots = bar.lots * min(100, max(0, leg.taker_buy_percent - 4 + random.below(9))) // 100
        bar.buy_quote = bar.quote * bar.buy_lots // bar.lots
        bars.append(bar)
        close = opening
    bars.reverse()
    return bars


def _situation(name: str, after: list[Segment], *happenings: Happening) -> Scenario:
    return Scenario(
        name=name,
        symbols={
            SYMBOL: SymbolScenario(
                path=[*RISE, *after],
                atr_bps=ATR_BPS,
                at_end="hold",
                immediately=True,
                past=RISING,
                funding_hours=1,
            )
        },
        happenings=list(happenings),
        idle="hold",
        volatility_bps=CALM_BPS,
    )


def _wall(at: float, distance_bps: float, seconds: float) -> Happening:
    return Happening(
        at=at, symbol=SYMBOL, kind="wall", side="bid", distance_bps=distance_bps, notional=6_000_000, seconds=seconds
    )


def _liquidations(at: float, seconds: float, notional: float, count: int) -> Happening:
    return Happening(at=at, symbol=SYMBOL, kind="cascade", side="bid", count=count, notional=notional, seconds=seconds)


TREND: Final = _situation("trend", [Segment(150, 110, 0.4), Segment(120, -60, 0.4)])
CASCADE: Final = _situation(
    "cascade",
    [Segment(3_300, 0, CALM_BPS), Segment(90, -45, 0.6), Segment(60, -40, 0.6)],
    _liquidations(600, 3_000, 600_000, 60),
    _liquidations(3_632, 60, 20_000_000, 60),
)
WALL_EATEN: Final = _situation(
    "wall-eaten", [Segment(360, 0, CALM_BPS), Segment(90, -55, 0.4), Segment(60, -20, 0.4)], _wall(250, 33, 3_000)
)
WALL_PULLED: Final = _situation(
    "wall-pulled", [Segment(390, 0, CALM_BPS), Segment(120, -20, CALM_BPS)], _wall(250, 33, 430)
)
FUNDING: Final = _situation(
    "funding", [Segment(1_400, 0, CALM_BPS)], Happening(at=700, symbol=SYMBOL, kind="funding", rate_bps=25)
)
THIN: Final = _situation(
    "thin",
    [Segment(390, 0, CALM_BPS), Segment(90, -90, 0.6)],
    Happening(at=650, symbol=SYMBOL, kind="thin", seconds=45, share=0.002),
)
HALT: Final = _situation(
    "halt",
    [Segment(600, 0, CALM_BPS)],
    Happening(at=400, symbol=SYMBOL, kind="status", status="TRADING_HALT"),
    Happening(at=460, symbol=SYMBOL, kind="status", status="TRADING"),
    Happening(at=520, symbol=SYMBOL, kind="status", status="TRADING", delivery_seconds=3_000),
)
# Nobody may enter: the book is thin before the first bar closes.
THIN_START: Final = _situation(
    "thin-start",
    [Segment(120, 0, CALM_BPS)],
    Happening(at=1, symbol=SYMBOL, kind="thin", seconds=600, share=0.002),
)
SITUATIONS: Final = {
    one.name: one for one in (TREND, CASCADE, WALL_EATEN, WALL_PULLED, FUNDING, THIN, HALT, THIN_START)
}
