"""The kill benchmark in small: five positions, Kafka dead, the executor frozen; flat, with faults too."""

from __future__ import annotations

from pipeline.benchmarks.kill import kill
from pipeline.benchmarks.report import Options


def test_five_positions_are_flat_with_kafka_dead_and_the_executor_frozen() -> None:
    """The run itself asserts that the tool ended flat, without faults and with them; the figures are there."""
    measured = kill(Options(repetitions=1, quick=True))

    assert ["flat", "process start to flat", "flat with faults"] == list(measured.figures)
    assert all(figure.value > 0 for figure in measured.figures.values())
