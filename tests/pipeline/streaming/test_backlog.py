"""What presses is folded first, and no partition's own order is ever changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.streaming.backlog import Backlog

ARRIVALS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60)


@given(ARRIVALS)
def test_the_next_is_what_a_plain_search_finds(arrivals: list[tuple[int, bool, bool]]) -> None:
    """The oldest head of the partitions in which something presses; if nothing does, the oldest head of all."""
    backlog: Backlog[int] = Backlog()
    waiting: list[tuple[int, int, bool]] = []  # (number, partition, pressing), in order of arrival
    for number, (partition, pressing, take) in enumerate(arrivals):
        backlog.add(partition, number, pressing=pressing)
        waiting.append((number, partition, pressing))
        if take:
            forward = {place for _, place, presses in waiting if presses}
            expected = next(row for row in waiting if not forward or row[1] in forward)
            waiting.remove(expected)
            assert expected[0] == backlog.take()
        assert len(waiting) == len(backlog)


@given(ARRIVALS)
def test_a_partition_keeps_its_order(arrivals: list[tuple[int, bool, bool]]) -> None:
    """Nothing is lost, doubled or overtaken within a partition."""
    backlog: Backlog[tuple[int, int]] = Backlog()
    for number, (partition, pressing, _) in enumerate(arrivals):
        backlog.add(partition, (partition, number), pressing=pressing)
    taken = [backlog.take() for _ in range(len(backlog))]
    for partition in range(4):
        assert [number for number, row in enumerate(arrivals) if row[0] == partition] == [
            number for place, number in taken if place == partition
        ]


def test_nothing_is_left_of_an_assignment_that_is_over() -> None:
    """A record of it would be folded by its successor."""
    backlog: Backlog[int] = Backlog()
    backlog.add(1, 5, pressing=True)
    backlog.clear()
    assert 0 == len(backlog)
    backlog.add(2, 6, pressing=False)
    assert 6 == backlog.take()
