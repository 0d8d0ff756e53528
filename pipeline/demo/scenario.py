"""
The only place for what the demo plays: three positions that end in three ways, and the two moments of a kill.

Levels are given in hundredths of a percent from the middle at the entry, paths in the same unit from where the market
stands. BTCUSDT rises through both targets, ETHUSDT rises by more than four R and falls back into its trailing stop,
SOLUSDT falls into its hard stop. A kill comes when the exchange holds the very request that the window is about, so
the demo hits the window each time instead of hoping for it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

Json: TypeAlias = Any  # the admin door's JSON

HOLD_MS: Final = 60_000  # longer than the demo: a held request is never executed, recvWindow has run out by then


class Leg(msgspec.Struct, frozen=True):
    """One stretch of a price path."""

    seconds: float
    drift_bps: float
    volatility_bps: float = 0.8


class Plan(msgspec.Struct, frozen=True):
    """One position: how it is opened, what the market does then, and how it must end."""

    symbol: str
    side: str
    notional: str
    stop_bps: int
    target_bps: int
    last_target_bps: int
    path: tuple[Leg, ...]
    outcome: str


PLANS: Final = (
    Plan(
        symbol="BTCUSDT",
        side="long",
        notional="1000",
        stop_bps=-80,
        target_bps=100,
        last_target_bps=150,
        path=(Leg(9, 115), Leg(2, 0), Leg(6, 60)),
        outcome="target",
    ),
    Plan(
        symbol="ETHUSDT",
        side="long",
        notional="1000",
        stop_bps=-80,
        target_bps=450,
        last_target_bps=675,
        path=(Leg(5, 120), Leg(7, 240), Leg(5, 0), Leg(8, -330)),
        outcome="trailing_stop",
    ),
    Plan(
        symbol="SOLUSDT",
        side="long",
        notional="1000",
        stop_bps=-60,
        target_bps=100,
        last_target_bps=150,
        path=(Leg(4, 0), Leg(10, -110)),
        outcome="hard_stop",
    ),
)

# Killed between a fill and its rails: the entry's reply is held after it was executed, and so is any rail that the
# executor sends on other evidence (its user stream).
KILL_BEFORE_RAILS: Final = "SOLUSDT"
BETWEEN_FILL_AND_RAILS: Final[tuple[Json, ...]] = (
    {
        "action": "hold_after",
        "match": {"method": "POST", "path": "/fapi/v1/order", "symbol": KILL_BEFORE_RAILS},
        "milliseconds": HOLD_MS,
    },
    {
        "action": "hold_before",
        "match": {"method": "POST", "path": "/fapi/v1/algoOrder", "symbol": KILL_BEFORE_RAILS},
        "milliseconds": HOLD_MS,
        "count": 4,
    },
)

# Killed inside a stop move: the new stop rests, the cancel of the old one is held before it is executed.
INSIDE_A_STOP_MOVE: Final[tuple[Json, ...]] = (
    {"action": "hold_before", "match": {"method": "DELETE", "path": "/fapi/v1/algoOrder"}, "milliseconds": HOLD_MS},
)


def segments(plan: Plan, *, speed: float) -> list[Json]:
    """The path for the admin door, *speed* times as fast."""
    return [
        {"seconds": leg.seconds / speed, "drift_bps": leg.drift_bps, "volatility_bps": leg.volatility_bps}
        for leg in plan.path
    ]


def levels(plan: Plan, *, middle: float, tick: float) -> dict[str, str]:
    """Stop, target and last target on the grid, as texts."""
    decimals = max(0, len(f"{tick:.10f}".rstrip("0").partition(".")[2]))
    sign = 1 if plan.side == "long" else -1

    def price(bps: int) -> str:
        return f"{round(middle * (1 + sign * bps / 10_000) / tick) * tick:.{decimals}f}"

    return {
        "stop": price(plan.stop_bps),
        "target": price(plan.target_bps),
        "last_target": price(plan.last_target_bps),
    }
