"""The only place that reads what happens to a symbol at a time: walls, cascades, thin books, halts, listings, funding.

A happening is data of a scenario: `{"at": seconds after the start, "symbol", "kind", …}`. The synthetic market carries
it out as market events, so that the same scenario and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from connectors.exchange_simulator.fixed_point import E8, parse_e8
from connectors.exchange_simulator.instruments import CONTRACT_STATUSES, Instrument
from connectors.exchange_simulator.json_places import Step
from connectors.exchange_simulator.market_events import ContractChange, FundingRate, MarketEvent, StrangerLiquidated

SIDES: Final = ("bid", "ask")
# kind → the fields it reads beside at, symbol and kind.
KINDS: Final = {
    "wall": ("side", "distance_bps", "notional", "seconds"),
    "cascade": ("side", "count", "notional", "seconds"),
    "thin": ("seconds", "share"),
    "status": ("status", "delivery_seconds"),
    "funding": ("rate_bps",),
    "tick": ("tick",),
}


class Happening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    One thing that happens *at* seconds after the market's start.

    `wall`: *notional* USDT at *distance_bps* from the middle, pulled after *seconds* unless the price eats it before;
    `cascade`: *count* liquidations of strangers over *seconds*, *side* "bid" for longs being sold into the bids;
    `thin`: the book shows only *share* of its quantities for *seconds*; `status`: a halt (TRADING_HALT), a delisting
    (PRE_DELIVERING … with *delivery_seconds*), a listing (PENDING_TRADING, later TRADING); `funding`: the rate of the
    next settlement; `tick`: the symbol's new tickSize, as text.
    """

    at: float
    symbol: str
    kind: str
    side: str = "bid"
    distance_bps: float = 10.0
    notional: float = 1_000_000.0
    seconds: float = 30.0
    count: int = 10
    share: float = 0.05
    status: str = "TRADING"
    delivery_seconds: float | None = None
    rate_bps: float = 0.0
    tick: str = "0"

    @property
    def tick_e8(self) -> int:
        """The new tickSize of a `tick`, e8; 0 when it is none."""
        return parse_e8(self.tick) or 0


def first_mistake(happenings: Sequence[Happening]) -> tuple[tuple[Step, ...], str] | None:
    """The first impossible value: where it stands below the list, and what is wrong with it."""
    for index, one in enumerate(happenings):
        if one.kind not in KINDS:
            return (index, "kind"), f"happenings[{index}].kind: {one.kind!r} is none of {tuple(KINDS)}"
        checks: dict[str, tuple[bool, str]] = {
            "at": (0 <= one.at <= 86_400 * 7, "is not in [0, 604800]"),
            "side": (one.side in SIDES, f"is none of {SIDES}"),
            "distance_bps": (0 < one.distance_bps <= 1_000, "is not in (0, 1000]"),
            "notional": (0 < one.notional <= 1e10, "is not in (0, 1e10]"),
            "seconds": (0 < one.seconds <= 86_400, "is not in (0, 86400]"),
            "count": (0 < one.count <= 10_000, "is not in [1, 10000]"),
            "share": (0 < one.share <= 1, "is not in (0, 1]"),
            "status": (one.status in CONTRACT_STATUSES, f"is none of {CONTRACT_STATUSES}"),
            "tick": (one.kind != "tick" or one.tick_e8 > 0, "is no positive decimal of at most 8 places"),
            "rate_bps": (-300 <= one.rate_bps <= 300, "is not in [-300, 300]"),
        }
        for name, (fits, words) in checks.items():
            if not fits:
                return (index, name), f"happenings[{index}].{name}: {getattr(one, name)!r} {words}"
    return None


class Due(msgspec.Struct, frozen=True):
    """One step of a happening: when (microseconds), and what."""

    at_us: int
    happening: Happening
    last: bool = False


def schedule(happenings: Sequence[Happening], start_us: int) -> list[Due]:
    """Every step in order of time: a wall's and a thin book's beginning and end, a cascade's single liquidations."""
    steps: list[Due] = []
    for one in happenings:
        begin = start_us + int(one.at * 1_000_000)
        span = int(one.seconds * 1_000_000)
        if one.kind in ("wall", "thin"):
            steps += [Due(begin, one), Due(begin + span, one, last=True)]
        elif one.kind == "cascade":
            steps += [Due(begin + span * number // one.count, one) for number in range(one.count)]
        else:
            steps.append(Due(begin, one))
    return sorted(steps, key=lambda step: step.at_us)


def told(one: Happening, row: Instrument, *, bid: int, ask: int, now_ms: int) -> list[MarketEvent]:
    """The market events of a happening that needs no book of its own (everything but walls and thin books)."""
    match one.kind:
        case "cascade":
            ticks = bid if one.side == "bid" else ask
            lots = max(1, int(one.notional) * E8 // one.count // max(1, row.notional(ticks, 1)))
            return [StrangerLiquidated(row.symbol, ticks, lots, long=one.side == "bid")]
        case "status":
            delivery = None if one.delivery_seconds is None else now_ms + int(one.delivery_seconds * 1_000)
            return [ContractChange(row.symbol, status=one.status, delivery_ms=delivery)]
        case "funding":
            return [FundingRate(row.symbol, int(one.rate_bps * 10_000))]
        case _:
            return []
