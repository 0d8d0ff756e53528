"""``bench core`` folds what it says it folds."""

from __future__ import annotations

import pytest

from pipeline.benchmarks.core import core
from pipeline.benchmarks.report import Options


def test_without_recordings_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Made-up frames give the same figures under another name of the source."""
    monkeypatch.setenv("PERPGUARD_DATA", str(tmp_path))

    measured = core(Options(repetitions=1, quick=True))

    assert "synthetic seed 1" == measured.conditions["source"]
    assert 68 == measured.conditions["mean_levels_of_a_diff"]
    assert {(80, 40)} == {(row.must, row.aim) for name, row in measured.figures.items() if name == "depth_diff_us"}
