"""Tests of ``perpguard chaos``: its options and its report; the run itself is in tests/chaos."""

from __future__ import annotations

import io
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from pipeline.chaos.judges import Violation
from pipeline.chaos.run import Outcome
from pipeline.commands.chaos import chaos, show

RESULT = {
    "faults_bitten": {"kill execute": 2},
    "naked_by": {"pipeline up": 80},
    "positions": 9,
    "stop_moves": 4,
    "intents": {"distinct": 50, "repeated": 3},
    "lines": 1000,
    "live_again_ms": {"all": {"count": 2, "p50": 900, "max": 1_100}},
    "cover_proven_ms": {"count": 0},
    "conditions": {"cores": 2, "load_average": {"count": 1, "p50": 1.5, "max": 1.5}},
    "ended_by_themselves": [{"part": "decide", "code": 70, "at_ms": 5, "last_words": "why [it] ended"}],
    "repeat": "perpguard chaos --processes --seed 3",
    "seconds": 61.0,
    "seed": 3,
}


def test_the_mode_must_be_said() -> None:
    """Without --processes nothing is started: exit code 2 and what to say."""
    result = CliRunner().invoke(chaos, [])

    assert (2, True) == (result.exit_code, "--processes" in result.output)


def test_a_violation_is_told_with_its_place_and_how_to_repeat_it(tmp_path: Path) -> None:
    """Every figure, every violation, the command that repeats the run; brackets are no markup."""
    out = io.StringIO()
    show(Outcome([Violation("P2", "intent x is missing", "inputs 1/2/3")], RESULT, tmp_path, True), Console(file=out))
    text = out.getvalue()

    assert "BROKEN P2: intent x is missing [inputs 1/2/3]" in text
    assert "repeat with: perpguard chaos --processes --seed 3" in text
    assert "why [it] ended" in text
    assert "live again after all: p50 900 ms, max 1100 ms (2)" in text
    assert "cover proven after a kill of the executor: none" in text
    assert str(tmp_path) in text


def test_a_clean_run_says_so(tmp_path: Path) -> None:
    """Nothing to repeat, nowhere to look."""
    out = io.StringIO()
    show(Outcome([], RESULT, tmp_path, False), Console(file=out))

    assert "0 violations in 61 s, seed 3" in out.getvalue()
    assert "repeat with" not in out.getvalue()
