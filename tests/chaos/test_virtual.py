"""Virtual chaos: five hundred seeds keep every promise, and each deliberately broken pipeline is noticed."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import pytest

from pipeline.chaos.virtual_campaign import chunk, look, smallest
from pipeline.chaos.virtual_plan import Plan, draw
from pipeline.chaos.virtual_run import carry_out, settings
from pipeline.chaos.virtual_sites import sites
from pipeline.virtual.clock import silence
from pipeline.wire.topics import DECISIONS, INPUTS
from tests.chaos.virtual_mutants import MUTANTS, broken, caught

CHUNKS = 5
SEEDS = 100  # in each chunk

# The first seed of the generic generator that notices the mutant, and others in case code moves under it.
CAUGHT_BY: dict[str, tuple[int, ...]] = {
    "no_journal": (1, 2),
    "an_entry_is_sent_again_on_timeout": (13, 15),
    "cancel_before_new": (4, 5),
    "no_epoch": (4, 5),
    "no_wait_for_the_old_lease": (4, 21),
    "the_timestamp_is_taken_after_the_pause": (712,),
    "no_wait_for_the_receive_window": (13, 106),
    "not_found_is_believed_at_once": (13, 26),
    "the_budget_blocks_exits": (34,),
    "the_resize_is_lost": (24, 36),
    "a_late_entry_is_sent": (4, 5),
    "a_close_takes_the_stops_away_first": (2, 4),
    "targets_fill_the_reduce_only_budget": (12, 24),
    "a_repeated_intent_is_carried_out_again": (5, 8),
    "exits_may_be_too_late": (10, 15),
    "a_ban_is_not_respected": (16, 22),
    "a_sweep_does_not_ask_the_venue": (4, 3),
    "a_start_protects_nothing": (27, 104),
    "doubts_are_forgotten_at_a_start": (21, 46),
    "state_is_durable_before_its_outputs": (50, 59),
    "attempts_are_renumbered_at_a_start": (80, 98),
    "a_doubtful_stop_is_believed": (1, 5),
    "an_unanswered_close_is_believed": (8, 30),
}


@pytest.mark.parametrize("number", range(CHUNKS))
def test_no_seed_breaks_a_promise(number: int) -> None:
    """Whatever is killed, frozen, lost, late or repeated: the judges find nothing in ledger and log."""
    first = 1 + number * SEEDS
    seen = chunk(range(first, first + SEEDS))
    bites: dict[str, int] = {}
    for one in seen:
        for name, count in one.bites.items():
            bites[name] = bites.get(name, 0) + count

    assert [] == [(one.seed, one.violations) for one in seen if one.violations]
    assert sum(one.positions for one in seen) > SEEDS
    assert {
        "kill execute",
        "kill decide",
        "kill account",
        "twin execute",
        "lose_event",
        "drop_connection_after",
    } <= set(bites)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_pipeline_is_noticed(name: str) -> None:
    """At a seed that the whole pipeline passes."""
    assert any(caught(name, seed) for seed in CAUGHT_BY[name]), (
        f"hunt again: python -m tests.chaos.virtual_mutants {name}"
    )


def test_the_seeds_of_the_mutants_are_passed_by_the_whole_pipeline() -> None:
    """What notices a mutant is not noise."""
    wanted = sorted({seed for seeds in CAUGHT_BY.values() for seed in seeds})

    assert [] == [(one.seed, one.violations) for one in chunk(wanted) if one.violations]


def test_the_same_seed_is_the_same_run() -> None:
    """Byte for byte: the log, the ledger and what bit."""

    def names(plan: Plan) -> tuple[str, str, dict[str, int]]:
        traces = carry_out(plan, settings())
        log = b"".join(record.value for topic in (INPUTS, DECISIONS) for record in traces.kafka.records(topic))
        ledger = msgspec.json.encode(traces.ledger.lines)
        return blake2b(log).hexdigest(), blake2b(ledger).hexdigest(), traces.bites

    with silence():
        for seed in (7, 21):
            plan = draw(seed, sites())
            assert plan == draw(seed, sites())
            assert names(plan) == names(plan)


def test_a_failing_seed_is_made_small_and_says_how_to_repeat_it() -> None:
    """A pipeline that cancels before it places fails without any fault: nothing is left of the plan's."""
    with broken("cancel_before_new"):
        failure = smallest(3, "P3")

    assert "perpguard chaos --virtual --seed 3" == failure.repeat
    assert failure.violations
    assert len(failure.faults) < len(draw(3, sites()).faults)


def test_without_faults_a_first_fill_is_covered_within_the_bound_without_faults() -> None:
    """Naked time after a first fill: p99 ≤ 150 ms where nothing goes wrong."""
    configured, places = settings(), sites()
    with silence():
        seen = [look(draw(seed, places).without([]), configured) for seed in range(1, 11)]

    assert [] == [one.violations for one in seen if one.violations]
    assert max(ms for one in seen for ms in one.first_naked) <= 150
