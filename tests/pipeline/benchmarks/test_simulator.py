"""The bench of the simulated exchange gives every figure that its issue names."""

from __future__ import annotations

from pipeline.benchmarks.report import BENCHMARKS, Options
from pipeline.benchmarks.simulator import simulator, virtual_factor


def test_the_bench_measures_what_is_promised() -> None:
    """A quick run has all six figures, above zero; frames and orders really flowed."""
    measured = simulator(Options(repetitions=1, quick=True))

    assert {
        "frames", "orders", "acknowledgement_p50", "acknowledgement_p99", "memory_200_symbols", "virtual_time",
    } == set(measured.figures)  # fmt: skip
    assert all(found.value > 0 for found in measured.figures.values())
    assert "simulator" in BENCHMARKS


def test_virtual_time_runs_ahead_of_the_wall() -> None:
    """Two exchange minutes take less than two minutes."""
    assert virtual_factor(120) > 1
