"""Stamps never run back whatever the wall clock does; offsets are the venue's time less ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.binance_futures.clocks import Offsets, ReceiveClock

SECOND = 1_000_000_000


def test_receive_time_never_runs_back() -> None:
    """Stamps rise whatever the wall clock does."""
    clock = ReceiveClock()
    stamps = []
    for _ in range(50):
        stamps.append(clock.now_ns())
        clock.correct()

    assert sorted(stamps) == stamps


def test_offsets_are_event_time_less_receive_time_per_kind() -> None:
    """Least, median and greatest in ms; a frame without event time says nothing."""
    offsets = Offsets()
    for at_ms in (1_000_000_000_100, 1_000_000_000_050, 1_000_000_000_300):
        offsets.sample("bookTicker", b'{"data":{"E":1000000000000}}', at_ms * 1_000_000)
    offsets.sample("bookTicker", b'{"data":{}}', 5)

    assert {"bookTicker": {"min_ms": -300.0, "median_ms": -100.0, "max_ms": -50.0, "samples": 3}} == offsets.summary()


def test_a_wall_clock_that_is_set_back_is_followed_slowly_and_forwards_at_once() -> None:
    """Set back by ten seconds: ten milliseconds a correction, so that the stamps go on rising; set on: at once."""
    wall, monotonic = [100 * SECOND], [5 * SECOND]
    clock = ReceiveClock(lambda: wall[0], lambda: monotonic[0])
    before = clock.now_ns()
    wall[0] -= 10 * SECOND
    stamps = []
    for _ in range(20):
        monotonic[0] += SECOND // 10
        wall[0] += SECOND // 10
        clock.correct()
        stamps.append(clock.now_ns())
    assert [before, *stamps] == sorted([before, *stamps])
    assert 10 * SECOND - 20 * 10_000_000 == stamps[-1] - wall[0]
    wall[0] += 60 * SECOND
    clock.correct()
    assert wall[0] == clock.now_ns()


@given(st.lists(st.tuples(st.integers(0, 200_000_000), st.integers(-(10**12), 10**12), st.booleans()), max_size=200))
def test_no_stamp_lies_before_the_one_that_was_given_last(steps: list[tuple[int, int, bool]]) -> None:
    """Right before and right after a correction, too: a frame in between went back by up to a millisecond."""
    wall, monotonic, stamps = [10**18], [0], []
    clock = ReceiveClock(lambda: wall[0], lambda: monotonic[0])
    for passed, step, corrected in steps:
        monotonic[0] += passed
        wall[0] += passed + step
        stamps.append(clock.now_ns())
        if corrected:
            clock.correct()
            stamps.append(clock.now_ns())

    assert sorted(stamps) == stamps
