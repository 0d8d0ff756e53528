"""
The only place for what the author of a plug-in sees: the view, the answers, and what a plug-in is (docs/plugins.md).

Everything is in the units of people: prices in USDT and quantities in coins as floats, factors in points from −100 to
100. The core speaks in integers (``core.plugin_views``, ``core.plugin_answers``); the way there and back is in here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from pipeline.core.plugin_answers import (
    EXIT,
    FACTOR,
    KINDS,
    SIGNAL,
    Answer,
    SaysClose,
    SaysFactor,
    SaysNothing,
    SaysSignal,
    SaysTighten,
)
from pipeline.core.plugin_views import PluginPosition, PluginView
from pipeline.core.units import E8, ONE_E8

WHY_CHARACTERS: Final = 200
MILLI: Final = 1_000
LARGEST_PRICE: Final = 1e10
Direction: TypeAlias = Literal["long", "short"]


class Bar(msgspec.Struct, frozen=True):
    """One closed bar of 5 minutes; ``volume`` and ``taker_volume`` (bought by takers) in coins."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker_volume: float


class FactorSeen(msgspec.Struct, frozen=True):
    """One built-in factor: ``value`` from −100 to 100 (L and I from 0), ``quality`` 0 to 1; not ``ready``: no value."""

    value: float
    quality: float
    ready: bool


class Position(msgspec.Struct, frozen=True):
    """
    The open position. ``size`` in coins, ``risk`` is R: the distance from ``entry`` to the first stop. ``best`` and
    ``worst`` are mark prices since the entry (0: none yet), ``bars`` counts the closed bars since then.
    """

    side: Direction
    size: float
    entry: float
    stop: float
    risk: float
    best: float
    worst: float
    opened_ms: int
    bars: int
    first_target_done: bool

    def gain_r(self, price: float) -> float:
        """What *price* would gain, in R; negative for a loss."""
        distance = price - self.entry if self.side == "long" else self.entry - price
        return distance / self.risk


class View(msgspec.Struct, frozen=True):
    """
    One symbol at one moment: all that a plug-in is shown. Prices are 0 while not known.

    ``at_ms`` is log time (there is no other clock), ``price`` the mark price, ``score`` the composite E, ``coverage`` 0
    to 1. ``bars`` are closed, without a gap, oldest first (none while there is a gap). ``position`` is None while the
    symbol has none.
    """

    symbol: str
    at_ms: int
    price: float
    bid: float
    ask: float
    tick: float
    funding_rate: float
    bar_close_ms: int
    score: float
    coverage: float
    trend: str
    regime: str
    market_trend: str
    factors: Mapping[str, FactorSeen]
    bars: tuple[Bar, ...]
    position: Position | None


class Factor(msgspec.Struct, frozen=True):
    """Answer of a factor: ``value`` from −100 (for the short) to 100 (for the long), ``quality`` from 0 to 1."""

    value: float
    quality: float = 1.0
    why: str = ""


class Signal(msgspec.Struct, frozen=True):
    """Answer of a signal: propose an entry. Size, stop and targets are the core's own."""

    side: Direction
    why: str = ""


class Close(msgspec.Struct, frozen=True):
    """Answer of an exit: close the position at market."""

    why: str = ""


class Tighten(msgspec.Struct, frozen=True):
    """Answer of an exit: move the stop to ``price``, if that is tighter and not too close to the market."""

    price: float
    why: str = ""


Said: TypeAlias = Factor | Signal | Close | Tighten | None
Parameters: TypeAlias = Mapping[str, float]
Evaluate: TypeAlias = Callable[[View, Parameters], Said]


class Misuse(Exception):
    """A plug-in is not what it should be; the text says what was found and what is allowed."""


class Plugin:
    """
    A plug-in: its ``kind`` (factor, signal or exit), its ``version``, the pure function, and the parameters it knows
    with what stands when the configuration says nothing. Raises Misuse for anything else.
    """

    def __init__(
        self, *, kind: str, version: str, evaluate: Evaluate, parameters: Mapping[str, float] | None = None
    ) -> None:
        if kind not in KINDS:
            raise Misuse(f"kind: found {kind!r}; allowed: {', '.join(repr(kind) for kind in KINDS)}")
        if not isinstance(version, str) or not version:
            raise Misuse(f'version: found {version!r}; allowed: a text such as "1"')
        if not callable(evaluate):
            raise Misuse(f"evaluate: found {evaluate!r}; allowed: a function of (view, parameters)")
        self.kind = kind
        self.version = version
        self.evaluate = evaluate
        self.parameters: dict[str, float] = {name: float(value) for name, value in (parameters or {}).items()}


# What each kind may return besides None.
RETURNS: Final[Mapping[str, tuple[type, ...]]] = {FACTOR: (Factor,), SIGNAL: (Signal,), EXIT: (Close, Tighten)}


def answer_of(kind: str, said: object) -> Answer:
    """The answer that a returned value stands for; raises Misuse, with what is allowed, for one that is none."""
    if said is None:
        return SaysNothing()
    if not isinstance(said, RETURNS[kind]):
        names = " or ".join(f"{allowed.__name__}(…)" for allowed in RETURNS[kind])
        raise Misuse(f"a plug-in of the kind {kind} returned {_short(said)}; allowed: {names} or None")
    if isinstance(said, Factor):
        value = _number("Factor.value", said.value, -100.0, 100.0)
        quality = _number("Factor.quality", said.quality, 0.0, 1.0)
        return SaysFactor(value=_whole(value * MILLI), quality=_whole(quality * MILLI), why=_why(said.why))
    if isinstance(said, Signal):
        if said.side not in ("long", "short"):
            raise Misuse(f"Signal.side: found {_short(said.side)}; allowed: 'long' or 'short'")
        return SaysSignal(long=said.side == "long", why=_why(said.why))
    if isinstance(said, Tighten):
        price = _number("Tighten.price", said.price, 1e-8, LARGEST_PRICE)
        return SaysTighten(price=E8(_whole(price * ONE_E8)), why=_why(said.why))
    assert isinstance(said, Close), kind
    return SaysClose(why=_why(said.why))


def _number(name: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Misuse(f"{name}: found {_short(value)}; allowed: a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise Misuse(f"{name}: found {value:g}; allowed: a number from {low:g} to {high:g}")
    return float(value)


def _whole(value: float) -> int:
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)


def _why(text: object) -> str:
    return str(text).replace("\n", " ")[:WHY_CHARACTERS]


def _short(value: object) -> str:
    return repr(value)[:80]


def view_of(shown: PluginView) -> View:
    """What the core shows, in the units of people."""
    tick, step = shown.tick / ONE_E8, shown.step / ONE_E8

    def at(ticks: int) -> float:
        return ticks * shown.tick / ONE_E8

    return View(
        symbol=shown.symbol,
        at_ms=shown.at_ms,
        price=shown.mark / ONE_E8,
        bid=at(shown.bid),
        ask=at(shown.ask),
        tick=tick,
        funding_rate=shown.funding_rate_e8 / ONE_E8,
        bar_close_ms=shown.bar_close_ms,
        score=shown.score / MILLI,
        coverage=shown.coverage / MILLI,
        trend=shown.trend,
        regime=shown.regime,
        market_trend=shown.market_trend,
        factors={
            name: FactorSeen(found.value / MILLI, found.quality / MILLI, found.ready)
            for name, found in shown.factors.items()
        },
        bars=tuple(
            Bar(b.open_ms, at(b.open), at(b.high), at(b.low), at(b.close), b.lots * step, b.taker_lots * step)
            for b in shown.bars
        ),
        position=None if shown.position is None else _position(shown.position, tick, step),
    )


def _position(held: PluginPosition, tick: float, step: float) -> Position:
    return Position(
        side="long" if held.side.sign > 0 else "short",
        size=held.lots * step,
        entry=held.entry / ONE_E8,
        stop=held.stop * tick,
        risk=held.risk / ONE_E8,
        best=held.best / ONE_E8,
        worst=held.worst / ONE_E8,
        opened_ms=held.opened_ms,
        bars=held.bars,
        first_target_done=held.first_target_done,
    )
