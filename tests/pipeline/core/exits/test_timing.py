"""Funding, progress and age at their bounds; the stories are in tests/sessions."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Milliseconds, Side
from pipeline.core.exits.timing import funding_due, time_is_up
from pipeline.core.turn import Turn
from pipeline.core.units import ONE_E8
from tests.sessions.story import Story


def funding(side: Side, *, rate_e8: int, in_ms: int, offset: int = 0, taker_fee_e8: int = 50_000) -> bool:
    story = Story(side)
    story.bars(2, offset)
    state = story.session.state
    state.policy = msgspec.structs.replace(state.policy, taker_fee_e8=taker_fee_e8)
    assert state.mark is not None
    assert state.mark_stamp is not None
    state.mark = msgspec.structs.replace(
        state.mark, funding_rate_e8=rate_e8 * side.sign, next_funding_ms=Milliseconds(state.log_ms + in_ms)
    )
    return funding_due(Turn(state, state.mark_stamp)) is not None


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("rate_e8", "in_ms", "leaves"),
    [
        (100_000, 179_999, True),
        (100_000, 180_000, False),
        (100_000, 0, False),
        (99_999, 60_000, False),
        (-900_000, 60_000, False),
    ],
)
def test_funding_at_its_bounds(side: Side, rate_e8: int, in_ms: int, leaves: bool) -> None:
    """0.10 % at less than three minutes, and only when this side pays."""
    assert leaves == funding(side, rate_e8=rate_e8, in_ms=in_ms)


@given(st.integers(0, 300_000), st.integers(-120, 80), st.integers(0, 100_000))
def test_it_never_leaves_for_less_than_it_costs(rate_e8: int, offset: int, taker_fee_e8: int) -> None:
    """Below twice the taker fee leaving is dearer than paying, whatever the profit."""
    if funding(Side.BUY, rate_e8=rate_e8, in_ms=60_000, offset=offset, taker_fee_e8=taker_fee_e8):
        assert rate_e8 >= 2 * taker_fee_e8
        profit = (offset - 1) * 100 * ONE_E8 // 1_000
        payment = (50_000 + offset) * 100 * rate_e8 // 1_000
        assert rate_e8 >= 100_000 or (profit > 0 and 4 * payment > profit)


@pytest.mark.parametrize(("days", "bars", "over"), [(29, 48, True), (29, 47, False), (31, 48, False), (0, 48, False)])
def test_a_new_coin_gets_half_the_time(days: int, bars: int, over: bool) -> None:
    """Listed less than 30 days before the entry; when the venue does not tell, it is not new."""
    story = Story(Side.BUY)
    state = story.session.state
    assert state.instrument is not None
    assert state.mark_stamp is not None
    listed = story.position.opened_ms - days * 86_400_000 if days else 0
    state.instrument = msgspec.structs.replace(state.instrument, onboard_ms=listed)
    story.position.bars = bars

    assert over == (time_is_up(Turn(state, state.mark_stamp)) is not None)
