"""The only place that turns what a run left behind into figures: trades, sums, statistics per rule, all JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from pipeline.backtest.run import Point, Trace
from pipeline.core.commands import ReportTrade
from pipeline.core.units import ONE_E8
from pipeline.reporting.words import OUTCOMES

Json: TypeAlias = Any  # figures, ready for JSON

CHART_POINTS: Final = 1_500


def figures(trace: Trace) -> Json:
    """
    Everything of one run; money in USDT, times in the data's own Unix ms.

    ``unexplained`` is what the wallet's change leaves over after realised gains, fees and funding: 0, or something is
    wrong with the run.
    """
    trades = [_trade(name, trade, trace) for name, trade in trace.trades]
    realised = sum(trade.realised for _, trade in trace.trades)
    fees = trace.fees_e8 or sum(trade.fees for _, trade in trace.trades)
    funding = sum(amount for _, amount in trace.funding)
    change = trace.points[-1].wallet_e8 - trace.points[0].wallet_e8 if trace.points else 0
    return {
        "symbol": trace.symbol,
        "market": trace.market,
        "from_ms": trace.points[0].at_ms - trace.shift_ms if trace.points else 0,
        "hours": round(trace.length_ms / 3_600_000, 3),
        "trades": trades,
        "sums": _sums(trace.trades, trace.points)
        | {
            "realised": usdt(realised),
            "fees": usdt(fees),
            "funding": usdt(funding),
            "net": usdt(realised - fees + funding),
            "unexplained": usdt(change - (realised - fees + funding)),
        },
        "reasons": _reasons(trace.trades),
        "rules_fired": dict(sorted(trace.rules.items())),
        "walls": [[at - trace.shift_ms, words] for at, words in trace.walls],
        "longest_naked_ms": trace.naked_ms,
        "equity": [[p.at_ms - trace.shift_ms, usdt(p.equity_e8)] for p in thinned(trace.points)],
        "prices": [[p.at_ms - trace.shift_ms, p.price * trace.tick_e8 / ONE_E8] for p in thinned(trace.points)],
        "assumed": list(trace.assumed),
        "proof": {
            "lines": trace.lines,
            "decisions": trace.decisions,
            "folded_twice_equal": trace.equal,
            "first_difference": trace.difference,
            "chain": trace.chain,
        },
        "faults": trace.faults,
        "flat_at_the_end": trace.flat,
    }


def usdt(amount_e8: int) -> float:
    """USDT with the eight decimals that there are."""
    return round(amount_e8 / ONE_E8, 8)


def in_risk(trade: ReportTrade, *, tick_e8: int, step_e8: int) -> float | None:
    """Gain before fees in units of the initial risk; None when there was no stop."""
    risk_e8 = abs(trade.entry_price - trade.initial_stop * tick_e8) * trade.lots * step_e8 // ONE_E8
    return round(trade.realised / risk_e8, 4) if risk_e8 and trade.initial_stop else None


def deepest_fall_e8(points: Sequence[Point]) -> int:
    """The deepest fall of equity below a peak before it."""
    peak = deepest = 0
    for point in points:
        peak = max(peak, point.equity_e8)
        deepest = max(deepest, peak - point.equity_e8)
    return deepest


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most about ``CHART_POINTS`` of them, the first and the last among them."""
    if len(points) <= CHART_POINTS:
        return list(points)
    every = -(-len(points) // CHART_POINTS)
    return [*points[:-1:every], points[-1]]


def _trade(name: str, trade: ReportTrade, trace: Trace) -> Json:
    shift, tick = trace.shift_ms, trace.tick_e8
    moves = next((rows for opened, rows in trace.stops.items() if abs(int(opened) - trade.opened_ms) <= 5_000), [])
    return {
        "id": name,
        "side": "long" if trade.side.sign > 0 else "short",
        "quantity": usdt(trade.lots * trace.step_e8),
        "entry": usdt(trade.entry_price),
        "exit": usdt(trade.exit_price),
        "opened_ms": trade.opened_ms - shift,
        "closed_ms": trade.closed_ms - shift,
        "realised": usdt(trade.realised),
        "fees": usdt(trade.fees),
        "r": in_risk(trade, tick_e8=tick, step_e8=trace.step_e8),
        "stop_moves": trade.stop_moves,
        "stops": [[at - shift, usdt(ticks * tick)] for at, ticks in moves if ticks],
        "reason": trade.reason,
        "outcome": OUTCOMES.get(trade.outcome, trade.outcome),
    }


def _sums(trades: Sequence[tuple[str, ReportTrade]], points: Sequence[Point]) -> Json:
    nets = [trade.realised - trade.fees for _, trade in trades]
    gains, losses = sum(n for n in nets if n > 0), -sum(n for n in nets if n < 0)
    return {
        "trades": len(nets),
        "won": sum(1 for n in nets if n > 0),
        "profit_factor": round(gains / losses, 4) if losses else None,
        "deepest_fall": usdt(deepest_fall_e8(points)),
    }


def _reasons(trades: Sequence[tuple[str, ReportTrade]]) -> Json:
    """Per rule that ended a trade: how often, won, money, mean holding time."""
    found: dict[str, list[ReportTrade]] = {}
    for _, trade in trades:
        found.setdefault(trade.reason, []).append(trade)
    return {
        reason: {
            "trades": len(rows),
            "won": sum(1 for trade in rows if trade.realised > trade.fees),
            "realised": usdt(sum(trade.realised for trade in rows)),
            "fees": usdt(sum(trade.fees for trade in rows)),
            "mean_minutes": round(sum(trade.closed_ms - trade.opened_ms for trade in rows) / len(rows) / 60_000, 1),
        }
        for reason, rows in sorted(found.items())
    }


def together(rows: Sequence[Json]) -> Json:
    """
    The whole report. Each symbol had an account of its own, so the sums are added, and bounds over several positions
    (heat, correlation, slots) were not tried.
    """
    names = ("realised", "fees", "funding", "net", "unexplained")
    return {
        "symbols": list(rows),
        "sums": {name: round(sum(row["sums"][name] for row in rows), 8) for name in names}
        | {"trades": sum(row["sums"]["trades"] for row in rows), "won": sum(row["sums"]["won"] for row in rows)},
        "equal": all(row["proof"]["folded_twice_equal"] for row in rows),
        "accounts": "one per symbol",
    }
