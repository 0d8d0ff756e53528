"""How a position ends in the books: every word that a trade can end by is known to people."""

from __future__ import annotations

from pipeline.core.commands import ReportTrade
from pipeline.core.events import Leg, Side
from pipeline.core.exits.endings import REDUCED_OUTCOME
from pipeline.core.exits.protection import HALTS
from pipeline.core.positions import STOP_OUTCOME, Basis
from pipeline.reporting.words import OUTCOMES
from tests.sessions.story import Story
from tests.sessions.test_exit_rules import STORIES, play


def test_every_basis_has_its_outcome() -> None:
    """Whatever a stop followed from, its fill is told in words."""
    assert set(Basis) == set(STOP_OUTCOME)


def test_every_outcome_has_its_words() -> None:
    """Those of stops, of partial closes, of the account's halts, and those of every story."""
    named = {*STOP_OUTCOME.values(), *REDUCED_OUTCOME.values(), *(word for _, word in HALTS)}
    told = {trade.outcome for name in STORIES for trade in play(name, Side.BUY).session.all(ReportTrade)}

    assert set() == (named | told) - set(OUTCOMES)


def test_a_part_that_took_the_last_lot_is_told_by_its_rule() -> None:
    """Somebody else took half while ours was on its way: the fill of the part is the end, and X9 is its reason."""
    story = Story(Side.BUY)
    story.bars(2, 185)
    story.factors(C=-60, flow=-2.5)
    story.seconds(15)
    answer, story.venue.answer = story.venue.answer, lambda *_: None  # type: ignore[method-assign]
    story.seconds(1)  # the executor is slow
    part = next(name for name, rule in story.position.reductions.items() if rule == "X9")
    story.venue.lots = 50
    story.session.now += 1_000
    story.say(story.venue.account())
    story.seconds(1)
    story.venue.answer = answer  # type: ignore[method-assign]
    assert 50 == story.position.lots
    close = story.venue.order(part, Leg.CLOSE, Side.SELL, 0, 50, story.position.id)
    story.session.now += 1_000
    story.venue.fill(close, 50, story.venue.price, whole=50)

    assert ("X9", "flow") == story.ended


def test_the_next_step_of_a_ladder_is_no_second_breakeven() -> None:
    """Only the first step moves the stop past the ratchet's steps 3 and 4."""
    story = Story(Side.BUY)
    story.seconds(1, 251)
    moves = story.position.stop_moves

    assert 1 == moves
    assert 1 == sum(1 for order in story.position.orders.values() if order.leg is Leg.TARGET)
