"""Real processes, disturbed while they trade: the small version of ``perpguard chaos --processes``."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.chaos.run import Chaos, run

SMALL = Chaos(seed=1, kills=3, joins=1, freezes=1)


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
