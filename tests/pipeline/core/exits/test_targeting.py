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
