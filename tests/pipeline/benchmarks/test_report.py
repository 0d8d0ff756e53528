"""Medians, quantiles and the control: the arithmetic under every figure."""

from __future__ import annotations

from pipeline.benchmarks.report import figure, machine, microseconds_each, peak_memory_mb, ping_pong, quantile


def test_a_figure_is_the_median_of_its_runs() -> None:
    """One slow run does not move it."""
    made = figure([3.0, 1.0, 100.0], "µs", must=5, aim=2)

    assert (3.0, "µs", 5, 2, [3.0, 1.0, 100.0]) == (made.value, made.unit, made.must, made.aim, made.runs)


def test_quantiles_are_values_that_were_measured() -> None:
    """Nearest rank, no interpolation."""
    values = list(range(100, 0, -1))

    assert (1, 51, 100, 100) == tuple(quantile(values, share) for share in (0, 0.5, 0.99, 1))


def test_repetitions_divide_by_what_was_done() -> None:
    """One value a repetition, in µs per thing."""
    calls = []

    runs = microseconds_each(lambda: calls.append(1) or 10, 3)

    assert (3, 3) == (len(runs), len(calls))
    assert all(run >= 0 for run in runs)


async def test_the_control_measures_a_socket() -> None:
    """Half of the rounds are not slower than the slowest."""
    found = await ping_pong(50)

    assert 0 < found["p50"] <= found["p99"]


def test_conditions_name_the_machine() -> None:
    """Figures without conditions say nothing."""
    assert {"python", "processor", "cores", "load_1m"} <= set(machine())
    assert peak_memory_mb() >= 0
    assert 0.0 == peak_memory_mb("nobody")
