"""``perpguard bench`` writes the schema of architecture section 7; its quick form only shows that it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.benchmarks.report import BENCHMARKS, SUMMARIES
from pipeline.commands.bench import bench

EXPECTED = {
    "core": {"book_ticker_us", "depth_diff_us", "agg_trade_us", "mark_price_us", "closed_bar_us", "exit_evaluation_us"},
    "replay": {"lines_per_second"},
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_result_has_the_schema(name: str, tmp_path: Path) -> None:
    """Names of the figures are fixed, so that versions can be compared."""
    path = tmp_path / "out.json"

    result = CliRunner().invoke(bench, [name, "--quick", "--repetitions", "2", "--json", str(path)])

    assert 0 == result.exit_code, result.output
    written = json.loads(path.read_text())
    assert {"name", "figures", "control", "conditions"} == set(written)
    assert name == written["name"]
    assert EXPECTED[name] <= set(written["figures"])
    for figure in written["figures"].values():
        assert {"value", "unit", "must", "aim", "runs"} == set(figure)
        assert figure["value"] > 0 and len(figure["runs"]) == 2
    assert {"loopback_p50_us_before", "loopback_p50_us_after"} <= set(written["control"])
    assert {"python", "cores", "source"} <= set(written["conditions"])


def test_an_unknown_name_is_a_wrong_use() -> None:
    """The names that exist are said."""
    result = CliRunner().invoke(bench, ["nope"])

    assert 2 == result.exit_code
    assert "core" in result.output


def test_every_benchmark_has_a_summary() -> None:
    """``perpguard bench --help`` tells what each measures."""
    assert set(BENCHMARKS) == set(SUMMARIES)
