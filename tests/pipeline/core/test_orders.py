"""The only place for tests of the order's life: no pair is missing, and the races end where they must."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.events import Verdict
from pipeline.core.orders import (
    ENDED,
    FIRING,
    RESTING,
    TRANSITIONS,
    UNANSWERED,
    Evidence,
    OrderStatus,
    advance,
    evidence_of_algo,
    evidence_of_order,
    evidence_of_outcome,
)

S, E = OrderStatus, Evidence


def test_no_pair_of_status_and_evidence_is_missing() -> None:
    """A new status or a new kind of evidence fails here until every cell of its row and column is thought about."""
    assert set(product(OrderStatus, Evidence)) == set(TRANSITIONS)


def test_every_status_is_of_exactly_one_kind() -> None:
    """Unanswered, resting, firing or ended."""
    for status in OrderStatus:
        assert 1 == sum(status in group for group in (UNANSWERED, RESTING, FIRING, ENDED)), status


@given(st.sampled_from(OrderStatus), st.sampled_from(Evidence))
def test_telling_the_same_twice_changes_nothing(status: OrderStatus, evidence: Evidence) -> None:
    """Every road may repeat itself; but two reads that miss an order say more than one."""
    once = advance(status, evidence)
    if once is not None and evidence is not E.READ_MISSING:
        assert advance(once, evidence) in (once, None)


@given(st.sampled_from(OrderStatus), st.lists(st.sampled_from(Evidence)))
def test_a_filled_order_stays_filled(status: OrderStatus, story: list[Evidence]) -> None:
    """Nothing that comes late takes a fill back, and every status but that takes it on."""
    assert advance(status, E.ORDER_FILLED) is S.FILLED
    for evidence in story:
        assert advance(S.FILLED, evidence) in (S.FILLED, None)


def end_of(*story: Evidence, start: OrderStatus = S.ASKED) -> OrderStatus:
    """The status after *story*; a contradiction keeps it."""
    status = start
    for evidence in story:
        status = advance(status, evidence) or status
    return status


def test_a_stop_that_fires_ends_the_same_in_every_order_of_its_events() -> None:
    """Venue sheet 3.6: do not require a sequence."""
    events = (E.OUTCOME_ACCEPTED, E.ALGO_NEW, E.ALGO_TRIGGERING, E.ALGO_TRIGGERED, E.ORDER_FILLED, E.ALGO_FINISHED)

    assert {S.FILLED} == {end_of(*order) for order in permutations(events)}


def test_an_entry_ends_the_same_in_every_order_of_its_events() -> None:
    """Acknowledgement, NEW, partial fill and the expiry of the rest."""
    events = (E.OUTCOME_ACCEPTED, E.ORDER_NEW, E.ORDER_PARTIAL, E.ORDER_EXPIRED)

    assert {S.EXPIRED} == {end_of(*order) for order in permutations(events)}


@pytest.mark.parametrize(
    ("story", "end"),
    [
        ((E.ORDER_FILLED, E.OUTCOME_ACCEPTED), S.FILLED),  # fill before the acknowledgement
        ((E.ALGO_NEW, E.ORDER_CANCELLED, E.ORDER_FILLED), S.FILLED),  # cancel and fill crossed
        ((E.ALGO_NEW, E.OUTCOME_CANCELLED, E.ALGO_TRIGGERED), S.TRIGGERED),  # cancel and trigger crossed
        ((E.ALGO_NEW, E.ALGO_FINISHED, E.ALGO_TRIGGERED), S.FINISHED),  # FINISHED before TRIGGERED
        ((E.OUTCOME_ACCEPTED, E.READ_MISSING), S.ABSENT),  # accepted, then vanished
        ((E.OUTCOME_ABSENT, E.READ_OPEN), S.LIVE),  # declared dead, then seen alive
        ((E.OUTCOME_REJECTED, E.ALGO_NEW), S.LIVE),
        ((E.OUTCOME_IN_DOUBT, E.ORDER_NEW), S.LIVE),  # a doubt ends by evidence
        ((E.OUTCOME_IN_DOUBT, E.OUTCOME_ABSENT), S.ABSENT),
        ((E.ORDER_PARTIAL, E.READ_MISSING), S.DOUBT),  # partly filled and gone: filled, cancelled or expired
        ((E.OUTCOME_GONE,), S.DOUBT),  # a cancel found it filled or triggered: which, the events will say
    ],
)
def test_what_reality_forces_on_us(story: tuple[Evidence, ...], end: OrderStatus) -> None:
    """The races of the comment under the table."""
    assert end is end_of(*story)


@pytest.mark.parametrize("status", [S.LIVE, S.PARTIAL, S.TRIGGERED, S.FILLED])
@pytest.mark.parametrize("evidence", [E.OUTCOME_REFUSED, E.OUTCOME_ABSENT])
def test_sources_that_contradict_each_other_are_reported(status: OrderStatus, evidence: Evidence) -> None:
    """ "We never sent it" about an order the venue has shown: a broken promise of ours, never a transition."""
    assert advance(status, evidence) is None


def test_words_of_the_venue() -> None:
    """An unknown word is no evidence."""
    assert E.ORDER_EXPIRED is evidence_of_order(execution="TRADE_PREVENTION", status="EXPIRED_IN_MATCH")
    assert E.ORDER_AMENDED is evidence_of_order(execution="AMENDMENT", status="NEW")
    assert E.ALGO_CANCELLED is evidence_of_algo("CANCELED")
    assert (None, None) == (evidence_of_algo("SLEEPING"), evidence_of_order(execution="X", status="SLEEPING"))


def test_an_accepting_reply_may_say_more_than_accepted() -> None:
    """A LIMIT IOC answers with its final status; a query may find a conditional order triggered."""
    assert E.OUTCOME_ACCEPTED is evidence_of_outcome(Verdict.ACCEPTED, status="NEW")
    assert E.ORDER_EXPIRED is evidence_of_outcome(Verdict.ACCEPTED, status="EXPIRED")
    assert E.ALGO_TRIGGERED is evidence_of_outcome(Verdict.ACCEPTED, status="TRIGGERED")
    assert E.OUTCOME_REJECTED is evidence_of_outcome(Verdict.REJECTED, status="FILLED")
