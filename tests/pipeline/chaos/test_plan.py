"""Tests of the schedule of disturbances."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.chaos.plan import FREEZE, JOIN, KILL, SHORTEST_FREEZE_SECONDS, VICTIMS, schedule

SESSION_SECONDS = 6

SEEDS = st.integers(0, 10_000)


@given(seed=SEEDS, kills=st.integers(0, 30), joins=st.integers(0, 10), freezes=st.integers(0, 10))
def test_what_was_asked_for_is_drawn_and_the_same_seed_draws_the_same(
    seed: int, kills: int, joins: int, freezes: int
) -> None:
    """So many of each kind, every process hit as often as every other give or take one, again the same for a seed."""
    steps = schedule(seed=seed, kills=kills, joins=joins, freezes=freezes)

    assert {KILL: kills, JOIN: joins, FREEZE: freezes} == {
        kind: sum(step.kind == kind for step in steps) for kind in (KILL, JOIN, FREEZE)
    }
    for kind in (KILL, FREEZE):
        hit = Counter(step.victim for step in steps if step.kind == kind)
        counts = [hit[victim] for victim in VICTIMS]
        assert max(counts) - min(counts) <= 1
    assert steps == schedule(seed=seed, kills=kills, joins=joins, freezes=freezes)


@given(seed=SEEDS)
def test_a_freeze_outlives_the_session(seed: int) -> None:
    """Shorter freezes would not move a partition."""
    steps = schedule(seed=seed, kills=0, joins=0, freezes=8)

    assert all(SESSION_SECONDS < SHORTEST_FREEZE_SECONDS <= step.seconds for step in steps)


@pytest.mark.parametrize("seed", range(5))
def test_three_kills_hit_decide_and_the_executor(seed: int) -> None:
    """The small run of the tests kills those two whatever the seed."""
    victims = {step.victim for step in schedule(seed=seed, kills=3, joins=1, freezes=1) if step.kind == KILL}

    assert {"decide", "execute"} <= victims
