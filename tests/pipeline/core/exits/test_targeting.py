"""When targets follow the market: on scored closed bars alone, and not for everybody."""

from __future__ import annotations

import pytest

from pipeline.core.commands import PlaceTarget
from pipeline.core.events import Side
from tests.sessions.story import Story


@pytest.mark.parametrize("wish", ["leave_rule", "left_alone"])
def test_a_position_that_leaves_or_is_left_alone_keeps_its_targets(wish: str) -> None:
    """Nothing moves them any more."""
    story = Story(Side.BUY)
    setattr(story.position, wish, "X8" if wish == "leave_rule" else True)
    if wish == "leave_rule":
        story.position.leave_until_ms = 1 << 60
    story.factors(regime="up_dn")
    story.bars(3, 10)

    assert 2 == len(story.session.all(PlaceTarget))


def test_between_bars_nothing_moves() -> None:
    """A label that flips within a bar has no effect before the bar has closed and was scored."""
    story = Story(Side.BUY)
    story.bars(1, 10)
    story.factors(regime="up_dn")
    story.seconds(100)

    assert 2 == len(story.session.all(PlaceTarget))


@pytest.mark.parametrize("side", list(Side))
def test_a_label_that_wobbles_moves_the_targets_once(side: Side) -> None:
    """Money leaves and the label falls back into its dead band, bar after bar: both targets move once, there only."""
    story = Story(side)
    for bar in range(1, 9):
        story.factors(regime="up_dn" if bar % 2 else "flat")
        story.bars(1, 10)
    placed = [target.price for target in story.session.all(PlaceTarget)]

    assert [story.price(offset) for offset in (251, 376, 201, 301)] == placed  # entered at the touch
