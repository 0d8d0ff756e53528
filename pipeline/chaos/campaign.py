"""
The only place that makes many runs of real processes, one seed after another, and adds up what they came to.

Every run is one line of a file, written when it has ended: a campaign that was stopped goes on where it stood, ranges
of seeds may be run at different times, and the summary is made of the file alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from pipeline.chaos.run import Chaos, Outcome

Json: TypeAlias = Any  # the result's JSON

Carry = Callable[[Chaos], Awaitable[Outcome]]
NOT_RUN: Final = "not_run"


def done(file: Path) -> list[dict[str, Json]]:
    """The runs that stand in *file*, the newest of each seed; a torn last line was no run."""
    if not file.exists():
        return []
    found: dict[int, dict[str, Json]] = {}
    for line in file.read_bytes().split(b"\n")[:-1]:
        result: dict[str, Json] = msgspec.json.decode(line)
        found[result["seed"]] = result
    return list(found.values())


async def campaign(
    plan: Chaos,
    runs: int,
    file: Path,
    *,
    carry: Carry,
    failures: tuple[type[Exception], ...],
    say: Callable[[str], None],
) -> dict[str, Json]:
    """
    Run the seeds from ``plan.seed`` on that *file* does not hold yet, and return the summary of all *runs*.

    A run that could not be made (*failures*) is said, counted and tried again by the next campaign.
    """
    seeds = range(plan.seed, plan.seed + runs)
    known = {result["seed"] for result in done(file)}
    file.parent.mkdir(parents=True, exist_ok=True)
    not_run: dict[int, str] = {}
    for seed in seeds:
        if seed in known:
            continue
        one = msgspec.structs.replace(plan, seed=seed)
        try:
            outcome = await carry(one)
        except failures as error:
            not_run[seed] = str(error)
            say(f"seed {seed}: could not be run: {error}")
            continue
        result = outcome.result
        _append(file, result)
        say(
            f"seed {seed}: {result['violations']} violations, {result['positions']} positions, "
            f"{result['stop_moves']} stop moves, {result['seconds']:.0f} s"
        )
    return summary([result for result in done(file) if result["seed"] in seeds], not_run)


def _append(file: Path, result: dict[str, Json]) -> None:
    whole = file.read_bytes() if file.exists() else b""
    with file.open("ab") as out:
        out.truncate(whole.rfind(b"\n") + 1)  # a line that was being written when the campaign was stopped
        out.write(msgspec.json.encode(result) + b"\n")


def summary(results: Sequence[dict[str, Json]], not_run: dict[int, str]) -> dict[str, Json]:
    """One result in the schema of architecture section 7 of many runs."""
    bitten: dict[str, int] = {}
    for result in results:
        for name, count in result["faults_bitten"].items():
            bitten[name] = bitten.get(name, 0) + count
    seconds = [result["seconds"] for result in results]
    return {
        "mode": "processes",
        "seeds": len(results),
        "violations": sum(result["violations"] for result in results),
        "violating_seeds": sorted(result["seed"] for result in results if result["violations"]),
        "faults_bitten": dict(sorted(bitten.items())),
        "naked_ms": {
            "p99": max((result["naked_ms"]["p99"] for result in results), default=0),
            "max": max((result["naked_ms"]["max"] for result in results), default=0),
        },
        "seconds": round(sum(seconds), 1),
        "shortest_run_seconds": min(seconds, default=0),
        "cover_proven_max_ms": max((result["cover_proven_ms"].get("max", 0) for result in results), default=0),
        "positions": sum(result["positions"] for result in results),
        "stop_moves": sum(result["stop_moves"] for result in results),
        "intents": sum(result["intents"]["distinct"] for result in results),
        "lines": sum(result["lines"] for result in results),
        "load_average_max": max((result["conditions"]["load_average"].get("max", 0) for result in results), default=0),
        "repeat": [result["repeat"] for result in results if result["violations"]],
        NOT_RUN: {str(seed): reason for seed, reason in not_run.items()},
    }
