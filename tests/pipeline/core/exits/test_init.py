"""How the table is walked: the first closing rule wins, tightenings never hide it, and asking changes nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import exits
from pipeline.core.commands import ClosePosition
from pipeline.core.events import CloseRequested, PositionOverridden, Side, TradingMode, TradingStateSet
from pipeline.core.exits import RULES, ExitRule, Fired, evaluate
from pipeline.core.turn import Turn
from tests.sessions.story import Story
from tests.sessions.test_targets import opened


def test_of_two_closing_rules_the_first_wins() -> None:
    """The kill switch and a person at once: X3 is told as the reason, one close goes out."""
    session, _ = opened()
    session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"), CloseRequested(command="c", reason="me too"))

    assert ["X3"] == [close.reason for close in session.all(ClosePosition)]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_the_first_closing_row_wins_else_every_tightening_applies(rows: list[tuple[bool, bool]]) -> None:
    """Any table of (closes, fires): exactly the acts of domain 6.3, in order; a tightening hides no close behind it."""
    session, _ = opened()
    done: list[int] = []

    def row(number: int, closes: bool, fires: bool) -> ExitRule:
        return ExitRule(
            f"T{number}",
            "a test",
            closes=closes,
            fires=lambda _: Fired("it holds") if fires else None,
            act=lambda *_: done.append(number),
        )

    table = tuple(row(number, *kind) for number, kind in enumerate(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exits, "RULES", table)
        evaluate(Turn(session.state, session.state.mark_stamp))  # type: ignore[arg-type]

    closing = [number for number, (closes, fires) in enumerate(rows) if closes and fires]
    tightening = [number for number, (closes, fires) in enumerate(rows) if fires and not closes]
    assert (closing[:1] or tightening) == done


def test_asking_a_rule_changes_nothing() -> None:
    """A question must not mutate: every rule is asked twice in the midst of a story, the state stays as it was."""
    story = Story(Side.BUY)
    story.bars(2, 185)
    story.factors(E=-90, C=-90, flow=-4, cascade=-1, regime="dn_up", T=-50, L=10)
    story.seconds(1)
    before = msgspec.msgpack.encode(story.position)
    turn = Turn(story.session.state, story.session.state.mark_stamp)  # type: ignore[arg-type]
    for rule in [*RULES, *RULES]:
        rule.fires(turn)

    assert before == msgspec.msgpack.encode(story.position)
    assert [] == turn.outputs
    assert [] == turn.causes


def test_a_vital_rule_ignores_every_wish() -> None:
    """Neither the configuration, nor an override, nor a position left alone silences the kill switch."""
    story = Story(Side.BUY)
    policy = msgspec.structs.replace(story.session.state.policy, disabled_exits=("X3",))
    story.session.state.policy = policy
    story.say(PositionOverridden(command="c", leave_alone=True, pin_stop=True, disabled_exits=("X3",)))
    story.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill"))

    assert ["X3"] == story.closes


def test_an_override_without_a_position_is_nothing() -> None:
    """The person asks too late."""
    story = Story(Side.BUY, open_now=False)
    before = len(story.session.outputs)
    story.say(PositionOverridden(command="c", pin_stop=True))

    assert before == len(story.session.outputs)
