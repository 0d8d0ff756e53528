"""The only place that makes a failing plan small: faults are taken away until every one that is left is needed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.chaos.virtual_plan import Plan

MOST_RUNS = 80


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """
    The shortest plan found that still fails; *fails* runs one.

    Halves first, then single faults, then rides from the end, until nothing more can be taken away.
    """
    runs = 0

    def still(candidate: Plan) -> bool:
        nonlocal runs
        runs += 1
        return runs <= MOST_RUNS and fails(candidate)

    plan = _faults(plan, still)
    while len(plan.rides) > 1:
        candidate = msgspec.structs.replace(plan, rides=plan.rides[:-1])
        if not still(candidate):
            break
        plan = candidate
    return plan


def _faults(plan: Plan, still: Callable[[Plan], bool]) -> Plan:
    size = max(1, len(plan.faults) // 2)
    while True:
        at, shorter = 0, False
        while at < len(plan.faults):
            candidate = plan.without([*plan.faults[:at], *plan.faults[at + size :]])
            if still(candidate):
                plan, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            return plan
        size = max(1, size // 2)
