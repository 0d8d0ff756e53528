"""Rules about walls: what they do to a position; the rules' numbers are tested in test_wall_rules.py."""

from __future__ import annotations

from pipeline.core.events import Side
from pipeline.core.exits.walls import cap_target
from pipeline.core.turn import Turn
from tests.sessions.story import Story


def turn_of(story: Story) -> Turn:
    story._zones()
    state = story.session.state
    assert state.mark_stamp is not None
    return Turn(state, state.mark_stamp)


def test_a_cap_follows_a_wall_only_when_it_moved_by_more_than_a_quarter_of_a() -> None:
    """Capped once; a small step of the wall changes nothing, a large one does, its end lifts the cap."""
    story = Story(Side.BUY)
    story.book([(1, 500)])
    story.wall(210, 220, ahead=True)
    assert cap_target(turn_of(story), story.position)
    first = story.position.target_cap

    story.wall(220, 230, ahead=True)
    assert not cap_target(turn_of(story), story.position)
    story.wall(240, 250, ahead=True)
    assert cap_target(turn_of(story), story.position)
    assert first < story.position.target_cap

    story.walls.clear()
    story.session.state.walls = None
    assert cap_target(turn_of(story), story.position)
    assert 0 == story.position.target_cap


def test_a_wall_too_near_is_told_once() -> None:
    """Below 0.8 R the target stays; the note is not repeated for the same wall."""
    story = Story(Side.BUY)
    story.book([(1, 500)])
    story.wall(120, 125, ahead=True)
    first, second = turn_of(story), turn_of(story)

    assert [False, False] == [cap_target(first, story.position), cap_target(second, story.position)]
    assert (1, 0) == (len(first.outputs), len(second.outputs))


def test_a_wall_that_was_lost_is_never_leant_on_again() -> None:
    """X12 drops the candidate for good."""
    story = Story(Side.BUY)
    story.bars(2, 20)
    story.book([(1, 500)])
    story.wall(-115, -110)
    story.position.walls_lost.append(7)
    story.seconds(20)

    assert -179 == story.stop
