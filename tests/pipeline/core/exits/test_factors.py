"""Rules about the composite, the flow and the regime at their bounds; the stories are in tests/sessions."""

from __future__ import annotations

import pytest

from pipeline.core.events import Side
from pipeline.core.exits import factors
from pipeline.core.exits.rule import Fired
from pipeline.core.turn import Turn
from tests.core_scores import scores
from tests.sessions.story import Story


def ask(side: Side, fires: object, **said: object) -> Fired | None:
    story = Story(side)
    story.bars(2, 185)
    state = story.session.state
    state.scores = scores(**said)  # type: ignore[arg-type]
    assert state.mark_stamp is not None
    return fires(Turn(state, state.mark_stamp))  # type: ignore[operator]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("fires", "points"), [(factors.strongly_reversed, 50), (factors.reversed_twice, 30)])
def test_a_reversal_counts_from_its_very_bound(side: Side, fires: object, points: int) -> None:
    """side · E ≤ −50, ≤ −30; a thousandth less is none."""
    assert ask(side, fires, score=-points * 1_000 * side.sign) is not None
    assert ask(side, fires, score=(-points * 1_000 + 1) * side.sign) is None


@pytest.mark.parametrize("side", Side)
def test_flow_needs_both_of_its_witnesses(side: Side) -> None:
    """Volume delta and order flow at their bounds; each alone is nothing."""
    sign = side.sign
    bounds = {"C": -60_000 * sign}, -2_500 * sign

    assert ask(side, factors.flow_reversed, values=bounds[0], ofi_z=bounds[1]) is not None
    assert ask(side, factors.flow_reversed, values={"C": -59_999 * sign}, ofi_z=bounds[1]) is None
    assert ask(side, factors.flow_reversed, values=bounds[0], ofi_z=-2_499 * sign) is None
    assert ask(side, factors.flow_reversed, values=bounds[0], ofi_z=bounds[1], ofi_ready=False) is None


@pytest.mark.parametrize(("side", "against"), [(Side.BUY, "dn_up"), (Side.SELL, "up_up")])
def test_only_new_money_against_it_breaks_the_regime(side: Side, against: str) -> None:
    """Covering and unwinding are no build-up; T must point against it, zero does not."""
    down = {"T": -1 * side.sign}
    for regime in ("up_up", "up_dn", "dn_up", "dn_dn", "flat", ""):
        fired = ask(side, factors.regime_broken, values=down, regime=regime)
        assert (regime == against) == (fired is not None)
    assert ask(side, factors.regime_broken, values={"T": 0}, regime=against) is None
