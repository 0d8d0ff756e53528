"""Shrinking: nothing that is needed is lost, nothing that is not needed is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.chaos.virtual_plan import Fault, Plan, Ride
from pipeline.chaos.virtual_shrink import MOST_RUNS, shrink

RIDES = tuple(Ride("BTCUSDT", True, "stop", 300, ((1_000, 10),), pause) for pause in range(4))


def plan(faults: int) -> Plan:
    """A plan of so many faults, told apart by their time."""
    return Plan(1, 400, RIDES, tuple(Fault("broker", at) for at in range(faults)))


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=3))))
def test_what_is_left_is_what_is_needed(drawn: tuple[int, set[int]]) -> None:
    """A run that fails exactly when some faults are there: these are left, and one ride."""
    count, needed = drawn
    small = shrink(plan(count), lambda candidate: needed <= {fault.at_ms for fault in candidate.faults})

    assert sorted(needed) == [fault.at_ms for fault in small.faults]
    assert RIDES[:1] == small.rides


def test_rides_that_are_needed_stay() -> None:
    """They go from the end."""
    small = shrink(plan(2), lambda candidate: len(candidate.rides) >= 3)

    assert (RIDES[:3], ()) == (small.rides, small.faults)


def test_it_gives_up_in_time() -> None:
    """A plan that fails only as it is costs a bounded number of runs."""
    runs = 0

    def fails(candidate: Plan) -> bool:
        nonlocal runs
        runs += 1
        return candidate == whole

    whole = plan(60)

    assert whole == shrink(whole, fails)
    assert runs <= MOST_RUNS
