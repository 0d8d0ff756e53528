"""Many runs: each is kept, none is made twice, what could not be run is said."""

from __future__ import annotations

from pathlib import Path

from pipeline.chaos.campaign import campaign, done
from pipeline.chaos.judges import Violation
from pipeline.chaos.run import Chaos, Outcome


class NotToday(Exception):
    """A run that could not be made."""


class Runs:
    """Runs that are only told of."""

    def __init__(self, tmp_path: Path) -> None:
        self.file = tmp_path / "runs" / "chaos.jsonl"
        self.made: list[int] = []
        self.impossible: set[int] = set()
        self.broken: set[int] = set()
        self.said: list[str] = []

    async def carry(self, chaos: Chaos) -> Outcome:
        """One run."""
        self.made.append(chaos.seed)
        if chaos.seed in self.impossible:
            raise NotToday("no Java")
        broken = int(chaos.seed in self.broken)
        result = {
            "seed": chaos.seed,
            "violations": broken,
            "repeat": chaos.command,
            "faults_bitten": {"kill decide": 2},
            "naked_ms": {"p99": 10 * chaos.seed, "max": 20 * chaos.seed},
            "seconds": 60.0 + chaos.seed,
            "cover_proven_ms": {"count": 0},
            "positions": 3,
            "stop_moves": 5,
            "intents": {"distinct": 7, "repeated": 1},
            "lines": 11,
            "conditions": {"load_average": {"count": 1, "p50": 1.0, "max": 2.0}},
        }
        violations = [Violation("P2", "x", "y")] * broken
        return Outcome(violations, result, self.file, False)

    async def run(self, first: int, count: int) -> dict[str, object]:
        """A campaign."""
        plan = Chaos(seed=first, seconds=60.0)
        return await campaign(plan, count, self.file, carry=self.carry, failures=(NotToday,), say=self.said.append)


async def test_the_runs_add_up_and_a_broken_one_is_named(tmp_path: Path) -> None:
    """Counts are summed, the worst is shown, the command repeats the broken seed."""
    runs = Runs(tmp_path)
    runs.broken = {2}
    made = await runs.run(1, 3)

    assert (3, 1, [2], {"kill decide": 6}) == (
        made["seeds"],
        made["violations"],
        made["violating_seeds"],
        made["faults_bitten"],
    )
    assert ({"p99": 30, "max": 60}, 61.0, 9) == (made["naked_ms"], made["shortest_run_seconds"], made["positions"])
    assert [Chaos(seed=2, seconds=60.0).command] == made["repeat"]


async def test_a_stopped_campaign_goes_on_where_it_stood(tmp_path: Path) -> None:
    """Seeds that stand in the file are not run again, ranges add up, a torn line is run again."""
    runs = Runs(tmp_path)
    await runs.run(1, 2)
    with runs.file.open("ab") as file:
        file.write(b'{"seed": 3, "viol')
    made = await runs.run(1, 4)

    assert [1, 2, 3, 4] == runs.made
    assert (4, {}) == (made["seeds"], made["not_run"])
    assert [1, 2, 3, 4] == [result["seed"] for result in done(runs.file)]


async def test_what_could_not_be_run_is_said_and_tried_again(tmp_path: Path) -> None:
    """It is no success and no violation."""
    runs = Runs(tmp_path)
    runs.impossible = {2}
    made = await runs.run(1, 3)
    assert (2, {"2": "no Java"}) == (made["seeds"], made["not_run"])
    runs.impossible = set()
    made = await runs.run(1, 3)

    assert (3, {}) == (made["seeds"], made["not_run"])
    assert [1, 2, 3, 2] == runs.made
