"""Doubt ends by evidence: found is found; absent takes two agreeing reads behind the end of validity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.binance.requests import Read
from pipeline.core.events import Leg
from pipeline.execution.evidence import Sighting
from pipeline.execution.in_doubt import Miss, absent, conclusive
from tests.pipeline.execution.fakes import BTC, World, is_entry, once, opened, scenario, started


@given(st.lists(st.builds(Miss, at_ms=st.integers(0, 5_000), agrees=st.booleans()), max_size=10))
def test_absent_needs_two_agreeing_reads_a_second_apart_behind_the_validity(misses: list[Miss]) -> None:
    """Never before the request has run out, never from one read, never over a read that disagrees."""
    misses.sort(key=lambda miss: miss.at_ms)
    if absent(misses, valid_until_ms=1_000):
        late = [miss for miss in misses if miss.at_ms > 1_000]
        agreeing = [miss.at_ms for miss in late if miss.agrees]
        assert agreeing[-1] - agreeing[0] >= 1_000


@pytest.mark.parametrize(
    ("misses", "expected"),
    [
        ([], False),
        ([Miss(1_001, True)], False),
        ([Miss(500, True), Miss(1_500, True)], False),  # the first came before the end of validity
        ([Miss(1_001, True), Miss(1_900, True)], False),  # less than a second apart
        ([Miss(1_001, True), Miss(2_001, True)], True),
        ([Miss(1_001, True), Miss(1_500, False), Miss(2_001, True)], False),  # the position spoke against it
        ([Miss(1_001, True), Miss(1_500, False), Miss(2_001, True), Miss(3_001, True)], True),
    ],
)
def test_the_rows_of_absence(misses: list[Miss], expected: bool) -> None:
    """Each way two misses are not enough, and the two that are."""
    assert expected == absent(misses, valid_until_ms=1_000)


def test_an_entry_is_settled_by_its_end_and_a_rail_by_being_seen() -> None:
    """A partial fill may grow: only an ended entry is final."""
    partial = Sighting(symbol=BTC, client_id="x", book="order", status="PARTIALLY_FILLED", filled=4)
    resting = Sighting(symbol=BTC, client_id="x", book="algoOrder", status="NEW")

    assert not conclusive(partial, Leg.ENTRY)
    assert conclusive(resting, Leg.FAR)


@scenario
async def test_not_found_at_first_is_not_absent() -> None:
    """The venue forgets an order for a while (pains 2): the doubt stands until it is seen, and it was filled."""
    world = World()
    world.stream = False
    executor = await started(world)
    misses = 3
    entry_fault = once(is_entry, "after")

    def fault(request: object) -> str:
        nonlocal misses
        if isinstance(request, Read) and request.path.endswith("/order") and misses:
            misses -= 1
            return "code -2013"
        return entry_fault(request)  # type: ignore[arg-type]

    world.venue.fault = fault
    record = await opened(world, executor)

    assert ["e:in_doubt", "e:accepted"] == [v for v in world.outbox.verdicts(record.id) if v[0] == "e"]
    assert 2 == len(world.venue.rails(BTC))


@scenario
async def test_a_read_that_fails_proves_nothing() -> None:
    """While the venue does not answer, the doubt stands; it ends with the answers."""
    world = World()
    world.stream = False
    executor = await started(world)
    entry_fault = once(is_entry, "before")
    world.venue.fault = lambda r: (
        "before" if isinstance(r, Read) and world.venue.clock.now_ms() < 1_790_771_382_000 else entry_fault(r)
    )
    record = await opened(world, executor)
    _, last = world.outbox.outcomes[-1]

    assert ["e:in_doubt", "e:absent"] == world.outbox.verdicts(record.id)
    assert world.venue.clock.now_ms() >= 1_790_771_382_000
    assert "absent" == last.verdict.value
