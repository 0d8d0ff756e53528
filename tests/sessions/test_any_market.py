"""
Any market: random prices, bars, factors, walls, funding and wishes for an open position; what must hold in all of them.

The promises: a stop never loosens; the mirrored market gives exactly the mirrored decisions; a restart changes nothing;
what no factor supports fires nothing; of two orders of equal-time lines from different sockets none closes what the
other keeps.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.commands import ClosePosition, MoveStop, OpenBracket, ReportPosition
from pipeline.core.engine import digest
from pipeline.core.events import Leg, PositionOverridden, Side
from pipeline.core.wall_state import WallVerdict
from tests.sessions.story import Story
from tests.sessions.test_any_story import same, upside_down

Deed = tuple[str, int]
REGIMES = ("up_up", "up_dn", "dn_up", "dn_dn", "flat")


def _wall(story: Story, amount: int) -> None:
    low = -170 + abs(amount) * 2
    story.wall(low, low + 6, name=7 if amount % 2 else 8)


def _lose(story: Story, amount: int) -> None:
    for name in list(story.walls)[:1]:
        story.lose_wall(list(WallVerdict)[amount % 3], name=name)


def _wish(story: Story, amount: int) -> None:
    story.say(
        PositionOverridden(
            command="c", pin_stop=amount % 5 == 0, leave_alone=amount % 7 == 0, disabled_exits=("X8",) * (amount % 2)
        )
    )


DEEDS: dict[str, Callable[[Story, int], None]] = {
    "move": lambda s, n: s.seconds(1, s.offset + n),
    "run": lambda s, n: s.seconds(1, s.offset + 4 * n),
    "wait": lambda s, n: s.seconds(1 + abs(n) // 4),
    "bars": lambda s, n: s.bars(1 + abs(n) // 20),
    "score": lambda s, n: s.factors(E=n * 2),
    "trend": lambda s, n: s.factors(T=n * 2, regime=REGIMES[abs(n) % 5]),
    "flow": lambda s, n: s.factors(C=n * 2, flow=n / 10),
    "thin": lambda s, n: s.factors(L=abs(n) * 2),
    "cascade": lambda s, n: s.factors(cascade=(n > 20) - (n < -20), exhausted=n % 3 == 0),
    "swing": lambda s, n: s.factors(swing_low=(s.offset - abs(n), s.bar), swing_high=(s.offset + abs(n), s.bar)),
    "doubt": lambda s, n: s.silent("TCLOQ"[abs(n) % 5]),
    "ahead": lambda s, n: s.wall(s.offset + 20, s.offset + 26 + abs(n), ahead=True, strength=650 + abs(n) * 5, name=9),
    "wall": _wall,
    "lose": _lose,
    "map": lambda s, n: s.liquidations(200 + n, 230 + n, of_shorts=True),
    "pays": lambda s, n: s.pays(n, in_seconds=150 + abs(n)),
    "wish": _wish,
}
STORIES = st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(-50, 50)), min_size=1, max_size=30)


def tell(story: list[Deed], side: Side, *, restart_every: int = 0) -> Story:
    """Open a position of *side* and let all of it happen."""
    told = Story(side, restart_every=restart_every)
    told.session.state.bars.five_minutes.value = 120.0  # bps of the price would not be the same turned round
    told.book([(1, 500)])
    for deed, amount in story:
        if told.session.state.position is None:
            break
        DEEDS[deed](told, amount)
    return told


@settings(max_examples=120, deadline=None)
@given(STORIES)
def test_a_mirrored_market_gives_the_mirrored_decisions(story: list[Deed]) -> None:
    """Every output, every rule."""
    long, short = tell(story, Side.BUY), tell(story, Side.SELL)

    told = [o for o in long.session.outputs if not isinstance(o, ReportPosition)]
    turned = [o for o in short.session.outputs if not isinstance(o, ReportPosition)]
    assert [same(output) for output in told] == [upside_down(output) for output in turned]
    assert long.fired == short.fired


@settings(max_examples=120, deadline=None)
@given(STORIES, st.sampled_from(Side))
def test_the_stop_never_loosens(story: list[Deed], side: Side) -> None:
    """Whatever market, factors, walls and owners do: each statement of the working rail is as tight as the last."""
    told = tell(story, side)

    bracket = told.session.all(OpenBracket)[0]
    moves = [move.trigger for move in told.session.all(MoveStop) if move.leg is Leg.WORKING]
    levels = [level * side.sign for level in [bracket.working_trigger, *moves]]
    assert levels == sorted(levels)


@settings(max_examples=60, deadline=None)
@given(STORIES, st.integers(1, 5))
def test_a_restart_changes_nothing(story: list[Deed], every: int) -> None:
    """At any line."""
    plain, restarted = tell(story, Side.BUY), tell(story, Side.BUY, restart_every=every)

    assert plain.session.decisions == restarted.session.decisions
    assert digest(plain.session.state) == digest(restarted.session.state)


@settings(max_examples=60, deadline=None)
@given(STORIES)
def test_without_good_factors_no_rule_about_factors_fires(story: list[Deed]) -> None:
    """Every factor doubtful and nothing covered: whatever they say, X5, X8, X9, X10, X14 are silent."""
    told = Story(Side.BUY)
    told.silent(*"TMSVCOBQLIF")
    told.factors(coverage=499, flow_ready=False)
    for deed, amount in story:
        if told.session.state.position is None:
            break
        DEEDS[deed](told, amount)

    assert set() == {"X5", "X8", "X9", "X10", "X14"} & set(told.fired)


@settings(max_examples=80, deadline=None)
@given(STORIES, st.integers(-60, 60), st.integers(-60, 60), st.booleans())
def test_two_orders_of_equal_time_lines_do_not_contradict_each_other(
    story: list[Deed], mark: int, quote: int, closes: bool
) -> None:
    """A quote and a mark, or a mark and a scored bar, at the same moment in either order: both close or none does."""
    ends = []
    for turned in (False, True):
        told = tell(story, Side.BUY)
        if told.session.state.position is None:
            return
        told.session.now += 1_000
        told._score()
        steps: list[Callable[[], object]] = [
            lambda t=told: t.session.quote(t.price(t.offset + quote) - 1, t.price(t.offset + quote) + 1),  # type: ignore[misc]
            lambda t=told: t.session.mark(t.price(t.offset + mark)),  # type: ignore[misc]
        ]
        for step in reversed(steps) if turned else steps:
            first = len(told.session.outputs)
            step()
            told.venue.answer(told.session.outputs[first:], told.session.ids[first:])
        told.offset += mark
        if closes:
            told.bars(1)
        told.seconds(2)
        ends.append(
            (
                [close.reason for close in told.session.all(ClosePosition)],
                told.parts,
                None if told.session.state.position is None else told.position.stage,
            )
        )
    assert ends[0] == ends[1]
