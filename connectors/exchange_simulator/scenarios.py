"""The only place that reads market scenarios: price paths as data, checked with the place of every mistake named.

A path is a list of segments `{"seconds", "drift_bps", "volatility_bps"}`: the middle moves by *drift_bps* of the price
at the segment's start, evenly over its seconds; around that line lies mean-reverting noise of standard deviation
*volatility_bps*. At the end the market holds, repeats the path, or wanders at random.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from connectors.exchange_simulator.fixed_point import parse_e8
from connectors.exchange_simulator.happenings import Happening, first_mistake
from connectors.exchange_simulator.instruments import Instrument
from connectors.exchange_simulator.json_places import line_of, mistake

AT_END: Final = ("hold", "repeat", "wander")


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stretch of a path."""

    seconds: float
    drift_bps: float = 0.0
    volatility_bps: float = 1.0

    def mirrored(self) -> Segment:
        """The same stretch for the other side."""
        return Segment(self.seconds, -self.drift_bps, self.volatility_bps)


class Past(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A stretch of the candles before the start: *bars* of five minutes that move *drift_bps* each, up to *noise_bps* more
    or less, with about *usdt* traded in each and a share of it bought by takers.
    """

    bars: int
    drift_bps: float = 0.0
    noise_bps: float = 1.0
    usdt: int = 1_000_000
    taker_buy_percent: int = 50


class SymbolScenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one symbol starts and which path it takes when told (or at once, with *immediately*)."""

    price: str | None = None
    atr_bps: int | None = None
    path: str | list[Segment] | None = None
    at_end: str = "hold"
    immediately: bool = False
    past: list[Past] = []
    funding_hours: int | None = None

    def adjusted(self, row: Instrument) -> Instrument:
        """The instrument with this scenario's starting price and ATR; ScenarioError for a price off its range."""
        price_e8 = row.price_e8
        if self.price is not None:
            parsed = parse_e8(self.price)
            if parsed is None or not row.min_price <= parsed // row.tick_e8 <= row.max_price:
                raise ScenarioError(f"symbols.{row.symbol}.price: {self.price!r} is no price in the symbol's range")
            price_e8 = parsed // row.tick_e8 * row.tick_e8
        return msgspec.structs.replace(
            row,
            price_e8=price_e8,
            atr_bps=row.atr_bps if self.atr_bps is None else self.atr_bps,
            funding_hours=row.funding_hours if self.funding_hours is None else self.funding_hours,
        )


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named market: paths by name, symbols, and what a symbol without a running path does."""

    name: str
    symbols: dict[str, SymbolScenario] = {}
    paths: dict[str, list[Segment]] = {}
    happenings: list[Happening] = []
    idle: str = "wander"
    volatility_bps: float = 2.0

    def instrument(self, row: Instrument) -> Instrument:
        """The symbol as this scenario starts it, counted finely enough for every tick it will have; ScenarioError."""
        ticks = [one.tick_e8 for one in self.happenings if one.kind == "tick" and one.symbol == row.symbol]
        own = self.symbols.get(row.symbol)
        try:
            return (row if own is None else own.adjusted(row)).with_units(ticks)
        except ValueError as error:
            raise ScenarioError(f"happenings: {error}") from error

    def path_of(self, symbol: str, name: str | None = None) -> list[Segment]:
        """The segments of a named path, or of the symbol's own one; KeyError names what is missing."""
        wanted: str | list[Segment] | None = name
        if name is None:
            own = self.symbols.get(symbol)
            wanted = None if own is None else own.path
        if wanted is None:
            raise KeyError(f"scenario {self.name!r} gives {symbol} no path; send segments or a path name")
        if isinstance(wanted, list):
            return wanted
        if wanted not in self.paths:
            raise KeyError(f"scenario {self.name!r} has no path {wanted!r}, only {sorted(self.paths)}")
        return self.paths[wanted]


class ScenarioError(Exception):
    """A scenario that cannot be used; the text names the field and what is allowed."""


def parse_scenario(raw: bytes) -> Scenario:
    """Read a scenario from JSON."""
    try:
        scenario = msgspec.json.decode(raw, type=Scenario)
    except msgspec.MsgspecError as error:
        raise ScenarioError(f"scenario: {mistake(raw, error)}") from error
    found = first_mistake(scenario.happenings)
    if found is not None:
        line = line_of(raw.decode("utf-8", errors="replace"), ("happenings", *found[0]))
        raise ScenarioError(f"scenario: line {line}: {found[1]}")
    check(scenario)
    return scenario


def parse_segments(raw: Any) -> list[Segment]:  # Any: decoded JSON
    """Read a list of segments from decoded JSON."""
    try:
        segments = msgspec.convert(raw, type=list[Segment])
    except msgspec.MsgspecError as error:
        raise ScenarioError(f"segments: {error}") from error
    _check_segments("segments", segments)
    return segments


def check(scenario: Scenario) -> None:
    """Refuse impossible figures and names."""
    if scenario.idle not in AT_END:
        raise ScenarioError(f"idle: {scenario.idle!r} is none of {AT_END}")
    for name, segments in scenario.paths.items():
        _check_segments(f"paths.{name}", segments)
    for symbol, own in scenario.symbols.items():
        if own.at_end not in AT_END:
            raise ScenarioError(f"symbols.{symbol}.at_end: {own.at_end!r} is none of {AT_END}")
        if own.funding_hours not in {None, 1, 4, 8}:
            raise ScenarioError(f"symbols.{symbol}.funding_hours: {own.funding_hours} is none of 1, 4, 8")
        if isinstance(own.path, str) and own.path not in scenario.paths:
            raise ScenarioError(f"symbols.{symbol}.path: no path {own.path!r}, only {sorted(scenario.paths)}")
        if isinstance(own.path, list):
            _check_segments(f"symbols.{symbol}.path", own.path)
        _check_past(f"symbols.{symbol}.past", own.past)


def _check_segments(where: str, segments: list[Segment]) -> None:
    if not segments:
        raise ScenarioError(f"{where}: empty")
    for index, segment in enumerate(segments):
        if not 0 < segment.seconds <= 86_400:
            raise ScenarioError(f"{where}[{index}].seconds: {segment.seconds} is not in (0, 86400]")
        if not -5_000 <= segment.drift_bps <= 5_000:
            raise ScenarioError(f"{where}[{index}].drift_bps: {segment.drift_bps} is not in [-5000, 5000]")
        if not 0 <= segment.volatility_bps <= 1_000:
            raise ScenarioError(f"{where}[{index}].volatility_bps: {segment.volatility_bps} is not in [0, 1000]")


def _check_past(where: str, legs: list[Past]) -> None:
    for index, leg in enumerate(legs):
        limits = {
            "bars": (leg.bars, 1, 20_000),
            "drift_bps": (leg.drift_bps, -500, 500),
            "noise_bps": (leg.noise_bps, 0, 500),
            "usdt": (leg.usdt, 1, 10**10),
            "taker_buy_percent": (leg.taker_buy_percent, 0, 100),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ScenarioError(f"{where}[{index}].{name}: {value} is not in [{low}, {high}]")


PATHS: Final[dict[str, list[Segment]]] = {
    # Steadily up by 1.2 %, then on to about +2.5 %.
    "target": [Segment(18, 120, 0.8), Segment(14, 130, 0.8)],
    # Up by 1.6 %, then back by 1.2 %.
    "trail": [Segment(16, 160, 0.8), Segment(4, 0, 0.8), Segment(16, -120, 0.8)],
    # Down by 1.2 %.
    "stop": [Segment(20, -120, 0.8)],
}
CALM: Final = Scenario(name="calm", paths=PATHS)
DEMO: Final = Scenario(
    name="demo",
    symbols={
        "BTCUSDT": SymbolScenario(path="target"),
        "ETHUSDT": SymbolScenario(path="trail"),
        "SOLUSDT": SymbolScenario(path="stop"),
    },
    paths=PATHS,
    idle="hold",
    volatility_bps=0.8,
)
# A day's troubles in three minutes, on the first symbols.
CRASH: Final = Scenario(
    name="crash",
    symbols={
        "BTCUSDT": SymbolScenario(path="crash", at_end="wander", immediately=True),
        "ETHUSDT": SymbolScenario(path="crash", at_end="wander", immediately=True),
        "SOLUSDT": SymbolScenario(path="trend", at_end="wander", immediately=True),
    },
    paths=PATHS
    | {
        "crash": [Segment(30, 0, 2), Segment(20, -600, 15), Segment(10, 150, 15), Segment(40, -900, 25)],
        "trend": [Segment(120, 240, 2), Segment(60, -40, 2)],
    },
    happenings=[
        Happening(at=5, symbol="BTCUSDT", kind="wall", distance_bps=40, notional=20_000_000, seconds=90),
        Happening(at=30, symbol="BTCUSDT", kind="cascade", side="bid", count=60, notional=30_000_000, seconds=60),
        Happening(at=30, symbol="BTCUSDT", kind="thin", seconds=60, share=0.1),
        Happening(at=40, symbol="ETHUSDT", kind="cascade", side="bid", count=40, notional=8_000_000, seconds=50),
        Happening(at=10, symbol="SOLUSDT", kind="wall", side="ask", distance_bps=30, notional=5_000_000, seconds=15),
        Happening(at=20, symbol="SOLUSDT", kind="funding", rate_bps=75),
        Happening(at=60, symbol="XRPUSDT", kind="status", status="TRADING_HALT"),
        Happening(at=120, symbol="XRPUSDT", kind="status", status="TRADING"),
        Happening(at=0, symbol="DOGEUSDT", kind="status", status="PENDING_TRADING"),
        Happening(at=45, symbol="DOGEUSDT", kind="status", status="TRADING"),
        Happening(at=100, symbol="BNBUSDT", kind="tick", tick="0.10"),
        Happening(at=150, symbol="DOGEUSDT", kind="status", status="PRE_DELIVERING", delivery_seconds=3_600),
    ],
)
BUILT_IN: Final = {scenario.name: scenario for scenario in (CALM, DEMO, CRASH)}
