"""``bench replay`` folds every line of its source and decides the same each time."""

from __future__ import annotations

from pipeline.benchmarks.inputs import synthetic
from pipeline.benchmarks.replay import fold_once


def test_two_runs_decide_the_same() -> None:
    """The figure is about one and the same work."""
    source = synthetic(2_500)

    (_, first), (_, second) = (fold_once(source, source.records(8)) for _ in range(2))

    assert first == second
    assert 2 <= sum(bool(row.state_digest) for row in first)
