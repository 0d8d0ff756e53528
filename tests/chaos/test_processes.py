"""Real processes, disturbed while they trade: the small version of ``perpguard chaos --processes``."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.chaos.run import Chaos, run

SMALL = Chaos(seed=1, kills=3, joins=1, freezes=1)
SECOND = Chaos(seed=2, kills=2, joins=0, freezes=0, seconds=20.0, rate=20.0)  # under more load, and shorter


async def test_disturbed_processes_lose_nothing_and_repeat_no_risk() -> None:
    """
    Three kills with decide and the executor among them, a join, a freeze: the exchange's ledger and the log agree.

    Bounds of time are for a quiet machine: `perpguard chaos --processes` holds them, this test does not look at them.
    """
    out = io.StringIO()
    outcome = await run(SMALL, Console(file=out, width=150, force_terminal=False))
    broken = [violation for violation in outcome.violations if not violation.timed]

    assert [] == broken, out.getvalue()
    assert {"kill decide", "kill execute", "join decide-second"} <= set(outcome.result["faults_bitten"])
    assert outcome.result["positions"] >= 1
    assert outcome.result["decisions"] > 0


async def test_a_second_seed_under_load() -> None:
    """Twenty seconds of a market four times as fast, decide and the executor killed in it."""
    out = io.StringIO()
    outcome = await run(SECOND, Console(file=out, width=150, force_terminal=False))
    broken = [violation for violation in outcome.violations if not violation.timed]

    assert [] == broken, out.getvalue()
    assert outcome.result["seconds"] >= SECOND.seconds
    assert outcome.result["positions"] >= 1
