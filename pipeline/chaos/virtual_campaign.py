"""
The only place that runs many seeds of virtual chaos on several processes, and adds up what they showed.

A failing seed is run again with fewer and fewer faults (``virtual_shrink``); the result names the command that repeats
it and the shortest list of faults that still breaks the same promise.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.chaos.judges import Violation
from pipeline.chaos.virtual_judge import brackets, input_lines, judge, known_intents
from pipeline.chaos.virtual_kept import Kept, code_name
from pipeline.chaos.virtual_plan import Fault, Plan, draw
from pipeline.chaos.virtual_run import Makers, Traces, carry_out, settings
from pipeline.chaos.virtual_shrink import shrink
from pipeline.chaos.virtual_sites import label, sites, unreachable
from pipeline.demo.figures import percentile
from pipeline.settings import Settings
from pipeline.virtual.clock import silence
from pipeline.virtual.order_socket import SocketExecute

Json: TypeAlias = Any  # the result's JSON

REST: Final = "rest"
TRANSPORTS: Final[Mapping[str, Makers]] = {REST: {}, "socket": {"execute": SocketExecute}}  # how orders travel
CHUNK: Final = 20
SHRUNK_AT_MOST: Final = 3  # failing seeds that are made small
REACHED_OFTEN: Final = 20  # each await point is the crash point in so many seeds at least


class Seen(msgspec.Struct):
    """What one seed showed."""

    seed: int
    violations: list[Violation]
    bites: dict[str, int]
    reached: list[tuple[str, str, int]]
    first_naked: list[int]
    naked: list[int]
    naked_by_rail: dict[str, int]
    positions: int
    moves: int
    intents: int
    entries: int
    lines: int
    steps: int
    takeovers: int
    virtual_ms: int


class Failure(msgspec.Struct, frozen=True):
    """A seed that broke something, and how small its plan could be made."""

    seed: int
    violations: list[Violation]
    repeat: str
    faults: list[Fault]
    rides: int


def look(plan: Plan, configured: Settings, *, makers: Makers | None = None) -> Seen:
    """Run one plan and judge it."""
    traces = carry_out(plan, configured, makers=makers)
    return seen_of(traces, judge(traces, configured))


def seen_of(traces: Traces, violations: list[Violation]) -> Seen:
    """The figures of one run."""
    episodes = [episode.summary(traces.ended_ms) for episode in traces.ledger.episodes]
    known = known_intents(traces)
    first = [
        max(
            (end - start for start, end in episode["naked"]["any"]["intervals"] if start == episode["opened_ms"]),
            default=0,
        )
        for episode in episodes
    ]
    return Seen(
        seed=traces.plan.seed,
        violations=violations,
        bites=traces.bites,
        reached=traces.reached,
        first_naked=first,
        naked=[episode["naked"]["any"]["longest_ms"] for episode in episodes],
        naked_by_rail={
            rail: max((episode["naked"][rail]["longest_ms"] for episode in episodes), default=0)
            for rail in ("any", "close_position", "reduce_only")
        },
        positions=len(episodes),
        moves=sum(max(0, len(episode["tightest"]) - 1) for episode in episodes),
        intents=len(known),
        entries=brackets(known),
        lines=input_lines(traces),
        steps=traces.steps,
        takeovers=traces.takeovers,
        virtual_ms=traces.ended_ms - traces.ledger_start_ms,
    )


def chunk(seeds: Sequence[int], *, transport: str = REST) -> list[Seen]:
    """Run some seeds in this process."""
    configured, places = settings(), sites()
    with silence():
        return [look(draw(seed, places), configured, makers=TRANSPORTS[transport]) for seed in seeds]


def smallest(seed: int, promise: str, *, transport: str = REST) -> Failure:
    """The seed's plan, made small while the same promise is broken."""
    configured, places = settings(), sites()

    def broken(plan: Plan) -> list[Violation]:
        found = look(plan, configured, makers=TRANSPORTS[transport]).violations
        return [one for one in found if one.promise == promise]

    with silence():
        plan = shrink(draw(seed, places), lambda candidate: bool(broken(candidate)))
        repeat = f"perpguard chaos --virtual --seed {seed}" + ("" if transport == REST else f" --transport {transport}")
        return Failure(seed, broken(plan), repeat, list(plan.faults), len(plan.rides))


def campaign(
    first: int, count: int, *, processes: int, transport: str = REST, keep: Path | None = None
) -> tuple[dict[str, Json], list[Failure]]:
    """
    Run *count* seeds from *first* on; returns the result (architecture section 7) and the failures, made small.

    What is in *keep* already, of the same code, is not run again; what is run is added to it chunk by chunk.
    """
    began = time.monotonic()
    kept = None if keep is None else Kept(keep, Seen, transport=transport, code=code_name())
    known = {} if kept is None else kept.known
    wanted = [seed for seed in range(first, first + count) if seed not in known]
    chunks = [wanted[at : at + CHUNK] for at in range(0, len(wanted), CHUNK)]
    every = [known[seed] for seed in range(first, first + count) if seed in known]

    def take(found: list[Seen]) -> None:
        every.extend(found)
        if kept is not None:
            kept.add(found)

    if processes == 1:
        for seeds in chunks:
            take(chunk(seeds, transport=transport))
    elif chunks:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for found in pool.imap_unordered(partial(chunk, transport=transport), chunks):
                take(found)
    every.sort(key=lambda seen: seen.seed)
    failing = [seen for seen in every if seen.violations]
    failures = [
        smallest(seen.seed, seen.violations[0].promise, transport=transport) for seen in failing[:SHRUNK_AT_MOST]
    ]
    result = result_of(every, failures, seconds=time.monotonic() - began, processes=processes)
    result["conditions"]["transport"] = transport
    return result, failures


def result_of(every: Sequence[Seen], failures: Sequence[Failure], *, seconds: float, processes: int) -> dict[str, Json]:
    """The result in the schema of architecture section 7, and the figures of this mode beside it."""
    naked = [ms for seen in every for ms in seen.naked] or [0]
    first = [ms for seen in every for ms in seen.first_naked] or [0]
    reached: dict[tuple[str, str, int], int] = {}
    for seen in every:
        for site in set(seen.reached):
            reached[site] = reached.get(site, 0) + 1
    places = sites()
    every_site = (*places.execute, *places.account)
    table = {label(site): reached.get(site, 0) for site in every_site}
    beyond = {label(site): why for site in every_site if (why := unreachable(site)) and not reached.get(site, 0)}
    return {
        "mode": "virtual",
        "seeds": len(every),
        "violations": sum(len(seen.violations) for seen in every),
        "violating_seeds": [seen.seed for seen in every if seen.violations],
        "faults_bitten": _sum(seen.bites for seen in every),
        "naked_ms": {"p99": percentile(naked, 0.99), "max": max(naked)},
        "seconds": round(seconds, 1),
        "first_fill_naked_ms": {"p50": percentile(first, 0.5), "p99": percentile(first, 0.99), "max": max(first)},
        "naked_by_rail_max_ms": {
            rail: max((seen.naked_by_rail[rail] for seen in every), default=0)
            for rail in ("any", "close_position", "reduce_only")
        },
        "positions": sum(seen.positions for seen in every),
        "stop_moves": sum(seen.moves for seen in every),
        "intents": sum(seen.intents for seen in every),
        "entries": sum(seen.entries for seen in every),
        "lines": sum(seen.lines for seen in every),
        "await_points_passed": sum(seen.steps for seen in every),
        "takeovers": sum(seen.takeovers for seen in every),
        "virtual_seconds": sum(seen.virtual_ms for seen in every) // 1_000,
        "crash_points": {
            "known": len(every_site),
            "reached": len(reached),
            "least": min((many for name, many in table.items() if name not in beyond), default=0),
            "seldom": {name: many for name, many in table.items() if many < REACHED_OFTEN and name not in beyond},
            "unreachable": beyond,
            "table": table,
        },
        "failures": [msgspec.to_builtins(failure) for failure in failures],
        "conditions": {"processes": processes},
    }


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
