"""The only place for tests of entries: what opens, what declines, what is frozen when the entry ends."""

from __future__ import annotations

from pipeline.core.commands import AnswerAdmission, MoveStop, Note, OpenBracket, PlaceTarget
from pipeline.core.entries import ENDED_KEPT, ENTRY_VALID_MS
from pipeline.core.events import Leg, Side
from pipeline.core.units import ONE_E8
from tests.sessions.script import Session
from tests.sessions.test_targets import opened
from tests.sessions.venue import Venue


def ready() -> Session:
    """A session whose entries are open."""
    session = Session()
    session.ready()
    return session


def test_every_reason_is_in_the_answer() -> None:
    """A declined admission tells all that stood against it, not the first alone."""
    session = Session()
    session.admit(valid_ms=-1)

    answer = session.last(AnswerAdmission)
    assert not answer.used
    for word in ("instrument", "trading state", "quote", "mark", "expired"):
        assert word in answer.reason


def test_a_second_entry_on_the_symbol_is_declined() -> None:
    """One position a symbol."""
    session, _ = opened()
    session.admit(admission="adm-2")

    assert "already has a position" in session.last(AnswerAdmission).reason
    assert 1 == len(session.all(OpenBracket))


def test_an_admission_told_again_gets_the_same_answer_again() -> None:
    """Account repeats what it has no answer to: no second bracket, ``used`` with the same position."""
    session, venue = opened()
    name = session.position.id
    session.admit()
    assert (True, name) == (session.last(AnswerAdmission).used, session.last(AnswerAdmission).position)
    session.wait(1_000)
    venue.mark(session.position.stop - 1)

    session.admit()

    assert (False, name) == (session.last(AnswerAdmission).used, session.last(AnswerAdmission).position)
    assert 1 == len(session.all(OpenBracket))


def test_a_plan_that_is_refused_declines_with_the_plans_words() -> None:
    """The stop on the wrong side, for a person to read."""
    session = ready()
    session.admit(stop=60_000)

    assert "wrong side" in session.last(AnswerAdmission).reason


def test_a_bracket_expires_a_second_after_its_cause() -> None:
    """Domain 5: later the executor refuses it as stale."""
    session = ready()
    session.admit()

    assert session.now + ENTRY_VALID_MS == session.last(OpenBracket).expires_ms


def test_an_explicit_stop_needs_no_bars() -> None:
    """A person's own level is enough; the bars are still being fetched."""
    session = ready()
    session.state.bars.gapped = True

    session.admit()
    assert "bars" in session.last(AnswerAdmission).reason
    session.admit(stop=49_701, admission="adm-2")

    assert 49_701 == session.last(OpenBracket).working_trigger


def test_a_better_fill_keeps_the_planned_stop() -> None:
    """Re-anchoring never loosens a stop that rests already."""
    session = ready()
    venue = Venue(session)
    venue.price = 49_980
    venue.run(session.admit())

    assert session.last(OpenBracket).working_trigger == session.position.initial_stop
    assert (session.position.entry_e8 - session.position.initial_stop * ONE_E8) == session.position.risk_e8


def test_a_worse_fill_takes_the_stop_along() -> None:
    """The distance is kept from the average entry: the stop tightens by the slippage."""
    session = ready()
    venue = Venue(session)
    venue.price = 50_029
    venue.run(session.admit())

    assert session.last(OpenBracket).working_trigger + 29 == session.position.initial_stop
    assert (Leg.WORKING, session.position.initial_stop) == (
        session.all(MoveStop)[0].leg,
        session.all(MoveStop)[0].trigger,
    )
    assert "stop_anchored" in [note.code for note in session.all(Note)]


def test_targets_are_anchored_at_the_average_entry() -> None:
    """The planned distances, from e."""
    session = ready()
    venue = Venue(session)
    venue.price = 50_029
    venue.run(session.admit(stop=49_501, target=50_701, last_target=51_001))

    assert [50_730, 51_030] == [target.price for target in session.all(PlaceTarget)]


def test_an_entry_price_nobody_explains_is_taken_from_the_venue_and_said_so() -> None:
    """Neither trade nor reply within a second: the venue's own average, with a note."""
    session = ready()
    venue = Venue(session)
    session.admit()
    name = session.position.id
    entry = venue.order(name, Leg.ENTRY, Side.BUY, 50_051, 100, name)
    venue.lots, venue.entry = 100, 50_010
    filled = venue.expired(entry, filled=100)
    venue.tell(filled, venue.account())
    assert not session.position.frozen

    session.wait(1_000)

    assert 50_010 * ONE_E8 == session.position.entry_e8
    assert "entry_price_assumed" in [note.code for note in session.all(Note)]


def test_closed_positions_are_remembered_for_a_while_and_no_longer() -> None:
    """Late evidence finds its position; memory is bounded."""
    session = ready()
    venue = Venue(session)
    for number in range(ENDED_KEPT + 3):
        session.active()
        venue.mark(50_000)
        venue.run(session.admit(admission=f"adm-{number}"))
        session.wait(1_000)
        venue.mark(session.position.stop - 1)

    assert ENDED_KEPT == len(session.state.ended)
