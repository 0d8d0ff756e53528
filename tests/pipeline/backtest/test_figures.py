"""The only place for tests of a backtest's figures: sums, rules, risk units, falls, thinning."""

from __future__ import annotations

from pipeline.backtest.figures import CHART_POINTS, deepest_fall_e8, figures, in_risk, thinned, together
from pipeline.backtest.run import Point, Trace
from pipeline.core.commands import ReportTrade
from pipeline.core.events import Side
from pipeline.core.units import E8, ONE_E8, Lots, Milliseconds, Ticks

SHIFT = -1_000


def trade(*, realised: int, reason: str = "X7", fees: int = 1, opened: int = 60_000) -> ReportTrade:
    """Ten coins at 100 USDT with a stop at 95; money in USDT."""
    return ReportTrade(
        position="p",
        side=Side.BUY,
        lots=Lots(1_000),
        entry_price=E8(100 * ONE_E8),
        exit_price=E8(100 * ONE_E8 + realised * ONE_E8 // 10),
        opened_ms=Milliseconds(opened),
        closed_ms=Milliseconds(opened + 120_000),
        realised=E8(realised * ONE_E8),
        fees=E8(fees * ONE_E8),
        initial_stop=Ticks(950),
        last_stop=Ticks(960),
        stop_moves=1,
        reason=reason,
        outcome="target",
    )


def point(at_ms: int, equity: int) -> Point:
    """A minute of an account without a position; USDT."""
    return Point(at_ms, 1_000, equity * ONE_E8, equity * ONE_E8, 0)


def trace() -> Trace:
    """Two trades: won 50, lost 25; fees 2, funding −3."""
    return Trace(
        symbol="BTCUSDT",
        market="test",
        shift_ms=SHIFT,
        length_ms=3_600_000,
        tick_e8=ONE_E8 // 10,
        step_e8=ONE_E8 // 100,
        assumed=("a",),
        points=[point(0, 1_000), point(60_000, 1_050), point(120_000, 990), point(180_000, 1_020)],
        trades=[("t1", trade(realised=50)), ("t2", trade(realised=-25, reason="STOP", opened=400_000))],
        stops={"60500": [(60_600, 950), (70_000, 960), (180_000, 0)]},
        funding=[(100, -3 * ONE_E8)],
        fees_e8=2 * ONE_E8,
        equal=True,
        chain="c",
    )


def test_sums_add_up() -> None:
    """Realised, fees and funding stand apart and explain the wallet's change."""
    told = figures(trace())

    assert {
        "trades": 2,
        "won": 1,
        "profit_factor": 49 / 26 // 0.0001 / 10_000,
        "deepest_fall": 60.0,
        "realised": 25.0,
        "fees": 2.0,
        "funding": -3.0,
        "net": 20.0,
        "unexplained": 0.0,
    } == told["sums"]


def test_times_are_those_of_the_data() -> None:
    """Exchange times are shifted back, and a trade carries the stops of its own position."""
    told = figures(trace())
    first, second = told["trades"]

    assert 61_000 == first["opened_ms"]
    assert [[61_600, 95.0], [71_000, 96.0]] == first["stops"]
    assert [] == second["stops"]


def test_risk_is_what_the_first_stop_would_have_cost() -> None:
    """50 USDT on 10 coins with a stop 5 USDT away are one R; without a stop there is none."""
    one = trade(realised=50)

    assert 1.0 == in_risk(one, tick_e8=ONE_E8 // 10, step_e8=ONE_E8 // 100)
    assert -0.5 == in_risk(trade(realised=-25), tick_e8=ONE_E8 // 10, step_e8=ONE_E8 // 100)


def test_rules_have_statistics() -> None:
    """What ended the trades, with how often and what it brought."""
    assert {
        "STOP": {"trades": 1, "won": 0, "realised": -25.0, "fees": 1.0, "mean_minutes": 2.0},
        "X7": {"trades": 1, "won": 1, "realised": 50.0, "fees": 1.0, "mean_minutes": 2.0},
    } == figures(trace())["reasons"]


def test_fall_is_measured_from_the_peak_before() -> None:
    """From the highest equity so far, not from the start."""
    assert 60 * ONE_E8 == deepest_fall_e8(trace().points)
    assert 0 == deepest_fall_e8([])


def test_charts_are_thinned_but_whole() -> None:
    """At most about 1,500 points, the first and the last among them."""
    points = [point(i, i) for i in range(10_001)]
    kept = thinned(points)

    assert len(kept) <= CHART_POINTS + 1
    assert (points[0], points[-1]) == (kept[0], kept[-1])
    assert points[:3] == thinned(points[:3])


def test_report_adds_the_symbols() -> None:
    """Sums over symbols; one unequal fold makes the report unequal."""
    one, other = figures(trace()), figures(trace())
    assert (40.0, 4, True) == (
        together([one, other])["sums"]["net"],
        together([one, other])["sums"]["trades"],
        together([one, other])["equal"],
    )
    other["proof"]["folded_twice_equal"] = False

    assert not together([one, other])["equal"]
