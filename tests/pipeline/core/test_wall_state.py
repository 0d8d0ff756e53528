"""What is remembered of walls knows which side is which, when a sample is due, and for how long its bands are told."""

from __future__ import annotations

from pipeline.core.events import Side
from pipeline.core.wall_state import WallState


def walls(*, sampled_ms: int) -> WallState:
    """Of a grid of one, last sampled then."""
    return WallState(tick_e8=1, step_e8=1, sampled_ms=sampled_ms)


def test_bands_are_stale_without_samples() -> None:
    """A band is told for 3 s after its sample, and not before the first."""
    assert [True, False] == [walls(sampled_ms=7_000).fresh(now_ms) for now_ms in (10_000, 10_001)]
    assert not walls(sampled_ms=0).fresh(1)


def test_a_sample_is_due_once_a_second_of_log_time() -> None:
    """Not a second after the last one: when another second has begun."""
    assert [False, True] == [walls(sampled_ms=7_900).due(now_ms) for now_ms in (7_999, 8_000)]


def test_bids_are_the_side_of_a_buy() -> None:
    """Whoever buys rests among the bids."""
    kept = walls(sampled_ms=0)
    assert kept.bids is kept.side(Side.BUY)
    assert kept.asks is kept.side(Side.SELL)
