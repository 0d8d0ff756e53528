"""The oracle itself is tried: every row of the domain's table of test vectors (8.4), one test a row."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle import beyond, factors, flow, levels
from tests.oracle.machinery import Array


def at(*values: float) -> Array:
    """One value, or several, as the arrays the oracle takes."""
    return np.array(values, dtype=np.float64)


def close_to(*values: float, places: float) -> object:
    """The table's figures are good to one unit of their last place: that of M is 43.48085, told as 43.4809."""
    return pytest.approx(list(values), abs=places)


def test_trend() -> None:
    """T: u .15, g 1.5, ER .20 → 34.6588."""
    assert close_to(34.6588, places=1e-4) == list(factors.trend_score(at(0.15), at(1.5), at(0.20)))


def test_momentum() -> None:
    """M: v1 .2, v0 .1 → 43.4809."""
    assert close_to(43.4809, places=1e-4) == list(factors.momentum_score(at(0.2), at(0.1)))


def test_structure() -> None:
    """S: seq 1, brk .4 → 70."""
    assert close_to(70, places=1e-9) == list(factors.structure_score(at(1), at(0.4)))


def test_volume() -> None:
    """V: z 2, body .7, rv 2.4, breakout → ts .91, V 68.387."""
    ts = factors.trigger_score(at(0.7), at(2.4), at(1) > 0)

    assert close_to(0.91, places=1e-9) == list(ts)
    assert close_to(68.387, places=1e-3) == list(factors.volume_score(at(2), at(0.7), ts))


def test_volume_delta() -> None:
    """C: z 1.5, R² .35 → 53.988."""
    assert close_to(53.988, places=1e-3) == list(factors.delta_score(at(1.5), at(0.35)))


def test_open_interest() -> None:
    """O: x_p 1.2, x_o .8 / −.8 → 30.395 / 16.111."""
    assert close_to(30.395, 16.111, places=1e-3) == list(factors.open_interest_score(at(1.2, 1.2), at(0.8, -0.8)))


def test_liquidations() -> None:
    """Q: LL 300k, LS 100k, K 50k, zI 2 → LTI −.4444, Q −33.849."""
    lean = beyond.liquidation_lean(at(300_000), at(100_000), at(50_000))

    assert close_to(-0.4444, places=1e-4) == list(lean)
    assert close_to(-33.849, places=1e-3) == list(beyond.liquidation_score(lean, at(2)))


def test_basis() -> None:
    """B: z_b 1.8, f8 .0004 (std floor) → x 2.28, B −71.139."""
    x, score = beyond.basis_score(at(1.8), at(0.0004), at(0))

    assert close_to(2.28, places=1e-9) == list(x)
    assert close_to(-71.139, places=1e-3) == list(score)


def test_liquidity() -> None:
    """L: spread 3, depth 600k, impact 2 bps, balanced → 83.65."""
    assert 83.65 == pytest.approx(flow.liquidity_score(3, 600_000, 2, True, 0.0))


def test_average_price() -> None:
    """VWAP: asks 50010×1, 50020×15, N 100k, mid 50005 → 50014.9985, 1.9995 bps."""
    price, filled = flow.average_price(np.array([[50010.0, 1.0], [50020.0, 15.0]]), 100_000)

    assert filled
    assert 50014.9985 == pytest.approx(price, abs=5e-5)
    assert 1.9995 == pytest.approx(1e4 * abs(price / 50005 - 1), abs=5e-5)


def test_fund_leading() -> None:
    """F: z_C 1.5, x_o .8, x_p 1.2 → −0.473 (mult .9982)."""
    fund = factors.fund_score(at(1.5), at(0.8), at(1.2))
    mult, vetoed = factors.fund_multiplier(fund, True, 1)

    assert close_to(-0.473, places=1e-3) == list(fund)
    assert close_to(0.9982, places=1e-4) == list(mult)
    assert not vetoed.any()


def test_composite() -> None:
    """E: T31.6 M44 S70 V65 C54 O30 B−50 Q−34 (all q 1), L82 I45 → E_dir 28.577, adj .3933, E 30.263, P_up .71257."""
    told = {"T": 31.6, "M": 44, "S": 70, "V": 65, "C": 54, "O": 30, "B": -50, "Q": -34, "L": 82, "I": 45}
    result = factors.composite({letter: (value, 1.0) for letter, value in told.items()})

    assert 1.0 == result.coverage
    assert 28.577 == pytest.approx(float(result.direction), abs=5e-4)
    assert 0.3933 == pytest.approx(float(result.adjustment), abs=5e-5)
    assert 30.263 == pytest.approx(float(result.e), abs=5e-4)
    assert 0.71257 == pytest.approx(float(result.p_up), abs=5e-6)


def test_probability() -> None:
    """Logistic kappa 3: P .55 / .62 / .75 ← E 6.69 / 16.32 / 36.62."""
    assert [0.55, 0.62, 0.75] == pytest.approx(list(factors.probability_up(at(6.69, 16.32, 36.62))), abs=5e-5)


def test_order_flow() -> None:
    """OFI: (100×5,101×7)→(100×8,101×4); →(100.5×2,101×7); →(100×5,100.5×3) gives +6; +2; −3."""
    bid, bid_quantity = at(100, 100), at(5, 8)
    ask, ask_quantity = at(101, 101), at(7, 4)
    assert [0, 6] == list(flow.order_flow(bid, bid_quantity, ask, ask_quantity))
    assert [0, 2] == list(flow.order_flow(at(100, 100.5), at(5, 2), at(101, 101), at(7, 7)))
    assert [0, -3] == list(flow.order_flow(at(100, 100), at(5, 5), at(101, 100.5), at(7, 3)))


def test_microprice() -> None:
    """microprice bid 100×9, ask 100.1×3 → 100.075."""
    assert close_to(100.075, places=1e-9) == list(flow.microprice(at(100), at(9), at(100.1), at(3)))


def test_eight_hour_rate() -> None:
    """f8: r .0002, 4 h → .0004."""
    assert close_to(0.0004, places=1e-12) == list(beyond.eight_hour_rate(at(0.0002), 4))


def test_liquidation_price() -> None:
    """Estimated liquidation 10×, m .025 / 100×, m .005 → long .92308, short 1.07317 / .99497, 1.00498 of the price."""
    found = [levels.liquidation_price(1.0, t, m, side) for t, m in ((10, 0.025), (100, 0.005)) for side in (1, -1)]

    assert close_to(0.92308, 1.07317, 0.99497, 1.00498, places=1e-5) == found


def test_soft_min() -> None:
    """softmin(1.8,1.8,.1) / (1.0,1.8,.1) → 1.73069 / .99997; and it does not overflow far from zero."""
    assert close_to(1.73069, 0.99997, places=1e-5) == [levels.soft_min(1.8, 1.8, 0.1), levels.soft_min(1.0, 1.8, 0.1)]
    assert 5_000.0 == levels.soft_min(5_000.0, 9_000.0, 0.1)


def test_first_stop() -> None:
    """Stop: 50000, ATR 800, factors .7 .85 .9 1 → raw .9639 → clip 1.2 → 49,040."""
    multiple = levels.stop_multiple((0.7, 0.85, 0.9, 1))
    found = levels.first_levels(
        side=1, entry=50_000, stop_multiple=multiple, target_multiple=4.5, atr5=200, atr1h=800, tick=0.1, spread=0.1
    )

    assert 0.9639 == pytest.approx(1.8 * 0.7 * 0.85 * 0.9)
    assert 1.2 == multiple
    assert 49_040 == pytest.approx(found.stop)


def test_first_targets() -> None:
    """Target: factors 1.2 1.4 1.25 → raw 5.25 → 4.5 → TP1 53,600, TP2 55,400; basis discount → 53,240."""
    multiple = levels.target_multiple((1.2, 1.4, 1.25))

    def found(basis: float) -> levels.Levels:
        return levels.first_levels(
            side=1,
            entry=50_000,
            stop_multiple=1.2,
            target_multiple=multiple,
            atr5=200,
            atr1h=800,
            tick=0.1,
            spread=0.1,
            basis=basis,
        )

    assert 4.5 == multiple
    assert (53_600, 55_400) == pytest.approx((found(0).target, found(0).last_target))
    assert 53_240 == pytest.approx(found(51).target)
