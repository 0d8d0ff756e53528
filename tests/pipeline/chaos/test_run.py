"""Tests of the result of a chaos run."""

from __future__ import annotations

from pipeline.chaos.disturb import Disturbed, EndedByItself
from pipeline.chaos.evidence import Evidence, Folded
from pipeline.chaos.judges import Naked, Violation
from pipeline.chaos.recovery import Recovered
from pipeline.chaos.run import Chaos, result_of

SCHEMA = {"mode", "seeds", "violations", "violating_seeds", "faults_bitten", "naked_ms", "seconds"}
KILL = Disturbed(number=1, kind="kill", victim="execute", began_ms=1, over_ms=1, until_ms=9)


def evidence(*longest: int) -> Evidence:
    """Positions with these longest naked times, and an empty log."""
    episodes = [
        {"naked": {"any": {"longest_ms": one}}, "tightest": [[1, "2", "place"], [2, "3", "place"]]} for one in longest
    ]
    return Evidence([], [], [], [], [], Folded({}, 77), {}, {"episodes": episodes}, {"decisions": 5})


def test_the_result_has_the_schema_of_the_architecture_and_the_figures_of_this_mode() -> None:
    """Counts, naked time by what was the matter with the executor, recovery by kind, every violation with its place."""
    result = result_of(
        Chaos(seed=7, kills=1, joins=0, freezes=0),
        evidence(40, 3_000),
        [Violation("P2", "lost", "inputs 0/1/2")],
        recovered=[Recovered(KILL, 1_200, "partition 1", 2_500)],
        stretches=[Naked("BTCUSDT", 0, 3_000, "executor killed", 5_000)],
        disturbances=[KILL],
        ended=[EndedByItself("decide", 70, 3, "words")],
        loads=[1.5, 2.5],
        seconds=12.34,
    )

    assert set(result) >= SCHEMA
    assert {"kill execute": 1} == result["faults_bitten"]
    assert {"p99": 3_000, "max": 3_000} == result["naked_ms"]
    assert {"pipeline up": 0, "executor killed": 3_000, "executor frozen": 0} == result["naked_by"]
    assert 2.5 == result["conditions"]["load_average"]["max"]
    assert {"count": 1, "p50": 2_500, "max": 2_500} == result["cover_proven_ms"]
    assert {"all", "kill execute"} == set(result["live_again_ms"])
    assert (1, [7], "inputs 0/1/2") == (result["violations"], result["violating_seeds"], result["broken"][0]["where"])
    assert (77, 5, 2) == (result["lines"], result["decisions"], result["stop_moves"])
    assert "perpguard chaos --processes --kills 1 --joins 0 --freezes 0 --seed 7" == result["repeat"]


def test_an_empty_run_has_a_result() -> None:
    """Without a position or a disturbance nothing is divided by nothing."""
    result = result_of(
        Chaos(), evidence(), [], recovered=[], stretches=[], disturbances=[], ended=[], loads=[], seconds=1.0
    )

    assert (0, [], {"p99": 0, "max": 0}) == (result["violations"], result["violating_seeds"], result["naked_ms"])
    assert {"count": 0} == result["cover_proven_ms"]
