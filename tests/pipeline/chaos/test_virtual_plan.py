"""Plans of virtual chaos: the same for the same seed, each purpose from its own stream, every fault over in time."""

from __future__ import annotations

from pipeline.chaos.virtual_plan import FAULTS_UNTIL_MS, Fault, Plan, Sets, choose, draw

SITES = tuple((f"execution/{file}.py", f"Part.{name}", n) for file in "abc" for name in ("x", "y") for n in range(6))
SETS = Sets(SITES, SITES[:5], SITES[:3])
PLANS = [draw(seed, SETS) for seed in range(1, 400)]


def test_a_seed_is_always_the_same_plan() -> None:
    """Nothing but the seed and the await points goes in."""
    assert [draw(seed, SETS) for seed in range(1, 400)] == PLANS
    faulted = [repr(plan.faults) for plan in PLANS if plan.faults]
    assert len(set(faulted)) == len(faulted)
    assert len(faulted) > 350


def test_every_kind_of_fault_is_drawn_and_all_begin_within_the_trading() -> None:
    """Trading goes on behind the last fault long enough for what it leaves to show."""
    kinds = {fault.kind for plan in PLANS for fault in plan.faults}

    assert {"rule", "kill", "freeze", "twin", "stop", "cut", "broker", "unanswered", "slow", "again", "late", "image",
            "stick", "skew", "jump", "refuse"} <= kinds  # fmt: skip
    assert max(fault.at_ms for plan in PLANS for fault in plan.faults) <= FAULTS_UNTIL_MS + 1_000


def test_another_await_point_leaves_most_choices_as_they_were() -> None:
    """Ranked by hash: a new site takes its share and moves no other."""
    more = (*SITES, ("execution/d.py", "Part.z", 0))
    before = [choose(seed, "s", SITES) for seed in range(500)]
    after = [choose(seed, "s", more) for seed in range(500)]

    assert len(set(before)) == len(SITES)
    assert {more[-1]} == {new for old, new in zip(before, after, strict=True) if old != new}


def test_a_plan_without_some_faults_is_the_same_otherwise() -> None:
    """Shrinking takes faults away and nothing else."""
    plan = next(plan for plan in PLANS if len(plan.faults) > 3)
    shorter = plan.without(plan.faults[1:])

    assert (plan.seed, plan.rides, plan.level_usdt) == (shorter.seed, shorter.rides, shorter.level_usdt)
    assert plan.faults[1:] == shorter.faults


def test_a_fault_has_a_name_for_the_count() -> None:
    """Rules by what they do, kills by whom they hit."""
    named = [
        Fault("rule", 0, action="429").name,
        Fault("rule", 0, action="status", code=-1021).name,
        Fault("kill", 0, "decide").name,
        Fault("jump", 0, "BTCUSDT").name,
    ]

    assert ["429", "status -1021", "kill decide", "jump"] == named
    assert isinstance(PLANS[0], Plan)


def test_every_rare_await_point_is_waited_for_in_its_turn() -> None:
    """By the plan of one seed in twice as many, from the start; the first quarter of every block goes without."""
    rare = SITES[:7]
    plans = [draw(seed, Sets(SITES, SITES[:5], SITES[:3], rare)) for seed in range(64, 64 + 2 * len(rare) + 24)]
    hunted = {
        (place.file, place.function, place.ordinal)
        for plan in plans
        for fault in plan.faults
        if fault.kind == "hunt"
        for place in fault.places[:1]
    }

    assert set(rare) <= hunted
    assert all(fault.kind != "hunt" for seed in range(64) for fault in draw(seed, SETS).faults)
