"""
Any story: random markets, accidents and restarts against the small venue; what must hold in all of them.

The promises: a restart at any line changes no decision; the working stop never loosens what was ever proven; a market
turned upside down gives the decisions turned upside down; nothing raises; a story that ends flat frees the symbol.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.commands import (
    MoveStop,
    OpenBracket,
    Output,
    PlaceTarget,
    ReportPosition,
    ReportTrade,
)
from pipeline.core.engine import digest
from pipeline.core.events import CloseRequested, FeedLost, Leg, Side, TradingMode, TradingStateSet, Verdict
from pipeline.core.positions import protected
from tests.sessions.script import Session
from tests.sessions.venue import Venue

Action = tuple[str, int]
Deed = Callable[[Session, Venue, int], None]
MIDDLE = 50_000


def _move(session: Session, venue: Venue, amount: int) -> None:
    venue.mark(venue.price + amount)


def _wait(session: Session, venue: Venue, amount: int) -> None:
    venue.run(session.wait(abs(amount) * 50 + 250))


def _lose_outcome(session: Session, venue: Venue, amount: int) -> None:
    """A rail vanishes without a word."""
    if venue.resting:
        names = sorted(venue.resting)
        del venue.resting[names[amount % len(names)]]


def _refuse(session: Session, venue: Venue, amount: int) -> None:
    """An outcome says rejected about something that rests or not."""
    for order in list(venue.resting.values())[: amount % 2]:
        venue.tell(venue.ended(order, Verdict.REJECTED, code=-1008))


def _repeat(session: Session, venue: Venue, amount: int) -> None:
    """A second connection tells again."""
    for order in list(venue.resting.values()):
        venue.tell(venue.ended(order, Verdict.ACCEPTED))
        if order.leg is not Leg.TARGET:
            venue.tell(venue.algo(order, "NEW"))
    venue.tell(venue.account())


def _read(session: Session, venue: Venue, amount: int) -> None:
    venue.tell(venue.read())


def _feed(session: Session, venue: Venue, amount: int) -> None:
    streams = ("btcusdt@bookTicker", "btcusdt@markPrice@1s", "btcusdt@depth@100ms", "private-0", "btcusdt@kline_5m")
    venue.run(session.say(FeedLost(stream=streams[amount % len(streams)], reason="cut")))


def _lose_lines(session: Session, venue: Venue, amount: int) -> None:
    """Outcomes and user events that never arrive."""
    venue.lost = abs(amount) % 9


def _trigger_stuck(session: Session, venue: Venue, amount: int) -> None:
    rails = [order for order in venue.resting.values() if order.leg in (Leg.FAR, Leg.WORKING)]
    if rails:
        venue.tell(venue.algo(rails[amount % len(rails)], "TRIGGERING"))


def _close(session: Session, venue: Venue, amount: int) -> None:
    venue.run(session.say(CloseRequested(command="c", reason="")))


def _kill(session: Session, venue: Venue, amount: int) -> None:
    venue.run(session.say(TradingStateSet(mode=TradingMode.HALTED, reason="kill")))


DEEDS: dict[str, Deed] = {
    "move": _move,
    "move far": lambda session, venue, amount: _move(session, venue, amount * 4),
    "wait": _wait,
    "lose": _lose_outcome,
    "refuse": _refuse,
    "repeat": _repeat,
    "read": _read,
    "feed": _feed,
    "stuck": _trigger_stuck,
    "lose lines": _lose_lines,
    "close": _close,
    "kill": _kill,
}
CALM = ("move", "move", "move far", "wait", "wait", "repeat", "read")
STORIES = st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(-60, 60)), min_size=1, max_size=25)
CALM_STORIES = st.lists(st.tuples(st.sampled_from(CALM), st.integers(-60, 60)), min_size=1, max_size=30)


def tell(story: list[Action], *, restart_every: int = 0, side: Side = Side.BUY, turned: bool = False) -> Session:
    """Open a position and do what the story says; *turned* is the same story upside down."""
    session = Session(restart_every=restart_every)
    session.ready()
    session.state.policy = msgspec.structs.replace(session.state.policy, taker_fee_e8=0)
    venue = Venue(session)
    venue.run(session.admit(side=side))
    for deed, amount in story:
        DEEDS[deed](session, venue, -amount if turned else amount)
    return session


@settings(max_examples=60, deadline=None)
@given(STORIES, st.integers(1, 7))
def test_a_restart_at_any_line_changes_nothing(story: list[Action], every: int) -> None:
    """State through bytes after every few lines: the same decisions, the same chain, the same digest."""
    plain, restarted = tell(story), tell(story, restart_every=every)

    assert plain.decisions == restarted.decisions
    assert digest(plain.state) == digest(restarted.state)


@settings(max_examples=150, deadline=None)
@given(STORIES, st.sampled_from(Side))
def test_the_working_stop_never_loosens_what_was_proven(story: list[Action], side: Side) -> None:
    """Each statement of rail (b) is at least as tight as the one before it (no move was refused with −2021 here)."""
    session = tell(story, side=side)
    for name in {move.position for move in session.all(MoveStop)}:
        bracket = next(o for o, i in zip(session.outputs, session.ids, strict=True) if i == name)
        assert isinstance(bracket, OpenBracket)
        levels = [bracket.working_trigger] + [
            move.trigger for move in session.all(MoveStop) if move.position == name and move.leg is Leg.WORKING
        ]
        signed = [level * side.sign for level in levels]
        assert signed == sorted(signed)


def upside_down(output: Output) -> object:
    """The output of the mirrored market: other side, prices turned round the middle, quantities with the other sign."""
    turn = 2 * MIDDLE
    match output:
        case MoveStop():
            return msgspec.structs.replace(output, side=output.side.opposite, trigger=turn - output.trigger)
        case PlaceTarget():
            return msgspec.structs.replace(output, side=output.side.opposite, price=turn - output.price)
        case OpenBracket():
            return msgspec.structs.replace(
                output,
                side=output.side.opposite,
                limit=0,  # in percent of the price, which a mirror changes
                far_trigger=turn - output.far_trigger,
                working_trigger=turn - output.working_trigger,
            )
        case ReportTrade():
            return (output.position, output.side.opposite, output.lots, output.outcome, turn - output.last_stop)
        case _:
            return type(output).__name__


def same(output: Output) -> object:
    """The counterpart of ``upside_down`` in the market as it is."""
    match output:
        case OpenBracket():
            return msgspec.structs.replace(output, limit=0)
        case MoveStop() | PlaceTarget():
            return output
        case ReportTrade():
            return (output.position, output.side, output.lots, output.outcome, output.last_stop)
        case _:
            return type(output).__name__


@settings(max_examples=150, deadline=None)
@given(CALM_STORIES)
def test_a_market_upside_down_gives_the_decisions_upside_down(story: list[Action]) -> None:
    """A short in the mirrored market: every level mirrored, every quantity and every ending the same."""
    long = tell(story)
    short = tell(story, side=Side.SELL, turned=True)

    reported = [o for o in long.outputs if not isinstance(o, ReportPosition)]
    mirrored = [o for o in short.outputs if not isinstance(o, ReportPosition)]
    assert [same(output) for output in reported] == [upside_down(output) for output in mirrored]


@settings(max_examples=100, deadline=None)
@given(STORIES, st.integers(0, 8))
def test_a_calm_minute_after_any_accident_ends_protected_or_flat(story: list[Action], lost: int) -> None:
    """Whatever went wrong or was lost, once the venue answers again the position is covered, being closed, or gone."""
    session = Session()
    session.ready()
    venue = Venue(session)
    venue.lost = lost
    venue.run(session.admit())
    for deed, amount in story:
        DEEDS[deed](session, venue, amount)
    venue.lost = 0
    for _ in range(60):
        session.now += 1_000
        venue.mark(venue.price)
        venue.run(session.wait(250))
        venue.tell(venue.read())

    position = session.state.position
    if position is None:
        assert 0 == venue.lots or session.state.foreign is not None
    else:
        assert abs(venue.lots) == position.lots
        assert protected(position)
        covered = sum(o.lots or abs(venue.lots) for o in venue.resting.values() if o.leg in (Leg.FAR, Leg.WORKING))
        assert covered >= abs(venue.lots)
